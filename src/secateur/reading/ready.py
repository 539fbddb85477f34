"""Words and counts that come ready-made: which axis is what, and whether their numbers are counts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Integer

from secateur.reading.spike_trains import text

AXES = {"bins": "bins", "time": "bins", "units": "units", "neurons": "units", "repeats": "repeats", "trials": "repeats"}
EXPECTED = "'bins x units', 'units x bins' or, with repeats, e.g. 'repeats x units x bins'"


@dataclass(frozen=True)
class ReadyWords:
    """Counts of spikes in bins that somebody else made.

    Attributes
    ----------
    counts
        ``(bins, units)`` whole numbers, at least 0.
    unit_ids
        One per column.
    bin_starts
        Seconds; in bins (0, 1, ...) of each epoch where the bin size is unknown.
    epochs
        Epoch of each bin, 0-based, non-decreasing.
    bin_size
        Seconds, nan if unknown.
    properties, remarks
        As in :class:`secateur.reading.spike_trains.SpikeTrains`.
    """

    counts: Integer[np.ndarray, "bins units"]
    unit_ids: tuple[str, ...]
    bin_starts: Float[np.ndarray, " bins"]
    epochs: Int[np.ndarray, " bins"]
    bin_size: float
    properties: Mapping[str, np.ndarray] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def from_array(
    array: Any,
    orientation: str | None,
    bin_size: float | None,
    unit_ids: Sequence[Any] | None = None,
    remarks: tuple[str, ...] = (),
) -> ReadyWords:
    """Words or counts from an array with two axes, or three with repeats; every repeat is an epoch.

    Parameters
    ----------
    array
        Whole numbers, at least 0.
    orientation
        What the axes are, e.g. ``"units x bins"``; None takes an array of 0 and 1 as ``bins x units`` if there
        are at least as many bins as units.
    bin_size
        Seconds, None if unknown.
    unit_ids
        Names of the columns; 0, 1, ... without.

    Raises
    ------
    ValueError
        If the axes are not told and not plain, or the numbers are not counts.
    """
    values = np.asarray(array)
    axes = _axes(values, orientation)
    counts = whole_counts(values)
    if orientation is None and counts.max() > 1:
        raise ValueError(
            f"an array of shape {values.shape} with numbers up to {counts.max()} may hold counts or a table of spikes; "
            "say orientation='bins x units', or what its columns are (columns='time,unit')"
        )
    if counts.ndim == 2:
        counts = counts[None]
        axes = ("repeats", *axes)
    counts = counts.transpose([axes.index(axis) for axis in ("repeats", "bins", "units")])
    n_repeats, n_bins, n_units = counts.shape
    names = tuple(text(unit) for unit in (range(n_units) if unit_ids is None else unit_ids))
    if len(names) != n_units:
        raise ValueError(
            f"{len(names)} unit ids for {n_units} units (orientation {' x '.join(axes[-2:])}); give one each"
        )
    starts = np.arange(n_bins) * (1.0 if bin_size is None else bin_size)
    return ReadyWords(
        counts.reshape(n_repeats * n_bins, n_units),
        names,
        np.tile(starts, n_repeats),
        np.repeat(np.arange(n_repeats), n_bins),
        float("nan") if bin_size is None else float(bin_size),
        remarks=remarks,
    )


def from_traces(traces: Any, threshold: float, orientation: str | None, bin_size: float | None) -> ReadyWords:
    """Words from traces (fluorescence, deconvolved activity): 1 where a trace exceeds the threshold.

    Raises
    ------
    ValueError
        If traces are no numbers, some are missing, or the axes are not told.
    """
    values = np.asarray(traces)
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise ValueError("traces must be finite numbers; correct or leave out frames and units with missing values")
    if orientation is None:
        raise ValueError("traces need orientation='bins x units' or orientation='units x bins'")
    remark = f"words are 1 where the trace exceeds {threshold:g}"
    return from_array((values > threshold).astype(np.uint8), orientation, bin_size, remarks=(remark,))


def _axes(values: np.ndarray, orientation: str | None) -> tuple[str, ...]:
    if orientation is not None:
        names = [name for name in re.split(r"\s*(?:[,*]|\bx\b)\s*|\s+", orientation.strip().lower()) if name]
        axes = tuple(AXES.get(name, name) for name in names)
        if sorted(axes) not in (["bins", "units"], ["bins", "repeats", "units"]):
            raise ValueError(f"orientation must be {EXPECTED}, got {orientation!r}")
        if len(axes) != values.ndim:
            raise ValueError(f"orientation {orientation!r} names {len(axes)} axes, the array has shape {values.shape}")
        return axes
    if values.ndim != 2:
        raise ValueError(f"an array of shape {values.shape} needs orientation: {EXPECTED}")
    if values.shape[1] > values.shape[0]:
        raise ValueError(
            f"an array of shape {values.shape} would be {values.shape[1]:,} units in only {values.shape[0]:,} bins; if "
            "it is, say orientation='bins x units', else orientation='units x bins'"
        )
    return ("bins", "units")


def whole_counts(values: np.ndarray) -> Integer[np.ndarray, ...]:
    """An array as whole numbers.

    Raises
    ------
    ValueError
        If it is empty, or holds anything but whole numbers of at least 0.
    """
    if values.size == 0:
        raise ValueError(f"words of shape {values.shape} are empty")
    if values.dtype.kind not in "biuf":
        raise ValueError(f"words must be numbers, got {values.dtype} values")
    if values.dtype.kind == "f":
        if not np.isfinite(values).all() or (values != np.rint(values)).any():
            odd = values[~(values == np.rint(values)) | ~np.isfinite(values)].flat[0]
            raise ValueError(
                f"words must be whole numbers of spikes, got {odd:g}; for spike times give (times, ids), a dict or "
                "list of trains, or name the columns of the table (columns='time,unit')"
            )
        values = values.astype(np.int64)
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    if values.min() < 0:
        remedy = "turn -1/+1 into (x + 1) // 2" if set(np.unique(values).tolist()) <= {-1, 0, 1} else "counts are >= 0"
        raise ValueError(f"words must be 0/1 or counts of spikes, got {values.min()}; {remedy}")
    return values
