"""Units of Neurodata Without Borders files (NWB 2), read through plain HDF5.

Columns of several entries per unit are ragged: ``NAME`` holds all entries and ``NAME_index`` where those of each unit
end (HDMF's VectorIndex, which pynwb writes with as few bits as hold the numbers, 8 for small files).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from secateur.reading.spike_trains import SpikeTrains, from_units, per_second, text


def is_nwb(file: h5py.File) -> bool:
    """Whether an HDF5 file says that it is NWB."""
    return "nwb_version" in file.attrs or text(file.attrs.get("neurodata_type", "")) == "NWBFile"


def read_nwb(file: h5py.File, path: Path, time_units: str | float | None = None) -> SpikeTrains:
    """Trains of the table ``/units``: spike times, ids, observation intervals, plain columns, and lists of epochs.

    Times are seconds, as NWB demands, unless ``time_units`` says otherwise.

    Raises
    ------
    ValueError
        If the file has no units or no spike times, or its index columns do not fit.
    """
    units = file.get("units")
    if not isinstance(units, h5py.Group):
        raise ValueError(f"{path} is an NWB file without units (no table /units), so it holds no sorted spikes")
    if "spike_times" not in units or "spike_times_index" not in units:
        raise ValueError(f"{path} is an NWB file whose table /units holds no spike_times")
    trains = _ragged(units, "spike_times", path)
    ids = units["id"][()] if "id" in units else np.arange(len(trains))
    observed = _ragged(units, "obs_intervals", path) if "obs_intervals_index" in units else None
    properties = {
        name: _column(item)
        for name, item in units.items()
        if isinstance(item, h5py.Dataset)
        and item.shape == (len(trains),)
        and name != "id"
        and not name.endswith("_index")
        and f"{name}_index" not in units
        and h5py.check_ref_dtype(item.dtype) is None
    }
    named = _named_epochs(file, per_second(time_units))
    found = from_units(trains, ids.tolist(), time_units, observed, properties=properties, named_epochs=named)
    offered = tuple(f"the file has {len(times)} {name}; ep='{name}' makes them epochs" for name, times in named.items())
    return replace(found, remarks=(*found.remarks, *offered))


def _named_epochs(file: h5py.File, rate: float) -> dict[str, np.ndarray]:
    """Start and stop of trials and of epochs, by name."""
    found = {}
    for name in ("trials", "epochs"):
        table = file.get(f"intervals/{name}")
        if isinstance(table, h5py.Group) and {"start_time", "stop_time"} <= set(table):
            found[name] = np.stack([table["start_time"][()], table["stop_time"][()]], axis=1).astype(np.float64) / rate
    return found


def _column(item: h5py.Dataset) -> np.ndarray:
    values = item[()]
    return np.array([text(value) for value in values]) if values.dtype.kind in "OS" else values


def _ragged(units: h5py.Group, name: str, path: Path) -> list[Any]:
    values = units[name][()]
    ends = units[f"{name}_index"][()].astype(np.int64)  # differences of 8-bit numbers would wrap around
    starts = np.concatenate([[0], ends[:-1]])
    if (ends < starts).any() or (len(ends) and ends[-1] != len(values)):
        raise ValueError(
            f"{path} is damaged: {name}_index does not fit the {len(values)} rows of {name}; write it again"
        )
    return [values[start:end] for start, end in zip(starts, ends, strict=True)]
