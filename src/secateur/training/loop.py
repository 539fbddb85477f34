"""The training loop: one compiled scan per epoch, for one machine or for stacked trials at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float, PRNGKeyArray

from secateur.model import devices
from secateur.model.arrays import AnyArray, Keys
from secateur.model.machine import Machine, Parameters, States
from secateur.model.randomness import child_key
from secateur.model.trials import keys_for, n_trials, over_trials
from secateur.sampling.block_gibbs import data_states
from secateur.training import gradients
from secateur.training.checkpoint import Reached, TrainingPart
from secateur.training.exact import maximise_likelihood
from secateur.training.history import History, measure
from secateur.training.settings import TrainingSettings

N_MEASURED = 500
"""Rows measured after every epoch; few enough to cost little."""


class TrainingDiverged(ArithmeticError):
    """Parameters became NaN or infinite during training."""


class TrainingState(eqx.Module):
    """What the next update needs: parameters and structure, optimiser state, persistent chains (none for CD)."""

    machine: Machine
    optimizer_state: Any
    chains: States


def train(
    machine: Machine,
    visible: Float[AnyArray, "*trials rows visible"],
    settings: TrainingSettings,
    key: Keys,
    *,
    validation: Float[AnyArray, "*trials held_out visible"] | None = None,
    input_scales: tuple[float, float] = (1.0, 1.0),
    record_history: bool = True,
    on_epoch: Callable[[int], None] | None = None,
    checkpoint: TrainingPart | None = None,
    mesh: Mesh | None = None,
) -> tuple[Machine, History]:
    """Train a machine, or stacked trials of machines at once.

    Parameters
    ----------
    machine
        Starting point; synapses absent here stay absent. May be stacked (:mod:`secateur.model.trials`).
    visible
        Rows of 0/1 states (or probabilities), ``(rows, n_0)``; with a leading trial axis for stacked machines.
    settings
        Method, optimiser, schedule and regularisation.
    key
        Random key, or one key per trial.
    validation
        Held-out rows; their free energy is compared with that of training rows after every epoch.
    input_scales
        See :func:`secateur.training.gradients.contrastive_divergence`; used by pretraining.
    record_history
        Whether to measure after every epoch; without it the history is empty.
    on_epoch
        Called with the number of finished epochs, also of those that a checkpoint brings.
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
        If 'cd' is asked of a deep machine, or 'exact' of one too large to be enumerated.
    TrainingDiverged
        If a parameter became NaN or infinite; the message names the likely cause and the remedy.
    """
    if settings.method == "cd" and machine.n_layers > 2:
        raise ValueError(
            f"method='cd' needs one hidden layer, this machine has {machine.n_layers - 1}; use method='pcd'"
        )
    if settings.method == "exact":
        machine = maximise_likelihood(machine, visible, settings.n_epochs, on_epoch, checkpoint)
        _check_finite(machine, settings.n_epochs - 1, settings)
        return machine, History.of_epochs([])
    n_rows = visible.shape[-2]
    batch_size = min(settings.batch_size, n_rows)
    n_updates = n_rows // batch_size
    rates = settings.learning_rates(settings.n_epochs * n_updates).reshape(settings.n_epochs, n_updates)
    static = settings.compiled_part()
    keys = keys_for(machine, key)
    if mesh is not None:
        machine, keys = devices.on_all(mesh, (machine, keys))
        visible = devices.split_rows(mesh, "rows", visible)
    # A copy, because the epochs reuse the buffers of the state that they are given.
    state = jax.tree.map(jnp.copy, _start(machine, visible, keys, static, settings.n_chains))
    state = eqx.tree_at(lambda s: s.chains, state, devices.split_rows(mesh, "n_chains", state.chains))
    finished = 0
    history: list[dict[str, np.ndarray]] = []
    if checkpoint is not None:
        finished, state, history = checkpoint.restore(state)
    for epoch in range(settings.n_epochs):
        if epoch >= finished:
            number = np.int32(epoch)  # not a Python number, which JAX would compile anew for every value
            rows = _batches(keys, number, n_rows, n_updates, batch_size)
            if mesh is not None:  # every device takes its share of each batch
                rows = jnp.swapaxes(devices.split_rows(mesh, "batch_size", jnp.swapaxes(rows, -1, -2)), -1, -2)
            state = _epoch(state, visible, rows, rates[epoch], keys, number, static, input_scales)
            if record_history:
                measured = _measured(state.machine, visible, validation, keys, number, input_scales)
                history.append(jax.device_get(measured))
            _check_finite(state.machine, epoch, settings)
            if checkpoint is not None:
                checkpoint.keep(Reached(epoch + 1, state, history), last=epoch + 1 == settings.n_epochs)
        if on_epoch is not None:
            on_epoch(epoch + 1)
    return state.machine, History.of_epochs(history)


@partial(jax.jit, static_argnames=("settings", "n_chains"))
def _start(machine: Machine, visible: Array, keys: Keys, settings: TrainingSettings, n_chains: int) -> TrainingState:
    def start(machine: Machine, visible: Array, key: PRNGKeyArray) -> TrainingState:
        optimizer_state = settings.transformation().init(machine.parameters)
        chains = () if settings.method == "cd" else data_states(machine, visible, key, n_chains)
        return TrainingState(machine, optimizer_state, chains)

    return over_trials(start, machine)(machine, visible, child_key(keys, "start"))


@partial(jax.jit, static_argnames=("n_rows", "n_updates", "batch_size"))
def _batches(keys: Keys, epoch: Array, n_rows: int, n_updates: int, batch_size: int) -> Array:
    """Row numbers of every batch of an epoch, in random order; rows left over wait for the next epoch."""

    def shuffled(key: PRNGKeyArray) -> Array:
        order = jax.random.permutation(jax.random.fold_in(key, epoch), n_rows)
        return order[: n_updates * batch_size].reshape(n_updates, batch_size)

    keys = child_key(keys, "batches")
    return jax.vmap(shuffled)(keys) if keys.ndim else shuffled(keys)


@partial(jax.jit, static_argnames=("settings", "input_scales"), donate_argnums=0)
def _epoch(
    state: TrainingState,
    visible: Array,
    batches: Array,
    rates: Array,
    keys: Keys,
    epoch: Array,
    settings: TrainingSettings,
    input_scales: tuple[float, float],
) -> TrainingState:
    def run(state: TrainingState, visible: Array, batches: Array, key: PRNGKeyArray) -> TrainingState:
        def body(state: TrainingState, step: tuple[Array, Array, Array]) -> tuple[TrainingState, None]:
            rows, rate, step_key = step
            return _update(state, visible[rows], rate, step_key, settings, input_scales), None

        keys = jax.random.split(jax.random.fold_in(key, epoch), rates.shape[0])
        return jax.lax.scan(body, state, (batches, rates, keys))[0]

    return over_trials(run, state.machine)(state, visible, batches, child_key(keys, "epochs"))


def _update(
    state: TrainingState,
    batch: Array,
    rate: Array,
    key: PRNGKeyArray,
    settings: TrainingSettings,
    input_scales: tuple[float, float],
) -> TrainingState:
    """One step up the estimated gradient; absent synapses stay absent whatever the optimiser does."""
    machine, chains = state.machine, state.chains
    sampled = machine.in_precision(settings.precision)
    if settings.method == "cd":
        positive, negative = gradients.contrastive_divergence(sampled, batch, key, settings.n_sweeps, input_scales)
    else:
        positive, negative, chains = gradients.persistent(
            sampled, batch, chains, key, n_sweeps=settings.n_sweeps, n_mean_field=settings.n_mean_field
        )
    ascent = gradients.gradient(machine, positive, negative, centred=settings.centred)
    if settings.l2:
        decay = Parameters(machine.weights, jax.tree.map(jnp.zeros_like, machine.biases))
        ascent = jax.tree.map(lambda g, w: g - settings.l2 * w, ascent, decay)
    if settings.sparsity_target is not None:
        pull = gradients.sparsity_gradient(machine, positive, settings.sparsity_target)
        ascent = jax.tree.map(lambda g, p: g + settings.sparsity_strength * p, ascent, pull)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes its step count with floats
        direction, optimizer_state = settings.transformation().update(ascent, state.optimizer_state)
    parameters = optax.apply_updates(machine.parameters, jax.tree.map(lambda d: rate * d, direction))
    if settings.max_norm is not None:
        parameters = parameters._replace(weights=tuple(_limit_norm(w, settings.max_norm) for w in parameters.weights))
    return TrainingState(machine.with_parameters(parameters), optimizer_state, chains)


def _limit_norm(weight: Float[Array, "lower upper"], max_norm: float) -> Float[Array, "lower upper"]:
    """Scale each upper unit's weights from below so that their Euclidean norm is at most ``max_norm``."""
    norms = jnp.sqrt((weight**2).sum(axis=0))
    return weight * jnp.minimum(1.0, max_norm / jnp.maximum(norms, max_norm / 2))[None, :]


@partial(jax.jit, static_argnames=("input_scales",))
def _measured(
    machine: Machine,
    visible: Array,
    validation: Array | None,
    keys: Keys,
    epoch: Array,
    input_scales: tuple[float, float],
) -> dict[str, Array]:
    def run(machine: Machine, rows: Array, held_out: Array | None, key: PRNGKeyArray) -> dict[str, Array]:
        return measure(machine, rows, held_out, jax.random.fold_in(key, epoch), input_scales)

    held_out = None if validation is None else validation[..., :N_MEASURED, :]
    return over_trials(run, machine)(machine, visible[..., :N_MEASURED, :], held_out, child_key(keys, "history"))


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
