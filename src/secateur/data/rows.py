"""0/1 rows from a file of the user's: NumPy arrays and plain tables, checked before anything computes with them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from secateur.model import checked
from secateur.storage.files import regular_file
from secateur.storage.limits import MAX_VALUES
from secateur.storage.npz import array_names, read_npy, read_npz

SUFFIXES = (".npy", ".npz", ".csv", ".txt")
STATES = "states"
"""The array that is read from an ``.npz`` file of several, as in files of binary words."""

_MISSING = ("", "-", ".", "?", "na", "n/a", "none", "null", "missing")
"""How tables write, in small letters, that a value is missing; ``nan`` counts as a number."""


def read_rows(path: str | os.PathLike[str], *, binarize: float | None = None) -> Float[np.ndarray, "rows units"]:
    """Rows of 0 and 1, float32, one row per state (image, time bin) and one column per visible unit.

    Parameters
    ----------
    path
        ``.npy``; ``.npz`` with a single array or one named ``states``; ``.csv`` or ``.txt`` with values between commas
        or white space and at most one line of names above them, none of them a number. Nothing is unpickled.
    binarize
        Threshold: values above it become 1, all others 0. ``None``: the file must hold 0 and 1 only.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is of another kind, damaged or too large, or does not hold a table of 0 and 1.
    """
    path = regular_file(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path} must end in {', '.join(SUFFIXES)} to be read as rows of 0 and 1")
    try:
        values = {".npy": _npy, ".npz": _npz}.get(path.suffix.lower(), read_text_table)(path)
    except ValueError as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{path} cannot be read as rows of 0 and 1: {reason}") from error
    if values.ndim != 2 or min(values.shape) < 1:
        raise ValueError(f"{path} must hold a table (rows, units), got an array of shape {values.shape}")
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{path} must hold numbers, got an array of type {values.dtype}")
    if np.isnan(values).any():
        row, column = np.argwhere(np.isnan(values))[0]
        raise ValueError(
            f"{path} must hold numbers only, got nan in row {row}, column {column}, which no threshold makes 0 or 1; "
            "leave such rows out"
        )
    if binarize is not None:
        return (values > binarize).astype(np.float32)
    return checked.host_rows(values, what=str(path), remedy="give the threshold (binarize) above which values become 1")


def _npy(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        if file.read(6) != np.lib.format.MAGIC_PREFIX:
            raise ValueError("it is not an .npy file")
    array = read_npy(path, 8 * MAX_VALUES)
    return _of_size(array.size, array)


def _npz(path: Path) -> np.ndarray:
    names = array_names(path)
    if STATES not in names and len(names) != 1:
        raise ValueError(
            f"it holds the arrays {', '.join(sorted(names))}; expected a single one, or one named {STATES!r}"
        )
    chosen = STATES if STATES in names else names[0]
    array = read_npz(path, 8 * MAX_VALUES, names=[chosen])[chosen]
    return _of_size(array.size, array)


def read_text_table(path: Path) -> np.ndarray:
    """The numbers of a plain table, with at most one line of names above them; reasons in few words."""
    with _of_size(path.stat().st_size // 2, path).open(encoding="utf-8-sig") as file:
        # Numbers of lines as an editor counts them, for messages.
        lines = {number: line for number, line in enumerate(file, 1) if line.strip() and not line.startswith("#")}
    if not lines:
        raise ValueError("it holds no numbers")
    first = next(iter(lines))
    comma = "," if "," in lines[first] else None
    fields = _fields(lines[first], comma)
    if _are_names(fields):
        del lines[first]
        # Names between white space may hold some themselves; between commas there is one for every column.
        second = next(iter(lines), first)
        if comma and lines and len(_fields(lines[second], comma)) != len(fields):
            raise ValueError(_unequal(second, len(_fields(lines[second], comma)), first, len(fields)))
    elif len(fields) > 2 and fields in ([str(n + start) for n in range(len(fields))] for start in (0, 1)):
        raise ValueError(f"its line {first} counts the columns ({lines[first].strip()[:20]}...); remove that line")
    if not lines:
        raise ValueError("it holds no numbers")
    try:
        return np.loadtxt(list(lines.values()), np.float32, delimiter=comma, comments=None, ndmin=2)
    except ValueError as error:
        raise ValueError(_wrong_cell(lines, comma) or str(error)) from error


def _fields(line: str, comma: str | None) -> list[str]:
    return [field.strip() for field in line.split(comma)]


def _are_names(fields: list[str]) -> bool:
    """Whether a first line holds names: no number among them, and no mark of a missing number."""
    return not any(_is_number(field.strip("\"'")) or field.lower() in _MISSING for field in fields)


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _wrong_cell(lines: dict[int, str], comma: str | None) -> str | None:
    """Where a table of numbers is broken, in words."""
    first = next(iter(lines))
    n_columns = len(_fields(lines[first], comma))
    for number, line in lines.items():
        fields = _fields(line, comma)
        for column, field in enumerate(fields, 1):
            if not _is_number(field):
                remedy = "leave such lines out, and columns of names; one line of names may stand at the top"
                if ";" in field:
                    remedy = "write commas or white space between the values"
                return f"line {number}, column {column} holds {field!r}, which is no number; {remedy}"
        if len(fields) != n_columns:
            return _unequal(number, len(fields), first, n_columns)
    return None


def _unequal(line: int, n_columns: int, first: int, n_first: int) -> str:
    return f"line {line} has {n_columns} columns, line {first} has {n_first}; give every line as many values"


def _of_size(n_values: int, found: Any) -> Any:
    """``found``, unless it holds too many values."""
    if n_values > MAX_VALUES:
        raise ValueError(f"it holds about {n_values:,} values, more than {MAX_VALUES:,}; give fewer rows")
    return found
