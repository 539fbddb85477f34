"""Running a study: train once per trial, then prune and retrain by every rule from the same machines."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import UTC, datetime
from typing import Any

import numpy as np
import xarray as xr
from threadpoolctl import threadpool_limits

from secateur.machine import Machine
from secateur.moments import Moments
from secateur.pruning import compact, living_units, model_moments, prune_and_retrain, silent_visible_units
from secateur.pruning.unit_rules import least_fi_units
from secateur.randomness import child_key
from secateur.studies.config import DigitsConfig, PatchesConfig, StudyConfig
from secateur.studies.digits import DigitsStudy
from secateur.studies.patches import PatchesStudy
from secateur.studies.progress import Progress, Silent, Stopwatch
from secateur.studies.schema import COMMON, STAGES, empty_results
from secateur.studies.store import StudyFolder, describe_run
from secateur.studies.study import Measured, Study
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
    """Run a study and write its folder; all trials train as one batch.

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
        with self.clock.compilations(), self.clock.phase("prepare"):
            self.study: Study = PROCEDURES[type(config)](config)
        self.folder = StudyFolder.create(out, config, overwrite)
        self.results = self._empty()
        self.stopped = False

    def run(self) -> xr.Dataset:
        config, clock = self.config, self.clock
        self.progress.start(self.study.n_epochs + len(config.criteria) * config.rounds * config.retraining.n_epochs)
        # Linear algebra gets the cores that the rules leave: more threads than cores make it ten times slower.
        cores = max(1, (os.cpu_count() or 1) // config.threads)
        with clock.compilations(), threadpool_limits(cores):
            machine = self._train()
            # Rules are independent: each has its own keys and its own place in the results.
            with ThreadPoolExecutor(config.threads) as pool:
                futures = [pool.submit(self._prune, machine, criterion) for criterion in config.criteria]
                try:
                    for future in as_completed(futures):
                        future.result()
                        self.folder.write_results(self.results)
                except BaseException:
                    self.stopped = True
                    pool.shutdown(cancel_futures=True)
                    raise
        self._finish()
        return self.results

    def _train(self) -> Machine:
        self.progress.describe(f"{self._trials()}: first training")
        with self.clock.phase("train"):
            machine, measured = self.study.train(on_epoch=lambda _: self.progress.advance())
        with self.clock.phase("evaluate"):
            for name, values in (measured | self.study.once(machine)).items():
                self.results[name][:] = values
            self._record(machine, self.config.criteria, 0, STAGES)
        self._save(machine, self.config.criteria[0], 0)
        return machine

    def _prune(self, machine: Machine, criterion: str) -> None:
        config, n_rounds = self.config, self.config.rounds
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
        )
        for number in range(1, n_rounds + 1):
            if self.stopped:  # another rule failed, or the user interrupted
                return
            self.progress.describe(f"{self._trials()}: {criterion}, round {number} of {n_rounds}")
            with self.clock.phase("prune and retrain"):
                done = next(rounds)
            with self.clock.phase("evaluate"):
                self._record(done.pruned, (criterion,), number, ("pruned",))
                self._record(done.retrained, (criterion,), number, ("retrained",))
                # Importance was measured at the start of this round, from the machine of the round before.
                self._information(machine, done.moments, criterion, number - 1)
                self._write(self.study.removal(machine, done.moments, done.pruned), (criterion,), number)
            machine = done.retrained
            self._save(machine, criterion, number)
            self.progress.advance(config.retraining.n_epochs)
        with self.clock.phase("evaluate"):
            moments = model_moments(machine, config.importance, child_key(keys, "last information"))
            self._information(machine, moments, criterion, n_rounds)

    def _record(self, machine: Machine, criteria: tuple[str, ...], number: int, stages: tuple[str, ...]) -> None:
        """Write the measurements of a machine into the results, at one stage of a round or at several equal ones."""
        masks = [[np.asarray(m) for m in one.masks] for one in unstack(machine)]
        structure = {
            "n_synapses": np.array([[m.sum() for m in one] for one in masks]),
            "n_units": np.array([[alive.sum() for alive in living_units(one)] for one in masks]),
            "lost_pixel": np.array([silent_visible_units(one) for one in masks]),
        }
        keys = child_key(self.study.keys, "evaluation", *criteria, number, stages[-1])
        measured = self.study.evaluate(machine, keys)
        for criterion in criteria:
            for name, values in measured.items():
                for stage in stages:
                    self._at(name, criterion, number)[:, STAGES.index(stage)] = values
        kept = self.study.end_of_round(machine, keys) if stages[-1] == STAGES[-1] else {}
        self._write(structure | kept, criteria, number)

    def _write(self, measured: Measured, criteria: tuple[str, ...], number: int) -> None:
        for criterion in criteria:
            for name, values in measured.items():
                self._at(name, criterion, number)[:] = values

    def _information(self, machine: Machine, moments: list[Moments], criterion: str, number: int) -> None:
        """Write the mean information of every living first-layer unit's synapses into the results."""
        each = zip(unstack(machine), moments, strict=True)
        for trial, (one, its_moments) in enumerate(each):
            mixing = its_moments.diagnostics
            sample_size, r_hat = (np.inf, 1.0) if mixing is None else (mixing.effective_sample_size, mixing.split_r_hat)
            self._at("effective_sample_size", criterion, number)[trial] = sample_size
            self._at("split_r_hat", criterion, number)[trial] = r_hat
            information = least_fi_units(one, its_moments, self.study.keys[trial])[0]
            alive = living_units([np.asarray(m) for m in one.masks])[1]
            units = np.asarray(one.unit_indices[1])
            self._at("unit_information", criterion, number)[trial, units] = np.where(alive, information, np.nan)

    def _save(self, machine: Machine, criterion: str, number: int) -> None:
        with self.clock.phase("write"):
            for trial, one in enumerate(unstack(machine)):
                self.folder.save_machine(compact(one), trial, criterion, number)

    def _finish(self) -> None:
        clock = self.clock
        self.folder.write_provenance(
            self.facts
            | {
                "finished": datetime.now(UTC).isoformat(timespec="seconds"),
                "seconds": {name: round(seconds, 2) for name, seconds in clock.seconds.items()},
                "total_seconds": round(clock.total, 2),
                "compile_seconds": round(clock.compile_seconds, 2),
                "compile_share": round(clock.compile_seconds / clock.total, 3),
                "n_compilations": clock.n_compilations,
            }
        )

    def _at(self, name: str, criterion: str, number: int) -> np.ndarray:
        """View of a variable at one criterion and round, trial first."""
        return self.results[name].values[:, self.config.criteria.index(criterion), number]

    def _trials(self) -> str:
        return "trial 1" if self.config.trials == 1 else f"trials 1-{self.config.trials}"

    def _empty(self) -> xr.Dataset:
        config, study = self.config, self.study
        layer_sizes = study.machine.layer_sizes
        coords: dict[str, Any] = {
            "trial": np.arange(config.trials),
            "criterion": list(config.criteria),
            "round": np.arange(config.rounds + 1),
            "stage": list(STAGES),
            "matrix": np.arange(len(layer_sizes) - 1),
            "layer": np.arange(len(layer_sizes)),
            "pixel": np.arange(layer_sizes[0]),
            "unit": np.arange(layer_sizes[1]),
        }
        attrs = {
            "title": config.title,
            "study": config.name,
            "size": config.size,
            "seed": config.seed,
            "Conventions": "CF-1.11",
        }
        return empty_results(COMMON | study.variables, coords | study.coords(), attrs | study.attrs())
