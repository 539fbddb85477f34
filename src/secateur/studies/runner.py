"""Running a study: train once per trial, then prune and retrain by every rule from the same machines."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import UTC, datetime

import xarray as xr
from threadpoolctl import threadpool_limits

from secateur.machine import Machine
from secateur.pruning import compact, model_moments, prune_and_retrain
from secateur.randomness import child_key
from secateur.studies.config import DigitsConfig, PatchesConfig, StudyConfig
from secateur.studies.digits import DigitsStudy
from secateur.studies.patches import PatchesStudy
from secateur.studies.progress import Progress, Silent, Stopwatch
from secateur.studies.recorder import Recorder, results_of
from secateur.studies.schema import STAGES
from secateur.studies.store import StudyFolder, describe_run
from secateur.studies.study import Study
from secateur.studies.timing import time_sweeps
from secateur.trials import unstack

PROCEDURES: dict[type[StudyConfig], Callable[..., Study]] = {DigitsConfig: DigitsStudy, PatchesConfig: PatchesStudy}
"""The procedure of each kind of study."""


def run(
    config: StudyConfig,
    out: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Run a study and write its folder; ``trials_at_once`` trials train as one batch.

    Parameters
    ----------
    config
        Resolved settings (:func:`secateur.studies.load_config`).
    out
        Folder to make.
    overwrite
        Replace an earlier run in that folder.
    progress
        Told what runs and how much is done.

    Returns
    -------
    xarray.Dataset
        The results (:mod:`secateur.studies.schema`), also in ``results.nc``.

    Raises
    ------
    ValueError
        If settings do not fit the data or the folder is taken; then nothing has been written.
    """
    return _Run(config, out, overwrite, progress or Silent()).run()


