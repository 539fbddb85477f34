"""The estimator itself: its parameters; what it does stands in the modules beside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, no_type_check

import numpy as np

from secateur import training
from secateur.estimator.drawing import Drawing
from secateur.estimator.fitting import Fitting
from secateur.estimator.inputs import key_from
from secateur.estimator.levels import Levels
from secateur.estimator.measuring import Measuring
from secateur.estimator.pruning import Pruning
from secateur.model import checked
from secateur.model.machine import Machine

_DEFAULTS = training.TrainingSettings()

_unchecked = no_type_check  # a run-time matter only: type checkers go on reading the annotations


class BoltzmannMachine(Fitting, Measuring, Drawing, Pruning):
    """Boltzmann machine with one hidden layer (RBM) or several (DBM), as a scikit-learn estimator.

    Learns the distribution of binary rows, encodes rows as probabilities of its top hidden layer, draws new rows, and
    tells which synapses carry information so that the others can be pruned.

    Parameters
    ----------
    hidden
        Units of each hidden layer, from the visible layer up; a single number for one layer.
    method, n_epochs, batch_size, learning_rate, schedule, momentum, l2, max_norm, n_sweeps, n_chains
        How to train, see :class:`secateur.training.TrainingSettings`. ``None``: chosen from the numbers of rows and
        units (:func:`secateur.training.settings_for`). ``method="cd"`` takes one hidden layer only; ``learning_rate``
        is a number, or the first and the last value of a schedule (``"geometric"``, ``"linear"`` or ``"cosine"``).
    optimizer
        ``"adam"``, or ``"sgd"`` with a learning rate that fits the data.
    sampler
        How persistent chains move in training: ``"gibbs"``, ``"tempering"``, or a registered name.
    centred
        Whether the gradient is centred (Melchior, Fischer & Wiskott 2016): the same whichever state is called 1.
    sparsity_target, sparsity_strength
        Wanted mean rate of the hidden units, ``None`` for none, and how strongly they are pulled to it.
    pretrain_epochs
        Passes through the data for each weight matrix in greedy pretraining (:func:`secateur.training.pretrain`), which
        deep machines want before joint training; 0: none. ``None``: half of ``n_epochs`` for deep machines.
    receptive_field
        Side length in pixels, an odd number, of the square that each unit of the first hidden layer sees; the layer
        then has one unit per pixel (:func:`secateur.receptive_field_mask`). ``None``: every unit sees all.
    image_shape
        Height and width in pixels of the images in the rows; needed with ``receptive_field``.
    binarize
        How values become 0 and 1. ``"redraw"``: values from 0 to 1 are probabilities, as in scikit-learn's
        ``BernoulliRBM``, and drawn afresh every epoch (larger ones are divided by the largest). A number: values above
        it become 1, all others 0; ``"mean"``: above the mean of the training rows. ``None``: ``"redraw"``, with a
        warning where values exceed 1; rows of 0 and 1 stay as they are.
    early_stopping, validation_fraction, n_iter_no_change, tol
        With ``early_stopping`` training keeps the machine under which held-out rows are most likely, and stops when
        their mean ``log p(v)`` (at most 500 of them; exact, or annealed briefly, or its lower bound for deep machines)
        has not grown by ``tol`` nats for ``n_iter_no_change`` epochs. Held out is a ``validation_fraction`` of the
        rows, drawn at random, or what :meth:`fit` is given. Not with ``method="exact"``.
    warm_start
        Whether :meth:`fit` goes on with the machine that is there, in place of a new one.
    verbose
        Whether a line is printed after every epoch.
    random_state
        Seed of everything random, from initial weights to samples: an integer for repeatable results, a
        ``RandomState``, or ``None`` for a different result with every fit.

    Attributes
    ----------
    machine_
        The fitted :class:`secateur.Machine`; ready for every function of the package.
    history_
        Measures after every epoch of the last training (:class:`secateur.training.History`).
    settings_
        Settings of that training (:class:`secateur.training.TrainingSettings`), with what was chosen from the data.
    components_, intercept_hidden_, intercept_visible_
        Weights ``(n_hidden, n_features)`` and biases of a machine with one hidden layer.
    binarized_
        Says in words how the training rows became 0 and 1.
    sample_verdict_
        Whether the last :meth:`sample` can be trusted (:class:`secateur.Verdict`).
    log_partition_
        ``log Z`` with its standard error (:class:`secateur.likelihood.LogPartition`), computed when first asked for.
    score_quantity_
        Says in words what :meth:`score_samples` returns for this machine.
    n_iter_, validation_scores_
        Epochs that the machine was trained for, and mean ``log p(v)`` of held-out rows after every epoch of early
        stopping, in nats.
    n_features_in_, feature_names_in_
        Visible units, and the names of the columns if the data had names.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from secateur import BoltzmannMachine
    >>> X, y = load_digits(return_X_y=True)
    >>> model = BoltzmannMachine(hidden=(10,), n_epochs=2, binarize=7, random_state=0).fit(X)
    >>> model.transform(X).shape
    (1797, 10)
    >>> model.sample(3).shape
    (3, 64)
    >>> model.score_quantity_
    'exact log p(v) in nats (values above 7 are 1, all others 0)'
    >>> model.score(X) > model.score(16 - X)
    True
    >>> pruned = model.prune("variance-fi", 0.5, X=X, retrain_epochs=1)
    >>> model.machine_.n_synapses, pruned.machine_.n_synapses
    (640, 320)
    """

    @_unchecked  # scikit-learn wants constructors that take anything; fit checks the values
    def __init__(
        self,
        hidden: Sequence[int] | int = (100,),
        *,
        method: Literal["pcd", "cd", "exact"] = _DEFAULTS.method,
        n_epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | tuple[float, float] | None = None,
        optimizer: Literal["adam", "sgd"] = "adam",
        sampler: str = _DEFAULTS.sampler,
        schedule: Literal["geometric", "linear", "cosine"] = _DEFAULTS.schedule,
        centred: bool = _DEFAULTS.centred,
        sparsity_target: float | None = _DEFAULTS.sparsity_target,
        sparsity_strength: float = _DEFAULTS.sparsity_strength,
        momentum: float = _DEFAULTS.momentum,
        l2: float = _DEFAULTS.l2,
        max_norm: float | None = _DEFAULTS.max_norm,
        n_sweeps: int = _DEFAULTS.n_sweeps,
        n_chains: int | None = None,
        pretrain_epochs: int | None = None,
        receptive_field: int | None = None,
        image_shape: tuple[int, int] | None = None,
        binarize: float | Literal["redraw", "mean"] | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-3,
        warm_start: bool = False,
        verbose: int = 0,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.hidden = hidden
        self.method = method
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.sampler = sampler
        self.schedule = schedule
        self.centred = centred
        self.sparsity_target = sparsity_target
        self.sparsity_strength = sparsity_strength
        self.momentum = momentum
        self.l2 = l2
        self.max_norm = max_norm
        self.n_sweeps = n_sweeps
        self.n_chains = n_chains
        self.pretrain_epochs = pretrain_epochs
        self.receptive_field = receptive_field
        self.image_shape = image_shape
        self.binarize = binarize
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.verbose = verbose
        self.random_state = random_state

    @classmethod
    def from_machine(
        cls, machine: Machine, *, random_state: int | np.random.RandomState | None = None, **parameters: Any
    ) -> BoltzmannMachine:
        """A fitted estimator around a machine that is there: trained elsewhere, loaded, pruned or made by hand.

        Parameters
        ----------
        machine
            A single :class:`secateur.Machine`; its layers become ``hidden``.
        random_state, parameters
            Parameters of the estimator, which matter to what is drawn and to :meth:`partial_fit`. A threshold given as
            ``binarize`` holds for rows; else they are 0 and 1, or probabilities.

        Raises
        ------
        ValueError, TypeError
            If this is no single machine with hidden layers, or there is no such parameter.
        """
        checked.model(machine, single=True, hidden=True)
        model = cls(hidden=machine.layer_sizes[1:], random_state=random_state, **parameters)
        model.machine_, model.n_features_in_ = machine, machine.layer_sizes[0]
        model._key, model._visible_rates = key_from(random_state), None
        model._log_partition = model._partial = None
        threshold = model.binarize
        if isinstance(threshold, str) and threshold == "mean":
            raise ValueError("binarize='mean' needs training rows, from_machine has none; give the threshold itself")
        model._levels = Levels() if threshold is None or isinstance(threshold, str) else Levels(threshold=threshold)
        return model
