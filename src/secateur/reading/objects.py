"""Objects of other libraries, known by their attributes and never imported.

pynapple ``TsGroup`` and ``TsdFrame``, elephant ``BinnedSpikeTrain``, lists of neo ``SpikeTrain``, spikeinterface
sortings, pynwb files and units tables. They state units of time, ids and time ranges themselves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from secateur.reading import ready
from secateur.reading.ready import ReadyWords
from secateur.reading.spike_trains import SpikeTrains, checked_intervals, from_units, joined, text


def read_object(data: Any, bin_size: float | None) -> SpikeTrains | ReadyWords | None:
    """Trains or words of an object of another library; None if it is none that is known.

    Raises
    ------
    ValueError
        If it holds no units, or words of another bin size than asked for.
    """
    if _has(data, "time_support", "keys", "index"):
        return _pynapple_group(data)
    if _has(data, "time_support", "columns", "values", "t"):
        return _pynapple_frame(data, bin_size)
    if _has(data, "sparse_matrix", "bin_size", "t_start", "to_array"):
        return _elephant(data, bin_size)
    if _has(data, "get_unit_spike_train", "get_num_segments", "unit_ids"):
        return _spikeinterface(data)
    if _has(data, "session_start_time", "units"):
        if data.units is None:
            raise ValueError("this pynwb file has no units, so it holds no sorted spikes")
        return _pynwb_units(data.units)
    if _has(data, "get_unit_spike_times", "colnames", "id"):
        return _pynwb_units(data)
    if _has(data, "segments", "annotations") and not hasattr(data, "spiketrains"):
        return _neo_segments(list(data.segments))
    if _has(data, "spiketrains", "annotations"):
        return _neo_segments([data])
    if _has(data, "t", "i", "source", "spike_trains"):
        return _brian(data)
    if _is_neo(data):
        return _neo([data[number] for number in range(len(data))])
    return None


def _is_neo(data: Any) -> bool:
    """A list of trains with time ranges; neo's own SpikeTrainList is no list but has length and places."""
    if not _has(data, "__len__", "__getitem__") or hasattr(data, "keys") or hasattr(data, "dtype") or len(data) == 0:
        return False
    return _has(data[0], "t_start", "t_stop", "rescale") and all(_has(train, "t_start", "rescale") for train in data)


def _has(data: Any, *attributes: str) -> bool:
    return not isinstance(data, type) and all(hasattr(data, name) for name in attributes)


def _seconds(quantity: Any) -> np.ndarray:
    return np.asarray(quantity.rescale("s").magnitude, np.float64)


def _pynapple_group(group: Any) -> SpikeTrains:
    keys = list(group.keys())
    support = np.stack([group.time_support.start, group.time_support.end], axis=1)
    properties = {str(name): np.asarray(group.get_info(name)) for name in getattr(group, "metadata_columns", ())}
    trains = [np.asarray(group[key].t) for key in keys]
    return from_units(trains, keys, "s", [support] * len(keys), properties=properties)


def _pynapple_frame(frame: Any, bin_size: float | None) -> ReadyWords:
    """Counts of ``TsGroup.count``: times are the middles of bins, and epochs the intervals of the time support."""
    centres = np.asarray(frame.t, np.float64)
    step = float(np.median(np.diff(centres))) if len(centres) > 1 else math.nan
    starts = np.asarray(frame.time_support.start, np.float64)
    words = ready.from_array(
        np.asarray(frame.values), "bins x units", _same_bin_size(bin_size, step), list(frame.columns)
    )
    epochs = np.maximum(np.searchsorted(starts, centres, side="right") - 1, 0)
    return ReadyWords(words.counts, words.unit_ids, centres - step / 2, epochs, step)


def _elephant(binned: Any, bin_size: float | None) -> ReadyWords:
    step = float(_seconds(binned.bin_size))
    words = ready.from_array(binned.to_array(), "units x bins", _same_bin_size(bin_size, step))
    return ReadyWords(
        words.counts, words.unit_ids, float(_seconds(binned.t_start)) + words.bin_starts, words.epochs, step
    )


