"""Figures of what is stiff in a recording: spectrum, units, couplings, directions, stability, assemblies."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from secateur.figures.panels import Drawing, plain_numbers, powers_of_ten, say_when_empty
from secateur.figures.style import REFERENCE_COLOUR, WIDTH

_COLOUR = "#0072B2"
_MOST_ROWS, _N_SLOPPY = 60, 15  # units of a figure with one row for each, and how many of them are the sloppiest
_INCHES_PER_NAME = 0.1
_ORDINALS = {2: "nd", 3: "rd"}


def _whose(results: xr.Dataset) -> str:
    attrs = results.attrs
    return f"{attrs['fisher_model']} model, {attrs['fisher_matrix']} matrix, convention {attrs['convention']}"


def _per(results: xr.Dataset) -> str:
    return str(results.attrs["unit_of_information"])


def _intervals(results: xr.Dataset) -> str:
    if results.attrs["intervals_given"]:
        return f"Bars: 95 % intervals that contain the error of the fit, from {results.attrs['n_blocks']} blocks."
    return "Without intervals, for the reasons at the end of this page."


def spectrum(results: xr.Dataset) -> Drawing:
    """Eigenvalues of the Fisher information matrix."""
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    axes = figure.subplots()
    values = results["eigenvalue"].values
    # Smaller ones are zero but for rounding.
    positive = values > 1e-9 * np.nanmax(values, initial=0)
    axes.plot(results["index"].values[positive], values[positive], ".", color=_COLOUR, markersize=4)
    axes.set_xscale("log")
    axes.set_yscale("log")
    say_when_empty(axes, values)
    axes.set_xlabel("number of the eigenvalue (log scale)")
    axes.set_ylabel(f"eigenvalue ({_per(results)}, log scale)")
    powers_of_ten(axes.xaxis)
    powers_of_ten(axes.yaxis)
    total = values[positive].sum()
    whole = len(values) > results.sizes["unit"]
    share = f"; the first holds {values[0] / total:.0%} of the sum" if total > 0 and whole else ""
    caption = (
        f"Spectrum of the Fisher information matrix ({_whose(results)}). Large eigenvalues belong to stiff directions, "
        f"along which a small change of parameters changes the distribution of words much{share}."
        + ("" if len(values) > results.sizes["unit"] else f" The {len(values)} largest are shown.")
    )
    return Drawing(figure, "Spectrum of the Fisher information", caption)


def units(results: xr.Dataset) -> Drawing:
    """Fisher information of every unit with its interval, largest first; of many units the two ends."""
    information = results["unit_information"].values
    order = _order(results)
    cut = len(order) > _MOST_ROWS
    shown = np.concatenate([order[: _MOST_ROWS - _N_SLOPPY], order[-_N_SLOPPY:]]) if cut else order
    rows = np.arange(len(shown), dtype=float)
    if cut:
        rows[-_N_SLOPPY:] += 1
    figure, axes = _tall(int(rows[-1]) + 1)
    value, low, high = information[shown].T
    axes.hlines(rows, low, high, color=_COLOUR, linewidth=1.4)
    axes.plot(value, rows, "o", color=_COLOUR, markersize=4)
    say_when_empty(axes, value)
    axes.set_ylim(rows[-1] + 0.6, -0.6)
    axes.set_yticks(rows, [_short(name) for name in results["unit"].values[shown]], fontsize=8.5)
    if cut:
        axes.axhline(rows[-_N_SLOPPY] - 1, color=REFERENCE_COLOUR, linewidth=0.9, linestyle=":")
    axes.set_xlabel(f"Fisher information ({_per(results)})")
    axes.set_ylabel("unit")
    which = (
        f" The {_MOST_ROWS - _N_SLOPPY} stiffest and, below the dotted line, the {_N_SLOPPY} sloppiest." if cut else ""
    )
    caption = (
        f"Stiffness of units: Fisher information of a unit's bias and couplings together ({_whose(results)}).{which} "
        f"{_intervals(results)}"
    )
    return Drawing(figure, "Stiff and sloppy units", caption)


def _order(results: xr.Dataset) -> np.ndarray:
    """Units, stiffest first."""
    return np.argsort(-np.nan_to_num(results["unit_information"].values[:, 0]), kind="stable")


def coupling_map(results: xr.Dataset) -> Drawing:
    """Fisher information of all couplings, units ordered by theirs."""
    order = _order(results)
    values = results["coupling_information"].values[np.ix_(order, order)]
    names = results["unit"].values[order]
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    axes = figure.subplots()
    positive = values[np.isfinite(values) & (values > 0)]
    if positive.size:
        low, high = max(positive.min(), positive.max() * 1e-6), positive.max()
        norm = LogNorm(low, high if high > low else low * 10)
        shown = np.where(np.isfinite(values), np.maximum(values, low), np.nan)
        image = axes.imshow(shown, norm=norm, cmap="viridis", interpolation="nearest")
        bar = figure.colorbar(image, ax=axes, shrink=0.85, label=f"Fisher information ({_per(results)})")
        (powers_of_ten if high > 100 * low else plain_numbers)(bar.ax.yaxis)
    say_when_empty(axes, values)
    axes.set_xlabel("unit")
    axes.set_ylabel("unit")
    skipped = name_axis(axes.xaxis, names, 2.5)
    name_axis(axes.yaxis, names, 2.5)
    caption = (
        f"Fisher information of every coupling ({_whose(results)}); units in the order of the figure before, "
        f"stiffest first.{skipped}"
    )
    return Drawing(figure, "Stiffness of couplings", caption)


def loadings(results: xr.Dataset) -> Drawing:
    """Share of every unit in the stiffest directions."""
    order = _order(results)[:_MOST_ROWS]
    directions = results["direction"].values
    figure = Figure(figsize=(WIDTH, 1.5 * len(directions) + 1.2), layout="constrained")
    panels = figure.subplots(len(directions), 1, sharex=True, squeeze=False)[:, 0]
    for axes, direction in zip(panels, directions, strict=True):
        axes.bar(np.arange(len(order)), results["loading"].sel(direction=direction).values[order], color=_COLOUR)
        axes.set_title(f"direction {direction}", loc="left")
        axes.set_ylabel("loading")
    skipped = name_axis(panels[-1].xaxis, results["unit"].values[order], 3.8)
    panels[-1].set_xlabel("unit, stiffest first")
    which = f" The {_MOST_ROWS} stiffest units." if len(order) < results.sizes["unit"] else ""
    caption = (
        f"Loadings of units on the stiffest directions ({_whose(results)}): squared entry of a unit's bias and half of "
        f"those of its couplings; over all units they sum to 1.{which}{skipped}"
    )
    return Drawing(figure, "Loadings of the stiffest directions", caption)


def ranking_stability(results: xr.Dataset) -> Drawing:
    """Agreement of rankings between halves of the recording, beside shuffled data."""
    figure = Figure(figsize=(WIDTH, 2.4), layout="constrained")
    axes = figure.subplots()
    rankings = [str(r) for r in results["ranking"].values]
    for row, ranking in enumerate(rankings):
        halves, shuffled, low, high = results["stability"].sel(ranking=ranking).values
        axes.plot([low, high], [row + 0.12] * 2, color="#8A8A8A", linewidth=4, solid_capstyle="butt")
        axes.plot([shuffled], [row + 0.12], "|", color="#444444", label="shuffled" if row == 0 else None)
        axes.plot([halves], [row - 0.12], "o", color=_COLOUR, label="recording" if row == 0 else None)
    axes.set_yticks(range(len(rankings)), [r.replace(" beyond", "\nbeyond") for r in rankings])
    axes.set_ylim(len(rankings) - 0.5, -0.5)
    axes.set_xlim(-1.05 if (results["stability"].values < -0.1).any() else -0.15, 1.05)
    axes.set_xlabel("rank correlation of odd and even blocks")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    caption = (
        "Would the ranking come out again? Rank correlation of Fisher information between odd and even blocks, to each "
        f"of which halves the pairwise model is fitted by itself (convention {results.attrs['convention']}), and in "
        f"data whose units were shuffled in time (mean and range over {results.attrs['n_shuffles']} shuffles): where "
        "both agree, rates alone make the ranking."
    )
    return Drawing(figure, "Stability of rankings", caption)


def assemblies(results: xr.Dataset) -> Drawing:
    """Weights of hidden units and their activity over epochs."""
    weights = results["hidden_weight"].values
    n_units, n_hidden = weights.shape
    order = _order(results)
    figure = Figure(figsize=(WIDTH, 6.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=[1.3, 1])
    limit = float(np.nanmax(np.abs(weights), initial=0)) or 1.0
    look = {"aspect": "auto", "interpolation": "nearest"}
    image = upper.imshow(weights[order], cmap="RdBu_r", vmin=-limit, vmax=limit, **look)
    figure.colorbar(image, ax=upper, label="weight (nats)")
    upper.set_ylabel("unit, stiffest first")
    upper.set_xlabel("hidden unit")
    skipped = name_axis(upper.yaxis, results["unit"].values[order], 2.6)
    for axes in (upper, lower):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    lower.yaxis.set_major_locator(MaxNLocator(integer=True))
    activity = results["hidden_activity"].values.T
    image = lower.imshow(activity, cmap="viridis", vmin=0, vmax=float(np.nanmax(activity, initial=0)) or 1.0, **look)
    figure.colorbar(image, ax=lower, label="mean activity")
    lower.set_xlabel("block, in order of time")
    lower.set_ylabel("hidden unit")
    caption = (
        f"Hidden units of {results.attrs['machine']} as assemblies. Above: weights to every unit (red: fires with it, "
        "blue: silent "
        f"with it).{skipped} Below: mean probability that a hidden unit is active, given the words of each of the "
        f"{results.sizes['block']} blocks."
    )
    return Drawing(figure, "Hidden units as assemblies", caption)


def _tall(n_rows: int) -> tuple[Figure, Axes]:
    """A figure with room for so many rows."""
    figure = Figure(figsize=(WIDTH, 0.9 + 0.17 * max(n_rows, 8)), layout="constrained")
    return figure, figure.subplots()


def name_axis(axis: Axis, names: np.ndarray, inches: float) -> str:
    """Names along an axis of a length in inches: all of them as long as they fit, else every k-th, which it says."""
    step = max(1, math.ceil(len(names) * _INCHES_PER_NAME / inches))
    places = np.arange(0, len(names), step)
    size = min(9.0, 72 * 0.85 * inches / len(places))
    axis.set_ticks(places, [_short(names[place]) for place in places], fontsize=max(size, 6.0))
    if axis is axis.axes.xaxis:
        axis.set_tick_params(rotation=90)
    return "" if step == 1 else f" Every {step}{_ORDINALS.get(step, 'th')} unit is named."


def _short(name: object) -> str:
    text = " ".join(str(name).split())
    return text if len(text) <= 14 else f"{text[:13]}…"
