"""0/1 rows from a file of the user's: NumPy arrays and plain tables, checked before anything computes with them."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from secateur.data.text_tables import read_text_table, suspect_column
from secateur.model import checked
from secateur.storage.files import regular_file
from secateur.storage.limits import MAX_VALUES
from secateur.storage.npz import array_names, read_npy, read_npz

SUFFIXES = (".npy", ".npz", ".csv", ".txt")
STATES = "states"
"""The array that is read from an ``.npz`` file of several, as in files of binary words."""


def read_rows(
    path: str | os.PathLike[str], *, binarize: float | None = None, drop: Sequence[str] = (), labels: str | None = None
) -> Float[np.ndarray, "rows units"]:
    """Rows of 0 and 1, float32, one row per state (image, time bin) and one column per visible unit.

    Parameters
    ----------
    path
        ``.npy``; ``.npz`` with a single array or one named ``states``; ``.csv`` or ``.txt`` with values between commas,
        semicolons or white space and at most one line of names above them, as data frames write them: an unnamed index
        is left out, True and False are 1 and 0. Nothing is unpickled.
    binarize
        Threshold: values above it become 1, all others 0. ``None``: the file must hold 0 and 1 only.
    drop, labels
        Columns of a ``.csv`` or ``.txt`` that are no units, by name; none of them is read as one.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is of another kind, damaged or too large, or does not hold a table of 0 and 1.
    """
    if binarize is not None and not math.isfinite(binarize):
        raise ValueError(
            f"binarize must be a finite number, above which values become 1, got {binarize}; give e.g. 0.5"
        )
    path = regular_file(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path} must end in {', '.join(SUFFIXES)} to be read as rows of 0 and 1")
    if path.suffix.lower() in (".npy", ".npz") and (drop or labels is not None):
        raise ValueError(f"--drop and --labels name columns of .csv and .txt, which {path} is not; leave them out")
    try:
        if path.suffix.lower() in (".npy", ".npz"):
            values = (_npy if path.suffix.lower() == ".npy" else _npz)(path)
        else:
            table = read_text_table(path, MAX_VALUES, drop=drop, labels=labels)
            if suspect := suspect_column(table):
                raise ValueError(suspect)
            values = table.values
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
    return checked.host_rows(
        values, what=str(path), remedy="give the threshold (--binarize) above which values become 1"
    )


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


def _of_size(n_values: int, found: Any) -> Any:
    """``found``, unless it holds too many values."""
    if n_values > MAX_VALUES:
        raise ValueError(f"it holds about {n_values:,} values, more than {MAX_VALUES:,}; give fewer rows")
    return found
