"""Values without units of their own (arrays, lists, dicts, cells and structs of files) as trains or ready words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from secateur.reading import ready, tables
from secateur.reading.notes import counted, listed
from secateur.reading.ready import ReadyWords
from secateur.reading.spike_trains import SpikeTrains, from_units

TIME_RANGES = ("timerange", "time_range", "time_support", "obs_intervals", "t_range")
"""Fields of a unit's struct that state when it was observed."""


@dataclass(frozen=True)
class Reading:
    """What a user says about a source; see :func:`secateur.reading.words.words`."""

    bin_size: float | None = None
    time_units: str | float = "s"
    columns: tables.Columns = None
    variable: str | None = None
    orientation: str | None = None
    where: str = "data"
    """The source in messages."""


def read_value(value: Any, how: Reading) -> SpikeTrains | ReadyWords:
    """Trains or words from arrays, lists and dicts.

    Raises
    ------
    ValueError
        If it cannot be told what the value holds; the message asks for what is missing.
    """
    value = _arrays(value)
    if isinstance(value, Mapping):
        return read_mapping(value, how)
    if how.variable is not None:
        raise ValueError(f"variable: {how.where} has no names; leave it out")
    if how.columns is not None and isinstance(value, tuple | list):
        raise ValueError(f"columns: {how.where} is no table; leave it out, or give a dict of columns or an array")
    if isinstance(value, tuple):
        return _tuple(value, how)
    if isinstance(value, list) and how.orientation is None:
        return _trains(value, how)
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.dtype == object and array.ndim == 0:
        raise TypeError(
            f"data of type {type(value).__name__} are not understood; expected a file's path, (times, ids), a dict or "
            "list of spike-time arrays, words, or an object of pynapple, elephant, neo, spikeinterface or pynwb"
        )
    if array.dtype == object:
        return _trains(array.tolist(), how)
    columns = tables.parse_columns(how.columns)
    if columns and array.ndim == 2:
        return read_mapping({str(n + 1): array[:, n] for n in range(array.shape[1])}, how)
    if array.ndim < 2 or (array.ndim == 2 and 1 in array.shape and how.orientation is None):
        raise ValueError(
            f"{how.where}: an array of shape {array.shape} is times without ids, or ids without times; give (times, "
            "ids), a dict or list with one array of times per unit, or an array of words with orientation"
        )
    if array.ndim == 2 and how.orientation is None and array.dtype.kind == "f" and (array != np.rint(array)).any():
        raise ValueError(
            f"{how.where}: a table of shape {array.shape} with broken numbers holds no words; say what its columns "
            f"are, {tables.EXAMPLE}"
        )
    return ready.from_array(array, how.orientation, how.bin_size)


def _arrays(value: Any) -> Any:
    """Lists of plain numbers or texts inside lists and dicts as arrays."""
    if isinstance(value, Mapping):
        return {name: _arrays(entry) for name, entry in value.items()}
    if not isinstance(value, list):
        return value
    if all(isinstance(entry, int | float | str | bool | np.generic) for entry in value):
        return np.asarray(value)
    return [_arrays(entry) for entry in value]


def read_mapping(entries: Mapping[Any, Any], how: Reading) -> SpikeTrains | ReadyWords:
    """Trains or words from named values: columns of a table, one train per unit, or variables of a file.

    Raises
    ------
    ValueError
        As :func:`read_value`.
    """
    named = {str(name).lstrip("/"): value for name, value in entries.items()}
    columns = tables.parse_columns(how.columns)
    if isinstance(columns, tuple):
        if len(columns) != len(named):
            raise ValueError(
                f"columns names {len(columns)} columns, {how.where} has {len(named)} ({listed(named, 20)})"
            )
        named = {name: value for name, value in zip(columns, named.values(), strict=True) if name != "_"}
        if len(named) < sum(name != "_" for name in columns):
            raise ValueError(f"columns names a column twice: {', '.join(columns)}")
        columns = {"trial": "trial"} if "trial" in named else {}
    if how.variable is not None:
        return _variable(named, how)
    roles = tables.find_roles([name for name in named if not isinstance(named[name], Mapping | list)], columns)
    if "time" in roles or (roles and "unit" in roles) or columns or how.columns is not None:
        return tables.from_table(named, roles, how.time_units)
    sizes = {name: np.shape(value) for name, value in named.items() if not isinstance(value, Mapping | list | str)}
    if len(sizes) == len(named) and all(len(shape) == 1 or 0 in shape for shape in sizes.values()):
        return _trains(list(named.values()), how, list(entries))
    candidates = [name for name, value in named.items() if isinstance(value, Mapping | list) or np.size(value) > 1]
    if len(candidates) != 1:
        described = [f"{name} {sizes.get(name, '(nested)')}" for name in named]
        raise ValueError(
            f"{how.where} holds {listed(described, 20) or 'nothing'}; say which variable holds the words or trains "
            f"(variable=NAME), or which columns hold times and ids ({tables.EXAMPLE})"
        )
    return _variable(named, replace(how, variable=candidates[0]))


