"""Numbers of the paper, beside which studies of the same machines are shown; each is of a single run."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
import xarray as xr

from secateur.figures.summary import mean_and_error, total_synapses

_Value = TypeVar("_Value")

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


class PublishedErrors(NamedTuple):
    """Test errors of the published digits study, as shares; one run per rule, read off the plots."""

    unpruned: float
    raw_pixels: float
    after_retraining: dict[str, tuple[tuple[int, float], ...]]
    """By rule: synapses left and test error."""
    above: dict[str, tuple[int, float]]
    """By rule: a number of synapses by which the test error had passed a value."""


class PublishedEnd(NamedTuple):
    """What one rule left after ten rounds of the published digits study."""

    synapses: int
    units: tuple[int, int]
    sample_quality: float


DIGITS_ERRORS = PublishedErrors(
    unpruned=0.049,
    raw_pixels=0.084,
    after_retraining={
        "variance-fi": ((61_000, 0.051), (33_000, 0.061), (21_000, 0.078), (13_500, 0.099)),
        "heuristic-fi": ((65_000, 0.060), (26_000, 0.084), (11_000, 0.163)),
        "weight-magnitude": ((98_000, 0.042),),
        "random": ((98_000, 0.096),),
    },
    above={"anti-fi": (240_000, 0.5)},
)
# The number of synapses at the end of anti-FI is not published. It removes no zeros beyond the fraction, so that as
# many are left as by |w| and random.
DIGITS_END = {
    "variance-fi": PublishedEnd(13_500, (277, 55), 0.805),
    "heuristic-fi": PublishedEnd(11_000, (280, 30), 0.795),
    "weight-magnitude": PublishedEnd(98_000, (400, 676), 0.872),
    "random": PublishedEnd(98_000, (400, 676), 0.818),
    "anti-fi": PublishedEnd(98_000, (348, 640), 0.64),
}
"""By rule: synapses, units of both hidden layers and sample quality after ten rounds, one run per rule."""
DIGITS_ROUNDS = 10
DIGITS_FRACTION = 0.1
"""Share of both matrices that a round of the published digits study removed (its first version)."""
DIGITS_HIDDEN = (400, 676)


def is_published_digits(results: xr.Dataset) -> bool:
    """Whether the study prunes the published machine, 400-400-676, of MNIST digits of 20 x 20 pixels."""
    return results.attrs.get("dataset") == "mnist" and tuple(int(n) for n in results.attrs.get("layer_sizes", ())) == (
        400,
        *DIGITS_HIDDEN,
    )


def is_published_schedule(results: xr.Dataset) -> bool:
    """Whether every round removes what a round of the published digits study removed, so that rounds compare."""
    return bool(np.allclose(results.attrs["pruning_fraction"], DIGITS_FRACTION))


def in_study(results: xr.Dataset, published: dict[str, _Value]) -> dict[str, _Value]:
    """What is published of the rules that the study ran, in the study's order."""
    return {name: published[name] for name in map(str, results["criterion"].values) if name in published}
