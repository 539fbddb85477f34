"""Fisher information of the pairwise model: covariance of the sufficient statistics ``s_i`` and ``s_i s_j``.

All units are visible, so the joint and the observed Fisher information are one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from secateur.fisher.diagonal import FisherInformation
from secateur.fisher.full_matrix import FisherMatrix, Of
from secateur.fisher.total_covariance import Layout, add_outer_products
from secateur.likelihood.pairwise import log_probability
from secateur.model import pairwise_enumeration as enumeration
from secateur.model import units
from secateur.model.arrays import AnyArray
from secateur.model.machine import Parameters
from secateur.model.moments import N_GROUPS, Moments, Statistics
from secateur.model.pairwise import PairwiseModel, check_states

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

    @property
    def _dtype(self) -> np.dtype:
        return self._probabilities.dtype

    @cached_property
    def _mean(self) -> np.ndarray:
        return self.flatten(self._moments.values.as_parameters()).astype(self._dtype)

    def diagonal(self) -> Float[np.ndarray, " parameters"]:
        """Variance Fisher information ``p (1 - p)``, ``p`` the coincidence rate or, for a bias, the rate."""
        return units.variance(self._mean)

    def diagonal_errors(self) -> Float[np.ndarray, " parameters"]:
        """Standard errors of :meth:`diagonal`, from the spread between groups of rows; zero when exact."""
        # Delta method: d(p (1 - p)) = (1 - 2 p) dp.
        return abs(1 - 2 * self._mean) * self.flatten(self._moments.standard_errors.as_parameters())

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
        rows = self._states.astype(self._dtype)
        return self.flatten(Parameters((rows.T @ (rows * weighted[:, None]),), (weighted @ rows,)))

    def _deviations(self, direction: np.ndarray) -> np.ndarray:
        """``T . x - E[T] . x`` of every row along a direction ``x``, without the statistics themselves."""
        (couplings,), (biases,) = self.split(direction.astype(self._dtype))
        rows = self._states.astype(self._dtype)
        return rows @ biases + 0.5 * ((rows @ couplings) * rows).sum(axis=1) - self._mean @ direction

    def _chunks(self) -> list[slice]:
        size = max(1, _CHUNK_ENTRIES // self.shape[0])
        return [slice(start, start + size) for start in range(0, len(self._states), size)]


def matrix(model: PairwiseModel, source: str | AnyArray) -> FisherMatrix:
    """Full Fisher information matrix ``Cov[T]`` of the couplings and biases, in nats per product of two parameters.

    Parameters
    ----------
    model
        The model.
    source
        ``"exact"``: sum over all states, at most 20 units, float64. Or 0/1 states ``(rows, units)``, at least two rows,
        float32: drawn from the model, or recorded words. A model fitted to words has their rates and coincidence
        rates, so the diagonals agree; other entries are moments of third and fourth order, in which model and recording
        may differ.

    Returns
    -------
    FisherMatrix
        With ``.dense()``, ``.matvec(x)``, ``.top(k)``, ``.diagonal()`` and ``.trace()``. Order of parameters: couplings
        ``J_01, J_02, ..., J_12, ...``, then biases; eigenvectors come as ``Parameters((couplings,), (biases,))`` with
        each coupling in both triangles.

    Raises
    ------
    ValueError
        If the model is too large for ``"exact"`` or the states do not fit it.
    """
    if isinstance(source, str):
        exact = moments_from(model, source)
        states = enumeration.all_states(model.n_units)
        log_weights = log_probability(model, states, 0.0)
        probabilities = np.exp(log_weights - np.logaddexp.reduce(log_weights))
        return PairwiseFisherMatrix(states, probabilities, exact)
    states = check_states(source, model.n_units)
    return PairwiseFisherMatrix(states, np.full(len(states), 1 / len(states), np.float32), moments_from(model, states))


def variance(model: PairwiseModel, source: str | AnyArray | Moments) -> FisherInformation:
    """Variance Fisher information ``p (1 - p)``: ``p = <s_i s_j>`` for a coupling, ``<s_i>`` for a bias.

    ``source`` as in :func:`matrix`, or moments. The result holds one array ``(units, units)``, symmetric with a zero
    diagonal, in ``weights`` and one ``(units,)`` in ``biases``.
    """
    found = source if isinstance(source, Moments) else moments_from(model, source)
    (rates,), (coincidences,) = found.values
    (rate_errors,), (errors,) = found.standard_errors
    off = 1 - np.eye(model.n_units, dtype=np.asarray(rates).dtype)
    return FisherInformation(
        weights=(off * units.variance(np.asarray(coincidences)),),
        biases=(units.variance(np.asarray(rates)),),
        # Delta method: d(p (1 - p)) = (1 - 2 p) dp.
        weight_errors=(off * abs(1 - 2 * np.asarray(coincidences)) * np.asarray(errors),),
        bias_errors=(abs(1 - 2 * np.asarray(rates)) * np.asarray(rate_errors),),
        diagnostics=found.diagnostics,
    )


def moments_from(model: PairwiseModel, source: str | AnyArray) -> Moments:
    """Moments of the model, exact or from states (one row per draw, consecutive rows in 16 groups for errors)."""
    if isinstance(source, str):
        if source != "exact":
            raise ValueError(f"source must be 'exact' or states (rows, units), got {source!r}")
        return enumeration.moments(model)
    states = jnp.asarray(check_states(source, model.n_units), jnp.float32)
    doubled = Moments.of_states((states, states))  # coincidences of two equal layers are those within one

    def first(statistics: Statistics) -> Statistics:
        return Statistics(statistics.rates[:1], statistics.coincidences)

    return Moments(first(doubled.values), first(doubled.standard_errors), doubled.diagnostics)
