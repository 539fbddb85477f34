"""The estimator itself."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from numbers import Real
from typing import Any, Literal, no_type_check

import jax
import numpy as np
from jaxtyping import Array, Float
from scipy.special import logit
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted, validate_data

from secateur import likelihood, pruning, training
from secateur.estimator.checks import check_fit
from secateur.estimator.inputs import can_be_enumerated, key_from, positive_integers, settings_from, top_layer
from secateur.fisher.diagonal import FisherInformation, heuristic, variance
from secateur.likelihood.comparison import rates_of
from secateur.model import checked
from secateur.model.machine import Machine, receptive_field_masks
from secateur.model.randomness import child_key
from secateur.pruning import Criterion, ImportanceSampling
from secateur.pruning.prune import Fraction
from secateur.pruning.removal import Zeros
from secateur.sampling import Sampler
from secateur.sampling.diagnostics import AVERAGES_R_HAT_LIMIT
from secateur.sampling.draws import sampled

_DEFAULTS = training.TrainingSettings()

N_SWEEPS = 200
"""Sweeps from independent units to a state taken as a draw from the model (Scholl, Rule & Hennig 2021, Methods)."""

_WATCHED_DRAWS, _FEWEST_CHAINS = 10, 20
"""Draws of every chain, and chains, that tell whether a sample can be trusted, however few rows are wanted."""

_unchecked = no_type_check  # a run-time matter only: type checkers go on reading the annotations


class BoltzmannMachine(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Boltzmann machine with one hidden layer (RBM) or several (DBM), as a scikit-learn estimator.

    Learns the distribution of binary rows, encodes rows as probabilities of its top hidden layer, draws new rows, and
    tells which synapses carry information so that the others can be pruned.

    Parameters
    ----------
    hidden
        Units of each hidden layer, from the visible layer up; a single number for one layer.
    method, n_epochs, batch_size, learning_rate, momentum, l2, max_norm, n_sweeps, n_chains
        How to train, see :class:`secateur.training.TrainingSettings`. ``None``: chosen from the numbers of rows and
        units (:func:`secateur.training.settings_for`). ``method="cd"`` takes one hidden layer only; ``learning_rate``
        is a number, or the first and the last value of a geometric schedule.
    optimizer
        ``"adam"``, or ``"sgd"`` with a learning rate that fits the data.
    pretrain_epochs
        Passes through the data for each weight matrix in greedy pretraining (:func:`secateur.training.pretrain`), which
        deep machines want before joint training; 0: none. ``None``: half of ``n_epochs`` for deep machines.
    receptive_field
        Side length in pixels, an odd number, of the square that each unit of the first hidden layer sees; the layer
        then has one unit per pixel (:func:`secateur.receptive_field_mask`). ``None``: every unit sees all.
    image_shape
        Height and width in pixels of the images in the rows; needed with ``receptive_field``.
    binarize
        Threshold: values above it become 1, all others 0. ``None``: the data must be 0 and 1 already.
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
    log_partition_
        ``log Z`` with its standard error (:class:`secateur.likelihood.LogPartition`), computed when first asked for.
    score_quantity_
        Says in words what :meth:`score_samples` returns for this machine.
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
    'exact log p(v) in nats'
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
        momentum: float = _DEFAULTS.momentum,
        l2: float = _DEFAULTS.l2,
        max_norm: float | None = _DEFAULTS.max_norm,
        n_sweeps: int = _DEFAULTS.n_sweeps,
        n_chains: int | None = None,
        pretrain_epochs: int | None = None,
        receptive_field: int | None = None,
        image_shape: tuple[int, int] | None = None,
        binarize: float | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.hidden = hidden
        self.method = method
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.momentum = momentum
        self.l2 = l2
        self.max_norm = max_norm
        self.n_sweeps = n_sweeps
        self.n_chains = n_chains
        self.pretrain_epochs = pretrain_epochs
        self.receptive_field = receptive_field
        self.image_shape = image_shape
        self.binarize = binarize
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, callback: training.Callback | None = None) -> BoltzmannMachine:
        """Train a new machine on the rows of ``X``.

        Parameters
        ----------
        X
            0/1 rows ``(n, n_features)``, or numbers that ``binarize`` makes so. ``y`` is ignored.
        callback
            Called after every epoch with the number of finished epochs of the present step (pretraining takes one step
            per weight matrix), the machine, and the history so far.

        Raises
        ------
        ValueError
            If a parameter or the data do not fit; the message names which, and the remedy.
        secateur.training.TrainingDiverged
            If a parameter became NaN or infinite.

        Warns
        -----
        PoorFit
            If the machine is no better than independent units on these rows, or most features are the same for all.
        """
        rows = self._rows(X, reset=True)
        settings = self._settings("n_epochs", self.n_epochs, len(rows))
        self.settings_, self._key = settings, key_from(self.random_state)
        self._visible_rates = rates_of(rows).astype(np.float32)
        machine = self._initial_machine()
        default_epochs = settings.n_epochs // 2 + 1 if machine.n_layers > 2 else 0
        pretrain_epochs: Any = default_epochs if self.pretrain_epochs is None else self.pretrain_epochs
        self._epochs_in_all = settings.n_epochs
        if pretrain_epochs != 0:
            pretraining = self._settings("pretrain_epochs", pretrain_epochs, len(rows))
            self._epochs_in_all += pretraining.n_epochs * (machine.n_layers - 1)
            key = child_key(self._key, "pretraining")
            machine, _ = training.pretrain(machine, rows, pretraining, key, callback=callback)
        key = child_key(self._key, "training")
        self.machine_, self.history_ = training.train(machine, rows, settings, key, callback=callback)
        self._log_partition: likelihood.LogPartition | None = None
        check_fit(self.machine_, rows, self._visible_rates, child_key(self._key, "check"))
        return self

    def transform(self, X: Any) -> Float[np.ndarray, "rows top"]:
        """Mean-field probabilities ``(n, n_top)`` of the top layer's units given each row, float32.

        Exact for one hidden layer. ``X`` as in :meth:`fit`.
        """
        check_is_fitted(self)
        return np.asarray(top_layer(self.machine_, self._rows(X)))

    def sample(
        self,
        n_samples: int = 1,
        *,
        n_sweeps: int = N_SWEEPS,
        sampler: str | Sampler = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> Float[np.ndarray, "samples visible"]:
        """Visible 0/1 rows ``(n_samples, n_features)``, each from a chain of its own; chains start dispersed.

        Parameters
        ----------
        n_samples
            Rows to draw.
        n_sweeps
            Sweeps of each chain; more are needed where the model mixes slowly.
        sampler
            As in :func:`secateur.sampling.sample`; ``"auto"`` takes tempering where Gibbs sampling does not mix.
        random_state
            Seed of this draw; ``None``: the one fixed by :meth:`fit`, so that equal calls give equal rows.

        Warns
        -----
        NotToBeTrusted
            If the chains have not mixed.
        """
        check_is_fitted(self)
        (n_rows,) = positive_integers("n_samples", n_samples, 1)
        (n_steps,) = positive_integers("n_sweeps", n_sweeps, 1)
        key = child_key(self._key, "sample") if random_state is None else key_from(random_state)
        # The second half of every chain is watched; the last draw of each is returned.
        apart = max(1, n_steps // (2 * _WATCHED_DRAWS))
        n_burn_in = max(0, n_steps - _WATCHED_DRAWS * apart)
        schedule = (_WATCHED_DRAWS, max(n_rows, _FEWEST_CHAINS), sampler, apart, n_burn_in)
        draws = sampled(self.machine_, key, schedule, r_hat_limit=AVERAGES_R_HAT_LIMIT)
        # A row is one draw at the end of its chain, so the chains need have forgotten their starts and no more.
        draws.diagnostics.mixing_verdict(AVERAGES_R_HAT_LIMIT).warn("the sample")
        return np.asarray(draws[0][-1, :n_rows])

    def score_samples(self, X: Any) -> Float[np.ndarray, " rows"]:
        """One number per row in nats; which one depends on the machine, and ``score_quantity_`` says it in words.

        - Smaller block of layers (even or odd ones) of at most 20 units: the exact ``log p(v)``.
        - Larger, one hidden layer: ``log p(v)`` with an estimated ``log Z`` (``log_partition_`` says how).
        - Larger, several hidden layers: the variational *lower bound* on ``log p(v)`` with that estimate.

        All rows share the error of the estimate, ``log_partition_.standard_error``. ``X`` as in :meth:`fit`.
        """
        check_is_fitted(self)
        rows = self._rows(X)
        bound = self.machine_.n_layers > 2 and not can_be_enumerated(self.machine_)
        log_probability = likelihood.log_probability_bound if bound else likelihood.log_probability
        return log_probability(self.machine_, rows, self.log_partition_)

    def score(self, X: Any, y: Any = None) -> float:
        """Mean of :meth:`score_samples` over the rows, in nats; ``y`` is ignored."""
        return float(self.score_samples(X).mean())

    @property
    def score_quantity_(self) -> str:
        """What :meth:`score_samples` returns for this machine, in words."""
        check_is_fitted(self)
        if can_be_enumerated(self.machine_):
            return "exact log p(v) in nats"
        bound = "" if self.machine_.n_layers == 2 else "variational lower bound on "
        return f"{bound}log p(v) in nats, with an estimated log Z"

    @property
    def log_partition_(self) -> likelihood.LogPartition:
        """``log Z`` in nats: exact where the machine can be enumerated, else annealed or tempered; it says which."""
        check_is_fitted(self)
        if self._log_partition is None:
            key, rates = child_key(self._key, "log_partition"), self._visible_rates
            self._log_partition = likelihood.log_partition(self.machine_, key=key, base_rates=rates)
        return self._log_partition

    def fisher(
        self, kind: str = "variance", *, X: Any | None = None, importance: ImportanceSampling | None = None
    ) -> FisherInformation:
        """Fisher information of every synapse and bias: exact where scores are, else sampled, with standard errors.

        Parameters
        ----------
        kind
            ``"variance"`` (:func:`secateur.fisher.variance`) or ``"heuristic"`` (:func:`secateur.fisher.heuristic`).
        X
            Rows as in :meth:`fit`, at which some chains start, or all with ``importance.start="data"``.
        importance
            How many states to draw where averages are sampled; ``None``: the defaults.

        Returns
        -------
        FisherInformation
            One array ``(n_l, n_{l+1})`` per weight matrix, and one ``(n_l,)`` per layer in its ``biases``.
        """
        check_is_fitted(self)
        measures = {"variance": variance, "heuristic": heuristic}
        if kind not in measures:
            raise ValueError(f"kind must be 'variance' or 'heuristic', got {kind!r}")
        key, rows = child_key(self._key, "importance"), None if X is None else self._rows(X)
        (found,) = pruning.model_moments(self.machine_, self._how(importance), key, rows)
        return measures[kind](self.machine_, found)

    def prune(
        self,
        criterion: Criterion = "variance-fi",
        fraction: Fraction = 0.5,
        *,
        X: Any | None = None,
        retrain_epochs: int = 0,
        zeros: Zeros = "fraction",
        importance: ImportanceSampling | None = None,
    ) -> BoltzmannMachine:
        """A new fitted estimator without the least important synapses; this one stays as it is.

        Call ``prune`` of the new estimator to prune on; its ``fit`` would begin again with all synapses.

        Parameters
        ----------
        criterion, fraction, zeros
            What to remove, as in :func:`secateur.pruning.prune`.
        X
            Rows as in :meth:`fit`, on which to retrain what is left, and at which some chains start.
        retrain_epochs
            Passes through ``X``, all other settings as in :meth:`fit`; 0: no retraining.
        importance
            As in :meth:`fisher`.

        Raises
        ------
        ValueError
            If the criterion is unknown, the fraction lies outside (0, 1), or ``X`` and ``retrain_epochs`` do not match.
        """
        check_is_fitted(self)
        if (X is None) != (retrain_epochs == 0):
            found = f"retrain_epochs={retrain_epochs!r} {'without' if X is None else 'with'} X"
            raise ValueError(f"retraining needs X and retrain_epochs, got {found}; give both, or neither to only prune")
        rows = None if X is None else self._rows(X)
        settings = None if rows is None else self._settings("retrain_epochs", retrain_epochs, len(rows))
        rule, key = pruning.rule_of(criterion), child_key(self._key, "pruning")
        (source,) = pruning.sources_for(self.machine_, rule, self._how(importance), self._key, rows)
        machine = pruning.prune(self.machine_, rule, fraction, key=key, source=source, zeros=zeros)
        pruned = copy.copy(self)
        pruned._key, pruned._log_partition = child_key(self._key, "pruned"), None
        if rows is not None and settings is not None and machine.n_synapses < self.machine_.n_synapses:
            machine, pruned.history_ = training.train(machine, rows, settings, child_key(pruned._key, "training"))
        pruned.machine_ = machine
        return pruned

    @property
    def _n_features_out(self) -> int:
        return self.machine_.layer_sizes[-1]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def _rows(self, X: Any, *, reset: bool = False) -> Float[Array, "rows visible"]:
        """0/1 rows from the user's data."""
        values = validate_data(self, X, reset=reset)
        if self.binarize is not None:
            if not isinstance(self.binarize, Real) or math.isnan(self.binarize):
                raise ValueError(f"binarize must be None or the threshold, a number, got {self.binarize!r}")
            return jax.device_put((values > self.binarize).astype(np.float32))
        remedy = "set binarize to the threshold above which values become 1"
        return jax.device_put(checked.host_rows(values, what="X", remedy=remedy))

    def _settings(self, epochs_argument: str, n_epochs: Any, n_rows: int) -> training.TrainingSettings:
        return settings_from(self.get_params(deep=False), epochs_argument, n_epochs, (n_rows, self._layer_sizes()))

    def _layer_sizes(self) -> tuple[int, ...]:
        return (self.n_features_in_, *positive_integers("hidden", self.hidden))

    def _initial_machine(self) -> Machine:
        """An untrained machine with small random weights whose visible units have the rates of the data."""
        layer_sizes = self._layer_sizes()
        bias, masks = logit(self._visible_rates), self._masks(layer_sizes)
        return Machine.random(layer_sizes, child_key(self._key, "machine"), visible_bias=bias, masks=masks)

    def _masks(self, layer_sizes: tuple[int, ...]) -> list[np.ndarray] | None:
        """Masks with local receptive fields in the first weight matrix, if asked for."""
        n_visible = layer_sizes[0]
        if self.image_shape is not None:
            height, width = positive_integers("image_shape", self.image_shape, 2)
            if height * width != n_visible:
                raise ValueError(f"image_shape must multiply to the {n_visible} columns of X, got {height} x {width}")
        if self.receptive_field is None:
            return None
        (size,) = positive_integers("receptive_field", self.receptive_field, 1)
        if self.image_shape is None:
            raise ValueError(f"receptive_field={size} needs image_shape, the height and width of the images in pixels")
        return receptive_field_masks(layer_sizes, (height, width), size)

    def _how(self, importance: ImportanceSampling | None) -> ImportanceSampling | Literal["exact"]:
        """How averages over the model are taken: by enumeration if possible, else from fresh chains."""
        return "exact" if can_be_enumerated(self.machine_) else importance or ImportanceSampling()
