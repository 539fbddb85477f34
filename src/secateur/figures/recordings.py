"""Figures of a fitted recording: activity of the models beside held-out words; those of stiffness come from beside."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib import style as matplotlib_style
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from secateur.figures import Caption, save
from secateur.figures.panels import Drawing, plain_numbers, powers_of_ten, say_when_empty
from secateur.figures.stiffness import assemblies, coupling_map, loadings, ranking_stability, spectrum, units
from secateur.figures.style import RC, REFERENCE_COLOUR, WIDTH

# Okabe & Ito's palette; the machine, whatever its name, has the last colour.
_COLOURS = ("#E69F00", "#009E73", "#0072B2")
_MARKERS = ("s", "^", "o")
HEIGHT = 3.4


def draw_recording(results: xr.Dataset, folder: Path) -> dict[str, Caption]:
    """Draw every figure of a fitted recording into ``figures/``, as PNG and as PDF.

    Returns
    -------
    dict
        Title and caption by the file's name without ending, in the order of the report.
    """
    captions = {}
    with matplotlib_style.context(["default", RC]):
        for name, draw in FIGURES.items():
            drawing = draw(results)
            save(drawing, folder / "figures" / name)
            captions[name] = Caption(drawing.title, drawing.caption)
    return captions


def _models(results: xr.Dataset) -> dict[str, tuple[str, str]]:
    """Colour and marker of every model."""
    return dict(zip((str(m) for m in results["model"].values), zip(_COLOURS, _MARKERS, strict=True), strict=True))


def _legend(figure: Figure, axes: Axes, columns: int = 4) -> None:
    found = figure.legend(
        *axes.get_legend_handles_labels(), loc="outside lower center", ncols=columns, columnspacing=1.2
    )
    for handle in found.legend_handles:  # points are small and pale where there are thousands
        if isinstance(handle, PathCollection):
            handle.set_sizes([30])
            handle.set_alpha(1)


_AGAINST = {
    "rate": ("Firing rates", "probability of a spike per bin", "rates of all units"),
    "correlation": ("Pairwise correlations", "correlation", "Pearson correlations of all pairs of units"),
    "triplet_correlation": (
        "Three-point correlations",
        "third central moment",
        "third central moments of up to 2,000 triplets of units; no model was fitted to them",
    ),
}


def model_against_data(results: xr.Dataset, name: str) -> Drawing:
    """A statistic of every model against that of the held-out words."""
    title, label, what = _AGAINST[name]
    figure = Figure(figsize=(WIDTH, WIDTH), layout="constrained")
    axes = figure.subplots()
    data = results[name].sel(source="data").values.ravel()
    if name == "correlation":
        upper = np.triu_indices(results.sizes["unit"], 1)
        data = results[name].sel(source="data").values[upper]
    everything = [data]
    for model, (colour, marker) in _models(results).items():
        values = results[name].sel(source=model).values
        values = values[upper] if name == "correlation" else values.ravel()
        everything.append(values)
        look: dict[str, Any] = {
            "s": 12 if len(data) < 200 else 5,
            "alpha": 0.8 if len(data) < 200 else 0.35,
            "linewidths": 0,
        }
        axes.scatter(data, values, color=colour, marker=marker, label=model, rasterized=True, **look)
    finite = np.concatenate(everything)
    finite = finite[np.isfinite(finite)]
    if name == "rate" and (finite > 0).any():
        axes.set_xscale("log")
        axes.set_yscale("log")
        finite = finite[finite > 0]
        for axis in (axes.xaxis, axes.yaxis):
            plain_numbers(axis)
    if finite.size:
        span = [finite.min(), finite.max()]
        axes.plot(span, span, color=REFERENCE_COLOUR, linewidth=0.9, zorder=0)
    if name == "triplet_correlation":
        axes.ticklabel_format(style="sci", scilimits=(-2, 2), useMathText=False)
    say_when_empty(axes, data)
    axes.set_xlabel(f"held-out words: {label}")
    axes.set_ylabel(f"models: {label}")
    _legend(figure, axes, 3)
    caption = (
        f"{title} of the models against those of the {results.attrs['n_held_out_bins']:,} held-out bins: {what}. "
        f"Every model is represented by {results.attrs['n_drawn']:,} words drawn from it, of each fold's fit as many "
        "per held-out bin. Points on the line agree."
    )
    return Drawing(figure, title, caption)


def population_count(results: xr.Dataset) -> Drawing:
    """Probability of each number of active units, in the held-out words and in every model."""
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes = figure.subplots()
    counts = results["count"].values
    values = results["population_count"]
    data = values.sel(source="data").values
    axes.plot(counts, _positive(data), "o", color=REFERENCE_COLOUR, label="data", markersize=4.5, zorder=4)
    for model, (colour, _) in _models(results).items():
        look: dict[str, Any] = {"marker": ".", "markersize": 4}  # a count between two that never occur is seen too
        axes.plot(counts, _positive(values.sel(source=model).values), color=colour, label=model, **look)
    axes.set_yscale("log")
    seen = np.flatnonzero(np.nan_to_num(values.values).max(axis=0))
    axes.set_xlim(-0.5, (seen.max() if seen.size else 1) + 0.5)
    axes.set_xlabel("active units in a bin, K")
    axes.set_ylabel("P(K), log scale")
    powers_of_ten(axes.yaxis)
    _legend(figure, axes)
    caption = (
        "Population count: probability that K units are active in a bin, in the held-out words and in the "
        f"{results.attrs['n_drawn']:,} words drawn from each model. The independent model shows what the rates alone "
        "would make."
    )
    return Drawing(figure, "Population count", caption)


def rank_frequency(results: xr.Dataset) -> Drawing:
    """Frequencies of words by rank."""
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes = figure.subplots()
    rank = results["rank"].values
    shown = np.unique(np.geomspace(1, len(rank), 200).astype(int)) - 1
    values = results["rank_frequency"]
    data = _positive(values.sel(source="data").values)[shown]
    axes.plot(rank[shown], data, color=REFERENCE_COLOUR, label="data", linewidth=2.6)
    for model, (colour, _) in _models(results).items():
        axes.plot(rank[shown], _positive(values.sel(source=model).values)[shown], color=colour, label=model)
    axes.set_xscale("log")
    axes.set_yscale("log")
    say_when_empty(axes, data)
    most = np.nanmax(np.nan_to_num(values.sel(source="data").values))
    once = ""
    if most * min(results.attrs["n_held_out_bins"], results.attrs["n_drawn"]) < 1.5:  # as many words of each are ranked
        once = " No word of the recording occurs twice, so that ranks say nothing here."
        axes.text(0.5, 0.5, "every recorded word occurs once", transform=axes.transAxes, ha="center")
    axes.set_xlabel("rank of the word (log scale)")
    axes.set_ylabel("frequency (log scale)")
    powers_of_ten(axes.xaxis)
    powers_of_ten(axes.yaxis)
    _legend(figure, axes)
    caption = (
        f"The {len(rank):,} most frequent words by rank, each source ranked by itself: the held-out words, and as many "
        f"words drawn from each model, evenly from those of every fold.{once}"
    )
    return Drawing(figure, "Rank and frequency of words", caption)


def held_out_likelihood(results: xr.Dataset) -> Drawing:
    """Gains in held-out log-likelihood with their intervals."""
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    panels = figure.subplots(2, 1)
    gains = [
        (model, str(quantity))
        for model in _models(results)
        for quantity in results["quantity"].values[1:]
        if np.isfinite(results["log_likelihood"].sel(model=model, quantity=quantity).values).any()
    ]
    for axes, per in zip(panels, results["per"].values, strict=True):
        for row, (model, quantity) in enumerate(gains):
            value, low, high = results["log_likelihood"].sel(model=model, quantity=quantity, per=per).values
            colour, marker = _models(results)[model]
            axes.plot([low, high], [row, row], color=colour)
            axes.plot([value], [row], marker, color=colour)
        axes.axvline(0, color=REFERENCE_COLOUR, linewidth=0.9)
        axes.set_yticks(range(len(gains)), [f"{m} over {q.removeprefix('gain over ')}" for m, q in gains])
        axes.set_ylim(max(len(gains), 1) - 0.5, -0.5)
        say_when_empty(axes, np.array([0.0] if gains else []))
        axes.set_xlabel(str(per))
    given = np.isfinite(results["log_likelihood"].sel(interval="low").values).any()
    intervals = (
        "with 95 % Student intervals over blocks, which contain the errors of partition functions and of training"
        if given
        else "without intervals, for there are fewer than eight held-out blocks"
    )
    caption = (
        f"Gain in log-likelihood of one model over another on the {results.attrs['n_held_out_bins']:,} held-out bins, "
        f"{intervals}. To the right of zero the first model predicts better."
    )
    return Drawing(figure, "Held-out log-likelihood", caption)


def specific_heat(results: xr.Dataset) -> Drawing:
    """Specific heat over temperature."""
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    axes = figure.subplots()
    temperature = results["temperature"].values
    for model, (colour, marker) in _models(results).items():
        heat, error = (results[n].sel(model=model).values for n in ("specific_heat", "specific_heat_error"))
        axes.errorbar(temperature, heat, yerr=error, color=colour, marker=marker, capsize=2.5, label=model)
    axes.axvline(1, color=REFERENCE_COLOUR, linewidth=0.9, linestyle="--")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("temperature T (1: as fitted)")
    axes.set_ylabel("specific heat per unit")
    _legend(figure, axes, 3)
    caption = (
        "Specific heat Var(E) / T² per unit when all parameters are divided by a temperature T; the dashed line is the "
        "fitted model, T = 1. Without bars it is exact; bars are standard errors between groups of tempered chains, "
        "and where these had not mixed no point is drawn. For the machine the energy is that of "
        "visible "
        "and hidden units together, per unit of both. A peak near T = 1 is also found in models of no critical system "
        "when "
        "units share a drive."
    )
    return Drawing(figure, "Specific heat", caption)


def _positive(values: np.ndarray) -> np.ndarray:
    """Values for a logarithmic axis: NaN in place of zero."""
    return np.where(values > 0, values, np.nan)


FIGURES: dict[str, Callable[[xr.Dataset], Drawing]] = {
    "held-out-likelihood": held_out_likelihood,
    "rates": partial(model_against_data, name="rate"),
    "correlations": partial(model_against_data, name="correlation"),
    "triplet-correlations": partial(model_against_data, name="triplet_correlation"),
    "population-count": population_count,
    "rank-frequency": rank_frequency,
    "fisher-spectrum": spectrum,
    "stiffness-of-units": units,
    "coupling-map": coupling_map,
    "loadings": loadings,
    "ranking-stability": ranking_stability,
    "assemblies": assemblies,
    "specific-heat": specific_heat,
}
"""How each figure is drawn, by the name of its file, in the order of the report."""
