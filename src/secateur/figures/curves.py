"""Curves over synapses, rounds and epochs, one line per rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from secateur.figures.panels import (
    Drawing,
    legend,
    note,
    plot_rules,
    reference,
    round_axis,
    say_when_empty,
    stacked_panels,
    synapse_axis,
)
from secateur.figures.published import CITATION, PUBLISHED_SYNAPSES, published_units
from secateur.figures.style import REFERENCE_COLOUR, rule_styles
from secateur.figures.summary import mean_and_error, total_synapses

_PUBLISHED: dict[str, Any] = {
    "marker": "o",
    "linestyle": "none",
    "markerfacecolor": "white",
    "markersize": 7,
    "zorder": 3,
}


def test_error_over_synapses(results: xr.Dataset) -> Drawing:
    """Test error after retraining over the number of synapses left."""
    figure, (axes,) = stacked_panels(results, 1, 2.9)
    plot_rules(axes, results, results["test_error"].sel(stage="retrained"), total_synapses(results))
    _error_axis(axes, results)
    half = float(mean_and_error(total_synapses(results).isel(round=0))[0].max()) / 2
    if np.isfinite(half):
        axes.axvline(half, color=REFERENCE_COLOUR, linewidth=0.8, linestyle=(0, (1, 3)))
        axes.annotate(
            "half", (half, 1), (3, -2), xycoords=("data", "axes fraction"), textcoords="offset points", va="top"
        )
    synapse_axis(axes, results)
    legend(figure, results)
    caption = (
        "Share of test digits that logistic regression misreads from the top layer after retraining, against the "
        "number of synapses left (fewer to the right). Dashed: the unpruned machine; dotted: the same classifier on "
        f"raw pixels. {note(results)}"
    )
    return Drawing(figure, "Test error over synapses", caption)


def test_error_over_rounds(results: xr.Dataset) -> Drawing:
    """Test error after retraining over rounds of pruning."""
    figure, (axes,) = stacked_panels(results, 1, 2.9)
    plot_rules(axes, results, results["test_error"].sel(stage="retrained"), None)
    _error_axis(axes, results)
    round_axis(axes, results)
    legend(figure, results)
    caption = (
        "The same test errors over rounds of pruning; round 0 is the trained machine. At the same round rules may "
        f"differ in the number of synapses left. {note(results)}"
    )
    return Drawing(figure, "Test error over rounds", caption)


def retraining_gain(results: xr.Dataset) -> Drawing:
    """Test error right after pruning and after retraining, one panel each."""
    figure, panels = stacked_panels(results, 2, 2.2)
    for axes, stage, title in zip(
        panels, ("pruned", "retrained"), ("right after pruning", "after retraining"), strict=True
    ):
        plot_rules(axes, results, results["test_error"].sel(stage=stage), total_synapses(results))
        _error_axis(axes, results)
        synapse_axis(axes, results, label=axes is panels[-1])
        axes.set_title(title, loc="left")
    finite = results["test_error"].values[results["test_error"].values > 0]
    if finite.size:
        for axes in panels:
            axes.set_ylim(0.85 * min(finite.min(), _reference_errors(results).min()), 1.15 * finite.max())
    legend(figure, results)
    caption = (
        "Test error right after each pruning step (top) and after the retraining that follows it (bottom), on equal "
        f"axes. Dashed: the unpruned machine; dotted: raw pixels. {note(results)}"
    )
    return Drawing(figure, "Right after pruning and after retraining", caption)


def units_over_synapses(results: xr.Dataset) -> Drawing:
    """Living units of each hidden layer over the number of synapses left."""
    figure = _units(results, over_rounds=False)
    caption = (
        "Units left in each hidden layer against the number of synapses left in all layers (fewer to the right). "
        f"{_published_note(results)}{note(results)}"
    )
    return Drawing(figure, "Units over synapses", caption)


def units_over_rounds(results: xr.Dataset) -> Drawing:
    """Living units of each hidden layer over rounds of pruning."""
    caption = f"Units left in each hidden layer over rounds of pruning. {_published_note(results)}{note(results)}"
    return Drawing(_units(results, over_rounds=True), "Units over rounds", caption)


def sample_quality(results: xr.Dataset) -> Drawing:
    """Quality of model samples over synapses, with test digits and random patterns."""
    figure = _sample_scores(results, "quality", "mean winning probability")
    caption = (
        "How clearly a digit classifier recognises samples of the retrained machine: its winning probability, averaged "
        "over the classes it sees, against the number of synapses left. Dashed: real test digits; dotted: random "
        f"patterns. {note(results)}"
    )
    return Drawing(figure, "Sample quality", caption)


def sample_diversity(results: xr.Dataset) -> Drawing:
    """Diversity of model samples over synapses, with test digits and random patterns."""
    figure = _sample_scores(results, "diversity", "entropy of classes (nats)")
    caption = (
        "Entropy of the classes that the digit classifier sees in samples of the retrained machine (ln 10 = 2.30 nats "
        "when all ten digits are equally frequent), against the number of synapses left. Dashed: real test digits; "
        f"dotted: random patterns. {note(results)}"
    )
    return Drawing(figure, "Sample diversity", caption)


def training_history(results: xr.Dataset) -> Drawing:
    """Measures of the first joint training, one line per trial and their mean."""
    labels = {
        "pseudo_likelihood": "pseudo-likelihood\n(nats per image)",
        "free_energy_gap": "free-energy gap\n(nats)",
        "reconstruction_error": "reconstruction\nerror",
    }
    figure, panels = stacked_panels(results, 3, 1.6)
    for axes, (name, label) in zip(panels, labels.items(), strict=True):
        values = results[f"training_{name}"].transpose("trial", "epoch")
        if has_several := values.sizes["trial"] > 1:
            axes.plot(values["epoch"].values, values.values.T, color="#9A9A9A", linewidth=0.8)
        axes.plot(values["epoch"].values, mean_and_error(values)[0].values, color=REFERENCE_COLOUR)
        axes.set_ylabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(labelbottom=axes is panels[-1])
        say_when_empty(axes, values.values)
    panels[-1].set_xlabel("epoch of joint training")
    lines = "Thin lines are trials, thick lines their mean. " if has_several else "One trial. "
    caption = (
        "First training of all layers together. Log pseudo-likelihood of training images (an estimate from random "
        "pixels, so it jitters; higher is better), free "
        "energy of test minus training images (it grows when the machine overfits), mean absolute reconstruction "
        f"error. {lines}"
    )
    return Drawing(figure, "First training", caption.strip())


def _reference_errors(results: xr.Dataset) -> np.ndarray:
    """Mean test error of the unpruned machine and of raw pixels."""
    unpruned = results["test_error"].sel(stage="retrained").isel(round=0, criterion=0)
    return np.array([float(mean_and_error(values)[0]) for values in (unpruned, results["pixel_error"])])


def _error_axis(axes: Axes, results: xr.Dataset) -> None:
    unpruned, pixels = _reference_errors(results)
    reference(axes, unpruned, "--", "unpruned machine")
    reference(axes, pixels, ":", "raw pixels")
    # Errors span a factor of ten and the small ones matter.
    axes.set_yscale("log", nonpositive="clip")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:.3g} %"))
    axes.set_ylabel("test error (log scale)")
    if not results["test_error"].notnull().any():
        axes.set_ylim(0.01, 1)


def _units(results: xr.Dataset, over_rounds: bool) -> Figure:
    n_hidden = results.sizes["layer"] - 1
    figure, panels = stacked_panels(results, n_hidden, 2.1 if n_hidden > 1 else 2.9)
    for layer, axes in enumerate(panels, start=1):
        units = results["n_units"].isel(layer=layer)
        plot_rules(axes, results, units, None if over_rounds else total_synapses(results))
        axes.set_ylabel("units left")
        axes.set_title(f"hidden layer {layer}", loc="left")
        axes.set_ylim(0, 1.08 * max(float(units.max()), 1.0) if units.notnull().any() else 1.0)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        for name, counts in published_units(results).items():
            colour = rule_styles([name])[name].colour
            x = range(1, 1 + len(counts)) if over_rounds else PUBLISHED_SYNAPSES[: len(counts)]
            axes.plot(
                x, counts, "o", color=colour, markerfacecolor="white", markersize=7, markeredgewidth=1.4, zorder=3
            )
        if published_units(results):
            axes.plot([], [], color=REFERENCE_COLOUR, label="published", **_PUBLISHED)
        if not over_rounds:
            synapse_axis(axes, results, label=axes is panels[-1])
    if over_rounds:
        round_axis(panels[-1], results)
    legend(figure, results)
    return figure


def _published_note(results: xr.Dataset) -> str:
    return f"Open circles: the single run published in {CITATION}. " if published_units(results) else ""


def _sample_scores(results: xr.Dataset, name: str, label: str) -> Figure:
    figure, (axes,) = stacked_panels(results, 1, 2.9)
    plot_rules(axes, results, results[f"sample_{name}"].sel(stage="retrained"), total_synapses(results))
    references = mean_and_error(results[f"reference_{name}"])[0]
    reference(axes, float(references.sel(reference="test digits")), "--", "test digits")
    reference(axes, float(references.sel(reference="random patterns")), ":", "random patterns")
    axes.set_ylabel(label)
    synapse_axis(axes, results)
    legend(figure, results)
    return figure
