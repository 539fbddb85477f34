"""One task of a study: the first training of a batch of trials, or all rounds of one rule from there."""

from __future__ import annotations

from typing import NamedTuple

import xarray as xr

from secateur.model.arrays import Keys
from secateur.model.machine import Machine
from secateur.model.moments import Moments
from secateur.model.randomness import child_key
from secateur.model.trials import unstack
from secateur.pruning import compact, importance_keys, model_moments
from secateur.storage.progress import Progress, Steps, Stopwatch
from secateur.studies.config import StudyConfig
from secateur.studies.line_rounds import LineRound, Place, Workplace, line_keys, rounds_of
from secateur.studies.lines import Line
from secateur.studies.record import Record
from secateur.studies.recorder import Recorder, results_of
from secateur.studies.schema import STAGES
from secateur.studies.store import StudyFolder
from secateur.studies.study import Study
from secateur.training import TrainingCheckpoint


class Task(NamedTuple):
    """Which trials, and which line of the study (:mod:`secateur.studies.lines`); ``None``: their first training."""

    trials: tuple[int, ...]
    criterion: str | None = None

    @property
    def builds_on(self) -> Task | None:
        """The task that must be finished before this one can begin."""
        if self.criterion is None:
            return None
        return Task(self.trials, Line.named(self.criterion).builds_on)

    def __str__(self) -> str:
        first, last = self.trials[0] + 1, self.trials[-1] + 1
        name = f"trial {first}" if first == last else f"trials {first}-{last}"
        return f"{name}: {self.criterion or 'first training'}"


def perform(folder: StudyFolder, config: StudyConfig, task: Task, study: Study, progress: Progress) -> Record:
    """Do what is left of a task; every finished round is on disk before the next begins.

    Nothing depends on which tasks ran before or beside it, so tasks can run anywhere that sees the folder, in any
    order after their first training, and a task that was stopped at any moment gives the same numbers when it
    is performed again.

    Raises
    ------
    ValueError
        If the data are not those that the trials were trained on, or the first training is missing.
    """
    return _Running(folder, config, task, study, progress).perform()


