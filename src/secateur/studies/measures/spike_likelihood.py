"""Held-out likelihood of a recording, per bin and per spike."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from secateur.figures import likelihoods
from secateur.figures.panels import Drawing
from secateur.figures.wording import labels_of, written
from secateur.studies.measures.exact_likelihood import SECTION, mean_log_probability, of_independent_units
from secateur.studies.measures.measure import Cell, Measure, Measured, Shown, Stage
from secateur.studies.schema import STAGE, Variable


class SpikeLikelihood(Measure):
    """Log-likelihood of held-out epochs above that of independent units, per bin and per spike."""

    name = "spike-likelihood"
    needs = ("epochs",)
    section = SECTION
    variables = {
        "gain_per_bin": Variable(STAGE, "nat", "held-out log-likelihood per bin above that of independent units"),
        "gain_per_spike": Variable(STAGE, "nat", "the same per spike of the held-out bins"),
        "gain_trusted": Variable(STAGE, "1", "whether nothing speaks against log Z (1) or something (0)"),
        "spikes_per_bin": Variable(("trial",), "1", "mean number of spikes in a held-out bin"),
    }

    def once(self, at: Stage) -> Measured:
        """Spikes of the held-out bins."""
        return {"spikes_per_bin": np.array([data.test.sum(axis=1).mean() for data in at.trials.data])}

    def stage(self, at: Stage) -> Measured:
        """The gain, exact where a side can be summed, else with log Z annealed both ways."""
        return _gain(at) if at.how.annealing == "every stage" else {}

    def end_of_round(self, at: Stage) -> Measured:
        """The same after retraining only."""
        return _gain(at) if at.how.annealing == "retrained" else {}

    def figures(self, shown: Shown) -> dict[str, Callable[[], Drawing]]:
        """The gain per spike over synapses."""
        return {"gain-per-spike": partial(likelihoods.gain_per_spike, shown.results)}

    def columns(self, shown: Shown) -> dict[str, Cell]:
        """Both gains after retraining."""

        def cell(name: str) -> Cell:
            return lambda last: written(
                likelihoods.trusted(last, name, "gain_trusted").sel(stage="retrained").values, digits=3
            )

        return {"gain per bin (nats)": cell("gain_per_bin"), "gain per spike (nats)": cell("gain_per_spike")}

    def findings(self, shown: Shown) -> list[str]:
        """The gain before and after pruning."""
        gain = likelihoods.trusted(shown.results, "gain_per_spike", "gain_trusted").sel(stage="retrained")
        ends = [
            f"{label} {written(gain.sel(criterion=name).isel(round=-1).values, digits=3)}"
            for name, label in labels_of(shown.results).items()
        ]
        whole = written(gain.isel(criterion=0, round=0).values, digits=3)
        return [
            f"Above independent units the unpruned machine gains {whole} nats per spike of held-out epochs; after the "
            f"last round: {', '.join(ends)}."
        ]


def _gain(at: Stage) -> Measured:
    if "not summable" in at.trials.shared["offered"]:
        values = np.asarray(at.encoded_test[1], float).mean(axis=1) - [z.estimate for z in at.annealed]
        trusted = [float(z.verdict.trusted) for z in at.annealed]
    else:
        pairs = zip(at.machines, at.trials.data, strict=True)
        values = np.array([mean_log_probability(machine, data.test) for machine, data in pairs])
        trusted = [1.0] * len(values)
    gain = values - of_independent_units(at.trials)
    spikes = np.array([data.test.sum(axis=1).mean() for data in at.trials.data])
    return {"gain_per_bin": gain, "gain_per_spike": gain / spikes, "gain_trusted": np.array(trusted)}
