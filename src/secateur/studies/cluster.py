"""Tasks on worker processes: of this computer, or of a Dask cluster (SLURM, Kubernetes, SSH).

Only the folder's path, a task's name and a few facts travel through the scheduler. Machines and measurements are read
from the study's folder and written to it, so every worker must see it under the same path.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from distributed import Client, KilledWorker, LocalCluster, Worker, WorkerPlugin, as_completed, get_worker
from distributed.comm import CommClosedError
from threadpoolctl import threadpool_limits

from secateur.storage.progress import Progress, Stopwatch
from secateur.storage.provenance import describe_versions
from secateur.studies.config import StudyConfig
from secateur.studies.crew import Stopped, prepare, unfinished
from secateur.studies.store import StudyFolder
from secateur.studies.study import Study
from secateur.studies.task import Task, perform

_ANSWER_S = 20  # seconds to wait for a scheduler


@contextmanager
def connect(workers: int | None, scheduler: str | None) -> Iterator[Cluster]:
    """Workers while a ``with`` block runs: processes of this computer, each with its share of the cores, or those of a
    scheduler.

    Raises
    ------
    OSError
        If no scheduler answers.
    """
    if scheduler is None:
        assert workers is not None
        # Nobody from outside can connect: Dask would run whatever it is sent.
        local = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
            memory_limit=0,
            silence_logs=logging.CRITICAL,
        )
        with local, Client(local, set_as_default=False) as client:
            client.register_plugin(_OwnCores(workers))
            yield Cluster(client, f"{workers} worker processes")
        return
    try:
        client = Client(scheduler, timeout=_ANSWER_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise OSError(
            f"no Dask scheduler answers at {scheduler!r} ({error}); give its address, e.g. tcp://127.0.0.1:8786"
        ) from error
    with client:
        yield Cluster(client, "workers of a Dask scheduler")


class _OwnCores(WorkerPlugin):
    """Gives every worker process cores of its own: threads of two workers on one core slow both down."""

    def __init__(self, n_workers: int):
        self.n_workers = n_workers

    def setup(self, worker: Worker) -> None:
        """Called in every worker process when it starts, before JAX starts its threads."""
        if hasattr(os, "sched_setaffinity"):
            cores = sorted(os.sched_getaffinity(os.getppid()))
            place = int(worker.name) % self.n_workers
            os.sched_setaffinity(0, cores[place :: self.n_workers] or cores)


class Cluster:
    """The workers of a Dask scheduler."""

    def __init__(self, client: Client, where: str):
        self.client, self.where = client, where
        self.described: list[dict[str, Any]] = []

    def perform(
        self, folder: StudyFolder, config: StudyConfig, study: Study, progress: Progress, clock: Stopwatch
    ) -> None:
        """Do every task that is not finished; a task whose worker died is repeated by another, from its last round."""
        name = f"secateur-{uuid4().hex}"
        path = str(folder.path.resolve())
        self.client.subscribe_topic(name, lambda event: getattr(progress, event[1][0])(*event[1][1:]))

        def submit(task: Task) -> Any:
            tasks[future := self.client.submit(_perform, path, task, name, key=f"{name}: {task}", pure=False)] = task
            return future

        tasks: dict[Any, Task] = {}
        ready: list[Task] = []
        later: dict[Task, list[Task]] = {}
        for trials in config.batches():
            left = unfinished(folder, config, trials)
            for task in left:
                first = task.builds_on
                (later.setdefault(first, []) if first is not None and first in left else ready).append(task)
        try:
            self._collect(submit, ready, later, tasks, clock)
        except KilledWorker as error:
            raise OSError(
                f"a task lost its worker several times ({error}); give workers more memory, or use fewer"
            ) from error
        except (CancelledError, CommClosedError) as error:
            raise OSError(f"the scheduler is gone ({error or type(error).__name__}); start it again") from error
        finally:
            self.client.cancel(list(tasks), force=True)
            self.client.unsubscribe_topic(name)

    def _collect(
        self,
        submit: Callable[[Task], Any],
        ready: list[Task],
        later: dict[Task, list[Task]],
        tasks: dict[Any, Task],
        clock: Stopwatch,
    ) -> None:
        """Wait for every task, and submit those that build on it."""
        done = as_completed([submit(task) for task in ready], loop=self.client.loop)
        for future in done:
            facts = future.result()
            clock.compile_seconds += facts["compile_seconds"]
            clock.n_compilations += facts["n_compilations"]
            if facts["versions"] not in self.described:
                self.described.append(facts["versions"])
            for task in later.pop(tasks[future], []):
                done.add(submit(task))


def _perform(path: str, task: Task, topic: str) -> dict[str, Any]:
    """Do what is left of a task, in a worker process."""
    folder = StudyFolder(Path(path))
    config, clock = folder.config, Stopwatch()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with clock.compilations(), threadpool_limits(cores):
        perform(folder, config, task, _prepared(config, task.trials), _Telling(topic))
    return {
        "compile_seconds": clock.compile_seconds,
        "n_compilations": clock.n_compilations,
        "versions": describe_versions(),
    }


@lru_cache(maxsize=1)
def _prepared(config: StudyConfig, trials: tuple[int, ...]) -> Study:
    """Data and first machines of a batch; kept, because the next task is likely to be of the same batch."""
    return prepare(config, trials, Stopwatch())


class _Telling:
    """Progress told to the process that runs the study; ends the task when nobody waits for it any more."""

    def __init__(self, topic: str):
        self.topic, self.worker = topic, get_worker()
        self.key = self.worker.get_current_task()

    def start(self, plan: Mapping[str, int], done: Mapping[str, int] | None = None) -> None:
        """Nothing: the study's process knows."""

    def describe(self, what: str) -> None:
        self._tell("describe", what)

    def advance(self, kind: str, seconds: float | None) -> None:
        self._tell("advance", kind, seconds)

    def _tell(self, what: str, *values: Any) -> None:
        state = self.worker.state.tasks.get(self.key)
        if state is None or state.state != "executing":  # interrupted, or the study's process is gone
            raise Stopped
        self.worker.log_event(self.topic, (what, *values))
