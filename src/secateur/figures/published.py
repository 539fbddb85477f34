"""Numbers of the paper's single-layer study, beside which a study of the same machine is shown."""

from __future__ import annotations

import numpy as np
import xarray as xr

from secateur.figures.summary import mean_and_error, total_synapses

CITATION = "Scholl, Rule & Hennig 2021"
PUBLISHED_SYNAPSES = (455, 228, 114)
"""Synapses left after rounds 1, 2 and 3 of removing half of 13 x 70."""
PUBLISHED_UNITS = {
    "variance-fi": (69, 50, 9),
    "heuristic-fi": (61, 50, 10),
    "eigenvector-fi": (65, 48, 9),
    "weight-magnitude": (70, 62, 35),
    "random": (70, 68, 60),
    "anti-fi": (57, 49, 35),
}
"""Hidden units left after each round, one run per rule."""


def is_published_machine(results: xr.Dataset) -> bool:
    """Whether the study prunes a machine of the published size, 13 visible and 70 hidden units."""
    return (results.sizes["pixel"], results.sizes["unit"], results.sizes["layer"]) == (13, 70, 2)


def published_units(results: xr.Dataset) -> dict[str, tuple[int, ...]]:
    """Published unit counts after each round, by rule of the study; empty where the study prunes another machine.

    After each round as many synapses must be left as in the paper, give or take the rounding of one half.
    """
    if not is_published_machine(results):
        return {}
    found = {}
    for name in (str(n) for n in results["criterion"].values):
        left = mean_and_error(total_synapses(results).sel(criterion=name))[0].values[1 : 1 + len(PUBLISHED_SYNAPSES)]
        if name in PUBLISHED_UNITS and np.all(abs(left - PUBLISHED_SYNAPSES[: len(left)]) <= 2):
            found[name] = PUBLISHED_UNITS[name][: len(left)]
    return found
