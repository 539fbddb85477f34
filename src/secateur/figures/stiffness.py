"""Figures of what is stiff in a recording: spectrum, units, couplings, directions, stability, assemblies."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from secateur.figures.panels import Drawing, plain_numbers, powers_of_ten, say_when_empty
from secateur.figures.style import REFERENCE_COLOUR, WIDTH

_COLOUR = "#0072B2"
_MOST_NAMES = 100  # more names than that cannot be read at the side of a figure


def _whose(results: xr.Dataset) -> str:
    attrs = results.attrs
    return f"{attrs['fisher_model']} model, {attrs['fisher_matrix']} matrix, convention {attrs['convention']}"


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
    axes.set_ylabel("eigenvalue (nats², log scale)")
    powers_of_ten(axes.xaxis)
    powers_of_ten(axes.yaxis)
    total = values[positive].sum()
    share = f"; the first holds {values[0] / total:.0%} of the sum" if total > 0 else ""
    caption = (
        f"Spectrum of the Fisher information matrix ({_whose(results)}). Large eigenvalues belong to stiff directions, "
        f"along which a small change of parameters changes the distribution of words much{share}."
    )
    return Drawing(figure, "Spectrum of the Fisher information", caption)


def units(results: xr.Dataset) -> Drawing:
    """Fisher information of every unit with its interval, largest first."""
    information = results["unit_information"].values
    order = np.argsort(-np.nan_to_num(information[:, 0]), kind="stable")
    names = results["unit"].values[order]
    figure, axes = _tall(len(names))
    rows = np.arange(len(names))
    value, low, high = information[order].T
    axes.hlines(rows, low, high, color=_COLOUR, linewidth=1.4)
    axes.plot(value, rows, "o", color=_COLOUR, markersize=4)
    say_when_empty(axes, value)
    axes.set_ylim(len(names) - 0.4, -0.6)
    _name_rows(axes, names)
    axes.set_xlabel("Fisher information (nats²)")
    axes.set_ylabel("unit")
    caption = (
        f"Stiffness of units: Fisher information of a unit's bias and couplings together ({_whose(results)}), with 95 "
        "% "
        "intervals from a bootstrap over epochs."
    )
    return Drawing(figure, "Stiff and sloppy units", caption)


def coupling_map(results: xr.Dataset) -> Drawing:
    """Fisher information of all couplings, units ordered by theirs."""
    order = np.argsort(-np.nan_to_num(results["unit_information"].values[:, 0]), kind="stable")
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
        bar = figure.colorbar(image, ax=axes, shrink=0.85, label="Fisher information (nats²)")
        (powers_of_ten if high > 100 * low else plain_numbers)(bar.ax.yaxis)
    say_when_empty(axes, values)
    axes.set_xlabel("unit")
    axes.set_ylabel("unit")
    if len(names) <= 20:
        labels = [_short(name) for name in names]
        axes.set_xticks(range(len(names)), labels, rotation=90)
        axes.set_yticks(range(len(names)), labels)
    else:
        axes.set_xticks([])
        axes.set_yticks([])
    caption = (
        f"Fisher information of every coupling ({_whose(results)}); units in the order of the figure before, "
        "stiffest first."
    )
    return Drawing(figure, "Stiffness of couplings", caption)


def loadings(results: xr.Dataset) -> Drawing:
    """Share of every unit in the stiffest directions."""
    order = np.argsort(-np.nan_to_num(results["unit_information"].values[:, 0]), kind="stable")
    directions = results["direction"].values
    figure = Figure(figsize=(WIDTH, 1.5 * len(directions) + 0.9), layout="constrained")
    panels = figure.subplots(len(directions), 1, sharex=True, squeeze=False)[:, 0]
    for axes, direction in zip(panels, directions, strict=True):
        axes.bar(np.arange(len(order)), results["loading"].sel(direction=direction).values[order], color=_COLOUR)
        axes.set_title(f"direction {direction}", loc="left")
        axes.set_ylabel("loading")
    if len(order) <= 20:
        panels[-1].set_xticks(range(len(order)), [_short(n) for n in results["unit"].values[order]], rotation=90)
    panels[-1].set_xlabel("unit, stiffest first")
    caption = (
        f"Loadings of units on the stiffest directions ({_whose(results)}): squared entry of a unit's bias and half of "
        "those "
        "of its couplings; they sum to 1."
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
    axes.set_xlabel("rank correlation of odd and even epochs")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    caption = (
        "Would the ranking come out again? Rank correlation of Fisher information between odd and even epochs "
        f"({_whose(results)}), "
        "and in data whose units were shuffled in time (mean and range): where both agree, rates alone make the "
        "ranking."
    )
    return Drawing(figure, "Stability of rankings", caption)


def assemblies(results: xr.Dataset) -> Drawing:
    """Weights of hidden units and their activity over epochs."""
    weights = results["hidden_weight"].values
    n_units, n_hidden = weights.shape
    order = np.argsort(-np.nan_to_num(results["unit_information"].values[:, 0]), kind="stable")
    figure = Figure(figsize=(WIDTH, 6.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=[1.3, 1])
    limit = float(np.nanmax(np.abs(weights), initial=0)) or 1.0
    look = {"aspect": "auto", "interpolation": "nearest"}
    image = upper.imshow(weights[order], cmap="RdBu_r", vmin=-limit, vmax=limit, **look)
    figure.colorbar(image, ax=upper, label="weight (nats)")
    upper.set_ylabel("unit, stiffest first")
    upper.set_xlabel("hidden unit")
    if n_units <= 20:
        upper.set_yticks(range(n_units), [_short(n) for n in results["unit"].values[order]])
    activity = results["hidden_activity"].values.T
    image = lower.imshow(activity, cmap="viridis", vmin=0, vmax=float(np.nanmax(activity, initial=0)) or 1.0, **look)
    figure.colorbar(image, ax=lower, label="mean activity")
    lower.set_xlabel("epoch, in order of time")
    lower.set_ylabel("hidden unit")
    caption = (
        f"Hidden units of {results.attrs['machine']} as assemblies. Above: weights to every unit (red: fires with it, "
        "blue: silent "
        "with it). Below: mean probability that a hidden unit is active, given the words of each epoch."
    )
    return Drawing(figure, "Hidden units as assemblies", caption)


def _tall(n_rows: int) -> tuple[Figure, Axes]:
    """A figure with room for so many rows."""
    figure = Figure(figsize=(WIDTH, 0.9 + 0.17 * min(max(n_rows, 8), _MOST_NAMES)), layout="constrained")
    return figure, figure.subplots()


def _name_rows(axes: Axes, names: np.ndarray) -> None:
    if len(names) <= _MOST_NAMES:
        axes.set_yticks(range(len(names)), [_short(name) for name in names], fontsize=9)
    else:
        axes.axhline(-0.6, color=REFERENCE_COLOUR, linewidth=0)


def _short(name: object) -> str:
    text = " ".join(str(name).split())
    return text if len(text) <= 14 else f"{text[:13]}…"
