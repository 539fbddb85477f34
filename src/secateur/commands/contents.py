"""What words, fitted recordings and studies are, in a few lines for ``secateur info``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from secateur.studies import StudyFolder
    from secateur.studies.settings import StudyConfig

_MOST_TRIALS = 15
"""Trials whose rounds are listed one by one."""


def described(path: Path) -> str | None:
    """Lines on a words file or the folder of a fitted recording or a study; ``None`` for anything else.

    Raises
    ------
    ValueError
        If it is damaged; the message says which file.
    """
    from secateur.reading.words import is_words_file
    from secateur.recordings.folder import is_recording

    if path.is_file():
        return _words(path) if is_words_file(path) else None
    if is_recording(path):
        return _recording(path)
    from secateur.storage.folders import replacement_of

    places = (path, replacement_of(path))
    return _study(path) if any(place and (place / "study.toml").is_file() for place in places) else None


def _words(path: Path) -> str:
    from secateur.reading.notes import listed
    from secateur.reading.words import load_words

    found = load_words(path)
    numbers, n_bins = np.unique(found.epochs, return_counts=True)
    epochs = listed(f"{number} ({n:,} bins)" for number, n in zip(numbers, n_bins, strict=True))
    lines = [
        f"{path}: words of a recording, {path.stat().st_size:,} bytes",
        f"here: {found.states.shape[0]:,} bins x {found.states.shape[1]:,} units, {found.states.mean():.2%} of them 1",
        f"units: {listed(found.unit_ids)}",
        f"epochs: {epochs}",
        str(found),
    ]
    return "\n".join(lines)


def _recording(path: Path) -> str:
    from secateur.reading.words import load_words
    from secateur.recordings.folder import RecordingFolder
    from secateur.recordings.pruned import pruned_results

    folder = RecordingFolder.open(path)
    settings, facts, attributes = folder.settings, folder.provenance, folder.results.attrs
    chosen = ", ".join(f"{name} {_plain(value)}" for name, value in settings.items() if name != "words")
    lines = [f"{path}: fitted recording of {settings['words']}, finished {facts.get('finished', 'at an unknown time')}"]
    words = path / "words.npz"
    if words.is_file():
        lines.append(f"words: {str(load_words(words)).splitlines()[0]}")
    lines += [f"settings: {chosen}", *_texts(attributes.get("findings"))]
    warnings = _texts(attributes.get("warnings"))
    lines += [f"warning: {sentence}" for sentence in warnings] or ["warnings: none"]
    for what, pruned in pruned_results(path).items():
        lines += [f"pruned ({what}): {text}" for text in _texts(pruned.attrs["sentences"])]
    return "\n".join([*lines, _machines(path), _report(path)])


def _texts(stored: Any) -> list[str]:
    """Sentences of an attribute, which may come back as one text, a list or an array."""
    return [] if stored is None else [str(text) for text in np.atleast_1d(stored)]


def _study(path: Path) -> str:
    from secateur.studies.config import load_config
    from secateur.studies.store import StudyFolder

    unfinished = StudyFolder.is_unfinished(path)
    folder = StudyFolder(path)
    if not (path / "study.toml").is_file():  # a first run that was begun beside
        from secateur.storage.folders import replacement_of

        folder = StudyFolder(replacement_of(path) or path)
    # Rules of one's own need not be there to be listed.
    config = load_config(folder.path / "study.toml", finished=True)
    lines = [f"{path}: study {config.name} (size {config.size}): {config.title}"]
    if unfinished:
        what = "what shall take its place was begun" if folder.is_finished else "not finished"
        lines.append(f"{what}; continue with 'secateur resume {path}'")
    if folder.is_finished:
        facts = folder.provenance
        seconds = sum(one.get("total_seconds", 0) for one in facts.get("sessions", [])) or facts.get("total_seconds", 0)
        lines.append(f"finished, {seconds:.0f} s in all")
    rows = config.data.rows
    named = f" {rows if isinstance(rows, str) else ', '.join(rows)}" if rows else ""
    lines += [
        f"data: {config.data.dataset}{named}; hidden units {_plain(list(config.model.hidden))}; seed {config.seed}",
        f"{config.trials} trials of {config.rounds} rounds that take {_plain(config.pruning.fraction)} of the synapses",
        *_rounds(folder, config),
        _machines(folder.path),
    ]
    return "\n".join([*lines, _report(folder.path)])


def _rounds(folder: StudyFolder, config: StudyConfig) -> list[str]:
    """How many rounds every rule has behind it, by the machines that are there."""

    def done(trial: int, criterion: str) -> int:
        return sum(folder.machine_path(trial, criterion, n).is_file() for n in range(1, config.rounds + 1))

    trained = sum(folder.machine_path(trial, "", 0).is_file() for trial in range(config.trials))
    lines = [f"trained: {trained} of {config.trials} trials; rounds finished by every trial:"]
    width = max(map(len, config.criteria))
    for criterion in config.criteria:
        rounds = [done(trial, criterion) for trial in range(config.trials)]
        if len(rounds) > _MOST_TRIALS:
            told = f"{min(rounds)} to {max(rounds)}, {sum(rounds)} of {config.rounds * config.trials} in all"
        else:
            told = " ".join(map(str, rounds))
        lines.append(f"  {criterion:{width}}  {told}")
    return lines


def _machines(path: Path) -> str:
    files = sorted((path / "machines").rglob("*.safetensors"))
    if not files:
        return "machines: none yet"
    if len(files) == 1:
        return f"machine: {files[0]}"
    first, last = (file.relative_to(path).as_posix() for file in (files[0], files[-1]))
    return f"machines: {len(files):,} files, {first} to {last}; 'secateur info {path / 'machines'}' lists them"


def _report(path: Path) -> str:
    there = (path / "report.html").is_file()
    return f"report: {path / 'report.html' if there else 'none yet'}"


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(part)}" for name, part in value.items())
    return ", ".join(map(_plain, value)) if isinstance(value, list | tuple) else str(value)
