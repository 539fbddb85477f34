"""The round loop: measure importance, remove, retrain, again; for one machine or for stacked trials."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray
from pydantic import BaseModel, ConfigDict, Field

from secateur import sampling
from secateur.fisher.diagonal import Source
from secateur.model import enumeration
from secateur.model.arrays import AnyArray, Keys
from secateur.model.machine import Machine, States
from secateur.model.moments import Moments
from secateur.model.randomness import child_key
from secateur.model.trials import keys_for, n_trials, over_trials, unstack
from secateur.pruning.criteria import WHOLE_MACHINE_RULES, Rule
from secateur.pruning.prune import Fraction, pruned_masks
from secateur.pruning.removal import Zeros, shrink
from secateur.storage import limits
from secateur.training import TrainingCheckpoint, TrainingSettings, train
from secateur.training.checkpoint import TrainingPart


class ImportanceSampling(BaseModel):
    """How many model states importance is measured from: ``n_chains * n_draws`` in all; immutable."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_chains: int = Field(200, ge=2, le=limits.MAX_CHAINS, description="independent chains")
    n_draws: int = Field(50, ge=2, le=limits.MAX_SAMPLES, description="draws per chain")
    n_sweeps: int = Field(2, ge=1, le=limits.MAX_SWEEPS, description="Gibbs sweeps from one draw to the next")
    n_burn_in: int = Field(100, ge=0, le=limits.MAX_SWEEPS, description="sweeps before the first draw")
    start: Literal["random", "data"] = Field(
        "random", description="chains start at independent random units, or at rows of the data"
    )

    def schedule(self) -> dict[str, Any]:
        """The arguments of :func:`secateur.sampling.moments` that say when to draw."""
        return self.model_dump(exclude={"n_chains", "start"})


@dataclass(frozen=True)
class Round:
    """One round of pruning. Arrays may hold dead units, which have no synapses.

    Attributes
    ----------
    number
        1 for the first round.
    moments
        What importance was measured from, before anything was removed; one for each trial.
    pruned, retrained
        The machine after removal, in arrays of the size it had before, and after retraining, in smaller arrays where
        that pays.
    """

    number: int
    moments: list[Moments]
    pruned: Machine
    retrained: Machine


def prune_and_retrain(
    machine: Machine,
    visible: Float[AnyArray, "*trials rows visible"] | None,
    criterion: str | Rule,
    *,
    n_rounds: int,
    fraction: Fraction,
    retraining: TrainingSettings | None,
    key: Keys,
    importance: ImportanceSampling | Literal["exact"] | None = None,
    zeros: Zeros = "all",
    shrink_at: float = 1.0,
    first_round: int = 1,
    checkpoint: TrainingCheckpoint | None = None,
    on_epoch: Callable[[int], None] | None = None,
) -> Iterator[Round]:
    """Prune and retrain a machine round after round; yields after every round.

    Parameters
    ----------
    machine
        The trained machine, or stacked trials.
    visible
        Training rows ``(rows, n_0)``, with a leading trial axis for stacked trials; ``None`` to prune without
        retraining.
    criterion
        Name of a rule or a function (see :func:`secateur.pruning.prune`).
    n_rounds
        Number of rounds.
    fraction
        Share of each weight matrix's remaining synapses that each round removes.
    retraining
        Training after each removal, ``None`` without rows; a machine that lost nothing is not retrained.
    key
        Random key, or one key per trial.
    importance
        How importance is measured: from model states, or ``"exact"`` by enumeration. ``None``: 10,000 states.
    zeros
        Zero rule (see :func:`secateur.pruning.remove_lowest`).
    shrink_at
        Arrays shrink (:func:`secateur.pruning.shrink`) when at least this share of the multiplications of a Gibbs sweep
        would go; every new shape costs compilations. 1: never.
    first_round
        Number of the first round; later than 1 to continue from the machine after an earlier round.
    checkpoint
        Where a retraining continues that was interrupted, and what it keeps up to date.
    on_epoch
        Called with the number of finished epochs of a round's retraining.

    Raises
    ------
    ValueError
        If the criterion is unknown, a fraction lies outside (0, 1), or only one of ``visible`` and ``retraining`` is
        given.
    """
    if (visible is None) != (retraining is None):
        raise ValueError("retraining needs visible and retraining, got one; give both, or neither to only prune")
    keys = keys_for(machine, key)
    how = importance or ImportanceSampling()
    for number in range(first_round, n_rounds + 1):
        round_keys = child_key(keys, "round", number)
        key_importance, key_removal = child_key(round_keys, "importance"), child_key(round_keys, "removal")
        moments = model_moments(machine, how, key_importance, visible)
        sources: Sequence[Source] = moments
        if isinstance(criterion, str) and criterion in WHOLE_MACHINE_RULES:
            sources = _whole_states(machine, how, child_key(round_keys, "states"), visible)
        pruned = _remove(machine, sources, criterion, fraction, key_removal, zeros)
        lost = _lost_synapses(machine, pruned)
        machine = _shrink_if_it_pays(pruned, shrink_at)
        if visible is not None and retraining is not None:
            part = None if checkpoint is None else checkpoint.part(f"round {number}")
            machine = _retrain(machine, lost, visible, retraining, child_key(round_keys, "retraining"), part, on_epoch)
        yield Round(number, moments, pruned, machine)


