"""What line figures share: panels over synapses or rounds, one line per rule, and a legend below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from secateur.figures.style import REFERENCE_COLOUR, WIDTH, RuleStyle, rule_styles
from secateur.figures.summary import error_bar_note, mean_and_error, total_synapses

PUBLISHED_MARKER: dict[str, Any] = {
    "marker": "o",
    "linestyle": "none",
    "markerfacecolor": "white",
    "markersize": 7,
    "markeredgewidth": 1.4,
    "zorder": 3,
}
"""Published values: open circles in the rule's colour."""


class Drawing(NamedTuple):
    """A figure with its title and caption."""

    figure: Figure
    title: str
    caption: str


def stacked_panels(results: xr.Dataset, n_panels: int, height: float) -> tuple[Figure, list[Axes]]:
    """Panels of a height in inches, one below the other, with room for the axis below and the legend."""
    n_entries = results.sizes["criterion"] + 2
    room = 0.6 + 0.22 * math.ceil(n_entries / _legend_columns(results))
    figure = Figure(figsize=(WIDTH, n_panels * height + room), layout="constrained")
    return figure, list(figure.subplots(n_panels, 1, squeeze=False, sharex=n_panels > 1)[:, 0])


def _legend_columns(results: xr.Dataset) -> int:
    styles = rule_styles([str(name) for name in results["criterion"].values])
    return 3 if max(len(style.label) for style in styles.values()) <= 16 else 2


def note(results: xr.Dataset) -> str:
    """What points and error bars are, and that points are moved, as sentences for a caption."""
    apart = " Points are moved sideways a little, so that rules do not hide each other."
    return error_bar_note(results) + (apart if results.sizes["criterion"] > 1 else "")


def plot_rules(axes: Axes, results: xr.Dataset, values: xr.DataArray, synapses: xr.DataArray | None) -> None:
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
        x = x if synapses is None else np.exp(x)
        rule_line(axes, style, x, mean.sel(criterion=name).values, error.sel(criterion=name).values)
    say_when_empty(axes, mean.values)


def rule_line(axes: Axes, style: RuleStyle, x: np.ndarray, mean: np.ndarray, error: np.ndarray, **look: Any) -> None:
    """A rule's line with error bars (none where the error is NaN)."""
    shown: dict[str, Any] = {"marker": style.marker, "label": style.label, "capsize": 2.5, "elinewidth": 1.1} | look
    axes.errorbar(x, mean, yerr=np.nan_to_num(error), color=style.colour, **shown)


def _sideways(places: np.ndarray, n_rules: int, n_rounds: int) -> np.ndarray:
    """Shift of every rule on the axis: together a third of the mean distance between rounds."""
    finite = places[np.isfinite(places)]
    width = np.ptp(finite) / max(n_rounds - 1, 1) / 3 if finite.size else 0.0
    return width * (np.linspace(-0.5, 0.5, n_rules) if n_rules > 1 else np.zeros(1))


def reference(axes: Axes, value: float, linestyle: str, label: str) -> None:
    """A horizontal line to compare with; none where the value is NaN."""
    if np.isfinite(value):
        axes.axhline(value, color=REFERENCE_COLOUR, linestyle=linestyle, linewidth=1.2, zorder=1, label=label)


def name_published(axes: Axes) -> None:
    """One entry for all published values in the legend."""
    axes.plot([], [], color=REFERENCE_COLOUR, label="published", **PUBLISHED_MARKER)


def synapse_axis(axes: Axes, results: xr.Dataset, label: bool = True, also: Sequence[float] = ()) -> None:
    """Many synapses on the left, few on the right; wide enough for the study and for other numbers of synapses."""
    left = np.append(mean_and_error(total_synapses(results))[0].values, also)
    left = left[left > 0] if (left > 0).any() else np.array([1.0])
    low, high = left.min(), left.max()
    margin = max(1.1, (high / low) ** (0.04 + 1 / (6 * max(results.sizes["round"] - 1, 1))))
    axes.set_xscale("log")
    axes.set_xlim(high * margin, low / margin)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7) if high < 12 * low else (1, 3)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    if label:
        axes.set_xlabel("synapses left (log scale)")


def round_axis(axes: Axes, results: xr.Dataset) -> None:
    """Whole rounds of pruning."""
    axes.set_xlim(-0.4, float(results["round"].values[-1]) + 0.4)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("round of pruning")


def legend(figure: Figure, results: xr.Dataset) -> None:
    """Every label of the figure once, rules first, then reference lines; below all panels."""
    found: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(str(label), handle)
    labels = sorted(found, key=lambda label: not isinstance(found[label], ErrorbarContainer))
    figure.legend(
        [found[label] for label in labels],
        labels,
        loc="outside lower center",
        ncols=_legend_columns(results),
        columnspacing=1.2,
        handlelength=1.8,
        handletextpad=0.6,
    )


def plain_numbers(axis: Axis, scale: float = 1.0, unit: str = "") -> None:
    """Plain numbers at a logarithmic axis, in another unit if need be; 1, 2 and 5 times powers of ten where room is."""
    _give_range_when_empty(axis)
    axis.set_major_locator(_FewNumbers(subs=(1, 2, 5)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{scale * value:,.6g}{unit}"))


class _FewNumbers(LogLocator):
    """Ticks evenly apart within a decade, where matplotlib's own would be too many to be read."""

    def tick_values(self, vmin: float, vmax: float) -> Any:
        """Places of the ticks between two limits."""
        if 0 < vmin < vmax < 10 * vmin:
            return MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(vmin, vmax)
        if 0 < 100 * vmin < vmax:
            return LogLocator(subs=(1,)).tick_values(vmin, vmax)
        return super().tick_values(vmin, vmax)


def powers_of_ten(axis: Axis) -> None:
    """Powers of ten at a logarithmic axis, as plain characters: mathematical text is not parsed in figures."""
    _give_range_when_empty(axis)
    axis.set_major_locator(LogLocator(numticks=7))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(value)))


def _give_range_when_empty(axis: Axis) -> None:
    """A logarithmic axis without data has no range to put ticks in."""
    if not np.isfinite(axis.get_minpos()):
        set_limits = axis.axes.set_xlim if axis is axis.axes.xaxis else axis.axes.set_ylim
        set_limits(0.1, 1.0)


def power_of_ten(value: float) -> str:
    """The nearest power of ten, e.g. ``0.01``, ``100`` or ``10⁻⁵``."""
    exponent = round(math.log10(value))
    if -2 <= exponent <= 3:
        return f"{10.0**exponent:g}"
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def say_when_empty(axes: Axes, values: np.ndarray) -> None:
    """A word in place of points where there are none."""
    if not np.isfinite(values).any():
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", va="center")
