"""Figures of a fitted recording on the user's own axes: stiff units and couplings, hidden units as assemblies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LogNorm
from matplotlib.ticker import MaxNLocator

from secateur.figures.own_axes import axes_of, bar_beside
from secateur.figures.panels import plain_numbers, powers_of_ten, say_when_empty
from secateur.figures.style import REFERENCE_COLOUR
from secateur.model.machine import Machine

COLOUR = "#0072B2"
MOST_ROWS, N_SLOPPY = 60, 15
"""Units of a figure with one row for each, and how many of them are the sloppiest."""
_INCHES_PER_NAME = 0.1
_ORDINALS = {2: "nd", 3: "rd"}


class Information(NamedTuple):
    """Fisher information of a recording's model: of units with interval ``(units, 3)``, of couplings."""

    names: np.ndarray
    units: np.ndarray
    couplings: np.ndarray
    per: str

    @property
    def order(self) -> np.ndarray:
        """Units, stiffest first."""
        return np.argsort(-np.nan_to_num(self.units[:, 0]), kind="stable")


def information_of(found: Any) -> Information:
    """Fisher information out of a fitted recording's results or of what ``secateur.recordings.stiffness`` returned.

    Raises
    ------
    TypeError
        If it is neither.
    """
    if isinstance(found, xr.Dataset) and {"unit_information", "coupling_information"} <= set(found):
        values = found["unit_information"].values, found["coupling_information"].values
        return Information(found["unit"].values, *values, str(found.attrs["unit_of_information"]))
    if not (hasattr(found, "units") and hasattr(found, "parameters") and hasattr(found, "convention")):
        raise TypeError(
            "stiffness must be what secateur.recordings.stiffness returned, or the results of a fitted recording, got "
            f"{type(found).__name__}"
        )
    names = found.units["unit"].to_numpy()
    place = {name: number for number, name in enumerate(names)}
    couplings = np.full((len(names), len(names)), np.nan)
    table = found.parameters[found.parameters["kind"] == "coupling"]
    first, second = ([place[name] for name in table[column]] for column in ("first_unit", "second_unit"))
    couplings[first, second] = couplings[second, first] = table["fisher_information"]
    units = found.units[["information", "information_low", "information_high"]].to_numpy(float)
    per = "per relative change²" if found.convention == "theta-scaled" else "per nat²"
    return Information(names, units, couplings, per)


def stiff_units(stiffness: Any, *, most: int = MOST_ROWS, ax: Axes | None = None) -> Axes:
    """Fisher information of every unit with its interval, largest first; of many units the two ends.

    Parameters
    ----------
    stiffness
        What :func:`secateur.recordings.stiffness` returned, or the results of a fitted recording
        (:class:`secateur.recordings.folder.RecordingFolder`).
    most
        Units that are shown; where there are more, a quarter of them are the sloppiest, below a dotted line.
    ax
        Axes to draw on; ``None``: new ones.

    Returns
    -------
    matplotlib.axes.Axes
        The axes. Information is that of a unit's bias and couplings together, per nat² (in the convention
        ``theta-scaled`` per relative change²). Bars are 95 % intervals where any are given.

    Raises
    ------
    ValueError
        If fewer than four units are to be shown.
    TypeError
        If ``stiffness`` is something else, or ``ax`` is not axes.
    """
    found = information_of(stiffness)
    if most < 4:
        raise ValueError(f"most must be at least 4 units, got {most}")
    shown, rows, n_sloppy = _shown(found, most)
    ax = axes_of(ax)
    value, low, high = found.units[shown].T
    ax.hlines(rows, low, high, color=COLOUR, linewidth=1.4)
    ax.plot(value, rows, "o", color=COLOUR, markersize=4)
    say_when_empty(ax, value)
    ax.set_ylim(rows[-1] + 0.6, -0.6)
    ax.set_yticks(rows, [short(name) for name in found.names[shown]], fontsize=8.5)
    if n_sloppy:
        ax.axhline(rows[-n_sloppy] - 1, color=REFERENCE_COLOUR, linewidth=0.9, linestyle=":")
    ax.set_xlabel(f"Fisher information ({found.per})")
    ax.set_ylabel("unit")
    return ax


