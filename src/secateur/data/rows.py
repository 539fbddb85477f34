"""0/1 rows from a file of the user's: NumPy arrays and plain tables, checked before anything computes with them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from secateur.storage.limits import MAX_VALUES
from secateur.storage.npz import array_names, read_npy, read_npz

SUFFIXES = (".npy", ".npz", ".csv", ".txt")
STATES = "states"
"""The array that is read from an ``.npz`` file of several, as in files of binary words."""


def read_rows(path: str | os.PathLike[str], *, binarize: float | None = None) -> Float[np.ndarray, "rows units"]:
    """Rows of 0 and 1, float32, one row per state (image, time bin) and one column per visible unit.

    Parameters
    ----------
    path
        ``.npy``; ``.npz`` with a single array or one named ``states``; ``.csv`` or ``.txt`` with values between commas
        or white space and at most one line of names above them. Nothing is unpickled.
    binarize
        Threshold: values above it become 1, all others 0. ``None``: the file must hold 0 and 1 only.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is of another kind, damaged or too large, or does not hold a table of 0 and 1.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path} must end in {', '.join(SUFFIXES)} to be read as rows of 0 and 1")
    try:
        values = {".npy": _npy, ".npz": _npz}.get(path.suffix.lower(), _text)(path)
    except ValueError as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"{path} cannot be read as rows of 0 and 1: {reason}") from error
    if values.ndim != 2 or min(values.shape) < 1:
        raise ValueError(f"{path} must hold a table (rows, units), got an array of shape {values.shape}")
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{path} must hold numbers, got an array of type {values.dtype}")
    if binarize is not None:
        if np.isnan(values).any():
            raise ValueError(f"{path} holds NaN, which no threshold makes 0 or 1; leave those rows out")
        return (values > binarize).astype(np.float32)
    wrong = np.argwhere((values != 0) & (values != 1))
    if len(wrong):
        row, column = wrong[0]
        raise ValueError(
            f"{path} must hold 0 and 1 only, got {values[row, column]} in row {row}, column {column}; "
            "give the threshold (binarize) above which values become 1"
        )
    return values.astype(np.float32)


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


def _text(path: Path) -> np.ndarray:
    with _of_size(path.stat().st_size // 2, path).open(encoding="utf-8-sig") as file:
        lines = [line for line in file if line.strip()]
    comma = "," if lines and "," in lines[0] else None
    lines = lines[int(bool(lines) and not _numeric(lines[0], comma)) :]
    if not lines:
        raise ValueError("it holds no numbers")
    return np.loadtxt(lines, np.float32, delimiter=comma, ndmin=2)


def _numeric(line: str, delimiter: str | None) -> bool:
    try:
        return bool([float(field) for field in line.split(delimiter)])
    except ValueError:
        return False


def _of_size(n_values: int, found: Any) -> Any:
    """``found``, unless it holds too many values."""
    if n_values > MAX_VALUES:
        raise ValueError(f"it holds about {n_values:,} values, more than {MAX_VALUES:,}; give fewer rows")
    return found
