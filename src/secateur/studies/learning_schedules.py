"""Schedules that prune while the machines learn for the first time, with as much training in all as any other.

The first training has ``T`` epochs, and ``n`` rounds of pruning have ``n`` retrainings. Under every schedule a machine
learns for ``T`` epochs at the rates of the first training, and has had ``n`` retrainings in the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from secateur import fisher
from secateur.model.arrays import Keys
from secateur.model.machine import Machine
from secateur.model.randomness import child_key
from secateur.model.trials import stack, unstack
from secateur.pruning import Removal, model_moments, remove
from secateur.storage.progress import Steps
from secateur.studies.study import Study
from secateur.training import TrainingCheckpoint
from secateur.training.checkpoint import TrainingPart

_LOOKS = 8
"""Looks at the trace of the Fisher matrix in the first training, at equal distances."""
_RISE = 0.02
"""A trace that has risen by less than this share since the last look has stopped to rise."""


class Pruned(NamedTuple):
    """One round of a schedule of this kind, all trials stacked.

    Attributes
    ----------
    before
        The machines right before the removal.
    removal
        What went.
    learnt
        The machines when the next removal is due, or at the end of all training.
    n_epochs
        Epochs of training up to then, pretraining apart, one number per trial.
    """

    before: Machine
    removal: Removal
    learnt: Machine
    n_epochs: list[float]


@dataclass(frozen=True)
class Learning:
    """What a schedule works with.

    Attributes
    ----------
    study
        Data, untrained machines and settings.
    rule
        The rule that says which synapses go.
    keys
        One key per trial, of this line.
    checkpoint
        Where trainings continue that were interrupted.
    steps
        Told of every epoch.
    trained
        Loads the machines after the first training.
    trials
        Places of the trials in the study's batch.
    """

    study: Study
    rule: str
    keys: Keys
    checkpoint: TrainingCheckpoint
    steps: Steps
    trained: Callable[[], Machine]
    trials: slice = field(default_factory=lambda: slice(None))

    def one(self, place: int) -> Learning:
        """The same for a single trial."""
        only = slice(place, place + 1)
        return replace(self, keys=self.keys[only], trials=only)

    @property
    def n_epochs(self) -> int:
        """Epochs of the first training."""
        return self.study.config.training.n_epochs

    def learn(self, machine: Machine, start: float, stop: float, part: TrainingPart) -> Machine:
        """Machines after the first training has gone on from one epoch to another; these may be fractions.

        A part of an epoch takes its share of the rows, in the order in which they lie.
        """
        settings, rows = self.study.config.training, self.study.visible[self.trials]
        if stop <= start:
            return machine
        n_epochs = max(1, math.ceil(round(stop - start, 6)))
        if settings.method != "exact":
            n_rows = rows.shape[1]
            first = round(n_rows * (start % 1))
            rows = rows[:, np.arange(first, first + max(1, round(n_rows * (stop - start) / n_epochs))) % n_rows]
        rates = settings.learning_rates(1001)
        between = tuple(float(rates[round(1000 * epoch / self.n_epochs)]) for epoch in (start, stop))
        settings = settings.model_copy(update={"n_epochs": n_epochs, "learning_rate": between})
        keys, place = child_key(self.keys, "learning", round(1000 * start)), part.part(f"from epoch {start:g}")
        return self.study.trained_on(machine, rows, settings, keys, place, self.steps.epochs("training"))

    def retrain(self, machine: Machine, number: int, part: TrainingPart) -> Machine:
        """Machines after a retraining, of which this is the first, second, ..."""
        rows, settings = self.study.visible[self.trials], self.study.config.retraining
        keys, place = child_key(self.keys, "retraining", number), part.part(f"retraining {number}")
        return self.study.trained_on(machine, rows, settings, keys, place, self.steps.epochs("retraining"))

    def remove(self, machine: Machine, number: int, fraction: tuple[float, ...] | None = None) -> Removal:
        """The removal of a round by the rule, of the share that the settings name or of another."""
        config, rows = self.study.config, self.study.trials.visible[self.trials]
        keys, share = child_key(self.keys, "round", number), fraction or config.pruning.fraction
        how = config.importance
        return remove(machine, rows, self.rule, share, keys, importance=how, zeros=config.pruning.zeros)

    def fisher_trace(self, machine: Machine, *when: int) -> np.ndarray:
        """Trace of the Fisher information matrix of every trial: the sum of the variance FI of all parameters."""
        keys = child_key(self.keys, "trace", *when)
        moments = model_moments(machine, self.study.config.importance, keys, self.study.trials.visible[self.trials])
        return np.array([trace_of(one, its) for one, its in zip(unstack(machine), moments, strict=True)])


def trace_of(machine: Machine, source: fisher.Source) -> float:
    """Trace of the Fisher information matrix of a single machine."""
    return float(sum(np.asarray(part, float).sum() for part in jax.tree.leaves(fisher.variance(machine, source))))


def while_learning(at: Learning, machine: Machine, number: int, n_rounds: int, spent: list[float]) -> Pruned:
    """A removal after every equal share of the first training; all retraining follows the last."""
    del spent
    part, whole = at.checkpoint.part(f"round {number}"), at.n_epochs
    marks = [whole * r / (n_rounds + 1) for r in range(n_rounds + 2)]
    if number == 1:
        machine = at.learn(machine, 0.0, marks[1], part)
    removal = at.remove(machine, number)
    learnt, n_epochs = at.learn(removal.pruned, marks[number], marks[number + 1], part), marks[number + 1]
    if number == n_rounds:
        for again in range(1, n_rounds + 1):
            learnt = at.retrain(learnt, again, part)
        n_epochs += n_rounds * at.study.config.retraining.n_epochs
    return Pruned(machine, removal, learnt, [n_epochs] * len(at.keys))


def fisher_plateau(at: Learning, machine: Machine, number: int, n_rounds: int, spent: list[float]) -> Pruned:
    """A removal whenever the trace of the Fisher matrix has stopped to rise in the first training.

    Every trial for itself. Removals that are left when the first training is over follow one another with a retraining
    between them, as in rounds.
    """
    return trial_by_trial(at, machine, spent, partial(_of_one_trial, number=number, n_rounds=n_rounds))


def trial_by_trial(
    at: Learning, machine: Machine, spent: list[float], prune: Callable[[Learning, Machine, float], Pruned]
) -> Pruned:
    """A round in which every trial goes its own way, as one batch again."""
    found = []
    for place, epochs in enumerate(spent):
        alone = jax.tree.map(lambda a, place=place: a[place : place + 1], machine)
        found.append(prune(at.one(place), alone, epochs))
    removals = [one.removal for one in found]
    removal = Removal(
        _joined([one.pruned for one in removals]),
        [source for one in removals for source in one.sources],
        [counts for one in removals for counts in one.counts],
    )
    n_epochs = [epochs for one in found for epochs in one.n_epochs]
    return Pruned(_joined([one.before for one in found]), removal, _joined([one.learnt for one in found]), n_epochs)


def _of_one_trial(at: Learning, machine: Machine, spent: float, number: int, n_rounds: int) -> Pruned:
    part, whole, again = at.checkpoint.part(f"round {number}, trial {at.trials.start}"), at.n_epochs, 0
    if number == 1:
        machine, spent = _to_plateau(at, machine, 0.0, part)
    removal = at.remove(machine, number)
    learnt = removal.pruned
    retrained = round((spent - whole) / at.study.config.retraining.n_epochs) if spent > whole else 0
    if number == n_rounds:
        learnt, spent = at.learn(learnt, spent, whole, part), max(spent, whole)
        again = n_rounds - retrained
    elif spent < whole:
        learnt, spent = _to_plateau(at, learnt, spent, part)
    else:
        again = 1
    for retraining in range(retrained + 1, retrained + 1 + again):
        learnt = at.retrain(learnt, retraining, part)
    return Pruned(machine, removal, learnt, [spent + again * at.study.config.retraining.n_epochs])


def _to_plateau(at: Learning, machine: Machine, start: float, part: TrainingPart) -> tuple[Machine, float]:
    """The machine of one trial when its trace has stopped to rise, or the first training is over; and when that is."""
    before = float(at.fisher_trace(machine, round(1000 * start))[0])
    for look in range(round(_LOOKS * start / at.n_epochs) + 1, _LOOKS + 1):
        stop = at.n_epochs * look / _LOOKS
        machine, start = at.learn(machine, start, stop, part), stop
        now = float(at.fisher_trace(machine, round(1000 * stop))[0])
        if now < before * (1 + _RISE):
            break
        before = now
    return machine, start


def _joined(machines: list[Machine]) -> Machine:
    """Batches of stacked machines as one."""
    return stack([one for machine in machines for one in unstack(machine)])
