"""Annealed importance sampling between independent units and a model, in both directions.

Pure functions of model and key, for use under ``jit`` and ``vmap``; nothing is checked. One loop serves every kind of
model, which brings its own step with ``@anneal_step.register(ItsClass)``.
"""

from __future__ import annotations

from functools import partial, singledispatch
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from secateur.model import units
from secateur.model.arrays import AnyArray
from secateur.model.machine import Machine, States
from secateur.model.pairwise import PairwiseModel
from secateur.sampling.diagnostics import MixingDiagnostics
from secateur.sampling.runner import Nothing, run
from secateur.sampling.sampler import Sampler
from secateur.sampling.starts import started
from secateur.sampling.sweep import Bridge, Model, sweep

_CLIP = 1e-3
"""Rates from which annealing starts keep this distance from 0 and 1."""


def base_bias_of(rates: Float[AnyArray, "*trials visible"]) -> Float[Array, "*trials visible"]:
    """Biases (nats) of independent units of the first layer with these rates, from which annealing starts; bounded."""
    return units.logit(jnp.clip(rates, _CLIP, 1 - _CLIP))


@partial(jax.jit, static_argnames=("n_chains", "n_temperatures"))
def annealed_log_weights(
    model: Model, base_bias: Float[Array, " visible"], key: PRNGKeyArray, *, n_chains: int, n_temperatures: int
) -> Float[Array, " chains"]:
    """Log importance weights (nats, ``log Z`` of the base included) of independent annealing runs at any depth.

    At inverse temperature ``b`` the biases of the first layer are ``(1 - b) * base_bias + b * bias`` and all other
    parameters are multiplied by ``b``; what can be summed out is summed out of every weight.
    """
    key_start, key_steps = jax.random.split(key)
    base = _base(model, base_bias)
    start_keys = jax.random.split(key_start, len(base))
    start = tuple(
        units.sample(jnp.broadcast_to(units.mean(bias), (n_chains, bias.shape[0])), k)
        for bias, k in zip(base, start_keys, strict=True)
    )
    inverse = jnp.linspace(0, 1, n_temperatures, dtype=jnp.float32)
    return _anneal(model, base, start, inverse, key_steps, False, _log_partition_of_base(base))


@partial(jax.jit, static_argnames=("n_temperatures",))
def reverse_log_weights(
    model: Model, base_bias: Float[Array, " visible"], states: States, key: PRNGKeyArray, *, n_temperatures: int
) -> Float[Array, " chains"]:
    """Log weights of ``1 / Z`` from states of the model that are annealed the other way, to the base.

    The mean of ``exp`` of these weights is an unbiased estimate of ``1 / Z`` if the states are draws from the model. So
    minus their log mean is on average at least ``log Z``, where annealing from the base is on average at most that: the
    truth lies between the two (Burda, Grosse & Salakhutdinov 2015).
    """
    base = _base(model, base_bias)
    inverse = jnp.linspace(1, 0, n_temperatures, dtype=jnp.float32)
    return _anneal(model, base, states, inverse, key, True, -_log_partition_of_base(base))


@eqx.filter_jit
def drawn_states(
    model: Model,
    sampler: Sampler,
    key: PRNGKeyArray,
    *,
    n_chains: int,
    n_draws: int,
    visible: Float[Array, "rows visible"] | None = None,
) -> tuple[States, MixingDiagnostics]:
    """States of the model at which reversed annealing starts, one of each chain, and how well the chains mixed.

    The chains start dispersed; as many sweeps as there are draws come before the first.
    """
    key_start, key_init, key_run = jax.random.split(key, 3)
    start = started(model, key_start, n_chains, "dispersed", visible)
    state = sampler.init(model, key_init, n_chains, start)
    found = run(model, sampler, state, key_run, Nothing(), n_draws=n_draws, n_burn_in=n_draws)
    return found.state.states, found.diagnostics


def _base(model: Model, base_bias: Float[Array, " visible"]) -> tuple[Float[Array, " _"], ...]:
    """Biases of the independent units of every layer; units of the other layers are 1 half of the time."""
    first, *others = model.bias_terms
    return (jnp.asarray(base_bias, first.dtype), *(jnp.zeros_like(bias) for bias in others))


def _log_partition_of_base(base: tuple[Float[Array, " _"], ...]) -> Float[Array, ""]:
    return jnp.stack([units.log_normaliser(bias).sum() for bias in base]).sum()


