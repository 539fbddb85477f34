"""Curves over synapses, rounds and epochs, one line per rule."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from secateur.figures.style import REFERENCE_COLOUR, WIDTH, rule_styles
from secateur.figures.summary import error_bar_note, mean_and_error, total_synapses

_SYNAPSES = "synapses left (log scale)"
_ROUNDS = "round of pruning"


class Drawing(NamedTuple):
    """A figure with its title and caption."""

    figure: Figure
    title: str
    caption: str


def test_error_over_synapses(results: xr.Dataset) -> Drawing:
    """Test error after retraining over the number of synapses left."""
    figure, (axes,) = _panels(results, 1, 2.9)
    _plot_rules(axes, results, results["test_error"].sel(stage="retrained"), total_synapses(results))
    _error_axis(axes, results)
    half = float(mean_and_error(total_synapses(results).isel(round=0))[0].max()) / 2
    if np.isfinite(half):
        axes.axvline(half, color=REFERENCE_COLOUR, linewidth=0.8, linestyle=(0, (1, 3)))
        axes.annotate(
            "half", (half, 1), (3, -2), xycoords=("data", "axes fraction"), textcoords="offset points", va="top"
        )
    _synapse_axis(axes, results)
    _legend(figure, axes, results)
    caption = (
        "Share of test digits that logistic regression misreads from the top layer after retraining, against the "
        "number of synapses left (fewer to the right). Dashed: the unpruned machine; dotted: the same classifier on "
        f"raw pixels. {_note(results)}"
    )
    return Drawing(figure, "Test error over synapses", caption)


def test_error_over_rounds(results: xr.Dataset) -> Drawing:
    """Test error after retraining over rounds of pruning."""
    figure, (axes,) = _panels(results, 1, 2.9)
    _plot_rules(axes, results, results["test_error"].sel(stage="retrained"), None)
    _error_axis(axes, results)
    _round_axis(axes, results)
    _legend(figure, axes, results)
    caption = (
        "The same test errors over rounds of pruning; round 0 is the trained machine. At the same round rules may "
        f"differ in the number of synapses left. {_note(results)}"
    )
    return Drawing(figure, "Test error over rounds", caption)


def retraining_gain(results: xr.Dataset) -> Drawing:
    """Test error right after pruning and after retraining, one panel each."""
    figure, panels = _panels(results, 2, 2.2)
    for axes, stage, title in zip(
        panels, ("pruned", "retrained"), ("right after pruning", "after retraining"), strict=True
    ):
        _plot_rules(axes, results, results["test_error"].sel(stage=stage), total_synapses(results))
        _error_axis(axes, results)
        _synapse_axis(axes, results, label=axes is panels[-1])
        axes.set_title(title, loc="left")
    finite = results["test_error"].values[results["test_error"].values > 0]
    if finite.size:
        for axes in panels:
            axes.set_ylim(0.85 * min(finite.min(), _reference_errors(results).min()), 1.15 * finite.max())
    _legend(figure, panels[0], results)
    caption = (
        "Test error right after each pruning step (top) and after the retraining that follows it (bottom), on equal "
        f"axes. Dashed: the unpruned machine; dotted: raw pixels. {_note(results)}"
    )
    return Drawing(figure, "Right after pruning and after retraining", caption)


def units_over_synapses(results: xr.Dataset) -> Drawing:
    """Living units of each hidden layer over the number of synapses left."""
    figure = _units(results, over_rounds=False)
    caption = (
        "Units left in each hidden layer against the number of synapses left in all layers (fewer to the right). "
        f"{_note(results)}"
    )
    return Drawing(figure, "Units over synapses", caption)


def units_over_rounds(results: xr.Dataset) -> Drawing:
    """Living units of each hidden layer over rounds of pruning."""
    caption = f"Units left in each hidden layer over rounds of pruning. {_note(results)}"
    return Drawing(_units(results, over_rounds=True), "Units over rounds", caption)


def sample_quality(results: xr.Dataset) -> Drawing:
    """Quality of model samples over synapses, with test digits and random patterns."""
    figure = _sample_scores(results, "quality", "mean winning probability")
    caption = (
        "How clearly a digit classifier recognises samples of the retrained machine: its winning probability, averaged "
        "over the classes it sees, against the number of synapses left. Dashed: real test digits; dotted: random "
        f"patterns. {_note(results)}"
    )
    return Drawing(figure, "Sample quality", caption)


def sample_diversity(results: xr.Dataset) -> Drawing:
    """Diversity of model samples over synapses, with test digits and random patterns."""
    figure = _sample_scores(results, "diversity", "entropy of classes (nats)")
    caption = (
        "Entropy of the classes that the digit classifier sees in samples of the retrained machine (ln 10 = 2.30 nats "
        "when all ten digits are equally frequent), against the number of synapses left. Dashed: real test digits; "
        f"dotted: random patterns. {_note(results)}"
    )
    return Drawing(figure, "Sample diversity", caption)


def training_history(results: xr.Dataset) -> Drawing:
    """Measures of the first joint training, one line per trial and their mean."""
    labels = {
        "pseudo_likelihood": "pseudo-likelihood\n(nats per image)",
        "free_energy_gap": "free-energy gap\n(nats)",
        "reconstruction_error": "reconstruction\nerror",
    }
    figure, panels = _panels(results, 3, 1.6)
    for axes, (name, label) in zip(panels, labels.items(), strict=True):
        values = results[f"training_{name}"].transpose("trial", "epoch")
        if has_several := values.sizes["trial"] > 1:
            axes.plot(values["epoch"].values, values.values.T, color="#9A9A9A", linewidth=0.8)
        axes.plot(values["epoch"].values, mean_and_error(values)[0].values, color=REFERENCE_COLOUR)
        axes.set_ylabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(labelbottom=axes is panels[-1])
        _say_when_empty(axes, values.values)
    panels[-1].set_xlabel("epoch of joint training")
    lines = "Thin lines are trials, thick lines their mean. " if has_several else "One trial. "
    caption = (
        "First training of all layers together. Log pseudo-likelihood of training images (an estimate from random "
        "pixels, so it jitters; higher is better), free "
        "energy of test minus training images (it grows when the machine overfits), mean absolute reconstruction "
        f"error. {lines}"
    )
    return Drawing(figure, "First training", caption.strip())


def _panels(results: xr.Dataset, n_panels: int, height: float) -> tuple[Figure, list[Axes]]:
    """Panels of a height in inches, one below the other, with room for the axis below and the legend."""
    n_entries = results.sizes["criterion"] + 2
    room = 0.6 + 0.22 * math.ceil(n_entries / _legend_columns(results))
    figure = Figure(figsize=(WIDTH, n_panels * height + room), layout="constrained")
    return figure, list(figure.subplots(n_panels, 1, squeeze=False, sharex=n_panels > 1)[:, 0])


def _legend_columns(results: xr.Dataset) -> int:
    styles = rule_styles([str(name) for name in results["criterion"].values])
    return 3 if max(len(style.label) for style in styles.values()) <= 16 else 2


def _note(results: xr.Dataset) -> str:
    apart = " Points are moved sideways a little, so that rules do not hide each other."
    return error_bar_note(results) + (apart if results.sizes["criterion"] > 1 else "")


def _plot_rules(axes: Axes, results: xr.Dataset, values: xr.DataArray, synapses: xr.DataArray | None) -> None:
    """One line with error bars per rule, over synapses or (``None``) over rounds."""
    criteria = [str(name) for name in results["criterion"].values]
    mean, error = (part.transpose("criterion", "round") for part in mean_and_error(values))
    rounds = results["round"].values.astype(float)
    places = np.broadcast_to(rounds, mean.shape)
    if synapses is not None:
        left = mean_and_error(synapses)[0].transpose("criterion", "round").values
        places = np.log(np.where(left > 0, left, np.nan))
    shifts = _sideways(places, len(criteria), len(rounds))
    for row, (name, style) in enumerate(rule_styles(criteria).items()):
        x = places[row] + shifts[row]
        axes.errorbar(
            x if synapses is None else np.exp(x),
            mean.sel(criterion=name).values,
            yerr=np.nan_to_num(error.sel(criterion=name).values),
            color=style.colour,
            marker=style.marker,
            label=style.label,
            capsize=2.5,
            elinewidth=1.1,
        )
    _say_when_empty(axes, mean.values)


def _sideways(places: np.ndarray, n_rules: int, n_rounds: int) -> np.ndarray:
    """Shift of every rule on the axis: together a third of the mean distance between rounds."""
    finite = places[np.isfinite(places)]
    width = np.ptp(finite) / max(n_rounds - 1, 1) / 3 if finite.size else 0.0
    return width * (np.linspace(-0.5, 0.5, n_rules) if n_rules > 1 else np.zeros(1))


def _reference_errors(results: xr.Dataset) -> np.ndarray:
    """Mean test error of the unpruned machine and of raw pixels."""
    unpruned = results["test_error"].sel(stage="retrained").isel(round=0, criterion=0)
    return np.array([float(mean_and_error(values)[0]) for values in (unpruned, results["pixel_error"])])


def _error_axis(axes: Axes, results: xr.Dataset) -> None:
    unpruned, pixels = _reference_errors(results)
    _reference(axes, unpruned, "--", "unpruned machine")
    _reference(axes, pixels, ":", "raw pixels")
    # Errors span a factor of ten and the small ones matter.
    axes.set_yscale("log", nonpositive="clip")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:.3g} %"))
    axes.set_ylabel("test error (log scale)")
    if not results["test_error"].notnull().any():
        axes.set_ylim(0.01, 1)


def _reference(axes: Axes, value: float, linestyle: str, label: str) -> None:
    if np.isfinite(value):
        axes.axhline(value, color=REFERENCE_COLOUR, linestyle=linestyle, linewidth=1.2, zorder=1, label=label)


def _synapse_axis(axes: Axes, results: xr.Dataset, label: bool = True) -> None:
    """Many synapses on the left, few on the right."""
    left = mean_and_error(total_synapses(results))[0].values
    left = left[left > 0] if (left > 0).any() else np.array([1.0])
    low, high = left.min(), left.max()
    margin = max(1.1, (high / low) ** (0.04 + 1 / (6 * max(results.sizes["round"] - 1, 1))))
    axes.set_xscale("log")
    axes.set_xlim(high * margin, low / margin)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7) if high < 12 * low else (1, 3)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    if label:
        axes.set_xlabel(_SYNAPSES)


def _round_axis(axes: Axes, results: xr.Dataset) -> None:
    axes.set_xlim(-0.4, float(results["round"].values[-1]) + 0.4)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(_ROUNDS)


def _legend(figure: Figure, axes: Axes, results: xr.Dataset) -> None:
    """Rules first, then reference lines; below all panels."""
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(handles)), key=lambda place: not isinstance(handles[place], ErrorbarContainer))
    figure.legend(
        [handles[place] for place in order],
        [labels[place] for place in order],
        loc="outside lower center",
        ncols=_legend_columns(results),
        columnspacing=1.2,
        handlelength=1.8,
        handletextpad=0.6,
    )


def _say_when_empty(axes: Axes, values: np.ndarray) -> None:
    if not np.isfinite(values).any():
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", va="center")


def _units(results: xr.Dataset, over_rounds: bool) -> Figure:
    n_hidden = results.sizes["layer"] - 1
    figure, panels = _panels(results, n_hidden, 2.1)
    for layer, axes in enumerate(panels, start=1):
        units = results["n_units"].isel(layer=layer)
        _plot_rules(axes, results, units, None if over_rounds else total_synapses(results))
        axes.set_ylabel("units left")
        axes.set_title(f"hidden layer {layer}", loc="left")
        axes.set_ylim(0, 1.08 * max(float(units.max()), 1.0) if units.notnull().any() else 1.0)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        if not over_rounds:
            _synapse_axis(axes, results, label=axes is panels[-1])
    if over_rounds:
        _round_axis(panels[-1], results)
    _legend(figure, panels[0], results)
    return figure


def _sample_scores(results: xr.Dataset, name: str, label: str) -> Figure:
    figure, (axes,) = _panels(results, 1, 2.9)
    _plot_rules(axes, results, results[f"sample_{name}"].sel(stage="retrained"), total_synapses(results))
    references = mean_and_error(results[f"reference_{name}"])[0]
    _reference(axes, float(references.sel(reference="test digits")), "--", "test digits")
    _reference(axes, float(references.sel(reference="random patterns")), ":", "random patterns")
    axes.set_ylabel(label)
    _synapse_axis(axes, results)
    _legend(figure, axes, results)
    return figure
