"""What ``results.nc`` holds: every variable with its dimensions, unit and meaning."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

STAGES = ("pruned", "retrained")


COORDINATES = {
    "trial": "independent repetition of the study",
    "criterion": "pruning rule; rule/name: the same rule under another schedule, or a control beside it",
    "round": "round of pruning; 0: the trained machine before any",
    "stage": "right after pruning, and after retraining",
    "matrix": "weight matrix; 0: from the visible layer to the first hidden layer",
    "layer": "layer of units; 0: visible",
    "pixel": "visible unit",
    "unit": "unit of the first hidden layer before any pruning",
    "epoch": "epoch of the first training of all layers",
}
"""Meaning of the dimensions that every study has; measures bring more."""


class Variable(NamedTuple):
    """Dimensions, unit and meaning of a variable of the results."""

    dims: tuple[str, ...]
    units: str
    long_name: str


ROUND = ("trial", "criterion", "round")
"""Dimensions of what is measured at the end of every round."""
STAGE = (*ROUND, "stage")
"""Dimensions of what is measured right after pruning and after retraining."""

COMMON: dict[str, Variable] = {
    "n_synapses": Variable((*ROUND, "matrix"), "1", "synapses left in each weight matrix"),
    "n_units": Variable((*ROUND, "layer"), "1", "living units in each layer (all visible units count)"),
    "machine_bytes": Variable(ROUND, "byte", "float32 weights and biases of the compact machine"),
    "lost_pixel": Variable((*ROUND, "pixel"), "1", "1 where a visible unit has lost all synapses"),
    "unit_information": Variable(
        (*ROUND, "unit"), "nat-2", "mean variance Fisher information of a first-hidden-layer unit's synapses"
    ),
    "effective_sample_size": Variable(ROUND, "1", "effective number of model states behind unit_information"),
    "split_r_hat": Variable(ROUND, "1", "split R-hat, of what mixes worst, of the chains behind unit_information"),
    "n_epochs": Variable(ROUND, "1", "epochs of training of all layers so far; iterations of the exact gradient"),
}
"""Variables of every study that the recorder fills. Round 0 is the trained machine before any pruning, equal at both
stages."""


def empty_results(
    variables: dict[str, Variable],
    coords: dict[str, Any],
    attrs: dict[str, Any],
    meanings: dict[str, str] | None = None,
) -> xr.Dataset:
    """A dataset with every variable filled with NaN, units and long names in place; ``meanings`` of further
    dimensions.
    """
    known = COORDINATES | (meanings or {})
    sizes = {name: len(values) for name, values in coords.items()}
    data = {}
    for name, variable in variables.items():
        filled = np.full([sizes[d] for d in variable.dims], np.nan, dtype=np.float32)
        data[name] = (variable.dims, filled, {"units": variable.units, "long_name": variable.long_name})
    results = xr.Dataset(data, coords=coords, attrs=attrs)
    for dimension, values in results.coords.items():
        values.attrs["long_name"] = known[str(dimension)]
        if values.dtype.kind in "iuf":
            values.attrs["units"] = "1"
    return results
