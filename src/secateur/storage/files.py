"""Files of users are opened only where they are regular files of a bearable size."""

from __future__ import annotations

import os
from pathlib import Path

from secateur.storage.limits import LEAST_UNPACKED, MOST_UNPACKED_RATIO


def regular_file(path: str | os.PathLike[str]) -> Path:
    """The path, which must lead to a regular file (links are followed): a pipe or device may have no end.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is a folder, a pipe, a socket or a device.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "a pipe, socket or device"
        raise ValueError(f"{path} is {kind}, not a regular file; give a file, or save what it delivers to one")
    return path


def most_unpacked(path: Path) -> int:
    """Bytes to which a recording may unpack: what its size justifies, and some in any case."""
    return max(LEAST_UNPACKED, MOST_UNPACKED_RATIO * path.stat().st_size)
