"""Spike trains in one normal form, whatever they came from: times in seconds, units, stretches of one clock each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Num

from secateur.reading.notes import counted, listed, shortened

LONGEST_NAME = 200
"""Characters of a unit's or an epoch's name."""
PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6}

Intervals = Float[np.ndarray, "_ 2"]
"""Start and stop of each interval in seconds, in order of time, without overlap."""


@dataclass(frozen=True)
class SpikeTrains:
    """Spike trains of a recording.

    A *segment* is a stretch with a clock of its own; most recordings have one. Trains carry what the recording's source
    states about the time observed, and nothing that was guessed.

    Attributes
    ----------
    times
        Seconds on the clock of the spike's segment; ascending within each unit and segment.
    units, segments
        Numbers of each spike's unit and segment.
    unit_ids, segment_ids
        Their names.
    observed
        For each segment the intervals observed, by number of the unit; a unit (or segment) is absent where the source
        says nothing.
    properties
        Values of each unit (quality, single or multi-unit, ...), by name.
    remarks
        What reading them has to say.
    named_epochs
        Lists of epochs that the source holds by name, such as the trials of an NWB file.
    """

    times: Float[np.ndarray, " spikes"]
    units: Int[np.ndarray, " spikes"]
    segments: Int[np.ndarray, " spikes"]
    unit_ids: tuple[str, ...]
    segment_ids: tuple[str, ...] = ("0",)
    observed: Mapping[int, Mapping[int, Intervals]] = field(default_factory=dict)
    properties: Mapping[str, np.ndarray] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    named_epochs: Mapping[str, Intervals] = field(default_factory=dict)


def per_second(time_units: str | float | None) -> float:
    """How many units of time make a second; None stands for seconds.

    Parameters
    ----------
    time_units
        ``"s"``, ``"ms"``, ``"us"``, or a sampling rate in Hz for times that count samples (ticks).

    Raises
    ------
    ValueError
        If it is none of these.
    """
    if time_units is None:
        return 1.0
    if isinstance(time_units, str) and time_units in PER_SECOND:
        return PER_SECOND[time_units]
    try:
        rate = float(time_units)
    except (TypeError, ValueError):
        rate = 0.0
    if not 0 < rate < np.inf:
        raise ValueError(
            f"time_units must be one of {', '.join(PER_SECOND)}, or a sampling rate in Hz for times in samples, "
            f"got {time_units!r}"
        )
    return rate


def in_seconds(times: Any, time_units: str | float | None) -> Float[np.ndarray, " spikes"]:
    """Times in seconds, float64; quantities with units of their own bring these.

    Single precision is read as the shortest decimal that it stands for (0.02, not 0.0199999996), so that times on the
    edges of bins stay there.

    Raises
    ------
    ValueError
        If ``times`` are not numbers, not one-dimensional, or infinite.
    """
    if hasattr(times, "rescale"):
        times, time_units = times.rescale("s").magnitude, "s"
    values = np.asarray(times)
    if values.dtype.kind not in "iuf":
        raise ValueError(f"times must be numbers (decimals with points), got {shortened(_first_odd(values))!r}")
    short = values.dtype.kind == "f" and values.dtype.itemsize < 8
    values = values.astype(str).astype(np.float64) if short else values.astype(np.float64)
    if values.ndim == 2 and 1 in values.shape:  # a column of MATLAB
        values = values.ravel()
    if values.ndim != 1:
        raise ValueError(f"times must be one-dimensional, got shape {values.shape}; for words say orientation")
    if np.isinf(values).any():
        raise ValueError(f"times must be finite (NaN marks a placeholder), got {np.isinf(values).sum()} infinite times")
    return values / per_second(time_units)


def _first_odd(values: np.ndarray) -> Any:
    for value in values.ravel().tolist():
        try:
            float(value)
        except (TypeError, ValueError):
            return value
    return values.dtype.name


def names(ids: Any, what: str = "unit ids") -> tuple[Int[np.ndarray, " spikes"], tuple[str, ...], np.ndarray]:
    """Number the values of an id column: each entry's number, the names in ascending order, and the distinct values.

    Raises
    ------
    ValueError
        If ids are neither whole numbers nor texts, or too long.
    """
    values = np.asarray(ids).ravel()
    if values.dtype.kind == "O":
        values = values.astype(str)
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise ValueError(
                f"{what} are missing or infinite in {(~np.isfinite(values)).sum()} rows; give every row one"
            )
        if (values != np.rint(values)).any():
            example = values[values != np.rint(values)][0]
            raise ValueError(f"{what} must be whole numbers or texts, got {example}; are times and ids swapped?")
        values = values.astype(np.int64)
    elif values.dtype.kind not in "iubSUT":
        raise ValueError(f"{what} must be whole numbers or texts, got {values.dtype} values")
    distinct, numbers = np.unique(values, return_inverse=True)
    return numbers.astype(np.int64), checked_names(list(distinct), what), distinct


def checked_names(ids: Sequence[Any], what: str = "unit ids") -> tuple[str, ...]:
    """Names as texts, none of which is longer than a name may be.

    Raises
    ------
    ValueError
        If there is such a name.
    """
    texts = tuple(text(value) for value in ids)
    long = next((name for name in texts if len(name) > LONGEST_NAME), None)
    if long is not None:
        raise ValueError(
            f"{what} may have {LONGEST_NAME} characters, got {len(long):,} ({shortened(long)}); give shorter ones"
        )
    return texts


def text(value: Any) -> str:
    """A name as text; bytes of MATLAB and HDF5 are decoded."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def from_units(
    trains: Sequence[Any],
    unit_ids: Sequence[Any],
    time_units: str | float | None = None,
    observed: Sequence[Any] | None = None,
    **more: Any,
) -> SpikeTrains:
    """Trains given unit by unit, on one clock.

    Parameters
    ----------
    trains
        One array of times per unit; NaN entries are placeholders and say nothing.
    unit_ids
        One per train.
    time_units
        Of the trains and of ``observed``; see :func:`per_second`.
    observed
        Intervals observed ``(k, 2)`` per unit, None or empty where unknown.
    more
        Other fields of :class:`SpikeTrains`.

    Raises
    ------
    ValueError
        If a train is not a list of times, or its intervals are impossible; the message names the unit.
    """
    times, ids = [], checked_names(unit_ids)
    if len(set(ids)) < len(ids):
        twice = sorted({unit for unit in ids if ids.count(unit) > 1})
        raise ValueError(f"unit ids must differ, got {listed(twice)} more than once")
    intervals: dict[int, Intervals] = {}
    for number, (train, unit) in enumerate(zip(trains, ids, strict=True)):
        try:
            times.append(in_seconds(train if np.size(train) else [], time_units))
            if observed is not None and observed[number] is not None and np.size(observed[number]):
                stated = np.asarray(observed[number], np.float64) / per_second(time_units)
                intervals[number] = checked_intervals(stated, "the stated time range")
        except (TypeError, ValueError) as error:
            raise ValueError(f"unit {unit}: {error}") from error
    all_times = np.concatenate([np.zeros(0), *times])
    units = np.repeat(np.arange(len(ids)), [len(train) for train in times])
    missing = np.isnan(all_times)
    remarks = (f"{counted(int(missing.sum()), 'NaN time')} taken as placeholders",) if missing.any() else ()
    return SpikeTrains(
        all_times[~missing],
        units[~missing],
        np.zeros((~missing).sum(), np.int64),
        ids,
        observed={0: intervals},
        **{"remarks": remarks} | more,
    )


