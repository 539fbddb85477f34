"""Tables of numbers in text files, as spreadsheets and data frames write them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

_MISSING = ("", "-", ".", "?", "na", "n/a", "none", "null", "missing")
"""How tables write, in small letters, that a value is missing; ``nan`` counts as a number."""
_TRUTH = {"true": "1", "false": "0"}
_INDEX_NAMES = ("", "Unnamed: 0")
"""What data frames call the column of their index when they write it, and when they write it a second time."""


class TextTable(NamedTuple):
    """Numbers ``(rows, columns)``, the columns' names where the file has some, and the column of labels asked for."""

    values: np.ndarray
    names: list[str] | None = None
    labels: np.ndarray | None = None


def read_text_table(
    path: Path, max_values: int, *, drop: Sequence[str] = (), labels: str | None = None, in_settings: bool = False
) -> TextTable:
    """The table of a file, with at most one line of names above the numbers; reasons in few words.

    Values stand between semicolons, commas or white space; True and False are 1 and 0; decimal commas are read where
    semicolons part the values. The unnamed first column in which a data frame writes its index is left out.

    Parameters
    ----------
    path
        The file.
    max_values
        Numbers that it may hold.
    drop
        Names of columns to leave out.
    labels
        Name of a column whose values are returned apart, as text.
    in_settings
        Whether columns are left out by settings of a study and not by options, for messages.

    Raises
    ------
    ValueError
        If the file holds no such table, too many values, or no column of that name.
    """
    if (n_values := path.stat().st_size // 2) > max_values:
        raise ValueError(f"it holds about {n_values:,} values, more than {max_values:,}; give fewer rows")
    with path.open(encoding="utf-8-sig") as file:
        # Numbers of lines as an editor counts them, for messages.
        lines = {number: line for number, line in enumerate(file, 1) if line.strip() and not line.startswith("#")}
    if not lines:
        raise ValueError("it holds no numbers")
    first, line = next(iter(lines.items()))
    mark = next((mark for mark in ";," if mark in line), None)
    names = _names(lines, mark)
    if names is None:
        if unknown := [*drop, *([] if labels is None else [labels])]:
            raise ValueError(f"it has no line of names, so no column {unknown[0]!r}; put names above the columns")
        return TextTable(_numbers(lines, mark))
    del lines[first]
    if not lines:
        raise ValueError("it holds no numbers")
    # Names between white space may hold some themselves; between marks there is one for every column.
    width = len(_fields(next(iter(lines.values())), mark))
    if width != len(names):
        if mark is None and not drop and labels is None:
            return TextTable(_numbers(lines, mark))
        raise ValueError(_unequal(next(iter(lines)), width, first, len(names)))
    apart = None if labels is None else _column(lines, mark, _place(names, labels))
    left_out = {_place(names, name) for name in (*drop, *([] if labels is None else [labels]))}
    if names[0] in _INDEX_NAMES and _counts(_column(lines, mark, 0)):
        left_out.add(0)
    kept = [column for column in range(width) if column not in left_out]
    if not kept:
        raise ValueError("no column is left; drop fewer")
    return TextTable(_numbers(lines, mark, kept, names, in_settings), [names[column] for column in kept], apart)


def suspect_column(table: TextTable, in_settings: bool = False) -> str | None:
    """Why a column is no unit, in words with the remedy: an index, or labels beside columns of 0 and 1."""
    if table.names is None or table.values.shape[1] < 2:
        return None
    binary = ((table.values == 0) | (table.values == 1)).all(axis=0)
    for column, name in enumerate(table.names):
        values = table.values[:, column]
        if len(values) > 2 and not binary[column] and _counts(values):
            return f"column {name!r} numbers the rows; leave it out with {_left_out(name, in_settings)}"
    odd = np.flatnonzero(~binary)
    if len(odd) == 1 and not np.isnan(table.values[:, odd[0]]).any():
        name = table.names[odd[0]]
        value = next(value for value in table.values[:, odd[0]] if value not in (0, 1))
        return f"column {name!r} holds {value:g} where all others hold 0 and 1 only; {_remedy(name, in_settings)}"
    return None


def _names(lines: dict[int, str], mark: str | None) -> list[str] | None:
    """The names in the first line; ``None`` where it holds numbers."""
    first, line = next(iter(lines.items()))
    fields = _fields(line, mark)
    rest = fields[1:] if fields[0] == "" else fields
    below = {number: text for number, text in lines.items() if number != first}
    if rest and not any(_is_number(field) or field.lower() in (*_MISSING, *_TRUTH) for field in rest):
        return fields if rest is fields or _counts(_column(below, mark, 0)) else None
    numbers = [int(field) for field in rest if field.isdecimal()]
    rising = len(numbers) > 2 and all(low < high for low, high in zip(numbers, numbers[1:], strict=False))
    if not rising or any(_is_number(field) and not field.isdecimal() or field == "" for field in rest):
        return None
    if len(rest) < len(fields) or len(numbers) < len(fields):
        return fields
    if {cell.lower() for text in below.values() for cell in _fields(text, mark)} <= {"0", "1", "0.0", "1.0", *_TRUTH}:
        return fields
    if numbers == list(range(numbers[0], numbers[0] + len(numbers))) and numbers[0] in (0, 1):
        raise ValueError(f"its line {first} counts the columns ({line.strip()[:20]}...); remove that line")
    return None


def _place(names: list[str], name: str) -> int:
    if name not in names:
        known = ", ".join(map(repr, names))[:200]
        raise ValueError(f"it has no column {name!r}; its columns are {known}; give one of them")
    return names.index(name)


def _counts(values: Sequence[str] | np.ndarray) -> bool:
    """Whether values are the numbers of rows, from 0 or 1."""
    try:
        numbers = np.asarray(values, float)
    except ValueError:
        return False
    return len(numbers) > 0 and any((numbers == np.arange(start, start + len(numbers))).all() for start in (0, 1))


def _quoted(name: str) -> str:
    return name if name.replace("_", "a").isalnum() else repr(name)


def _numbers(
    lines: dict[int, str],
    mark: str | None,
    kept: list[int] | None = None,
    names: list[str] | None = None,
    in_settings: bool = False,
) -> np.ndarray:
    """The kept columns as numbers; told by line and column where a cell is none."""
    try:
        return np.loadtxt(
            list(lines.values()), np.float32, delimiter=mark, comments=None, ndmin=2, usecols=kept, quotechar='"'
        )
    except ValueError:
        pass  # words for numbers, or a broken table
    rows = []
    first = next(iter(lines))
    n_columns = len(_fields(lines[first], mark))
    for number, line in lines.items():
        fields = _fields(line, mark)
        row = []
        for column in range(len(fields)) if kept is None else kept:
            cell = fields[column] if column < len(fields) else "0"  # too short a line is told below
            text = _TRUTH.get(cell.lower(), cell)
            text = text.replace(",", ".") if mark == ";" else text
            if not _is_number(text):
                raise ValueError(_no_number(number, column, cell, names, in_settings))
            row.append(float(text))
        if len(fields) != n_columns:
            raise ValueError(_unequal(number, len(fields), first, n_columns))
        rows.append(np.array(row, np.float32))
    return np.array(rows, np.float32)


def _no_number(line: int, column: int, cell: str, names: list[str] | None, in_settings: bool) -> str:
    told = f"line {line}, column {column + 1} holds {cell!r}, which is no number; "
    if names is None or cell.lower() in _MISSING:
        return told + "leave such lines out, and columns of names; one line of names may stand at the top"
    return f"{told}column {names[column]!r} is no unit: {_remedy(names[column], in_settings)}"


def _remedy(name: str, in_settings: bool) -> str:
    labels = f"data.labels = {name!r}" if in_settings else f"--labels {_quoted(name)}"
    return f"say {labels} if these are labels, or {_left_out(name, in_settings)}"


def _left_out(name: str, in_settings: bool) -> str:
    return f"data.drop = [{name!r}]" if in_settings else f"--drop {_quoted(name)}"


def _column(lines: dict[int, str], mark: str | None, column: int) -> np.ndarray:
    found = [_fields(line, mark) for line in lines.values()]
    return np.array([fields[column] if column < len(fields) else "" for fields in found])


def _fields(line: str, mark: str | None) -> list[str]:
    if mark is None:
        return [field.strip("\"'") for field in line.split()]
    return [field.strip() for field in next(csv.reader([line], delimiter=mark, skipinitialspace=True))]


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _unequal(line: int, n_columns: int, first: int, n_first: int) -> str:
    return f"line {line} has {n_columns} columns, line {first} has {n_first}; give every line as many values"
