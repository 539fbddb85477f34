"""What all parts of the estimator share: parameters, what a fit leaves, and the door for rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Literal

import jax
import numpy as np
import scipy.sparse
from jaxtyping import Float, PRNGKeyArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import validate_data

from secateur import likelihood, training
from secateur.estimator.inputs import positive_integers, settings_from
from secateur.estimator.levels import Levels, drawn_once
from secateur.model.machine import Machine
from secateur.model.randomness import child_key
from secateur.storage.limits import MAX_SYNAPSES

_BLOCK_VALUES = 2**22
"""Values of rows that are converted and measured at once."""


class EstimatorBase(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Parameters and attributes of :class:`secateur.BoltzmannMachine`, and how it takes rows."""

    hidden: Sequence[int] | int
    method: Literal["pcd", "cd", "exact"]
    n_epochs: int | None
    pretrain_epochs: int | None
    receptive_field: int | None
    image_shape: tuple[int, int] | None
    binarize: float | Literal["redraw", "mean"] | None
    warm_start: bool
    early_stopping: bool
    validation_fraction: float
    n_iter_no_change: int
    tol: float
    verbose: int
    random_state: int | np.random.RandomState | None

    machine_: Machine
    history_: training.History
    settings_: training.TrainingSettings
    n_features_in_: int

    _key: PRNGKeyArray
    _levels: Levels
    _visible_rates: np.ndarray | None
    _log_partition: likelihood.LogPartition | None

    @property
    def binarized_(self) -> str:
        """How the training rows became 0 and 1, in words."""
        return str(self._levels)

    @property
    def _n_features_out(self) -> int:
        return self.machine_.layer_sizes[-1]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.positive_only = self.binarize is None or isinstance(self.binarize, str)
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _validated(self, X: Any, *, reset: bool = False) -> Any:
        """Finite numbers, an array or a sparse matrix by rows."""
        return validate_data(self, X, reset=reset, accept_sparse="csr")

    def _blocks(self, validated: Any) -> Iterator[Float[np.ndarray, "rows visible"]]:
        """Probabilities of the rows, a block at a time, so that memory does not grow with the number of rows."""
        n_rows = max(1, _BLOCK_VALUES // validated.shape[1])
        for start in range(0, validated.shape[0], n_rows):
            yield self._levels.rows(dense(validated[start : start + n_rows]))

    def _levels_of(self, X: Any) -> Float[np.ndarray, "rows visible"]:
        """Probabilities of all rows."""
        return np.concatenate(list(self._blocks(self._validated(X))))

    def _drawn(self, levels: Float[np.ndarray, "rows visible"]) -> Float[np.ndarray, "rows visible"]:
        """Rows of 0 and 1; probabilities are drawn, alike in every call."""
        seed = jax.random.key_data(child_key(self._key, "grey levels")).ravel()[-1]
        return drawn_once(levels, int(seed))

    def _settings(self, epochs_argument: str, n_epochs: Any, n_rows: int) -> training.TrainingSettings:
        """Settings of training, for so many rows."""
        found = settings_from(self.get_params(deep=False), epochs_argument, n_epochs, (n_rows, self._layer_sizes()))
        return found.model_copy(update={"redraw": self._levels.drawn_afresh and found.method != "exact"})

    def _layer_sizes(self) -> tuple[int, ...]:
        sizes = (self.n_features_in_, *positive_integers("hidden", self.hidden))
        if max(lower * upper for lower, upper in pairwise(sizes)) > MAX_SYNAPSES:
            raise ValueError(
                f"hidden must leave at most {MAX_SYNAPSES:,} synapses between two layers, got layers of "
                f"{', '.join(f'{size:,}' for size in sizes)} units; take fewer"
            )
        return sizes


def dense(values: Any) -> np.ndarray:
    """An array of a sparse matrix; anything else as it is."""
    return values.toarray() if scipy.sparse.issparse(values) else values
