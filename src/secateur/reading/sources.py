"""Where words come from: files of every kind, objects of other libraries, arrays."""

from __future__ import annotations

import os
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from secateur.reading import apart, matlab, nested, nwb, objects, phy, rasters, several, sonata, tables
from secateur.reading.nested import Reading
from secateur.reading.ready import ReadyWords
from secateur.reading.spike_trains import SpikeTrains
from secateur.storage.files import most_unpacked, regular_file
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
    if isinstance(data, list) and data and all(isinstance(part, os.PathLike) for part in data):
        return several.join([read_file(Path(part), how) for part in data], [Path(part).name for part in data])
    if type(data).__module__.partition(".")[0] == "pandas":
        data = (
            {str(name): data[name].to_numpy() for name in data.columns} if hasattr(data, "columns") else data.to_numpy()
        )
        if isinstance(data, dict) and how.columns is None and "unit" not in tables.find_roles(list(data), {}):
            found = rasters.from_columns(data, how.orientation, how.bin_size, how.threshold)
            if found is not None:
                return found
    read = objects.read_object(data, how.bin_size)
    if read is None:
        return nested.read_value(data, how)
    _no_use_for(how, f"a {type(data).__name__} says itself what it holds")
    return read


def _no_use_for(how: Reading, why: str) -> None:
    given = {
        "columns": how.columns is not None,
        "variable": how.variable is not None,
        "orientation": how.orientation is not None,
        "time_units": how.time_units not in (None, "s"),
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
    if path.is_dir():
        return phy.read_folder(path, how.time_units)
    regular_file(path)
    how = replace(how, where=str(path))
    with path.open("rb") as file:
        head = file.read(128)
    if head.startswith(b"PK"):
        arrays = _read_npz(path)
        if str(arrays.get("format")) == WORDS_FORMAT:
            raise ValueError(f"{path} holds words already; read them with sc.load_words")
        matrix = rasters.from_sparse_file(arrays, str(path))
        return nested.read_mapping(arrays, how) if matrix is None else nested.read_value(matrix, how)
    if head.startswith(b"\x93NUMPY"):
        return nested.read_value(_load(path), how)
    if head.startswith(matlab.VERSION_5):
        return nested.read_mapping(apart.read_matlab(path), how)
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
        return read_npz(path, most_unpacked(path)) if zipfile.is_zipfile(path) else read_npy(path, most_unpacked(path))
    except ValueError as error:
        raise ValueError(
            f"{path} cannot be read ({error}); write arrays of numbers or texts, without objects"
        ) from error


def _read_hdf5(path: Path, how: Reading) -> SpikeTrains | ReadyWords:
    kind, variables = apart.check_hdf5(path)
    if kind == "matlab":
        return nested.read_mapping(variables, how)
    with h5py.File(path, "r") as file:
        if nwb.is_nwb(file):
            _no_use_for(replace(how, time_units=None), "an NWB file says itself what it holds")
            return nwb.read_nwb(file, path, how.time_units)
        if path.suffix == ".nwb":
            raise ValueError(f"{path} is an HDF5 file but not NWB (it states no nwb_version)")
        if sonata.is_sonata(file):
            return sonata.read_sonata(file, how)
        entries: dict[str, Any] = {}
        file.visititems(lambda name, item: entries.update({name: item}) if isinstance(item, h5py.Dataset) else None)
        return nested.read_mapping(entries, how)


def _read_text(path: Path, how: Reading) -> SpikeTrains | ReadyWords:
    from secateur.reading import text  # pandas takes a while to load

    if how.axes == ("units", "times"):
        return nested.read_value(text.read_rows(path), how)
    told = tables.parse_columns(how.columns)
    table = text.read_text(path, told if isinstance(told, tuple) else ())
    found = _from_columns(path, table, told, how)
    return replace(found, remarks=(*table.remarks, *found.remarks)) if table.remarks else found


def _from_columns(path: Path, table: Any, told: Any, how: Reading) -> SpikeTrains | ReadyWords:
    from secateur.reading.text import check_numbers

    columns = table.columns
    if how.axes == ("times", "units"):
        return nested.read_mapping(columns, how)
    names = list(columns)
    roles = {} if isinstance(told, tuple) else tables.find_roles(names, told) if told or table.named else {}
    if isinstance(told, tuple) and len(told) == len(names):
        roles = {role: name for role, name in zip(told, names, strict=True) if role in tables.KNOWN}
    if "time" in roles:
        check_numbers(path, table, roles["time"])
    if how.columns is None and "unit" not in roles and (table.named or how.threshold is not None):
        words = rasters.from_columns(columns, how.orientation, how.bin_size, how.threshold)
        if words is not None:
            return words
    if how.columns is not None or roles:
        return nested.read_mapping(columns, how)
    if nested.are_padded_trains(columns):
        return nested.read_mapping(columns, replace(how, orientation="times x units"))
    if table.named:
        raise ValueError(f"{path} has columns {', '.join(columns)}; say which hold times and units ({tables.EXAMPLE})")
    values = list(columns.values())
    numeric = all(column.dtype.kind in "iuf" for column in values)
    whole = numeric and all((column == np.rint(column)).all() for column in values)
    found = nested.two_columns(columns, how) if len(values) == 2 else None
    if found is not None:
        return found
    if len(values) == 1:
        raise ValueError(f"{path} has 1 columns without names; say what they are (columns='time' for one unit's times)")
    if not whole:
        raise ValueError(f"{path} has {len(values)} columns without names; say what they are ({tables.EXAMPLE})")
    return nested.read_value(np.stack(values, axis=1), how)
