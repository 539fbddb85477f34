"""Training on the exact gradient, for machines that can be enumerated: no sampling noise, no learning rate."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
import optax
from jaxtyping import Array, Float

from secateur.model import enumeration
from secateur.model.arrays import AnyArray
from secateur.model.machine import Machine, Parameters
from secateur.model.trials import over_trials
from secateur.training.checkpoint import Reached, TrainingPart

_ITERATIONS_PER_CALL = 25


def maximise_likelihood(
    machine: Machine,
    visible: Float[AnyArray, "*trials rows visible"],
    n_iterations: int,
    on_epoch: Callable[[int], None] | None = None,
    checkpoint: TrainingPart | None = None,
) -> Machine:
    """Maximise the exact mean log-likelihood of the rows with L-BFGS (Liu & Nocedal 1989), for stacked trials at once.

    Every iteration uses all rows; equal rows are counted once, with their frequency. Deterministic.

    Parameters
    ----------
    machine
        Starting point, single or stacked; absent synapses stay absent. At most 20 units in the smaller block of layers.
    visible
        0/1 rows, ``(rows, n_0)``; with a leading trial axis for stacked machines.
    n_iterations
        Iterations of L-BFGS.
    on_epoch
        Called with the number of finished iterations.
    checkpoint
        See :func:`secateur.training.train`.

    Raises
    ------
    ValueError
        If the machine is too large to be enumerated.
    """
    enumeration.check_size(machine.layer_sizes, "training", "train with method='cd' or 'pcd'")
    patterns, frequencies = _patterns(np.asarray(visible))
    finished, state = 0, (machine, _start(machine))
    if checkpoint is not None:
        finished, state, _ = checkpoint.restore(state)
    for first in range(0, n_iterations, _ITERATIONS_PER_CALL):
        end = min(first + _ITERATIONS_PER_CALL, n_iterations)
        if first >= finished:
            state = _iterate(*state, patterns, frequencies, np.int32(end - first))
            if checkpoint is not None:
                checkpoint.keep(Reached(end, state, []), last=end == n_iterations)
        if on_epoch is not None:
            for iteration in range(first, end):
                on_epoch(iteration + 1)
    return state[0]


@jax.jit
def _start(machine: Machine) -> Any:
    return over_trials(lambda one: optax.lbfgs(memory_size=20).init(one.parameters), machine)(machine)


@jax.jit
def _iterate(
    machine: Machine, state: Any, patterns: AnyArray, frequencies: AnyArray, count: AnyArray
) -> tuple[Machine, Any]:
    def run(machine: Machine, state: Any, patterns: Array, frequencies: Array) -> tuple[Machine, Any]:
        loss = partial(negative_log_likelihood, machine, patterns, frequencies)
        value_and_gradient = optax.value_and_grad_from_state(loss)
        optimiser = optax.lbfgs(memory_size=20)

        def body(_: Array, carry: tuple[Parameters, Any]) -> tuple[Parameters, Any]:
            parameters, state = carry
            value, gradient = value_and_gradient(parameters, state=state)
            step, state = optimiser.update(gradient, state, parameters, value=value, grad=gradient, value_fn=loss)
            return optax.apply_updates(parameters, step), state

        parameters, state = jax.lax.fori_loop(0, count, body, (machine.parameters, state))
        return machine.with_parameters(parameters), state

    return over_trials(run, machine)(machine, state, patterns, frequencies)


def negative_log_likelihood(
    machine: Machine,
    patterns: Float[AnyArray, "patterns visible"],
    frequencies: Float[AnyArray, " patterns"],
    parameters: Parameters,
) -> Float[Array, ""]:
    """Minus the mean log-likelihood in nats, of patterns weighted by their frequencies, at other parameters."""
    masked = machine.with_parameters(parameters).parameters
    log_weights = enumeration.map_rows(enumeration.log_weight_of, masked, patterns)
    return enumeration.log_partition_of(masked) - frequencies @ log_weights


def _patterns(visible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Different rows and their frequencies, per trial; trials are padded to equal numbers with frequency 0."""
    if visible.ndim == 2:
        rows, counts = np.unique(visible, axis=0, return_counts=True)
        return rows, (counts / len(visible)).astype(np.float32)
    each = [_patterns(trial) for trial in visible]
    longest = max(len(rows) for rows, _ in each)
    rows = np.stack([np.pad(r, ((0, longest - len(r)), (0, 0))) for r, _ in each])
    return rows, np.stack([np.pad(f, (0, longest - len(f))) for _, f in each])
