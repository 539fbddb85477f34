"""Tables of spikes, one row per spike: which column holds the times, the units and the epochs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from secateur.reading.notes import counted, listed
from secateur.reading.spike_trains import SpikeTrains, in_seconds, names, overlap, text

KNOWN = {
    "time": ("time", "times", "t", "time_s", "spike_time", "spike_times", "spiketime", "spiketimes", "timestamp"),
    "unit": (
        "unit",
        "units",
        "unit_id",
        "unit_ids",
        "id",
        "ids",
        "neuron",
        "cell",
        "cluster",
        "cluster_id",
        "neuron_id",
        "node_id",
        "node_ids",
        "sender",
        "senders",
        "spike_clusters",
    ),
    "epoch": ("epoch", "epochs"),
    "trial": (),
}
"""Roles of columns, and the names that are understood without being told, the first that is there.

A trial within an epoch is never guessed: times of many recordings run on through trials.
"""

TRIALS = ("trial", "trials", "trial_id", "trial_number", "sweep")
CHANNELS = ("channel", "channels", "channel_id", "ch", "electrode", "electrode_id", "tetrode", "shank", "probe")
SPELLINGS = {
    spelling: units
    for units, spellings in {
        "s": "s sec second seconds",
        "ms": "ms msec millisecond milliseconds",
        "us": "us usec µs μs microsecond microseconds",
        "RATE": "sample samples tick ticks",
    }.items()
    for spelling in spellings.split()
}
MARK = re.compile(rf"[ _(\[]+({'|'.join(sorted(SPELLINGS, key=len, reverse=True))})[)\]]*$")

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
            if name == "_":
                continue
            if name not in available and not (role == "unit" and set(name.split("+")) <= set(available)):
                raise ValueError(f"columns: there is no {told[role]!r}; there are {listed(available, 20)}")
            roles[role] = name
        else:
            found = [by_short_name[name] for name in known if name in by_short_name]
            if role == "time" and not found:
                unmarked = {MARK.sub("", name): full for name, full in by_short_name.items()}
                found = [unmarked[name] for name in known if name in unmarked]
            roles |= {role: found[0]} if found else {}
    return roles


def unit_by_name(name: str) -> str:
    """Units of time that a column's name speaks of (``time_ms``): s, ms, us, or RATE for samples; s if of none."""
    marked = MARK.search(name.lower())
    return SPELLINGS[marked[1]] if marked else "s"


def stated_units(values: Any, name: str, given: str | float | None) -> str | float:
    """Units of time: as given, else as an attribute ``units`` of an HDF5 data set states, else seconds.

    Raises
    ------
    ValueError
        If nothing was given and the column's name speaks of other units.
    """
    if given is not None:
        return given
    attributes = getattr(values, "attrs", {})
    stated = SPELLINGS.get(text(attributes.get("units", attributes.get("unit", ""))).strip().lower())
    if stated in ("s", "ms", "us"):
        return stated
    by_name = unit_by_name(name)
    if by_name == "RATE":
        raise ValueError(
            f"the times in {name} are samples by their name; say time_units=RATE (in Hz), or time_units='s' "
            "if they are not"
        )
    if by_name != "s":
        raise ValueError(
            f"the times in {name} are in {by_name} by their name; say time_units='{by_name}', or time_units='s' if "
            "they are seconds"
        )
    return "s"


def from_table(
    table: Mapping[str, Any], roles: Mapping[str, str], time_units: str | float | None, told: Sequence[str] = ()
) -> SpikeTrains:
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
        See :func:`stated_units`.
    told
        Roles that the user spoke of; nothing is asked about them.

    Raises
    ------
    ValueError
        If times or ids are missing, columns differ in length, or it has to be asked what a column means.
    """
    if "time" not in roles:
        raise ValueError(f"ids without times: no column of {listed(table, 20)} is known to hold times; say {EXAMPLE}")
    alone = "unit" not in roles and "unit" in told
    if "unit" not in roles and not alone:
        raise ValueError(f"times without ids: no column of {listed(table, 20)} is known to hold units; say {EXAMPLE}")
    times = in_seconds(table[roles["time"]], stated_units(table[roles["time"]], roles["time"], time_units))
    columns = {role: _entries(table, name) for role, name in roles.items() if role != "time"}
    if alone:
        columns["unit"] = np.zeros(len(times), np.int64)
    for role, column in columns.items():
        if len(column) != len(times):
            raise ValueError(f"{len(times):,} times but {len(column):,} entries of {role}; every spike needs one")
    units, unit_ids, values = names(columns["unit"])
    segments, segment_ids = _segments(columns, len(times))
    others = {name: np.asarray(table[name]) for name in table if name not in roles.values()}
    _ask(times, units, segments, others, roles, told)
    per_unit = {len(other) for other in others.values() if other.ndim == 1} - {len(times)}
    n_marked = max((n for n in per_unit if n >= len(values)), default=0)
    remarks = []
    if (
        len(values) < n_marked <= 2 * len(values)
        and values.dtype.kind in "iu"
        and values.min() >= 0
        and values.max() < n_marked
    ):
        units, unit_ids = values[units].astype(np.int64), tuple(map(str, range(n_marked)))  # silent units have no rows
        marks = [name for name, other in others.items() if other.shape == (n_marked,)]
        remarks.append(
            f"{n_marked} units, as many as {listed(marks)} has entries: {n_marked - len(values)} have no spikes"
        )
    missing = np.isnan(times)
    if alone:
        remarks.append("no column of units: all spikes taken as those of one unit")
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


def _entries(table: Mapping[str, Any], name: str) -> np.ndarray:
    """A column, or the names that several columns make together (``channel+unit``)."""
    if name in table:
        return np.asarray(table[name]).ravel()
    numbered = [names(table[part], part) for part in name.split("+")]
    return np.array(
        [".".join(parts) for parts in zip(*(np.array(ids)[rows] for rows, ids, _ in numbered), strict=True)]
    )


def _ask(
    times: np.ndarray,
    units: np.ndarray,
    segments: np.ndarray,
    others: Mapping[str, np.ndarray],
    roles: Mapping[str, str],
    told: Sequence[str],
) -> None:
    """Ask about trials whose clock restarts and about unit numbers that occur on several channels."""
    so_far = ",".join(f"{role}={name}" for role, name in roles.items())
    for name, values in others.items():
        if values.shape != times.shape:
            continue
        short = name.rsplit("/", 1)[-1].lower()
        if short in TRIALS and "trial" not in told:
            known = ~np.isnan(times)
            parts = [known & (segments == segment) for segment in np.unique(segments)]
            numbers = names(values, name)[0]
            if any(overlap(times[part], numbers[part]) for part in parts):
                raise ValueError(
                    f"the times of different entries of {name} overlap; say columns='{so_far},trial={name}' if the "
                    f"clock restarts in every one, else columns='{so_far},trial=_'"
                )
        if short in CHANNELS and "unit" in roles and "unit" not in told:
            channels = names(values, name)[0]
            if len(np.unique(np.stack([units, channels]), axis=1).T) > len(np.unique(units)):
                unit = roles["unit"]
                joint = so_far.replace(f"unit={unit}", f"unit={name}+{unit}")
                raise ValueError(
                    f"numbers of {unit} occur with several values of {name}; say columns='{joint}' if they restart "
                    f"with every {name}, else columns='{so_far}'"
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
