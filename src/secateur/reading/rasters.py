"""Tables of words: named columns of counts, an index or a time axis beside them, sparse matrices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse

from secateur.reading import ready, tables
from secateur.reading.ready import ReadyWords
from secateur.storage.limits import MAX_BYTES

INDEX_NAMES = ("", "index", "bin", "bins", "frame", "unnamed: 0")
SPARSE = ({"data", "indices", "indptr", "shape", "format"}, {"data", "row", "col", "shape", "format"})
"""Arrays of the files of ``scipy.sparse.save_npz``."""


def dense(matrix: Any, where: str) -> np.ndarray:
    """A sparse matrix as an array.

    Raises
    ------
    ValueError
        If the array would be too large.
    """
    if math.prod(matrix.shape) * matrix.dtype.itemsize > MAX_BYTES:
        raise ValueError(f"{where}: a sparse matrix of shape {matrix.shape} is too large; cut it into parts")
    return np.asarray(matrix.toarray())


def from_sparse_file(arrays: Mapping[str, np.ndarray], where: str) -> Any:
    """The matrix of a file of ``scipy.sparse.save_npz``; None for other files.

    Raises
    ------
    ValueError
        If its arrays do not fit each other.
    """
    if not any(names <= set(arrays) for names in SPARSE):
        return None
    kind = arrays["format"].item()
    kind = kind.decode("ascii", "replace") if isinstance(kind, bytes) else str(kind)
    shape = tuple(int(n) for n in arrays["shape"])
    try:
        if kind == "coo":
            return scipy.sparse.coo_array((arrays["data"], (arrays["row"], arrays["col"])), shape).tocsr()
        make = {"csr": scipy.sparse.csr_array, "csc": scipy.sparse.csc_array}[kind]
        matrix = make((arrays["data"], arrays["indices"], arrays["indptr"]), shape)
        matrix.check_format(full_check=True)
    except (KeyError, ValueError, TypeError) as error:
        raise ValueError(
            f"{where}: a sparse matrix of format {kind[:20]!r} that is damaged or unknown ({error})"
        ) from error
    return matrix


def from_columns(
    columns: Mapping[str, Any], orientation: str | None, bin_size: float | None, threshold: float | None = None
) -> ReadyWords | None:
    """Words of a table with one named column per unit, perhaps after an index or a column of times; None for others.

    Raises
    ------
    ValueError
        If the times are not spaced evenly, or by another bin size than asked for.
    """
    values = {name: np.asarray(column) for name, column in columns.items()}
    first = next(iter(values), "")
    axis = None
    if first.lower() in INDEX_NAMES and _is_count_up(values[first]):
        del values[first]
    elif first in tables.find_roles([first], {}).values() and len(values) > 1:
        axis = values.pop(first)
    if not values or any(column.ndim != 1 or column.dtype.kind not in "biuf" for column in values.values()):
        return None
    table = np.stack(list(values.values()), axis=1)
    plain = bool(np.isfinite(table).all() and (table == np.rint(table)).all() and (table >= 0).all())
    if threshold is None and not plain or (axis is not None and (len(axis) < 3 or axis.dtype.kind not in "iuf")):
        return None
    start = 0.0
    if axis is not None:
        steps = np.diff(axis.astype(np.float64))
        if not steps[0] > 0 or np.ptp(steps) > 1e-3 * steps[0]:
            if orientation is None:
                return None
            raise ValueError(f"the times in {first} are not spaced evenly; leave that column out or fill the gaps")
        start, step = float(axis[0]), float(np.median(steps))
        scale = {"ms": 1e3, "us": 1e6}.get(tables.unit_by_name(first), 1.0)
        start, step = start / scale, step / scale
        if bin_size is not None and not math.isclose(bin_size, step, rel_tol=1e-3):
            raise ValueError(
                f"bin_size: the column {first} says bins of {step:g} s, got {bin_size:g}; say bin_size={step:g}"
            )
        bin_size = step if bin_size is None else bin_size
    if threshold is not None:
        found = ready.from_traces(table, threshold, orientation, bin_size)
    else:
        found = ready.from_array(table, orientation, bin_size)
    if len(found.unit_ids) == len(values) and len(found.counts) == len(table):
        found = replace(found, unit_ids=tuple(values))
    return replace(found, bin_starts=found.bin_starts + start)


def _is_count_up(values: np.ndarray) -> bool:
    """Whether these are 0, 1, 2, ... or 1, 2, 3, ..."""
    return values.dtype.kind in "iuf" and values.ndim == 1 and len(values) > 1 and bool((np.diff(values) == 1).all())
