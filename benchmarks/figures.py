"""Figures of the benchmark results: time beside peers, and how time grows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tables import time_in_words

from secateur.figures.panels import plain_numbers, powers_of_ten
from secateur.figures.style import RC

COLOURS = {
    "secateur": "#0072B2",
    "secateur, bfloat16": "#56B4E9",
    "secateur, ten trials": "#56B4E9",
    "scikit-learn": "#E69F00",
    "rbms": "#CC79A7",
    "thrml": "#6E6E6E",
}
COMPARED = ("sweeps", "PCD epoch", "update of one row", "exact log Z")
"""Beginnings of the names of cases that other libraries take part in."""


def draw(rows: list[dict[str, Any]], folder: Path) -> None:
    """Write ``ratios.png`` and ``growth.png`` of what was measured."""
    with style.context(["default", RC]):
        compared = [row for row in rows if "seconds" in row and row["case"].startswith(COMPARED)]
        if compared:
            _ratios(compared).savefig(folder / "ratios.png")
        grown = [row for row in rows if "numbers" in row]
        if grown:
            _growth(grown).savefig(folder / "growth.png")


def _ratios(rows: list[dict[str, Any]]) -> Figure:
    """One group of bars per case: time of every library, as a multiple of secateur's."""
    cases = list(dict.fromkeys(row["case"] for row in rows))
    figure = Figure(figsize=(7.0, 0.5 + 0.27 * len(rows) + 0.2 * len(cases)), layout="constrained")
    axes = figure.subplots()
    place, ticks = 0.0, []
    for case in cases:
        here = [row for row in rows if row["case"] == case]
        ours = next(row["seconds"] for row in here if row["library"] == "secateur")
        if "floor" in here[0]:
            axes.plot([here[0]["floor"] / ours] * 2, [place - 0.5, place + len(here) - 0.5], color="#222222", lw=1.2)
        ticks.append((place + (len(here) - 1) / 2, case.replace(", ", ",\n", 1)))
        for row in here:
            ratio = row["seconds"] / ours
            axes.barh(place, ratio, height=0.8, color=COLOURS[row["library"]], label=row["library"])
            axes.annotate(
                f"{row['library']}  {time_in_words(row['seconds'])}",
                (ratio, place),
                (4, 0),
                textcoords="offset points",
                va="center",
                fontsize=9,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
            )
            place += 1
        place += 0.8
    axes.set_yticks([tick for tick, _ in ticks], [name for _, name in ticks], fontsize=10)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(0.3, 8 * max(row["seconds"] / _ours(rows, row) for row in rows))
    axes.axvline(1, color="#222222", lw=0.6, ls=":")
    plain_numbers(axes.xaxis)
    axes.set_xlabel("multiples of secateur's time (log scale)")
    return figure


def _ours(rows: list[dict[str, Any]], row: dict[str, Any]) -> float:
    return next(r["seconds"] for r in rows if r["case"] == row["case"] and r["library"] == "secateur")


def _growth(rows: list[dict[str, Any]]) -> Figure:
    """One panel per quantity that grows, with the line of proportion through the last point."""
    cases = list(dict.fromkeys(row["case"] for row in rows))
    figure = Figure(figsize=(7.0, 3.1 * ((len(cases) + 1) // 2)), layout="constrained")
    panels: list[Axes] = list(np.ravel(figure.subplots((len(cases) + 1) // 2, 2)))
    for axes, case in zip(panels, cases, strict=False):
        here = [row for row in rows if row["case"] == case]
        for row, colour, marker in zip(here, ("#0072B2", "#E69F00"), "os", strict=False):
            milliseconds = 1e3 * np.array(row["each_seconds"])
            axes.plot(row["numbers"], milliseconds, color=colour, marker=marker, label=row["library"])
        numbers = np.array(here[0]["numbers"], float)
        power = 2 if case == "scaling: units" else 1
        largest = int(numbers.argmax())
        line = 1e3 * here[0]["each_seconds"][largest] * (numbers / numbers[largest]) ** power
        axes.plot(
            numbers, line, color="#222222", lw=0.9, ls="--", label="in proportion" if power == 1 else "to the square"
        )
        axes.set(xscale="log", yscale="log", xlabel=case.removeprefix("scaling: "), ylabel="ms")
        for axis, values in ((axes.xaxis, numbers), (axes.yaxis, line)):
            (powers_of_ten if values.max() > 100 * values.min() else plain_numbers)(axis)
        axes.legend(fontsize=9)
    for axes in panels[len(cases) :]:
        axes.set_axis_off()
    return figure
