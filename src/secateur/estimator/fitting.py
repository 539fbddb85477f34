"""Fitting: at once, in parts, and from where an earlier fit ended."""

from __future__ import annotations

import time
from typing import Any, TypeVar

import jax
import numpy as np
from jaxtyping import Float
from scipy.special import logit
from sklearn.utils.validation import check_is_fitted

from secateur import training
from secateur.estimator.base import EstimatorBase, dense
from secateur.estimator.checks import check_fit
from secateur.estimator.inputs import key_from, positive_integers
from secateur.estimator.levels import levels_for
from secateur.likelihood.comparison import rates_of
from secateur.model.machine import Machine, receptive_field_masks
from secateur.model.randomness import child_key

_Self = TypeVar("_Self", bound="Fitting")


class Fitting(EstimatorBase):
    """``fit`` and ``partial_fit``."""

    _partial: training.TrainingState | None

    def fit(self: _Self, X: Any, y: Any = None, *, callback: training.Callback | None = None) -> _Self:
        """Train a machine on the rows of ``X``: a new one, or with ``warm_start`` the one that is there.

        Parameters
        ----------
        X
            Rows ``(n, n_features)``, an array, a data frame or a sparse matrix: 0 and 1, or grey levels, which become 0
            and 1 as ``binarize`` says. Training holds all rows in memory, 4 bytes a value. ``y`` is ignored.
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
        earlier = self.machine_ if self.warm_start and hasattr(self, "machine_") else None
        levels = self._training_rows(X)
        if earlier is None or not hasattr(self, "_key"):
            self._key = key_from(self.random_state)
        else:
            self._key = child_key(self._key, "warm start")
        settings = self.settings_ = self._settings("n_epochs", self.n_epochs, len(levels))
        self._visible_rates = rates_of(levels).astype(np.float32)
        machine = self._initial_machine() if earlier is None else self._warm(earlier)
        rows = jax.device_put(levels if settings.redraw else self._drawn(levels))
        default_epochs = settings.n_epochs // 2 + 1 if machine.n_layers > 2 and earlier is None else 0
        pretrain_epochs: Any = default_epochs if self.pretrain_epochs is None else self.pretrain_epochs
        self._epochs_in_all = settings.n_epochs
        told = _Told(type(self).__name__, callback) if self.verbose else callback
        if pretrain_epochs != 0 and earlier is None:
            pretraining = self._settings("pretrain_epochs", pretrain_epochs, len(levels))
            self._epochs_in_all += pretraining.n_epochs * (machine.n_layers - 1)
            key = child_key(self._key, "pretraining")
            machine, _ = training.pretrain(machine, rows, pretraining, key, callback=told)
        key = child_key(self._key, "training")
        self.machine_, self.history_ = training.train(machine, rows, settings, key, callback=told)
        self._log_partition = self._partial = None
        check_fit(
            self.machine_, jax.device_put(self._drawn(levels)), self._visible_rates, child_key(self._key, "check")
        )
        return self

    def partial_fit(self: _Self, X: Any, y: Any = None) -> _Self:
        """Train on for one pass through the rows of ``X``, in batches of ``batch_size``; the first call begins.

        Chains and optimiser go on from call to call. The learning rate is constant, the first of ``learning_rate``; set
        that parameter between calls to lower it. Deep machines are not pretrained. A machine that :meth:`fit` or
        :meth:`from_machine` left is trained on. ``X`` as in :meth:`fit`, ``y`` is ignored.

        Raises
        ------
        ValueError
            As :meth:`fit`, or if ``method`` is ``"exact"``, which needs all rows at once.
        """
        if self.method == "exact":
            raise ValueError("partial_fit needs method='pcd' or 'cd', got 'exact', which needs all rows; use fit")
        begins = not hasattr(self, "machine_")
        levels = self._training_rows(X) if begins else self._levels_of(X)
        settings = self._settings("n_epochs", 1, len(levels))
        settings = settings.model_copy(update={"learning_rate": (settings.learning_rate[0],) * 2})
        if begins:
            self._key = key_from(self.random_state)
            self._visible_rates = rates_of(levels).astype(np.float32)
            self.machine_ = self._initial_machine()
        state, trainer = getattr(self, "_partial", None), training.Trainer(settings)
        if state is None:
            state = trainer.init(self.machine_, child_key(self._key, "training"), self._drawn(levels))
        self._partial, self.history_ = training.continue_training(trainer, state, levels)
        self.machine_, self.settings_, self._log_partition = self._partial.machine, settings, None
        return self

    def _training_rows(self, X: Any) -> Float[np.ndarray, "rows visible"]:
        """Probabilities of the rows that training begins with; from now on rows are understood in this way."""
        values = dense(self._validated(X, reset=True))
        self._levels = levels_for(values, self.binarize)
        return self._levels.rows(values, training=True)

    def _initial_machine(self) -> Machine:
        """An untrained machine with small random weights whose visible units have the rates of the data."""
        layer_sizes = self._layer_sizes()
        bias, masks = logit(self._visible_rates), self._masks(layer_sizes)
        return Machine.random(layer_sizes, child_key(self._key, "machine"), visible_bias=bias, masks=masks)

    def _warm(self, machine: Machine) -> Machine:
        """The machine that is there, if it fits the rows and ``hidden``."""
        if machine.original_layer_sizes != self._layer_sizes():
            raise ValueError(
                f"warm_start=True goes on with a machine of layers {machine.original_layer_sizes}, but X and hidden "
                f"ask for {self._layer_sizes()}; give rows with {machine.layer_sizes[0]} columns and the same hidden, "
                "or set warm_start=False"
            )
        return machine

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

    @property
    def components_(self) -> Float[np.ndarray, "hidden visible"]:
        """Weights of the only hidden layer, as scikit-learn's ``BernoulliRBM`` has them."""
        return np.asarray(self._only_hidden_layer().weights[0]).T

    @property
    def intercept_hidden_(self) -> Float[np.ndarray, " hidden"]:
        """Biases of the units of the only hidden layer."""
        return np.asarray(self._only_hidden_layer().biases[1])

    @property
    def intercept_visible_(self) -> Float[np.ndarray, " visible"]:
        """Biases of the visible units."""
        return np.asarray(self._only_hidden_layer().biases[0])

    def _only_hidden_layer(self) -> Machine:
        check_is_fitted(self)
        if self.machine_.n_layers > 2:
            raise AttributeError(
                "components_ and intercepts belong to one hidden layer, this machine has "
                f"{self.machine_.n_layers - 1}; take machine_.weights and machine_.biases"
            )
        return self.machine_


class _Told:
    """A callback that prints a line per epoch in the words of ``BernoulliRBM``, and calls another."""

    def __init__(self, name: str, callback: training.Callback | None):
        self.name, self.callback, self.began = name, callback, time.monotonic()

    def __call__(self, n_epochs: int, machine: Machine, history: training.History) -> None:
        """Print what the last epoch gave."""
        now = time.monotonic()
        measured = history.pseudo_likelihood
        told = f"pseudo-likelihood = {measured[-1]:.2f}, " if len(measured) else ""
        print(f"[{self.name}] Iteration {n_epochs}, {told}time = {now - self.began:.2f}s")
        self.began = now
        if self.callback is not None:
            self.callback(n_epochs, machine, history)
