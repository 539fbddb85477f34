"""Several machines of one shape as one: pytrees with a leading trial axis, so that trials train as one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from secateur.model.machine import Machine


def stack(machines: Sequence[Machine]) -> Machine:
    """Machines of equal shapes as one machine whose arrays have a leading trial axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *machines)


@jax.jit
def unstack(stacked: Any) -> list[Any]:
    """The single trials of a machine, or of any pytree whose arrays all have a leading trial axis."""
    trials = jax.tree.leaves(stacked)[0].shape[0]
    return [jax.tree.map(lambda leaf, trial=trial: leaf[trial], stacked) for trial in range(trials)]


def n_trials(machine: Machine) -> int | None:
    """Number of stacked trials; ``None`` for a single machine."""
    return machine.biases[0].shape[0] if machine.biases[0].ndim == 2 else None


def each_trial(machine: Machine, tree: Any) -> list[Any]:
    """What belongs to each trial of a machine: the tree as it is for a single machine, else its parts."""
    return [tree] if n_trials(machine) is None else unstack(tree)


def over_trials(function: Callable, machine: Machine) -> Callable:
    """The function itself for a single machine; for stacked ones mapped over the leading axis of every array."""
    return eqx.filter_vmap(function) if n_trials(machine) is not None else function


def keys_for(machine: Machine, key: Any) -> Any:
    """One key for a single machine; for stacked machines one key per trial (a key array is taken as it is)."""
    trials = n_trials(machine)
    if trials is None or key.ndim == 1:
        return key
    return jax.vmap(lambda trial: jax.random.fold_in(key, trial))(jnp.arange(trials))
