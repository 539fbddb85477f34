"""The loop over a sampler's steps that everything uses: streams moments, covariances or draws, with diagnostics.

Pure functions of model, sampler, state and key, for use under ``jit`` and ``vmap``; the functions with the same purpose
that check what a user gives are in :mod:`secateur.sampling.draws`.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from secateur.model.machine import States
from secateur.model.moments import GroupSums, Moments
from secateur.sampling.clamps import chains_differ
from secateur.sampling.diagnostics import MixingDiagnostics, TraceSums, traced_values
from secateur.sampling.sampler import Sampler, name_of, sweeps_per_step
from secateur.sampling.sweep import Model


@runtime_checkable
class Collector(Protocol):
    """What is summed while chains run: a pytree of fixed size."""

    def add(self, states: States, info: Any, draw: Array) -> Any:
        """The sums with the draw of number ``draw`` (0-based) added."""


class Nothing(eqx.Module):
    """Collects nothing."""

    def add(self, states: States, info: Any, draw: Array) -> Nothing:
        """Nothing still."""
        return self


class MomentSums(eqx.Module):
    """Sums of the sufficient statistics, from conditional means where the sampler has them.

    Energy and activity, taken from ``reference`` so that float32 holds their variance, show how slowly chains move.
    """

    groups: GroupSums
    reference: Float[Array, " watched"]

    @classmethod
    def empty(cls, model: Model, states: States, n_draws: int) -> MomentSums:
        """No draws yet of chains that are at ``states``."""
        reference = _watched(states, model.energy(states)).mean(axis=0)
        return cls(GroupSums.empty(states, reference.shape[0], n_draws), reference)

    def add(self, states: States, info: Any, draw: Array) -> MomentSums:
        """The sums with a draw added."""
        watched = _watched(states, info.energy) - self.reference[None, :]
        return MomentSums(self.groups.add(info.means, watched, draw), self.reference)


def _watched(states: States, energy: Float[Array, " chains"]) -> Float[Array, "chains watched"]:
    return jnp.stack([energy, sum(layer.sum(axis=1) for layer in states)], axis=1)


class CovarianceSums(eqx.Module):
    """Sums of the states of all units and of their products: the covariance between any two units."""

    sums: Float[Array, " units"]
    products: Float[Array, "units units"]
    n_rows: Array

    @classmethod
    def empty(cls, states: States) -> CovarianceSums:
        """No draws yet."""
        n_units, dtype = sum(layer.shape[1] for layer in states), states[0].dtype
        return cls(jnp.zeros(n_units, dtype), jnp.zeros((n_units, n_units), dtype), jnp.zeros((), dtype))

    def add(self, states: States, info: Any, draw: Array) -> CovarianceSums:
        """The sums with a draw added."""
        rows = jnp.concatenate(states, axis=1)
        return CovarianceSums(self.sums + rows.sum(axis=0), self.products + rows.T @ rows, self.n_rows + rows.shape[0])

    @property
    def covariance(self) -> Float[Array, "units units"]:
        """Covariance of all units, layer after layer."""
        mean = self.sums / self.n_rows
        return self.products / self.n_rows - mean[:, None] * mean[None, :]


class Run(NamedTuple):
    """What a run of chains leaves.

    Attributes
    ----------
    state
        The sampler's state after the last draw.
    collected
        What the collector summed.
    kept
        Draws ``(draws, chains, n_l)`` per layer, if they were kept.
    energies
        Energy of every draw ``(draws, chains)``, if they were kept.
    diagnostics
        How well the chains mixed.
    """

    state: Any
    collected: Any
    kept: States | None
    energies: Array | None
    diagnostics: MixingDiagnostics


@eqx.filter_jit
def run(
    model: Model,
    sampler: Sampler,
    state: Any,
    key: PRNGKeyArray,
    collector: Collector,
    *,
    n_draws: int,
    n_burn_in: int = 0,
    keep: bool = False,
) -> Run:
    """Step chains on, draw after draw.

    Parameters
    ----------
    model, sampler, state
        The model, how it is sampled, and the sampler's state to begin with.
    key
        Random key.
    collector
        What to sum, with nothing in it yet.
    n_draws
        Draws, one per step.
    n_burn_in
        Sweeps before the first draw, rounded up to whole steps.
    keep
        Whether to keep every draw.
    """
    key_burn_in, key_draws = jax.random.split(key)
    n_steps = -(-n_burn_in // sweeps_per_step(sampler))
    state = burnt_in(model, sampler, state, key_burn_in, n_steps)
    if hasattr(state, "without_counts"):
        state = state.without_counts()

    def body(carry: tuple, draw: tuple[Array, Array]) -> tuple[tuple, Any]:
        state, collector, traces = carry
        index, draw_key = draw
        state, info = sampler.step(model, state, draw_key)
        states = state.states
        carry = (state, collector.add(states, info, index), traces.add(traced_values(states, info.energy), index))
        return carry, (states, info.energy) if keep else None

    states = state.states
    traces = TraceSums.empty(traced_values(states, model.energy(states)), n_draws)
    draws = (jnp.arange(n_draws, dtype=jnp.int32), jax.random.split(key_draws, n_draws))
    (state, collected, traces), each = jax.lax.scan(body, (state, collector, traces), draws)
    kept, energies = each if keep else (None, None)
    n_chains = states[0].shape[0]
    diagnostics = MixingDiagnostics(
        traces,
        tuple(layer.shape[1] for layer in states),
        n_chains,
        n_draws,
        sweeps_per_step(sampler),
        name_of(sampler),
        chains_differ(states, getattr(sampler, "clamp", None)),
        getattr(state, "swaps", None),
        energies,
    )
    return Run(state, collected, kept, energies, diagnostics)


def burnt_in(model: Model, sampler: Sampler, state: Any, key: PRNGKeyArray, n_steps: int) -> Any:
    """The state of the chains so many steps later."""
    if n_steps == 0:
        return state
    keys = jax.random.split(key, n_steps)
    return jax.lax.scan(lambda s, k: (sampler.step(model, s, k)[0], None), state, keys)[0]


def streamed_moments(
    model: Model, sampler: Sampler, state: Any, key: PRNGKeyArray, *, n_draws: int, n_burn_in: int = 0
) -> Moments:
    """Rates and coincidences of the model, summed while chains run; memory does not depend on the number of draws."""
    collector = MomentSums.empty(model, state.states, n_draws)
    found = run(model, sampler, state, key, collector, n_draws=n_draws, n_burn_in=n_burn_in)
    conditional = bool(getattr(sampler, "conditional_means", False))
    sampled = tuple(layer % 2 == 0 or not conditional for layer in range(len(model.layer_sizes)))
    values, errors, deviations = found.collected.groups.values_and_errors(sampled)
    return Moments(values, errors, found.diagnostics, deviations)
