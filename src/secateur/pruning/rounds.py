"""The round loop: measure importance, remove, retrain, again; for one machine or for stacked trials."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray
from pydantic import BaseModel, ConfigDict, Field

from secateur import enumeration, sampling
from secateur.arrays import AnyArray, Keys
from secateur.fisher import Source
from secateur.machine import Machine, States
from secateur.moments import Moments
from secateur.pruning.criteria import WHOLE_MACHINE_RULES, Rule
from secateur.pruning.prune import Fraction, pruned_masks
from secateur.pruning.removal import Zeros
from secateur.randomness import child_key
from secateur.training import TrainingSettings, train
from secateur.trials import keys_for, n_trials, over_trials, unstack


class ImportanceSampling(BaseModel):
    """How many model states importance is measured from: ``n_chains * n_draws`` in all; immutable."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_chains: int = Field(200, ge=2, description="independent chains")
    n_draws: int = Field(50, ge=2, description="draws per chain")
    n_sweeps: int = Field(2, ge=1, description="Gibbs sweeps from one draw to the next")
    n_burn_in: int = Field(100, ge=0, description="sweeps before the first draw")

    def schedule(self) -> dict[str, int]:
        """The arguments of :func:`secateur.sampling.moments` that say when to draw."""
        return self.model_dump(exclude={"n_chains"})


@dataclass(frozen=True)
class Round:
    """One round of pruning; machines keep the array sizes they came with, dead units included.

    Attributes
    ----------
    number
        1 for the first round.
    moments
        What importance was measured from, before anything was removed; one for each trial.
    pruned, retrained
        The machine after removal and after retraining.
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
    for number in range(1, n_rounds + 1):
        round_keys = child_key(keys, "round", number)
        key_importance, key_removal = child_key(round_keys, "importance"), child_key(round_keys, "removal")
        moments = model_moments(machine, how, key_importance)
        sources: Sequence[Source] = moments
        if isinstance(criterion, str) and criterion in WHOLE_MACHINE_RULES:
            sources = _whole_states(machine, how, child_key(round_keys, "states"))
        pruned = _remove(machine, sources, criterion, fraction, key_removal, zeros)
        if visible is None or retraining is None:
            machine = pruned
        else:
            machine = _retrain(machine, pruned, visible, retraining, child_key(round_keys, "retraining"))
        yield Round(number, moments, pruned, machine)


def model_moments(machine: Machine, importance: ImportanceSampling | Literal["exact"], key: Keys) -> list[Moments]:
    """Moments of the model by enumeration or from fresh chains; one for every trial, one for a single machine."""
    if importance == "exact":
        return [enumeration.moments(one) for one in _singles(machine)]
    moments = _sampled_moments(machine, keys_for(machine, key), importance)
    return [moments] if n_trials(machine) is None else unstack(moments)


def _whole_states(machine: Machine, importance: ImportanceSampling | Literal["exact"], keys: Keys) -> list[Source]:
    """Sources for rules that look at whole states, for every trial."""
    if importance == "exact":
        return ["exact" for _ in _singles(machine)]
    states = model_states(machine, importance, keys)
    return [states] if n_trials(machine) is None else unstack(states)


def _singles(machine: Machine) -> list[Machine]:
    return [machine] if n_trials(machine) is None else unstack(machine)


@partial(jax.jit, static_argnames=("importance",))
def _sampled_moments(machine: Machine, keys: Keys, importance: ImportanceSampling) -> Moments:
    def draw(machine: Machine, key: PRNGKeyArray) -> Moments:
        key_start, key_draws = jax.random.split(key)
        states = sampling.random_states(machine, key_start, importance.n_chains)
        return sampling.moments(machine, states, key_draws, **importance.schedule())

    return over_trials(draw, machine)(machine, keys)


@partial(jax.jit, static_argnames=("importance",))
def model_states(machine: Machine, importance: ImportanceSampling, keys: Keys) -> States:
    """States of the model from fresh chains, for one machine or, with a key per trial, for stacked trials."""

    def draw(machine: Machine, key: PRNGKeyArray) -> States:
        key_start, key_draws = jax.random.split(key)
        states = sampling.random_states(machine, key_start, importance.n_chains)
        draws, _ = sampling.sample(machine, states, key_draws, **importance.schedule())
        return tuple(layer.reshape(-1, layer.shape[-1]) for layer in draws)

    return over_trials(draw, machine)(machine, keys)


def _remove(
    machine: Machine, sources: Sequence[Source], criterion: str | Rule, fraction: Fraction, keys: Keys, zeros: Zeros
) -> Machine:
    each = zip(_singles(machine), sources, [keys] if keys.ndim == 0 else keys, strict=True)
    kept = [pruned_masks(one, source, criterion, fraction, key, zeros) for one, source, key in each]
    if n_trials(machine) is None:
        return machine.with_masks(kept[0])
    return machine.with_masks([np.stack(masks) for masks in zip(*kept, strict=True)])


def _retrain(before: Machine, pruned: Machine, visible: AnyArray, retraining: TrainingSettings, keys: Keys) -> Machine:
    """Retrain machines that lost synapses; those that lost none stay as they are."""
    pairs = zip(before.masks, pruned.masks, strict=True)
    lost = np.any([(np.asarray(old) & ~np.asarray(new)).any(axis=(-2, -1)) for old, new in pairs], axis=0)
    if not lost.any():
        return pruned
    retrained, _ = train(pruned, visible, retraining, keys, record_history=False)
    if lost.all():
        return retrained
    return jax.tree.map(
        lambda new, old: jnp.where(lost.reshape(-1, *(1,) * (new.ndim - 1)), new, old), retrained, pruned
    )
