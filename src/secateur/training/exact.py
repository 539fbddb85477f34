"""Training on the exact gradient, for machines that can be enumerated: no sampling noise, no learning rate."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from secateur.model import enumeration
from secateur.model.arrays import AnyArray, Keys
from secateur.model.machine import Machine, Parameters
from secateur.model.trials import over_trials
from secateur.training.checkpoint import Reached, TrainingPart
from secateur.training.history import Callback, History
from secateur.training.settings import TrainingSettings
from secateur.training.trainer import TrainingState, check_units

_ITERATIONS_PER_CALL = 25


class ExactTrainer(eqx.Module):
    """Training on the exact gradient by L-BFGS (Liu & Nocedal 1989), in the form of :class:`secateur.training.Trainer`.

    Deterministic. Every update uses all rows; equal rows are best given once, with their frequency (:func:`patterns`).

    Parameters
    ----------
    settings
        Only ``n_epochs`` matters, the number of iterations of :func:`secateur.training.train`.
    """

    settings: TrainingSettings = eqx.field(static=True)

    def init(self, machine: Machine, key: PRNGKeyArray, visible: AnyArray | None = None) -> TrainingState:
        """The state before the first update; ``key`` and ``visible`` change nothing.

        Raises
        ------
        ValueError
            If the smaller block of layers has more than 20 units.
        """
        enumeration.check_size(machine.layer_sizes, "training", "train with method='cd' or 'pcd'")
        with _single_precision():
            return _init(machine, key)

    def update(
        self,
        state: TrainingState,
        rows: Float[AnyArray, "rows visible"],
        frequencies: Float[AnyArray, " rows"] | None = None,
        n_iterations: int | AnyArray = 1,
    ) -> tuple[TrainingState, ExactInfo]:
        """A number of iterations of L-BFGS on all rows; absent synapses stay absent.

        Parameters
        ----------
        state
            The state of a single machine; use ``jax.vmap`` for stacked ones.
        rows
            All rows of 0/1, or different patterns among them.
        frequencies
            Share of every pattern; ``None``: equal ones.
        n_iterations
            Iterations.
        """
        if frequencies is None:
            frequencies = np.full(rows.shape[0], 1 / rows.shape[0], np.float32)
        with _single_precision():
            return _update(state, jnp.asarray(rows, jnp.float32), frequencies, jnp.asarray(n_iterations, jnp.int32))

    def with_machine(self, state: TrainingState, machine: Machine) -> TrainingState:
        """The state from which training goes on after synapses or units were removed; the curvature is learnt anew.

        Raises
        ------
        ValueError
            If the machine has units that the state's does not have.
        """
        check_units(state.machine, machine)
        begun = over_trials(self.init, machine)(machine, state.key)
        return eqx.tree_at(lambda s: s.step, begun, state.step)


class ExactInfo(NamedTuple):
    """What an update tells beside the new state.

    Attributes
    ----------
    log_likelihood
        Mean log-likelihood per row before the last iteration, in nats.
    """

    log_likelihood: Float[Array, ""]


def run_iterations(
    trainer: ExactTrainer,
    state: TrainingState,
    visible: Float[AnyArray, "*trials rows visible"],
    callback: Callback | None = None,
    checkpoint: TrainingPart | None = None,
) -> TrainingState:
    """The state after ``n_epochs`` iterations on rows that have been checked, of stacked trials at once.

    Parameters as of :func:`secateur.training.train`.
    """
    rows, frequencies = patterns(np.asarray(visible))
    n_iterations, finished, history = trainer.settings.n_epochs, 0, History.of_epochs([])
    if checkpoint is not None:
        finished, state, _ = checkpoint.restore(state)
    # A callback sees the machine after every iteration; else several iterations save the time between them.
    per_call = _ITERATIONS_PER_CALL if callback is None else 1
    for first in range(0, n_iterations, per_call):
        end = min(first + per_call, n_iterations)
        if first >= finished:
            with _single_precision():
                state = _iterate(state, rows, frequencies, np.int32(end - first))
            if checkpoint is not None:
                checkpoint.keep(Reached(end, state, []), last=end == n_iterations)
        if callback is not None:
            callback(end, state.machine, history)
    return state


@jax.jit
def _init(machine: Machine, key: Keys) -> TrainingState:
    return TrainingState(machine, _optimizer().init(machine.parameters), None, key, jnp.zeros((), jnp.int32))


@jax.jit
def _update(
    state: TrainingState, rows: AnyArray, frequencies: AnyArray, count: AnyArray
) -> tuple[TrainingState, ExactInfo]:
    machine = state.machine
    loss = partial(negative_log_likelihood, machine, rows, frequencies)
    value_and_gradient = optax.value_and_grad_from_state(loss)

    def body(_: Array, carry: tuple[Parameters, Any, Array]) -> tuple[Parameters, Any, Array]:
        parameters, optimizer, _ = carry
        value, gradient = value_and_gradient(parameters, state=optimizer)
        step, optimizer = _optimizer().update(
            gradient, optimizer, parameters, value=value, grad=gradient, value_fn=loss
        )
        return optax.apply_updates(parameters, step), optimizer, value

    start = (machine.parameters, state.optimizer, jnp.asarray(jnp.nan, jnp.float32))
    parameters, optimizer, value = jax.lax.fori_loop(0, count, body, start)
    new = TrainingState(machine.with_parameters(parameters), optimizer, None, state.key, state.step + count)
    return new, ExactInfo(-value)


@jax.jit
def _iterate(state: TrainingState, rows: AnyArray, frequencies: AnyArray, count: AnyArray) -> TrainingState:
    def run(state: TrainingState, rows: Array, frequencies: Array) -> TrainingState:
        return _update(state, rows, frequencies, count)[0]

    return over_trials(run, state.machine)(state, rows, frequencies)


def _single_precision() -> AbstractContextManager:
    """Numbers without a type of their own are float32, also where 64-bit JAX is on; optax would mix the two."""
    return jax.enable_x64(False)


def _optimizer() -> optax.GradientTransformationExtraArgs:
    return optax.lbfgs(memory_size=20)


def negative_log_likelihood(
    machine: Machine,
    rows: Float[AnyArray, "patterns visible"],
    frequencies: Float[AnyArray, " patterns"],
    parameters: Parameters,
) -> Float[Array, ""]:
    """Minus the mean log-likelihood in nats, of patterns weighted by their frequencies, at other parameters."""
    masked = machine.with_parameters(parameters).parameters
    log_weights = enumeration.map_rows(enumeration.log_weight_of, masked, rows)
    return enumeration.log_partition_of(masked) - frequencies @ log_weights


def patterns(visible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Different rows and their frequencies, per trial; trials are padded to equal numbers with frequency 0."""
    if visible.ndim == 2:
        rows, counts = np.unique(visible, axis=0, return_counts=True)
        return rows, (counts / len(visible)).astype(np.float32)
    each = [patterns(trial) for trial in visible]
    longest = max(len(rows) for rows, _ in each)
    rows = np.stack([np.pad(r, ((0, longest - len(r)), (0, 0))) for r, _ in each])
    return rows, np.stack([np.pad(f, (0, longest - len(f))) for _, f in each])
