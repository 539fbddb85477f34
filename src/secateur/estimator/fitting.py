"""Fitting: at once, in parts, and from where an earlier fit ended."""

from __future__ import annotations

from typing import Any, TypeVar

import jax
import numpy as np
from jaxtyping import Array, Float
from scipy.special import logit
from sklearn.utils.validation import check_is_fitted

from secateur import training
from secateur.estimator.base import EstimatorBase, dense
from secateur.estimator.checks import check_fit, share
from secateur.estimator.inputs import key_from, positive_integers
from secateur.estimator.levels import levels_for
from secateur.estimator.stopping import EarlyStopping, StoppedEarly, all_of, scorer, told
from secateur.likelihood.comparison import rates_of
from secateur.model.machine import Machine, receptive_field_masks
from secateur.model.randomness import child_key

_Self = TypeVar("_Self", bound="Fitting")


class Fitting(EstimatorBase):
    """``fit`` and ``partial_fit``."""

    n_iter_: int
    validation_scores_: Float[np.ndarray, " epochs"]
    _epochs_in_all: int
    _partial: training.TrainingState | None

    def fit(
        self: _Self,
        X: Any,
        y: Any = None,
        *,
        validation: Any | None = None,
        callback: training.Callback | None = None,
    ) -> _Self:
        """Train a machine on the rows of ``X``: a new one, or with ``warm_start`` the one that is there.

        Parameters
        ----------
        X
            Rows ``(n, n_features)``, an array, a data frame or a sparse matrix: 0 and 1, or grey levels, which become 0
            and 1 as ``binarize`` says. Training holds all rows in memory, 4 bytes a value. ``y`` is ignored.
        validation
            Rows as ``X`` that are not trained on but watched: ``history_.free_energy_gap`` is theirs, and early
            stopping goes by them. ``None``: with ``early_stopping`` a ``validation_fraction`` of ``X``, else none.
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
        self._key = key_from(self.random_state) if earlier is None else child_key(self._key, "warm start")
        levels, held_out = self._held_out(levels, validation)
        self.settings_ = self._settings("n_epochs", self.n_epochs, len(levels))
        self._visible_rates = rates_of(levels).astype(np.float32)
        rows = jax.device_put(levels if self.settings_.redraw else self._drawn(levels))
        told_of = all_of(told(type(self).__name__) if self.verbose else None, callback)
        self._epochs_in_all = self.settings_.n_epochs
        start = self._pretrained(rows, told_of) if earlier is None else self._warm(earlier)
        self.machine_, self.history_ = self._trained(start, rows, held_out, told_of)
        self.n_iter_ = len(self.history_.pseudo_likelihood) or self.settings_.n_epochs
        self._log_partition = self._partial = None
        drawn = jax.device_put(self._drawn(levels))
        check_fit(self.machine_, drawn, self._visible_rates, child_key(self._key, "check"))
        return self

    def _held_out(
        self, levels: Float[np.ndarray, "rows visible"], validation: Any | None
    ) -> tuple[Float[np.ndarray, "train visible"], Float[np.ndarray, "held_out visible"] | None]:
        """Rows to train on, and 0/1 rows that are watched."""
        if validation is not None:
            return levels, self._drawn(self._levels_of(validation))
        if not self.early_stopping:
            return levels, None
        share = self.validation_fraction
        n_held_out = round(share * len(levels)) if isinstance(share, float) and 0 < share < 1 else 0
        if not 0 < n_held_out < len(levels):
            raise ValueError(
                f"validation_fraction must be a share between 0 and 1 that leaves rows on both sides, got {share!r} of "
                f"{len(levels)} rows; 0.1 is usual, or give fit the rows as validation"
            )
        order = np.asarray(jax.random.permutation(child_key(self._key, "held out"), len(levels)))
        return levels[np.sort(order[n_held_out:])], self._drawn(levels[np.sort(order[:n_held_out])])

    def _pretrained(self, rows: Float[Array, "rows visible"], callback: training.Callback | None) -> Machine:
        """The machine that joint training begins with."""
        machine = self._initial_machine()
        default_epochs = self.settings_.n_epochs // 2 + 1 if machine.n_layers > 2 else 0
        pretrain_epochs: Any = default_epochs if self.pretrain_epochs is None else self.pretrain_epochs
        if pretrain_epochs == 0:
            return machine
        pretraining = self._settings("pretrain_epochs", pretrain_epochs, len(rows))
        self._epochs_in_all += pretraining.n_epochs * (machine.n_layers - 1)
        return training.pretrain(machine, rows, pretraining, child_key(self._key, "pretraining"), callback=callback)[0]

    def _trained(
        self,
        machine: Machine,
        rows: Float[Array, "rows visible"],
        held_out: Float[np.ndarray, "held_out visible"] | None,
        callback: training.Callback | None,
    ) -> tuple[Machine, training.History]:
        """The machine after training, or at its best epoch if it is stopped early."""
        key, settings = child_key(self._key, "training"), self.settings_
        if not self.early_stopping or held_out is None:
            return training.train(machine, rows, settings, key, validation=held_out, callback=callback)
        if settings.method == "exact":
            raise ValueError(
                "early_stopping needs method='pcd' or 'cd', got 'exact'; set early_stopping=False or another method"
            )
        (patience,) = positive_integers("n_iter_no_change", self.n_iter_no_change, 1)
        score = scorer(share(held_out), self._visible_rates, child_key(self._key, "early stopping"))
        stopping = EarlyStopping(score, patience, self.tol)
        try:
            training.train(machine, rows, settings, key, validation=held_out, callback=all_of(callback, stopping))
        except StoppedEarly:
            pass
        assert stopping.best is not None  # there was an epoch
        self.validation_scores_ = np.array(stopping.scores)
        return stopping.best

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
