"""How the first training went: kept by the study itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from secateur.figures import curves
from secateur.figures.panels import Drawing
from secateur.studies.measures.measure import Measure, Shown


class TrainingHistory(Measure):
    """Pseudo-likelihood, free-energy gap and reconstruction error after every epoch of the first training."""

    name = "training-history"
    section = "Training"

    def figures(self, shown: Shown) -> dict[str, Callable[[], Drawing]]:
        """One line per trial; none after training on the exact gradient, which keeps no history."""
        if "training_pseudo_likelihood" not in shown.results:
            return {}
        return {"training-history": partial(curves.training_history, shown.results)}
