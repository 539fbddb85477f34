"""What pruning bought: smaller machines and shorter Gibbs sweeps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from secateur.figures.panels import (
    Drawing,
    legend,
    note,
    plain_numbers,
    plot_rules,
    reference,
    round_axis,
    stacked_panels,
)
from secateur.figures.style import REFERENCE_COLOUR, WIDTH, rule_styles
from secateur.figures.summary import mean_and_error


def machine_bytes(results: xr.Dataset) -> Drawing:
    """Bytes of the compact machine over rounds of pruning."""
    figure, (axes,) = stacked_panels(results, 1, 2.9)
    scale, unit = (1e6, "MB") if float(results["machine_bytes"].max()) >= 1e6 else (1e3, "kB")
    sizes = results["machine_bytes"] / scale
    plot_rules(axes, results, sizes, None)
    reference(axes, float(mean_and_error(sizes.isel(criterion=0, round=0))[0]), "--", "unpruned machine")
    if float(sizes.max()) > 10 * float(sizes.min()):
        axes.set_yscale("log", nonpositive="clip")
        plain_numbers(axes.yaxis)
        axes.set_ylabel(f"{unit} (log scale)")
    else:
        axes.set_ylim(0, 1.08 * float(sizes.max()) if sizes.notnull().any() else 1.0)
        axes.set_ylabel(unit)
    round_axis(axes, results)
    legend(figure, results)
    caption = (
        "Weights and biases of the compact machine as float32, over rounds of pruning. Removed synapses between living "
        "units still take room, so only units that are gone make the machine smaller. Dashed: the unpruned machine. "
        f"{note(results)}"
    )
    return Drawing(figure, "Size of the machine", caption)


def sweep_times(results: xr.Dataset, facts: dict[str, Any]) -> Drawing:
    """Milliseconds per Gibbs sweep: unpruned, and every rule after the last round."""
    timed = shown_sweeps(results, facts)
    figure = Figure(figsize=(WIDTH, 0.75 + 0.47 * max(len(timed), 2)), layout="constrained")
    axes = figure.subplots()
    styles = rule_styles([str(name) for name in results["criterion"].values])
    times = np.array([sweep["milliseconds"] for sweep in timed.values()], float)
    looks = [
        (styles[name].label, styles[name].colour) if name in styles else (name, REFERENCE_COLOUR) for name in timed
    ]
    axes.barh(range(len(timed)), times, height=0.6, color=[colour for _, colour in looks])
    layers = [" – ".join(map(str, sweep["layer_sizes"])) for sweep in timed.values()]
    axes.set_yticks(range(len(timed)), [f"{label}\n{sizes}" for (label, _), sizes in zip(looks, layers, strict=True)])
    axes.tick_params(axis="y", length=0, labelsize=10)
    for place, milliseconds in enumerate(times):
        ratio = timed["unpruned"]["milliseconds"] / milliseconds if "unpruned" in timed else 1.0
        faster = f" (÷\N{NO-BREAK SPACE}{ratio:.1f})" if ratio >= 1.05 else ""
        axes.annotate(
            f"{milliseconds:.3g}{faster}", (milliseconds, place), (4, 0), textcoords="offset points", va="center"
        )
    if len(timed):
        axes.set_xlim(0, 1.3 * times.max())
        axes.set_ylim(len(timed) - 0.5, -0.5)
    else:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", va="center")
        axes.set(xticks=[], yticks=[])
    axes.set_xlabel("milliseconds per sweep")
    caption = (
        "Time of one Gibbs sweep of 1,000 chains, trial 1 only: the unpruned machine and the compact machine of every "
        f"rule after round {int(results['round'].values[-1])}. Below each name stand the units of its layers, in "
        "brackets how many times shorter than unpruned (from 1.05 on). Shortest of three measurements; it depends "
        "on the computer, and there are no error bars."
    )
    return Drawing(figure, "Time of a Gibbs sweep", caption)


def shown_sweeps(results: xr.Dataset, facts: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Timed sweeps of the unpruned machine and of the study's rules, by name; empty where nothing was timed."""
    wanted = {"unpruned", *(str(name) for name in results["criterion"].values)}
    found = {sweep["criterion"]: sweep for sweep in facts.get("gibbs_sweeps", [])}
    return {name: sweep for name, sweep in found.items() if name in wanted and math.isfinite(sweep["milliseconds"])}
