"""Tables of the user's own in files of any common kind: rows of numbers, labels, images; large ones stay on disk."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from secateur.data.text_tables import read_text_table, suspect_column
from secateur.storage.files import regular_file
from secateur.storage.limits import MAX_UNPACKED, MAX_VALUES
from secateur.storage.npz import array_names, open_npy, read_npz

SUFFIXES = (".npy", ".npz", ".csv", ".txt", ".gz", ".idx")
_IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_NAMES = {
    "rows": ("rows", "train_rows", "states", "images", "X", "x", "X_train", "x_train", "train_images", "data", "train"),
    "labels": ("labels", "train_labels", "y", "y_train", "target", "targets"),
    "test_rows": ("test_rows", "X_test", "x_test", "test_images", "test"),
    "test_labels": ("test_labels", "y_test", "test_target"),
}
"""What arrays of an ``.npz`` file and files of a folder may be called, by what they are."""
_MNIST = {
    "rows": "train-images-idx3-ubyte",
    "labels": "train-labels-idx1-ubyte",
    "test_rows": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}


class Tables(NamedTuple):
    """Rows ``(rows, units)`` or images ``(rows, height, width)``, with labels and test rows where there are any."""

    rows: np.ndarray
    labels: np.ndarray | None = None
    test_rows: np.ndarray | None = None
    test_labels: np.ndarray | None = None


def find_in_folder(folder: Path) -> dict[str, Path]:
    """Files of a folder by what they are (``rows``, ``labels``, ``test_rows``, ``test_labels``), told by their names.

    Raises
    ------
    ValueError
        If no file is named as rows are, or two are.
    """
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    found: dict[str, Path] = {}
    for what, names in _NAMES.items():
        known = (*names, _MNIST[what])
        fitting = [path for path in files if path.name.split(".")[0] in known and _is_table(path)]
        if len(fitting) > 1:
            both = ", ".join(path.name for path in fitting)
            raise ValueError(f"{folder} holds several files of {what}: {both}; name the one you mean")
        if fitting:
            found[what] = fitting[0]
    tables = [path for path in files if _is_table(path)]
    if "rows" not in found and len(tables) == 1:
        found["rows"] = tables[0]
    if "rows" not in found:
        raise ValueError(
            f"{folder} holds no file of rows; name it rows.npy (or .npz, .csv, IDX), and labels.npy, test_rows.npy and "
            "test_labels.npy beside it where there are any"
        )
    return found


def read_tables(
    rows: Path,
    labels: str | Path | None = None,
    test_rows: Path | None = None,
    test_labels: Path | None = None,
    *,
    drop: Sequence[str] = (),
    in_settings: bool = False,
) -> Tables:
    """Rows and what belongs to them.

    Parameters
    ----------
    rows
        ``.npy`` (kept on disk until rows are taken), ``.npz``, ``.csv`` or ``.txt``, or IDX (plain or gzip). The arrays
        of an ``.npz`` file may be named ``rows``, ``labels``, ``test_rows``, ``test_labels`` or as is usual
        (``x_train``, ``y_train``, ...).
    labels
        A file with one label per row, or the name of a column of a ``.csv`` or ``.txt`` (test rows in such a file have
        it as well) or of an array of an ``.npz``.
    test_rows, test_labels
        Files of rows that are kept for testing.
    drop
        Columns of ``.csv`` and ``.txt`` to leave out, by name.
    in_settings
        Whether labels and columns are named by settings of a study and not by options, for messages.

    Raises
    ------
    FileNotFoundError
        If a file is not there.
    ValueError
        If a file is of another kind, damaged or too large, or does not hold such a table.
    """
    how = _Columns(tuple(drop), in_settings)
    found = _rows_and_labels(rows, labels, how)
    if found.test_rows is None and test_rows is not None:
        # The column of labels is none of the test rows' units either.
        both = test_labels is None and _is_text(rows) and _is_text(test_rows)
        in_column = both and labels is not None and not Path(labels).is_file()
        of_test = _rows_and_labels(test_rows, labels if in_column else None, how)
        found = found._replace(test_rows=of_test.rows, test_labels=of_test.labels)
    if found.test_labels is None and test_labels is not None:
        found = found._replace(test_labels=_labels(test_labels))
    return checked_tables(found, str(rows))


def checked_tables(found: Tables, what: str) -> Tables:
    """Tables that fit each other, or a refusal that names ``what``."""
    for name, table, labels in (
        ("rows", found.rows, found.labels),
        ("test rows", found.test_rows, found.test_labels),
    ):
        if table is None:
            if labels is not None:
                raise ValueError(
                    f"{what}: there are labels of {name} but no {name}; give them, or leave the labels out"
                )
            continue
        if table.ndim not in (2, 3) or min(table.shape) < 1 or table.dtype.kind not in "biuf":
            raise ValueError(
                f"{what}: {name} must be numbers (rows, units) or images (rows, height, width), got an array of shape "
                f"{table.shape} and type {table.dtype}"
            )
        if labels is not None and labels.shape != table.shape[:1]:
            raise ValueError(
                f"{what}: labels of {name} must be one per row, {len(table)}, got shape {labels.shape}; leave lines of "
                "names out, or give the labels of these rows"
            )
    if found.test_rows is not None and found.test_rows.shape[1:] != found.rows.shape[1:]:
        raise ValueError(
            f"{what}: rows have shape {found.rows.shape[1:]}, test rows {found.test_rows.shape[1:]}; give rows of "
            "one kind"
        )
    if found.test_rows is not None and (found.labels is None) != (found.test_labels is None):
        raise ValueError(f"{what}: labels are needed of rows and of test rows, or of neither; one of them is missing")
    return found


class _Columns(NamedTuple):
    """Columns of text files to leave out, and whether settings or options name them."""

    drop: tuple[str, ...] = ()
    in_settings: bool = False

    def check(self, path: Path) -> None:
        """Refuse columns of a file that has no names."""
        if self.drop and not _is_text(path):
            option = "data.drop" if self.in_settings else "--drop"
            raise ValueError(f"{option} names columns of .csv and .txt, which {path} is not; leave it out")


def _is_text(path: Path) -> bool:
    return path.suffix.lower() in (".csv", ".txt")


def _rows_and_labels(path: Path, labels: str | Path | None, how: _Columns) -> Tables:
    regular_file(path)
    how.check(path)
    if path.suffix == ".npz":
        return _of_npz(path, labels)
    if labels is not None and _is_text(path) and not Path(labels).is_file():
        return _of_column(path, str(labels), how)
    return Tables(_table(path, how), None if labels is None else _labels(Path(labels)))


def _of_npz(path: Path, labels: str | Path | None) -> Tables:
    with _named(path):
        names = array_names(path)
    chosen: dict[str, str] = {}
    for what, known in _NAMES.items():
        fitting = [name for name in known if name in names]
        if fitting:
            chosen[what] = fitting[0]
    if len(names) == 1:
        chosen = {"rows": names[0]}
    if labels is not None:
        if str(labels) in names:
            chosen["labels"] = str(labels)
        elif Path(labels).is_file():
            chosen.pop("labels", None)
        else:
            raise ValueError(f"{path} holds no array {str(labels)!r} of labels; it holds {', '.join(sorted(names))}")
    if "rows" not in chosen:
        raise ValueError(
            f"{path} holds the arrays {', '.join(sorted(names))}, none of which is named as rows are; name one 'rows'"
        )
    with _named(path):
        arrays = read_npz(path, 8 * MAX_VALUES, names=list(chosen.values()))
    found = {what: arrays[name] for what, name in chosen.items()}
    if labels is not None and "labels" not in found:
        found["labels"] = _labels(Path(labels))
    return Tables(**found)


def _of_column(path: Path, column: str, how: _Columns) -> Tables:
    regular_file(path)
    with _named(path):
        try:
            found = read_text_table(path, MAX_VALUES, drop=how.drop, labels=column, in_settings=how.in_settings)
        except ValueError as error:
            option = "data.labels" if how.in_settings else "--labels"
            missing = f"no column {column!r}" in str(error)
            told = f"{option} must be a file or a column of {path}, got {column!r}; " if missing else ""
            raise ValueError(told + str(error)) from error
        if suspect := suspect_column(found, how.in_settings):
            raise ValueError(suspect)
    assert found.labels is not None
    labels = found.labels
    if _numeric(labels):
        numbers = labels.astype(float)
        labels = numbers.astype(int) if (numbers == numbers.round()).all() else numbers
    return Tables(found.values, labels)


def _table(path: Path, how: _Columns = _Columns()) -> np.ndarray:  # noqa: B008
    regular_file(path)
    with _named(path):
        if path.suffix == ".npy":
            return open_npy(path)
        if path.suffix == ".npz":
            names = array_names(path)
            if len(names) != 1:
                raise ValueError(f"it holds the arrays {', '.join(sorted(names))}; expected a single one")
            return read_npz(path, 8 * MAX_VALUES)[names[0]]
        if path.suffix.lower() in (".csv", ".txt"):
            found = read_text_table(path, MAX_VALUES, drop=how.drop, in_settings=how.in_settings)
            if suspect := suspect_column(found, how.in_settings):
                raise ValueError(suspect)
            return found.values
        if _is_idx(path):
            return parse_idx_of_any_kind(_unpacked(path))
    raise ValueError(f"{path} is no table of numbers; give {', '.join(SUFFIXES[:4])} or an IDX file")


def _labels(path: Path) -> np.ndarray:
    """One label per row: whole numbers or words."""
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}, and no column or array of that name; give the labels' file")
    regular_file(path)
    if path.suffix in (".csv", ".txt"):
        lines = path.read_text("utf-8-sig", errors="replace").splitlines()
        values = np.array([line.strip().strip("\"'") for line in lines if line.strip()])
        # A first line of names: a word above numbers, or a word that comes once above words that come again.
        alone = len(values) > 2 and values[0] not in values[1:] and len(set(values[1:])) <= len(values) // 2
        if alone and not _numeric(values[:1]):
            values = values[1:]
        return values
    return np.squeeze(_table(path))


def _numeric(values: np.ndarray) -> bool:
    try:
        values.astype(float)
    except ValueError:
        return False
    return True


class _named:
    """Completes the few words of readers with the file's name."""

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, ValueError) and str(self.path) not in str(error):
            raise ValueError(f"{self.path} cannot be read as a table: {' '.join(str(error).split())[:300]}") from error


