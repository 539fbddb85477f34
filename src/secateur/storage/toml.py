"""Settings as TOML text, read within bounds."""

from __future__ import annotations

import os
import tomllib
from typing import Any

from secateur.storage.files import regular_file
from secateur.storage.limits import MAX_SETTINGS_BYTES


def read_toml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The settings in a TOML file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no regular file, too large, or no valid TOML.
    """
    path = regular_file(path)
    if path.stat().st_size > MAX_SETTINGS_BYTES:
        raise ValueError(f"{str(path)!r} has more than {MAX_SETTINGS_BYTES:,} bytes; settings take far fewer")
    return parse_toml(path.read_bytes().decode("utf-8", errors="replace"), str(path))


def parse_toml(text: str, name: str) -> dict[str, Any]:
    """The settings in a TOML text; ``name`` is that of its source, for the message of the ValueError."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also numbers of too many digits, and tables nested too deeply
        raise ValueError(f"{name!r} is not valid TOML: {error}") from error
