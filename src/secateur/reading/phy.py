"""Folders of phy and Kilosort: spike times in samples, clusters, and what was said of the clusters."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from secateur.reading import tables
from secateur.reading.spike_trains import SpikeTrains
from secateur.storage.limits import MAX_BYTES, MAX_LABELS_BYTES
from secateur.storage.npz import read_npy

LABELS = ("cluster_info.tsv", "cluster_group.tsv", "cluster_groups.csv", "cluster_KSLabel.tsv")


def read_folder(folder: Path, time_units: str | float | None) -> SpikeTrains:
    """Trains of ``spike_times.npy`` and ``spike_clusters.npy`` (or ``spike_templates.npy``).

    The sampling rate is that of ``params.py`` unless ``time_units`` gives it.

    Raises
    ------
    ValueError
        If the folder is none of phy, or the sampling rate is not known.
    """
    clusters = next(
        (folder / f"spike_{n}.npy" for n in ("clusters", "templates") if (folder / f"spike_{n}.npy").is_file()), None
    )
    if clusters is None or not (folder / "spike_times.npy").is_file():
        raise ValueError(
            f"{folder} is a folder without spike_times.npy and spike_clusters.npy, so none of phy or "
            "Kilosort; give a file"
        )
    table = {"time": read_npy(folder / "spike_times.npy", MAX_BYTES), "unit": read_npy(clusters, MAX_BYTES)}
    rate = _sampling_rate(folder) if time_units is None else time_units
    found = tables.from_table(table, {"time": "time", "unit": "unit"}, rate, ("unit",))
    properties = _labels(folder, found.unit_ids)
    remarks = found.remarks
    if "group" in properties:
        kinds, counts = np.unique(properties["group"], return_counts=True)
        listed = ", ".join(f"{count} {kind}" for kind, count in zip(kinds, counts, strict=True))
        remarks = (*remarks, f"groups of the folder: {listed}; groups='good' keeps those of one kind")
    return replace(found, properties=properties, remarks=remarks)


def _sampling_rate(folder: Path) -> float:
    path = folder / "params.py"
    stated = re.search(r"^\s*sample_rate\s*=\s*([0-9.eE+]+)", _text(path), re.MULTILINE) if path.is_file() else None
    if stated is None:
        raise ValueError(f"{folder} has no params.py with a sample_rate; say time_units=RATE (in Hz)")
    return float(stated[1])


def _labels(folder: Path, unit_ids: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Columns of the tables of clusters, ``unsorted`` where a cluster is not in them; curated groups go first."""
    found: dict[str, np.ndarray] = {}
    for name in LABELS:
        if not (folder / name).is_file():
            continue
        lines = [re.split(r"[\t,]", line) for line in _text(folder / name).splitlines() if line.strip()]
        header = [cell.strip().lower() for cell in lines[0]] if lines else []
        key = next((header.index(each) for each in ("cluster_id", "id") if each in header), None)
        if key is None:
            continue
        rows = {line[key].strip(): line for line in lines[1:] if len(line) == len(header)}
        for column, title in enumerate(header):
            if column != key:
                entries = [rows[unit][column].strip() if unit in rows else "" for unit in unit_ids]
                found.setdefault(title, np.array([entry or "unsorted" for entry in entries]))
    if "group" not in found and "kslabel" in found:
        found["group"] = found["kslabel"]
    return found


def _text(path: Path) -> str:
    if path.stat().st_size > MAX_LABELS_BYTES:
        raise ValueError(f"{path} is too large for a table of clusters or parameters")
    return path.read_text("utf-8", "replace")