def _shown(found: Information, most: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Units that are shown, their rows, and how many of them are the sloppiest apart."""
    order = found.order
    n_sloppy = most // 4 if len(order) > most else 0
    if not n_sloppy:
        return order, np.arange(len(order), dtype=float), 0
    rows = np.arange(most, dtype=float)
    rows[-n_sloppy:] += 1
    return np.concatenate([order[: most - n_sloppy], order[-n_sloppy:]]), rows, n_sloppy


def rows_of(found: Information, most: int = MOST_ROWS) -> int:
    """Rows that :func:`stiff_units` draws."""
    return int(_shown(found, most)[1][-1]) + 1


def stiff_couplings(stiffness: Any, *, bar: bool = True, ax: Axes | None = None) -> Axes:
    """Fisher information of every coupling as an image, units in the order of theirs, on a logarithmic scale.

    Parameters
    ----------
    stiffness
        As of :func:`stiff_units`.
    bar
        Whether a colour bar stands beside the image.
    ax
        Axes to draw on; ``None``: new ones.

    Returns
    -------
    matplotlib.axes.Axes
        The axes. Information is per nat² (in the convention ``theta-scaled`` per relative change²); white: no coupling.
        Values below a millionth of the largest are drawn alike.

    Raises
    ------
    TypeError
        If ``stiffness`` is something else, or ``ax`` is not axes.
    """
    found = information_of(stiffness)
    values = found.couplings[np.ix_(found.order, found.order)]
    ax = axes_of(ax)
    positive = values[np.isfinite(values) & (values > 0)]
    if positive.size:
        low, high = max(positive.min(), positive.max() * 1e-6), positive.max()
        norm = LogNorm(low, high if high > low else low * 10)
        shown = np.where(np.isfinite(values), np.maximum(values, low), np.nan)
        image = ax.imshow(shown, norm=norm, cmap="viridis", interpolation="nearest")
        if bar:
            beside = bar_beside(ax, image, f"Fisher information ({found.per})", shrink=0.85)
            (powers_of_ten if high > 100 * low else plain_numbers)(beside.ax.yaxis)
    say_when_empty(ax, values)
    ax.set_xlabel("unit, stiffest first")
    ax.set_ylabel("unit, stiffest first")
    width, height = inches_of(ax)
    name_axis(ax.xaxis, found.names[found.order], width)
    name_axis(ax.yaxis, found.names[found.order], height)
    return ax


def assemblies(
    machine: Any,
    *,
    names: Sequence[Any] | None = None,
    order: Sequence[int] | np.ndarray | None = None,
    bar: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Weights of hidden units to the neurons of a recording, as an image of neurons by hidden units.

    Parameters
    ----------
    machine
        A machine fitted to words (:func:`secateur.recordings.fit_machine`), or the results of a fitted recording.
    names
        Names of the neurons; ``None``: those of the results, or numbers.
    order
        Neurons from top to bottom, by number. ``None``: of results the stiffest first, of a machine as they stand.
    bar
        Whether a colour bar stands beside the image.
    ax
        Axes to draw on; ``None``: new ones.

    Returns
    -------
    matplotlib.axes.Axes
        The axes. Weights are in nats; red: the neuron fires with the hidden unit, blue: it is silent with it.

    Raises
    ------
    ValueError
        If there is not one name for every neuron.
    TypeError
        If ``machine`` is something else, or ``ax`` is not axes.
    """
    if isinstance(machine, Machine):
        weights = np.asarray(machine.weights[0])
        labels = np.arange(len(weights)) if names is None else np.asarray(names)
    elif isinstance(machine, xr.Dataset) and "hidden_weight" in machine:
        weights = machine["hidden_weight"].values
        labels = machine["unit"].values if names is None else np.asarray(names)
        order = information_of(machine).order if order is None else order
    else:
        raise TypeError(
            f"machine must be a machine, or the results of a fitted recording, got {type(machine).__name__}"
        )
    if len(labels) != len(weights):
        raise ValueError(f"names must be one for each of the {len(weights)} neurons, got {len(labels)}")
    order = np.arange(len(weights)) if order is None else np.asarray(order)
    ax = axes_of(ax)
    limit = float(np.nanmax(np.abs(weights), initial=0)) or 1.0
    image = ax.imshow(weights[order], cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest")
    if bar:
        bar_beside(ax, image, "weight (nats)")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("hidden unit")
    ax.set_ylabel("neuron")
    name_axis(ax.yaxis, labels[order], inches_of(ax)[1])
    return ax


def inches_of(ax: Axes) -> tuple[float, float]:
    """Width and height of axes."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    extent = ax.get_window_extent()
    return extent.width / figure.dpi, extent.height / figure.dpi


def name_axis(axis: Axis, names: np.ndarray, inches: float) -> str:
    """Names along an axis of a length in inches: all of them as long as they fit, else every k-th, which it says."""
    step = max(1, math.ceil(len(names) * _INCHES_PER_NAME / inches))
    places = np.arange(0, len(names), step)
    size = min(9.0, 72 * 0.85 * inches / len(places))
    axis.set_ticks(places, [short(names[place]) for place in places], fontsize=max(size, 6.0))
    if axis is axis.axes.xaxis:
        axis.set_tick_params(rotation=90)
    return "" if step == 1 else f" Every {step}{_ORDINALS.get(step, 'th')} unit is named."


def short(name: object) -> str:
    """A name that does not take the room of the figure."""
    text = " ".join(str(name).split())
    return text if len(text) <= 14 else f"{text[:13]}…"
