"""All benchmarks, one process after another: ``make bench``. Prints tables, writes them, results and figures.

Nothing else may run meanwhile. Every ratio is of times measured in this one run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import tables
from cases import CASES

HERE = Path(__file__).parent
PACKAGES = ("secateur", "jax", "scikit-learn", "rbms", "torch", "thrml")
LONGEST_S = 1_800


def measure(case: str, library: str) -> dict[str, Any]:
    """What a case found for a library, or why it found nothing."""
    command = [sys.executable, str(HERE / "cases.py"), case, library]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S)
    except subprocess.TimeoutExpired:
        return {"case": case, "library": library, "failed": f"not done after {LONGEST_S} s"}
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return {"case": case, "library": library, "failed": reason}
    return json.loads(done.stdout.splitlines()[-1])


def describe() -> dict[str, Any]:
    """Computer and versions."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {"cpus": os.cpu_count(), "processor": _processor(), "versions": versions}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    named = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    extensions = next((line for line in lines if line.startswith("flags")), "").split()
    has = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in extensions]
    return f"{next(named, platform.processor())} ({', '.join(has) or platform.machine()})"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default="", help="only cases whose name holds this text, added to earlier results")
    parser.add_argument("--out", type=Path, default=HERE.parent / "docs" / "speed", help="folder for what is written")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "results.json"
    rows = json.loads(path.read_text("utf-8"))["rows"] if arguments.cases and path.is_file() else []
    for case, (_, libraries) in CASES.items():
        if arguments.cases in case:
            rows = [row for row in rows if row["case"] != case]
            for library in libraries:
                rows.append(measure(case, library))
                print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    import figures  # now, not before: a process starts with the memory of the one that starts it in its books

    rows.sort(key=lambda row: list(CASES).index(row["case"]))
    results = describe() | {"rows": rows}
    path.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    text = tables.page(results)
    (arguments.out / "results.md").write_text(text, "utf-8")
    figures.draw(rows, arguments.out)
    print(text)


if __name__ == "__main__":
    main()
