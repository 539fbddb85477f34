"""Curves over synapses, rounds and epochs, one line per rule."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from secateur.figures.panels import (
    PUBLISHED_MARKER,
    Drawing,
    legend,
    name_published,
    note,
    plot_rules,
    reference,
    round_axis,
    say_when_empty,
    stacked_panels,
    synapse_axis,
)
from secateur.figures.published import (
    CITATION,
    DIGITS_END,
    DIGITS_ERRORS,
    DIGITS_ROUNDS,
    PUBLISHED_SYNAPSES,
    in_study,
    is_published_digits,
    is_published_schedule,
    published_units,
)
from secateur.figures.style import REFERENCE_COLOUR, rule_styles
from secateur.figures.summary import mean_and_error, total_synapses
from secateur.figures.wording import nouns_of


def test_error_over_synapses(results: xr.Dataset) -> Drawing:
    """Test error after retraining over the number of synapses left, with published values where there are any."""
    figure, (axes,) = stacked_panels(results, 1, 3.2)
    plot_rules(axes, results, results["test_error"].sel(stage="retrained"), total_synapses(results))
    _error_axis(axes, results)
    half = float(mean_and_error(total_synapses(results).isel(round=0))[0].max()) / 2
    if np.isfinite(half):
        axes.axvline(half, color=REFERENCE_COLOUR, linewidth=0.8, linestyle=(0, (1, 3)))
        axes.text(half, 1.01, "half", transform=axes.get_xaxis_transform(), ha="center", va="bottom")
    beside = is_published_digits(results)
    synapse_axis(axes, results, also=_published_errors(axes, results) if beside else ())
    legend(figure, results)
    published = (
        f"Open circles: the single runs of {CITATION}, who removed 10\N{NO-BREAK SPACE}% of both matrices per round "
        "(with an arrow: the error was above). "
    )
    caption = (
        f"Share of test {nouns_of(results)[1]} that logistic regression misreads from the top layer after retraining, "
        "against the number of synapses left (fewer to the right). Dashed: the unpruned machine; dotted: the same "
        f"classifier on {_raw(results)}. {published if beside else ''}{note(results)}"
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
        f"axes. Dashed: the unpruned machine; dotted: {_raw(results)}. {note(results)}"
    )
    return Drawing(figure, "Right after pruning and after retraining", caption)


def units_over_synapses(results: xr.Dataset) -> Drawing:
    """Living units of each hidden layer over the number of synapses left."""
    published = _published_units(results, over_rounds=False)
    caption = (
        "Units left in each hidden layer against the number of synapses left in all layers (fewer to the right). "
        f"{_published_note(published)}{note(results)}"
    )
    return Drawing(_units(results, published, over_rounds=False), "Units over synapses", caption)


def units_over_rounds(results: xr.Dataset) -> Drawing:
    """Living units of each hidden layer over rounds of pruning."""
    published = _published_units(results, over_rounds=True)
    caption = f"Units left in each hidden layer over rounds of pruning. {_published_note(published)}{note(results)}"
    return Drawing(_units(results, published, over_rounds=True), "Units over rounds", caption)


def training_history(results: xr.Dataset) -> Drawing:
    """Measures of the first joint training, one line per trial and their mean."""
    labels = {
        "pseudo_likelihood": "pseudo-likelihood\n(nats)",
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
    panels[-1].set_xlabel("epoch")
    lines = "Thin lines are trials, thick lines their mean. " if has_several else "One trial. "
    caption = (
        "First training of all layers together. Log pseudo-likelihood of training rows (an estimate from random "
        "units, so it jitters; higher is better), free "
        "energy of test minus training rows (it grows when the machine overfits), mean absolute reconstruction "
        f"error. {lines}"
    )
    return Drawing(figure, "First training", caption.strip())


def _reference_errors(results: xr.Dataset) -> np.ndarray:
    """Mean test error of the unpruned machine and of raw rows."""
    unpruned = results["test_error"].sel(stage="retrained").isel(round=0, criterion=0)
    return np.array([float(mean_and_error(values)[0]) for values in (unpruned, results["pixel_error"])])


def _raw(results: xr.Dataset) -> str:
    return f"raw {nouns_of(results)[1]}"


def _error_axis(axes: Axes, results: xr.Dataset) -> None:
    unpruned, pixels = _reference_errors(results)
    reference(axes, unpruned, "--", "unpruned machine")
    reference(axes, pixels, ":", _raw(results))
    # Errors span a factor of ten and the small ones matter.
    axes.set_yscale("log", nonpositive="clip")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:.3g} %"))
    axes.set_ylabel("test error (log scale)")
    if not results["test_error"].notnull().any():
        axes.set_ylim(0.01, 1)


def _published_errors(axes: Axes, results: xr.Dataset) -> list[float]:
    """Draw the published test errors of the study's rules; the numbers of synapses at which they lie."""
    places: list[float] = []
    styles = rule_styles([str(name) for name in results["criterion"].values])
    for name, found in in_study(results, DIGITS_ERRORS.after_retraining).items():
        synapses, errors = zip(*found, strict=True)
        axes.plot(synapses, errors, color=styles[name].colour, **PUBLISHED_MARKER)
        places += synapses
    for name, (number, error) in in_study(results, DIGITS_ERRORS.above).items():
        axes.plot(number, error, color=styles[name].colour, **PUBLISHED_MARKER)
        arrow = {"arrowstyle": "->", "color": styles[name].colour, "linewidth": 1.4, "shrinkA": 4}
        axes.annotate("", (number, 1.5 * error), (number, error), arrowprops=arrow)
        places.append(number)
    if places:
        name_published(axes)
    return places