def _variable(named: Mapping[str, Any], how: Reading) -> SpikeTrains | ReadyWords:
    name = str(how.variable).lstrip("/")
    if name not in named:
        raise ValueError(f"variable: {how.where} has no {how.variable!r}; it has {listed(named, 20)}")
    value = named[name]
    inside = replace(how, variable=None, where=f"{how.where}, {name}")
    found = read_value(value if isinstance(value, Mapping | list) else np.asarray(value), inside)
    stated = np.asarray(named["bin_size"]).ravel() if "bin_size" in named else np.zeros(0)
    if isinstance(found, ReadyWords) and stated.size == 1 and stated[0] != how.bin_size:
        used = "none was given" if how.bin_size is None else f"{how.bin_size:g} s was given and used"
        remark = f"the source has a bin_size of {stated[0]:g}, which was not used: {used}"
        return replace(found, remarks=(*found.remarks, remark))
    return found


def _tuple(value: tuple[Any, ...], how: Reading) -> SpikeTrains:
    if len(value) not in (2, 3):
        raise ValueError(
            f"a tuple must be (times, ids) or (times, ids, epochs), got {len(value)} entries; one array per unit goes "
            "into a list or dict"
        )
    table = {role: part for role, part in zip(("time", "unit", "epoch"), value, strict=False) if part is not None}
    return tables.from_table(table, {role: role for role in table}, how.time_units)


@dataclass
class _Found:
    """Units found in nested cells and structs."""

    ids: list[str] = field(default_factory=list)
    trains: list[Any] = field(default_factory=list)
    observed: list[Any] = field(default_factory=list)
    n_empty: int = 0


def _trains(value: Sequence[Any], how: Reading, ids: Sequence[Any] | None = None) -> SpikeTrains:
    if ids is not None or not any(isinstance(entry, Mapping | list) or np.ndim(entry) > 1 for entry in value):
        return from_units(value, range(len(value)) if ids is None else ids, how.time_units)
    found = _Found()
    while isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        value = value[0]
    _walk(value, (), found, how)
    if not found.trains:
        raise ValueError(f"{how.where} holds no spike trains; expected vectors of times, or structs with a field time")
    remarks = (f"{counted(found.n_empty, 'empty cell')} left out",) if found.n_empty else ()
    return from_units(found.trains, found.ids, how.time_units, found.observed, remarks=remarks)


def _walk(value: Any, path: tuple[str, ...], found: _Found, how: Reading) -> None:
    """Find units in cells, lists and structs; a unit is called by its place, counted from 1 as in MATLAB."""
    if isinstance(value, list):
        for number, entry in enumerate(value):
            _walk(entry, (*path, str(number + 1)), found, how)
        return
    observed = None
    if isinstance(value, Mapping):
        fields = {str(name).lower(): entry for name, entry in value.items()}
        times = next((fields[name] for name in tables.KNOWN["time"] if name in fields), None)
        if times is None:
            for name, entry in value.items():
                _walk(entry, (*path, str(name)), found, how)
            return
        observed = next((fields[name] for name in TIME_RANGES if name in fields), None)
        value = times
    elif np.size(value) == 0:
        found.n_empty += 1
        return
    if np.ndim(value) > 2 or (np.size(value) > 0 and np.ndim(value) == 2 and 1 not in np.shape(value)):
        place = ".".join(path)
        raise ValueError(f"{how.where}, {place}: expected a vector of spike times, got shape {np.shape(value)}")
    found.ids.append(".".join(path))
    found.trains.append(np.ravel(value))
    found.observed.append(observed)
