"""Tables of spikes, one row per spike: which column holds the times, the units and the epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from secateur.reading.notes import counted, listed
from secateur.reading.spike_trains import SpikeTrains, in_seconds, names, text

KNOWN = {
    "time": ("time", "times", "t", "time_s", "spike_time", "spike_times", "spiketime", "spiketimes", "timestamp"),
    "unit": ("unit", "units", "unit_id", "unit_ids", "id", "ids", "neuron", "cell", "cluster", "cluster_id"),
    "epoch": ("epoch", "epochs"),
    "trial": (),
}
"""Roles of columns, and the names that are understood without being told, the first that is there.

A trial within an epoch is never guessed: times of many recordings run on through trials.
"""

Columns = str | Sequence[str] | Mapping[str, str] | None
EXAMPLE = "columns='time,unit,epoch' (in the order of the table) or columns='time=NAME,unit=NAME,epoch=NAME'"


def parse_columns(columns: Columns) -> tuple[str, ...] | dict[str, str]:
    """What a user says about columns: names in the order of the table, or the name of the column of each role.

    Raises
    ------
    ValueError
        If the two are mixed, or a role is unknown.
    """
    if columns is None:
        return {}
    if isinstance(columns, Mapping):
        roles = dict(columns)
    else:
        parts = [part.strip() for part in (columns.split(",") if isinstance(columns, str) else columns)]
        if not any("=" in part for part in parts):
            return tuple(parts)
        pairs = [part.partition("=") for part in parts]
        if not all(between for _, between, _ in pairs):
            raise ValueError(f"columns mixes names and NAME=NAME pairs, got {columns!r}; expected {EXAMPLE}")
        roles = {role.strip(): source.strip() for role, _, source in pairs}
    unknown = set(roles) - set(KNOWN)
    if unknown:
        raise ValueError(f"columns: unknown {listed(sorted(unknown))}; expected {', '.join(KNOWN)}, as in {EXAMPLE}")
    return roles


def find_roles(available: Sequence[str], told: Mapping[str, str]) -> dict[str, str]:
    """The column of each role: as told, else by a known name; a role may be missing.

    Raises
    ------
    ValueError
        If a column that was told is not there.
    """
    by_short_name = {name.rstrip("/").rsplit("/", 1)[-1].lower(): name for name in reversed(available)}
    roles = {}
    for role, known in KNOWN.items():
        if role in told:
            name = told[role].lstrip("/")
            if name not in available:
                raise ValueError(f"columns: there is no {told[role]!r}; there are {listed(available, 20)}")
            roles[role] = name
        else:
            found = [by_short_name[name] for name in known if name in by_short_name]
            roles |= {role: found[0]} if found else {}
    return roles


def from_table(table: Mapping[str, Any], roles: Mapping[str, str], time_units: str | float) -> SpikeTrains:
    """Trains from a table with one row per spike.

    Rows whose time is NaN are placeholders: they name units and epochs and hold no spike. An epoch has its own clock,
    and a trial within it too.

    Parameters
    ----------
    table
        Columns by name. Further columns that are constant within a unit, or have one entry per unit, are properties.
    roles
        Names of the columns ``time``, ``unit`` and, where there are such, ``epoch`` and ``trial`` (within the epoch).
    time_units
        See :func:`secateur.reading.spike_trains.per_second`.

    Raises
    ------
    ValueError
        If times or ids are missing, or columns differ in length.
    """
    if "time" not in roles:
        raise ValueError(f"ids without times: no column of {listed(table, 20)} is known to hold times; say {EXAMPLE}")
    if "unit" not in roles:
        raise ValueError(f"times without ids: no column of {listed(table, 20)} is known to hold units; say {EXAMPLE}")
    times = in_seconds(table[roles["time"]], time_units)
    columns = {role: np.asarray(table[name]).ravel() for role, name in roles.items() if role != "time"}
    for role, column in columns.items():
        if len(column) != len(times):
            raise ValueError(f"{len(times):,} times but {len(column):,} entries of {role}; every spike needs one")
    units, unit_ids, values = names(columns["unit"])
    segments, segment_ids = _segments(columns, len(times))
    others = {name: np.asarray(table[name]) for name in table if name not in roles.values()}
    per_unit = {len(other) for other in others.values() if other.ndim == 1} - {len(times)}
    n_marked = max((n for n in per_unit if n >= len(values)), default=0)
    if n_marked > len(values) and values.dtype.kind in "iu" and values.min() >= 0 and values.max() < n_marked:
        units, unit_ids = values[units].astype(np.int64), tuple(map(str, range(n_marked)))  # silent units have no rows
    missing = np.isnan(times)
    remarks = []
    if missing.any():
        remarks.append(f"{counted(int(missing.sum()), 'row')} with NaN for a time taken as placeholders")
    return SpikeTrains(
        times[~missing],
        units[~missing],
        segments[~missing],
        unit_ids,
        segment_ids,
        properties=_properties(others, units, len(unit_ids)),
        remarks=tuple(remarks),
    )


def _segments(columns: Mapping[str, np.ndarray], n_rows: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Number and names of the stretches with a clock of their own: epochs, or trials within them."""
    segments, segment_ids = np.zeros(n_rows, np.int64), ("0",)
    for role in ("epoch", "trial"):
        if role in columns:
            inner, inner_ids, _ = names(columns[role], f"{role}s")
            pairs = segments * len(inner_ids) + inner
            present, segments = np.unique(pairs, return_inverse=True)
            outer = [f"{segment_ids[pair // len(inner_ids)]}." if len(segment_ids) > 1 else "" for pair in present]
            segment_ids = tuple(
                before + inner_ids[pair % len(inner_ids)] for before, pair in zip(outer, present, strict=True)
            )
    return segments, segment_ids


def _properties(others: Mapping[str, np.ndarray], units: np.ndarray, n_units: int) -> dict[str, np.ndarray]:
    found = {}
    present, first_rows = np.unique(units, return_index=True)
    for name, values in others.items():
        if values.shape == (n_units,):
            found[name] = values
        elif values.shape == units.shape and len(present) == n_units and (values[first_rows][units] == values).all():
            found[name] = values[first_rows]
    return {
        name: np.array([text(v) for v in values]) if values.dtype.kind == "O" else values
        for name, values in found.items()
    }
