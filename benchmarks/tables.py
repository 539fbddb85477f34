"""Results as Markdown: targets and what was reached, times beside peers and floors, likelihoods, curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

Rows = dict[tuple[str, str], dict[str, Any]]
"""What was measured, by case and library."""

SWEEPS = "sweeps 784 x 500, 1,000 chains"
SINGLE = "update of one row 13 x 70"
DEEP = "deep sweeps, 1,000 chains"
TEN_PAIRS = "eigenpairs, ten, 400-400-676"
LIKELIHOOD = "likelihood after ten minutes, MNIST"
SMALL = "exact likelihood, MNIST, 16 hidden units"
QUARTER, TEN_ROUNDS = "secateur, a quarter of the top units", "secateur, after ten rounds"


class Target(NamedTuple):
    """A number to reach: what, from which rows, whether it must be at least or at most the limit; and its error."""

    what: str
    of: Callable[[Rows], float]
    sense: str
    limit: float
    unit: str = ""
    error: Callable[[Rows], float] | None = None


def _seconds(case: str, library: str = "secateur", scale: float = 1.0) -> Callable[[Rows], float]:
    return lambda rows: rows[case, library]["seconds"] * scale


def _ratio(case: str, library: str) -> Callable[[Rows], float]:
    return lambda rows: rows[case, library]["seconds"] / rows[case, "secateur"]["seconds"]


def _pruned(library: str) -> Callable[[Rows], float]:
    return lambda rows: rows[DEEP, library]["unpruned"] / rows[DEEP, library]["seconds"]


def _times_floor(case: str) -> Callable[[Rows], float]:
    return lambda rows: rows[case, "secateur"]["seconds"] / rows[case, "secateur"]["floor"]


def _gigabytes(case: str) -> Callable[[Rows], float]:
    return lambda rows: rows[case, "secateur"]["peak_bytes"] / 1e9


def _likelihood(case: str) -> Callable[[Rows], float]:
    return lambda rows: rows[case, "secateur"]["log_likelihood"]


def _above(library: str) -> Callable[[Rows], float]:
    return lambda rows: _likelihood(LIKELIHOOD)(rows) - rows[LIKELIHOOD, library]["log_likelihood"]


def _above_error(library: str) -> Callable[[Rows], float]:
    """Standard error of the difference from both log Z; the test images are the same, and the seed is one."""
    return lambda rows: math.hypot(*(rows[LIKELIHOOD, name]["log_z_standard_error"] for name in ("secateur", library)))


TARGETS = (
    Target(f"{SWEEPS}: times the products alone", _times_floor(SWEEPS), "<=", 1.15),
    Target(f"{SWEEPS}: faster than scikit-learn", _ratio(SWEEPS, "scikit-learn"), ">=", 2.0, "x"),
    Target(f"{SWEEPS}: faster than rbms", _ratio(SWEEPS, "rbms"), ">=", 2.8, "x"),
    Target(f"{SINGLE}, one trial", _seconds(SINGLE, scale=1e6), "<=", 8.0, "us"),
    Target(f"{SINGLE}, ten trials, each", _seconds(SINGLE, "secateur, ten trials", 1e6), "<=", 4.0, "us"),
    Target("deep epoch 400-400-676", _seconds("deep epoch 400-400-676"), "<=", 7.0, "s"),
    Target(f"{DEEP}: faster with a quarter of the top units", _pruned(QUARTER), ">=", 3.0, "x"),
    Target(f"{DEEP}: faster after ten rounds", _pruned(TEN_ROUNDS), ">=", 3.0, "x"),
    Target("eigenpairs, all, 13 x 70", _seconds("eigenpairs, all, 13 x 70"), "<=", 1.0, "s"),
    Target(TEN_PAIRS, _seconds(TEN_PAIRS), "<=", 60.0, "s"),
    Target(f"{TEN_PAIRS}: peak memory", _gigabytes(TEN_PAIRS), "<=", 2.0, "GB"),
    Target("quick digits study with report", _seconds("command: quick digits study with report"), "<=", 90.0, "s"),
    Target("figures and report alone", _seconds("command: figures and report alone"), "<=", 10.0, "s"),
    Target("patches study, ten trials", _seconds("command: patches study, ten trials"), "<=", 180.0, "s"),
    Target("secateur --help", _seconds("command: secateur --help"), "<=", 0.5, "s"),
    Target(
        SMALL, _likelihood(SMALL), ">=", -143.0, "nats", lambda rows: rows[SMALL, "secateur"]["seeds_standard_error"]
    ),
    *(
        Target(f"{LIKELIHOOD}: above {name}", _above(name), ">=", 0.0, "nats", _above_error(name))
        for name in ("scikit-learn", "rbms")
    ),
)
"""Numbers to reach."""


def page(results: dict[str, Any]) -> str:
    """Everything as one page."""
    rows = {(row["case"], row["library"]): row for row in results["rows"]}
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    timed = [row for row in rows.values() if "failed" in row or "seconds" in row and "log_likelihood" not in row]
    parts = [
        "# Benchmark results",
        f"Written by `make bench`. {results['cpus']} CPUs, {results['processor']}; {versions}.",
        "## Targets",
        _table(("", "reached", "target", ""), (_target(target, rows) for target in TARGETS)),
        "## Times",
        "x secateur: multiples of secateur's time. x floor: multiples of the float32 matrix products alone, which take "
        "turns with secateur.",
        _table(
            ("case", "library", "median", "x secateur", "x floor", "GFLOP/s", "GB/s", "peak memory"),
            (_time_row(row, rows) for row in timed),
        ),
        "## Likelihoods, nats per test image",
        "log Z from annealing in both directions together, and in each alone; errors are those of log Z.",
        _table(
            ("case", "library", "updates", "seconds", "both directions", "upwards", "downwards", "training images"),
            (_likelihood_row(row) for row in rows.values() if "log_likelihood" in row),
        ),
        "## Growth",
        *(_curve(row) for row in rows.values() if "numbers" in row),
    ]
    return "\n\n".join(parts) + "\n"


def _table(head: tuple[str, ...], body: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *body]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _target(target: Target, rows: Rows) -> tuple[str, ...]:
    sign = {"<=": "\N{LESS-THAN OR EQUAL TO}", ">=": "\N{GREATER-THAN OR EQUAL TO}"}[target.sense]
    limit = f"{sign} {target.limit:g} {target.unit}".strip()
    try:
        reached = target.of(rows)
    except KeyError:
        return target.what, "not measured", limit, ""
    met = reached <= target.limit if target.sense == "<=" else reached >= target.limit
    error = f" ± {target.error(rows):.2f}" if target.error else ""
    return target.what, f"{reached:.4g}{error} {target.unit}".strip(), limit, "met" if met else "**missed**"


def _time_row(row: dict[str, Any], rows: Rows) -> tuple[str, ...]:
    if "failed" in row:
        return row["case"], row["library"], row["failed"], "", "", "", "", ""
    seconds = row["seconds"]
    ours = rows.get((row["case"], "secateur"), {})
    return (
        row["case"],
        row["library"],
        time_in_words(seconds),
        f"{seconds / ours['seconds']:.2f}" if "seconds" in ours else "",
        f"{seconds / row.get('floor', ours['floor']):.2f}" if "floor" in ours else "",
        f"{row['flop'] / seconds / 1e9:,.0f}" if "flop" in row else "",
        f"{row['bytes'] / seconds / 1e9:.1f}" if "bytes" in row else "",
        f"{row['peak_bytes'] / 1e9:.2f} GB",
    )


def _likelihood_row(row: dict[str, Any]) -> tuple[str, ...]:
    if "each" in row:
        ours = f"{row['log_likelihood']:.2f} ± {row['seeds_standard_error']:.2f} (exact, {len(row['each'])} seeds)"
        return row["case"], row["library"], "30,000", f"{row['seconds']:.0f}", ours, "", "", ""
    one_way = (f"{row[way]:.2f} ± {row[f'{way}_standard_error']:.2f}" for way in ("upwards", "downwards"))
    return (
        row["case"],
        row["library"],
        f"{row['n_updates']:,}",
        f"{row['seconds']:.0f}",
        f"{row['log_likelihood']:.2f} ± {row['log_z_standard_error']:.2f}",
        *one_way,
        f"{row['train_log_likelihood']:.2f}",
    )


def _curve(row: dict[str, Any]) -> str:
    grown = row["case"].removeprefix("scaling: ")
    cells = zip(row["numbers"], row["each_seconds"], strict=True)
    return f"{grown}, {row['library']}\n\n" + _table(
        (grown, "median"), ((f"{number:,}", time_in_words(seconds)) for number, seconds in cells)
    )


def time_in_words(seconds: float) -> str:
    """Seconds with a unit in which they are at least 1."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"
