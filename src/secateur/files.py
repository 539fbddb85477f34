"""Machines on disk: safetensors with a JSON header, written atomically, checked when read. No pickle anywhere."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from secateur.machine import Machine

FORMAT = "secateur-machine"
FORMAT_VERSION = 1


def save_machine(machine: Machine, path: str | os.PathLike[str], lineage: dict[str, Any] | None = None) -> None:
    """Write a machine to a safetensors file.

    The file holds ``weights.l``, ``biases.l``, ``masks.l`` and ``unit_indices.l`` for every layer ``l``; its header a
    JSON text under ``secateur`` with the format version, layer sizes, lineage and a checksum of everything.

    Parameters
    ----------
    machine
        A single machine (not stacked trials).
    path
        File to write; an existing one is replaced in one step.
    lineage
        What made the machine, e.g. ``{"criterion": "variance-fi", "round": 3}``; JSON values.
    """
    arrays = {}
    for name in ("weights", "biases", "masks", "unit_indices"):
        for layer, array in enumerate(getattr(machine, name)):
            arrays[f"{name}.{layer}"] = np.ascontiguousarray(array)
    header = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "layer_sizes": machine.layer_sizes,
        "original_layer_sizes": machine.original_layer_sizes,
        "lineage": lineage or {},
    }
    header["sha256"] = _checksum(arrays, header)
    write_atomically(
        path, lambda temporary: temporary.write_bytes(save(arrays, metadata={"secateur": json.dumps(header)}))
    )


def load_machine(path: str | os.PathLike[str]) -> Machine:
    """Read a machine written by :func:`save_machine`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged or not a machine of a known format version; the message says which.
    """
    return read_machine(path).machine


def load_lineage(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What made the machine in a file; errors as in :func:`load_machine`."""
    return read_machine(path).lineage


class MachineFile(NamedTuple):
    """A machine with what its file tells about it: lineage, SHA-256 checksum of the content, size in bytes."""

    machine: Machine
    lineage: dict[str, Any]
    sha256: str
    n_bytes: int


def read_machine(path: str | os.PathLike[str]) -> MachineFile:
    """All that a file of :func:`save_machine` holds; errors as in :func:`load_machine`."""
    path = Path(path)
    content = path.read_bytes()
    try:
        arrays = load(content)
    except SafetensorError as error:
        raise ValueError(
            f"{path} is not a readable safetensors file ({error}); it is damaged or of another kind"
        ) from error
    header = _header(content, path)
    if header.get("sha256") != _checksum(arrays, header):
        raise ValueError(f"{path} is damaged (its checksum does not match); restore it from a copy or make it again")
    n_layers = len(header["layer_sizes"])
    try:
        machine = Machine(
            weights=[arrays[f"weights.{layer}"] for layer in range(n_layers - 1)],
            biases=[arrays[f"biases.{layer}"] for layer in range(n_layers)],
            masks=[arrays[f"masks.{layer}"] for layer in range(n_layers - 1)],
            unit_indices=[arrays[f"unit_indices.{layer}"] for layer in range(n_layers)],
            original_layer_sizes=header["original_layer_sizes"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} does not hold a whole machine ({error}); write it again with save_machine") from error
    return MachineFile(machine, header["lineage"], header["sha256"], len(content))


def _header(content: bytes, path: Path) -> dict[str, Any]:
    length = int.from_bytes(content[:8], "little")  # safetensors: header length, then a JSON header
    metadata = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
    try:
        header = json.loads(metadata.get("secateur", ""))
    except json.JSONDecodeError:
        header = None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(
            f"{path} is a safetensors file but not a secateur machine; expected a file written by save_machine"
        )
    if header.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{path} has machine format version {header.get('format_version')}, this secateur reads version "
            f"{FORMAT_VERSION}; install a newer secateur"
        )
    sizes_fit = all(
        isinstance(header.get(name), list) and all(isinstance(n, int) for n in header[name])
        for name in ("layer_sizes", "original_layer_sizes")
    )
    if not sizes_fit or not isinstance(header.get("lineage"), dict):
        raise ValueError(f"{path} has a damaged header; write it again with save_machine")
    return header


def _checksum(arrays: dict[str, np.ndarray], header: dict[str, Any]) -> str:
    """SHA-256 of the arrays and of the header without its checksum; safetensors itself notices no changed weight."""
    described = {name: value for name, value in header.items() if name != "sha256"}
    checksum = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        checksum.update(f"{name} {array.dtype.str} {array.shape}".encode())
        checksum.update(np.ascontiguousarray(array).tobytes())
    return checksum.hexdigest()


def write_atomically(path: str | os.PathLike[str], write: Callable[[Path], Any]) -> None:
    """Call ``write`` on a temporary file beside ``path``, then rename it: readers see the old file or the whole new
    one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(descriptor)
    temporary = Path(name)
    try:
        write(temporary)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
