"""The judge of the pairwise model: plain NumPy sums over all states, and asymmetric models to be judged.

Written from ``log p(s) = sum_i b_i s_i + sum_{i<j} J_ij s_i s_j - log Z`` alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from secateur.model.pairwise import PairwiseModel


def small_model(n_units: int = 6, seed: int = 0) -> PairwiseModel:
    """A model without symmetry, couplings of both signs."""
    rng = np.random.default_rng([seed, n_units])
    upper = np.triu(rng.normal(0.2, 0.8, (n_units, n_units)), 1)
    return PairwiseModel(rng.normal(-0.6, 0.6, n_units), upper + upper.T)


class PairwiseBruteForce:
    """Every state of a model with its probability and its sufficient statistics (couplings, then biases)."""

    def __init__(self, model: PairwiseModel):
        biases, couplings = np.asarray(model.biases, float), np.asarray(model.couplings, float)
        self.states = np.array(list(itertools.product((0.0, 1.0), repeat=len(biases))))
        self.pairs = list(itertools.combinations(range(len(biases)), 2))
        log_weights = np.zeros(len(self.states))
        for row, state in enumerate(self.states):
            log_weights[row] = sum(b * s for b, s in zip(biases, state, strict=True))
            log_weights[row] += sum(couplings[i, j] * state[i] * state[j] for i, j in self.pairs)
        self.log_z = float(np.logaddexp.reduce(log_weights))
        self.probabilities = np.exp(log_weights - self.log_z)
        self.statistics = np.array([[*(s[i] * s[j] for i, j in self.pairs), *s] for s in self.states])

    @property
    def coincidences(self) -> np.ndarray:
        """``<s_i s_j>``, the rates on the diagonal."""
        return np.einsum("s,si,sj->ij", self.probabilities, self.states, self.states)

    def covariance(self, statistics: np.ndarray | None = None) -> np.ndarray:
        """Covariance of the sufficient statistics, or of others, one row per state."""
        rows = self.statistics if statistics is None else statistics
        centred = rows - self.probabilities @ rows
        return centred.T @ (self.probabilities[:, None] * centred)

    def words(self, n_words: int, seed: int = 0) -> np.ndarray:
        """Independent words drawn from the exact distribution."""
        drawn = np.random.default_rng(seed).choice(len(self.states), n_words, p=self.probabilities)
        return self.states[drawn].astype(np.uint8)


PAIRWISE_FAULTS: dict[str, Callable[[PairwiseModel], PairwiseModel]] = {
    "right": lambda model: model,
    "wrong temperature": lambda model: PairwiseModel(1.1 * model.biases, 1.1 * model.couplings),
    "swapped bias": lambda model: PairwiseModel(model.biases[::-1], model.couplings),
    "wrong sign": lambda model: PairwiseModel(model.biases, -model.couplings),
}
"""What may go wrong, planted by handing over a distorted model; "right" plants nothing."""

with_pairwise_twins = pytest.mark.parametrize("fault", PAIRWISE_FAULTS)
