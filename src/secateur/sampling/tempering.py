"""Parallel tempering: replicas at several temperatures exchange places, so that cold chains cross between modes.

Replicas lie on a bridge from independent units (inverse temperature 0) to the model (1) and are swept together, in
the same matrix products as so many chains. Neighbours exchange temperatures, even and odd pairs by turns, which makes
replicas travel along the ladder instead of diffusing (Okabe, Kawata, Okamoto & Mikami 2001, Chem Phys Lett 335:435;
Syed, Bouchard-Côté, Deligiannidis & Doucet 2022, J. R. Stat. Soc. B 84:321). The ladder is spaced so that all
neighbours swap equally often.
"""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from secateur.model import checked, units
from secateur.model.machine import States
from secateur.model.randomness import uniforms
from secateur.sampling.diagnostics import Swaps
from secateur.sampling.gibbs_sampler import sweeps as gibbs_sweeps
from secateur.sampling.sampler import register
from secateur.sampling.starts import started
from secateur.sampling.sweep import Bridge, Model, StepInfo, sweep

_BASE_CHAINS, _BASE_SWEEPS = 100, 20
"""Chains from dispersed starts, and their Gibbs sweeps, from which the independent units get their rates."""
_CLIP = 0.02
"""Rates of the independent units keep this distance from 0 and 1, so that hot replicas move."""
_ROUNDS = 4
"""Times the ladder is spaced anew during its adaptation."""


class TemperingState(eqx.Module):
    """Replicas and their ladder.

    Attributes
    ----------
    replicas
        One 0/1 array ``(temperatures * chains, n_l)`` per layer; replica ``k`` of chain ``c`` in row
        ``k * chains + c``.
    level
        Place of every replica on the ladder, ``(temperatures, chains)``; the last level is the model itself.
    inverse_temperatures, base
        The ladder from 0 to 1, and the biases of the independent units at 0.
    log_ratio
        Of every replica's state: log-probability in the model less that of the independent units, neither normalised.
    heading
        1 where a replica was at the cold end later than at the hot one, 2 where it has been at the hot end since, 0
        before its first visit of the cold end.
    round_trips
        Times a replica has gone from the cold end to the hot one and back, ``(temperatures, chains)``.
    accepted
        Accepted swaps between each pair of neighbouring levels, all chains together.
    n_steps
        Swap attempts; half of them concern any one pair.
    """

    replicas: tuple[Float[Array, "replicas _"], ...]
    level: Int[Array, "temperatures chains"]
    inverse_temperatures: Float[Array, " temperatures"]
    base: tuple[Float[Array, " _"], ...]
    log_ratio: Float[Array, "temperatures chains"]
    heading: Int[Array, "temperatures chains"]
    round_trips: Int[Array, "temperatures chains"]
    accepted: Float[Array, " gaps"]
    n_steps: Int[Array, ""]

    @property
    def states(self) -> States:
        """States of the cold chains, ``(chains, n_l)`` per layer."""
        return self.cold(self.replicas)

    def cold(self, rows: tuple[Float[Array, "replicas _"], ...]) -> tuple[Float[Array, "chains _"], ...]:
        """Of one row per replica those at the model's own temperature."""
        n_temperatures, n_chains = self.level.shape
        chosen = jnp.argmax(self.level, axis=0) * n_chains + jnp.arange(n_chains)
        return tuple(layer[chosen] for layer in rows)

    @property
    def swaps(self) -> Swaps:
        """Acceptance rates and round trips so far."""
        attempts = jnp.maximum(self.n_steps.astype(jnp.float32) * self.level.shape[1] / 2, 1)
        return Swaps(jnp.minimum(self.accepted / attempts, 1), self.round_trips.astype(jnp.float32).mean())

    def without_counts(self) -> TemperingState:
        """The same replicas, nothing counted yet."""
        zeros = (jnp.zeros_like(self.round_trips), jnp.zeros_like(self.accepted), jnp.zeros_like(self.n_steps))
        return eqx.tree_at(lambda s: (s.round_trips, s.accepted, s.n_steps), self, zeros)


