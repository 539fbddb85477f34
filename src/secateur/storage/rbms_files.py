"""The ``.h5`` files of the library rbms (0.5): groups ``update_N/params`` with weights and biases, and a model type."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from secateur.storage.arrays import write_atomically
from secateur.storage.files import regular_file
from secateur.storage.limits import MAX_BYTES, MAX_RESULTS_BYTES

_NAMES = ("weight_matrix", "vbias", "hbias")
_TYPE = "BBRBM"
_LONGEST_NAME = 64
_OBJECT = 16  # bytes of the header of a global heap, and of the header of each object in it


def read(path: Path, update: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights ``(visible, hidden)`` and the two biases of a Bernoulli-Bernoulli machine; ``None``: the last update.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, of another kind or too large, or holds no such update.
    """
    path = regular_file(path)
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ValueError(f"{path} has {size:,} bytes, more than the {MAX_BYTES:,} of the largest file that is read")
    try:
        with h5py.File(path, "r") as file:
            _check_type(file, path)
            group = _group(_group(file, _chosen(file, update)), "params")
            weights, visible, hidden = (_values(group, name) for name in _NAMES)
    except Exception as error:  # h5py raises whatever it stumbles over in damaged files
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ValueError(f"{path} cannot be read as a file of rbms ({reason}); save the machine again") from error
    if weights.ndim != 2 or visible.shape != weights.shape[:1] or hidden.shape != weights.shape[1:]:
        raise ValueError(
            f"{path} holds weights of shape {weights.shape} and biases of shapes {visible.shape} and {hidden.shape}, "
            "which do not fit; save the machine again"
        )
    return weights, visible, hidden


def write(path: Path, weights: np.ndarray, visible: np.ndarray, hidden: np.ndarray, chains: np.ndarray) -> None:
    """A file with one machine, as update 1, and visible states ``(chains, visible)`` of its chains."""
    settings: dict[str, float] = {"num_visibles": visible.size, "num_hiddens": hidden.size, "num_chains": len(chains)}
    # load_model asks for these; a continued training may set each of them anew.
    settings |= {"batch_size": len(chains), "gibbs_steps": 1, "learning_rate": 0.01, "L1": 0.0, "L2": 0.0}

    def fill(temporary: Path) -> None:
        with h5py.File(temporary, "w") as file:
            for name, array in zip(_NAMES, (weights, visible, hidden), strict=True):
                file[f"update_1/params/{name}"] = array
            file["update_1/time"] = 0.0
            file["parallel_chains"] = chains.astype(np.float32)
            file["model_type"] = _TYPE
            for name, value in settings.items():
                file[f"hyperparameters/{name}"] = value

    write_atomically(path, fill)


def _chosen(file: h5py.File, update: int | None) -> str:
    numbers = [int(name[7:]) for name in file if name.startswith("update_") and name[7:].isdecimal()]
    if not numbers:
        raise ValueError("it holds no group update_N")
    if update is not None and update not in numbers:
        raise ValueError(f"it holds no update {update} but {sorted(numbers)[:20]}")
    return f"update_{max(numbers) if update is None else update}"


def _own(group: h5py.Group, name: str) -> Any:
    """What lies in this very file under a name: links can lead into others."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"it holds no {name} of its own")
    return group[name]


def _group(group: h5py.Group, name: str) -> h5py.Group:
    found = _own(group, name)
    if not isinstance(found, h5py.Group):
        raise ValueError(f"{name} is no group")
    return found


def _values(group: h5py.Group, name: str) -> np.ndarray:
    found = _own(group, name)
    if not isinstance(found, h5py.Dataset) or found.dtype.kind != "f" or found.shape is None:
        raise ValueError(f"{name} holds no real numbers")
    if found.chunks is not None or found.external or found.is_virtual:
        raise ValueError(f"{name} is not stored in one piece, as rbms stores it")
    if (n_bytes := math.prod(found.shape) * found.dtype.itemsize) > MAX_RESULTS_BYTES:
        raise ValueError(f"{name} takes {n_bytes:,} bytes, more than the {MAX_RESULTS_BYTES:,} that are read")
    return found[()]


def _check_type(file: h5py.File, path: Path) -> None:
    found = _own(file, "model_type")
    name = _text(found, path) if isinstance(found, h5py.Dataset) else "none"
    if name != _TYPE:
        raise ValueError(f"its model_type is {name!r}, and only {_TYPE!r} has 0/1 units on both sides")


def _text(found: h5py.Dataset, path: Path) -> str:
    """A text of variable length, taken from its heap here: libhdf5 can follow a damaged heap for ever.

    Stored are its length, the address of the heap and the object's number in it (HDF5 file format 3.0, IV.B).
    """
    place = found.id.get_offset()
    if found.shape != () or h5py.check_string_dtype(found.dtype) is None or place is None:
        raise ValueError("its model_type is no text")
    with path.open("rb") as content:
        content.seek(place)
        stored = content.read(16)
        length, address, number = (int.from_bytes(stored[a:b], "little") for a, b in ((0, 4), (4, 12), (12, 16)))
        if length > _LONGEST_NAME or address > path.stat().st_size:
            raise ValueError("its model_type is damaged")
        content.seek(address)
        head = content.read(_OBJECT)
        end = address + min(int.from_bytes(head[8:16], "little"), 2**20)
        at = address + _OBJECT
        while head[:4] == b"GCOL" and at + _OBJECT <= end:
            content.seek(at)
            one = content.read(_OBJECT)
            index, size = int.from_bytes(one[:2], "little"), int.from_bytes(one[8:16], "little")
            if index == number and length <= size:
                return content.read(length).decode("utf-8", "replace")
            if index == 0:
                break
            at += _OBJECT + -(-size // 8) * 8
    raise ValueError("its model_type is damaged")
