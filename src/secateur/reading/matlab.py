"""MATLAB files: version 5 through SciPy, version 7.3 (which is HDF5) through h5py, in one form.

Numbers keep MATLAB's order of axes; cells become lists, structs dicts, struct arrays lists of dicts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io
import scipy.sparse

VERSION_5 = b"MATLAB 5.0 MAT-file"


def read_version_5(path: Path) -> dict[str, Any]:
    """Variables of a MATLAB 5 file (also what ``save -v6`` and ``-v7`` write), by name.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    try:
        variables = scipy.io.loadmat(path)
    except Exception as error:  # SciPy raises what its parser meets: ValueError, TypeError, zlib.error, MatReadError
        raise ValueError(f"{path} is a damaged MATLAB file ({error}); save it again") from error
    return {name: _plain(value) for name, value in variables.items() if not name.startswith("__")}


def _plain(value: Any) -> Any:
    if isinstance(value, np.void) and value.dtype.names:
        return {name: _plain(value[name]) for name in value.dtype.names}
    if isinstance(value, np.ndarray) and (value.dtype.names or value.dtype == object):
        if value.ndim == 2 and 1 not in value.shape and not value.dtype.names and value.size:
            return [[_plain(entry) for entry in row] for row in value]
        entries = [_plain(entry) for entry in value.ravel(order="F")]
        return entries[0] if value.dtype.names and len(entries) == 1 else entries
    return value


def read_version_7_3(file: h5py.File) -> dict[str, Any]:
    """Variables of a MATLAB 7.3 file, by name."""
    return {name: _from_hdf5(item, file) for name, item in file.items() if not name.startswith("#")}


def _from_hdf5(item: h5py.Group | h5py.Dataset, file: h5py.File) -> Any:
    if isinstance(item, h5py.Group) and "MATLAB_sparse" in item.attrs:
        return _sparse(item)
    if isinstance(item, h5py.Group):
        fields = {name: _from_hdf5(entry, file) for name, entry in item.items()}
        if fields and not any("MATLAB_class" in entry.attrs for entry in item.values()):  # a struct array
            return [dict(zip(fields, values, strict=True)) for values in zip(*fields.values(), strict=True)]
        return fields
    if item.attrs.get("MATLAB_empty", 0):
        return np.zeros((0, 0))
    values = item[()]
    if (
        h5py.check_ref_dtype(item.dtype) is not None
    ):  # a cell, or one field of a struct array; HDF5 has MATLAB's axes backwards
        if values.ndim == 2 and 1 not in values.shape:
            return [[_from_hdf5(file[reference], file) for reference in row] for row in values.T]
        return [_from_hdf5(file[reference], file) for reference in np.ravel(values)]
    return np.transpose(values)


def _sparse(item: h5py.Group) -> Any:
    """A sparse matrix: values, rows, and where each column begins."""
    if "data" not in item:
        return np.zeros((0, 0))
    ends = item["jc"][()].astype(np.int64)
    try:
        return scipy.sparse.csc_array(
            (item["data"][()], item["ir"][()].astype(np.int64), ends), (int(item.attrs["MATLAB_sparse"]), len(ends) - 1)
        )
    except ValueError as error:
        raise ValueError(f"the sparse matrix {item.name} is damaged ({error}); save the file again") from error
