"""Recordings in every kind of file that is read: whole ones, and how to forge them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from random import Random
from typing import Any

import h5py
import numpy as np
import scipy.io

from fuzz_mutations import LENGTHS, spoiled
from fuzz_npz import forged_npy, npy_bytes
from secateur.reading.words import words

TRAINS = (np.array([0.01, 0.52, 0.93]), np.array([0.52, 1.2]), np.array([0.3]))


def read_recording(path: Path) -> None:
    """Read words and assert that they are sound; questions about what a file holds get its name."""
    try:
        found = words(path, 0.1)
    except (ValueError, TypeError) as error:
        if path.name in str(error):
            raise
        raise ValueError(f"{path.name}: {error}") from error
    assert found.states.ndim == 2 and found.states.max(initial=0) <= 1 and len(str(found)) > 0


def matlab_5(rng: Random | None = None) -> bytes:
    """A file of MATLAB 5 with a cell array of trains, packed or not."""
    cells = np.empty((1, len(TRAINS)), object)
    cells[0, :] = [train[None] for train in TRAINS]
    out = io.BytesIO()
    scipy.io.savemat(out, {"cells": cells, "rate": 1.0}, do_compression=rng is not None and rng.random() < 0.5)
    return out.getvalue()


def nwb() -> bytes:
    """The units of an NWB file."""
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        file.attrs["nwb_version"] = "2.6.0"
        units = file.create_group("units")
        units["spike_times"] = np.concatenate(TRAINS)
        units["spike_times_index"] = np.cumsum([len(train) for train in TRAINS]).astype(np.uint8)
        units["id"] = np.arange(len(TRAINS))
        units["label"] = ["good", "mua", "good"]
    return out.getvalue()


def matlab_7_3() -> bytes:
    """A cell array in HDF5, as MATLAB 7.3 writes it."""
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        references = []
        for number, train in enumerate(TRAINS):
            item = file.create_dataset(f"#refs#/{number}", data=train[:, None])
            item.attrs["MATLAB_class"] = np.bytes_("double")
            references.append(item.ref)
        cells = file.create_dataset("cells", data=np.array([references], h5py.ref_dtype).T)
        cells.attrs["MATLAB_class"] = np.bytes_("cell")
    return out.getvalue()


def trains_npz() -> bytes:
    """One array per unit."""
    out = io.BytesIO()
    np.savez_compressed(out, a=TRAINS[0], b=TRAINS[1], c=TRAINS[2])
    return out.getvalue()


def table() -> bytes:
    """A table of spikes in text."""
    rows = [f"{time},{unit}" for unit, train in enumerate(TRAINS) for time in train]
    return "\n".join(["time,unit", *rows, ""]).encode()


def forged_trains(rng: Random, content: bytes) -> bytes:
    """One of the arrays under another header, and another packing."""
    with np.load(io.BytesIO(content)) as file:
        members = {f"{name}.npy": npy_bytes(file[name]) for name in file.files}
    name = rng.choice(list(members))
    members[name] = forged_npy(rng, members[name])
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for place, member in members.items():
            archive.writestr(place, member)
    return out.getvalue()


def forged_matlab_5(rng: Random, content: bytes) -> bytes:
    """Another type or length in the tag of an element."""
    forged = bytearray(matlab_5(rng))
    for _ in range(rng.choice((1, 1, 2))):
        place = 128 + 8 * rng.randrange((len(forged) - 128) // 8)
        number = rng.choice((*LENGTHS, 9, 14, 15, 17)) % 2**32
        place += rng.choice((0, 4))
        forged[place : place + 4] = number.to_bytes(4, "little")
    return bytes(forged)


def forged_hdf5(rng: Random, content: bytes) -> bytes:
    """Another object in the place of one that is read: links, values elsewhere, absurd sizes, circles."""
    out = io.BytesIO(content)
    with h5py.File(out, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        name = rng.choice(names)
        parent, _, own = name.rpartition("/")
        group = file[parent] if parent else file
        if rng.random() < 0.7:
            del group[own]
        else:
            own = f"{own}_index"
        _put(rng, group, own, file)
    return out.getvalue()


def _put(rng: Random, group: Any, name: str, file: h5py.File) -> None:
    if name in group:
        return
    choice = rng.randrange(9)
    if choice == 0:
        group[name] = h5py.ExternalLink("/etc/hostname", "x")
    elif choice == 1:
        group[name] = h5py.SoftLink(rng.choice(("/", ".", name, "/units/id", "../x")))
    elif choice == 2:
        group.create_dataset(name, (3,), "f8", external=[("/etc/passwd", 0, 24)])
    elif choice == 3:
        group.create_dataset(name, rng.choice(((10**12,), (2**40, 3), (0, 10**12))), "u1", chunks=True)
    elif choice == 4:
        group[name] = file["/"]
    elif choice == 5:
        group[name] = rng.choice((np.array([np.nan, 1e308]), np.array(["x", "y"], "S3"), h5py.Empty("f8"), [-1, 2**62]))
    elif choice == 6:
        item = group.create_dataset(name, (3,), h5py.ref_dtype)
        item[...] = [item.ref] * 3
        item.attrs["MATLAB_class"] = np.bytes_("cell")
    elif choice == 7:
        group.create_dataset(name, (2,), h5py.vlen_dtype(np.uint8))
    else:
        group.create_group(name)


def forged_table(rng: Random, content: bytes) -> bytes:
    """Cells and lines that do not belong."""
    odd = ("nan", "inf", "-1e308", "1e999", "9" * 5000, "x", '"', "", "1,2,3", ",".join("1" * 50_000), "\0", "\r", "é;")
    lines = content.decode().split("\n")
    lines[rng.randrange(len(lines))] = rng.choice((rng.choice(odd), f"{rng.choice(odd)},{rng.choice(odd)}"))
    return spoiled(rng, "\n".join(lines).encode("latin-1")) if rng.random() < 0.2 else "\n".join(lines).encode()
