"""Gibbs sampling of the pairwise model: unit after unit inside one scan, all chains in parallel."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from secateur.model import units
from secateur.model.arrays import AnyArray
from secateur.model.diagnostics import MixingDiagnostics, TraceSummary
from secateur.model.pairwise import PairwiseModel


@partial(jax.jit, static_argnames=("n_chains",))
def random_states(model: PairwiseModel, key: PRNGKeyArray, n_chains: int) -> Float[Array, "chains units"]:
    """Independent 0/1 states from the biases alone, as starting points of chains."""
    return units.sample(jnp.broadcast_to(units.mean(model.biases), (n_chains, model.n_units)), key)


@partial(jax.jit, static_argnames=("n_sweeps",))
def gibbs(
    model: PairwiseModel, states: Float[AnyArray, "chains units"], key: PRNGKeyArray, n_sweeps: int
) -> Float[Array, "chains units"]:
    """States of the chains after ``n_sweeps`` sweeps; a sweep draws every unit once given all others, in order."""

    def body(columns: Array, sweep_key: PRNGKeyArray) -> tuple[Array, None]:
        return _sweep(model, columns, sweep_key), None

    return jax.lax.scan(body, jnp.asarray(states).T, jax.random.split(key, n_sweeps))[0].T


def _sweep(model: PairwiseModel, columns: Float[Array, "units chains"], key: PRNGKeyArray) -> Array:
    """One sweep; units come first, so that a unit's states lie together in memory."""

    def body(columns: Array, step: tuple[Array, ...]) -> tuple[Array, None]:
        unit, bias, couplings, uniforms = step
        drawn = uniforms < units.mean(bias + couplings @ columns)
        return columns.at[unit].set(drawn.astype(columns.dtype)), None

    uniforms = jax.random.uniform(key, columns.shape, columns.dtype)
    steps = (jnp.arange(model.n_units), model.biases, model.couplings, uniforms)
    return jax.lax.scan(body, columns, steps)[0]


@partial(jax.jit, static_argnames=("n_draws", "n_sweeps", "n_burn_in"))
def sample(
    model: PairwiseModel,
    states: Float[AnyArray, "chains units"],
    key: PRNGKeyArray,
    *,
    n_draws: int,
    n_sweeps: int = 1,
    n_burn_in: int = 0,
) -> tuple[Float[Array, "draws chains units"], MixingDiagnostics]:
    """Draws from the model, with mixing diagnostics of the energy beside them.

    Parameters
    ----------
    model
        The model.
    states
        Starting states ``(chains, units)``, e.g. from :func:`random_states`.
    key
        Random key.
    n_draws
        Draws per chain.
    n_sweeps
        Sweeps from one draw to the next.
    n_burn_in
        Sweeps before the first draw.
    """
    key_burn_in, key_draws = jax.random.split(key)
    states = gibbs(model, states, key_burn_in, n_burn_in)

    def body(carry: tuple[Array, TraceSummary], draw: tuple[Array, Array]) -> tuple[tuple, Array]:
        current, energies = carry
        index, draw_key = draw
        current = gibbs(model, current, draw_key, n_sweeps)
        return (current, energies.add(model.energy(current), index)), current

    start = (states, TraceSummary.empty(model.energy(states), n_draws))
    draws = (jnp.arange(n_draws), jax.random.split(key_draws, n_draws))
    (_, energies), kept = jax.lax.scan(body, start, draws)
    return kept, MixingDiagnostics.of_energies(energies, n_sweeps)