def _anneal(
    model: Model,
    base: tuple[Float[Array, " _"], ...],
    start: States,
    inverse: Float[Array, " temperatures"],
    key: PRNGKeyArray,
    reverse: bool,
    offset: Float[Array, ""],
) -> Float[Array, " chains"]:
    """``offset`` and the sum over steps of the change of the states' unnormalised log-probability."""

    def body(carry: tuple[States, Array, Array], step: tuple[Array, Array, Array]) -> tuple[tuple, None]:
        states, total, lost = carry
        before, after, step_key = step
        gain, states = anneal_step(model, base, states, before, after, step_key, reverse)
        return (states, *_added(total, lost, gain)), None

    n_chains = start[0].shape[0]
    steps = (inverse[:-1], inverse[1:], jax.random.split(key, inverse.shape[0] - 1))
    first = (start, jnp.full(n_chains, offset, jnp.float32), jnp.zeros(n_chains, jnp.float32))
    (_, total, lost), _ = jax.lax.scan(body, first, steps)
    return total + lost


def _added(
    total: Float[Array, " chains"], lost: Float[Array, " chains"], gain: Float[Array, " chains"]
) -> tuple[Float[Array, " chains"], Float[Array, " chains"]]:
    """The sum with a term added, and the sum of what its rounding has lost (Knuth 1969, section 4.2.2).

    Thousands of terms would lose hundredths of a nat in float32 without.
    """
    added = total + gain
    kept = added - total
    return added, lost + ((total - (added - kept)) + (gain - kept))


@singledispatch
def anneal_step(
    model: Any,
    base: tuple[Float[Array, " _"], ...],
    states: States,
    before: Float[Array, ""],
    after: Float[Array, ""],
    key: PRNGKeyArray,
    reverse: bool,
) -> tuple[Float[Array, " chains"], States]:
    """Change of the states' unnormalised log-probability between two temperatures, and the states a sweep later.

    Sweeps of annealing from the model to the base (``reverse``) must be the reverse of those of the other direction.
    """
    raise TypeError(f"there is no way to anneal a {type(model).__name__}; register one with anneal_step")


@anneal_step.register(Machine)
def _step_of_machine(
    machine: Machine,
    base: tuple[Float[Array, " _"], ...],
    states: States,
    before: Float[Array, ""],
    after: Float[Array, ""],
    key: PRNGKeyArray,
    reverse: bool,
) -> tuple[Float[Array, " chains"], States]:
    """The odd layers are summed out.

    Their total input is ``b`` times that of the machine itself, so that one product per step serves both temperatures
    of a weight and the new odd states. Every transition, odd states given even ones and the other way round, is its own
    reverse for the even layers, so that annealing runs either way.
    """
    even, odd = range(0, machine.n_layers, 2), range(1, machine.n_layers, 2)
    inputs = {layer: machine.total_input(states, layer) for layer in odd}
    slope = sum(states[layer] @ (machine.biases[layer] - base[layer]) for layer in even)
    gain = (after - before) * slope + sum(
        (units.log_normaliser(after * x) - units.log_normaliser(before * x)).sum(axis=1) for x in inputs.values()
    )
    # Fresh odd states first: the weights are those of the even layers alone, so must be the transitions.
    keys = jax.random.split(key, machine.n_layers)
    new = list(states)
    for layer in odd:
        new[layer] = units.sample(units.mean(after * inputs[layer]), keys[layer])
    for layer in even:
        total = after * machine.total_input(tuple(new), layer) + (1 - after) * base[layer][None, :]
        new[layer] = units.sample(units.mean(total), keys[layer])
    return gain, tuple(new)


@anneal_step.register(PairwiseModel)
def _step_of_pairwise_model(
    model: PairwiseModel,
    base: tuple[Float[Array, " _"], ...],
    states: States,
    before: Float[Array, ""],
    after: Float[Array, ""],
    key: PRNGKeyArray,
    reverse: bool,
) -> tuple[Float[Array, " chains"], States]:
    """A sweep draws unit after unit, so that its reverse begins at the last unit."""
    gain = (after - before) * Bridge(after[None], base).log_ratio(states, model.energy(states))
    warmth = jnp.broadcast_to(after, states[0].shape[:1])
    if not reverse:
        return gain, sweep(model, states, key, None, Bridge(warmth, base))[0]
    turned = PairwiseModel.of_arrays(model.biases[::-1], model.couplings[::-1, ::-1])
    (new,) = sweep(turned, (states[0][:, ::-1],), key, None, Bridge(warmth, (base[0][::-1],)))[0]
    return gain, (new[:, ::-1],)
