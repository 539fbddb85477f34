"""Block-Gibbs sampling at any depth, with clamped units, and the model's moments by streaming over chains.

Even layers are independent given the odd ones and the other way round, so one sweep is two half-sweeps at any depth:
first the even layers (the visible one among them), then the odd ones.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from secateur.model import devices, mean_field, units
from secateur.model.arrays import AnyArray
from secateur.model.diagnostics import MixingDiagnostics, TraceSummary
from secateur.model.machine import Machine, States
from secateur.model.moments import Moments, Statistics, group_sums, mean_per_group, overall_mean, standard_errors

Clamp = tuple[Bool[AnyArray, " _"] | None, ...]
"""Which units keep their state: per layer a boolean array ``(n_l,)``, or ``None`` for a layer that moves freely."""


@partial(jax.jit, static_argnames=("n_chains",))
def random_states(machine: Machine, key: PRNGKeyArray, n_chains: int) -> States:
    """Independent states of every layer from the machine's biases alone, as starting points of chains."""
    keys = jax.random.split(key, machine.n_layers)
    return tuple(
        units.sample(jnp.broadcast_to(units.mean(b), (n_chains, b.shape[0])), k)
        for b, k in zip(machine.biases, keys, strict=True)
    )


@partial(jax.jit, static_argnames=("n_chains",))
def data_states(machine: Machine, visible: Float[AnyArray, "rows visible"], key: PRNGKeyArray, n_chains: int) -> States:
    """States at rows drawn at random, hidden layers drawn from one upward pass, as starting points of chains.

    Chains that start far from the data can stay for thousands of sweeps in states, such as an empty image, that a
    machine gives little probability.
    """
    key_rows, *layer_keys = jax.random.split(key, machine.n_layers + 1)
    rows = visible[jax.random.randint(key_rows, (n_chains,), 0, visible.shape[0])]
    means = mean_field.bottom_up(machine, rows)
    return tuple(units.sample(m, k) for m, k in zip(means, layer_keys, strict=True))


def clamp_visible(machine: Machine) -> Clamp:
    """Clamp that holds the whole visible layer, for sampling hidden states given data."""
    return (jnp.ones(machine.layer_sizes[0], bool), *(None,) * (machine.n_layers - 1))


def gibbs(
    machine: Machine,
    states: States,
    key: PRNGKeyArray,
    n_sweeps: int,
    clamp: Clamp | None = None,
    mesh: Mesh | None = None,
) -> States:
    """States of the chains after ``n_sweeps`` block-Gibbs sweeps.

    Parameters
    ----------
    machine
        The model.
    states
        Present state: one 0/1 array ``(chains, n_l)`` per layer.
    key
        Random key; the same key gives the same states.
    n_sweeps
        Sweeps (each two half-sweeps: even layers, then odd layers).
    clamp
        Units that keep their present state (see :data:`Clamp`).
    mesh
        Devices over which the chains are split (:mod:`secateur.model.devices`); a multiple of them in number.

    Returns
    -------
    States
        New states, same shapes.
    """
    machine, states = devices.on_all(mesh, machine), devices.split_rows(mesh, "chains", states)
    return _gibbs(machine, states, key, n_sweeps, clamp)


@partial(jax.jit, static_argnames=("n_sweeps",))
def _gibbs(machine: Machine, states: States, key: PRNGKeyArray, n_sweeps: int, clamp: Clamp | None) -> States:
    def body(states: States, sweep_key: PRNGKeyArray) -> tuple[States, None]:
        return sweep(machine, states, sweep_key, clamp)[0], None

    return jax.lax.scan(body, states, jax.random.split(key, n_sweeps))[0]


def half_sweep(
    machine: Machine, states: States, key: PRNGKeyArray, parity: int, clamp: Clamp | None = None
) -> tuple[States, States]:
    """Draw all even (``parity`` 0) or all odd (``parity`` 1) layers given the others.

    Returns the new states, and the same with the drawn layers replaced by their probabilities of being 1.
    """
    new, means = list(states), list(states)
    layers = range(parity, machine.n_layers, 2)
    for layer, layer_key in zip(layers, jax.random.split(key, len(layers)), strict=True):
        means[layer] = units.mean(machine.total_input(states, layer))
        new[layer] = units.sample(means[layer], layer_key)
        held = None if clamp is None else clamp[layer]
        if held is not None:
            new[layer] = jnp.where(held[None, :], states[layer], new[layer])
            means[layer] = jnp.where(held[None, :], states[layer], means[layer])
    return tuple(new), tuple(means)


def sweep(machine: Machine, states: States, key: PRNGKeyArray, clamp: Clamp | None = None) -> tuple[States, States]:
    """One block-Gibbs sweep: even layers given odd ones, then odd layers given even ones.

    Returns the new states, and the *conditional means*: the new states with every odd layer replaced by its
    probability of being 1 given the even layers. Averages over the conditional means have the same expectation as
    averages over the states and a smaller variance (Rao-Blackwell); every synapse joins an even and an odd layer.
    """
    key_even, key_odd = jax.random.split(key)
    states, _ = half_sweep(machine, states, key_even, 0, clamp)
    return half_sweep(machine, states, key_odd, 1, clamp)


