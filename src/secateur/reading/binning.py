"""From spike trains to counts: where epochs begin and end, where bins lie, and which bin every spike falls into."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Integer

from secateur.reading.notes import counted, listed
from secateur.reading.spike_trains import Intervals, SpikeTrains, checked_intervals, common_intervals

EDGE = 1e-6
"""A spike closer than this share of a bin to an edge lies on it: far above float64's errors, below any clock's tick."""


@dataclass(frozen=True)
class Epochs:
    """The time that is cut into bins: pieces, none of which a bin may leave, and the epoch and segment of each.

    Attributes
    ----------
    pieces
        ``(k, 2)`` start and stop in seconds on the clock of the piece's segment; by segment, then by time.
    segments, numbers
        Segment and epoch (0-based, non-decreasing) of each piece.
    remarks
        How they were found.
    """

    pieces: Float[np.ndarray, "pieces 2"]
    segments: Int[np.ndarray, " pieces"]
    numbers: Int[np.ndarray, " pieces"]
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Counts:
    """Spike counts by bin and unit, kept only where there are spikes.

    Attributes
    ----------
    n_units
        Number of columns.
    bin_starts, epochs
        Start in seconds and epoch number of every bin.
    bins, units, spikes
        Bin, unit and number of spikes (at least 1) of every non-zero count.
    remarks
        What counting has to say.
    """

    n_units: int
    bin_starts: Float[np.ndarray, " bins"]
    epochs: Int[np.ndarray, " bins"]
    bins: Int[np.ndarray, " counts"]
    units: Int[np.ndarray, " counts"]
    spikes: Int[np.ndarray, " counts"]
    remarks: tuple[str, ...] = ()


def find_epochs(
    trains: SpikeTrains,
    chosen: Integer[np.ndarray, " units"],
    bin_size: float,
    ep: Intervals | None,
    window: float | None,
) -> Epochs:
    """Epochs of a recording: as given, else as the recording's source states, else from first to last spike.

    Where units were observed at different times only the time common to all of them counts, since a word needs
    every unit.

    Parameters
    ----------
    trains
        All units of the recording, those that will be left out too: their spikes also show when it ran.
    chosen
        Numbers of the units that make words; only their stated intervals count.
    bin_size, window
        Seconds; a window is a piece of every epoch between multiples of ``window``.
    ep
        Seconds, on the clock of every segment.

    Raises
    ------
    ValueError
        If the units were never observed together, or no epoch holds a bin; or one of ``ep`` does not.
    """
    found, guessed, silent = [], False, []
    for segment, name in enumerate(trains.segment_ids):
        stated = _stated(trains, segment, chosen) if ep is None else ep
        times = trains.times[trains.segments == segment]
        if times.size == 0 and segment not in trains.observed:
            silent.append(name)
            continue
        if stated is None:
            guessed, stated = True, _around(times, window)
        found += [(segment, start, stop) for start, stop in stated]
    remarks = []
    if silent:
        remarks.append(f"{counted(len(silent), 'epoch')} without a spike taken as not recorded: {listed(silent)}")
    if guessed:
        what = "the window of its first spike to that of its last" if window else "its first spike to its last"
        remarks.append(f"no time range is stated: every epoch taken from {what}; give ep if it was longer")
    kept = [row for row in found if row[2] - row[1] >= bin_size * (1 - EDGE)]
    if not kept or (ep is not None and len(kept) < len(found)):
        lengths = [stop - start for _, start, stop in found]
        which = "no epoch holds one bin" if not kept else "an epoch of ep is shorter than a bin"
        raise ValueError(
            f"bin_size is {bin_size:g} s but {which} (the shortest lasts {min(lengths, default=0):g} s, the longest "
            f"{max(lengths, default=0):g} s); take smaller bins or longer epochs, and check time_units"
        )
    if len(kept) < len(found):
        remarks.append(f"{counted(len(found) - len(kept), 'epoch')} shorter than a bin left out")
    pieces = [(segment, number, *piece) for number, (segment, *ends) in enumerate(kept) for piece in _cut(ends, window)]
    return Epochs(
        np.array([piece[2:] for piece in pieces]),
        np.array([piece[0] for piece in pieces]),
        np.array([piece[1] for piece in pieces]),
        tuple(remarks),
    )


def _stated(trains: SpikeTrains, segment: int, chosen: Integer[np.ndarray, " units"]) -> Intervals | None:
    by_unit = trains.observed.get(segment, {})
    stated = [by_unit[unit] for unit in chosen.tolist() if unit in by_unit]
    if not stated:
        return None
    common = common_intervals(stated)
    if len(common) == 0:
        raise ValueError(
            "the stated observation intervals of the units have no time in common, so there are no words of all units; "
            "leave units out (units=...) or give ep"
        )
    return checked_intervals(common, "observation intervals")


def _around(times: Float[np.ndarray, " spikes"], window: float | None) -> Intervals:
    first, last = times.min(), times.max()
    if window is None:
        return np.array([[first, last]])
    first_window, last_window = np.floor(np.array([first, last]) / window + EDGE)
    return np.array([[first_window * window, (last_window + 1) * window]])


def _cut(ends: list[float], window: float | None) -> list[tuple[float, float]]:
    start, stop = ends
    if window is None:
        return [(start, stop)]
    inner = np.arange(np.floor(start / window + EDGE) + 1, np.ceil(stop / window - EDGE)) * window
    edges = [start, *inner.tolist(), stop]
    return list(zip(edges[:-1], edges[1:], strict=True))


def count(trains: SpikeTrains, epochs: Epochs, bin_size: float) -> Counts:
    """Count spikes in bins ``[start, start + bin_size)`` from the start of every piece on.

    A spike within ``EDGE`` of a bin's start lies in that bin, so that float errors move none; the last edge of an epoch
    belongs to its last bin. What is left of a piece after its last whole bin is left out, and told.
    """
    starts, stops = epochs.pieces.T
    tolerance = _tolerance(bin_size, epochs)
    n_bins = np.floor((stops - starts + tolerance) / bin_size).astype(np.int64)
    first_bins = np.cumsum(n_bins) - n_bins
    inside = np.full(len(trains.times), -1, np.int64)  # bin of each spike
    n_outside = n_partial = 0
    for segment in range(len(trains.segment_ids)):
        own = np.flatnonzero(epochs.segments == segment)
        spikes = np.flatnonzero(trains.segments == segment)
        if own.size == 0:
            n_outside += spikes.size
            continue
        times = trains.times[spikes]
        piece = np.searchsorted(starts[own], times + tolerance, side="right") - 1
        before = piece < 0
        piece = own[np.maximum(piece, 0)]
        steps = (times - starts[piece]) / bin_size
        nearest = np.rint(steps)
        step = np.where(np.abs(steps - nearest) * bin_size <= tolerance, nearest, np.floor(steps)).astype(np.int64)
        outside = before | (times > stops[piece] + tolerance)
        last_edge = ~outside & (step == n_bins[piece]) & (stops[piece] - times <= tolerance)
        step -= last_edge & (stops[piece] - starts[piece] - n_bins[piece] * bin_size <= tolerance)
        partial = ~outside & (step >= n_bins[piece])
        n_outside, n_partial = n_outside + int(outside.sum()), n_partial + int(partial.sum())
        inside[spikes] = np.where(outside | partial, -1, first_bins[piece] + step)
    n_units = len(trains.unit_ids)
    kept = inside >= 0
    cells, spikes_of_cells = np.unique(inside[kept] * n_units + trains.units[kept], return_counts=True)
    steps_of_bins = np.arange(n_bins.sum()) - np.repeat(first_bins, n_bins)
    return Counts(
        n_units,
        np.repeat(starts, n_bins) + steps_of_bins * bin_size,
        np.repeat(epochs.numbers, n_bins),
        cells // n_units,
        cells % n_units,
        spikes_of_cells,
        _losses(float((stops - starts - n_bins * bin_size).clip(0).sum()), tolerance, n_partial, n_outside),
    )


def _tolerance(bin_size: float, epochs: Epochs) -> float:
    """Seconds within which a time lies on an edge; clocks that count from 1970 are less exact than ``EDGE``."""
    return max(EDGE * bin_size, 4 * float(np.finfo(float).eps * np.abs(epochs.pieces).max()))


def _losses(seconds: float, tolerance: float, n_partial: int, n_outside: int) -> tuple[str, ...]:
    remarks = []
    if seconds > tolerance:
        remarks.append(f"{seconds:.4g} s with {counted(n_partial, 'spike')} left out where epochs end within a bin")
    if n_outside:
        remarks.append(f"{counted(n_outside, 'spike')} outside every epoch left out")
    return tuple(remarks)
