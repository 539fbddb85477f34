"""Curves of a study on the user's own axes: one line with error bars per rule."""

from __future__ import annotations

from typing import Any, Literal

import xarray as xr
from matplotlib.axes import Axes

from secateur.figures.own_axes import axes_of
from secateur.figures.panels import plot_rules, round_axis, synapse_axis
from secateur.figures.summary import total_synapses

_DIMS = {"trial", "criterion", "round"}


def curve(
    results: xr.Dataset,
    variable: str,
    *,
    over: Literal["synapses", "rounds"] = "synapses",
    legend: bool = True,
    ax: Axes | None = None,
    **select: Any,
) -> Axes:
    """A variable of a study over pruning: one line per rule, means over trials with their standard errors.

    Parameters
    ----------
    results
        Results of a study (:func:`secateur.studies.open` or ``run``).
    variable
        One of their variables with a value for every trial, rule and round, e.g. ``"test_error"``.
    over
        ``"synapses"`` left in all weight matrices together, many on the left; or ``"rounds"``.
    legend
        Whether the rules are named on the axes.
    ax
        Axes to draw on; ``None``: new ones.
    select
        Which place on every further dimension of the variable, by name, e.g. ``stage="pruned"``, ``layer=1``. The stage
        is ``"retrained"`` where nothing is said.

    Returns
    -------
    matplotlib.axes.Axes
        The axes; units as in the variable's attributes. Rules are moved sideways a little, so that none hides another;
        without further trials there are no error bars.

    Raises
    ------
    ValueError
        If the results have no such variable, or a further dimension has no place chosen, or a place that is not there.
    TypeError
        If ``ax`` is not axes.
    """
    values = _selected(results, variable, select)
    if over not in ("synapses", "rounds"):
        raise ValueError(f"over must be 'synapses' or 'rounds', got {over!r}")
    ax = axes_of(ax)
    plot_rules(ax, results, values, total_synapses(results) if over == "synapses" else None)
    (synapse_axis if over == "synapses" else round_axis)(ax, results)
    unit = values.attrs.get("units", "1")
    meaning = str(values.attrs.get("long_name", variable))
    ax.set_ylabel(meaning if unit in ("1", "") else f"{meaning} ({unit})")
    if legend:
        ax.legend()
    return ax


def _selected(results: xr.Dataset, variable: str, select: dict[str, Any]) -> xr.DataArray:
    """The variable by trial, rule and round."""
    offered = sorted(str(name) for name, found in results.data_vars.items() if _DIMS <= set(found.dims))
    if variable not in offered:
        raise ValueError(f"variable must be one of {', '.join(offered)}, got {variable!r}")
    values = results[variable]
    further = {str(name) for name in values.dims} - _DIMS
    if "stage" in further:
        select = {"stage": "retrained"} | select
    for name in sorted(further | set(select)):
        if name not in further:
            raise ValueError(f"{variable!r} has no dimension {name!r}, of which a place was chosen; leave it out")
        places = values[name].values.tolist()
        if select.get(name) not in places:
            raise ValueError(
                f"{name} must be one of {', '.join(map(repr, places[:12]))} for {variable!r}, got "
                f"{select.get(name)!r}; say e.g. {name}={places[-1]!r}"
            )
    return values.sel(select)
