"""Arrays with a JSON header on disk: safetensors, checked when read, written atomically. No pickle anywhere."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from secateur.storage.files import regular_file
from secateur.storage.limits import MAX_BYTES, MAX_HEADER_BYTES

Arrays = dict[str, np.ndarray]

_LENGTH = 8
"""Bytes in which a safetensors file says how long its JSON header is, which follows."""


def write_arrays(path: str | os.PathLike[str], arrays: Arrays, header: dict[str, Any]) -> None:
    """Write named arrays and a header with ``format`` and ``format_version``; an existing file is replaced in one step.

    The header stands as a JSON text under ``secateur`` in the metadata of the safetensors file, with a checksum of
    everything.
    """
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    header = header | {"sha256": checksum(contiguous, header)}
    content = save(contiguous, metadata={"secateur": json.dumps(header)})
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def read_arrays(
    path: str | os.PathLike[str], kind: str, format_name: str, version: int
) -> tuple[Arrays, dict[str, Any]]:
    """Arrays and header of a file of :func:`write_arrays`.

    Parameters
    ----------
    path
        File to read.
    kind
        What the file should hold, in words, for messages.
    format_name, version
        The format that is expected, and its newest version that is known here.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is too large, damaged, of another kind or of a newer version; the message says which.
    """
    path = regular_file(path)
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"{path} has {size:,} bytes, more than the {MAX_BYTES:,} of the largest file that is read")
    content = path.read_bytes()
    try:
        arrays = load(content)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:  # the last three: types that NumPy lacks
        raise _unreadable(path, error) from error
    length = int.from_bytes(content[:_LENGTH], "little")
    header = _checked_header(_described(content[_LENGTH : _LENGTH + length]), path, kind, format_name, version)
    try:
        whole = header.get("sha256") == checksum(arrays, header)
    except RecursionError:  # nested too deeply for a JSON text
        whole = False
    if not whole:
        raise ValueError(f"{path} is damaged (its checksum does not match); restore it from a copy or make it again")
    return arrays, header


def read_header(path: str | os.PathLike[str], kind: str, format_name: str, version: int) -> dict[str, Any]:
    """The header alone of a file of :func:`write_arrays`, however large its arrays are.

    Arrays are not read, so damage to them, and the checksum, go unnoticed; a file that lacks bytes, or has some more,
    is refused. Parameters and errors as of :func:`read_arrays`.
    """
    path = regular_file(path)
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH), "little")
        if length > MAX_HEADER_BYTES:
            raise _unreadable(path, f"its header would have {length:,} bytes, more than {MAX_HEADER_BYTES:,}")
        described = _described(file.read(length))
    header = _checked_header(described, path, kind, format_name, version)
    if path.stat().st_size != _LENGTH + length + _array_bytes(described):
        raise _unreadable(path, "it has not the size that its header gives")
    return header


def _unreadable(path: Path, reason: object) -> ValueError:
    return ValueError(
        f"{path} is not a readable safetensors file ({str(reason)[:300]}); it is damaged or of another kind"
    )


def _described(header: bytes) -> dict[str, Any]:
    """What the header of a safetensors file says, by the names of its arrays; empty if it is none."""
    try:
        described = json.loads(header)
    except (ValueError, RecursionError):
        return {}
    return described if isinstance(described, dict) else {}


def _array_bytes(described: dict[str, Any]) -> int:
    """Bytes of all arrays; -1 if a header does not say."""
    try:
        ends = [about["data_offsets"][1] for name, about in described.items() if name != "__metadata__"]
    except (LookupError, TypeError):
        return -1
    return max(ends, default=0) if all(type(end) is int for end in ends) else -1


def _checked_header(described: dict[str, Any], path: Path, kind: str, format_name: str, version: int) -> dict[str, Any]:
    """The header that :func:`write_arrays` was given, of a known format and version."""
    try:
        header = json.loads((described.get("__metadata__") or {}).get("secateur", ""))
    except (AttributeError, TypeError, ValueError, RecursionError):
        header = None
    if not isinstance(header, dict) or header.get("format") != format_name:
        raise ValueError(f"{path} is a safetensors file but not a {kind}; expected a file that secateur wrote")
    found = header.get("format_version")
    if not isinstance(found, int) or not 1 <= found <= version:
        raise ValueError(
            f"{path} has {kind} format version {str(found)[:40]}, this secateur reads up to version {version}; "
            "install a newer secateur"
        )
    return header


def checksum(arrays: Arrays, header: dict[str, Any]) -> str:
    """SHA-256 of the arrays and of the header without its checksum; safetensors itself notices no changed weight."""
    described = {name: value for name, value in header.items() if name != "sha256"}
    found = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        found.update(f"{name} {array.dtype.str} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).data if array.size else b"")
    return found.hexdigest()


def write_atomically(path: str | os.PathLike[str], write: Callable[[Path], Any]) -> None:
    """Call ``write`` on a temporary file beside ``path``, then rename it: readers see the old file or the whole new
    one, also after a power loss.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not mkstemp, whose files nobody else may read.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}{path.suffix}")
    try:
        write(temporary)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the rename last through a power loss; not every system can open folders."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
