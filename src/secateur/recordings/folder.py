"""The folder of a fitted recording: settings, provenance, results, models and tables; everything written atomically."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import jax
import tomli_w
import xarray as xr

from secateur.fisher.full_matrix import Of
from secateur.reading.words import load_words
from secateur.recordings.analysis import Analysis, analyse
from secateur.recordings.folds import default_folds
from secateur.recordings.parameters import Convention
from secateur.storage.arrays import write_atomically
from secateur.storage.folders import replacing
from secateur.storage.machines import save_machine
from secateur.storage.progress import Progress, Stopwatch, told_as_they_begin
from secateur.storage.provenance import describe_versions, read_provenance
from secateur.storage.results import read_results
from secateur.storage.toml import read_toml
from secateur.storage.watching import watch
from secateur.training import TrainingSettings

SETTINGS = "recording.toml"
OWN = (
    SETTINGS,
    "results.nc",
    "provenance.json",
    "report.html",
    "words.npz",
    "machines",
    "tables",
    "figures",
    "pruning",
)
"""What a folder of a fitted recording consists of."""
"""Steps told beside the fits of every fold: three models, information of two, stability, activity."""


class RecordingFolder:
    """Files of one fitted recording: ``recording.toml``, ``provenance.json``, ``results.nc``, ``words.npz``,
    ``machines/``, ``tables/``, ``figures/``, ``report.html``.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RecordingFolder:
        """Folder of a recording fitted earlier.

        Raises
        ------
        ValueError
            If there is none in it.
        """
        folder = cls(path)
        for name in (SETTINGS, "results.nc", "provenance.json"):
            if not (folder.path / name).is_file():
                raise ValueError(
                    f"{str(path)!r} holds no fitted recording ({name} is missing); make it with 'secateur fit'"
                )
        return folder

    @property
    def results(self) -> xr.Dataset:
        """The results (:mod:`secateur.recordings.analysis`), loaded into memory."""
        return read_results(self.path / "results.nc")

    @property
    def provenance(self) -> dict[str, Any]:
        """Versions, seed, hardware, commit, times and the checksum of the words."""
        return read_provenance(self.path / "provenance.json")

    @property
    def settings(self) -> dict[str, Any]:
        """What the recording was fitted with.

        Raises
        ------
        ValueError
            If the file is damaged.
        """
        path = self.path / SETTINGS
        found = read_toml(path)
        hidden, words = found.get("hidden"), found.get("words")
        if not isinstance(words, str) or not isinstance(hidden, list) or any(type(n) is not int for n in hidden):
            raise ValueError(
                f"{path} must name a file of 'words' and the numbers of 'hidden' units, a list; it is damaged: restore "
                "it from a copy, or fit the recording again"
            )
        return found


def is_recording(path: str | os.PathLike[str]) -> bool:
    """Whether a folder is that of a fitted recording."""
    return (Path(path) / SETTINGS).is_file()