class Tempering(eqx.Module):
    """Parallel tempering between independent units and the model.

    Parameters
    ----------
    n_temperatures
        Replicas per chain, the model itself among them; at least two.
    n_sweeps
        Sweeps and swap attempts per step.
    n_adaptation
        Sweeps during which ``init`` spaces the ladder by the swap rates that it measures.
    """

    n_temperatures: int = eqx.field(static=True, default=10)
    n_sweeps: int = eqx.field(static=True, default=1)
    n_adaptation: int = eqx.field(static=True, default=200)
    name: ClassVar[str] = "tempering"
    conditional_means: ClassVar[bool] = True
    """Whether the means of a step hold probabilities of the odd layers of a machine."""

    def __check_init__(self) -> None:
        checked.count("n_temperatures", self.n_temperatures, 2)
        checked.count("n_sweeps", self.n_sweeps)
        checked.count("n_adaptation", self.n_adaptation, 0)

    def init(self, model: Model, key: PRNGKeyArray, n_chains: int, start: States | None = None) -> TemperingState:
        """Replicas of every chain, from ``start`` (dispersed without), on a ladder spaced by measured swap rates."""
        key_start, key_base, key_ladder = jax.random.split(key, 3)
        start = started(model, key_start, n_chains) if start is None else start
        # Different replicas of a chain begin at different starts.
        replicas = tuple(
            jnp.concatenate([jnp.roll(layer, k, axis=0) for k in range(self.n_temperatures)]) for layer in start
        )
        state = self._first_state(model, replicas, n_chains, key_base)
        per_round = max(1, self.n_adaptation // _ROUNDS)

        def adapt(state: TemperingState, round_key: PRNGKeyArray) -> tuple[TemperingState, None]:
            state, _ = jax.lax.scan(
                lambda s, k: (self._one_sweep(model, s, k)[0], None), state, jax.random.split(round_key, per_round)
            )
            ladder = _spaced(state.inverse_temperatures, 1 - state.swaps.acceptance)
            return eqx.tree_at(lambda s: s.inverse_temperatures, state.without_counts(), ladder), None

        return jax.lax.scan(adapt, state, jax.random.split(key_ladder, _ROUNDS))[0]

    def step(self, model: Model, state: TemperingState, key: PRNGKeyArray) -> tuple[TemperingState, StepInfo]:
        """The replicas ``n_sweeps`` sweeps with a swap attempt each later, and the info of the cold chains."""
        keys = jax.random.split(key, self.n_sweeps)
        if self.n_sweeps > 1:
            state, _ = jax.lax.scan(lambda s, k: (self._one_sweep(model, s, k)[0], None), state, keys[:-1])
        state, info = self._one_sweep(model, state, keys[-1])
        means = state.cold(info.means)
        (energy,) = state.cold((info.energy[:, None],))
        return state, StepInfo(means, energy[:, 0])

    def _first_state(self, model: Model, replicas: States, n_chains: int, key: PRNGKeyArray) -> TemperingState:
        """Replicas on an even ladder above independent units."""
        base = _base(model, key)
        shape = (self.n_temperatures, n_chains)
        level = jnp.broadcast_to(jnp.arange(self.n_temperatures, dtype=jnp.int32)[:, None], shape)
        ladder = jnp.linspace(0, 1, self.n_temperatures, dtype=jnp.float32)
        bridge = Bridge(ladder[level].reshape(-1), base)
        return TemperingState(
            replicas=replicas,
            level=level,
            inverse_temperatures=ladder,
            base=base,
            log_ratio=bridge.log_ratio(replicas, model.energy(replicas)).reshape(shape),
            heading=(level == self.n_temperatures - 1).astype(jnp.int32),
            round_trips=jnp.zeros(shape, jnp.int32),
            accepted=jnp.zeros(self.n_temperatures - 1, jnp.float32),
            n_steps=jnp.int32(0),
        )

    def _one_sweep(self, model: Model, state: TemperingState, key: PRNGKeyArray) -> tuple[TemperingState, StepInfo]:
        """Swaps, then a sweep, so that the conditional means of the cold replicas are those of the model."""
        key_sweep, key_swap = jax.random.split(key)
        state = _swap(state, key_swap)
        bridge = Bridge(state.inverse_temperatures[state.level].reshape(-1), state.base)
        replicas, info = sweep(model, state.replicas, key_sweep, None, bridge)
        log_ratio = bridge.log_ratio(replicas, info.energy).reshape(state.level.shape)
        return eqx.tree_at(lambda s: (s.replicas, s.log_ratio), state, (replicas, log_ratio)), info


def _base(model: Model, key: PRNGKeyArray) -> tuple[Float[Array, " _"], ...]:
    """Biases of independent units half way between the two groups into which chains from dispersed starts fall.

    Where the model has two modes, their weights then stay comparable all along the ladder. The plain mean over chains
    would favour one of them at the hot end, and the cold end take it back in a transition that replicas seldom make.
    """
    key_start, key_sweeps = jax.random.split(key)
    after, _ = gibbs_sweeps(model, started(model, key_start, _BASE_CHAINS), key_sweeps, _BASE_SWEEPS)
    joined = jnp.concatenate(after, axis=1)
    centred = joined - joined.mean(axis=0)[None, :]
    direction = jnp.linspace(1, 1.5, joined.shape[1], dtype=joined.dtype)
    for _ in range(10):  # towards the first principal component
        direction = centred.T @ (centred @ direction)
        direction = direction / (jnp.linalg.norm(direction) + 1e-12)
    place = centred @ direction
    upper = (place > (place.max() + place.min()) / 2).astype(joined.dtype)
    means = [(share @ joined) / jnp.maximum(share.sum(), 1) for share in (upper, 1 - upper)]
    rates = jnp.split(jnp.clip((means[0] + means[1]) / 2, _CLIP, 1 - _CLIP), np.cumsum(model.layer_sizes)[:-1])
    return tuple(units.logit(r) for r in rates)


def _swap(state: TemperingState, key: PRNGKeyArray) -> TemperingState:
    """Neighbours exchange temperatures with the Metropolis probability; even pairs in one step, odd pairs in the next.

    Only numbers move, no states.
    """
    n_levels, n_chains = state.level.shape
    replica_at = jnp.argsort(state.level, axis=0)
    ratio_at = jnp.take_along_axis(state.log_ratio, replica_at, axis=0)
    # For each pair of levels l and l + 1; those of the present parity try.
    gain = jnp.diff(state.inverse_temperatures)[:, None] * (ratio_at[:-1] - ratio_at[1:])
    tried = (jnp.arange(n_levels - 1, dtype=jnp.int32) % 2 == state.n_steps % 2)[:, None]
    accepted = tried & (jnp.log(uniforms(key, gain.shape)) < gain)
    up, none = accepted.astype(jnp.int32), jnp.zeros((1, n_chains), jnp.int32)
    levels = jnp.arange(n_levels, dtype=jnp.int32)[:, None]
    new_level_of = levels + jnp.concatenate([up, none]) - jnp.concatenate([none, up])
    level = jnp.take_along_axis(new_level_of, state.level, axis=0)
    cold, hot = level == n_levels - 1, level == 0
    heading = jnp.where(cold, 1, jnp.where(hot & (state.heading == 1), 2, state.heading))
    return eqx.tree_at(
        lambda s: (s.level, s.heading, s.round_trips, s.accepted, s.n_steps),
        state,
        (
            level,
            heading.astype(jnp.int32),
            state.round_trips + (cold & (state.heading == 2)).astype(jnp.int32),
            state.accepted + accepted.sum(axis=1).astype(jnp.float32),
            state.n_steps + 1,
        ),
    )


def _spaced(ladder: Float[Array, " temperatures"], rejection: Float[Array, " gaps"]) -> Float[Array, " temperatures"]:
    """The ladder on which all swaps would be rejected equally often (Syed et al. 2022, section 5)."""
    barrier = jnp.concatenate([jnp.zeros(1, ladder.dtype), jnp.cumsum(jnp.maximum(rejection, 1e-3))])
    even = jnp.linspace(0, 1, ladder.shape[0], dtype=ladder.dtype) * barrier[-1]
    spaced = jnp.interp(even, barrier, ladder)
    return spaced.at[0].set(0.0).at[-1].set(1.0)


def _tempering(n_sweeps: int) -> Tempering:
    return Tempering(n_sweeps=n_sweeps)


register("tempering", _tempering)
