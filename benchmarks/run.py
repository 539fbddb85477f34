"""All benchmarks, one process after another: ``make bench``. Prints a table, writes ``results.json`` and a figure.

Nothing else may run meanwhile. Ratios are of times measured in this one run, to the peer named first in each case.
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

from cases import CASES

HERE = Path(__file__).parent
PACKAGES = ("secateur", "jax", "scikit-learn", "rbms", "torch", "thrml")
LONGEST_S = 900


def measure(case: str, peer: str) -> dict[str, Any]:
    """What a case found for a peer, or why it found nothing."""
    command = [sys.executable, str(HERE / "cases.py"), case, peer]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S, cwd=HERE)
    except subprocess.TimeoutExpired:
        return {"case": case, "peer": peer, "failed": f"not done after {LONGEST_S} s"}
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return {"case": case, "peer": peer, "failed": reason}
    return json.loads(done.stdout.splitlines()[-1])


def describe() -> dict[str, Any]:
    """Computer and versions."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {"cpus": os.cpu_count(), "architecture": platform.machine(), "processor": _processor(), "versions": versions}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())


def table(rows: list[dict[str, Any]]) -> str:
    """Median times and their ratios, as a Markdown table."""
    lines = ["| case | | median | ratio | GFLOP/s | peak memory |", "|---|---|---|---|---|---|"]
    first: dict[str, float] = {}
    for row in rows:
        if "failed" in row:
            lines.append(f"| {row['case']} | {row['peer']} | {row['failed']} | | | |")
            continue
        seconds = row["median_s"]
        ratio = seconds / first.setdefault(row["case"], seconds)
        speed = f"{row['flop'] / seconds / 1e9:,.0f}" if "flop" in row else ""
        memory = f"{row['peak_bytes'] / 1e9:.2f} GB"
        lines.append(f"| {row['case']} | {row['peer']} | {_time(seconds)} | {ratio:.2f} | {speed} | {memory} |")
    return "\n".join(lines)


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default="", help="only cases whose name holds this text")
    parser.add_argument("--out", type=Path, default=HERE / "results.json", help="file for the results")
    arguments = parser.parse_args()
    rows = []
    for case, (_, peers) in CASES.items():
        if arguments.cases in case:
            for peer in peers:
                rows.append(measure(case, peer))
                print(table(rows[-1:]).splitlines()[-1], flush=True)
    arguments.out.write_text(json.dumps({**describe(), "rows": rows}, indent=1) + "\n", "utf-8")
    print("\n" + table(rows))


if __name__ == "__main__":
    main()