def fit_recording(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    seed: int = 0,
    n_hidden: int | Sequence[int] | None = None,
    choose_hidden: Sequence[int] | None = None,
    n_folds: int | None = None,
    hold_out: Sequence[int] | None = None,
    training: TrainingSettings | None = None,
    of: Of = "joint",
    convention: Convention = "0/1",
    overwrite: bool = False,
    progress: Progress | bool | None = None,
) -> Analysis:
    """Fit models to a file of words and write a folder with all that came out.

    Parameters
    ----------
    source
        Words file (:meth:`secateur.reading.words.Words.save`).
    out
        Folder to make.
    seed
        Seed of all random numbers.
    n_hidden, choose_hidden, n_folds, hold_out, training, of, convention
        See :func:`secateur.recordings.analysis.analyse`.
    overwrite
        Replace a recording fitted earlier in that folder.
    progress
        Told what is done; true: a bar with the time left, or lines where there is no terminal.

    Raises
    ------
    ValueError
        If the words cannot be fitted or the folder is taken; then nothing has been written, and an older fit is whole.
    """
    _check_free(Path(out), overwrite)
    words, clock = load_words(source), Stopwatch()
    if n_folds is None:
        n_folds = default_folds(words.states.shape[1])
    plan = _planned(n_folds if hold_out is None else 1, chooses=choose_hidden is not None)
    with watch(progress) as told, replacing(Path(out), OWN) as place:
        told.start(plan)
        with clock.compilations(), told_as_they_begin(told, _kind) as say:
            analysis = analyse(
                words,
                jax.random.key(seed),
                n_hidden=n_hidden,
                choose_hidden=choose_hidden,
                n_folds=n_folds,
                hold_out=hold_out,
                settings=training,
                of=of,
                convention=convention,
                on_step=say,
            )
        settings = {
            "words": Path(source).name,
            "seed": seed,
            "hidden": list(analysis.machine.layer_sizes[1:]),
            "choose_hidden": None if choose_hidden is None else list(choose_hidden),
            "folds": None if hold_out is not None else n_folds,
            "hold_out": None if hold_out is None else [int(epoch) for epoch in hold_out],
            "fisher": of,
            "convention": convention,
            "training": None if training is None else training.model_dump(mode="json", exclude_none=True),
        }
        facts = {
            **describe_versions(),
            "seed": seed,
            "words": {"file": Path(source).name, "sha256": hashlib.sha256(Path(source).read_bytes()).hexdigest()},
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "total_seconds": round(clock.total, 2),
            "compile_seconds": round(clock.compile_seconds, 2),
            "n_compilations": clock.n_compilations,
        }
        _write(place, analysis, {name: value for name, value in settings.items() if value is not None}, facts)
        words.save(place / "words.npz")
    return analysis


_MODELS = ("independent", "pairwise", "machine")


def _kind(what: str) -> str:
    """Steps that take about as long: fits of a model, whatever the fold; else what comes before the colon."""
    before, _, model = what.partition(": ")
    return f"fit of {model if model in _MODELS else 'machine'}" if before.startswith(("fold", "fitting")) else before


def _planned(n_folds: int, *, chooses: bool) -> dict[str, int]:
    """Steps by kind."""
    fits = {f"fit of {model}": n_folds + 1 for model in _MODELS}
    once = {"Fisher information": 2, "stability of rankings": 1, "activity of the models": 1}
    return fits | once | ({"choosing the number of hidden units": 1} if chooses else {})


def _write(path: Path, analysis: Analysis, settings: dict[str, Any], facts: dict[str, Any]) -> None:
    name = analysis.results.attrs["machine"]
    lineage = {"fitted_to": settings["words"], "seed": settings["seed"], "hidden": settings["hidden"]}
    save_machine(analysis.machine, path / "machines" / f"{name}.safetensors", lineage)
    for which, stiff in analysis.stiffness.items():
        stiff.save_csv(path / "tables" / (name if which == "machine" else which))
    tables = {
        "held-out": analysis.comparison.table,
        "held-out-epochs": analysis.comparison.per_epoch,
        "ranking-stability": analysis.stability.table,
        "hidden-units": analysis.choice,
    }
    for table, content in tables.items():
        if content is not None:
            write_atomically(path / "tables" / f"{table}.csv", partial(content.to_csv, index=False))
    encoding = {variable: {"zlib": True, "complevel": 4} for variable in analysis.results.data_vars}
    write_atomically(path / "results.nc", lambda t: analysis.results.to_netcdf(t, engine="h5netcdf", encoding=encoding))
    write_atomically(path / "provenance.json", lambda t: t.write_text(json.dumps(facts, indent=2) + "\n", "utf-8"))
    # Last, because a folder with settings is taken for a whole one.
    write_atomically(path / SETTINGS, lambda t: t.write_text(tomli_w.dumps(settings), "utf-8"))


def _check_free(path: Path, overwrite: bool) -> None:
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not overwrite:
        raise ValueError(f"{str(path)!r} exists already; choose another folder or say --overwrite")
    if not is_recording(path):
        raise ValueError(
            f"{str(path)!r} is not the folder of a fitted recording, so it is not overwritten; choose another"
        )