def joined(parts: Sequence[SpikeTrains], segment_ids: Sequence[str] | None = None) -> SpikeTrains:
    """Parts with clocks of their own, one after the other; units of one name are one unit.

    Parameters
    ----------
    parts
        At least one.
    segment_ids
        One per segment of all parts; counted from 0 without.
    """
    unit_ids = tuple(dict.fromkeys(unit for part in parts for unit in part.unit_ids))
    places = {unit: number for number, unit in enumerate(unit_ids)}
    firsts = np.cumsum([0, *(len(part.segment_ids) for part in parts)])
    renumbered = [np.array([places[unit] for unit in part.unit_ids], np.int64) for part in parts]
    absent = sorted({unit for part in parts for unit in set(unit_ids) - set(part.unit_ids)})
    told = (f"units {listed(absent)} are missing in some parts and were taken as silent there",) if absent else ()
    same = all(part.unit_ids == unit_ids for part in parts)
    return SpikeTrains(
        np.concatenate([part.times for part in parts]),
        np.concatenate([new[part.units] for new, part in zip(renumbered, parts, strict=True)]),
        np.concatenate([first + part.segments for first, part in zip(firsts[:-1], parts, strict=True)]),
        unit_ids,
        tuple(str(number) for number in range(firsts[-1])) if segment_ids is None else tuple(segment_ids),
        {
            int(first) + segment: {int(new[unit]): stated for unit, stated in by_unit.items()}
            for first, new, part in zip(firsts[:-1], renumbered, parts, strict=True)
            for segment, by_unit in part.observed.items()
            if by_unit
        },
        parts[0].properties if same else {},
        remarks=(*dict.fromkeys(remark for part in parts for remark in part.remarks), *told),
    )


