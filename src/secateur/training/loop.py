"""Loops over a trainer's updates, one compiled scan per epoch, for one machine or for stacked trials at once."""

from __future__ import annotations

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, PRNGKeyArray

from secateur.model import checked, devices, units
from secateur.model.arrays import AnyArray, Keys
from secateur.model.machine import Machine
from secateur.model.randomness import child_key
from secateur.model.trials import keys_for, n_trials, over_trials
from secateur.training.checkpoint import Reached, TrainingPart
from secateur.training.defaults import settings_for
from secateur.training.exact import ExactTrainer, run_iterations
from secateur.training.history import Callback, History, measure, share_of_rows
from secateur.training.settings import TrainingSettings
from secateur.training.trainer import Trainer, TrainingState, chain_starts


class TrainingDiverged(ArithmeticError):
    """Parameters became NaN or infinite during training."""


def train(
    machine: Machine,
    visible: AnyArray,
    settings: TrainingSettings | None,
    key: AnyArray,
    *,
    validation: AnyArray | None = None,
    record_history: bool = True,
    callback: Callback | None = None,
    checkpoint: TrainingPart | None = None,
    mesh: Mesh | None = None,
) -> tuple[Machine, History]:
    """Train a machine, or stacked trials of machines at once.

    A loop over :class:`secateur.training.Trainer` or :class:`secateur.training.ExactTrainer`; use these for other
    loops, and :func:`continue_training` to go on from where one ended.

    Parameters
    ----------
    machine
        Starting point; synapses absent here stay absent. May be stacked (:mod:`secateur.model.trials`).
    visible
        Rows of 0/1 states (or probabilities), ``(rows, n_0)``; with a leading trial axis for stacked machines.
    settings
        Method, optimiser, schedule and regularisation; ``None``: :func:`secateur.training.settings_for` these rows.
    key
        Random key, or one key per trial.
    validation
        Held-out rows; their free energy is compared with that of training rows after every epoch.
    record_history
        Whether to measure after every epoch; without it the history is empty.
    callback
        Called after every epoch with the number of finished epochs, the machine, and the history so far; also for
        epochs that a checkpoint brings, with the machine that it brings.
    checkpoint
        Where the training continues if it was interrupted, and what it keeps up to date
        (:class:`secateur.training.TrainingCheckpoint`); the trained machine is the same.
    mesh
        Devices over which rows, batches and chains are split (:mod:`secateur.model.devices`); the numbers of each must
        be multiples of them. The trained machine is that of one device up to the rounding of sums.

    Returns
    -------
    machine, history
        The trained machine and its per-epoch history.

    Raises
    ------
    ValueError
        If rows do not fit the machine or do not lie between 0 and 1, 'cd' is asked of a deep machine, or 'exact' of one
        too large to be enumerated.
    TypeError
        If an argument is of another kind, as where two were swapped.
    TrainingDiverged
        If a parameter became NaN or infinite; the message names the likely cause and the remedy.
    """
    check_machine(machine)
    key = checked.key(key, n_trials(machine))
    visible, validation = _checked_rows(machine, visible, validation)
    settings = settings or settings_for(visible.shape[-2], machine.layer_sizes)
    state, history = trained(
        machine,
        visible,
        settings,
        key,
        validation=validation,
        record_history=record_history,
        callback=callback,
        checkpoint=checkpoint,
        mesh=mesh,
    )
    return state.machine, history


def continue_training(
    trainer: Trainer | ExactTrainer,
    state: TrainingState,
    visible: AnyArray,
    *,
    validation: AnyArray | None = None,
    record_history: bool = True,
    callback: Callback | None = None,
    checkpoint: TrainingPart | None = None,
    mesh: Mesh | None = None,
) -> tuple[TrainingState, History]:
    """Train for the epochs of a trainer's settings, from a state on: one of ``init``, of an earlier training, or after
    a removal (``with_machine``).

    With a constant learning rate, 2 epochs and then 3 are 5 epochs to the bit. The state given stays usable.

    Parameters
    ----------
    trainer
        How to train; its schedule starts anew.
    state
        Where to go on; of stacked trials where ``jax.vmap`` of ``init`` made it. Its chains stay split over the devices
        of a mesh if they were; those of a state made elsewhere are whole on every device.

    Other parameters as of :func:`train`.

    Returns
    -------
    state, history
        The state after the last epoch, and the history of these epochs.

    Raises
    ------
    ValueError, TypeError, TrainingDiverged
        As :func:`train`.
    """
    visible, validation = _checked_rows(state.machine, visible, validation)
    if mesh is not None:
        there, visible = set(mesh.devices.flat), devices.split_rows(mesh, "rows", visible)
        state = jax.tree.map(lambda a: a if a.sharding.device_set == there else devices.on_all(mesh, a), state)
    return run(
        trainer,
        state,
        visible,
        validation=validation,
        record_history=record_history,
        callback=callback,
        checkpoint=checkpoint,
        mesh=mesh,
    )


