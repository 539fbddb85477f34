"""Figures of what is stiff in a recording: spectrum, units, couplings, directions, stability, assemblies."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from secateur.figures.machines import spectrum as draw_spectrum
from secateur.figures.neurons import (
    COLOUR,
    MOST_ROWS,
    N_SLOPPY,
    information_of,
    name_axis,
    rows_of,
    stiff_couplings,
    stiff_units,
)
from secateur.figures.neurons import assemblies as draw_assemblies
from secateur.figures.panels import Drawing
from secateur.figures.style import WIDTH


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
    shown = results.assign(eigenvalue=("index", np.where(positive, values, 0.0)))
    draw_spectrum(shown, ax=axes, color=COLOUR, marker=".", markersize=4, markevery=1, linestyle="none")
    axes.set_xlabel("number of the eigenvalue (log scale)")
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
    found = information_of(results)
    figure, axes = _tall(rows_of(found))
    stiff_units(results, ax=axes)
    cut = len(found.names) > MOST_ROWS
    which = f" The {MOST_ROWS - N_SLOPPY} stiffest and, below the dotted line, the {N_SLOPPY} sloppiest." if cut else ""
    caption = (
        f"Stiffness of units: Fisher information of a unit's bias and couplings together ({_whose(results)}).{which} "
        f"{_intervals(results)}"
    )
    return Drawing(figure, "Stiff and sloppy units", caption)


def coupling_map(results: xr.Dataset) -> Drawing:
    """Fisher information of all couplings, units ordered by theirs."""
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    axes = stiff_couplings(results, ax=figure.subplots())
    names = results["unit"].values[information_of(results).order]
    skipped = name_axis(axes.xaxis, names, 2.5)
    name_axis(axes.yaxis, names, 2.5)
    axes.set(xlabel="unit", ylabel="unit")
    caption = (
        f"Fisher information of every coupling ({_whose(results)}); units in the order of the figure before, "
        f"stiffest first.{skipped}"
    )
    return Drawing(figure, "Stiffness of couplings", caption)


def loadings(results: xr.Dataset) -> Drawing:
    """Share of every unit in the stiffest directions."""
    order = information_of(results).order[:MOST_ROWS]
    directions = results["direction"].values
    figure = Figure(figsize=(WIDTH, 1.5 * len(directions) + 1.2), layout="constrained")
    panels = figure.subplots(len(directions), 1, sharex=True, squeeze=False)[:, 0]
    for axes, direction in zip(panels, directions, strict=True):
        axes.bar(np.arange(len(order)), results["loading"].sel(direction=direction).values[order], color=COLOUR)
        axes.set_title(f"direction {direction}", loc="left")
        axes.set_ylabel("loading")
    skipped = name_axis(panels[-1].xaxis, results["unit"].values[order], 3.8)
    panels[-1].set_xlabel("unit, stiffest first")
    which = f" The {MOST_ROWS} stiffest units." if len(order) < results.sizes["unit"] else ""
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
        axes.plot([halves], [row - 0.12], "o", color=COLOUR, label="recording" if row == 0 else None)
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
    order = information_of(results).order
    figure = Figure(figsize=(WIDTH, 6.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=[1.3, 1])
    draw_assemblies(results, ax=upper)
    upper.set_ylabel("unit, stiffest first")
    look: dict[str, Any] = {"aspect": "auto", "interpolation": "nearest"}
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
