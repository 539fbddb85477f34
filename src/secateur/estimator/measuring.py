"""Features and likelihoods of rows, taken in blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float
from sklearn.utils.validation import check_is_fitted

from secateur import likelihood
from secateur.estimator.base import EstimatorBase
from secateur.estimator.inputs import can_be_enumerated, inferred, top_layer
from secateur.model import units
from secateur.model.machine import Machine
from secateur.model.randomness import child_key


class Measuring(EstimatorBase):
    """``transform``, ``reconstruct``, ``score_samples`` and ``score``.

    Rows are converted and measured in blocks: beside ``X`` and the result memory holds a few dozen MB.
    """

    def transform(self, X: Any) -> Float[np.ndarray, "rows top"]:
        """Mean-field probabilities ``(n, n_top)`` of the top layer's units given each row.

        Exact for one hidden layer; grey levels enter as they are, like in ``BernoulliRBM``. float32 for float32 rows,
        else float64. ``X`` as in :meth:`fit`.
        """
        return self._of_blocks(top_layer, X, lambda: self._n_features_out)

    def reconstruct(self, X: Any) -> Float[np.ndarray, "rows visible"]:
        """Mean-field probabilities ``(n, n_features)`` of the visible units given the hidden ones that a row implies.

        Up and down once, without drawing (for deep machines all hidden layers are inferred first). Types as of
        :meth:`transform`, ``X`` as in :meth:`fit`.
        """
        return self._of_blocks(_reconstructed, X, lambda: self.n_features_in_)

    def _of_blocks(
        self, measure: Callable[[Machine, Array], Array], X: Any, n_columns: Callable[[], int]
    ) -> Float[np.ndarray, "rows columns"]:
        """What ``measure`` gives for all rows, in the type that scikit-learn expects for theirs."""
        check_is_fitted(self)
        validated = self._validated(X)
        dtype = np.float32 if validated.dtype == np.float32 else np.float64
        found, start = np.empty((validated.shape[0], n_columns()), dtype), 0
        for levels in self._blocks(validated):
            found[start : start + len(levels)] = measure(self.machine_, jax.device_put(levels))
            start += len(levels)
        return found

    def score_samples(self, X: Any) -> Float[np.ndarray, " rows"]:
        """One number per row in nats; which one depends on the machine, and ``score_quantity_`` says it in words.

        - Smaller block of layers (even or odd ones) of at most 20 units: the exact ``log p(v)``.
        - Larger, one hidden layer: ``log p(v)`` with an estimated ``log Z`` (``log_partition_`` says how).
        - Larger, several hidden layers: the variational *lower bound* on ``log p(v)`` with that estimate.

        All rows share the error of the estimate, ``log_partition_.standard_error``. Grey levels that are probabilities
        are drawn as 0 and 1 once, alike for equal rows and in every call. ``X`` as in :meth:`fit`.
        """
        check_is_fitted(self)
        bound = self.machine_.n_layers > 2 and not can_be_enumerated(self.machine_)
        log_probability = likelihood.log_probability_bound if bound else likelihood.log_probability
        found: list[np.ndarray] = []
        for levels in self._blocks(self._validated(X)):
            # Whether log Z can be trusted is said once, with the first block.
            log_z = self.log_partition_.estimate if found else self.log_partition_
            found.append(log_probability(self.machine_, self._drawn(levels), log_z))
        return np.concatenate(found)

    def score(self, X: Any, y: Any = None) -> float:
        """Mean of :meth:`score_samples` over the rows, in nats; ``y`` is ignored."""
        return float(self.score_samples(X).mean())

    @property
    def score_quantity_(self) -> str:
        """What :meth:`score_samples` returns for this machine, in words."""
        check_is_fitted(self)
        of_what = f" ({self._levels})" if self._levels.grey else ""
        if can_be_enumerated(self.machine_):
            return f"exact log p(v) in nats{of_what}"
        bound = "" if self.machine_.n_layers == 2 else "variational lower bound on "
        return f"{bound}log p(v) in nats, with an estimated log Z{of_what}"

    @property
    def log_partition_(self) -> likelihood.LogPartition:
        """``log Z`` in nats: exact where the machine can be enumerated, else annealed or tempered; it says which."""
        check_is_fitted(self)
        if self._log_partition is None:
            key, rates = child_key(self._key, "log_partition"), self._visible_rates
            self._log_partition = likelihood.log_partition(self.machine_, key=key, base_rates=rates)
        return self._log_partition


@jax.jit
def _reconstructed(machine: Machine, visible: Float[Array, "rows visible"]) -> Float[Array, "rows visible"]:
    return units.mean(machine.total_input(inferred(machine, visible), 0))
