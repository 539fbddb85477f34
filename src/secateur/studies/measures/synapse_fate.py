"""Which synapses a rule removes: a prediction that can be tested in tissue."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from secateur.figures import synapse_fate
from secateur.figures.panels import Drawing
from secateur.figures.wording import labels_of, percent
from secateur.model.machine import Machine
from secateur.model.moments import Moments
from secateur.model.trials import unstack
from secateur.studies.measures.measure import Measure, Measured, Shown, Trials
from secateur.studies.schema import ROUND, Variable

SECTION = "Which synapses go: a prediction that can be tested"
QUANTITIES = ("weight", "presynaptic rate", "postsynaptic rate")
N_DECILES = 10


class SynapseFate(Measure):
    """Share of the first matrix's synapses removed, by deciles of |weight| and of both rates before the removal."""

    name = "synapse-fate"
    section = SECTION
    variables = {
        "elimination_probability": Variable(
            (*ROUND, "quantity", "decile"), "1", "share of synapses removed, by deciles of a quantity before removal"
        ),
        "quantity_mean": Variable((*ROUND, "quantity", "decile"), "1", "mean of the quantity in each decile"),
    }
    dimensions = {"quantity": "what synapses are sorted by", "decile": "tenth of the synapses, in rising order of it"}

    def coords(self, trials: Trials) -> dict[str, Any]:
        """Names of the quantities, and deciles from 1."""
        return {"quantity": list(QUANTITIES), "decile": np.arange(1, N_DECILES + 1)}

    def removal(self, before: Machine, moments: list[Moments], after: Machine) -> Measured:
        """Shares and means of every trial."""
        shares, means = [], []
        for old, its_moments, new in zip(unstack(before), moments, unstack(after), strict=True):
            mask = np.asarray(old.masks[0])
            gone = ~np.asarray(new.masks[0])[mask]
            rates = np.broadcast_arrays(its_moments.rates[0][:, None], its_moments.rates[1][None, :])
            quantities = [q[mask] for q in (np.abs(np.asarray(old.weights[0])), *rates)]
            deciles = [np.array_split(np.argsort(q, kind="stable"), N_DECILES) for q in quantities]
            shares.append([[_mean(gone[d]) for d in split] for split in deciles])
            means.append([[_mean(q[d]) for d in split] for q, split in zip(quantities, deciles, strict=True)])
        return {"elimination_probability": np.array(shares), "quantity_mean": np.array(means)}

    def figures(self, shown: Shown) -> dict[str, Callable[[], Drawing]]:
        """Removal by each quantity in the first round."""
        return {
            f"elimination-by-{quantity.replace(' ', '-')}": partial(synapse_fate.elimination, shown.results, quantity)
            for quantity in QUANTITIES
        }

    def findings(self, shown: Shown) -> list[str]:
        """What the first round takes of the weakest and of the strongest synapses."""
        first = shown.results["elimination_probability"].isel(round=1).sel(quantity="weight")
        parts = []
        for name, label in labels_of(shown.results).items():
            low, high = (first.sel(criterion=name).isel(decile=end).values for end in (0, -1))
            if np.isfinite(low).any() and np.isfinite(high).any():
                parts.append(f"{label} {percent(low)} → {percent(high)}")
        if not parts:
            return []
        return [
            "Of the tenth of the first matrix's synapses with the smallest weights, and of that with the largest, the "
            f"first round removes: {'; '.join(parts)}."
        ]


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else np.nan
