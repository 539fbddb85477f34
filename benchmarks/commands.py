"""Whole commands as a user runs them, in a new process, with nothing compiled before."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

COMMANDS = {
    "secateur --help": ("--help",),
    "quick digits study with report": ("run", "digits", "--out", "study"),
    "figures and report alone": (),
    "patches study, ten trials": ("run", "patches", "--size", "paper", "--trials", "10", "--out", "study"),
}
"""What is timed, by name."""


def measure(case: str, library: str) -> dict[str, Any]:
    """Wall-clock seconds of a command, the shortest of three for one that takes a moment, or of the report alone."""
    arguments = COMMANDS[case.removeprefix("command: ")]
    with tempfile.TemporaryDirectory() as folder:
        if arguments:
            return {"seconds": min(_seconds(arguments, folder) for _ in range(3 if arguments[0] == "--help" else 1))}
        from secateur.report import write_report
        from secateur.studies import StudyFolder

        _seconds(COMMANDS["quick digits study with report"], folder)
        began = time.perf_counter()
        write_report(StudyFolder.open(Path(folder) / "study"))
        return {"seconds": time.perf_counter() - began}


def _seconds(arguments: tuple[str, ...], folder: str) -> float:
    cache = {"JAX_COMPILATION_CACHE_DIR": str(Path(folder) / "compiled")}
    command = [str(Path(sys.executable).with_name("secateur")), *arguments]
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, env=os.environ | cache, check=True, capture_output=True)
    return time.perf_counter() - began
