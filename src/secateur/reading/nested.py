"""Values without units of their own (arrays, lists, dicts, cells and structs of files) as trains or ready words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import scipy.sparse

from secateur.reading import rasters, ready, tables
from secateur.reading.notes import counted, listed
from secateur.reading.ready import ReadyWords
from secateur.reading.spike_trains import SpikeTrains, from_units, joined

TIME_RANGES = ("timerange", "time_range", "time_support", "obs_intervals", "t_range")
"""Fields of a unit's struct that state when it was observed."""

IDS = ("uid", "unit_id", "unit_ids", "id", "ids", "cluid", "labels", "label")
"""Fields of a struct of cells of times that name its units."""


TRAIN_AXES = {
    f"{first} x {second}": (first, second)
    for one, other in (("units", "trials"), ("groups", "units"), ("units", "times"))
    for first, second in ((one, other), (other, one))
}
"""Orientations of spike times: cells within cells, and tables with one row or column of times per unit."""


@dataclass(frozen=True)
class Reading:
    """What a user says about a source; see :func:`secateur.reading.words.words`."""

    bin_size: float | None = None
    time_units: str | float | None = None
    columns: tables.Columns = None
    variable: str | None = None
    orientation: str | None = None
    threshold: float | None = None
    where: str = "data"
    """The source in messages."""

    @property
    def axes(self) -> tuple[str, ...]:
        """Axes of nested trains or of tables of times that ``orientation`` names; empty where it names none."""
        return TRAIN_AXES.get(" ".join((self.orientation or "").lower().split()), ())


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
    if scipy.sparse.issparse(value):
        value = rasters.dense(value, how.where)
    if isinstance(value, list) and (how.orientation is None or how.axes):
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
    if array.ndim == 2 and "times" in how.axes:
        return _trains(list(array if how.axes[0] == "units" else array.T), how)
    if columns and array.ndim == 2:
        return read_mapping({str(n + 1): array[:, n] for n in range(array.shape[1])}, how)
    if how.threshold is not None:
        return ready.from_traces(array, how.threshold, how.orientation, how.bin_size)
    if columns == ("time",) and array.ndim == 1:
        return read_mapping({"time": array}, how)
    found = None if how.orientation or array.ndim != 2 else two_columns({"1": array[:, 0], "2": array[:, -1]}, how)
    if found is not None and array.shape[1] == 2:
        return found
    if array.ndim < 2 or (array.ndim == 2 and 1 in array.shape and how.orientation is None):
        raise ValueError(
            f"{how.where}: an array of shape {array.shape} is times without ids, or ids without times; "
            + (
                "give (times, ids), a dict or list with one array of times per unit, or an array of words with "
                "orientation"
                if how.where == "data"
                else "say columns='time' if these are the times of one unit, or orientation='bins x units' if they are "
                "words"
            )
        )
    if array.ndim == 2 and how.orientation is None and array.dtype.kind == "f" and (array != np.rint(array)).any():
        raise ValueError(
            f"{how.where}: a table of shape {array.shape} with broken numbers holds no words; say what its columns "
            f"are, {tables.EXAMPLE}, or orientation='times x units' if every column holds the times of one unit, or a "
            "threshold for traces"
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
    table = _only_table(named, columns, how)
    if table is not None:
        return read_value(table, replace(how, variable=None))
    if isinstance(columns, tuple):
        if len(columns) != len(named):
            raise ValueError(
                f"columns names {len(columns)} columns, {how.where} has {len(named)} ({listed(named, 20)})"
            )
        named = {name: value for name, value in zip(columns, named.values(), strict=True) if name != "_"}
        if len(named) < sum(name != "_" for name in columns):
            raise ValueError(f"columns names a column twice: {', '.join(columns)}")
        columns = {
            role: role if role in named else "_" for role in tables.KNOWN if role in named or how.columns == "time"
        }
    if how.axes == ("times", "units") and how.variable is None and all(np.ndim(value) == 1 for value in named.values()):
        trains = [np.asarray(value) for value in named.values()]
        return from_units([train[~np.isnan(train)] for train in trains], list(named), how.time_units)
    if how.variable is not None:
        return _variable(named, how)
    roles = tables.find_roles([name for name in named if not isinstance(named[name], Mapping | list)], columns)
    if "time" in roles or (roles and "unit" in roles) or columns or how.columns is not None:
        return tables.from_table(named, roles, how.time_units, tuple(columns))
    nested_times = [
        value for name, value in named.items() if isinstance(value, list) and name.lower() in tables.KNOWN["time"]
    ]
    if nested_times:
        return _trains([named], how)
    sizes = {name: np.shape(value) for name, value in named.items() if not isinstance(value, Mapping | list | str)}
    if len(sizes) == len(named) > 0 and all(len(shape) == 1 or 0 in shape or 1 in shape for shape in sizes.values()):
        vectors = _vectors(named, sizes)
        if len(vectors) > 1 or all(len(shape) == 1 for shape in sizes.values()):
            return _one_per_unit(vectors, {id_: value for id_, value in named.items() if id_ not in vectors}, how)
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
    if scipy.sparse.issparse(value):
        value = rasters.dense(value, how.where)
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


def two_columns(columns: Mapping[str, Any], how: Reading) -> SpikeTrains | None:
    """Trains of two columns of which one holds broken numbers (times) and one whole ones (units); None for others."""
    values = [np.asarray(column) for column in columns.values()]
    if any(column.dtype.kind not in "iuf" or column.size == 0 for column in values):
        return None
    whole = [bool((column == np.rint(column)).all()) for column in values]
    if sorted(whole) != [False, True]:
        return None
    order = "time,unit" if whole[1] else "unit,time"
    found = read_mapping(columns, replace(how, columns=order, variable=None))
    assert isinstance(found, SpikeTrains)
    first, second = order.split(",")
    remark = f"the two columns were taken as {first}s and {second}s"
    return replace(found, remarks=(*found.remarks, remark))


def are_padded_trains(columns: Mapping[str, Any]) -> bool:
    """Whether columns are ascending times of one unit each, filled up at their ends."""
    padded = False
    for column in columns.values():
        if column.dtype.kind not in "iuf" or np.isnan(column[0]):
            return False
        n_known = int((~np.isnan(column)).sum())
        if np.isnan(column[:n_known]).any() or (np.diff(column[:n_known]) < 0).any():
            return False
        padded |= n_known < len(column)
    return padded and len(columns) > 1


def _only_table(named: Mapping[str, Any], columns: tuple[str, ...] | dict[str, str], how: Reading) -> Any:
    """The one array of two axes among named values, if what is said about columns is about its columns."""
    tall = [
        np.asarray(value)
        for value in named.values()
        if not isinstance(value, Mapping | list) and np.ndim(value) == 2 and 1 not in np.shape(value)
    ]
    if not columns or how.variable is not None or len(tall) != 1:
        return None
    if isinstance(columns, tuple):
        return tall[0] if tall[0].shape[1] == len(columns) != len(named) else None
    return tall[0] if all(name in map(str, range(1, tall[0].shape[1] + 1)) for name in columns.values()) else None


def _vectors(named: Mapping[str, Any], sizes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Values that are units: all but MATLAB's single numbers whose names are unlike those of the vectors."""
    kinds = {re.sub(r"\d+", "0", name) for name, shape in sizes.items() if shape != (1, 1)}
    return {name: value for name, value in named.items() if sizes[name] != (1, 1) or re.sub(r"\d+", "0", name) in kinds}


def _one_per_unit(vectors: Mapping[str, Any], left_out: Mapping[str, Any], how: Reading) -> SpikeTrains:
    """One vector of times per unit.

    Raises
    ------
    ValueError
        If vectors are equally long and one repeats whole numbers: ids of units, more likely.
    """
    arrays = {name: np.asarray(value).ravel() for name, value in vectors.items()}
    lengths = {len(values) for values in arrays.values()}
    if len(arrays) > 1 and len(lengths) == 1 and lengths != {0}:
        for name, values in arrays.items():
            if (
                values.dtype.kind in "iuf"
                and (values == np.rint(values)).all()
                and len(np.unique(values)) < len(values)
            ):
                other = next(each for each in arrays if each != name)
                raise ValueError(
                    f"{how.where} holds {listed(arrays)}, equally long, and {name} repeats whole numbers as ids of "
                    f"units do; say which hold times and units, such as columns='time={other},unit={name}'"
                )
    units = [tables.stated_units(value, "", how.time_units) for value in vectors.values()]
    if len(set(units)) > 1:
        raise ValueError(
            f"{how.where} states different units of time ({listed(set(units))}); say time_units='s' or 'ms'"
        )
    found = from_units(list(vectors.values()), list(vectors), units[0] if units else how.time_units)
    left = (f"{listed(left_out)} left out: a single number and no train",) if left_out else ()
    return replace(found, remarks=(*found.remarks, *left))


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
    two_deep = how.axes and _is_two_deep(value)
    while not two_deep and isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        value = value[0]
    if _is_two_deep(value) and (not how.axes or "trials" in how.axes):
        return _by_trial(value, how)
    _walk(value, (), found, how)
    if not found.trains:
        raise ValueError(f"{how.where} holds no spike trains; expected vectors of times, or structs with a field time")
    remarks = (f"{counted(found.n_empty, 'empty cell')} left out",) if found.n_empty else ()
    return from_units(found.trains, found.ids, how.time_units, found.observed, remarks=remarks)


def _is_two_deep(value: Sequence[Any]) -> bool:
    """Whether these are lists of lists of vectors."""
    return (
        len(value) > 0
        and all(isinstance(entry, list) for entry in value)
        and any(len(entry) > 1 for entry in value)
        and not any(isinstance(train, list | Mapping) for entry in value for train in entry)
    )


def _by_trial(value: Sequence[Any], how: Reading) -> SpikeTrains:
    """Units in trials, each of which has a clock of its own."""
    n_inner = max(len(entry) for entry in value)
    if not how.axes:
        raise ValueError(
            f"{how.where} holds {len(value)} cells of up to {n_inner} trains each; say orientation='units x trials', "
            "'trials x units' or 'groups x units'"
        )
    rows = [[entry[n] if n < len(entry) else np.zeros(0) for n in range(n_inner)] for entry in value]
    trials = rows if how.axes[0] == "trials" else [list(trial) for trial in zip(*rows, strict=True)]
    return joined([from_units(trial, range(1, len(trial) + 1), how.time_units) for trial in trials])


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
        if isinstance(times, list):
            ids = next(
                (np.ravel(fields[name]).tolist() for name in IDS if np.size(fields.get(name, ())) == len(times)), None
            )
            for number, entry in enumerate(times):
                _walk(entry, (*path[1:], str(number + 1 if ids is None else ids[number])), found, how)
            return
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
