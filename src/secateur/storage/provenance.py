"""Provenance: with which versions, from which commit and on what computer results came about."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from secateur import __version__
from secateur.storage.limits import MAX_PROVENANCE_BYTES

_COUNTED = ("total_seconds", "compile_seconds", "n_compilations")
"""What is summed over the sessions of a study."""


def read_provenance(path: Path) -> dict[str, Any]:
    """What a ``provenance.json`` says.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is too large or no JSON object.
    """
    if (size := path.stat().st_size) > MAX_PROVENANCE_BYTES:
        raise ValueError(f"{path} has {size:,} bytes, more than the {MAX_PROVENANCE_BYTES:,} that are read")
    try:
        facts = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}); restore it from a copy, or run again") from error
    if not isinstance(facts, dict):
        raise ValueError(f"{path} must hold a JSON object, got a {type(facts).__name__}; restore it from a copy")
    sessions = facts.get("sessions", [])
    if not isinstance(sessions, list) or not all(
        isinstance(one, dict) and all(isinstance(one.get(name, 0), int | float) for name in _COUNTED)
        for one in sessions
    ):
        raise ValueError(f"{path} is damaged (its sessions are none); restore it from a copy, or run again")
    return facts


def _is_session(found: Any) -> bool:
    return isinstance(found, dict) and all(isinstance(found.get(name, 0), int | float) for name in _COUNTED)


def describe_versions() -> dict[str, Any]:
    """Versions, commit and hardware."""
    packages = ("jax", "jaxlib", "equinox", "optax", "numpy", "scipy", "scikit-learn", "xarray", "safetensors")
    return {
        "secateur": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in packages},
        "machine": {"system": platform.system(), "architecture": platform.machine(), "cpus": os.cpu_count()},
    }


def _commit() -> str | None:
    """Commit of the checkout that this package runs from, with ``+changes`` when files differ; none for an installed
    package.
    """
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", here, *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        if not git("ls-files", Path(__file__).name):
            return None
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