def overlap(times: Float[np.ndarray, " spikes"], parts: Int[np.ndarray, " spikes"]) -> bool:
    """Whether the time ranges of parts overlap, which those of one running clock never do."""
    if len(times) == 0:
        return False
    _, numbers = np.unique(parts, return_inverse=True)
    first, last = np.full(numbers.max() + 1, np.inf), np.full(numbers.max() + 1, -np.inf)
    np.minimum.at(first, numbers, times)
    np.maximum.at(last, numbers, times)
    order = np.argsort(first)
    return bool((last[order][:-1] > first[order][1:]).any())


def checked_intervals(given: Any, what: str) -> Intervals:
    """Intervals as a float64 array ``(k, 2)``; a single pair is one interval.

    Raises
    ------
    ValueError
        If they are not pairs, not finite, empty or backwards, out of order, or overlap.
    """
    intervals: Num[np.ndarray, ...] = np.asarray(given, np.float64)
    intervals = intervals[None] if intervals.shape == (2,) else intervals
    if intervals.ndim != 2 or intervals.shape[1] != 2 or len(intervals) == 0:
        raise ValueError(f"{what} must be pairs (start, stop) in seconds, got shape {intervals.shape}")
    if not np.isfinite(intervals).all():
        raise ValueError(f"{what} must be finite, got {intervals.tolist()[:3]}")
    backwards = intervals[:, 1] <= intervals[:, 0]
    if backwards.any():
        start, stop = intervals[backwards][0]
        raise ValueError(f"{what} must have start < stop, got ({start:g}, {stop:g})")
    early = intervals[1:, 0] < intervals[:-1, 1]
    if early.any():
        before, after = intervals[:-1][early][0], intervals[1:][early][0]
        raise ValueError(
            f"{what} must be in order of time and must not overlap, got ({before[0]:g}, {before[1]:g}) before "
            f"({after[0]:g}, {after[1]:g})"
        )
    return intervals


def common_intervals(many: Sequence[Intervals]) -> Intervals:
    """Times inside some interval of every list: the intersection, ``(k, 2)``, possibly empty."""
    distinct = list({intervals.tobytes(): intervals for intervals in many}.values())
    common = distinct[0]
    for other in distinct[1:]:
        starts = np.maximum(common[:, None, 0], other[None, :, 0])
        stops = np.minimum(common[:, None, 1], other[None, :, 1])
        overlap = starts < stops
        common = np.stack([starts[overlap], stops[overlap]], axis=1)
    return common
