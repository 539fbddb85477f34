"""The Fisher information matrix of the pairwise model: covariance of the statistics ``s_i`` and ``s_i s_j``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Float, UInt8

from secateur.fisher.diagonal import error_of_variance
from secateur.fisher.matrix_type import FisherMatrix, Of
from secateur.fisher.total_covariance import Layout, add_outer_products
from secateur.model import pairwise_enumeration, units
from secateur.model.machine import Parameters
from secateur.model.moments import N_GROUPS, Moments
from secateur.model.pairwise import PairwiseModel

_CHUNK_ENTRIES = 2**22  # statistics held at a time: 16 or 32 MB


class PairwiseLayout(Layout):
    """Place of every parameter in a vector: couplings ``J_01, J_02, ..., J_12, ...``, then the biases."""

    def __init__(self, n_units: int):
        self.masks = (np.triu(np.ones((n_units, n_units), bool), 1),)
        self.layer_sizes = (n_units,)
        self.n_parameters = n_units * (n_units + 1) // 2

    def split(self, vector: np.ndarray) -> Parameters:
        """The inverse of :meth:`~secateur.fisher.total_covariance.Layout.flatten`; couplings in both triangles."""
        (upper,), biases = super().split(vector)
        return Parameters((upper + np.swapaxes(upper, -2, -1),), biases)

    def statistics(self, means: Sequence[np.ndarray]) -> np.ndarray:
        """Sufficient statistics ``(rows, n_parameters)`` of states, given as a tuple of one array."""
        first, second = self.masks[0].nonzero()
        (rows,) = means
        return np.concatenate([rows[:, first] * rows[:, second], rows], axis=1)


class PairwiseFisherMatrix(FisherMatrix):
    """Fisher information matrix of a pairwise model (made by :func:`matrix`)."""

    of: Of = "joint"

    def __init__(
        self, states: UInt8[np.ndarray, "rows units"], probabilities: Float[np.ndarray, " rows"], mean: Moments
    ):
        super().__init__(PairwiseLayout(states.shape[1]))
        self._states, self._probabilities, self._moments = states, probabilities, mean
        self.diagnostics = mean.diagnostics

    @classmethod
    def exact(cls, model: PairwiseModel) -> PairwiseFisherMatrix:
        """The matrix over all states of a model of at most 20 units, float64."""
        mean = pairwise_enumeration.moments(model)
        states = pairwise_enumeration.all_states(model.n_units)
        biases, couplings = (np.asarray(a, np.float64) for a in (model.biases, model.couplings))
        log_weights = states @ biases + 0.5 * ((states @ couplings) * states).sum(axis=1)
        return cls(states, np.exp(log_weights - np.logaddexp.reduce(log_weights)), mean)

    @property
    def _dtype(self) -> np.dtype:
        return self._probabilities.dtype

    @cached_property
    def _rows(self) -> np.ndarray:
        return self._states.astype(self._dtype)

    @cached_property
    def _mean(self) -> np.ndarray:
        return self.flatten(self._moments.values.as_parameters()).astype(self._dtype)

    def diagonal(self) -> Float[np.ndarray, " parameters"]:
        """Variance Fisher information ``p (1 - p)``, ``p`` the coincidence rate or, for a bias, the rate."""
        return units.variance(self._mean)

    def diagonal_errors(self) -> Float[np.ndarray, " parameters"]:
        """Standard errors of :meth:`diagonal`, from the spread between groups of rows; zero when exact."""
        return error_of_variance(self._mean, self.flatten(self._moments.standard_errors.as_parameters()))

    def eigenvalue_errors(self, vectors: Parameters) -> Float[np.ndarray, " k"]:
        """Standard error of the variance along each direction (see :meth:`FisherMatrix.eigenvalue_errors`)."""
        if self.diagnostics is None:
            return super().eigenvalue_errors(vectors)
        directions = self.flatten(vectors).astype(self._dtype)
        squares = np.stack([self._deviations(direction) ** 2 for direction in directions])
        means = [g.mean(axis=1, dtype=np.float64) for g in np.array_split(squares, N_GROUPS, axis=1) if g.size]
        return np.std(means, axis=0, ddof=1) / math.sqrt(len(means))

    def _dense(self) -> np.ndarray:
        covariance = np.zeros(self.shape, self._dtype)
        for chunk in self._chunks():
            rows = self._states[chunk].astype(self._dtype)
            add_outer_products(covariance, self._layout.statistics((rows,)) - self._mean, self._probabilities[chunk])
        return covariance

    def _times(self, vector: np.ndarray) -> np.ndarray:
        weighted = self._probabilities * self._deviations(vector)
        rows = self._rows
        return self.flatten(Parameters((rows.T @ (rows * weighted[:, None]),), (weighted @ rows,)))

    def _deviations(self, direction: np.ndarray) -> np.ndarray:
        """``T . x - E[T] . x`` of every row along a direction ``x``, without the statistics themselves."""
        (couplings,), (biases,) = self.split(direction.astype(self._dtype))
        rows = self._rows
        return rows @ biases + 0.5 * ((rows @ couplings) * rows).sum(axis=1) - self._mean @ direction

    def _chunks(self) -> list[slice]:
        size = max(1, _CHUNK_ENTRIES // self.shape[0])
        return [slice(start, start + size) for start in range(0, len(self._states), size)]
