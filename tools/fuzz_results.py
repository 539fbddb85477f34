"""Forged ``results.nc``: what HDF5 can say that this package never does."""

from __future__ import annotations

import zlib
from pathlib import Path
from random import Random

import h5py
import numpy as np

from fuzz_mutations import WEIRD


def forged_results(rng: Random, content: bytes, folder: Path) -> bytes:
    """The content with one change made through HDF5 itself; ``folder`` takes a temporary file."""
    path = folder / "forged.nc"
    path.write_bytes(content)
    with h5py.File(path, "r+") as file:
        name = rng.choice([name for name in file if file[name].ndim])
        rng.choice((_huge, _bomb, _foreign, _circle, _attribute, _attribute, _missing, _other_type, _texts))(
            rng, file, name
        )
    return path.read_bytes()


def _huge(rng: Random, file: h5py.File, name: str) -> None:
    """Nothing stored, terabytes declared."""
    shape = rng.choice(((10**12,), (2**20, 2**20), (10**6, 10**6, 10)))
    chunks = rng.choice((None, tuple(min(n, 1000) for n in shape), tuple(min(n, 2**15) for n in shape)))
    if chunks is None:
        space, plist = h5py.h5s.create_simple(shape), h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_alloc_time(h5py.h5d.ALLOC_TIME_LATE)
        h5py.h5d.create(file.id, b"huge", h5py.h5t.NATIVE_FLOAT, space, plist)
    else:
        file.create_dataset("huge", shape, "f4", chunks=chunks, compression=rng.choice((None, "gzip", "lzf")))


def _bomb(rng: Random, file: h5py.File, name: str) -> None:
    """A chunk that unpacks to much more than a chunk."""
    variable = file.create_dataset("bomb", (4,), "f4", chunks=(4,), compression="gzip")
    variable.id.write_direct_chunk((0,), zlib.compress(bytes(rng.choice((0, 8, 2**24)))) + rng.randbytes(3))


def _foreign(rng: Random, file: h5py.File, name: str) -> None:
    """Values from elsewhere."""
    choice = rng.randrange(4)
    if choice == 0:
        file["link"] = h5py.ExternalLink("/etc/hostname", "x")
    elif choice == 1:
        file["link"] = h5py.SoftLink("/link")
    elif choice == 2:
        file.create_dataset("outside", (10,), "u1", external=[("/etc/hostname", 0, 10)])
    else:
        layout = h5py.VirtualLayout((10,), "f4")
        layout[:] = h5py.VirtualSource("/tmp/none.nc", "x", (10,))
        file.create_virtual_dataset("virtual", layout)


def _circle(rng: Random, file: h5py.File, name: str) -> None:
    file.create_group("group")["again"] = file["/"]


def _attribute(rng: Random, file: h5py.File, name: str) -> None:
    """What xarray takes for instructions."""
    key = rng.choice(
        ("scale_factor", "add_offset", "_FillValue", "units", "calendar", "coordinates", "dtype", "_Unsigned")
    )
    values = [value for value in WEIRD if isinstance(value, str | float | int) and value not in ("", "9" * 5000)]
    value = rng.choice(
        [*(v for v in values if not isinstance(v, int) or abs(v) < 2**63), "days since 0000-00-00", "seconds"]
    )
    target = file if rng.random() < 0.1 else file[name]
    target.attrs[key] = value.replace("\0", "") if isinstance(value, str) else value


def _missing(rng: Random, file: h5py.File, name: str) -> None:
    del file[name]


def _other_type(rng: Random, file: h5py.File, name: str) -> None:
    kind = rng.choice(
        ("i8", "S5", "f2", [("a", "f4"), ("b", "i4")], "c16", h5py.ref_dtype, h5py.vlen_dtype(np.float32))
    )
    shape = file[name].shape
    attributes = {key: value for key, value in file[name].attrs.items() if key != "DIMENSION_LIST"}
    if file[name].is_scale:
        return
    del file[name]
    file.create_dataset(name, shape, kind).attrs.update(
        {key: value for key, value in attributes.items() if isinstance(value, str)}
    )


def _texts(rng: Random, file: h5py.File, name: str) -> None:
    """Many texts, or long ones, or none that are texts."""
    texts = rng.choice((["x" * 10**6] * 3, [""] * 1000, [b"\xff\xfe"] * 3))
    file.create_dataset("texts", data=texts, dtype=h5py.string_dtype())
