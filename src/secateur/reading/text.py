"""Tables in text files: with commas, semicolons, tabs or spaces, with or without a line of names."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pandas as pd

from secateur.storage.limits import MAX_COLUMNS, MAX_TEXT_BYTES

DELIMITERS = (";", "\t", ",")
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")
POINTS = "write decimals with points"


def read_text(path: Path) -> tuple[dict[str, np.ndarray], bool]:
    """Columns of a text table by name, and whether the file names them; else they are called 1, 2, ...

    Lines that begin with ``#`` or ``%`` and empty lines are left out; ``NaN`` or an empty cell is a missing number.

    Raises
    ------
    ValueError
        If the file is not a table in text, has commas for decimals, or its lines differ in length.
    """
    lines = _lines(path)
    delimiter = next((mark for mark in DELIMITERS if mark in lines[0]), None)
    first = _cells(lines[0], delimiter)
    if len(first) > MAX_COLUMNS:
        raise ValueError(
            f"{path} has {len(first):,} columns, more than the {MAX_COLUMNS:,} that are read from text; write one spike "
            "a line, or save the array as .npy"
        )
    named = not any(_is_number(cell) for cell in first)
    lines = lines[named:]
    if not lines:
        raise ValueError(f"{path} has a line of names and no rows")
    cells = re.split(r"[;\s]+", lines[0].strip())
    example = next((cell for cell in cells if DECIMAL_COMMA.fullmatch(cell)), None)
    if example and (delimiter != "," or len(cells) > 1):
        raise ValueError(f"{path} has commas for decimals (such as {example}); {POINTS}")
    separator = r"\s+" if delimiter is None else delimiter
    try:
        table = pd.read_csv(io.StringIO("\n".join(lines)), sep=separator, header=None, skipinitialspace=True)
    except pd.errors.ParserError as error:
        raise ValueError(f"{path} is not a table: {str(error).strip()}; every line needs as many cells") from error
    if named and len(first) != table.shape[1]:
        raise ValueError(
            f"{path} names {len(first)} columns but its rows have {table.shape[1]} cells; if commas stand for "
            f"decimals, {POINTS}"
        )
    names = first if named else [str(number + 1) for number in range(table.shape[1])]
    if len(set(names)) < len(names):
        raise ValueError(f"{path} names a column twice: {', '.join(names)}")
    columns = {name: table[number].to_numpy() for number, name in enumerate(names)}
    return {name: column.astype(str) if column.dtype.kind == "O" else column for name, column in columns.items()}, named


def _lines(path: Path) -> list[str]:
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise ValueError(
            f"{path} has {path.stat().st_size:,} bytes, more than the {MAX_TEXT_BYTES:,} of text; save .npz"
        )
    content = path.read_bytes()
    if content[:64].lower().startswith(b"<start settings>"):
        raise ValueError(
            f"{path} is a file of a tracking or acquisition program (settings, then binary records), for example an "
            "animal's positions, and holds no table of spikes; give the file with the spike times"
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ValueError(
            f"{path} is a binary file of an unknown kind; expected .npz, .npy, .mat, .nwb, HDF5, or a table in "
            "UTF-8 text"
        )
    lines = [line for line in text.splitlines() if line.strip() and line.lstrip()[0] not in "#%"]
    if not lines:
        raise ValueError(f"{path} holds no rows")
    return lines


def _cells(line: str, delimiter: str | None) -> list[str]:
    return [cell.strip().strip('"') for cell in line.strip().split(delimiter)]


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True
