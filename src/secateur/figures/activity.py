"""Activity statistics of the data and of the trained model."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from secateur.figures.panels import Drawing, plain_numbers, powers_of_ten, say_when_empty
from secateur.figures.style import REFERENCE_COLOUR, WIDTH
from secateur.figures.summary import error_bar_note, mean_and_error

_DISTRIBUTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "data": (REFERENCE_COLOUR, {"marker": "o"}),
    "model": ("#8A8A8A", {"marker": "s", "linestyle": "--", "markerfacecolor": "white"}),
}


def population_count(results: xr.Dataset) -> Drawing:
    """Probability of each number of active units, in the data and in the trained model."""
    figure = Figure(figsize=(WIDTH, 3.3), layout="constrained")
    axes = figure.subplots()
    for name, (colour, look) in _DISTRIBUTIONS.items():
        mean, error = mean_and_error(results["population_count"].sel(distribution=name))
        bars = np.nan_to_num(error.values)
        axes.errorbar(results["count"].values, mean.values, yerr=bars, color=colour, capsize=2.5, label=name, **look)
    say_when_empty(axes, results["population_count"].values)
    axes.set_yscale("log", nonpositive="clip")
    axes.set_xlabel("active units")
    axes.set_ylabel("probability (log scale)")
    plain_numbers(axes.yaxis, 100, " %")
    figure.legend(loc="outside lower center", ncols=2)
    caption = (
        "Population count: how many units are 1 together, in the training data and by the trained, unpruned "
        f"model (exact). {error_bar_note(results)}"
    )
    return Drawing(figure, "Population count", caption)


def rank_frequency(results: xr.Dataset) -> Drawing:
    """Frequencies of all patterns by rank, in the data and in the trained model."""
    figure = Figure(figsize=(WIDTH, 3.3), layout="constrained")
    axes = figure.subplots()
    rank = results["rank"].values
    axes.set_xscale("log")
    axes.set_yscale("log", nonpositive="clip")
    for name, (colour, look) in _DISTRIBUTIONS.items():
        values = results["rank_frequency"].sel(distribution=name).transpose("trial", "rank").values.astype(float)
        values = np.where(values > 0, values, np.nan)
        mean = mean_and_error(xr.DataArray(values, dims=("trial", "rank")))[0].values
        # Equal distances on the logarithmic axis: thousands of points would only make the PDF file large.
        shown = np.unique(np.geomspace(1, len(rank), 200).astype(int)) - 1
        marks = np.unique(np.geomspace(1, len(shown), 12).astype(int)) - 1
        axes.plot(rank[shown], mean[shown], color=colour, label=name, markevery=list(marks), **look)
    say_when_empty(axes, results["rank_frequency"].values)
    axes.set_xlabel("rank of the pattern (log scale)")
    axes.set_ylabel("frequency (log scale)")
    powers_of_ten(axes.xaxis)
    powers_of_ten(axes.yaxis)
    figure.legend(loc="outside lower center", ncols=2)
    trials = "mean over trials" if results.sizes["trial"] > 1 else "one trial"
    caption = (
        "Rank and frequency of the patterns, each distribution ranked by itself, in the training data and by the "
        f"trained, unpruned model (exact); {trials}. Patterns that never occur in the data are left out of its curve."
    )
    return Drawing(figure, "Rank and frequency of patterns", caption)
