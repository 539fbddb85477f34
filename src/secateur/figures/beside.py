"""Controls and further schedules beside the rules: one panel per rule, one line per control or schedule."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from secateur.figures.panels import Drawing, reference, rule_line, say_when_empty, synapse_axis
from secateur.figures.style import WIDTH, RuleStyle, rule_styles
from secateur.figures.summary import error_bar_note, mean_and_error, total_synapses

_COLOURS = ("#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#999933")
_MARKERS = "svDX<>P"


def beside_rules(
    results: xr.Dataset, values: xr.DataArray, lines: dict[str, dict[str, str]], labels: dict[str, str], axis: str
) -> Figure:
    """A quantity after retraining over synapses: each rule with what stands beside it.

    Parameters
    ----------
    results
        Results with all lines.
    values
        The quantity, ``(trial, criterion, round)``.
    lines
        By rule: names of the lines beside it by the name of the control or schedule.
    labels
        What each control or schedule is called.
    axis
        Label of the vertical axis.
    """
    rows = (len(labels) + 3) // 2
    figure = Figure(figsize=(WIDTH, 2.3 * len(lines) + 0.6 + 0.22 * rows), layout="constrained")
    panels = list(figure.subplots(len(lines), 1, squeeze=False, sharex=True)[:, 0])
    names = rule_styles(list(lines))
    looks = {
        name: RuleStyle(label, _COLOURS[place % len(_COLOURS)], _MARKERS[place % len(_MARKERS)])
        for place, (name, label) in enumerate(labels.items())
    }
    mean, error = mean_and_error(values)
    left = mean_and_error(total_synapses(results))[0]
    for axes, (rule, beside) in zip(panels, lines.items(), strict=True):
        _line(
            axes, names[rule]._replace(label="the rule itself", colour="#222222", marker="o"), rule, left, mean, error
        )
        for name, line in beside.items():
            _line(axes, looks[name], line, left, mean, error)
        reference(axes, float(mean.sel(criterion=rule).isel(round=0)), "--", "unpruned")
        axes.set_title(names[rule].label, loc="left")
        axes.set_ylabel(axis)
        say_when_empty(axes, mean.sel(criterion=[rule, *beside.values()]).values)
    synapse_axis(panels[-1], results)
    handles, texts = panels[0].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside lower center", ncols=2, columnspacing=1.2, handlelength=1.8)
    return figure


def _line(axes: Axes, style: RuleStyle, line: str, left: xr.DataArray, mean: xr.DataArray, error: xr.DataArray) -> None:
    x, y, e = (np.asarray(part.sel(criterion=line).values)[1:] for part in (left, mean, error))
    rule_line(axes, style, x, y, e)


def drawing(figure: Figure, title: str, what: str, results: xr.Dataset) -> Drawing:
    """The figure with its caption; ``what`` says what is drawn."""
    return Drawing(figure, title, f"{what} Dashed: the unpruned machine. {error_bar_note(results)}")
