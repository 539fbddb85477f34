"""``results.nc`` of studies and recordings, checked before it is loaded.

An HDF5 file of a few kilobytes can declare or unpack to terabytes, name other files to read, or call plug-ins; what
this package writes does none of it.
"""

from __future__ import annotations

import math
import os
import zlib
from pathlib import Path

import h5py
import numpy as np
import xarray as xr

from secateur.storage.limits import MAX_RESULTS_BYTES, MAX_TEXTS

_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE}

_HEAP, _OBJECT = b"GCOL", 16  # signature of a global heap, bytes of the header of an object in it


def read_results(path: str | os.PathLike[str]) -> xr.Dataset:
    """The dataset in a ``results.nc``, loaded into memory.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, too large, or holds what this package does not write.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; run the study, or fit the recording, again")
    try:
        _check(path)
        with xr.open_dataset(path, engine="h5netcdf") as dataset:
            return dataset.load()
    except Exception as error:  # h5py, h5netcdf and xarray raise whatever they stumble over in damaged files
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ValueError(
            f"{path} is damaged or was not written by secateur ({reason}); restore it from a copy, or run again"
        ) from error


def _check(path: Path) -> None:
    size = path.stat().st_size
    if size > MAX_RESULTS_BYTES:
        raise ValueError(f"it has {size:,} bytes, more than {MAX_RESULTS_BYTES:,}")
    _check_heaps(path.read_bytes())
    with h5py.File(path, "r") as file:
        total = 0
        for name in file:
            # Links can lead into other files, and groups in circles.
            if not isinstance(file.get(name, getlink=True), h5py.HardLink) or not isinstance(file[name], h5py.Dataset):
                raise ValueError(f"{name} is no variable")
            total += _checked_bytes(name, file[name])
            if total > MAX_RESULTS_BYTES:
                raise ValueError(f"its variables up to {name} take {total:,} bytes, more than {MAX_RESULTS_BYTES:,}")


def _check_heaps(content: bytes) -> None:
    """Every global heap (texts, references) must be a chain of objects that ends: libhdf5 follows one whose free space
    has no size for ever (HDF5 file format 3.0, section III.E).
    """
    start = content.find(_HEAP)
    while start >= 0:
        end = start + int.from_bytes(content[start + 8 : start + 16], "little")
        place = start + 16
        while place + _OBJECT <= min(end, len(content)):
            index = int.from_bytes(content[place : place + 2], "little")
            size = int.from_bytes(content[place + 8 : place + 16], "little")
            length = size if index == 0 else _OBJECT + -(-size // 8) * 8
            if length < _OBJECT or place + length > end:
                raise ValueError(f"the heap at byte {start:,} is damaged")
            place += length
        start = content.find(_HEAP, start + 1)


def _checked_bytes(name: str, variable: h5py.Dataset) -> int:
    """Bytes that a variable takes in memory."""
    if variable.shape is None or variable.external or variable.is_virtual:
        raise ValueError(f"{name} has no values of its own")
    n_bytes = math.prod(variable.shape) * variable.dtype.itemsize
    if n_bytes > MAX_RESULTS_BYTES:
        return n_bytes
    properties = variable.id.get_create_plist()
    filters = {properties.get_filter(place)[0] for place in range(properties.get_nfilters())}
    if not filters <= _FILTERS:
        raise ValueError(f"{name} is packed by other filters ({sorted(filters)}) than deflate and shuffle")
    if variable.chunks is not None:
        _check_chunks(name, variable, h5py.h5z.FILTER_DEFLATE in filters)
    return n_bytes + (_text_bytes(name, variable) if variable.dtype.hasobject else 0)


def _check_chunks(name: str, variable: h5py.Dataset, deflated: bool) -> None:
    """Every stored piece must unpack to the size of a chunk, and not to more."""
    full = math.prod(variable.chunks) * variable.dtype.itemsize
    if full > MAX_RESULTS_BYTES:
        raise ValueError(f"chunks of {name} would take {full:,} bytes, more than {MAX_RESULTS_BYTES:,}")
    for place in range(variable.id.get_num_chunks()):
        info = variable.id.get_chunk_info(place)
        if info.size > MAX_RESULTS_BYTES:
            raise ValueError(f"a chunk of {name} would have {info.size:,} bytes")
        if deflated and not info.filter_mask:
            _, packed = variable.id.read_direct_chunk(info.chunk_offset)
            if len(zlib.decompressobj().decompress(packed, full + 1)) != full:
                raise ValueError(f"a chunk of {name} does not unpack to {full:,} bytes")


def _text_bytes(name: str, variable: h5py.Dataset) -> int:
    """Bytes of texts, read one by one: each may be as long as the file, and all of them the same text."""
    if h5py.check_string_dtype(variable.dtype) is None or variable.ndim > 1 or variable.size > MAX_TEXTS:
        raise ValueError(f"{name} is of type {variable.dtype} and shape {variable.shape}, no short list of texts")
    total = 0
    for place in np.ndindex(variable.shape):
        total += len(variable[place])
        if total > MAX_RESULTS_BYTES:
            raise ValueError(f"the texts of {name} take more than {MAX_RESULTS_BYTES:,} bytes")
    return total
