"""Tables in text files: with commas, semicolons, tabs or spaces, with or without a line of names."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from secateur.reading.notes import listed, shortened
from secateur.storage.limits import MAX_COLUMNS, MAX_TEXT_BYTES

DELIMITERS = (";", "\t", ",")
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")
POINTS = "write decimals with points"


@dataclass(frozen=True)
class TextTable:
    """Columns of a text table by name, whether the file names them (else they are called 1, 2, ...), and its lines.

    Attributes
    ----------
    columns
        Numbers or texts, by name.
    named
        Whether the file names them.
    line_numbers
        Of each row, from 1.
    remarks
        What reading them has to say.
    """

    columns: dict[str, np.ndarray]
    named: bool
    line_numbers: list[int]
    remarks: tuple[str, ...] = ()


def read_text(path: Path, told: Sequence[str] = ()) -> TextTable:
    """A table in text.

    Lines that begin with ``#`` or ``%`` and lines without an entry are left out; ``NaN`` or an empty cell is a missing
    number. A first line of unit numbers (``0,1,2``) above words is a line of names.

    Parameters
    ----------
    told
        Names of the columns in their order, if the user gives them; they go before those of the file.

    Raises
    ------
    ValueError
        If the file is not a table in text, has commas for decimals, or its lines differ in length.
    """
    numbered = _lines(path)
    delimiter = next((mark for mark in DELIMITERS if mark in numbered[0][1]), None)
    first = _cells(numbered[0][1], delimiter)
    if len(first) > MAX_COLUMNS:
        raise ValueError(
            f"{path} has {len(first):,} columns, more than the {MAX_COLUMNS:,} that are read from text; write one "
            "spike a line, or save the array as .npy"
        )
    named = not any(_is_number(cell) for cell in first)
    body = numbered[named:]
    if not body:
        raise ValueError(f"{path} has a line of names and no rows")
    cells = re.split(r"[;\s]+", body[0][1].strip())
    example = next((cell for cell in cells if DECIMAL_COMMA.fullmatch(cell)), None)
    if example and (delimiter != "," or len(cells) > 1):
        raise ValueError(f"{path} has commas for decimals (such as {shortened(example)}); {POINTS}")
    table = _table(path, body, delimiter)
    if table.shape[1] > 1 and delimiter is not None and table[table.shape[1] - 1].isna().all():
        table = table.iloc[:, :-1]  # a delimiter ends every line
        first = first[:-1] if len(first) > table.shape[1] and not first[-1] else first
    numeric = not named and not told and _is_header(table)
    if numeric:
        first, table, body = first[: table.shape[1]], table.iloc[1:], body[1:]
    names = [str(number + 1) for number in range(table.shape[1])]
    if (named or numeric) and not (len(told) == table.shape[1] != len(first)):
        _check_names(path, first, table.shape[1])
        names = first
    columns = {name: table[number].to_numpy() for number, name in enumerate(names)}
    columns = {name: column.astype(str) if column.dtype.kind == "O" else column for name, column in columns.items()}
    remarks = (f"the first line ({listed(first, 3)}) was taken as names of units",) if numeric else ()
    return TextTable(columns, named or numeric, [number for number, _ in body], remarks)


def read_rows(path: Path) -> list[np.ndarray]:
    """Lines of numbers, each as an array; they may differ in length.

    Raises
    ------
    ValueError
        If a line holds anything but numbers.
    """
    rows = []
    for number, line in _lines(path):
        delimiter = next((mark for mark in DELIMITERS if mark in line), None)
        try:
            rows.append(np.array([float(cell) for cell in _cells(line, delimiter) if cell]))
        except ValueError as error:
            raise ValueError(
                f"{path}, line {number}: every entry must be a number ({shortened(error, 120)}); remove the line"
            ) from error
    return rows


def check_numbers(path: Path, table: TextTable, name: str) -> None:
    """Refuse a column of times with anything but numbers, and name the line.

    Raises
    ------
    ValueError
        If there is such a line.
    """
    for number, value in zip(table.line_numbers, table.columns[name].tolist(), strict=True):
        try:
            float(value)
        except (TypeError, ValueError):
            raise ValueError(
                f"{path}, line {number}: times must be numbers (decimals with points), got {shortened(value)!r}; "
                "correct or remove the line"
            ) from None


def _table(path: Path, body: Sequence[tuple[int, str]], delimiter: str | None) -> pd.DataFrame:
    separator = r"\s+" if delimiter is None else delimiter
    content = io.StringIO("\n".join(line for _, line in body))
    try:
        return pd.read_csv(content, sep=separator, header=None, skipinitialspace=True)
    except pd.errors.ParserError as error:
        raise ValueError(
            f"{path} is not a table: {str(error).strip()}; every line needs as many cells, or say "
            "orientation='units x times' if every line holds the times of one unit"
        ) from error


def _check_names(path: Path, first: Sequence[str], n_columns: int) -> None:
    if len(first) != n_columns:
        remedy = (
            f"if commas stand for decimals, {POINTS}"
            if len(first) < n_columns
            else "remove the name without a column, or name all columns in their order (columns='time,unit')"
        )
        raise ValueError(
            f"{path} names {len(first)} columns ({listed(first)}) but its rows have {n_columns} cells; {remedy}"
        )
    if len(set(first)) < len(first):
        raise ValueError(f"{path} names a column twice: {listed(first, 20)}")


def _is_header(table: pd.DataFrame) -> bool:
    """Whether the first of several rows of whole numbers are numbers of units above words."""
    if table.shape[0] < 3 or table.shape[1] < 2 or any(kind.kind not in "iuf" for kind in table.dtypes):
        return False
    first, rest = table.iloc[0].to_numpy(np.float64), table.iloc[1:].to_numpy(np.float64)
    if (first != np.rint(first)).any() or (rest != np.rint(rest)).any() or (np.diff(first) <= 0).any():
        return False
    binary = bool(np.isin(rest, (0, 1)).all())
    counts_up = len(first) > 3 and first[0] in (0, 1) and bool((np.diff(first) == 1).all())
    return bool((binary and first.max() > 1) or (counts_up and first.max() > rest.max(initial=0)))


def _lines(path: Path) -> list[tuple[int, str]]:
    """Lines that hold something, with their numbers from 1."""
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
    text = _decoded(content)
    if text is None:
        raise ValueError(
            f"{path} is a binary file of an unknown kind; expected .npz, .npy, .mat, .nwb, HDF5, or a table in "
            "UTF-8 text"
        )
    numbered = enumerate(text.splitlines(), 1)
    lines = [(n, line) for n, line in numbered if line.strip(" \t,;") and line.lstrip()[0] not in "#%"]
    if not lines:
        raise ValueError(f"{path} holds no rows")
    return lines


def _decoded(content: bytes) -> str | None:
    """Text in UTF-8, in UTF-16 with its mark, or in Latin-1; None if these are no lines of text."""
    try:
        text = content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", "replace")
    odd = sum(not (character.isprintable() or character in "\t\r\n\f\v") for character in text[:10000])
    return None if "\0" in text or odd or "\ufffd" in text[:10000] else text


def _cells(line: str, delimiter: str | None) -> list[str]:
    return [cell.strip().strip('"') for cell in line.strip().split(delimiter)]


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True
