"""How much room a machine takes: kept by the recorder for every study."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from secateur.figures import costs
from secateur.figures.panels import Drawing
from secateur.figures.wording import written
from secateur.studies.measures.measure import Cell, Measure, Shown

SECTION = "What pruning bought: room and time"


class Size(Measure):
    """Bytes of the compact machine."""

    name = "size"
    section = SECTION

    def figures(self, shown: Shown) -> dict[str, Callable[[], Drawing]]:
        """Bytes over rounds."""
        return {"machine-bytes": partial(costs.machine_bytes, shown.results)}

    def columns(self, shown: Shown) -> dict[str, Cell]:
        """Kilobytes."""
        return {"kB": lambda last: written(last["machine_bytes"].values, scale=1e-3, digits=0)}
