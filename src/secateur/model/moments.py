"""Averages of the sufficient statistics: firing rates of units and coincidence rates of pairs, with their errors.

The sufficient statistics of a machine are ``T(s) = [s_0, ..., s_L, s_0 (x) s_1, ..., s_{L-1} (x) s_L]``, those of a
pairwise model ``[s, s (x) s]``. Gradients are differences of their means and Fisher information is their covariance, so
their averages are written once, here.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from secateur.model.arrays import AnyArray
from secateur.model.machine import Parameters, States
from secateur.model.trust import TRUSTED, Verdict

N_GROUPS = 16
"""Groups of draws whose spread gives standard errors; their relative error is about 1 / sqrt(2 * 15) = 18 %."""

FEW = 10
"""Effective draws in which a unit was active (or silent) below which the spread between groups is no measure of its
error."""


class Statistics(NamedTuple):
    """One value for every unit and every pair of units that the model couples.

    ``rates``: per layer ``(n_l,)``. ``coincidences``: per weight matrix ``(n_l, n_{l+1})``, also for absent synapses;
    of a pairwise model one array ``(n, n)`` whose diagonal holds the rates.
    """

    rates: tuple[AnyArray, ...]
    coincidences: tuple[AnyArray, ...]

    def as_parameters(self) -> Parameters:
        """The same numbers in the shape of the parameters they belong to."""
        return Parameters(self.coincidences, self.rates)


class Moments(eqx.Module):
    """Firing rates ``<s_i>`` and coincidence rates ``<s_i s_j>`` (probabilities per state) with their errors.

    Attributes
    ----------
    values
        The averages.
    standard_errors
        Their standard errors in the same shapes; 0 where exact, and nowhere else.
    diagnostics
        How the draws were made and how well the chains mixed
        (:class:`secateur.sampling.diagnostics.MixingDiagnostics`); ``None`` when exact.
    rate_deviations
        Deviations of the rates in every group of draws from their mean, ``(groups, n_l)`` per layer, so scaled that the
        products of two columns sum to the covariance of the errors of two rates; ``None`` when exact.
    """

    values: Statistics
    standard_errors: Statistics
    diagnostics: Any
    rate_deviations: tuple[AnyArray, ...] | None = None

    @property
    def rates(self) -> tuple[AnyArray, ...]:
        """Per layer ``(n_l,)``: probability that a unit is 1."""
        return self.values.rates

    @property
    def coincidences(self) -> tuple[AnyArray, ...]:
        """Per weight matrix ``(n_l, n_{l+1})``: probability that both units are 1."""
        return self.values.coincidences

    @property
    def is_exact(self) -> bool:
        """Whether the averages are sums over all states."""
        return self.diagnostics is None

    @property
    def verdict(self) -> Verdict:
        """Whether the averages can be trusted."""
        return TRUSTED if self.diagnostics is None else self.diagnostics.verdict

    def precision(self) -> AbstractContextManager:
        """Float64 arithmetic while working with exact (float64) moments."""
        return jax.enable_x64(self.rates[0].dtype == np.float64)

    @classmethod
    def exact(cls, values: Statistics) -> Moments:
        """Moments without error."""
        return cls(values, jax.tree.map(lambda a: a * 0, values), None)

    def __repr__(self) -> str:
        rates = ", ".join(f"{np.mean(np.asarray(r)):.4g}" for r in self.rates)
        how = "exact" if self.is_exact else str(self.diagnostics)
        return f"Moments(mean rate per layer: {rates}; {how})"


def coupled(layers: tuple[Any, ...]) -> list[tuple[Any, Any]]:
    """The pairs of layers whose products are sufficient statistics; a single layer is coupled with itself."""
    return list(zip(layers[:-1], layers[1:], strict=True)) if len(layers) > 1 else [(layers[0], layers[0])]


def mean_statistics(states: States) -> Statistics:
    """Average of the sufficient statistics over the rows of ``states`` (0/1 states or conditional means)."""
    n_rows = states[0].shape[0]
    rates = tuple(s.mean(axis=0) for s in states)
    return Statistics(rates, tuple(lower.T @ upper / n_rows for lower, upper in coupled(states)))


class GroupSums(eqx.Module):
    """Sums of the sufficient statistics within up to 16 groups of draws that hardly hang together.

    Groups are runs of consecutive chains; fewer than 16 chains are also cut into runs of consecutive draws.

    Attributes
    ----------
    statistics
        Sums, ``(segments, groups of chains, ...)``.
    watched, watched_squares
        The same of a few quantities that tell how slowly the chains move, ``(segments, groups, quantities)``.
    """

    statistics: Statistics
    watched: Float[Array, "segments groups quantities"]
    watched_squares: Float[Array, "segments groups quantities"]
    n_chains: int = eqx.field(static=True)
    n_draws: int = eqx.field(static=True)

    @classmethod
    def empty(cls, states: States, n_watched: int, n_draws: int) -> GroupSums:
        """No draws yet of chains whose states are like ``states``."""
        n_chains = states[0].shape[0]
        groups = (min(n_draws, math.ceil(N_GROUPS / n_chains)), len(_group_sizes(n_chains)))
        zeros = [jnp.zeros((*groups, s.shape[1]), s.dtype) for s in states]
        pairs = [jnp.zeros((*groups, a.shape[1], b.shape[1]), a.dtype) for a, b in coupled(states)]
        watched = jnp.zeros((*groups, n_watched), states[0].dtype)
        return cls(Statistics(tuple(zeros), tuple(pairs)), watched, watched, n_chains, n_draws)

    def add(self, means: States, watched: Float[Array, "chains quantities"], draw: Array | int) -> GroupSums:
        """The sums with draw number ``draw`` (0-based) of every chain added."""
        added = (_sums_of_groups(means), _grouped(watched).sum(axis=1), _grouped(watched**2).sum(axis=1))
        segment = draw * self.watched.shape[0] // self.n_draws
        old = (self.statistics, self.watched, self.watched_squares)
        statistics, watched, squares = jax.tree.map(lambda total, new: total.at[segment].add(new), old, added)
        return GroupSums(statistics, watched, squares, self.n_chains, self.n_draws)

    def _counts(self) -> np.ndarray:
        """Draws in every group, ``(segments, groups)``."""
        n_segments = self.watched.shape[-3]
        draws = np.bincount(np.arange(self.n_draws) * n_segments // self.n_draws, minlength=n_segments)
        return (draws[:, None] * _group_sizes(self.n_chains)[None, :]).astype(np.float32)

    def values_and_errors(self, sampled: tuple[bool, ...]) -> tuple[Statistics, Statistics, tuple[Array, ...]]:
        """Averages, their standard errors from the spread between groups, and deviations of the rates in each group.

        Parameters
        ----------
        sampled
            Which layers entered by drawn states, not by conditional means: units of theirs that were never seen active
            have an error all the same.
        """
        counts = self._counts()
        shares = counts / counts.sum()
        correction = counts.size / max(counts.size - 1, 1)

        def group_means(sums: Array) -> tuple[Array, AnyArray]:
            shape = (*counts.shape, *(1,) * (sums.ndim - 2))
            return sums / counts.reshape(shape), shares.reshape(shape)

        def mean(sums: Array) -> Array:
            # A sum over all draws, so that a unit that is always 1 has a rate of exactly 1.
            return sums.sum(axis=(0, 1)) / counts.sum()

        def error(sums: Array) -> Array:
            means, weights = group_means(sums)
            return jnp.sqrt(correction * (weights**2 * (means - mean(sums)[None, None]) ** 2).sum(axis=(0, 1)))

        values, errors = jax.tree.map(mean, self.statistics), jax.tree.map(error, self.statistics)
        scale = np.float32(math.sqrt(correction))

        def deviations(sums: Array) -> Array:
            means, weights = group_means(sums)
            return (scale * weights * (means - mean(sums)[None, None])).reshape(-1, sums.shape[-1])

        rate_deviations = tuple(deviations(sums) for sums in self.statistics.rates)
        return values, _with_floor(values, errors, self.sample_size(), sampled), rate_deviations

    def sample_size(self) -> Float[Array, ""]:
        """Effective number of draws, from the spread between groups of the watched quantity that moves most slowly."""
        counts = self._counts()[..., None]
        total = float(counts.sum())
        mean = self.watched.sum(axis=(0, 1)) / total
        variance = self.watched_squares.sum(axis=(0, 1)) / total - mean**2
        spread = (counts * (self.watched / counts - mean[None, None, :]) ** 2).sum(axis=(0, 1)) / max(
            counts.size - 1, 1
        )
        moves = variance > 1e-6 * jnp.abs(mean)
        time = jnp.where(moves, spread / jnp.where(moves, variance, 1), 1.0).max(initial=1.0)
        return total / time


def _with_floor(
    values: Statistics, errors: Statistics, sample_size: Float[Array, ""], sampled: tuple[bool, ...]
) -> Statistics:
    """Errors that cover the truth also where a unit was active (or silent) in few draws or in none.

    A probability seen ``k`` times in ``n`` draws has at least the error ``sqrt(k + 2) / n``, as if two more had been
    seen (Agresti & Coull 1998). A coincidence of a drawn unit with a conditional probability has that of the drawn unit
    times the mean of the other while the unit is active; 1 where it never was.
    """

    def floor(p: AnyArray) -> AnyArray:
        rarer = jnp.minimum(p, 1 - p) * sample_size
        return jnp.where(rarer < FEW, jnp.sqrt(jnp.maximum(rarer, 0) + 2) / sample_size, 0)

    def while_active(p: AnyArray, rate: AnyArray) -> AnyArray:
        return jnp.where(rate > 0, p / jnp.where(rate > 0, rate, 1), 1)

    rates = tuple(
        jnp.maximum(e, floor(r)) if drawn else e
        for e, r, drawn in zip(errors.rates, values.rates, sampled, strict=True)
    )
    coincidences = []
    for error, p, (lower, upper), (low_drawn, up_drawn) in zip(
        errors.coincidences, values.coincidences, coupled(values.rates), coupled(sampled), strict=True
    ):
        lower, upper = lower[:, None], upper[None, :]
        if low_drawn and up_drawn:
            least = floor(p)
        elif low_drawn:
            least = floor(lower) * while_active(p, lower)
        else:
            least = floor(upper) * while_active(p, upper)
        coincidences.append(jnp.maximum(error, least))
    return Statistics(rates, tuple(coincidences))


def _sums_of_groups(states: States) -> Statistics:
    """Sums of the sufficient statistics over the rows of every group; groups come first."""
    grouped = tuple(_grouped(s) for s in states)
    pairs = tuple(jnp.einsum("gci,gcj->gij", lower, upper) for lower, upper in coupled(grouped))
    return Statistics(tuple(g.sum(axis=1) for g in grouped), pairs)


def _grouped(rows: Float[Array, "rows units"]) -> Float[Array, "groups rows_per_group units"]:
    """Rows in groups of consecutive ones, the last group filled up with zeros."""
    sizes = _group_sizes(rows.shape[0])
    padding = len(sizes) * int(sizes.max()) - rows.shape[0]
    return jnp.pad(rows, ((0, padding), (0, 0))).reshape(len(sizes), -1, rows.shape[1])


def _group_sizes(n_rows: int) -> np.ndarray:
    """Rows per group: consecutive rows, equal numbers but for the last groups."""
    largest = -(-n_rows // min(n_rows, N_GROUPS))
    sizes = np.full(-(-n_rows // largest), largest)
    sizes[-1] -= sizes.sum() - n_rows
    return sizes
