"""One sweep of a model's units: the step that every sampler is made of.

A new kind of model brings its sweep with ``@sweep.register(ItsClass)``, and every sampler then works for it.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from secateur.model import units
from secateur.model.arrays import AnyArray
from secateur.model.machine import Machine, States
from secateur.model.pairwise import PairwiseModel
from secateur.model.randomness import uniforms

Model = Machine | PairwiseModel

Clamp = tuple[Bool[AnyArray, "..."] | None, ...]
"""Which units keep their state: per layer a boolean array, ``(n_l,)`` for all chains alike or ``(chains, n_l)``
for each chain its own, or ``None`` for a layer that moves freely."""


_CACHED = 350_000  # states and couplings that a processor's cache holds; beyond, each is read once per block of units
_BLOCK = 16


class Bridge(NamedTuple):
    """Where each chain stands between independent units and the model.

    At inverse temperature ``b`` the unnormalised log-probability is ``b`` times that of the model plus ``1 - b`` times
    that of independent units with the biases ``base``.

    Attributes
    ----------
    inverse_temperatures
        ``(chains,)``, from 0 to 1.
    base
        Biases of the independent units in nats, one array ``(n_l,)`` per layer.
    """

    inverse_temperatures: Float[Array, " chains"]
    base: tuple[Float[Array, " _"], ...]

    def total_input(self, model_input: Float[Array, "chains units"], layer: int) -> Float[Array, "chains units"]:
        """Total input of a layer's units, given what it is in the model."""
        warmth = self.inverse_temperatures[:, None]
        return warmth * model_input + (1 - warmth) * self.base[layer][None, :]

    def log_ratio(self, states: States, energy: Float[Array, " chains"]) -> Float[Array, " chains"]:
        """Log-probability of states in the model less that of the independent units, neither normalised, in nats."""
        return -energy - sum(s @ b for s, b in zip(states, self.base, strict=True))


class StepInfo(NamedTuple):
    """What a sampler's step tells beside the new states.

    Attributes
    ----------
    means
        The new states with some layers replaced by their conditional probabilities given the others (Rao-Blackwell):
        averages over them have the expectation of averages over the states, and less variance.
    energy
        Energy of the new states in the model, ``(chains,)``, nats.
    """

    means: States
    energy: Float[Array, " chains"]


def info_of(model: Model, states: States) -> StepInfo:
    """The info of states about which nothing else is known; enough for a sampler of one's own."""
    return StepInfo(states, model.energy(states))


@singledispatch
def sweep(
    model: Any, states: States, key: PRNGKeyArray, clamp: Clamp | None = None, bridge: Bridge | None = None
) -> tuple[States, StepInfo]:
    """Draw every unit once given the others, at a temperature of each chain's own where there is a bridge."""
    raise TypeError(f"there is no way to sweep a {type(model).__name__}; register one with secateur.sampling.sweep")


def half_sweep(
    machine: Machine,
    states: States,
    key: PRNGKeyArray,
    parity: int,
    clamp: Clamp | None = None,
    bridge: Bridge | None = None,
) -> tuple[States, States, dict[int, Float[Array, "chains _"]]]:
    """Draw all even (``parity`` 0) or all odd (``parity`` 1) layers of a machine given the others.

    Returns the new states, the same with the drawn layers replaced by their probabilities of being 1, and the total
    inputs of those layers in the machine.
    """
    new, means, inputs = list(states), list(states), {}
    layers = range(parity, machine.n_layers, 2)
    for layer, layer_key in zip(layers, jax.random.split(key, len(layers)), strict=True):
        inputs[layer] = machine.total_input(states, layer)
        total = inputs[layer] if bridge is None else bridge.total_input(inputs[layer], layer)
        means[layer] = units.mean(total)
        new[layer] = units.sample(means[layer], layer_key)
        held = None if clamp is None else clamp[layer]
        if held is not None:
            held = held if held.ndim == 2 else held[None, :]
            new[layer] = jnp.where(held, states[layer], new[layer])
            means[layer] = jnp.where(held, states[layer], means[layer])
    return tuple(new), tuple(means), inputs