def sweeps(machine: Machine, states: States, key: PRNGKeyArray, n_sweeps: int) -> tuple[States, States]:
    """States after a number of sweeps, at least one, and the conditional means of the last (see :func:`sweep`)."""

    def body(carry: tuple[States, States], sweep_key: PRNGKeyArray) -> tuple[tuple[States, States], None]:
        return sweep(machine, carry[0], sweep_key), None

    return jax.lax.scan(body, (states, states), jax.random.split(key, n_sweeps))[0]


def moments(
    machine: Machine,
    states: States,
    key: PRNGKeyArray,
    *,
    n_draws: int,
    n_sweeps: int = 1,
    n_burn_in: int = 0,
    mesh: Mesh | None = None,
) -> Moments:
    """Firing rates and coincidence rates of the model, streamed over chains.

    Memory does not depend on ``n_draws``. Standard errors come from the spread between groups of chains, so they are
    right however slowly a chain mixes, provided that the chains start independently and have been burnt in.

    Parameters
    ----------
    machine
        The model.
    states
        Starting states ``(chains, n_l)``; at least two chains.
    key
        Random key.
    n_draws
        Draws per chain; ``chains * n_draws`` states in all.
    n_sweeps
        Sweeps from one draw to the next.
    n_burn_in
        Sweeps before the first draw.
    mesh
        Devices over which the chains are split (:mod:`secateur.model.devices`); a multiple of them in number.

    Returns
    -------
    Moments
        Rates and coincidences with standard errors, effective sample size and split R-hat of the energy.

    Raises
    ------
    ValueError
        With fewer than two chains or fewer than two draws.
    """
    n_chains = states[0].shape[0]
    if n_chains < 2 or n_draws < 2:
        raise ValueError(
            f"need at least 2 chains and 2 draws for a standard error, got {n_chains} chains and {n_draws} draws"
        )
    machine, states = devices.on_all(mesh, machine), devices.split_rows(mesh, "chains", states)
    return _moments(machine, states, key, n_draws, n_sweeps, n_burn_in)


@partial(jax.jit, static_argnames=("n_draws", "n_sweeps", "n_burn_in"))
def _moments(
    machine: Machine, states: States, key: PRNGKeyArray, n_draws: int, n_sweeps: int, n_burn_in: int
) -> Moments:
    n_chains = states[0].shape[0]
    key_burn_in, key_draws = jax.random.split(key)
    states = gibbs(machine, states, key_burn_in, n_burn_in)

    def body(carry: tuple[States, Statistics, TraceSummary], draw: tuple[Array, Array]) -> tuple[tuple, None]:
        current, sums, energies = carry
        index, draw_key = draw
        current, means = sweeps(machine, current, draw_key, n_sweeps)
        sums = jax.tree.map(jnp.add, sums, group_sums(means))
        return (current, sums, energies.add(machine.energy(current), index)), None

    empty = jax.tree.map(jnp.zeros_like, group_sums(states))
    start = (states, empty, TraceSummary.empty(machine.energy(states), n_draws))
    draws = (jnp.arange(n_draws), jax.random.split(key_draws, n_draws))
    (_, sums, energies), _ = jax.lax.scan(body, start, draws)
    per_group = mean_per_group(sums, n_chains, n_draws)
    return Moments(
        values=overall_mean(per_group, n_chains),
        standard_errors=standard_errors(per_group, n_chains),
        diagnostics=MixingDiagnostics.of_energies(energies, n_sweeps),
    )


def sample(
    machine: Machine,
    states: States,
    key: PRNGKeyArray,
    *,
    n_draws: int,
    n_sweeps: int = 1,
    n_burn_in: int = 0,
    clamp: Clamp | None = None,
    mesh: Mesh | None = None,
) -> tuple[tuple[Float[Array, "draws chains _"], ...], MixingDiagnostics]:
    """Draws from the model, kept in memory, with mixing diagnostics beside them.

    Parameters are those of :func:`moments`; ``clamp`` as in :func:`gibbs`.

    Returns
    -------
    draws
        One 0/1 array ``(n_draws, chains, n_l)`` per layer.
    diagnostics
        Effective sample size and split R-hat of the energy, number of chains, draws and sweeps.
    """
    machine, states = devices.on_all(mesh, machine), devices.split_rows(mesh, "chains", states)
    return _sample(machine, states, key, n_draws, n_sweeps, n_burn_in, clamp)


@partial(jax.jit, static_argnames=("n_draws", "n_sweeps", "n_burn_in"))
def _sample(
    machine: Machine,
    states: States,
    key: PRNGKeyArray,
    n_draws: int,
    n_sweeps: int,
    n_burn_in: int,
    clamp: Clamp | None,
) -> tuple[tuple[Float[Array, "draws chains _"], ...], MixingDiagnostics]:
    key_burn_in, key_draws = jax.random.split(key)
    states = gibbs(machine, states, key_burn_in, n_burn_in, clamp)

    def body(carry: tuple[States, TraceSummary], draw: tuple[Array, Array]) -> tuple[tuple, States]:
        current, energies = carry
        index, draw_key = draw
        current = gibbs(machine, current, draw_key, n_sweeps, clamp)
        return (current, energies.add(machine.energy(current), index)), current

    start = (states, TraceSummary.empty(machine.energy(states), n_draws))
    draws = (jnp.arange(n_draws), jax.random.split(key_draws, n_draws))
    (_, energies), kept = jax.lax.scan(body, start, draws)
    return kept, MixingDiagnostics.of_energies(energies, n_sweeps)
