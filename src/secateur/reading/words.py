"""Binary words of a recording: which units fired in which time bin."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Integer, UInt8

from secateur.reading.binning import Counts, count, find_epochs
from secateur.reading.checks import check_times, check_units_of_time, in_order, on_one_clock
from secateur.reading.nested import Reading
from secateur.reading.notes import ConversionNotes, listed
from secateur.reading.ready import ReadyWords
from secateur.reading.selection import select_units
from secateur.reading.sources import WORDS_FORMAT, read_source
from secateur.reading.spike_trains import Intervals, SpikeTrains, checked_intervals
from secateur.reading.tables import Columns
from secateur.storage.arrays import write_atomically
from secateur.storage.limits import MAX_WORDS_BYTES
from secateur.storage.npz import read_npz

FORMAT_VERSION = 1


@dataclass(frozen=True, eq=False)
class Words:
    """Binary words of a recording: which units fired in which time bin.

    Attributes
    ----------
    states
        ``(bins, units)``, 1 where the unit fired at least once in the bin.
    unit_ids
        One per column.
    bin_starts
        Seconds on the recording's own clock, which may restart in every epoch; in bins where the bin size is unknown.
    epochs
        Number of the epoch each bin lies in, 0-based, non-decreasing.
    bin_size
        Seconds; nan where the words came ready-made without one.
    notes
        What the conversion says.

    Raises
    ------
    ValueError
        If these do not fit each other, or states are not 0/1.
    """

    states: UInt8[np.ndarray, "bins units"]
    unit_ids: tuple[str, ...]
    bin_starts: Float[np.ndarray, " bins"]
    epochs: Integer[np.ndarray, " bins"]
    bin_size: float
    notes: ConversionNotes

    def __post_init__(self) -> None:
        if self.states.ndim != 2:
            raise ValueError(f"states must be a table (bins, units), got an array of shape {self.states.shape}")
        n_bins, n_units = self.states.shape
        if len(self.unit_ids) != n_units or self.bin_starts.shape != (n_bins,) or self.epochs.shape != (n_bins,):
            raise ValueError(
                f"states of shape {self.states.shape} need {n_units} unit_ids, {n_bins} bin_starts and epochs, got "
                f"{len(self.unit_ids)}, {self.bin_starts.shape} and {self.epochs.shape}"
            )
        if n_bins and (self.states.max(initial=0) > 1 or (np.diff(self.epochs) < 0).any() or self.epochs[0] < 0):
            raise ValueError("states must be 0/1 and epochs numbers from 0 on that never decrease")
        if not (math.isnan(self.bin_size) or 0 < self.bin_size < math.inf):
            raise ValueError(f"bin_size must be a positive number of seconds, or nan if unknown, got {self.bin_size}")

    def __str__(self) -> str:
        return self.notes.summary()

    def of_epochs(self, epochs: Sequence[int] | Integer[np.ndarray, " epochs"]) -> Words:
        """The bins of these epochs, which keep their numbers; the notes stay those of the whole conversion.

        Raises
        ------
        ValueError
            If an epoch has no bins.
        """
        unknown = np.setdiff1d(epochs, self.epochs)
        if len(unknown):
            raise ValueError(f"epochs {listed(unknown)} have no bins; there are {listed(np.unique(self.epochs))}")
        kept = np.isin(self.epochs, epochs)
        remark = f"these words are {kept.sum():,} bins of {len(np.unique(epochs))} of the epochs above"
        return replace(
            self,
            states=self.states[kept],
            bin_starts=self.bin_starts[kept],
            epochs=self.epochs[kept],
            notes=replace(self.notes, remarks=(*self.notes.remarks, remark)),
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the words to an ``.npz`` file with the attributes as arrays (``notes`` as a JSON text); no pickle.

        Raises
        ------
        ValueError
            If the file's name does not end in ``.npz``.
        """
        if Path(path).suffix != ".npz":
            raise ValueError(f"words are written to .npz files, got {str(path)!r}; name it {Path(path).stem}.npz")
        arrays: dict[str, Any] = {
            "format": np.array(WORDS_FORMAT),
            "format_version": np.array(FORMAT_VERSION),
            "states": self.states,
            "unit_ids": np.array(self.unit_ids),
            "bin_starts": self.bin_starts,
            "epochs": self.epochs,
            "bin_size": np.array(self.bin_size),
            "notes": np.array(self.notes.to_json()),
        }
        write_atomically(path, lambda temporary: np.savez_compressed(temporary, allow_pickle=False, **arrays))


