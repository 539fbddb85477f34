"""Settings for data that nobody has chosen settings for: from the numbers of rows and units, and what they are."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import ValidationError

from secateur.data.tables import Tables, find_in_folder, read_tables
from secateur.model.enumeration import MAX_UNITS
from secateur.reading.words import Words, is_words_file, load_words
from secateur.storage.limits import MAX_VALUES
from secateur.studies.config import resolved
from secateur.studies.own_rows import given_from, named_given
from secateur.studies.settings import DataSettings, EvaluationSettings, ModelSettings, StudyConfig
from secateur.training.defaults import chosen_for, rates_for

CRITERIA = ("variance-fi", "heuristic-fi", "weight-magnitude", "random", "anti-fi")
_ANNEALING_WORK = 1.5e12
"""Multiplications of all annealing of a study."""
_IMPORTANCE_WORK = 3e12
"""Multiplications of all chains from which importance is measured."""
_SAMPLE_WORK = 2e12
"""Multiplications of all samples that are judged."""
_STAGES = 150
"""Machines that five rules, five rounds and three trials make, right after pruning and after retraining."""
_MOST_ROWS = 60_000
_MANY_SILENCED = 0.25
"""Share of columns that the common mean makes constant above which that is said; of MNIST's pixels it is less."""
_ANNEALED, _IMPORTANT, _DRAWS = 64, 150, 50


class Chosen(NamedTuple):
    """Settings for some data, and in sentences what was chosen and why."""

    config: StudyConfig
    reasons: list[str]


def config_for_files(
    data: str | os.PathLike[str], changes: dict[str, Any] | None = None, data_changes: dict[str, Any] | None = None
) -> Chosen:
    """Settings of a study of files of one's own.

    Parameters
    ----------
    data
        A file of rows or of words, or a folder: of words files, or of files named ``rows``, ``labels``, ``test_rows``,
        ``test_labels`` (or as MNIST's).
    changes
        Settings to change, by dotted name.
    data_changes
        ``labels``, ``drop``, ``test_rows``, ``test_labels``, ``image_shape`` and ``binarize``, where they are given.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read, or settings do not fit.
    """
    path = Path(data).absolute()
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder {data}; give the path of your rows")
    files = sorted(p for p in path.iterdir() if is_words_file(p)) if path.is_dir() else [path]
    if files and all(is_words_file(file) for file in files):
        if data_changes:
            option = next(iter(data_changes)).replace("_", "-")
            raise ValueError(f"--{option} is for rows, but {data} holds words, which are 0 and 1 already; leave it out")
        return _chosen(
            [load_words(f) for f in files], {"dataset": "words", "rows": [str(f) for f in files]}, path, changes
        )
    found = {name: str(p) for name, p in find_in_folder(path).items()} if path.is_dir() else {"rows": str(path)}
    settings: dict[str, Any] = {"dataset": "rows"} | found | (data_changes or {})
    parts = {name: settings[name] for name in ("labels", "test_rows", "test_labels") if name in settings}
    paths: dict[str, Any] = {name: part if name == "labels" else Path(part) for name, part in parts.items()}
    tables = read_tables(Path(settings["rows"]), **paths, drop=settings.get("drop", ()))
    return _chosen(tables, settings, path, changes)


def config_for_arrays(data: Any, changes: dict[str, Any] | None = None) -> Chosen:
    """Settings of a study of arrays from Python; ``data`` as of :func:`secateur.studies.run`."""
    _, given = given_from(data)
    found = _chosen(given, named_given(given), Path("own-data"), changes)
    found.config.data.give(given)
    return found


def _chosen(found: Tables | list[Words], data: dict[str, Any], path: Path, changes: dict[str, Any] | None) -> Chosen:
    changes = dict(changes or {})
    reasons: list[str] = []
    if isinstance(found, Tables):
        n_rows, n_units = len(found.rows), int(found.rows[0].size)
        data = data | _for_tables(found, n_rows, n_units, data, changes, reasons)
        n_train = min(n_rows, data.get("most_rows", n_rows))
        if found.test_rows is None:
            n_train = round((1 - DataSettings().test_share) * n_train)
    else:
        n_units = found[0].states.shape[1]
        n_train = round((1 - DataSettings().test_share) * sum(len(one.states) for one in found))
    content = _settings(n_train, n_units, isinstance(found, Tables), changes, reasons)
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in path.stem) or "own-data"
    content |= {"name": name, "title": f"Pruning Boltzmann machines of {path.stem}", "data": data}
    return Chosen(resolved(content, changes), reasons)


