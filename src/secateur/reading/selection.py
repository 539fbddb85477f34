"""Which units are kept: by their ids, or by a property such as a quality or a single-unit mark."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from secateur.reading.notes import listed
from secateur.reading.spike_trains import text


def select_units(
    units: str | Sequence[Any] | None, unit_ids: tuple[str, ...], properties: Mapping[str, np.ndarray]
) -> Bool[np.ndarray, " units"]:
    """True for every unit to keep.

    Parameters
    ----------
    units
        Ids; or a text: the name of a property that is true (1) for units to keep, ``NAME=VALUE``, or ids separated by
        commas. None keeps all.
    unit_ids
        Of the recording.
    properties
        One value per unit, by name.

    Raises
    ------
    ValueError
        If an id or a property is unknown, or no unit is left.
    """
    if units is None:
        return np.ones(len(unit_ids), bool)
    if isinstance(units, str):
        name, _, value = (part.strip() for part in units.partition("="))
        if name in properties:
            kept = _with_property(name, value, properties[name])
            if not kept.any():
                found = listed(np.unique([text(v) for v in properties[name]]))
                raise ValueError(f"units={units!r} leaves no unit; the values of {name} are {found}")
            return kept
        wanted = [part.strip() for part in units.split(",") if part.strip()]
    elif np.ndim(units) != 1:
        raise TypeError(f"units must be ids, the name of a property or 'NAME=VALUE', got {units!r}")
    else:
        wanted = [text(unit) for unit in units]
    unknown = [unit for unit in wanted if unit not in unit_ids]
    if unknown or not wanted:
        near = difflib.get_close_matches(str(units), properties, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"units: unknown {listed(unknown) or 'empty list'}; expected ids ({listed(unit_ids)}) or a property "
            f"({listed(properties) or 'this recording has none'}){hint}"
        )
    return np.isin(unit_ids, wanted)


def _with_property(name: str, value: str, found: np.ndarray) -> Bool[np.ndarray, " units"]:
    if value:
        return np.array([_same(entry, value) for entry in found])
    try:
        marks = found.astype(np.float64)
    except ValueError:
        marks = np.array([np.nan])
    if not np.isin(marks, (0, 1)).all():
        values = listed(np.unique([text(entry) for entry in found]))
        raise ValueError(
            f"property {name} is not true or false for every unit; say units={name}=VALUE (found: {values})"
        )
    return marks == 1


def _same(entry: Any, value: str) -> bool:
    try:
        return float(entry) == float(value)
    except (TypeError, ValueError):
        return text(entry) == value
