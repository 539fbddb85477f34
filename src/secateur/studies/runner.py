"""Running a study: train once per trial, then prune and retrain by every rule from the same machines."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import xarray as xr

from secateur.storage.progress import Progress, Steps, Stopwatch
from secateur.storage.watching import watch
from secateur.studies.config import StudyConfig, load_config
from secateur.studies.crew import Crew, Here, prepare
from secateur.studies.line_rounds import planned_epochs
from secateur.studies.record import Record, check_settings, data_sha256_of, peek
from secateur.studies.recorder import results_of
from secateur.studies.sessions import Sessions
from secateur.studies.store import StudyFolder
from secateur.studies.study import Study
from secateur.studies.task import Task
from secateur.studies.timing import time_sweeps


def run(
    config: StudyConfig,
    out: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Progress | bool | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    then: Callable[[StudyFolder], object] | None = None,
) -> xr.Dataset:
    """Run a study and write its folder; ``trials_at_once`` trials train as one batch.

    Numbers do not depend on where the tasks run, nor on interruptions (:func:`resume`).

    Parameters
    ----------
    config
        Resolved settings (:func:`secateur.studies.load_config`).
    out
        Folder to make.
    overwrite
        Replace an earlier run in that folder, when this one is finished; until then the earlier one is whole.
    progress
        Told what runs and how much is done; true: a bar with the time left, or lines where there is no terminal.
    workers
        Worker processes on this computer. ``None``: this process, with ``config.threads`` rules at a time.
    scheduler
        Address of a Dask scheduler whose workers see the folder under the same path; in place of ``workers``.
    then
        Called with the finished folder while no other run may write to it, e.g. to write the report. Until it returns
        the folder may lie beside the place it will have, ``folder.shown``.

    Returns
    -------
    xarray.Dataset
        The results (:mod:`secateur.studies.schema`), also in ``results.nc``.

    Raises
    ------
    ValueError
        If settings do not fit the data, the folder is taken or another run writes to it; then nothing has been written.
    OSError
        If the folder cannot be written, or no scheduler answers.
    """
    config = config.model_copy(update={"data": config.data.with_absolute_paths()})
    crew, clock = _crew(workers, scheduler), Stopwatch()
    # Data and workers before anything is written: settings that do not fit leave nothing behind.
    study = prepare(config, config.batches()[0], clock)
    with watch(progress) as told, crew as found, StudyFolder.begun(out, config, overwrite) as folder:
        results = _finish(folder, config, study, found, told, clock, reports=then is not None)
        if then is not None:
            _report(folder, then, told)
        return results


def resume(
    path: str | os.PathLike[str],
    *,
    progress: Progress | bool | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    then: Callable[[StudyFolder], object] | None = None,
) -> xr.Dataset:
    """Continue a study that was interrupted, with the numbers of an unbroken run; nothing to do for a finished one.

    Parameters as of :func:`run`.

    Raises
    ------
    ValueError
        If the folder holds no study, another run writes to it, a file of it is damaged, or the data are not those it
        began with.
    OSError
        If the folder cannot be written, or no scheduler answers.
    """
    crew, clock = _crew(workers, scheduler), Stopwatch()
    with watch(progress) as told, StudyFolder.continued(path) as folder:
        if folder.is_finished and folder.provenance.get("finished"):
            _ = folder.config  # refuses changed settings
            results = folder.results
        else:
            config = load_config(folder.path / "study.toml")
            for record in folder.record_paths():
                check_settings(record, config.deciding())
            study = prepare(config, config.batches()[0], clock)
            _check_data(folder, study, config.batches()[0])
            with crew as found:
                results = _finish(folder, config, study, found, told, clock, reports=then is not None)
        if then is not None:
            _report(folder, then, told)
        return results


def extend(
    path: str | os.PathLike[str],
    *,
    trials: int | None = None,
    criteria: Sequence[str] = (),
    rounds: int | None = None,
    progress: Progress | bool | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    then: Callable[[StudyFolder], object] | None = None,
) -> xr.Dataset:
    """Add trials, rules or rounds to a finished study, with the numbers of a study that had them from the start.

    These are equal to the bit, but where a single trial runs as a batch of its own beside larger ones: its sums are
    rounded otherwise. The study stays as it is until all is done; after an interruption :func:`resume` goes on.

    Parameters
    ----------
    path
        Folder of a finished study.
    trials, rounds
        How many there shall be in all.
    criteria
        Rules to add, by name or as ``module:function``.
    progress, workers, scheduler, then
        As of :func:`run`.

    Returns
    -------
    xarray.Dataset
        The results of the whole study.

    Raises
    ------
    ValueError
        If there is no finished study, nothing or less is asked for, a rule is there already or unknown, or the data
        are not those of the study; then nothing has been written.
    OSError
        If the folder cannot be written, or no scheduler answers.
    """
    folder = StudyFolder.open(path)
    _ = folder.config  # refuses changed settings
    before = load_config(folder.path / "study.toml")
    config = before.extended(trials=trials, criteria=criteria, rounds=rounds)
    crew, clock = _crew(workers, scheduler), Stopwatch()
    if any(peek(folder.record_path(task.trials, task.criterion)) is None for task in _tasks(before)):
        raise ValueError(
            f"{str(path)!r} lacks files in tasks/, from which a study goes on; run it anew with the settings you want"
        )
    study = prepare(config, config.batches()[0], clock)
    _check_data(folder, study, config.batches()[0])
    with watch(progress) as told, crew as found, folder.extended(config) as longer:
        results = _finish(longer, config, study, found, told, clock, reports=then is not None)
        if then is not None:
            _report(longer, then, told)
        return results


def _check_data(folder: StudyFolder, study: Study, trials: tuple[int, ...]) -> None:
    """Refuse data other than those that the first trials were trained on."""
    path = folder.record_path(trials, None)
    if path.is_file() and (known := data_sha256_of(path)) != study.data_sha256:
        raise ValueError(
            f"the data are not those that this study began with (SHA-256 {study.data_sha256[:12]}..., then "
            f"{known[:12]}...); go on with the same data"
        )


def _report(folder: StudyFolder, then: Callable[[StudyFolder], object], progress: Progress) -> None:
    progress.describe("drawing the figures and writing the report")
    steps = Steps(progress)
    then(folder)
    steps.done("report")


def _crew(workers: int | None, scheduler: str | None) -> AbstractContextManager[Crew]:
    if workers is None and scheduler is None:
        return nullcontext(Here())
    if workers is not None and scheduler is not None:
        raise ValueError("workers and scheduler exclude each other: give a number of processes here, or an address")
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}; leave it out for this process alone")
    from secateur.studies.cluster import connect

    return connect(workers, scheduler)


def _finish(
    folder: StudyFolder,
    config: StudyConfig,
    study: Study,
    crew: Crew,
    progress: Progress,
    clock: Stopwatch,
    *,
    reports: bool,
) -> xr.Dataset:
    """Do every task that is not finished, then write results and provenance."""
    sessions = Sessions(folder, config, crew.where)
    with sessions.recorded(clock):
        progress.start(*_planned(folder, config, study, reports))
        crew.perform(folder, config, study, progress, clock)
        records = _records(folder, config, study)
        results = _gathered(config, study, records)
        progress.describe("timing Gibbs sweeps of the machines")
        steps = Steps(progress)
        sweeps = time_sweeps(folder, config)
        folder.write_results(results)
        steps.done("timing")
    sessions.finish(clock, records, sweeps, crew.described)
    return results


def _tasks(config: StudyConfig) -> list[Task]:
    return [Task(trials, criterion) for trials in config.batches() for criterion in (None, *config.lines)]


def _planned(
    folder: StudyFolder, config: StudyConfig, study: Study, reports: bool
) -> tuple[dict[str, int], dict[str, int]]:
    """Steps of the whole study by kind, and those of them that are in finished rounds."""
    plan: Counter[str] = Counter(timing=1, report=int(reports))
    done: Counter[str] = Counter()
    for task in _tasks(config):
        n_rounds = peek(folder.record_path(task.trials, task.criterion))
        if task.criterion is None:
            steps = {"training": study.n_epochs, "measuring": 1}
            plan.update(steps)
            done.update(steps if n_rounds is not None else {})
        else:
            for number in range(1, config.rounds + 1):
                steps = planned_epochs(config, task.criterion, study.n_epochs, number) | {"round": 1}
                plan.update(steps)
                done.update(steps if number <= (n_rounds or 0) else {})
    return plan, done


def _records(folder: StudyFolder, config: StudyConfig, study: Study) -> dict[Task, Record]:
    records = {}
    for task in _tasks(config):
        empty = results_of(config, study, task.trials, [task.criterion or config.criteria[0]])
        records[task] = Record.read(folder.record_path(task.trials, task.criterion), empty, study.machine)
    return records


def _gathered(config: StudyConfig, study: Study, records: dict[Task, Record]) -> xr.Dataset:
    """Results of the whole study from those of its tasks."""
    results = results_of(config, study, range(config.trials), config.lines)
    for task, record in records.items():
        trials = slice(task.trials[0], task.trials[-1] + 1)
        for name, values in record.results.items():
            target = results[name]
            if "criterion" not in target.dims:
                if task.criterion is None:
                    target.values[trials] = values
            elif task.criterion is not None:
                target.values[trials, config.lines.index(task.criterion)] = values.values[:, 0]
    return results
