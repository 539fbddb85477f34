"""Which pixels have lost all synapses: kept by the recorder for every study."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from secateur.figures import images
from secateur.figures.panels import Drawing
from secateur.figures.wording import written
from secateur.studies.measures.anatomy import SECTION
from secateur.studies.measures.measure import Cell, Measure, Shown


class LostPixels(Measure):
    """Visible units without synapses, on the grid of the image."""

    name = "lost-pixels"
    needs = ("image",)
    section = SECTION

    def figures(self, shown: Shown) -> dict[str, Callable[[], Drawing]]:
        """A map per rule."""
        return {"lost-pixels": partial(images.lost_pixels, shown.results)}

    def columns(self, shown: Shown) -> dict[str, Cell]:
        """Their number."""
        return {"lost pixels": lambda last: written(last["lost_pixel"].sum("pixel", skipna=False).values)}
