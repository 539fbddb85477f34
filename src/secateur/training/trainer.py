"""How a machine is trained, as a pair of pure functions ``init`` and ``update`` that anybody's loop can call.

    trainer = Trainer(settings)
    state = trainer.init(machine, key)
    for rows in batches:
        state, info = trainer.update(state, rows)

The state is all that the next update needs, so that training can stop, go on, and go on after a removal of synapses.
Both functions are compiled, and can be used inside ``jit``, ``lax.scan`` and ``vmap``; they check no values.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from secateur.model.arrays import AnyArray, Keys
from secateur.model.machine import Machine, Parameters, States
from secateur.model.randomness import child_key, threefry
from secateur.model.trials import over_trials
from secateur.sampling.sampler import Sampler, sampler_named
from secateur.sampling.starts import Start, started
from secateur.training import gradients
from secateur.training.settings import TrainingSettings


class TrainingState(eqx.Module):
    """What the next update needs; with a leading trial axis in every array for stacked machines.

    Attributes
    ----------
    machine
        Parameters and structure.
    optimizer
        State of the optimiser.
    chains
        State of the sampler of the negative phase; ``None`` for contrastive divergence and exact training.
    key
        The key that training began with; that of every update follows from it and the step.
    step
        Updates so far.
    """

    machine: Machine
    optimizer: Any
    chains: Any
    key: Keys
    step: Int[Array, ...]


class UpdateInfo(NamedTuple):
    """What an update tells beside the new state; may be thrown away.

    Attributes
    ----------
    gradient
        Estimate of the gradient that was climbed, penalties included, in nats.
    gradient_norm
        Its Euclidean norm over all parameters.
    """

    gradient: Parameters
    gradient_norm: Float[Array, ""]


class Trainer(eqx.Module):
    """Training by contrastive divergence or by persistent chains of any sampler.

    Parameters
    ----------
    settings
        Method, optimiser and regularisation; also the schedule, for :func:`secateur.training.train`.
    sampler
        How the chains of the negative phase move, as an object; ``None``: the sampler that the settings name. A ladder
        of tempering is spaced for the machine that training begins with.
    input_scales
        See :func:`secateur.training.gradients.contrastive_divergence`; used by pretraining.

    Raises
    ------
    ValueError
        If the method is ``"exact"``, there is no such sampler, or one is given for contrastive divergence.
    """

    settings: TrainingSettings = eqx.field(static=True)
    sampler: Sampler | None
    input_scales: tuple[float, float] = eqx.field(static=True)

    def __init__(
        self,
        settings: TrainingSettings,
        sampler: Sampler | None = None,
        *,
        input_scales: tuple[float, float] = (1.0, 1.0),
    ):
        if settings.method == "exact":
            raise ValueError("Trainer needs method='cd' or 'pcd', got method='exact'; use ExactTrainer instead")
        chosen = settings.sampler if sampler is None else sampler
        if settings.method == "cd" and chosen != "gibbs":
            raise ValueError(
                "sampler must be 'gibbs' with method='cd', whose chains start at the data in every update, got "
                f"{chosen!r}; use method='pcd' with other samplers"
            )
        self.sampler = None if settings.method == "cd" else sampler_named(chosen, settings.n_sweeps)
        self.settings, self.input_scales = settings, input_scales

    def init(self, machine: Machine, key: PRNGKeyArray, visible: AnyArray | None = None) -> TrainingState:
        """The state before the first update.

        Parameters
        ----------
        machine
            Starting point, a single machine; synapses absent here stay absent.
        key
            Random key, from which all random numbers of the training follow.
        visible
            0/1 rows ``(rows, n_0)`` at which the chains start; ``None``: dispersed
            (:func:`secateur.sampling.start_states`).

        Raises
        ------
        ValueError
            If 'cd' is asked of a deep machine.
        """
        self.check_depth(machine)
        starts = None if self.sampler is None else chain_starts(machine, key, visible, self.settings.n_chains)
        return self.begin(machine, key, starts)

    def update(
        self, state: TrainingState, rows: AnyArray, rate: float | AnyArray | None = None
    ) -> tuple[TrainingState, UpdateInfo]:
        """One step up the estimated gradient; absent synapses stay absent whatever the optimiser does.

        Parameters
        ----------
        state
            The state of a single machine; use ``jax.vmap`` for stacked ones.
        rows
            A batch of 0/1 rows or probabilities, ``(rows, n_0)``.
        rate
            Learning rate; ``None``: the first one of the settings.
        """
        rate = self.settings.learning_rate[0] if rate is None else rate
        return _update(self.compiled_part(), state, rows, jnp.asarray(rate, jnp.float32))

    def with_machine(self, state: TrainingState, machine: Machine) -> TrainingState:
        """The state from which training goes on after synapses or units were removed.

        The optimiser forgets what belongs to them. Chains go on where they are; if units left the arrays, a sampler is
        begun anew at the states of those that stay.

        Parameters
        ----------
        state
            The state before the removal, single or stacked.
        machine
            ``state.machine`` with fewer synapses, or, compacted, with fewer units.

        Raises
        ------
        ValueError
            If the machine has units that the state's does not have.
        """
        check_units(state.machine, machine)
        trainer = self.compiled_part()
        return over_trials(lambda state, machine: _with_machine(trainer, state, machine), machine)(state, machine)

    def check_depth(self, machine: Machine) -> None:
        """Refuse contrastive divergence for deep machines."""
        if self.settings.method == "cd" and machine.n_layers > 2:
            raise ValueError(
                f"method='cd' needs one hidden layer, this machine has {machine.n_layers - 1}; use method='pcd'"
            )

    def begin(self, machine: Machine, key: PRNGKeyArray, starts: States | None) -> TrainingState:
        """The state before the first update, of chains that start at ``starts``."""
        return _init(self.compiled_part(), machine, key, starts)

    def compiled_part(self) -> Trainer:
        """The trainer with defaults for all settings that enter at run time, so that equal programs are shared."""
        return Trainer(self.settings.compiled_part(), self.sampler, input_scales=self.input_scales)


def chain_starts(machine: Machine, key: PRNGKeyArray, visible: AnyArray | None, n_chains: int) -> States:
    """States at which persistent chains start, given the key of the training."""
    how: Start = "dispersed" if visible is None else "data"
    return started(machine, child_key(key, "start"), n_chains, how, visible)


@eqx.filter_jit
def _init(trainer: Trainer, machine: Machine, key: PRNGKeyArray, starts: States | None) -> TrainingState:
    chains = None
    if trainer.sampler is not None and starts is not None:
        chains = trainer.sampler.init(machine, child_key(key, "sampler"), starts[0].shape[0], starts)
    optimizer = trainer.settings.transformation().init(machine.parameters)
    return TrainingState(machine, optimizer, chains, key, jnp.zeros((), jnp.int32))


@eqx.filter_jit
def _update(trainer: Trainer, state: TrainingState, rows: AnyArray, rate: AnyArray) -> tuple[TrainingState, UpdateInfo]:
    settings, machine, chains = trainer.settings, state.machine, state.chains
    rows, key = jnp.asarray(rows, jnp.float32), _update_key(state.key, state.step)
    sampled = machine.in_precision(settings.precision)
    if trainer.sampler is None:
        positive, negative = gradients.contrastive_divergence(
            sampled, rows, key, settings.n_sweeps, trainer.input_scales
        )
    else:
        positive, negative, chains = gradients.persistent(
            sampled, rows, trainer.sampler, chains, key, n_mean_field=settings.n_mean_field
        )
    ascent = gradients.gradient(machine, positive, negative, centred=settings.centred)
    if settings.l2:
        decay = Parameters(machine.weights, jax.tree.map(jnp.zeros_like, machine.biases))
        ascent = jax.tree.map(lambda g, w: g - settings.l2 * w, ascent, decay)
    if settings.sparsity_target is not None:
        pull = gradients.sparsity_gradient(machine, positive, settings.sparsity_target)
        ascent = jax.tree.map(lambda g, p: g + settings.sparsity_strength * p, ascent, pull)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes its step count with floats
        direction, optimizer = settings.transformation().update(ascent, state.optimizer)
    parameters = optax.apply_updates(machine.parameters, jax.tree.map(lambda d: rate * d, direction))
    if settings.max_norm is not None:
        parameters = parameters._replace(weights=tuple(_limit_norm(w, settings.max_norm) for w in parameters.weights))
    new = TrainingState(machine.with_parameters(parameters), optimizer, chains, state.key, state.step + 1)
    norm = jnp.sqrt(sum((g**2).sum() for g in jax.tree.leaves(ascent)))
    return new, UpdateInfo(ascent, norm)


def _update_key(key: PRNGKeyArray, step: Int[Array, ""]) -> PRNGKeyArray:
    """The key of one update. Arithmetic that XLA fuses with what uses it; ``fold_in`` is a step of its own in a loop
    whose updates take microseconds.
    """
    words = jax.random.key_data(key)
    if words.shape != (2,):  # keys of other generators
        return jax.random.fold_in(key, step)
    counter = jnp.full(2, step.astype(jnp.uint32))
    return jax.random.wrap_key_data(threefry(words, counter, jnp.arange(2, dtype=jnp.uint32)))


def _limit_norm(weight: Float[Array, "lower upper"], max_norm: float) -> Float[Array, "lower upper"]:
    """Scale each upper unit's weights from below so that their Euclidean norm is at most ``max_norm``."""
    norms = jnp.sqrt((weight**2).sum(axis=0))
    return weight * jnp.minimum(1.0, max_norm / jnp.maximum(norms, max_norm / 2))[None, :]


