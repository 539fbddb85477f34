"""Fisher information of the synapses, and the estimator without the least important of them."""

from __future__ import annotations

import copy
from typing import Any, Literal, TypeVar

import jax
from sklearn.utils.validation import check_is_fitted

from secateur import pruning, training
from secateur.estimator.base import EstimatorBase
from secateur.estimator.inputs import can_be_enumerated
from secateur.fisher.diagonal import FisherInformation, heuristic, variance
from secateur.model.randomness import child_key
from secateur.pruning import Criterion, ImportanceSampling
from secateur.pruning.prune import Fraction
from secateur.pruning.removal import Zeros

_Self = TypeVar("_Self", bound="Pruning")


class Pruning(EstimatorBase):
    """``fisher`` and ``prune``."""

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
        key = child_key(self._key, "importance")
        rows = None if X is None else jax.device_put(self._drawn(self._levels_of(X)))
        (found,) = pruning.model_moments(self.machine_, self._how(importance), key, rows)
        return measures[kind](self.machine_, found)

    def prune(
        self: _Self,
        criterion: Criterion = "variance-fi",
        fraction: Fraction = 0.5,
        *,
        X: Any | None = None,
        retrain_epochs: int = 0,
        zeros: Zeros = "fraction",
        importance: ImportanceSampling | None = None,
    ) -> _Self:
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
        levels = None if X is None else self._levels_of(X)
        rows = None if levels is None else jax.device_put(self._drawn(levels))
        settings = None if levels is None else self._settings("retrain_epochs", retrain_epochs, len(levels))
        rule, key = pruning.rule_of(criterion), child_key(self._key, "pruning")
        (source,) = pruning.sources_for(self.machine_, rule, self._how(importance), self._key, rows)
        machine = pruning.prune(self.machine_, rule, fraction, key=key, source=source, zeros=zeros)
        pruned = copy.copy(self)
        pruned._key, pruned._log_partition, pruned._partial = child_key(self._key, "pruned"), None, None
        if rows is not None and settings is not None and machine.n_synapses < self.machine_.n_synapses:
            visible, key = (levels if settings.redraw else rows), child_key(pruned._key, "training")
            machine, pruned.history_ = training.train(machine, visible, settings, key)
        pruned.machine_ = machine
        return pruned

    def _how(self, importance: ImportanceSampling | None) -> ImportanceSampling | Literal["exact"]:
        """How averages over the model are taken: by enumeration if possible, else from fresh chains."""
        return "exact" if can_be_enumerated(self.machine_) else importance or ImportanceSampling()
