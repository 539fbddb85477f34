"""Which units are left: counts that the recorder keeps for every study."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import xarray as xr

from secateur.figures import curves
from secateur.figures.comparisons import at_synapses, clearly_positive, hidden_units_left, synapses_left
from secateur.figures.panels import Drawing
from secateur.figures.published import published_units
from secateur.figures.summary import FI_RULES, total_synapses
from secateur.figures.wording import (
    CHANCE,
    HOLDS,
    UNTESTED,
    Expectation,
    labels_of,
    mean_of,
    percent,
    verdict,
    written,
)
from secateur.studies.measures.measure import Cell, Measure, Shown

SECTION = "Anatomy: which units, synapses and pixels are left"


class Anatomy(Measure):
    """Synapses of every matrix and living units of every layer."""

    name = "anatomy"
    section = SECTION

    def figures(self, shown: Shown) -> dict[str, Callable[[], Drawing]]:
        """Units over synapses and over rounds."""
        return {
            "units-over-synapses": partial(curves.units_over_synapses, shown.results),
            "units-over-rounds": partial(curves.units_over_rounds, shown.results),
        }

    def columns(self, shown: Shown) -> dict[str, Cell]:
        """Synapses, and units of every hidden layer."""

        def units(layer: int) -> Cell:
            return lambda last: written(last["n_units"].isel(layer=layer).values)

        layers = range(1, shown.results.sizes["layer"])
        cells: dict[str, Cell] = {"synapses": lambda last: written(total_synapses(last).values, digits=0)}
        return cells | {f"units in layer {layer}": units(layer) for layer in layers}

    def clause(self, shown: Shown, criterion: str) -> str | None:
        """Synapses and hidden units after the last round."""
        synapses, units = (part(shown.results, criterion) for part in (synapses_left, hidden_units_left))
        if not np.isfinite(mean_of(synapses[:, -1] + units[:, -1])):
            return None
        return (
            f"{mean_of(synapses[:, -1] / synapses[:, 0]) * 100:.0f}\N{NO-BREAK SPACE}% of the synapses are left, and "
            f"{percent(1 - units[:, -1] / units[:, 0])} of the hidden units are gone"
        )

    def expectations(self, shown: Shown) -> list[Expectation]:
        """FI rules shed units."""
        return [_units_removed(shown.results)]

    def findings(self, shown: Shown) -> list[str]:
        """The units after every round beside the published ones, where the published machine was pruned."""
        published = published_units(shown.results)
        if not published:
            return []
        labels = labels_of(shown.results)
        parts = [
            f"{labels[name]} {written(hidden_units_left(shown.results, name)[:, len(counts)])} ({counts[-1]})"
            for name, counts in published.items()
        ]
        number = max(len(counts) for counts in published.values())
        return [f"Hidden units after round {number}, beside the single published run in brackets: {', '.join(parts)}."]


def _units_removed(results: xr.Dataset) -> Expectation:
    claim = "FI rules remove more hidden units than |w| and random"
    why = "Scholl, Rule & Hennig 2021, Figures 2 and 4: removal by Fisher information takes whole units"
    labels = labels_of(results)
    informed = [name for name in FI_RULES if name in labels]
    controls = [name for name in ("weight-magnitude", "random") if name in labels]
    if not informed or not controls:
        return Expectation(claim, UNTESTED, ["The study did not run an FI rule beside |w| or random."], why)
    compared = [*informed, *controls]
    left = np.max([np.nanmin(_filled(synapses_left(results, name)), axis=1) for name in compared], axis=0)
    removed = {}
    for name in compared:
        units = hidden_units_left(results, name)
        removed[name] = units[:, 0] - at_synapses(synapses_left(results, name), units, left)
    differences = [removed[rule] - removed[control] for rule in informed for control in controls]
    found = [clearly_positive(d) for d in differences if np.isfinite(mean_of(d))]
    if not found:
        return Expectation(claim, UNTESTED, ["Numbers of units are missing."], why)
    numbers = ", ".join(f"{labels[name]} {written(removed[name])}" for name in compared)
    evidence = [
        f"Hidden units removed when {mean_of(left):,.0f} synapses are left, the fewest that every one of these rules "
        f"reached: {numbers}."
    ]
    if results.sizes["trial"] > 1:
        evidence.append(f"More {CHANCE} in {sum(found)} of {len(found)} comparisons.")
    judged = verdict(found)
    if judged != HOLDS and results.sizes["trial"] > 1:
        ahead = sum(mean_of(d) > 0 for d in differences)
        evidence.append(f"On average, chance aside, it is so in {ahead} of {len(differences)}.")
    return Expectation(claim, judged, evidence, why)


def _filled(synapses: np.ndarray) -> np.ndarray:
    """Synapse counts with infinity where a trial has none at all, so that its minimum exists."""
    return np.where(np.isfinite(synapses).any(axis=1, keepdims=True), synapses, np.inf)
