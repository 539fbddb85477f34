"""The process that parses MATLAB and HDF5 files for ``apart.py``: ``parser.py TASK FILE ANSWER SECONDS MEMORY MOST``.

Run by its path and without secateur, so that it starts in a fraction of a second. It writes the length of a JSON text,
the text, and the bytes of arrays to which the text refers.
"""

from __future__ import annotations

import json
import math
import re
import runpy
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

ALIGNED = 16
PIECE = 2**29
"""Larger datasets are not tried here: their file is large itself."""
READ_OF_NWB = ("units", "intervals")


def limit(seconds: int, memory: int) -> None:
    """Bound computing time and address space, where the system can."""
    try:
        import resource
    except ImportError:  # Windows: the caller bounds the time
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower(resource.RLIMIT_CPU, seconds)
    statm = Path("/proc/self/statm")
    if statm.exists():  # elsewhere the limit is not kept by the system, or counts shared libraries
        in_use = int(statm.read_text().split()[0]) * resource.getpagesize()
        _lower(resource.RLIMIT_AS, in_use + memory)


def _lower(what: int, amount: int) -> None:
    import resource

    hard = resource.getrlimit(what)[1]
    most = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
    resource.setrlimit(what, (most, hard))


def check_hdf5(path: str, most: int) -> str:
    """Try everything that is read of an HDF5 file; its kind."""
    with h5py.File(path, "r") as file:
        attributes = {name: file.attrs[name] for name in ("nwb_version", "neurodata_type") if name in file.attrs}
        kind = "nwb" if "nwb_version" in attributes or attributes.get("neurodata_type") == "NWBFile" else "other"
        names = [name for name in READ_OF_NWB if name in file.keys()] if kind == "nwb" else list(file)
        total = 0
        for name, item in walk(file, names):
            if "MATLAB_class" in item.attrs and kind == "other":
                kind = "matlab"
            if isinstance(item, h5py.Dataset):
                total += checked_bytes(name, item)
                if total > most:
                    raise ValueError(f"its values up to {name} take {total:,} bytes, more than {most:,}")
                if kind != "matlab" and item.size and total <= PIECE:
                    item[()]
    return kind


def walk(file: h5py.File, names: list[str]) -> Iterator[tuple[str, Any]]:
    """All that the names lead to, once each; no link may lead out of the file."""
    waiting, seen = [(file, name) for name in reversed(names)], set()
    while waiting:
        group, name = waiting.pop()
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.SoftLink):
            check_soft_link(file if link.path.startswith("/") else group, link.path, name)
        elif not isinstance(link, h5py.HardLink):
            raise ValueError(f"{name[:100]} is a link into another file")
        item = group[name]
        address = h5py.h5o.get_info(item.id).addr
        if address in seen:
            continue
        seen.add(address)
        yield item.name[:100] if item.name else name[:100], item
        if isinstance(item, h5py.Group):
            waiting += [(item, entry) for entry in reversed(list(item))]


def check_soft_link(group: h5py.Group, target: str, name: str) -> None:
    """Every step of a soft link must be a plain one."""
    for step in filter(None, target.split("/")):
        if not isinstance(group, h5py.Group) or not isinstance(group.get(step, getlink=True), h5py.HardLink):
            raise ValueError(f"{name[:100]} is a link that leads nowhere, or over another link")
        group = group[step]


def checked_bytes(name: str, item: h5py.Dataset) -> int:
    """Bytes that a dataset takes."""
    if item.external or item.is_virtual:
        raise ValueError(f"the values of {name} lie in another file")
    if item.shape is None:
        raise ValueError(f"{name} holds no values at all")
    n_bytes = math.prod(item.shape) * item.dtype.itemsize
    if item.chunks is not None:
        n_bytes = max(n_bytes, math.prod(item.chunks) * item.dtype.itemsize) if n_bytes else 0
    return n_bytes


def read_matlab(path: str) -> Any:
    """Variables of a MATLAB file of either version, which was checked if it is HDF5."""
    matlab = runpy.run_path(str(Path(__file__).with_name("matlab.py")))
    if not h5py.is_hdf5(path):
        return matlab["read_version_5"](Path(path))
    with h5py.File(path, "r") as file:
        return matlab["read_version_7_3"](file)


def described(value: Any, arrays: list[np.ndarray], end: list[int], most: int) -> Any:
    """A JSON value that stands for the value; its arrays are put aside."""
    if isinstance(value, dict):
        return {"dict": {str(name): described(entry, arrays, end, most) for name, entry in value.items()}}
    if isinstance(value, list | tuple):
        return {"list": [described(entry, arrays, end, most) for entry in value]}
    if isinstance(value, str | bytes):
        return {"text": value.decode("utf-8", "replace") if isinstance(value, bytes) else value}
    if hasattr(value, "tocoo"):
        parts = value.tocoo()
        triple = (parts.row, parts.col, parts.data)
        return {"sparse": [described(part, arrays, end, most) for part in triple], "of_shape": list(value.shape)}
    array = np.asarray(value, order="C")
    if array.dtype.hasobject:
        return described([text(entry) for entry in array.ravel().tolist()], arrays, end, most)
    if array.dtype.names:
        return described({name: array[name] for name in array.dtype.names}, arrays, end, most)
    place = end[0]
    end[0] += -(-array.nbytes // ALIGNED) * ALIGNED
    if end[0] > most:
        raise ValueError(f"its values take more than {most:,} bytes")
    arrays.append(array)
    return {"dtype": array.dtype.str, "shape": list(array.shape), "at": place}


def text(value: Any) -> str:
    """A text of an object."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def main() -> int:
    """Do the task and write the answer."""
    task, path, answer, *numbers = sys.argv[1:]
    seconds, memory, most = map(int, numbers)
    limit(seconds, memory)
    warnings.simplefilter("ignore")
    arrays: list[np.ndarray] = []
    try:
        kind = check_hdf5(path, most) if task == "hdf5" else "matlab"
        found = described(read_matlab(path) if kind == "matlab" else {}, arrays, [0], most)
        value = {"kind": kind, "variables": found} if task == "hdf5" else found
        content = json.dumps({"found": value}).encode()
    except Exception as error:  # h5py and SciPy raise whatever they stumble over in damaged files
        cause = error.__cause__ or error
        reason = " ".join(str(cause).replace(path, "it").split())[:300] or type(cause).__name__
        if isinstance(cause, MemoryError) or re.search("allocat|memory", reason):
            reason = "its values need more room than its size justifies"
        arrays, content = [], json.dumps({"refused": reason}).encode()
    content += b" " * (-(len(content) + 8) % ALIGNED)
    with Path(answer).open("wb") as file:
        file.write(len(content).to_bytes(8, "little") + content)
        for array in arrays:
            file.write(array.tobytes())
            file.write(bytes(-array.nbytes % ALIGNED))
    return 0


if __name__ == "__main__":
    sys.exit(main())
