"""Mean-field inference: factorised posterior of the hidden layers given visible states."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from secateur.model import units
from secateur.model.arrays import AnyArray
from secateur.model.machine import Machine, States

MAX_UPDATES = 50
TOLERANCE = 1e-3
"""Updates stop when no probability moved by more than this (Scholl, Rule & Hennig 2021 use up to 50 updates)."""


def bottom_up(machine: Machine, visible: Float[AnyArray, "rows visible"]) -> States:
    """Hidden probabilities from one pass upwards, a layer's missing input from above replaced by doubling.

    The starting point of :func:`infer` (Salakhutdinov & Hinton 2009, section 3.1). Exact for a machine with one
    hidden layer.
    """
    means = [visible]
    for layer in range(1, machine.n_layers):
        scale = 1 if layer == machine.n_layers - 1 else 2
        below = scale * machine.input_from_below((*means, visible), layer)
        means.append(units.mean(below + machine.biases[layer][None, :]))
    return tuple(means)


@partial(jax.jit, static_argnames=("max_updates",))
def infer(
    machine: Machine,
    visible: Float[AnyArray, "rows visible"],
    *,
    max_updates: int = MAX_UPDATES,
    tolerance: float | Float[Array, ""] = TOLERANCE,
) -> States:
    """Mean-field probabilities of every hidden unit given each visible row; exact for a machine with one hidden layer.

    Blocks of layers (odd, then even) are updated in turn, so that the variational bound never falls, until no
    probability moved by more than ``tolerance`` or ``max_updates`` updates were made.

    Parameters
    ----------
    machine
        The model.
    visible
        Visible states or probabilities, ``(rows, n_0)``.
    max_updates
        Most updates of all hidden layers.
    tolerance
        Largest change of a probability at which to stop.

    Returns
    -------
    States
        The visible rows, then one array ``(rows, n_l)`` of probabilities per hidden layer.
    """
    means = bottom_up(machine, visible)
    if machine.n_layers == 2:
        return means
    from_visible = machine.biases[1][None, :] + machine.input_from_below(means, 1)  # the same at every update

    def total_input(means: list[Array], layer: int) -> Array:
        if layer == 1:
            return from_visible + machine.input_from_above(tuple(means), 1)
        return machine.total_input(tuple(means), layer)

    def update(carry: tuple[Array, Array, States]) -> tuple[Array, Array, States]:
        count, _, old = carry
        new = list(old)
        for parity in (1, 0):
            for layer in range(2 - parity, machine.n_layers, 2):
                new[layer] = units.mean(total_input(new, layer))
        changes = [jnp.max(jnp.abs(a - b), initial=0.0) for a, b in zip(new[1:], old[1:], strict=True)]
        return count + 1, jnp.stack(changes).max(), tuple(new)

    def unfinished(carry: tuple[Array, Array, States]) -> Array:
        count, change, _ = carry
        return (count < max_updates) & (change > tolerance)

    start = (jnp.asarray(0), jnp.asarray(jnp.inf, means[1].dtype), means)
    return jax.lax.while_loop(unfinished, update, start)[2]


def variational_bound(machine: Machine, means: States) -> Float[Array, " rows"]:
    """Lower bound on ``log p(v) + log Z`` in nats from factorised hidden probabilities; tight for one hidden layer."""
    return -machine.energy(means) + sum(units.entropy(m).sum(axis=1) for m in means[1:])
