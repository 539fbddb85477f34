"""A study's folder: configuration, provenance, results and machines; everything written atomically."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tomli_w
import xarray as xr

from secateur.model.machine import Machine
from secateur.storage.arrays import write_atomically
from secateur.storage.folders import locked, replacement_of, replacing
from secateur.storage.machines import load_machine, save_machine
from secateur.storage.provenance import read_provenance
from secateur.storage.results import read_results
from secateur.studies.config import StudyConfig, load_config
from secateur.studies.lines import Line
from secateur.studies.own_rows import write_given
from secateur.studies.settings import refuse_changed

UNPRUNED = "unpruned"
"""Folder name of machines before any pruning."""

OWN = ("study.toml", "results.nc", "provenance.json", "report.html", "machines", "figures", "tasks", "data")
"""Names of what a study writes into its folder."""


class StudyFolder:
    """Paths and files of one study.

    ``study.toml`` (resolved settings), ``provenance.json``, ``results.nc``, ``machines/``, ``figures/``,
    ``report.html``; ``tasks/``, what every task has done, from which the study goes on after an interruption or is
    extended.
    """

    def __init__(self, path: str | os.PathLike[str], shown: Path | None = None):
        self.path = Path(path)
        self.shown = shown or self.path
        """Where the folder will be when the study is finished, and what messages call it."""

    @classmethod
    @contextmanager
    def begun(cls, path: str | os.PathLike[str], config: StudyConfig, overwrite: bool = False) -> Iterator[StudyFolder]:
        """The locked folder of a new run, with its settings.

        An earlier study in its place stays whole until the ``with`` block ends without an error; then this one takes
        its place.

        Raises
        ------
        ValueError
            If the folder exists and ``overwrite`` is false, it holds something that is not a study, it is a link, the
            data lie in it, or another run writes to it.
        OSError
            If the folder cannot be written.
        """
        if _is_taken(Path(path)):
            _check_replaceable(cls(path), config, overwrite)
            writer = cls(replacement_of(Path(path)) or path, Path(path))
            with replacing(Path(path), OWN, writer._busy, keep=True) as place:
                folder = cls(place, shown=Path(path))
                folder._write_settings(config)
                yield folder
            return
        folder = cls(path)
        with folder.locked():
            folder._write_settings(config)
            yield folder

    @contextmanager
    def extended(self, config: StudyConfig) -> Iterator[StudyFolder]:
        """The locked folder of this finished study with settings that say more is to be done.

        The study stays as it is until the ``with`` block ends without an error; then this one takes its place.

        Raises
        ------
        ValueError
            If another run writes to it, it is a link, or something to take its place was begun already.
        OSError
            If the folder cannot be written.
        """
        if self.is_unfinished(self.path):
            raise ValueError(
                f"what shall take the place of {str(self.path)!r} was begun already; continue it with 'secateur resume "
                f"{self.path}'"
            )
        with replacing(self.path, OWN, self._busy, keep=True) as place:
            for name in ("tasks", "machines", "data"):
                if (self.path / name).is_dir():
                    shutil.copytree(self.path / name, place / name, copy_function=_linked)
            _linked(str(self.path / "provenance.json"), str(place / "provenance.json"))
            folder = StudyFolder(place, shown=self.path)
            folder._write_settings(config)  # last: what has settings is whole
            yield folder

    @classmethod
    @contextmanager
    def continued(cls, path: str | os.PathLike[str]) -> Iterator[StudyFolder]:
        """The locked folder of a run that was interrupted, or of a finished one.

        Raises
        ------
        ValueError
            If there is no study, or another run writes to it.
        """
        place = replacement_of(Path(path))
        if place is not None and (place / "study.toml").is_file():
            with replacing(Path(path), OWN, cls(place, Path(path))._busy, goes_on=True, keep=True) as place:
                yield cls(place, shown=Path(path))
            return
        folder = cls(path)
        if not (folder.path / "study.toml").is_file():
            raise ValueError(f"{str(path)!r} holds no study (study.toml is missing); begin one with 'secateur run'")
        with folder.locked():
            yield folder

    @classmethod
    def create(cls, path: str | os.PathLike[str], config: StudyConfig) -> StudyFolder:
        """Make a folder that is not there yet, with a study's settings; errors as of :meth:`begun`."""
        with cls.begun(path, config) as folder:
            return folder

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> StudyFolder:
        """Folder of a finished run.

        Raises
        ------
        ValueError
            If there is no finished study in it.
        """
        folder = cls(path)
        if folder.is_finished:
            return folder
        if (folder.path / "study.toml").is_file():
            raise ValueError(
                f"{str(path)!r} holds a study that is not finished (results.nc or provenance.json is missing); "
                f"continue it with 'secateur resume {path}'"
            )
        raise ValueError(
            f"{str(path)!r} holds no finished study (study.toml is missing) and no fitted recording; "
            "run a study or fit a recording into it with --out"
        )

    def _write_settings(self, config: StudyConfig) -> None:
        settings = tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))
        write_atomically(self.path / "study.toml", lambda t: t.write_text(settings, "utf-8"))
        if config.data.given is not None:
            write_given(config.data.given, self.path / "data")

    @staticmethod
    def is_unfinished(path: Path) -> bool:
        """Whether a run was begun in a folder, or in its place, that :meth:`continued` goes on with."""
        place = replacement_of(path) or path
        return (place / "study.toml").is_file() and not StudyFolder(place).is_finished

    @property
    def is_finished(self) -> bool:
        """Whether the results of a whole run are there."""
        return all((self.path / name).is_file() for name in ("study.toml", "results.nc", "provenance.json"))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs from writing to the folder while a ``with`` block runs.

        The system frees the lock when the process that holds it ends, however it ends: a lock cannot be left behind.

        Raises
        ------
        ValueError
            If another run holds the lock.
        """
        with locked(self.path, self._busy):
            yield

    @property
    def _busy(self) -> str:
        """That another process writes to the folder, and which, as far as it has said so."""
        try:
            last = self.provenance["sessions"][-1]
            writer = f" (process {last['process']} on {last['host']})"
        except (OSError, ValueError, KeyError, IndexError, TypeError):
            writer = ""
        return f"another run{writer} is writing to {str(self.shown)!r}; wait until it ends, or choose another folder"

    @property
    def config(self) -> StudyConfig:
        """The settings the study ran with.

        Raises
        ------
        ValueError
            If they are not valid, or not those that the results were made with.
        """
        config = load_config(self.path / "study.toml", finished=self.is_finished)
        if self.is_finished:
            results = self.results
            known = results.attrs.get("settings")  # earlier versions kept none
            if known is not None:
                refuse_changed(_settings_from(known), config.deciding(), "results.nc")
            criteria, rounds = list(map(str, results["criterion"].values)), results.sizes["round"] - 1
            done = {"trials": results.sizes["trial"], "criteria": criteria, "rounds": rounds}
            now = {"trials": config.trials, "criteria": list(config.lines), "rounds": config.rounds}
            refuse_changed(done, now, "results.nc")
        return config

    @property
    def results(self) -> xr.Dataset:
        """The results, loaded into memory."""
        return read_results(self.path / "results.nc")

    @property
    def provenance(self) -> dict[str, Any]:
        """Versions, seed, hardware, commit and times of the run."""
        return read_provenance(self.path / "provenance.json")

    def write_results(self, results: xr.Dataset) -> None:
        """Replace ``results.nc``; floating-point variables are compressed."""
        encoding = {name: {"zlib": True, "complevel": 4} for name in results.data_vars}
        # In memory first: on a full disk the library leaves the reason out of its error.
        content = bytes(results.to_netcdf(engine="h5netcdf", encoding=encoding))
        write_atomically(self.path / "results.nc", lambda t: t.write_bytes(content))

    def write_provenance(self, facts: dict[str, Any]) -> None:
        """Replace ``provenance.json``."""
        text = json.dumps(facts, indent=2) + "\n"
        write_atomically(self.path / "provenance.json", lambda t: t.write_text(text, "utf-8"))

    def record_path(self, trials: Sequence[int], criterion: str | None) -> Path:
        """File of what a task has finished: the first training of some trials, or a rule from there."""
        name = "first-training" if criterion is None else _file_name(criterion)
        return self.path / "tasks" / f"trials-{trials[0]:02d}-{trials[-1]:02d}" / f"{name}.safetensors"

    def record_paths(self) -> list[Path]:
        """Files of all tasks that have finished something."""
        found = (self.path / "tasks").glob("trials-*/*.safetensors")
        return sorted(path for path in found if not path.name.startswith(".") and ".training." not in path.name)

    def machine_path(self, trial: int, criterion: str, number: int) -> Path:
        """File of a machine after a round (0: before any pruning); the rule ``module:function`` is in
        ``module=function``.
        """
        name = f"{UNPRUNED}.safetensors" if number == 0 else f"{_file_name(criterion)}/round-{number:02d}.safetensors"
        return self.path / "machines" / f"trial-{trial:02d}" / name

    def save_machine(self, machine: Machine, trial: int, criterion: str, number: int) -> None:
        """Write the compacted machine of a trial after a round, with its lineage."""
        lineage: dict[str, Any] = {"trial": trial, "round": number}
        if number > 0 and Line.named(criterion).from_scratch:
            lineage |= {"criterion": criterion}
        elif number > 0:
            parent = self.machine_path(trial, criterion, number - 1).relative_to(self.path / "machines")
            lineage |= {"criterion": criterion, "parent": parent.as_posix()}
        save_machine(machine, self.machine_path(trial, criterion, number), lineage)

    def load_machine(self, trial: int, criterion: str, number: int) -> Machine:
        """The machine of a trial after a round."""
        return load_machine(self.machine_path(trial, criterion, number))


def _linked(source: str, target: str) -> None:
    """Copy a file that is only ever replaced as a whole: without its content where the file system can."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target)


def _is_taken(path: Path) -> bool:
    return path.is_symlink() or (path.exists() and (not path.is_dir() or any(path.iterdir())))


def _check_replaceable(folder: StudyFolder, config: StudyConfig, overwrite: bool) -> None:
    known = (folder.path / "study.toml").is_file()
    if not overwrite:
        more = f"continue it with 'secateur resume {folder.path}', " if known and not folder.is_finished else ""
        raise ValueError(f"{str(folder.path)!r} exists already; {more}choose another folder or say --overwrite")
    if not known:
        raise ValueError(f"{str(folder.path)!r} is not the folder of a study, so it is not overwritten; choose another")
    for file in config.data.files():
        if file.resolve().is_relative_to(folder.path.resolve()):
            raise ValueError(
                f"the data {str(file)!r} lie in the folder that would be replaced; copy them, or choose another folder"
            )


def _settings_from(text: Any) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError("the settings in results.nc are damaged; restore it from a copy, or run again")
    return found


def _file_name(criterion: str) -> str:
    """Name of a rule in paths."""
    # No colon: some file systems and archives refuse it. The name of no rule holds a "=" or a "+".
    return criterion.replace(":", "=").replace("/", "+")
