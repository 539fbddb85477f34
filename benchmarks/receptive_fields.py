"""What a first layer would gain that does not pay for absent synapses: blocks of image rows in place of one product."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import scaling
from timing import median_seconds

from secateur import sampling
from secateur.model.machine import Machine, States
from secateur.sampling.draws import swept

SIDE, NEAR, ROWS = 20, 2, 4
"""Side of the image, reach of a receptive field of 5 x 5 to each side, image rows per block."""
BLOCKS = [
    (slice(r * SIDE, (r + ROWS) * SIDE), slice(max(0, r - NEAR) * SIDE, (r + ROWS + NEAR) * SIDE))
    for r in range(0, SIDE, ROWS)
]
"""For each block its units, and the units of the other layer that they have synapses with; the same both ways."""


class Blocked(Machine):
    """A machine whose first product is computed by blocks."""

    def __init__(self, machine: Machine):
        for name, value in vars(machine).items():
            setattr(self, name, value)

    def input_from_below(self, states: States, layer: int) -> jax.Array:
        """As of any machine."""
        if layer != 1:
            return super().input_from_below(states, layer)
        return jnp.concatenate([states[0][:, seen] @ self.weights[0][seen, units] for units, seen in BLOCKS], axis=1)

    def input_from_above(self, states: States, layer: int) -> jax.Array:
        """As of any machine."""
        if layer != 0:
            return super().input_from_above(states, layer)
        return jnp.concatenate([states[1][:, seen] @ self.weights[0][units, seen].T for units, seen in BLOCKS], axis=1)


def measure(case: str, library: str) -> dict[str, Any]:
    """Seconds per sweep of the digits study's machine by blocks, in turns with the machine as it is."""
    machine, n_chains, n_sweeps = scaling.deep_machine(), int(library.split()[0].replace(",", "")), 10
    states = sampling.random_states(machine, jax.random.key(0), n_chains)
    runs = [
        lambda of=of: jax.block_until_ready(swept(of, states, jax.random.key(1), n_sweeps))
        for of in (machine, Blocked(machine))
    ]
    for ours, theirs in zip(runs[0](), runs[1](), strict=True):
        assert jnp.mean(ours != theirs) < 1e-3  # a sum rounded otherwise now and then crosses a random number
    whole, blocks = median_seconds(*runs)
    return {"seconds": blocks / n_sweeps, "dense": whole / n_sweeps}
