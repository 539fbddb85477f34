"""The round loop: measure importance, remove, retrain, again; for one machine or for stacked trials."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray
from pydantic import BaseModel, ConfigDict, Field

from secateur import sampling
from secateur.arrays import AnyArray, Keys
from secateur.machine import Machine
from secateur.moments import Moments
from secateur.pruning.criteria import Rule
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


@dataclass(frozen=True)
class Round:
    """One round of pruning; machines keep the array sizes they came with, dead units included.

    Attributes
    ----------
    number
        1 for the first round.
    moments
        What importance was measured from, before anything was removed.
    pruned, retrained
        The machine after removal and after retraining.
    """

    number: int
    moments: Moments
    pruned: Machine
    retrained: Machine


def prune_and_retrain(
    machine: Machine,
    visible: Float[AnyArray, "*trials rows visible"],
    criterion: str | Rule,
    *,
    n_rounds: int,
    fraction: Fraction,
    retraining: TrainingSettings,
    key: Keys,
    importance: ImportanceSampling | None = None,
    zeros: Zeros = "all",
) -> Iterator[Round]:
    """Prune and retrain a machine round after round; yields after every round.

    Parameters
    ----------
    machine
        The trained machine, or stacked trials.
    visible
        Training rows ``(rows, n_0)``, with a leading trial axis for stacked trials.
    criterion
        Name of a rule or a function (see :func:`secateur.pruning.prune`).
    n_rounds
        Number of rounds.
    fraction
        Share of each weight matrix's remaining synapses that each round removes.
    retraining
        Training after each removal; a machine that lost nothing is not retrained.
    key
        Random key, or one key per trial.
    importance
        Number of model states that importance is measured from.
    zeros
        Zero rule (see :func:`secateur.pruning.remove_lowest`).

    Raises
    ------
    ValueError
        If the criterion is unknown or a fraction lies outside (0, 1).
    """
    keys = keys_for(machine, key)
    for number in range(1, n_rounds + 1):
        round_keys = child_key(keys, "round", number)
        moments = model_moments(machine, importance or ImportanceSampling(), child_key(round_keys, "importance"))
        pruned = _remove(machine, moments, criterion, fraction, child_key(round_keys, "removal"), zeros)
        machine = _retrain(machine, pruned, visible, retraining, child_key(round_keys, "retraining"))
        yield Round(number, moments, pruned, machine)


def model_moments(machine: Machine, importance: ImportanceSampling, key: Keys) -> Moments:
    """Moments of the model from fresh chains, for one machine or stacked trials."""
    return _model_moments(machine, keys_for(machine, key), importance)


def _model_moments_one(machine: Machine, key: PRNGKeyArray, importance: ImportanceSampling) -> Moments:
    key_start, key_draws = jax.random.split(key)
    return sampling.moments(
        machine,
        sampling.random_states(machine, key_start, importance.n_chains),
        key_draws,
        n_draws=importance.n_draws,
        n_sweeps=importance.n_sweeps,
        n_burn_in=importance.n_burn_in,
    )


@partial(jax.jit, static_argnames=("importance",))
def _model_moments(machine: Machine, keys: Keys, importance: ImportanceSampling) -> Moments:
    return over_trials(lambda m, k: _model_moments_one(m, k, importance), machine)(machine, keys)


def _remove(
    machine: Machine, moments: Moments, criterion: str | Rule, fraction: Fraction, keys: Keys, zeros: Zeros
) -> Machine:
    if n_trials(machine) is None:
        return machine.with_masks(pruned_masks(machine, moments, criterion, fraction, keys, zeros))
    each = zip(unstack(machine), unstack(moments), keys, strict=True)
    kept = [pruned_masks(one, its_moments, criterion, fraction, key, zeros) for one, its_moments, key in each]
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
