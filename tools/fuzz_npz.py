"""Forged ``.npy`` and ``.npz`` files: headers that lie about their content, and zip bombs."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from random import Random
from typing import Any

import numpy as np

from fuzz_mutations import forged, to_json


def _npy(rng: Random, array: np.ndarray) -> bytes:
    """An ``.npy`` file whose header tells something else than its content."""
    whole = io.BytesIO()
    np.save(whole, array)
    descr = rng.choice(("|u1", "<f8", "|O", "<U0", "|V0", "<U1000000000", "<M8[s]", "<c16", array.dtype.str, "|S3"))
    shape = rng.choice((array.shape, (10**12,), (2**40, 2**40), (-1, -8), (0, 10**9), (), (True, 3), "((((", -5))
    header = str({"descr": descr, "fortran_order": rng.random() < 0.5, "shape": shape})
    header = rng.choice((header, header, header.replace("'descr'", "'descr': " + "-" * 5000 + "1, 'x'")))
    header += " " * (-(len(header) + 11) % 64) + "\n"
    length = rng.choice((len(header), len(header), 0, 65535))
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", length) + header.encode() + array.tobytes()


def forged_npy(rng: Random, content: bytes) -> bytes:
    """The array under another header."""
    return _npy(rng, np.load(io.BytesIO(content)))


def forged_npz(rng: Random, content: bytes) -> bytes:
    """The arrays of a words file, one of them another, forged or packed beyond measure."""
    with np.load(io.BytesIO(content)) as file:
        arrays: dict[str, Any] = {name: file[name] for name in file.files}
    name = rng.choice(list(arrays))
    choice = rng.random()
    if choice < 0.15:
        return _zip_bomb(rng, name, content)
    if choice < 0.3:
        notes = to_json(rng, forged(rng, json.loads(str(arrays["notes"]))))
        arrays["notes"] = np.array(notes.replace("\0", ""))
    elif choice < 0.6:
        arrays[name] = rng.choice(
            (np.zeros(0), np.array("x"), np.zeros((2, 2), complex), np.array([10**12]), np.zeros((0, 0)))
        )
    members = {key: npy_bytes(array) for key, array in arrays.items()}
    if choice >= 0.6:
        members[name] = _npy(rng, arrays[name])
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))) as archive:
        for key, member in members.items():
            archive.writestr(rng.choice((f"{key}.npy", f"{key}.npy", key, f"../{key}.npy")), member)
    return out.getvalue()


def npy_bytes(array: np.ndarray) -> bytes:
    """The content of the array's ``.npy`` file."""
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def _zip_bomb(rng: Random, name: str, content: bytes) -> bytes:
    """One array whose entry says, truly or not, that it unpacks to gigabytes."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = npy_bytes(np.zeros(0, np.uint8)).replace(b"(0,), }", b"(%d,), }" % 2**30)
    body = squeeze.compress(start) + squeeze.flush(zlib.Z_FULL_FLUSH)
    piece = squeeze.compress(bytes(2**22)) + squeeze.flush(zlib.Z_FULL_FLUSH)
    body += piece * rng.choice((1, 256)) + squeeze.flush()
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as whole, zipfile.ZipFile(out, "w") as archive:
        for member in whole.namelist():
            archive.writestr(member, body if member == f"{name}.npy" else whole.read(member))
    packed = bytearray(out.getvalue())
    size = struct.pack("<I", rng.choice((2**30 + 128, 2**31 - 1, 10**6, 2**32 - 2)))
    for signature, method, length in ((b"PK\x03\x04", 8, 22), (b"PK\x01\x02", 10, 24)):
        place = packed.find(signature)
        while place >= 0:
            if f"{name}.npy".encode() in packed[place : place + 90]:
                packed[place + method : place + method + 2] = b"\x08\x00"
                packed[place + length : place + length + 4] = size
            place = packed.find(signature, place + 1)
    return bytes(packed)
