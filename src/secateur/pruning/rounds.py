"""The round loop: measure importance, remove, retrain, again; for one machine or for stacked trials."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from secateur.model import checked
from secateur.model.arrays import AnyArray, Keys
from secateur.model.machine import Machine
from secateur.model.moments import Moments
from secateur.model.randomness import child_key
from secateur.model.trials import each_trial, keys_for, n_trials
from secateur.pruning.averages import How, sources_for, verdict_on
from secateur.pruning.prune import Fraction, Step, pruning_step
from secateur.pruning.removal import RemovalCount, Zeros, shrink
from secateur.pruning.rules import Criterion, Rule, rule_of
from secateur.training import Callback, TrainingCheckpoint, TrainingSettings
from secateur.training.checkpoint import TrainingPart
from secateur.training.loop import trained


@dataclass(frozen=True)
class Round:
    """One round of pruning. Arrays may hold dead units, which have no synapses.

    Attributes
    ----------
    number
        1 for the first round.
    sources
        What importance was measured from, before anything was removed, one for each trial: moments, states or
        ``"exact"``; ``None`` for a rule that needs no averages.
    counts
        What the rule took from each weight matrix, one tuple for each trial.
    pruned, retrained
        The machine after removal, in arrays of the size it had before, and after retraining, in smaller arrays where
        that pays.
    """

    number: int
    sources: list[Any]
    counts: list[tuple[RemovalCount, ...]]
    pruned: Machine
    retrained: Machine

    @property
    def moments(self) -> list[Moments] | None:
        """The moments that importance was measured from, one for each trial; ``None`` if it was not from moments."""
        return self.sources if isinstance(self.sources[0], Moments) else None


def prune_and_retrain(
    machine: Machine,
    visible: Any,
    criterion: Criterion,
    *,
    n_rounds: int,
    fraction: Fraction,
    retraining: TrainingSettings | None,
    key: Keys,
    importance: How | None = None,
    zeros: Zeros = "fraction",
    shrink_at: float = 1.0,
    first_round: int = 1,
    checkpoint: TrainingCheckpoint | None = None,
    callback: Callback | None = None,
    share: Callable[[float, int], float] | None = None,
) -> Iterator[Round]:
    """Prune and retrain a machine round after round; yields after every round.

    Parameters
    ----------
    machine
        The trained machine, or stacked trials.
    visible
        Training rows ``(rows, n_0)``, with a leading trial axis for stacked trials; ``None`` to prune without
        retraining, but for rules that look at rows.
    criterion, fraction, zeros
        What every round removes, as in :func:`secateur.pruning.prune`.
    n_rounds
        Number of rounds.
    retraining
        Training after each removal, ``None``: none; a machine that lost nothing is not retrained.
    key
        Random key, or one key per trial.
    importance
        How the averages that the rule needs are taken: from model states, or ``"exact"`` by enumeration. ``None``:
        exactly where the machine can be enumerated, else from 10,000 states.
    shrink_at
        Arrays shrink (:func:`secateur.pruning.shrink`) when at least this share of the multiplications of a Gibbs sweep
        would go; every new shape costs compilations. 1: never.
    first_round
        Number of the first round; later than 1 to continue from the machine after an earlier round.
    checkpoint
        Where a retraining continues that was interrupted, and what it keeps up to date.
    callback
        Called after every epoch of a round's retraining (:func:`secateur.training.train`).
    share
        ``share(fraction, number)``: the share of a weight matrix's remaining synapses that a round removes, given its
        ``fraction``; in a round of share 0 nothing goes, and every machine is trained on. ``None``: ``fraction``.

    Raises
    ------
    ValueError
        If the criterion is unknown, a fraction lies outside (0, 1), or only one of ``visible`` and ``retraining`` is
        given.
    """
    rule = rule_of(criterion)
    if (visible is None) != (retraining is None) and (visible is None or "rows" not in rule.needs):
        raise ValueError("retraining needs visible and retraining, got one; give both, or neither to only prune")
    keys = keys_for(checked.model(machine, hidden=True), checked.key(key, n_trials(machine)))
    fractions = checked.fraction(fraction, len(machine.weights))
    visible, n_rounds = _checked_rows(machine, visible), checked.count("n_rounds", n_rounds, 0)
    for number in range(first_round, n_rounds + 1):
        round_keys = child_key(keys, "round", number)
        shares = fractions if share is None else tuple(share(one, number) for one in fractions)
        if any(shares):
            removal = _removed(machine, visible, rule, shares, round_keys, importance, zeros)
            lost = _lost_synapses(machine, removal.pruned)
        else:
            removal = Removal(machine, [None] * (n_trials(machine) or 1), [])
            lost = np.ones(n_trials(machine) or (), bool)
        machine = _shrink_if_it_pays(removal.pruned, shrink_at)
        if visible is not None and retraining is not None:
            part = None if checkpoint is None else checkpoint.part(f"round {number}")
            key_training = child_key(round_keys, "retraining")
            machine = _retrain(machine, lost, visible, retraining, key_training, part, callback)
        yield Round(number, removal.sources, removal.counts, removal.pruned, machine)


class Removal(NamedTuple):
    """What one removal left: see :class:`Round` for the fields."""

    pruned: Machine
    sources: list[Any]
    counts: list[tuple[RemovalCount, ...]]


def remove(
    machine: Machine,
    visible: Any,
    criterion: Criterion,
    fraction: Fraction,
    key: Keys,
    *,
    importance: How | None = None,
    zeros: Zeros = "fraction",
) -> Removal:
    """One removal from a machine, or from each of stacked trials; arrays keep their size, so that training can go on.

    This is what schedules of one's own are made of. Parameters as of :func:`prune_and_retrain`.
    """
    keys = keys_for(checked.model(machine, hidden=True), checked.key(key, n_trials(machine)))
    fractions, rule = checked.fraction(fraction, len(machine.weights)), rule_of(criterion)
    found = _removed(machine, _checked_rows(machine, visible), rule, fractions, keys, importance, zeros)
    for one, source in zip(each_trial(machine, machine), found.sources, strict=True):
        verdict_on(one, source).warn(f"the importance by {rule.name}")
    return found


def _checked_rows(machine: Machine, visible: Any) -> Array | None:
    if visible is None:
        return None
    return checked.rows(visible, machine.layer_sizes[0], n_trials=n_trials(machine), probabilities=True)


def _removed(
    machine: Machine,
    visible: AnyArray | None,
    rule: Rule,
    fractions: tuple[float, ...],
    keys: Keys,
    importance: How | None,
    zeros: Zeros,
) -> Removal:
    sources = sources_for(machine, rule, importance, keys, visible)
    given = each_trial(machine, (machine, child_key(keys, "removal"), visible))
    trials = zip(given, sources, strict=True)
    steps = [pruning_step(one, source, rule, fractions, key, zeros, rows) for (one, key, rows), source in trials]
    return Removal(_applied(machine, steps), sources, [step.counts for step in steps])


def importance_keys(machine: Machine, key: Keys, number: int) -> Keys:
    """The keys from which :func:`prune_and_retrain`, given this key, measures the moments of a round."""
    return child_key(keys_for(machine, key), "round", number, "importance")


def _applied(machine: Machine, steps: list[Step]) -> Machine:
    """The machine, or stacked trials, with what the step of each trial left."""
    if n_trials(machine) is None:
        return steps[0].applied(machine)
    stacked = Step(tuple(np.stack(masks) for masks in zip(*(step.masks for step in steps), strict=True)), ())
    if steps[0].parameters is not None:
        every = [step.parameters for step in steps]
        stacked = stacked._replace(parameters=jax.tree.map(lambda *arrays: jnp.stack(arrays), *every))
    return stacked.applied(machine)


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
    callback: Callback | None,
) -> Machine:
    """Retrain machines that lost synapses; those that lost none stay as they are."""
    if not lost.any():
        return pruned
    state, _ = trained(
        pruned, visible, retraining, keys, record_history=False, checkpoint=checkpoint, callback=callback
    )
    retrained = state.machine
    if lost.all():
        return retrained
    return jax.tree.map(
        lambda new, old: jnp.where(lost.reshape(-1, *(1,) * (new.ndim - 1)), new, old), retrained, pruned
    )
