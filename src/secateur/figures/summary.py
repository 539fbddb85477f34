"""Numbers that figures and reports share: means over trials with standard errors, and synapse counts."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import xarray as xr

from secateur.pruning.rules import ranks_units

FI_RULES = ("variance-fi", "heuristic-fi", "eigenvector-fi")
"""Rules that remove the least informative synapses."""


def mean_and_error(values: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Mean over trials and its standard error (standard deviation over trials by the root of their number).

    Trials without a value (NaN) are left out; with fewer than two values the standard error is NaN.
    """
    # In NumPy: reports take hundreds of means, and xarray's own bookkeeping would take longer than drawing.
    data, axis = values.values.astype(float), values.get_axis_num("trial")
    known = ~np.isnan(data)
    count = known.sum(axis=axis).astype(float)
    mean = np.where(known, data, 0).sum(axis=axis) / np.where(count > 0, count, np.nan)
    squares = np.where(known, data - np.expand_dims(mean, axis), 0) ** 2
    error = np.sqrt(squares.sum(axis=axis) / np.where(count > 1, (count - 1) * count, np.nan))
    like = values.isel(trial=0, drop=True)
    return like.copy(data=mean), like.copy(data=error)


def total_synapses(results: xr.Dataset) -> xr.DataArray:
    """Synapses left in all weight matrices together; NaN where a round was not reached."""
    return results["n_synapses"].sum("matrix", skipna=False)


def hidden_units(results: xr.Dataset) -> xr.DataArray:
    """Living units in all hidden layers together; NaN where a round was not reached."""
    return results["n_units"].isel(layer=slice(1, None)).sum("layer", skipna=False)


def rule_groups(results: xr.Dataset) -> dict[str, list[str]]:
    """The study's rules by what they remove, without empty groups, so that each panel shows few lines."""
    criteria = [str(name) for name in results["criterion"].values]
    groups = {
        "least informative synapses": [name for name in criteria if name in FI_RULES],
        "other rules for synapses": [n for n in criteria if n not in FI_RULES and not ranks_units(n)],
        "whole units": [name for name in criteria if ranks_units(name)],
    }
    return {title: names for title, names in groups.items() if names}


def shown_rounds(results: xr.Dataset) -> list[int]:
    """The first, middle and last round, where there is no room for all."""
    last = int(results["round"].values[-1])
    return sorted({1, (last + 1) // 2, last})


def has_error_bars(results: xr.Dataset) -> bool:
    """Whether there is more than one trial to take a standard error over."""
    return results.sizes["trial"] > 1


def error_bar_note(results: xr.Dataset) -> str:
    """What points and error bars are, as a sentence for a caption."""
    n_trials = results.sizes["trial"]
    if not has_error_bars(results):
        return "One trial, so there are no error bars."
    return f"Points are means of {n_trials} trials, error bars their standard errors."


def listed(words: Iterable[str]) -> str:
    """Words with commas and a last ``and``."""
    *first, last = words
    return " and ".join(filter(None, (", ".join(first), last)))
