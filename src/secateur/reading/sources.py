"""Where words come from: files of every kind, objects of other libraries, arrays."""

from __future__ import annotations

import os
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from secateur.reading import matlab, nested, nwb, objects, tables
from secateur.reading.nested import Reading
from secateur.reading.ready import ReadyWords
from secateur.reading.spike_trains import SpikeTrains
from secateur.storage.limits import MAX_BYTES
from secateur.storage.npz import read_npy, read_npz

WORDS_FORMAT = "secateur-words"
"""What the files of :meth:`secateur.reading.words.Words.save` say of themselves."""


def read_source(data: Any, how: Reading) -> SpikeTrains | ReadyWords:
    """Trains or ready words from a file's path, an object of another library, or arrays.

    Raises
    ------
    FileNotFoundError
        If a path leads nowhere.
    ValueError
        If the source cannot be read, or what it holds cannot be told.
    """
    if isinstance(data, str | os.PathLike):
        return read_file(Path(data), how)
    if type(data).__module__.partition(".")[0] == "pandas":
        data = {name: data[name].to_numpy() for name in data.columns} if hasattr(data, "columns") else data.to_numpy()
    found = objects.read_object(data, how.bin_size)
    if found is None:
        return nested.read_value(data, how)
    _no_use_for(how, f"a {type(data).__name__} says itself what it holds")
    return found


def _no_use_for(how: Reading, why: str) -> None:
    given = {
        "columns": how.columns is not None,
        "variable": how.variable is not None,
        "orientation": how.orientation is not None,
        "time_units": how.time_units != "s",
    }
    named = [name for name, is_given in given.items() if is_given]
    if named:
        raise ValueError(f"{', '.join(named)}: {why}; leave it out")


def read_file(path: Path, how: Reading) -> SpikeTrains | ReadyWords:
    """Trains or words from a file, whose kind is told by its first bytes: .npz, .npy, HDF5 (NWB, MATLAB 7.3), MATLAB 5,
    text.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        As :func:`read_source`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    how = replace(how, where=str(path))
    with path.open("rb") as file:
        head = file.read(128)
    if head.startswith(b"PK"):
        arrays = _read_npz(path)
        if str(arrays.get("format")) == WORDS_FORMAT:
            raise ValueError(f"{path} holds words already; read them with sc.load_words")
        return nested.read_mapping(arrays, how)
    if head.startswith(b"\x93NUMPY"):
        return nested.read_value(_load(path), how)
    if head.startswith(matlab.VERSION_5):
        return nested.read_mapping(matlab.read_version_5(path), how)
    if h5py.is_hdf5(path):
        return _read_hdf5(path, how)
    if head.startswith(b"\x1f\x8b"):
        raise ValueError(f"{path} is compressed (gzip); unpack it first")
    return _read_text(path, how)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise ValueError(f"{path} is a damaged .npz file ({error})") from error
    if not all(name.endswith(".npy") for name in names):
        raise ValueError(f"{path} is a zip archive with {', '.join(names[:3])}; unpack it and give the file inside")
    return _load(path)


def _load(path: Path) -> Any:
    try:
        return read_npz(path, MAX_BYTES) if zipfile.is_zipfile(path) else read_npy(path, MAX_BYTES)
    except ValueError as error:
        raise ValueError(
            f"{path} cannot be read ({error}); write arrays of numbers or texts, without objects"
        ) from error


def _read_hdf5(path: Path, how: Reading) -> SpikeTrains | ReadyWords:
    with h5py.File(path, "r") as file:
        if nwb.is_nwb(file):
            _no_use_for(how, "an NWB file says itself what it holds")
            return nwb.read_nwb(file, path)
        if matlab.is_version_7_3(file):
            return nested.read_mapping(matlab.read_version_7_3(file), how)
        if path.suffix == ".nwb":
            raise ValueError(f"{path} is an HDF5 file but not NWB (it states no nwb_version)")
        entries: dict[str, Any] = {}
        file.visititems(lambda name, item: entries.update({name: item}) if isinstance(item, h5py.Dataset) else None)
        return nested.read_mapping(entries, how)


def _read_text(path: Path, how: Reading) -> SpikeTrains | ReadyWords:
    from secateur.reading.text import read_text  # pandas takes a while to load

    columns, named = read_text(path)
    if how.columns is not None or (named and tables.find_roles(list(columns), {})):
        return nested.read_mapping(columns, how)
    if named:
        raise ValueError(f"{path} has columns {', '.join(columns)}; say which hold times and units ({tables.EXAMPLE})")
    values = list(columns.values())
    numeric = all(column.dtype.kind in "iuf" for column in values)
    whole = numeric and all((column == np.rint(column)).all() for column in values)
    if len(values) == 2 and numeric and not whole:
        found = nested.read_mapping(columns, replace(how, columns="time,unit"))
        return replace(found, remarks=(*found.remarks, "the two columns were taken as times and units"))
    if not whole or len(values) == 1:
        raise ValueError(f"{path} has {len(values)} columns without names; say what they are ({tables.EXAMPLE})")
    return nested.read_value(np.stack(values, axis=1), how)
