"""Several machines of one shape as one: pytrees with a leading trial axis, so that trials train as one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from secateur.machine import Machine


def stack(machines: Sequence[Machine]) -> Machine:
    """Machines of equal shapes as one machine whose arrays have a leading trial axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *machines)


def unstack(machines: Machine) -> list[Machine]:
    """The single machines of a stacked one."""
    return [select(machines, trial) for trial in range(n_trials(machines) or 0)]


def select(stacked: Any, trial: int) -> Any:
    """One trial of any pytree whose arrays have a leading trial axis."""
    return jax.tree.map(lambda leaf: leaf[trial], stacked)


def n_trials(machine: Machine) -> int | None:
    """Number of stacked trials; ``None`` for a single machine."""
    return machine.biases[0].shape[0] if machine.biases[0].ndim == 2 else None


def over_trials(function: Callable, machine: Machine) -> Callable:
    """``function`` itself for a single machine, ``function`` mapped over the leading axis of every array for stacked
    ones.
    """
    return eqx.filter_vmap(function) if n_trials(machine) is not None else function


def keys_for(machine: Machine, key: Any) -> Any:
    """One key for a single machine; for stacked machines one key per trial (a key array is taken as it is)."""
    trials = n_trials(machine)
    if trials is None or key.ndim == 1:
        return key
    return jax.vmap(lambda trial: jax.random.fold_in(key, trial))(jnp.arange(trials))
