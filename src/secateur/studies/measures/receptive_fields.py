"""What the surviving units of the first hidden layer see."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from secateur.figures import images
from secateur.figures.panels import Drawing
from secateur.studies.measures.anatomy import SECTION
from secateur.studies.measures.measure import Measure, Shown


class ReceptiveFields(Measure):
    """Weights of the surviving units on the grid of the image, most informative unit first."""

    name = "receptive-fields"
    needs = ("image",)
    section = SECTION

    def figures(self, shown: Shown) -> dict[str, Callable[[], Drawing]]:
        """The fields of trial 1."""
        return {"receptive-fields": partial(images.receptive_fields, shown.results, shown.machines)}
