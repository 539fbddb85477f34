"""The exact Fisher information matrix of the trained machine (Scholl, Rule & Hennig 2021, Figure 1)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from secateur import fisher
from secateur.figures import fisher_maps
from secateur.figures.panels import Drawing
from secateur.studies.measures.measure import Measure, Measured, Shown, Stage, Trials
from secateur.studies.schema import Variable

SECTION = "The trained machine: its Fisher information"


class FisherSpectrum(Measure):
    """Eigenvalues of ``Cov[T]`` before pruning, and maps of matrix, leading eigenvector and diagonal."""

    name = "fisher-spectrum"
    needs = ("matrix", "one matrix")
    section = SECTION
    variables = {
        "eigenvalue": Variable(
            ("trial", "index"), "nat-2", "eigenvalues of the trained machine's Fisher information matrix"
        ),
    }
    dimensions = {"index": "place in the order of eigenvalues, largest first"}

    def coords(self, trials: Trials) -> dict[str, Any]:
        """One place for every parameter."""
        sizes = trials.machine.layer_sizes
        n_synapses = int(np.asarray(trials.machine.masks[0][0]).sum())
        return {"index": np.arange(1, sum(sizes) + n_synapses + 1)}

    def once(self, at: Stage) -> Measured:
        """The spectrum of every trial."""
        spectra = [np.linalg.eigvalsh(fisher.matrix(one, "exact").dense())[::-1] for one in at.machines]
        return {"eigenvalue": np.array(spectra)}

    def figures(self, shown: Shown) -> dict[str, Callable[[], Drawing]]:
        """Maps of trial 1, and the spectrum."""
        trained = fisher_maps.TrainedMachine(shown.results, shown.machines)
        return {
            "fisher-matrix": partial(fisher_maps.whole_matrix, trained),
            "leading-eigenvector": partial(fisher_maps.leading_eigenvector, trained),
            "fisher-diagonal": partial(fisher_maps.diagonal, trained),
            "eigenvalue-spectrum": partial(fisher_maps.spectrum, shown.results),
        }

    def trust(self, shown: Shown) -> list[str]:
        """That it is exact, and of one trial."""
        return ["Eigenvalues are exact. The Fisher information matrix and its maps show trial 1 only."]
