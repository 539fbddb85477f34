"""Who does the tasks of a study: this process, several rules at a time."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from threading import Event
from typing import Any, Protocol, runtime_checkable

from threadpoolctl import threadpool_limits

from secateur.storage.progress import Progress, Stopwatch
from secateur.studies.config import StudyConfig
from secateur.studies.record import peek
from secateur.studies.store import StudyFolder
from secateur.studies.study import Study
from secateur.studies.task import Task, perform


@runtime_checkable
class Crew(Protocol):
    """Does the tasks of a study.

    Attributes
    ----------
    where
        In words, for provenance.
    described
        Versions and computers of workers elsewhere.
    """

    where: str
    described: list[dict[str, Any]]

    def perform(
        self, folder: StudyFolder, config: StudyConfig, study: Study, progress: Progress, clock: Stopwatch
    ) -> None:
        """Do every task that is not finished; ``study`` is prepared for the first batch of trials."""


def prepare(config: StudyConfig, trials: tuple[int, ...], clock: Stopwatch) -> Study:
    """Data and first machines of some trials."""
    with clock.compilations(), clock.phase("prepare"):
        return Study(config, trials)


def unfinished(folder: StudyFolder, config: StudyConfig, trials: tuple[int, ...]) -> list[Task]:
    """Tasks of a batch that are not finished, the first training first."""
    tasks = [Task(trials, criterion) for criterion in (None, *config.lines)]
    return [task for task in tasks if not is_done(folder, config, task)]


def is_done(folder: StudyFolder, config: StudyConfig, task: Task) -> bool:
    """Whether nothing is left of a task."""
    n_rounds = peek(folder.record_path(task.trials, task.criterion))
    return n_rounds is not None and n_rounds >= (0 if task.criterion is None else config.rounds)


class Here:
    """The process of the study itself: batches one after another, ``config.threads`` rules at a time."""

    where = "one process"

    def __init__(self) -> None:
        self.described: list[dict[str, Any]] = []

    def perform(
        self, folder: StudyFolder, config: StudyConfig, study: Study, progress: Progress, clock: Stopwatch
    ) -> None:
        """Do every task that is not finished."""
        stopped = Event()
        watched = _Stoppable(progress, stopped)
        # Linear algebra gets the cores that the rules leave: more threads than cores make it ten times slower.
        cores = max(1, (os.cpu_count() or 1) // config.threads)
        with clock.compilations(), threadpool_limits(cores):
            for number, trials in enumerate(config.batches()):
                tasks = unfinished(folder, config, trials)
                if not tasks:
                    continue
                batch = study if number == 0 else prepare(config, trials, clock)
                while tasks:
                    ready = [task for task in tasks if task.builds_on not in tasks]
                    tasks = [task for task in tasks if task not in ready]
                    if len(ready) == 1:  # here, where Ctrl-C ends it at once
                        perform(folder, config, ready[0], batch, watched)
                        continue
                    with ThreadPoolExecutor(config.threads) as pool:
                        futures = [pool.submit(perform, folder, config, task, batch, watched) for task in ready]
                        try:
                            for future in as_completed(futures):
                                future.result()
                        except BaseException:
                            stopped.set()
                            pool.shutdown(cancel_futures=True)
                            raise


class Stopped(Exception):
    """Another task failed, or the user interrupted."""


class _Stoppable:
    """Progress that ends the task which reports to it after the study has been stopped."""

    def __init__(self, progress: Progress, stopped: Event):
        self.progress, self.stopped = progress, stopped

    def start(self, plan: Mapping[str, int], done: Mapping[str, int] | None = None) -> None:
        self.progress.start(plan, done)

    def describe(self, what: str) -> None:
        self._check()
        self.progress.describe(what)

    def advance(self, kind: str, seconds: float | None) -> None:
        self.progress.advance(kind, seconds)
        self._check()

    def _check(self) -> None:
        if self.stopped.is_set():
            raise Stopped