def _same_bin_size(asked: float | None, found: float) -> float:
    if asked is not None and not math.isclose(asked, found, rel_tol=1e-6):
        raise ValueError(
            f"bin_size: these counts were already made in bins of {found:g} s, got {asked:g}; leave bin_size out or "
            "give the spike trains"
        )
    return found


def _neo(trains: Sequence[Any]) -> SpikeTrains:
    observed = [[[float(_seconds(train.t_start)), float(_seconds(train.t_stop))]] for train in trains]
    labels = [_neo_label(train) for train in trains]
    named = all(labels) and len(set(labels)) == len(labels)
    ids = labels if named else [str(number) for number in range(len(trains))]
    remarks = () if named else ("units numbered in the order of the list: the trains have no names of their own",)
    return from_units([_seconds(train) for train in trains], ids, "s", observed, remarks=remarks)


def _neo_segments(segments: Sequence[Any]) -> SpikeTrains:
    """Segments of a neo Block, each with a clock of its own."""
    parts = [_neo(list(segment.spiketrains)) for segment in segments if len(segment.spiketrains)]
    if not parts:
        raise ValueError("this neo object holds no spike trains; give a Block or Segment with sorted spikes")
    return joined(parts)


def _brian(monitor: Any) -> SpikeTrains:
    """A SpikeMonitor of Brian 2, whose quantities are in seconds as arrays."""
    n_units = len(monitor.source)
    times, numbers = np.asarray(monitor.t, np.float64), np.asarray(monitor.i, np.int64)
    return from_units([times[numbers == unit] for unit in range(n_units)], range(n_units))


def _neo_label(train: Any) -> str:
    name = getattr(train, "name", None)
    return str(name) if name else str(getattr(train, "annotations", {}).get("unit_id", ""))


def _spikeinterface(sorting: Any) -> SpikeTrains:
    """Every segment has a clock of its own; without its recording the end of a segment is not known."""
    ids = list(sorting.unit_ids)
    rate = float(sorting.sampling_frequency)
    parts, observed = [], {}
    for segment in range(sorting.get_num_segments()):
        trains = [
            np.asarray(sorting.get_unit_spike_train(unit_id=unit, segment_index=segment, return_times=True), np.float64)
            for unit in ids
        ]
        parts.append(from_units(trains, ids))
        if sorting.has_recording():
            observed[segment] = dict.fromkeys(range(len(ids)), _segment_range(sorting, segment, rate))
    properties = {str(key): np.asarray(sorting.get_property(key)) for key in sorting.get_property_keys()}
    return SpikeTrains(
        np.concatenate([part.times for part in parts]),
        np.concatenate([part.units for part in parts]),
        np.repeat(np.arange(len(parts)), [len(part.times) for part in parts]),
        parts[0].unit_ids,
        tuple(str(segment) for segment in range(len(parts))),
        observed,
        {name: values for name, values in properties.items() if values.shape == (len(ids),)},
    )


def _segment_range(sorting: Any, segment: int, rate: float) -> np.ndarray:
    if sorting.has_time_vector(segment):
        times = sorting.get_times(segment)
        return checked_intervals((times[0], times[-1] + 1 / rate), "the recording's time range")
    start = float(sorting.get_start_time(segment) or 0.0)
    return checked_intervals((start, start + sorting.get_num_samples(segment) / rate), "the recording's time range")


def _pynwb_units(units: Any) -> SpikeTrains:
    if "spike_times" not in units.colnames:
        raise ValueError("this pynwb units table holds no spike_times")
    numbers = range(len(units.id))
    trains = [np.asarray(units.get_unit_spike_times(number)) for number in numbers]
    observed = None
    if "obs_intervals" in units.colnames:
        observed = [np.asarray(units.get_unit_obs_intervals(number)) for number in numbers]
    properties = {}
    for name in units.colnames:
        values = (
            np.asarray(units[name][:], dtype=object) if name not in ("spike_times", "obs_intervals") else np.zeros(0)
        )
        if values.shape == (len(trains),) and all(np.ndim(value) == 0 for value in values):
            properties[name] = np.array([text(value) for value in values])
    return from_units(trains, [text(unit) for unit in units.id[:]], "s", observed, properties=properties)