def _is_table(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES or _is_idx(path)


def _is_idx(path: Path) -> bool:
    """Whether a file begins as IDX files do, plain or gzip."""
    try:
        with path.open("rb") as file:
            head = file.read(4)
        if head[:2] == b"\x1f\x8b":
            with gzip.open(path, "rb") as packed:
                head = packed.read(4)
    except (OSError, EOFError, zlib.error):
        return False
    return len(head) == 4 and head[:2] == b"\0\0" and head[2] in _IDX_TYPES and 1 <= head[3] <= 3


def _unpacked(path: Path) -> bytes:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        try:
            content = (gzip.GzipFile(fileobj=file) if packed else file).read(MAX_UNPACKED + 1)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"it is a truncated or damaged gzip file ({error})") from error
    if len(content) > MAX_UNPACKED:
        raise ValueError(
            f"it has more than {MAX_UNPACKED:,} bytes (unpacked); save it as .npy, which is read in pieces"
        )
    return content


def parse_idx_of_any_kind(content: bytes) -> np.ndarray:
    """The array of an unpacked IDX file of numbers of any type and up to three axes.

    Raises
    ------
    ValueError
        If the content is truncated or longer than it declares.
    """
    dtype, n_axes = np.dtype(_IDX_TYPES[content[2]]), content[3]
    start = 4 + 4 * n_axes
    shape = tuple(int.from_bytes(content[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(n_axes))
    expected = math.prod(shape) * dtype.itemsize
    if len(content) < start or len(content) - start != expected:
        raise ValueError(f"it declares an array of shape {shape}, {expected:,} bytes, and has {len(content) - start:,}")
    return np.frombuffer(content, dtype, offset=start).reshape(shape)