@eqx.filter_jit
def _with_machine(trainer: Trainer, state: TrainingState, machine: Machine) -> TrainingState:
    stayed = [
        jnp.argmax(new[:, None] == old[None, :], axis=1)
        for new, old in zip(machine.unit_indices, state.machine.unit_indices, strict=True)
    ]

    def remaining(values: Any) -> Any:
        if not isinstance(values, Parameters):
            return values
        ends = zip(values.weights, stayed[:-1], stayed[1:], machine.masks, strict=True)
        weights = tuple(jnp.where(mask, w[lower][:, upper], 0) for w, lower, upper, mask in ends)
        return Parameters(weights, tuple(b[units] for b, units in zip(values.biases, stayed, strict=True)))

    optimizer = jax.tree.map(remaining, state.optimizer, is_leaf=lambda part: isinstance(part, Parameters))
    chains = state.chains
    if trainer.sampler is not None and machine.layer_sizes != state.machine.layer_sizes:
        starts = tuple(layer[:, units] for layer, units in zip(chains.states, stayed, strict=True))
        key = child_key(_update_key(state.key, state.step), "sampler")
        chains = trainer.sampler.init(machine, key, starts[0].shape[0], starts)
    return TrainingState(machine, optimizer, chains, state.key, state.step)


def check_units(before: Machine, machine: Machine) -> None:
    """Refuse a machine to which training cannot go on, because it has other units than the one before.

    Raises
    ------
    ValueError
        If a unit was not there before.
    """
    fits = machine.original_layer_sizes == before.original_layer_sizes and all(
        np.shape(new)[:-1] == np.shape(old)[:-1] and np.isin(new, old).all()
        for new, old in zip(machine.unit_indices, before.unit_indices, strict=True)
    )
    if not fits:
        raise ValueError(
            "machine must be that of the state with fewer synapses or units, got one with other units (layer sizes "
            f"{machine.layer_sizes} after {before.layer_sizes}); prune state.machine"
        )