class _Run:
    """One run of a study: what its steps share."""

    def __init__(self, config: StudyConfig, out: str | os.PathLike[str], overwrite: bool, progress: Progress):
        self.config = config
        self.progress = progress
        self.clock = Stopwatch()
        self.facts = describe_run(config)
        size = config.trials_at_once or config.trials
        self.batches = [range(first, min(first + size, config.trials)) for first in range(0, config.trials, size)]
        # The first batch before anything is written: settings that do not fit the data leave nothing behind.
        self.first = self._prepare(self.batches[0])
        self.folder = StudyFolder.create(out, config, overwrite)
        self.results = results_of(config, self.first)
        self.seconds: dict[str, dict[str, float]] = {}
        self.stopped = False

    def run(self) -> xr.Dataset:
        config, clock = self.config, self.clock
        epochs = self.first.n_epochs + len(config.criteria) * config.rounds * config.retraining.n_epochs
        self.progress.start(len(self.batches) * epochs)
        # Linear algebra gets the cores that the rules leave: more threads than cores make it ten times slower.
        cores = max(1, (os.cpu_count() or 1) // config.threads)
        with clock.compilations(), threadpool_limits(cores):
            for number, trials in enumerate(self.batches):
                study = self.first if number == 0 else self._prepare(trials)
                self._run_batch(_Batch(self, trials, study))
        sweeps = time_sweeps(self.folder, config)
        self._finish(sweeps)
        return self.results

    def _prepare(self, trials: Sequence[int]) -> Study:
        with self.clock.compilations(), self.clock.phase("prepare"):
            return PROCEDURES[type(self.config)](self.config, trials)

    def _run_batch(self, batch: _Batch) -> None:
        config = self.config
        machine = batch.train()
        self.folder.write_results(self.results)
        # Rules are independent: each has its own keys and its own place in the results.
        with ThreadPoolExecutor(config.threads) as pool:
            futures = [pool.submit(batch.prune, machine, criterion) for criterion in config.criteria]
            try:
                for future in as_completed(futures):
                    future.result()
                    self.folder.write_results(self.results)
            except BaseException:
                self.stopped = True
                pool.shutdown(cancel_futures=True)
                raise

    def _finish(self, sweeps: list[dict[str, object]]) -> None:
        clock = self.clock
        self.folder.write_provenance(
            self.facts
            | {
                "finished": datetime.now(UTC).isoformat(timespec="seconds"),
                "seconds": {name: round(seconds, 2) for name, seconds in clock.seconds.items()},
                "seconds_by_trials": self.seconds,
                "total_seconds": round(clock.total, 2),
                "compile_seconds": round(clock.compile_seconds, 2),
                "compile_share": round(clock.compile_seconds / clock.total, 3),
                "n_compilations": clock.n_compilations,
                "gibbs_sweeps": sweeps,
            }
        )


class _Batch:
    """The trials of a study that run as one."""

    def __init__(self, run: _Run, trials: Sequence[int], study: Study):
        self.run, self.trials, self.study = run, trials, study
        self.config, self.clock, self.progress = run.config, run.clock, run.progress
        self.recorder = Recorder(run.results, trials, study)
        self.name = f"trial {trials[0] + 1}" if len(trials) == 1 else f"trials {trials[0] + 1}-{trials[-1] + 1}"
        self.seconds = run.seconds.setdefault(self.name, {})

    def train(self) -> Machine:
        """The trained machines, measured and saved."""
        self.progress.describe(f"{self.name}: first training")
        began = self.clock.total
        with self.clock.phase("train"):
            machine, measured = self.study.train(on_epoch=lambda _: self.progress.advance())
        self.seconds["first training"] = round(self.clock.total - began, 1)
        with self.clock.phase("evaluate"):
            self.recorder.once(measured | self.study.once(machine))
            self._evaluate(machine, self.config.criteria, 0, STAGES)
        self._save(machine, self.config.criteria[0], 0)
        return machine

    def prune(self, machine: Machine, criterion: str) -> None:
        """All rounds of one rule."""
        config, n_rounds = self.config, self.config.rounds
        began = self.clock.total
        keys = child_key(self.study.keys, "pruning", criterion)
        rounds = prune_and_retrain(
            machine,
            self.study.visible,
            criterion,
            n_rounds=n_rounds,
            fraction=config.pruning.fraction,
            retraining=config.retraining,
            key=keys,
            importance=config.importance,
            zeros=config.pruning.zeros,
            shrink_at=config.pruning.shrink_at,
        )
        for number in range(1, n_rounds + 1):
            if self.run.stopped:  # another rule failed, or the user interrupted
                return
            self.progress.describe(f"{self.name}: {criterion}, round {number} of {n_rounds}")
            with self.clock.phase("prune and retrain"):
                done = next(rounds)
            with self.clock.phase("evaluate"):
                self._evaluate(done.pruned, (criterion,), number, ("pruned",))
                self._evaluate(done.retrained, (criterion,), number, ("retrained",))
                # Importance was measured at the start of this round, from the machine of the round before.
                self.recorder.information(machine, done.moments, criterion, number - 1)
                removal = self.study.removal(machine, done.moments, done.pruned)
                self.recorder.stages(removal, (criterion,), number, STAGES)
            machine = done.retrained
            self._save(machine, criterion, number)
            self.progress.advance(config.retraining.n_epochs)
        with self.clock.phase("evaluate"):
            last = child_key(keys, "last information")
            moments = model_moments(machine, config.importance, last, self.study.visible)
            self.recorder.information(machine, moments, criterion, n_rounds)
        self.seconds[criterion] = round(self.clock.total - began, 1)

    def _evaluate(self, machine: Machine, criteria: tuple[str, ...], number: int, stages: tuple[str, ...]) -> None:
        """Measure a machine at one stage of a round, or at several equal ones."""
        keys = child_key(self.study.keys, "evaluation", *criteria, number, stages[-1])
        self.recorder.stages(self.study.evaluate(machine, keys), criteria, number, stages)
        if stages[-1] == STAGES[-1]:
            self.recorder.structure(machine, criteria, number)
            self.recorder.stages(self.study.end_of_round(machine, keys), criteria, number, stages)

    def _save(self, machine: Machine, criterion: str, number: int) -> None:
        with self.clock.phase("write"):
            for trial, one in zip(self.trials, unstack(machine), strict=True):
                self.run.folder.save_machine(compact(one), trial, criterion, number)
