"""How times are taken: medians of a few runs after one that warms up."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

Run = Callable[[], object]
"""Does the work once, and waits until it is done."""

REPEATS = 7


def median_seconds(*runs: Run, repeats: int = REPEATS) -> list[float]:
    """Median seconds of every run; runs take turns, so that they share the computer's good and bad moments."""
    for run in runs:
        run()
    seconds: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats):
        for run, found in zip(runs, seconds, strict=True):
            began = time.perf_counter()
            run()
            found.append(time.perf_counter() - began)
    return [statistics.median(found) for found in seconds]