class _UnitPoints(NamedTuple):
    """Published units of one rule: where they lie on the axis, and units ``(points, hidden layers)``."""

    places: tuple[int, ...]
    units: tuple[tuple[int, ...], ...]


def _published_units(results: xr.Dataset, over_rounds: bool) -> dict[str, _UnitPoints]:
    """Published units by rule, for either study; over rounds only where a round removes as much as a published one."""
    found = {}
    for name, counts in published_units(results).items():
        places = tuple(range(1, 1 + len(counts))) if over_rounds else PUBLISHED_SYNAPSES[: len(counts)]
        found[name] = _UnitPoints(places, tuple((number,) for number in counts))
    if is_published_digits(results):
        if not over_rounds or (is_published_schedule(results) and results["round"].values[-1] >= DIGITS_ROUNDS):
            for name, end in in_study(results, DIGITS_END).items():
                found[name] = _UnitPoints((DIGITS_ROUNDS if over_rounds else end.synapses,), (end.units,))
    return found


def _units(results: xr.Dataset, published: dict[str, _UnitPoints], over_rounds: bool) -> Figure:
    n_hidden = results.sizes["layer"] - 1
    figure, panels = stacked_panels(results, n_hidden, 2.1 if n_hidden > 1 else 2.9)
    styles = rule_styles([str(name) for name in results["criterion"].values])
    for layer, axes in enumerate(panels, start=1):
        units = results["n_units"].isel(layer=layer)
        plot_rules(axes, results, units, None if over_rounds else total_synapses(results))
        axes.set_ylabel("units left")
        axes.set_title(f"hidden layer {layer}", loc="left")
        axes.set_ylim(0, 1.08 * max(float(units.max()), 1.0) if units.notnull().any() else 1.0)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        for name, points in published.items():
            counts = [row[layer - 1] for row in points.units]
            axes.plot(points.places, counts, color=styles[name].colour, **PUBLISHED_MARKER)
        if published:
            name_published(axes)
        if not over_rounds:
            also = [place for points in published.values() for place in points.places]
            synapse_axis(axes, results, label=axes is panels[-1], also=also)
    if over_rounds:
        round_axis(panels[-1], results)
    legend(figure, results)
    return figure


def _published_note(published: dict[str, _UnitPoints]) -> str:
    return f"Open circles: the single run published in {CITATION}. " if published else ""
