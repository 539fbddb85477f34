"""MATLAB and HDF5 files are parsed in a process of their own, with bounded memory and time.

Their C parsers can crash, hang or ask for any memory on a damaged or hostile file. The process (``parser.py``) imports
nothing of secateur and answers with arrays in plain bytes and a JSON text.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from secateur.storage.files import most_unpacked

SECONDS = 5
"""Computing time for any file; a large one has another second per ``BYTES_PER_SECOND``."""
BYTES_PER_SECOND = 2**24
MEMORY = 3 * 2**28
"""Bytes of address space for any file beyond what libraries take; a large one has as much again as it may unpack to."""
_TIMED_OUT = {-int(getattr(signal, name, 0)) for name in ("SIGXCPU", "SIGKILL")} - {0}


def check_hdf5(path: Path) -> tuple[str, dict[str, Any]]:
    """Whether an HDF5 file was written by ``"matlab"``, is ``"nwb"`` or ``"other"``, once all of it that is read has
    been read in bounds, and lies in this file alone; and the variables of the first kind.

    Raises
    ------
    ValueError
        If it is damaged, leads into other files, or takes too much memory or time.
    """
    described, content = _ask("hdf5", path)
    return described["kind"], _built(described["variables"], content)


def read_matlab(path: Path) -> dict[str, Any]:
    """Variables of a MATLAB file by name; cells as lists, structs as dicts.

    Raises
    ------
    ValueError
        As :func:`check_hdf5`.
    """
    described, content = _ask("matlab", path)
    found = _built(described, content)
    assert isinstance(found, dict)
    return found


def _ask(task: str, path: Path) -> tuple[Any, bytearray]:
    """What the process answers: a JSON value and the bytes of its arrays."""
    size = path.stat().st_size
    seconds, most = SECONDS + size // BYTES_PER_SECOND, most_unpacked(path)
    with tempfile.TemporaryDirectory(prefix="secateur-") as folder:
        answer = Path(folder) / "answer"
        numbers = [str(n) for n in (seconds, MEMORY + most * (size > 2**20), most)]
        parser = str(Path(__file__).with_name("parser.py"))
        command = [sys.executable, "-I", parser, task, os.path.abspath(path), str(answer), *numbers]
        threads = {name: "1" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=os.environ | threads,
                timeout=4 * seconds,
                check=False,
            )
            code = done.returncode
        except subprocess.TimeoutExpired:
            code = next(iter(_TIMED_OUT), 1)
        if code in _TIMED_OUT:
            raise ValueError(f"{path} takes more than {seconds} s to parse; it is damaged or forged, save it again")
        content = bytearray(answer.read_bytes()) if answer.exists() else bytearray()
    if code or len(content) < 8:
        raise ValueError(f"{path} is a damaged file (its parser ended with {code}); save it again")
    start = 8 + int.from_bytes(content[:8], "little")
    described = json.loads(content[8:start])
    if "refused" in described:
        raise ValueError(f"{path} cannot be read ({described['refused']}); save it again, with values of its own")
    return described["found"], content[start:]


def _built(described: Any, content: bytearray) -> Any:
    """A value from its description: ``{"dict": ...}``, ``{"list": ...}``, ``{"text": ...}``, or an array's place."""
    if "dict" in described:
        return {name: _built(entry, content) for name, entry in described["dict"].items()}
    if "list" in described:
        return [_built(entry, content) for entry in described["list"]]
    if "text" in described:
        return described["text"]
    if "sparse" in described:
        from scipy.sparse import coo_array

        row, column, values = (_built(part, content) for part in described["sparse"])
        return coo_array((values, (row, column)), shape=tuple(described["of_shape"]))
    shape, offset = described["shape"], described["at"]
    flat = np.frombuffer(content, described["dtype"], int(np.prod(shape, dtype=np.int64)), offset)
    return flat.reshape(shape)