class _Running:
    """A task while it runs."""

    def __init__(self, folder: StudyFolder, config: StudyConfig, task: Task, study: Study, progress: Progress):
        self.folder, self.config, self.task, self.study, self.progress = folder, config, task, study, progress
        self.path = folder.record_path(task.trials, task.criterion)
        self.checkpoint = TrainingCheckpoint(self.path.with_suffix(".training.safetensors"))
        self.clock, self.steps = Stopwatch(), Steps(progress)

    def perform(self) -> Record:
        record = self._record()
        if not record.is_done(self._rounds):
            # A record counts the time of earlier attempts as well.
            self.clock.seconds, self.took_before = dict(record.seconds), record.took
            self.recorder = Recorder(record.results)
            if self.task.criterion is None:
                self._train(record)
            else:
                self._prune(record, self.task.criterion)
        return record

    @property
    def _rounds(self) -> int:
        return 0 if self.task.criterion is None else self.config.rounds

    def _record(self) -> Record:
        """What was finished before; else a new record, for a rule that of the first training it starts from."""
        task = self.task
        if self.path.is_file():
            return self._read(task)
        if task.criterion is not None:
            return self._read(Task(task.trials)).for_criterion(task.criterion)
        return Record(self._empty(task), self.study.data_sha256)

    def _read(self, task: Task) -> Record:
        """The record of a task, of the same data."""
        path, sha256 = self.folder.record_path(task.trials, task.criterion), self.study.data_sha256
        if not path.is_file():
            raise ValueError(f"{path} is missing; resume the study where its folder is whole")
        record = Record.read(path, self._empty(task), self.study.machine)
        if record.data_sha256 != sha256:
            raise ValueError(
                f"the data of {self.task} are not those that this study began with (SHA-256 {sha256[:12]}..., then "
                f"{record.data_sha256[:12]}...); resume it with the same data"
            )
        return record

    def _empty(self, task: Task) -> xr.Dataset:
        return results_of(self.config, self.study, task.trials, [task.criterion or self.config.criteria[0]])

    def _train(self, record: Record) -> None:
        """Train the machines, measure and save them."""
        self.progress.describe(str(self.task))
        with self.clock.phase("train"):
            machine, measured = self.study.train(self.steps.epochs("training"), self.checkpoint)
        with self.clock.phase("evaluate"):
            self.recorder.once(measured | self.study.once(machine))
            self._evaluate(machine, None, 0, STAGES)
            self.recorder.epochs([float(self.config.training.n_epochs)] * len(self.task.trials), 0)
        self._commit(record, machine, 0)
        self.steps.done("measuring")

    def _prune(self, record: Record, line: str) -> None:
        """All rounds that are left."""
        n_rounds, study = self.config.rounds, self.study
        machine = record.machine
        assert machine is not None  # of the first training, at least
        at = Workplace(study, self.task.trials, self._trained, self.folder, self.checkpoint, self.steps)
        spent = record.results["n_epochs"].values[:, 0, record.n_rounds]
        rounds = rounds_of(at, line, Place(machine, record.n_rounds, spent))
        for number in range(record.n_rounds + 1, n_rounds + 1):
            self.progress.describe(f"{self.task}, round {number} of {n_rounds}")
            with self.clock.phase("prune and retrain"):
                done = next(rounds)
            with self.clock.phase("evaluate"):
                self._evaluate_round(done, line)
            self._commit(record, done.trained, number)
            self.steps.done("round")

    def _trained(self) -> Machine:
        """The machines after the first training; only few schedules ask, and a record is large."""
        machine = self._read(Task(self.task.trials)).machine
        assert machine is not None
        return machine

    def _evaluate_round(self, done: LineRound, line: str) -> None:
        """Measure what a round did."""
        number, keys = done.number, line_keys(self.study, line)
        if done.pruned is not None:
            self._evaluate(done.pruned, line, number, ("pruned",))
        if done.trained is not None:
            self._evaluate(done.trained, line, number, ("retrained",))
            self.recorder.epochs(done.n_epochs, number)
        if done.before is not None and done.pruned is not None:
            # Importance was measured at the start of this round, from the machine of the round before.
            moments = done.moments or self._moments(done.before, importance_keys(done.before, keys, number))
            self.recorder.information(done.before, moments, number - 1)
            self.recorder.stages(self.study.removal(done.before, moments, done.pruned), number, STAGES)
            if number == self.config.rounds and done.trained is not None:
                moments = self._moments(done.trained, child_key(keys, "last information"))
                self.recorder.information(done.trained, moments, number)

    def _moments(self, machine: Machine, keys: Keys) -> list[Moments]:
        """Moments of every trial, from which the information of its units is measured."""
        return model_moments(machine, self.config.importance, keys, self.study.visible)

    def _evaluate(self, machine: Machine, criterion: str | None, number: int, stages: tuple[str, ...]) -> None:
        """Measure a machine at one stage of a round, or at several equal ones."""
        whose = () if criterion is None else (criterion,)  # of no rule, so that other rules may be added
        keys = child_key(self.study.keys, "evaluation", *whose, number, stages[-1])
        self.recorder.stages(self.study.evaluate(machine, keys), number, stages)
        if stages[-1] == STAGES[-1]:
            self.recorder.structure(machine, number)
            self.recorder.stages(self.study.end_of_round(machine, keys), number, stages)

    def _commit(self, record: Record, machine: Machine | None, number: int) -> None:
        """Machines first, then the record that says that they are there; ``None``: this round has none."""
        criterion = self.task.criterion or self.config.criteria[0]
        if machine is not None:
            with self.clock.phase("write"):
                for trial, one in zip(self.task.trials, unstack(machine), strict=True):
                    self.folder.save_machine(compact(one), trial, criterion, number)
            record.machine = machine
        record.n_rounds = number
        record.seconds = {name: round(seconds, 3) for name, seconds in self.clock.seconds.items()}
        record.took = round(self.took_before + self.clock.total, 3)
        record.write(self.path)
        self.checkpoint.remove()