@sweep.register(Machine)
def _block_sweep(
    machine: Machine, states: States, key: PRNGKeyArray, clamp: Clamp | None = None, bridge: Bridge | None = None
) -> tuple[States, StepInfo]:
    """Even layers given the odd ones, then odd layers given the even ones; any depth takes two half-sweeps.

    The means hold the probabilities of the odd layers given the even ones; every synapse joins one of each.
    """
    key_even, key_odd = jax.random.split(key)
    states, _, _ = half_sweep(machine, states, key_even, 0, clamp, bridge)
    states, means, inputs = half_sweep(machine, states, key_odd, 1, clamp, bridge)
    # The odd layers' inputs hold every synapse once, so the energy needs no further product.
    even = range(0, machine.n_layers, 2)
    energy = -sum(states[layer] @ machine.biases[layer] for layer in even)
    return states, StepInfo(means, energy - sum((states[layer] * x).sum(axis=1) for layer, x in inputs.items()))


@sweep.register(PairwiseModel)
def _unit_sweep(
    model: PairwiseModel, states: States, key: PRNGKeyArray, clamp: Clamp | None = None, bridge: Bridge | None = None
) -> tuple[States, StepInfo]:
    """Unit after unit, in order, given all others; units come first inside, so that their states lie together."""
    (rows,) = states
    held = jnp.zeros((), bool) if clamp is None or clamp[0] is None else jnp.asarray(clamp[0])
    moves = jnp.broadcast_to(~held, rows.shape).T
    drawn_numbers = uniforms(key, rows.shape[::-1])
    base = model.biases if bridge is None else bridge.base[0]

    def drawn(total: Array, old: Array, at_base: Array, numbers: Array, moving: Array) -> Array:
        if bridge is not None:
            warmth = bridge.inverse_temperatures
            total = warmth * total + (1 - warmth) * at_base
        return jnp.where(moving, (numbers < units.mean(total)).astype(old.dtype), old)

    def of_unit(columns: Array, step: tuple[Array, ...]) -> tuple[Array, None]:
        unit, bias, couplings, *rest = step
        new = drawn(bias + couplings @ columns, columns[unit], *rest)
        return columns.at[unit].set(new), None

    def of_block(columns: Array, step: tuple[Array, ...]) -> tuple[Array, None]:
        """Inputs of a block's units from all others at once, then unit after unit what they tell each other."""
        numbers_of_units, biases, couplings, *rest = step
        inputs, old = biases[:, None] + couplings @ columns, columns[numbers_of_units]

        def of_one(carry: tuple[Array, Array], one: tuple[Array, ...]) -> tuple[tuple[Array, Array], None]:
            inputs, states = carry
            place, within, *rest = one
            new = drawn(inputs[place], states[place], *rest)
            return (inputs + within[:, None] * (new - states[place])[None, :], states.at[place].set(new)), None

        within = couplings[:, numbers_of_units]
        (_, new), _ = jax.lax.scan(of_one, (inputs, old), (jnp.arange(len(biases)), within, *rest))
        return columns.at[numbers_of_units].set(new), None

    steps = (jnp.arange(model.n_units), model.biases, model.couplings, base, drawn_numbers, moves)
    columns, whole = rows.T, 0
    if rows.size + model.couplings.size > _CACHED:
        whole = model.n_units // _BLOCK * _BLOCK
        blocks = tuple(step[:whole].reshape(-1, _BLOCK, *step.shape[1:]) for step in steps)
        columns, _ = jax.lax.scan(of_block, columns, blocks)
    columns, _ = jax.lax.scan(of_unit, columns, tuple(step[whole:] for step in steps))
    new = (columns.T,)
    return new, StepInfo(new, model.energy(new))