def _for_tables(
    found: Tables, n_rows: int, n_units: int, data: dict[str, Any], changes: dict[str, Any], reasons: list[str]
) -> dict[str, Any]:
    """How grey levels become 0 and 1, and how many rows are taken, where nobody has said so."""
    chosen: dict[str, Any] = {}
    if "binarize" not in data and "data.binarize" not in changes:
        first = found.rows[: min(n_rows, 1000)]
        if ((first != 0) & (first != 1)).any():
            chosen["binarize"] = "mean"
            reasons.append("data.binarize = mean: there are values other than 0 and 1; above their mean they become 1")
            reasons += _silenced(np.reshape(first, (len(first), -1)))
    most = min(_MOST_ROWS, MAX_VALUES // (4 * n_units))
    if n_rows > most and "data.most_rows" not in changes:
        chosen["most_rows"] = most
        reasons.append(f"data.most_rows = {most:,}: of {n_rows:,} rows as many are taken at random for each trial")
    return chosen


def _silenced(rows: np.ndarray) -> list[str]:
    """That many columns would not vary any more, as where each has a scale of its own."""
    if not np.isfinite(rows).all():  # refused where rows are taken
        return []
    ours = rows > rows.mean(dtype=float)
    lost = int(((rows.min(axis=0) < rows.max(axis=0)) & (ours.all(axis=0) | ~ours.any(axis=0))).sum())
    if lost <= _MANY_SILENCED * rows.shape[1]:
        return []
    return [
        f"that makes {lost:,} of {rows.shape[1]:,} columns 0 or 1 throughout, although they vary; if they differ in "
        "scale, make them 0 and 1 column by column yourself"
    ]


def _settings(
    n_train: int, n_units: int, are_rows: bool, changes: dict[str, Any], reasons: list[str]
) -> dict[str, Any]:
    """Machine, training and pruning; the reasons name what depends on the data."""
    hidden = _hidden(n_units, are_rows, changes, reasons)
    synapses = n_units * hidden[0] + sum(lower * upper for lower, upper in pairwise(hidden))
    training = chosen_for(n_train, (n_units, *hidden))
    n_epochs, batch, (first, last) = (training[name] for name in ("n_epochs", "batch_size", "learning_rate"))
    if not {"training.n_epochs", "training.batch_size"} & changes.keys():
        reasons.append(
            f"training.n_epochs = {n_epochs}, batch_size = {batch}: about {n_epochs * n_train // batch:,} updates with "
            f"{n_train:,} training rows; Adam, learning rates {first:g} to {last:g}"
        )
    training = {name: list(v) if isinstance(v, tuple) else v for name, v in training.items()} | {"max_norm": 6.0}
    content: dict[str, Any] = {
        "criteria": list(CRITERIA),
        "model": {"hidden": hidden, "weight_scale": 0.1, "hidden_bias": 0.0 if n_units <= MAX_UNITS else -2.0},
        "training": training,
        "retraining": training
        | {"n_epochs": max(1, n_epochs // 5), "learning_rate": list(rates_for(n_units, 0.005, 0.0005))},
        "pruning": {"fraction": 0.3},
    }
    if len(hidden) > 1:
        content["pretraining"] = training | {"method": "cd", "learning_rate": list(rates_for(n_units, 0.01, 0.001))}
        content["pruning"] = {"fraction": 0.3, "zeros": "all"}
    return content | _sampling(n_units, hidden, synapses, changes, reasons)


def _hidden(n_units: int, are_rows: bool, changes: dict[str, Any], reasons: list[str]) -> list[int]:
    """Units of the hidden layers: those that are set, or one layer."""
    if n_units <= MAX_UNITS:
        number, why = max(10, 2 * n_units), "twice the visible units"
    elif are_rows:
        most = 400 if n_units <= 1000 else 200
        number, why = min(n_units, most), f"as many as visible units, at most {most}"
    else:
        number, why = min(max(20, n_units // 2), 100), "half of the visible units, from 20 to 100"
    if "model.hidden" not in changes:
        reasons.append(f"model.hidden = [{number}]: {why}")
        return [number]
    try:
        return list(ModelSettings(hidden=changes["model.hidden"]).hidden)
    except ValidationError:  # told in words where all settings are checked
        return [number]


def _sampling(
    n_units: int, hidden: list[int], synapses: int, changes: dict[str, Any], reasons: list[str]
) -> dict[str, Any]:
    """How importance and samples are drawn: exactly where that is possible, else as long as time allows."""
    per_sweep = 4 * synapses  # multiplications of one chain, with what goes beside
    n_temperatures = int(min(1000, max(100, _ANNEALING_WORK / (_STAGES / 2 * per_sweep * _ANNEALED))))
    n_chain_sweeps = int(min(300, max(60, _IMPORTANCE_WORK / (_STAGES / 2 * per_sweep * _IMPORTANT))))
    samples = 2 * EvaluationSettings().n_samples  # free ones, and those for a label
    found: dict[str, Any] = {
        "evaluation": {
            "n_sweeps": int(min(50, max(15, _SAMPLE_WORK / (_STAGES * per_sweep * samples)))),
            "annealing": "retrained",
            "n_annealing_chains": _ANNEALED,
            "n_temperatures": n_temperatures,
        }
    }
    if len(hidden) == 1 and min(n_units, *hidden) <= MAX_UNITS:
        if "importance" not in changes:
            reasons.append("importance = exact: one side of the machine can be summed")
        return found | {"importance": "exact"}
    return found | {
        "importance": {
            "sampler": "gibbs",
            "n_chains": _IMPORTANT,
            "n_draws": _DRAWS,
            "n_sweeps": max(1, 2 * n_chain_sweeps // (3 * _DRAWS)),
            "n_burn_in": n_chain_sweeps // 3,
        }
    }
