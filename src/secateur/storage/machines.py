"""Machines on disk: safetensors with a JSON header (:mod:`secateur.storage.arrays`)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from secateur.model.machine import Machine
from secateur.storage.arrays import read_arrays, write_arrays
from secateur.storage.limits import MAX_UNITS

FORMAT = "secateur-machine"
FORMAT_VERSION = 1
"""Every version up to this one is read, now and by later releases (docs/files.md)."""
_DTYPES = {"weights": np.float32, "biases": np.float32, "masks": np.bool_, "unit_indices": np.int32}


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
    for name in _DTYPES:
        for layer, array in enumerate(getattr(machine, name)):
            arrays[f"{name}.{layer}"] = np.asarray(array)
    header = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "layer_sizes": machine.layer_sizes,
        "original_layer_sizes": machine.original_layer_sizes,
        "lineage": lineage or {},
    }
    write_arrays(path, arrays, header)


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
    arrays, header = read_arrays(path, "secateur machine", FORMAT, FORMAT_VERSION)
    _check_header(header, path)
    n_layers = len(header["layer_sizes"])
    try:
        _check_types(arrays)
        machine = Machine(
            weights=[arrays[f"weights.{layer}"] for layer in range(n_layers - 1)],
            biases=[arrays[f"biases.{layer}"] for layer in range(n_layers)],
            masks=[arrays[f"masks.{layer}"] for layer in range(n_layers - 1)],
            unit_indices=[arrays[f"unit_indices.{layer}"] for layer in range(n_layers)],
            original_layer_sizes=header["original_layer_sizes"],
        )
        if list(machine.layer_sizes) != header["layer_sizes"]:
            raise ValueError(f"layer_sizes are {header['layer_sizes']}, its arrays have {list(machine.layer_sizes)}")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} does not hold a whole machine ({error}); write it again with save_machine") from error
    return MachineFile(machine, header["lineage"], header["sha256"], Path(path).stat().st_size)


def _check_header(header: dict[str, Any], path: str | os.PathLike[str]) -> None:
    sizes_fit = all(
        isinstance(header.get(name), list) and all(type(n) is int and 0 <= n <= MAX_UNITS for n in header[name])
        for name in ("layer_sizes", "original_layer_sizes")
    )
    if not sizes_fit or not isinstance(header.get("lineage"), dict):
        raise ValueError(f"{path} has a damaged header; write it again with save_machine")


def _check_types(arrays: dict[str, np.ndarray]) -> None:
    """Refuse arrays of other types, which a cast would change without a word."""
    for name, array in arrays.items():
        expected = _DTYPES.get(name.partition(".")[0])
        if expected is not None and array.dtype != expected:
            raise ValueError(f"{name} must be of type {np.dtype(expected)}, got {array.dtype}")
