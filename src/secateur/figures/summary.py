"""Numbers that figures and reports share: means over trials with standard errors, and synapse counts."""

from __future__ import annotations

import xarray as xr


def mean_and_error(values: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Mean over trials and its standard error (standard deviation over trials by the root of their number).

    Trials without a value (NaN) are left out; with fewer than two values the standard error is NaN.
    """
    count = values.count("trial")
    known = count.where(count > 0)
    mean = values.sum("trial") / known
    degrees = (count - 1).where(count > 1)
    return mean, (((values - mean) ** 2).sum("trial") / degrees / known) ** 0.5


def total_synapses(results: xr.Dataset) -> xr.DataArray:
    """Synapses left in all weight matrices together; NaN where a round was not reached."""
    return results["n_synapses"].sum("matrix", skipna=False)


def hidden_units(results: xr.Dataset) -> xr.DataArray:
    """Living units in all hidden layers together; NaN where a round was not reached."""
    return results["n_units"].isel(layer=slice(1, None)).sum("layer", skipna=False)


def has_error_bars(results: xr.Dataset) -> bool:
    """Whether there is more than one trial to take a standard error over."""
    return results.sizes["trial"] > 1


def error_bar_note(results: xr.Dataset) -> str:
    """What points and error bars are, as a sentence for a caption."""
    n_trials = results.sizes["trial"]
    if not has_error_bars(results):
        return "One trial, so there are no error bars."
    return f"Points are means of {n_trials} trials, error bars their standard errors."
