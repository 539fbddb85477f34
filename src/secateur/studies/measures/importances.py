"""How the importances of synapses agree."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from secateur import fisher
from secateur.figures import synapse_fate
from secateur.figures.panels import Drawing
from secateur.figures.wording import mean_of, written
from secateur.model import enumeration
from secateur.model.machine import Machine
from secateur.model.randomness import child_key
from secateur.studies.measures.measure import Measure, Measured, Shown, Stage, Trials
from secateur.studies.measures.synapse_fate import SECTION
from secateur.studies.schema import ROUND, Variable

PAIRS = ("heuristic-variance", "variance-eigenvector", "heuristic-eigenvector")


class Importances(Measure):
    """Spearman correlations over synapses between heuristic FI, variance FI and the leading eigenvector, all exact."""

    name = "importances"
    needs = ("matrix", "one matrix")
    section = SECTION
    variables = {
        "rank_correlation": Variable((*ROUND, "pair"), "1", "Spearman correlation of two importances over synapses"),
    }
    dimensions = {"pair": "two measures of a synapse's importance"}

    def coords(self, trials: Trials) -> dict[str, Any]:
        """Names of the pairs."""
        return {"pair": list(PAIRS)}

    def end_of_round(self, at: Stage) -> Measured:
        """The correlations."""
        each = zip(at.machines, child_key(at.keys, "eigenvector"), strict=True)
        return {"rank_correlation": np.array([rank_correlations(one, key) for one, key in each])}

    def figures(self, shown: Shown) -> dict[str, Callable[[], Drawing]]:
        """Correlations over rounds."""
        return {"rank-correlations": partial(synapse_fate.rank_correlations, shown.results)}

    def findings(self, shown: Shown) -> list[str]:
        """The correlations before pruning."""
        before = shown.results["rank_correlation"].isel(criterion=0, round=0)
        values = {str(pair): before.sel(pair=pair).values for pair in before["pair"].values}
        if not all(np.isfinite(mean_of(of_pair)) for of_pair in values.values()):
            return []
        return [
            "In the unpruned machine heuristic and variance FI rank synapses with a correlation of "
            f"{written(values['heuristic-variance'], digits=2)}, variance FI and the leading eigenvector with "
            f"{written(values['variance-eigenvector'], digits=2)}, heuristic FI and the leading eigenvector with "
            f"{written(values['heuristic-eigenvector'], digits=2)} (Spearman)."
        ]


def rank_correlations(machine: Machine, key: Any) -> list[float]:
    """Spearman correlations over synapses, in the order of ``PAIRS``; exact importances."""
    mask = np.asarray(machine.masks[0])
    if mask.sum() < 3:
        return [np.nan] * len(PAIRS)
    moments = enumeration.moments(machine)
    variance = np.asarray(fisher.variance(machine, moments)[0])[mask]
    heuristic = np.asarray(fisher.heuristic(machine, moments)[0])[mask]
    eigenvector = fisher.leading_eigenvector_importance(machine, "exact", key)[0][mask]
    pairs = ((heuristic, variance), (variance, eigenvector), (heuristic, eigenvector))
    return [float(spearmanr(*pair).statistic) for pair in pairs]
