"""Clamps: units that keep their state while the others are drawn."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from secateur.model import checked
from secateur.model.machine import Machine, States
from secateur.sampling.sweep import Clamp


def clamp_visible(machine: Machine) -> Clamp:
    """Clamp that holds the whole visible layer, for sampling hidden states given data."""
    return (jnp.ones(checked.model(machine).layer_sizes[0], bool), *(None,) * (machine.n_layers - 1))


def checked_clamp(clamp: Any, layer_sizes: tuple[int, ...], n_chains: int) -> Clamp | None:
    """The clamp as boolean arrays, or ``None``.

    Raises
    ------
    ValueError
        If it has not one entry per layer, or an entry has neither the shape ``(n_l,)`` nor ``(chains, n_l)``, or holds
        anything but true and false (or 1 and 0).
    """
    if clamp is None:
        return None
    wanted = f"a tuple with one entry for each of the {len(layer_sizes)} layers: None, or which units are held"
    if not isinstance(clamp, tuple | list) or len(clamp) != len(layer_sizes):
        found = f"{len(clamp)} entries" if isinstance(clamp, tuple | list) else f"a {type(clamp).__name__}"
        raise ValueError(f"clamp must be {wanted}, got {found}; write None for layers that move freely")
    held: list[Array | None] = []
    for layer, (one, size) in enumerate(zip(clamp, layer_sizes, strict=True)):
        if one is None:
            held.append(None)
            continue
        array = np.asarray(one)
        if array.shape not in ((size,), (n_chains, size)):
            raise ValueError(
                f"clamp[{layer}] must have the shape ({size},) or ({n_chains}, {size}), got {array.shape}; write true "
                "for every unit that is held"
            )
        rows = checked.host_rows(np.atleast_2d(array), size, f"clamp[{layer}]")
        held.append(jax.device_put(rows.reshape(array.shape) > 0))
    return tuple(held)


def chains_differ(states: States, clamp: Clamp | None) -> Array | None:
    """Whether chains hold different units, or different states of them, and so have distributions of their own."""
    if clamp is None:
        return None
    differ = jnp.asarray(False)
    for layer, held in zip(states, clamp, strict=True):
        if held is not None:
            everywhere = jnp.broadcast_to(jnp.asarray(held), layer.shape)
            other = (everywhere != everywhere[:1]) | (everywhere & (layer != layer[:1]))
            differ = differ | other.any()
    return differ
