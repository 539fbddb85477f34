"""Draws and averages of a model, for users: what is given is checked, and what comes back carries its verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float

from secateur.model import checked, devices, exact
from secateur.model.arrays import AnyArray
from secateur.model.machine import States
from secateur.model.moments import Moments
from secateur.model.trust import Verdict
from secateur.sampling.clamps import checked_clamp
from secateur.sampling.diagnostics import R_HAT_LIMIT, MixingDiagnostics
from secateur.sampling.gibbs_sampler import Gibbs
from secateur.sampling.runner import Nothing, run, streamed_moments
from secateur.sampling.sampler import Sampler, sampler_named, sweeps_per_step
from secateur.sampling.starts import start_states
from secateur.sampling.sweep import Clamp, Model, sweep

AUTO, FIRST_CHOICE, SECOND_CHOICE = "auto", "gibbs", "tempering"
"""With ``sampler="auto"`` the first choice is taken, and the second where the verdict on the first is bad."""

N_CHAINS = 100
"""Chains of :func:`sample` and :func:`moments` where the number is not given."""

N_BURN_IN = 200
"""Sweeps before the first draw (Scholl, Rule & Hennig 2021, Methods, take 200 between draws)."""


class Draws(eqx.Module):
    """States drawn from a model, and whether they come from all of it; a sequence of layers, visible first.

    Attributes
    ----------
    states
        One 0/1 array ``(draws, chains, n_l)`` per layer.
    energies
        Energy of every draw in nats, ``(draws, chains)``.
    diagnostics
        How well the chains mixed.
    """

    states: tuple[Float[AnyArray, "*trials draws chains _"], ...]
    energies: Float[AnyArray, "*trials draws chains"]
    diagnostics: MixingDiagnostics

    def __getitem__(self, layer: int) -> Float[Array, "draws chains _"]:
        return self.states[layer]

    def __len__(self) -> int:
        return len(self.states)

    def __iter__(self) -> Iterator[Float[Array, "draws chains _"]]:
        return iter(self.states)

    def rows(self) -> States:
        """All draws as rows ``(chains * draws, n_l)`` per layer, chain after chain."""
        return tuple(jnp.swapaxes(layer, 0, 1).reshape(-1, layer.shape[-1]) for layer in self.states)

    @property
    def verdict(self) -> Verdict:
        """Whether the draws come from the whole model."""
        return self.diagnostics.mixing_verdict()

    def __repr__(self) -> str:
        rates = ", ".join(f"{float(layer.mean()):.4g}" for layer in self.states)
        return f"Draws(mean rate per layer: {rates}; {self.diagnostics})"


def gibbs(
    model: Model,
    states: Sequence[Any],
    key: Any,
    n_sweeps: int,
    clamp: Clamp | None = None,
    mesh: Mesh | None = None,
) -> States:
    """States of the chains after ``n_sweeps`` Gibbs sweeps.

    Parameters
    ----------
    model
        A machine or a pairwise model.
    states
        Present state: one 0/1 array ``(chains, n_l)`` per layer.
    key
        Random key; the same key gives the same states.
    n_sweeps
        Sweeps: of a machine two half-sweeps each, even layers, then odd layers.
    clamp
        Units that keep their present state (:data:`secateur.sampling.Clamp`).
    mesh
        Devices over which the chains are split (:mod:`secateur.model.devices`); a multiple of them in number.

    Raises
    ------
    ValueError
        If the states do not fit the model or are not 0/1.
    TypeError
        If the key is no random key.
    """
    sizes = checked.model(model, "model", single=True).layer_sizes
    states, key = checked.states(states, sizes), checked.key(key)
    n_sweeps = checked.count("n_sweeps", n_sweeps, 0)
    clamp = checked_clamp(clamp, sizes, states[0].shape[0])
    model, states = devices.on_all(mesh, model), devices.split_rows(mesh, "chains", states)
    return swept(model, states, key, n_sweeps, clamp)


@partial(jax.jit, static_argnames=("n_sweeps",))
def swept(model: Model, states: States, key: AnyArray, n_sweeps: int, clamp: Clamp | None = None) -> States:
    """:func:`gibbs` of states that have been checked."""
    keys = jax.random.split(key, n_sweeps)
    return jax.lax.scan(lambda s, k: (sweep(model, s, k, clamp)[0], None), states, keys)[0]


def sample(
    model: Model,
    key: Any,
    *,
    n_draws: Any,
    n_chains: Any = None,
    sampler: Any = "gibbs",
    n_sweeps: int = 1,
    n_burn_in: int = N_BURN_IN,
    start: str | Sequence[Any] = "dispersed",
    visible: Any = None,
    clamp: Clamp | None = None,
    mesh: Mesh | None = None,
) -> Draws:
    """States drawn from a model, kept in memory, with what tells whether they can be trusted.

    Parameters
    ----------
    model
        A machine or a pairwise model.
    key
        Random key.
    n_draws
        Draws per chain.
    n_chains
        Independent chains. ``None``: as many as ``start`` has, else 100.
    sampler
        ``"gibbs"``, ``"tempering"``, a registered name, or a sampler of one's own. ``"auto"``: Gibbs sampling, and
        tempering where its verdict is bad; the diagnostics say which.
    n_sweeps
        Sweeps from one draw to the next; a sampler that is given as an object has its own.
    n_burn_in
        Sweeps before the first draw.
    start
        Where the chains start (:func:`secateur.sampling.start_states`), or states ``(chains, n_l)`` per layer.
    visible
        0/1 rows ``(rows, n_0)`` of data, at which some chains start.
    clamp
        Units that keep the state they start with, for the sampler ``"gibbs"`` (:data:`secateur.sampling.Clamp`); give
        their states by ``start``.
    mesh
        Devices over which the chains are split (:mod:`secateur.model.devices`); a multiple of them in number.

    Raises
    ------
    ValueError
        If a number is too small, states or rows do not fit the model or are not 0/1, or there is no such sampler.
    TypeError
        If the key is no random key, or the sampler has no ``init`` and ``step``.

    Warns
    -----
    NotToBeTrusted
        If the chains have not mixed.
    """
    schedule = (n_draws, n_chains, sampler, n_sweeps, n_burn_in)
    drawn = sampled(model, key, schedule, start, visible, clamp, mesh, R_HAT_LIMIT)
    drawn.verdict.warn("the sample", stacklevel=2)
    return drawn


def sampled(
    model: Model,
    key: Any,
    schedule: tuple[Any, Any, Any, Any, Any],
    start: str | Sequence[Any] = "dispersed",
    visible: Any = None,
    clamp: Clamp | None = None,
    mesh: Mesh | None = None,
    r_hat_limit: float = R_HAT_LIMIT,
) -> Draws:
    """:func:`sample` without its warning, and with a limit of R-hat up to which ``"auto"`` keeps to Gibbs sampling.

    ``schedule``: draws, chains, sampler, sweeps between draws, burn-in.
    """
    n_draws, n_chains, sampler, n_sweeps, n_burn_in = schedule

    def draw(chosen: str | Sampler) -> Draws:
        begun = _begin(model, key, n_draws, n_chains, chosen, n_sweeps, n_burn_in, start, visible, clamp, mesh, 1)
        return _sample(*begun, n_draws=int(n_draws), n_burn_in=int(n_burn_in))

    drawn = draw(FIRST_CHOICE if sampler == AUTO else sampler)
    if sampler == AUTO and clamp is None and not drawn.diagnostics.mixing_verdict(r_hat_limit).trusted:
        drawn = draw(SECOND_CHOICE)
    return drawn


def moments(
    model: Model,
    key: Any,
    *,
    n_draws: Any,
    n_chains: Any = None,
    sampler: Any = "gibbs",
    n_sweeps: int = 1,
    n_burn_in: int = N_BURN_IN,
    start: str | Sequence[Any] = "dispersed",
    visible: Any = None,
    clamp: Clamp | None = None,
    mesh: Mesh | None = None,
) -> Moments:
    """Firing rates and coincidence rates of a model, summed while chains run.

    Memory does not depend on ``n_draws``. Standard errors come from the spread between groups of chains, so they are
    right however slowly a chain moves, provided that the chains have forgotten where they started; the verdict tells.

    Parameters as of :func:`sample`; at least two chains and two draws. With ``sampler="auto"`` the averages are exact
    where the model is small enough.

    Returns
    -------
    Moments
        Rates and coincidences with standard errors and diagnostics.

    Raises
    ------
    ValueError, TypeError
        As :func:`sample`.

    Warns
    -----
    NotToBeTrusted
        If the averages cannot be trusted.
    """
    key = checked.key(key)
    if sampler == AUTO and clamp is None and exact.can_be_summed(checked.model(model, "model", single=True)):
        return exact.moments(model)

    def average(chosen: str | Sampler) -> Moments:
        begun = _begin(model, key, n_draws, n_chains, chosen, n_sweeps, n_burn_in, start, visible, clamp, mesh, 2)
        return _moments(*begun, n_draws=int(n_draws), n_burn_in=int(n_burn_in))

    found = average(FIRST_CHOICE if sampler == AUTO else sampler)
    if sampler == AUTO and clamp is None and not found.verdict.trusted:
        found = average(SECOND_CHOICE)
    found.verdict.warn("the average over the model", stacklevel=2)
    return found


def _begin(
    model: Model,
    key: Any,
    n_draws: Any,
    n_chains: Any,
    sampler: Any,
    n_sweeps: Any,
    n_burn_in: Any,
    start: str | Sequence[Any],
    visible: Any,
    clamp: Clamp | None,
    mesh: Mesh | None,
    least: int,
) -> tuple[Model, Sampler, States, Array]:
    """Model, sampler, starting states and key, checked and on their devices."""
    key = checked.key(key)
    checked.count("n_draws", n_draws, least)
    checked.count("n_burn_in", n_burn_in, 0)
    checked.model(model, "model", single=True)
    chosen = sampler_named(sampler, checked.count("n_sweeps", n_sweeps, 1))
    if clamp is not None:
        if not isinstance(chosen, Gibbs):
            raise ValueError(f"clamp needs sampler='gibbs', got {sampler!r}; leave clamp or sampler out")
    key_start, key_draws = jax.random.split(key)
    if isinstance(start, str):
        number = checked.count("n_chains", N_CHAINS if n_chains is None else n_chains, least)
        states = start_states(model, key_start, number, start, visible)
    else:
        states = checked.states(start, model.layer_sizes)
        if n_chains is not None and checked.count("n_chains", n_chains) != states[0].shape[0]:
            raise ValueError(f"n_chains must be the {states[0].shape[0]} chains of start, got {n_chains}; leave it out")
        checked.count("n_chains", states[0].shape[0], least)
    if clamp is not None:
        chosen = Gibbs(sweeps_per_step(chosen), checked_clamp(clamp, model.layer_sizes, states[0].shape[0]))
    return devices.on_all(mesh, model), chosen, devices.split_rows(mesh, "chains", states), key_draws


def kept_draws(model: Model, sampler: Sampler, state: Any, key: Array, *, n_draws: int, n_burn_in: int = 0) -> Draws:
    """Draws of chains that have begun; pure, like :func:`secateur.sampling.runner.streamed_moments`."""
    found = run(model, sampler, state, key, Nothing(), n_draws=n_draws, n_burn_in=n_burn_in, keep=True)
    assert found.kept is not None and found.energies is not None  # kept, as was asked for
    return Draws(found.kept, found.energies, found.diagnostics)


@eqx.filter_jit
def _sample(model: Model, sampler: Sampler, states: States, key: Array, *, n_draws: int, n_burn_in: int) -> Draws:
    key_init, key_run = jax.random.split(key)
    state = sampler.init(model, key_init, states[0].shape[0], states)
    return kept_draws(model, sampler, state, key_run, n_draws=n_draws, n_burn_in=n_burn_in)


@eqx.filter_jit
def _moments(model: Model, sampler: Sampler, states: States, key: Array, *, n_draws: int, n_burn_in: int) -> Moments:
    key_init, key_run = jax.random.split(key)
    state = sampler.init(model, key_init, states[0].shape[0], states)
    return streamed_moments(model, sampler, state, key_run, n_draws=n_draws, n_burn_in=n_burn_in)
