"""Averages of the sufficient statistics: firing rates of units and coincidence rates of synapses.

The sufficient statistics of a machine are ``T(s) = [s_0, ..., s_L, s_0 (x) s_1, ..., s_{L-1} (x) s_L]``. Gradients are
differences of their means and Fisher information is their covariance, so their averages are written once, here.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from secateur.model.arrays import AnyArray
from secateur.model.diagnostics import MixingDiagnostics
from secateur.model.machine import Parameters, States

N_GROUPS = 16
"""Groups of chains whose spread gives standard errors; their relative error is about 1 / sqrt(2 * 15) = 18 %."""


class Statistics(NamedTuple):
    """One value for every unit and every pair of units in adjacent layers.

    ``rates``: per layer ``(n_l,)``. ``coincidences``: per weight matrix ``(n_l, n_{l+1})``; also for absent synapses.
    """

    rates: tuple[AnyArray, ...]
    coincidences: tuple[AnyArray, ...]

    def as_parameters(self) -> Parameters:
        """The same numbers in the shape of the parameters they belong to."""
        return Parameters(self.coincidences, self.rates)


class Moments(eqx.Module):
    """Firing rates ``<s_i>`` and coincidence rates ``<s_i s_j>`` (probabilities per state) with their errors.

    ``standard_errors`` has the shapes of ``values``; ``diagnostics`` is ``None`` when the values are exact.
    """

    values: Statistics
    standard_errors: Statistics
    diagnostics: MixingDiagnostics | None

    @property
    def rates(self) -> tuple[AnyArray, ...]:
        """Per layer ``(n_l,)``: probability that a unit is 1."""
        return self.values.rates

    @property
    def coincidences(self) -> tuple[AnyArray, ...]:
        """Per weight matrix ``(n_l, n_{l+1})``: probability that both units are 1."""
        return self.values.coincidences

    def precision(self) -> AbstractContextManager:
        """Float64 arithmetic while working with exact (float64) moments."""
        return jax.enable_x64(self.rates[0].dtype == np.float64)

    @classmethod
    def exact(cls, values: Statistics) -> Moments:
        """Moments without error."""
        return cls(values, jax.tree.map(lambda a: a * 0, values), None)

    @classmethod
    def of_states(cls, states: States) -> Moments:
        """Plain averages over states, each row taken as an independent draw (at least two rows)."""
        n_rows = states[0].shape[0]
        if n_rows < 2:
            raise ValueError(f"states must have at least 2 rows for a standard error, got {n_rows}; draw more states")
        mean, errors = _mean_and_errors(states)
        return cls(mean, errors, MixingDiagnostics.of_rows(n_rows))


def mean_statistics(states: States) -> Statistics:
    """Average of the sufficient statistics over the rows of ``states`` (0/1 states or conditional means)."""
    n_rows = states[0].shape[0]
    rates = tuple(s.mean(axis=0) for s in states)
    pairs = zip(states[:-1], states[1:], strict=True)
    return Statistics(rates, tuple(lower.T @ upper / n_rows for lower, upper in pairs))


@jax.jit
def _mean_and_errors(states: States) -> tuple[Statistics, Statistics]:
    n_rows = states[0].shape[0]
    return mean_statistics(states), standard_errors(mean_per_group(group_sums(states), n_rows, 1), n_rows)


def group_sums(states: States) -> Statistics:
    """Sums of the sufficient statistics within each of up to 16 groups of consecutive rows; groups come first."""
    sizes = _group_sizes(states[0].shape[0])
    padding = len(sizes) * int(sizes.max()) - states[0].shape[0]
    grouped = [jnp.pad(s, ((0, padding), (0, 0))).reshape(len(sizes), -1, s.shape[1]) for s in states]
    pairs = zip(grouped[:-1], grouped[1:], strict=True)
    coincidences = tuple(jnp.einsum("gci,gcj->gij", lower, upper) for lower, upper in pairs)
    return Statistics(tuple(g.sum(axis=1) for g in grouped), coincidences)


def mean_per_group(sums: Statistics, n_rows: int, n_draws: int) -> Statistics:
    """Group means from group sums over ``n_draws`` draws of ``n_rows`` chains."""
    counts = _group_sizes(n_rows).astype(np.float32) * n_draws
    return jax.tree.map(lambda a: a / counts.reshape(-1, *(1,) * (a.ndim - 1)), sums)


def overall_mean(per_group: Statistics, n_rows: int) -> Statistics:
    """Mean over all rows from the group means."""
    shares = _group_sizes(n_rows).astype(np.float32) / n_rows
    return jax.tree.map(lambda a: jnp.tensordot(shares, a, axes=1), per_group)


def standard_errors(per_group: Statistics, n_rows: int) -> Statistics:
    """Standard error of the overall mean from the spread between independent groups of chains."""
    shares = _group_sizes(n_rows).astype(np.float32) / n_rows
    correction = len(shares) / (len(shares) - 1)

    def error(means: Float[AnyArray, "groups ..."], centre: Float[AnyArray, "*shape"]) -> Float[AnyArray, "*shape"]:
        return jnp.sqrt(correction * jnp.tensordot(shares**2, (means - centre[None]) ** 2, axes=1))

    return jax.tree.map(error, per_group, overall_mean(per_group, n_rows))


def _group_sizes(n_rows: int) -> np.ndarray:
    """Rows per group: consecutive rows, equal numbers but for the last groups."""
    largest = -(-n_rows // min(n_rows, N_GROUPS))
    sizes = np.full(-(-n_rows // largest), largest)
    sizes[-1] -= sizes.sum() - n_rows
    return sizes