def model_moments(
    machine: Machine,
    importance: ImportanceSampling | Literal["exact"],
    key: Keys,
    visible: Float[AnyArray, "*trials rows visible"] | None = None,
) -> list[Moments]:
    """Moments of the model by enumeration or from fresh chains; one for every trial, one for a single machine.

    ``visible`` is needed where chains start at data.
    """
    if importance == "exact":
        return [enumeration.moments(one) for one in _singles(machine)]
    moments = _sampled_moments(machine, keys_for(machine, key), importance, _starting_rows(importance, visible))
    return [moments] if n_trials(machine) is None else unstack(moments)


def _whole_states(
    machine: Machine, importance: ImportanceSampling | Literal["exact"], keys: Keys, visible: AnyArray | None
) -> list[Source]:
    """Sources for rules that look at whole states, for every trial."""
    if importance == "exact":
        return ["exact" for _ in _singles(machine)]
    states = model_states(machine, importance, keys, visible)
    return [states] if n_trials(machine) is None else unstack(states)


def _starting_rows(importance: ImportanceSampling, visible: AnyArray | None) -> AnyArray | None:
    if importance.start == "random":
        return None
    if visible is None:
        raise ValueError("importance.start='data' needs visible rows, got none; give them or say start='random'")
    return visible


def _singles(machine: Machine) -> list[Machine]:
    return [machine] if n_trials(machine) is None else unstack(machine)


@partial(jax.jit, static_argnames=("importance",))
def _sampled_moments(machine: Machine, keys: Keys, importance: ImportanceSampling, visible: AnyArray | None) -> Moments:
    def draw(machine: Machine, key: PRNGKeyArray, rows: AnyArray | None) -> Moments:
        key_start, key_draws = jax.random.split(key)
        states = _start(machine, key_start, importance.n_chains, rows)
        return sampling.moments(machine, states, key_draws, **importance.schedule())

    return over_trials(draw, machine)(machine, keys, visible)


def model_states(
    machine: Machine,
    importance: ImportanceSampling,
    keys: Keys,
    visible: Float[AnyArray, "*trials rows visible"] | None = None,
) -> States:
    """States of the model from fresh chains, for one machine or, with a key per trial, for stacked trials.

    ``visible`` is needed where chains start at data.
    """
    return _sampled_states(machine, keys, importance, _starting_rows(importance, visible))


@partial(jax.jit, static_argnames=("importance",))
def _sampled_states(machine: Machine, keys: Keys, importance: ImportanceSampling, visible: AnyArray | None) -> States:
    def draw(machine: Machine, key: PRNGKeyArray, rows: AnyArray | None) -> States:
        key_start, key_draws = jax.random.split(key)
        states = _start(machine, key_start, importance.n_chains, rows)
        draws, _ = sampling.sample(machine, states, key_draws, **importance.schedule())
        return tuple(layer.reshape(-1, layer.shape[-1]) for layer in draws)

    return over_trials(draw, machine)(machine, keys, visible)


def _start(machine: Machine, key: PRNGKeyArray, n_chains: int, rows: AnyArray | None) -> States:
    if rows is None:
        return sampling.random_states(machine, key, n_chains)
    return sampling.data_states(machine, rows, key, n_chains)


def _remove(
    machine: Machine, sources: Sequence[Source], criterion: str | Rule, fraction: Fraction, keys: Keys, zeros: Zeros
) -> Machine:
    each = zip(_singles(machine), sources, [keys] if keys.ndim == 0 else keys, strict=True)
    kept = [pruned_masks(one, source, criterion, fraction, key, zeros) for one, source, key in each]
    if n_trials(machine) is None:
        return machine.with_masks(kept[0])
    return machine.with_masks([np.stack(masks) for masks in zip(*kept, strict=True)])


def _lost_synapses(before: Machine, after: Machine) -> np.ndarray:
    """Whether a machine lost synapses, or which of the stacked trials did."""
    pairs = zip(before.masks, after.masks, strict=True)
    lost = [(np.asarray(old) & ~np.asarray(new)).any(axis=(-2, -1)) for old, new in pairs]
    return np.asarray(np.any(lost, axis=0))


def _shrink_if_it_pays(machine: Machine, shrink_at: float) -> Machine:
    if shrink_at == 1:
        return machine
    smaller = shrink(machine)
    products, fewer = (sum(math.prod(w.shape[-2:]) for w in m.weights) for m in (machine, smaller))
    return smaller if fewer <= (1 - shrink_at) * products else machine


def _retrain(
    pruned: Machine,
    lost: np.ndarray,
    visible: AnyArray,
    retraining: TrainingSettings,
    keys: Keys,
    checkpoint: TrainingPart | None,
    on_epoch: Callable[[int], None] | None,
) -> Machine:
    """Retrain machines that lost synapses; those that lost none stay as they are."""
    if not lost.any():
        return pruned
    retrained, _ = train(
        pruned, visible, retraining, keys, record_history=False, checkpoint=checkpoint, on_epoch=on_epoch
    )
    if lost.all():
        return retrained
    return jax.tree.map(
        lambda new, old: jnp.where(lost.reshape(-1, *(1,) * (new.ndim - 1)), new, old), retrained, pruned
    )
