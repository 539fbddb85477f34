"""Figures of a pruned recording: what prediction loses, what comes out again, and which couplings stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib import style as matplotlib_style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from secateur.figures import Caption, rule_styles, save
from secateur.figures.neurons import name_axis
from secateur.figures.panels import Drawing, rule_line
from secateur.figures.style import RC, REFERENCE_COLOUR, WIDTH

_NOUN = {"couplings": "couplings", "machine": "synapses"}


def draw_pruned(results: xr.Dataset, folder: Path) -> dict[str, Caption]:
    """Draw the figures of what was pruned into ``figures/`` of the recording's folder, as PNG and as PDF."""
    what = str(results.attrs["what"])
    drawings = {f"pruning-{what}-likelihood": likelihood}
    if "overlap" in results:
        drawings |= {f"pruning-{what}-overlap": overlap, f"pruning-{what}-kept": kept}
    captions = {}
    with matplotlib_style.context(["default", RC]):
        for name, draw in drawings.items():
            drawing = draw(results)
            save(drawing, folder / "figures" / name)
            captions[name] = Caption(drawing.title, drawing.caption)
    return captions


def likelihood(results: xr.Dataset) -> Drawing:
    """What prediction loses over what is left, by rule."""
    figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
    axes = figure.subplots()
    _lines(axes, results, results["loss"].sel(per="nats/bin"))
    axes.axhline(0, color=REFERENCE_COLOUR, linewidth=0.9)
    lowest = np.nanmin(results["loss"].sel(per="nats/bin", interval="value").values, initial=0)
    axes.set_yscale("symlog", linthresh=max(abs(lowest) / 20, 1e-4), linscale=1.5)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:.3g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel("nats/bin against the full model")
    _left_axis(axes, results)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    noun = _NOUN[str(results.attrs["what"])]
    caption = (
        f"Held-out log-likelihood per bin less that of the full model, over the {noun} left, for every rule; each half "
        "of the recording is predicted by the fit to the other. Bars: 95 % Student intervals over blocks. Large open "
        "marks: the sparsest model within one standard error of the full one. The axis is linear near zero and "
        "logarithmic beyond."
    )
    return Drawing(figure, f"How many {noun} can go", caption)


def overlap(results: xr.Dataset) -> Drawing:
    """Whether the couplings kept in one half are kept in the other."""
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, style in rule_styles([str(c) for c in results["criterion"].values]).items():
        one = results.sel(criterion=name)
        nothing = np.full(one.sizes["round"], np.nan)
        rule_line(axes, style, one["n_left"].values, one["overlap"].sel(which="found").values, nothing)
    chance = results["overlap"].isel(criterion=0).sel(which="chance").values
    axes.plot(results["n_left"][0], chance, color=REFERENCE_COLOUR, linestyle="--", linewidth=1.1, label="chance")
    axes.set_ylim(0, 1.03)
    axes.set_ylabel("share kept in both halves")
    _left_axis(axes, results)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    caption = (
        "Do the couplings that stay come out again? Of the couplings kept in one half of the recording the share that "
        "is kept in the other half, pruned by itself; dashed: what choosing at random would make."
    )
    return Drawing(figure, "Couplings kept in both halves", caption)


def kept(results: xr.Dataset) -> Drawing:
    """The couplings that stay, by the rule that leaves the fewest."""
    left = [float(results["n_left"][c, int(n)]) for c, n in enumerate(results["chosen"].values)]
    best = int(np.argmin(left))
    name = str(results["criterion"].values[best])
    figure = Figure(figsize=(WIDTH, 4.8), layout="constrained")
    axes = figure.subplots()
    axes.imshow(results["kept"].values[best], cmap="Greys", vmin=0, vmax=1.4, interpolation="nearest")
    skipped = [name_axis(axis, results["unit"].values, 3.2) for axis in (axes.xaxis, axes.yaxis)]
    axes.set_xlabel("unit")
    axes.set_ylabel("unit")
    label = next(iter(rule_styles([name]).values())).label
    caption = (
        f"Couplings that stay (dark) when the fit to all words is pruned by {label} as far as prediction of the other "
        f"half allows within one standard error: {results['kept'].values[best].sum() // 2:,} of "
        f"{float(results['n_left'][best, 0]):,.0f}.{skipped[0]}"
    )
    return Drawing(figure, "Which couplings stay", caption)


def _lines(axes: Axes, results: xr.Dataset, values: xr.DataArray) -> None:
    styles = rule_styles([str(c) for c in results["criterion"].values])
    for place, (name, style) in enumerate(styles.items()):
        left = results["n_left"].sel(criterion=name).values * 1.02 ** (place - (len(styles) - 1) / 2)
        value, low, high = (values.sel(criterion=name, interval=i).values for i in ("value", "low", "high"))
        rule_line(axes, style, left, value, (high - low) / 2)
        chosen = int(results["chosen"].sel(criterion=name))
        look: dict[str, Any] = {"markersize": 13, "markerfacecolor": "none", "markeredgecolor": style.colour}
        axes.plot(left[chosen], value[chosen], "o", **look)


def _left_axis(axes: Axes, results: xr.Dataset) -> None:
    left = results["n_left"].values
    axes.set_xscale("log")
    axes.set_xlim(left.max() * 1.2, max(left.min(), 1) / 1.2)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axes.set_xlabel(f"{_NOUN[str(results.attrs['what'])]} left (log scale)")
