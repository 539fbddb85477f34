"""How long a Gibbs sweep takes: timed at the end of every study, when nothing else runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from secateur.figures import costs
from secateur.figures.panels import Drawing
from secateur.figures.wording import labels_of
from secateur.studies.measures.measure import Cell, Measure, Shown
from secateur.studies.measures.size import SECTION

SLOWER = 1.1
"""Times the unpruned machine's sweep from which a smaller machine is called slower."""


class SweepTime(Measure):
    """Milliseconds per Gibbs sweep of 1,000 chains, of trial 1."""

    name = "sweep-time"
    section = SECTION

    def figures(self, shown: Shown) -> dict[str, Callable[[], Drawing]]:
        """Bars, unpruned first."""
        return {"sweep-times": partial(costs.sweep_times, shown.results, shown.facts)}

    def columns(self, shown: Shown) -> dict[str, Cell]:
        """Milliseconds."""
        times = costs.shown_sweeps(shown.results, shown.facts)

        def cell(last: object) -> str:
            name = "unpruned" if int(last["round"]) == 0 else str(last["criterion"].values)  # type: ignore[index]
            return f"{times[name]['milliseconds']:.3g}" if name in times else "not measured"

        return {"ms per sweep": cell}

    def remarks(self, shown: Shown) -> list[str]:
        """Machines that are smaller but not faster."""
        times = costs.shown_sweeps(shown.results, shown.facts)
        whole = times.get("unpruned")
        if whole is None:
            return []
        labels = labels_of(shown.results)
        slower = [
            f"{labels[name]} ({found['milliseconds']:.3g} ms)"
            for name, found in times.items()
            if name in labels
            and sum(found["layer_sizes"]) < sum(whole["layer_sizes"])
            and found["milliseconds"] > SLOWER * whole["milliseconds"]
        ]
        if not slower:
            return []
        return [
            f"Smaller but slower: a sweep of the unpruned machine took {whole['milliseconds']:.3g} ms, after "
            f"pruning by {', '.join(slower)}. At this size a sweep is bound by fixed costs and by odd sizes of arrays, "
            "not by the number of units; what pruning buys in time shows in larger machines "
            "only. Other work on the computer during the timing does the same."
        ]