def trained(
    machine: Machine,
    visible: Float[AnyArray, "*trials rows visible"],
    settings: TrainingSettings,
    key: Keys,
    *,
    input_scales: tuple[float, float] = (1.0, 1.0),
    mesh: Mesh | None = None,
    **how: Any,
) -> tuple[TrainingState, History]:
    """:func:`train` on float32 rows that have been checked; returns the last state in place of the machine.

    ``input_scales``: see :func:`secateur.training.gradients.contrastive_divergence`. ``how``: as of :func:`run`.
    """
    keys = keys_for(machine, key)
    if settings.method == "exact":
        exact = ExactTrainer(settings)
        return run(exact, over_trials(exact.init, machine)(machine, keys), visible, mesh=mesh, **how)
    trainer = Trainer(settings, input_scales=input_scales)
    if mesh is not None:
        machine, keys = devices.on_all(mesh, (machine, keys))
        visible = devices.split_rows(mesh, "rows", visible)
    trainer.check_depth(machine)
    starts = None if trainer.sampler is None else _starts(machine, keys, visible, settings.n_chains)
    state = _begun(trainer.compiled_part(), machine, keys, devices.split_rows(mesh, "n_chains", starts))
    return run(trainer, state, visible, mesh=mesh, **how)


def run(
    trainer: Trainer | ExactTrainer,
    state: TrainingState,
    visible: Float[AnyArray, "*trials rows visible"],
    *,
    validation: Float[AnyArray, "*trials held_out visible"] | None = None,
    record_history: bool = True,
    callback: Callback | None = None,
    checkpoint: TrainingPart | None = None,
    mesh: Mesh | None = None,
) -> tuple[TrainingState, History]:
    """:func:`continue_training` on float32 rows that have been checked; they and the state are on the mesh already."""
    settings = trainer.settings
    if isinstance(trainer, ExactTrainer):
        state = run_iterations(trainer, state, visible, callback, checkpoint)
        _check_finite(state.machine, settings.n_epochs - 1, settings)
        return state, History.of_epochs([])
    n_rows = visible.shape[-2]
    n_updates = max(1, n_rows // settings.batch_size)
    rates = settings.learning_rates(settings.n_epochs * n_updates).reshape(settings.n_epochs, n_updates)
    program = trainer.compiled_part()
    state = _copied(state)  # the epochs reuse the buffers of the state that they are given
    finished: int = 0
    history: list[dict[str, np.ndarray]] = []
    if checkpoint is not None:
        finished, state, history = checkpoint.restore(state)
    measured = _measured_rows(visible, validation, state) if record_history else None
    for epoch in range(settings.n_epochs):
        if epoch >= finished:
            batches = shuffled_batches(state, n_rows, settings.batch_size)
            if mesh is not None:  # every device takes its share of each batch
                batches = jnp.swapaxes(devices.split_rows(mesh, "batch_size", jnp.swapaxes(batches, -1, -2)), -1, -2)
            rows = _drawn(visible, state) if settings.redraw else visible
            state = _epoch((program, rows, batches, rates[epoch]), state)
            if measured is not None:
                history.append(jax.device_get(_measured(state, *measured, trainer.input_scales)))
            _check_finite(state.machine, epoch, settings)
            if checkpoint is not None:
                checkpoint.keep(Reached(epoch + 1, state, history), last=epoch + 1 == settings.n_epochs)
        if callback is not None:
            callback(epoch + 1, _copied(state.machine), History.of_epochs(history[: epoch + 1]))
    return state, History.of_epochs(history)


def shuffled_batches(state: TrainingState, n_rows: int, batch_size: int) -> Int[Array, "*trials updates batch"]:
    """Row numbers of every batch of the epoch that begins at a state, in random order.

    Rows left over wait for the next epoch; fewer rows than a batch make one batch. A function of the state's key and
    step.
    """
    return _batches(state.key, state.step, state.machine, n_rows, min(batch_size, n_rows))


@partial(jax.jit, static_argnames=("n_rows", "batch_size"))
def _batches(key: Keys, step: Array, machine: Machine, n_rows: int, batch_size: int) -> Array:
    def shuffled(key: PRNGKeyArray, step: Array) -> Array:
        order = jax.random.permutation(jax.random.fold_in(child_key(key, "batches"), step), n_rows)
        n_updates = n_rows // batch_size
        return order[: n_updates * batch_size].reshape(n_updates, batch_size).astype(jnp.int32)

    return over_trials(shuffled, machine)(key, step)


@jax.jit
def _drawn(visible: Array, state: TrainingState) -> Array:
    """Rows of 0 and 1 drawn from probabilities, for the epoch that begins at a state."""

    def draw(visible: Array, key: PRNGKeyArray, step: Array) -> Array:
        return units.sample(visible, jax.random.fold_in(child_key(key, "rows"), step))

    return over_trials(draw, state.machine)(visible, state.key, state.step)


@partial(jax.jit, static_argnames="n_chains")
def _starts(machine: Machine, keys: Keys, visible: Array, n_chains: int) -> tuple[Array, ...]:
    return over_trials(partial(chain_starts, n_chains=n_chains), machine)(machine, keys, visible)


@eqx.filter_jit
def _begun(trainer: Trainer, machine: Machine, keys: Keys, starts: tuple[Array, ...] | None) -> TrainingState:
    return over_trials(trainer.begin, machine)(machine, keys, starts)


@jax.jit
def _copied(arrays: Any) -> Any:
    return jax.tree.map(jnp.copy, arrays)


@eqx.filter_jit(donate="all-except-first")
def _epoch(given: tuple[Trainer, Array, Array, Array], state: TrainingState) -> TrainingState:
    trainer, visible, batches, rates = given

    def run(state: TrainingState, visible: Array, batches: Array) -> TrainingState:
        def body(state: TrainingState, step: tuple[Array, Array]) -> tuple[TrainingState, None]:
            rows, rate = step
            return trainer.update(state, visible[rows], rate)[0], None

        return jax.lax.scan(body, state, (batches, rates))[0]

    return over_trials(run, state.machine)(state, visible, batches)


@jax.jit
def _measured_rows(visible: Array, validation: Array | None, state: TrainingState) -> tuple[Array, Array | None]:
    def draw(rows: Array, held_out: Array | None, key: PRNGKeyArray) -> tuple[Array, Array | None]:
        keys = jax.random.split(child_key(key, "measured rows"))
        return share_of_rows(rows, keys[0]), None if held_out is None else share_of_rows(held_out, keys[1])

    return over_trials(draw, state.machine)(visible, validation, state.key)


@partial(jax.jit, static_argnames="input_scales")
def _measured(
    state: TrainingState, visible: Array, validation: Array | None, input_scales: tuple[float, float]
) -> dict[str, Array]:
    def run(state: TrainingState, rows: Array, held_out: Array | None) -> dict[str, Array]:
        key = jax.random.fold_in(child_key(state.key, "history"), state.step)
        return measure(state.machine, rows, held_out, key, input_scales)

    return over_trials(run, state.machine)(state, visible, validation)


def _checked_rows(machine: Machine, visible: Any, validation: Any) -> tuple[Array, Array | None]:
    n_visible, trials = machine.layer_sizes[0], n_trials(machine)
    rows = checked.rows(visible, n_visible, n_trials=trials, probabilities=True)
    if validation is None:
        return rows, None
    return rows, checked.rows(validation, n_visible, "validation", n_trials=trials, probabilities=True)


def check_machine(machine: Any) -> None:
    """Refuse what is no machine of layers."""
    checked.model(machine)
    if not isinstance(machine, Machine):
        raise TypeError(
            f"machine must be a machine with hidden layers, got a {type(machine).__name__}; fit that to data with "
            "secateur.training.fit_pairwise"
        )


def _check_finite(machine: Machine, epoch: int, settings: TrainingSettings) -> None:
    flat = [np.asarray(a).reshape(n_trials(machine) or 1, -1) for a in jax.tree.leaves(machine.parameters)]
    finite = np.all([np.isfinite(a).all(axis=1) for a in flat], axis=0)
    if finite.all():
        return
    where = "" if n_trials(machine) is None else f" of trial {int(np.argmin(finite))}"
    remedy = "lower it" if settings.max_norm is not None else "lower it or set max_norm (6 is usual)"
    raise TrainingDiverged(
        f"parameters{where} became NaN or infinite in epoch {epoch + 1}; the likely cause is a learning rate too large "
        f"for this machine ({settings.learning_rate[0]:g} at the start): {remedy}"
    )