def is_words_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file says of itself that it holds words of secateur; whether they are sound only reading tells."""
    if Path(path).suffix != ".npz" or not Path(path).is_file() or not zipfile.is_zipfile(path):  # no pipe, no device
        return False
    try:
        return _format(read_npz(path, MAX_WORDS_BYTES, names=["format"])) == WORDS_FORMAT
    except (ValueError, OSError):
        return False


def _format(arrays: dict[str, np.ndarray]) -> str | None:
    found = arrays.get("format")
    return str(found) if found is not None and found.shape == () else None


def load_words(path: str | os.PathLike[str]) -> Words:
    """Read words written by :meth:`Words.save`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged or holds no words of a known format version; the message says which.
    """
    try:
        arrays = read_npz(path, MAX_WORDS_BYTES)
    except ValueError as error:
        raise ValueError(f"{path} is damaged or not an .npz file ({error}); make it with 'secateur words'") from error
    if _format(arrays) != WORDS_FORMAT:
        raise ValueError(f"{path} holds no words of secateur; make them with 'secateur words' or sc.words")
    version = arrays.get("format_version")
    if version is None or version.shape != () or version != FORMAT_VERSION:
        raise ValueError(
            f"{path} has words of format version {' '.join(str(version).split())[:40]}, this secateur reads version "
            f"{FORMAT_VERSION}; install a newer secateur"
        )
    try:
        return Words(
            arrays["states"].astype(np.uint8, casting="safe", copy=False),
            tuple(str(unit) for unit in arrays["unit_ids"]),
            arrays["bin_starts"].astype(np.float64, casting="safe", copy=False),
            arrays["epochs"].astype(np.int64, casting="safe", copy=False),
            float(arrays["bin_size"]),
            ConversionNotes.from_json(str(arrays["notes"])),
        )
    except (KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{path} does not hold whole words ({reason}); make them again") from error


def words(
    data: Any,
    bin_size: float | None = None,
    ep: Any = None,
    time_units: str | float | None = None,
    binary: str = "clip",
    *,
    columns: Columns = None,
    variable: str | None = None,
    units: str | Sequence[Any] | None = None,
    window: float | None = None,
    groups: str | None = None,
    orientation: str | None = None,
    threshold: float | None = None,
    sort: bool = False,
    check_rates: bool = True,
) -> Words:
    """Binary words of a recording.

    Bins are ``[start, start + bin_size)`` from the start of every epoch on and never cross its end; what is left of
    an epoch after its last whole bin is left out. Units without a spike inside the bins are dropped. Whatever was left
    out, guessed or clipped stands in ``notes``.

    Parameters
    ----------
    data
        ``(times, ids)`` or ``(times, ids, epochs)``, one entry per spike (a tuple); a list or dict of spike-time
        arrays; an array of words or counts; a pandas table with one row per spike; the path of an ``.npz``, ``.npy``,
        text, MATLAB, NWB, SONATA or HDF5 file or of a folder of phy; a list of such ``Path``, whose files are epochs;
        a pynapple ``TsGroup`` or ``TsdFrame``, an elephant ``BinnedSpikeTrain``, a list
        of neo ``SpikeTrain``, a spikeinterface sorting, or a pynwb file. NaN times are placeholders. Where an epoch is
        named for every spike, each epoch has its own clock.
    bin_size
        Seconds; needed unless ``data`` are words already.
    ep
        Epochs in seconds: pairs ``(start, stop)``, or an object with ``start`` and ``end`` (pynapple ``IntervalSet``),
        on the recording's clock. Without it: what the source states (observation intervals, time ranges), else first
        to last spike of the whole recording and not only of the units kept. ``"trials"`` or ``"epochs"`` take those of
        an NWB file.
    time_units
        ``"s"``, ``"ms"``, ``"us"``, or a sampling rate in Hz for times in samples; None takes what the source states,
        else seconds. For times only: ``bin_size``, ``ep`` and ``window`` are in seconds.
    binary
        ``"clip"`` makes counts over 1 a 1, ``"refuse"`` raises an error instead.
    columns
        What the columns of a table are: names in their order, ``"time,unit,epoch"`` (``_`` for one that does not
        matter, any other name for a property of units), or ``"time=NAME,unit=NAME,epoch=NAME"``. A column ``trial``
        makes every trial within an epoch an epoch of its own.
    variable
        Name of the array in a file or dict with several.
    units
        Units to keep: ids, or the name of a property that is true for them, or ``"NAME=VALUE"``; None keeps all.
    groups
        Group of units to keep, as in phy (``"good"``); short for ``units="group=good"``.
    window
        Seconds; bins restart at every multiple of it on the epoch's clock, for epochs strung together from windows.
    orientation
        Axes of ready words: ``"bins x units"``, ``"units x bins"``, or e.g. ``"repeats x units x bins"``; repeats are
        epochs. For times: ``"units x trials"``, ``"trials x units"`` or ``"groups x units"`` of cells within cells,
        ``"units x times"`` or ``"times x units"`` of tables with one row or column per unit.
    threshold
        For traces (fluorescence, deconvolved activity): a unit is active where its trace exceeds this number.
    sort
        Sort times that go back within a unit, instead of refusing them.
    check_rates
        Ask back (with an error) where times look as if they were in other units.

    Raises
    ------
    FileNotFoundError
        If ``data`` is a path that leads nowhere.
    ValueError
        If ``data`` are not understood or look wrong; the message says what was expected and found, and the remedy.
    """
    _check_seconds("bin_size", bin_size)
    _check_seconds("window", window)
    if binary not in ("clip", "refuse"):
        raise ValueError(f"binary must be 'clip' or 'refuse', got {binary!r}")
    how = Reading(bin_size, time_units, columns, variable, orientation, threshold)
    source = read_source(data, how)
    if groups is not None:
        units = _unit_groups(groups, units)
    if isinstance(source, ReadyWords):
        _check_unused("ready-made words", ep=ep, window=window, sort=sort or None, columns=columns)
        kept = select_units(units, source.unit_ids, source.properties)
        counts, found_bin_size = _ready_counts(source), source.bin_size
    else:
        _check_unused("spike times", orientation=None if how.axes else orientation, threshold=threshold)
        if bin_size is None:
            raise ValueError("bin_size is missing: spike times need bins, for example bin_size=0.02 (seconds)")
        if window is not None and bin_size > window * (1 + 1e-9):
            raise ValueError(f"bin_size is {bin_size:g} s but a window lasts {window:g} s; take smaller bins")
        kept = select_units(units, source.unit_ids, source.properties)
        counts, found_bin_size = (
            _binned(source, kept, bin_size, _given_epochs(ep, source), window, sort, check_rates),
            bin_size,
        )
    return _finish(counts, source.unit_ids, kept, units, found_bin_size, binary)


def _check_seconds(name: str, value: Any) -> None:
    if value is not None and not isinstance(value, int | float | np.number):
        raise TypeError(f"{name} must be a number of seconds, got {value!r}")
    if value is not None and not 0 < value < math.inf:
        raise ValueError(f"{name} must be a positive number of seconds, got {value!r}")


def _check_unused(what: str, **given: Any) -> None:
    named = [name for name, value in given.items() if value is not None]
    if named:
        raise ValueError(f"{', '.join(named)} has no meaning for {what}; leave it out")


def _unit_groups(groups: str, units: str | Sequence[Any] | None) -> str:
    if units is not None:
        raise ValueError("groups and units exclude each other; give one of them")
    return f"group={groups}"


def _given_epochs(ep: Any, source: SpikeTrains) -> Intervals | None:
    if ep is None:
        return None
    if isinstance(ep, str):
        if ep not in source.named_epochs:
            has = listed(source.named_epochs) or "none"
            raise TypeError(
                f"ep must be pairs (start, stop) in seconds, got {ep!r}; named epochs of this source: {has}"
            )
        ep = source.named_epochs[ep]
    if hasattr(ep, "start") and hasattr(ep, "end"):
        ep = np.stack([np.asarray(ep.start), np.asarray(ep.end)], axis=-1)
    try:
        return checked_intervals(ep, "ep")
    except (TypeError, ValueError) as error:
        if str(error).startswith("ep "):
            raise
        raise TypeError(f"ep must be pairs (start, stop) in seconds, got {ep!r}") from error


def _binned(
    trains: SpikeTrains,
    kept: Bool[np.ndarray, " units"],
    bin_size: float,
    ep: Intervals | None,
    window: float | None,
    sort: bool,
    check_rates: bool,
) -> Counts:
    trains = on_one_clock(in_order(trains, sort), ep, window)
    check_times(trains, ep is not None or any(trains.observed.values()))
    chosen = np.flatnonzero(kept)
    epochs = find_epochs(trains, chosen, bin_size, ep, window)
    if check_rates:
        check_units_of_time(trains, epochs, chosen)
    own = kept[trains.units]
    selected = replace(trains, times=trains.times[own], units=trains.units[own], segments=trains.segments[own])
    counts = count(selected, epochs, bin_size)
    return replace(counts, remarks=(*trains.remarks, *epochs.remarks, *counts.remarks))


def _ready_counts(ready: ReadyWords) -> Counts:
    bins, units = np.nonzero(ready.counts)
    spikes = ready.counts[bins, units].astype(np.int64)
    return Counts(len(ready.unit_ids), ready.bin_starts, ready.epochs, bins, units, spikes, ready.remarks)


def _finish(
    counts: Counts,
    unit_ids: tuple[str, ...],
    kept: Bool[np.ndarray, " units"],
    selection: str | Sequence[Any] | None,
    bin_size: float,
    binary: str,
) -> Words:
    """Drop units, clip counts, and say what was done."""
    spikes_of_units = np.bincount(counts.units, counts.spikes, minlength=len(unit_ids))
    dropped = {unit_ids[unit]: f"not in units={selection!r}" for unit in np.flatnonzero(~kept)}
    dropped |= {unit_ids[unit]: "silent in every bin" for unit in np.flatnonzero(kept & (spikes_of_units == 0))}
    columns = np.flatnonzero(kept & (spikes_of_units > 0))
    if len(columns) == 0:
        raise ValueError("no unit fires inside the bins: all are silent there; check ep, time_units and units")
    own = np.isin(counts.units, columns)
    bins, units, spikes = counts.bins[own], counts.units[own], counts.spikes[own]
    clipped = spikes > 1
    if binary == "refuse" and clipped.any():
        raise ValueError(
            f"binary='refuse' but {clipped.sum():,} counts are above 1 (the largest is {spikes.max()}); take smaller "
            "bins or binary='clip'"
        )
    n_bins, n_units = len(counts.bin_starts), len(columns)
    states = np.zeros((n_bins, n_units), np.uint8)
    states[bins, np.searchsorted(columns, units)] = 1
    seconds = n_bins * bin_size
    alone = ("one unit: there are no pairs, so nothing pairwise can be fitted",) if n_units == 1 else ()
    notes = ConversionNotes(
        n_bins=n_bins,
        n_units=n_units,
        n_epochs=len(np.unique(counts.epochs)),
        bin_size=bin_size,
        seconds=seconds,
        mean_rates=tuple((spikes_of_units[columns] / (n_bins if math.isnan(seconds) else seconds)).tolist()),
        silent_share=1 - len(np.unique(bins)) / n_bins,
        clipped_share=len(np.unique(bins[clipped])) / n_bins,
        lost_spike_share=float((spikes - 1).sum() / spikes.sum()),
        dropped_units=dropped,
        words_per_parameter=n_bins / (n_units * (n_units + 1) // 2),
        remarks=counts.remarks + alone,
    )
    return Words(
        states, tuple(unit_ids[unit] for unit in columns), counts.bin_starts, counts.epochs, float(bin_size), notes
    )
