"""NumPy's ``.npz`` and ``.npy`` files: declared sizes are checked before memory is taken, nothing is unpickled."""

from __future__ import annotations

import io
import lzma
import math
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from secateur.storage.files import regular_file

_BROKEN = (
    *(AttributeError, EOFError, MemoryError, NotImplementedError, OverflowError, RecursionError, RuntimeError),
    *(SyntaxError, TypeError, ValueError, lzma.LZMAError, struct.error, tokenize.TokenError),
    *(zipfile.BadZipFile, zlib.error),
)
"""What zipfile and NumPy raise for damaged files."""
_PIECE = 2**20


def read_npz(path: str | os.PathLike[str], max_bytes: int, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an ``.npz`` file; those of some ``names`` that it holds, if they are given.

    Raises
    ------
    OSError
        If the file is missing or cannot be read.
    ValueError
        If it is damaged, holds objects, or its arrays would take more than ``max_bytes``; the reason in few words,
        which the caller completes.
    """
    with _in_few_words(), zipfile.ZipFile(regular_file(path)) as archive:
        members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        chosen = {name: member for name, member in members.items() if names is None or name in names}
        total = sum(member.file_size for member in chosen.values())
        if total > max_bytes:
            raise ValueError(f"its arrays take {total:,} bytes unpacked, more than {max_bytes:,}; give fewer values")
        arrays = {}
        for name, member in chosen.items():
            # NumPy writes no other; a dictionary of LZMA may ask for any amount of memory.
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.flag_bits & 1:
                raise ValueError(f"{name!r} is packed or encrypted in a way that NumPy does not write")
            with archive.open(member) as file:
                arrays[name] = _array(file, member.file_size)
        return arrays


def array_names(path: str | os.PathLike[str]) -> list[str]:
    """Names of the arrays of an ``.npz`` file; errors as of :func:`read_npz`."""
    with _in_few_words(), zipfile.ZipFile(regular_file(path)) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist()]


def read_npy(path: str | os.PathLike[str], max_bytes: int) -> np.ndarray:
    """The array of an ``.npy`` file; errors as of :func:`read_npz`."""
    size = regular_file(path).stat().st_size
    if size > max_bytes:
        raise ValueError(f"it has {size:,} bytes, more than {max_bytes:,}; give fewer values")
    with _in_few_words(), Path(path).open("rb") as file:
        return _array(file, size)


def open_npy(path: str | os.PathLike[str]) -> np.ndarray:
    """The array of an ``.npy`` file, which stays on disk until its values are taken; errors as of :func:`read_npz`."""
    with _in_few_words():
        return np.lib.format.open_memmap(regular_file(path), mode="r")


@contextmanager
def _in_few_words() -> Iterator[None]:
    """Turn whatever damage raises into a ValueError of one line."""
    try:
        yield
    except (OSError, *_BROKEN) as error:
        if isinstance(error, FileNotFoundError) or (
            isinstance(error, OSError) and error.filename is not None
        ):  # otherwise damage sent the reader astray
            raise
        raise ValueError(" ".join(str(error).split())[:300] or type(error).__name__) from error


def _array(file: IO[bytes] | io.BufferedIOBase, n_bytes: int) -> np.ndarray:
    """The array in the next ``n_bytes`` of a file; no more memory is taken than the file is long."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    start = file.tell()
    version = np.lib.format.read_magic(file)
    if version not in readers:
        raise ValueError(f"its NumPy format version {version} is none of 1.0 and 2.0")
    shape, fortran_order, dtype = readers[version](file)
    if dtype.hasobject:
        raise ValueError("it holds objects, which only unpickling could read")
    expected = math.prod(shape) * dtype.itemsize
    left = n_bytes - (file.tell() - start)
    if dtype.itemsize == 0 or dtype.subdtype is not None or min(shape, default=0) < 0 or expected != left:
        raise ValueError(f"an array of shape {shape} and type {dtype} would take {expected:,} bytes, it has {left:,}")
    content = bytearray(expected)
    view, filled = memoryview(content), 0
    while filled < expected:
        piece = file.read(min(_PIECE, expected - filled))
        if not piece:
            raise EOFError(f"it ends after {filled:,} of {expected:,} bytes")
        view[filled : filled + len(piece)] = piece
        filled += len(piece)
    return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran_order else "C")
