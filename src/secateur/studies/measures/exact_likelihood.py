"""Exact likelihood of test rows where a side of the machine can be summed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import xarray as xr

from secateur.figures import likelihoods
from secateur.figures.comparisons import clearly_positive
from secateur.figures.panels import Drawing
from secateur.figures.wording import labels_of, mean_of, nouns_of, written
from secateur.model import enumeration
from secateur.studies.measures.measure import Cell, Measure, Measured, Shown, Stage, Trials, patterns_of
from secateur.studies.schema import STAGE, Variable

SECTION = "The fit: what pruning costs, and what retraining brings back"
_MOST_EXACT_ROWS = 20_000


def of_independent_units(trials: Trials) -> np.ndarray:
    """Mean log-likelihood in nats of a test row, if units were independent with the rates of the training rows.

    Half a row of each kind is added, so that a unit that never changed in training leaves it finite.
    """
    found = []
    for data in trials.data:
        rates = (data.train.sum(axis=0, dtype=float) + 0.5) / (len(data.train) + 1)
        test = data.test.mean(axis=0, dtype=float)
        found.append((test * np.log(rates) + (1 - test) * np.log1p(-rates)).sum())
    return np.array(found)


def unpruned_over_independent(results: xr.Dataset) -> list[str]:
    """How far the unpruned machine is above independent units, in a sentence."""
    whole = likelihoods.trusted(results, "test_log_likelihood").isel(criterion=0, round=0).sel(stage="retrained").values
    gain = whole - results["independent_log_likelihood"].values
    if not np.isfinite(mean_of(gain)):
        return []
    noun = nouns_of(results)[0]
    return [
        f"A test {noun} has a log-likelihood of {written(whole, digits=2)} nats in the unpruned machine, "
        f"{written(gain, digits=2)} nats above independent units."
    ]


def no_better_than_independent(results: xr.Dataset) -> list[str]:
    """Machines, unpruned or at the end, that are not clearly better than independent units, in a sentence."""
    values = likelihoods.trusted(results, "test_log_likelihood").sel(stage="retrained")
    alone = results["independent_log_likelihood"].values
    found = {"the unpruned machine": values.isel(criterion=0, round=0).values}
    found |= {label: values.sel(criterion=name).isel(round=-1).values for name, label in labels_of(results).items()}
    low = [
        f"{name} ({written(of - alone, digits=2, signed=True)} nats)"
        for name, of in found.items()
        if np.isfinite(mean_of(of)) and not clearly_positive(of - alone)
    ]
    if not low:
        return []
    return [
        f"Not clearly better than units that do not depend on each other: {', '.join(low)}. Such a machine has learnt "
        "no more than the rate of every unit."
    ]


class ExactLikelihood(Measure):
    """Mean log-likelihood of a test row, summed over all states of one side of the machine."""

    name = "exact-likelihood"
    needs = ("summable",)
    section = SECTION
    variables = {
        "test_log_likelihood": Variable(STAGE, "nat", "exact mean log-likelihood of a test row"),
        "independent_log_likelihood": Variable(("trial",), "nat", "the same of units that do not depend on each other"),
    }

    def once(self, at: Stage) -> Measured:
        """The likelihood of independent units."""
        return {"independent_log_likelihood": of_independent_units(at.trials)}

    def stage(self, at: Stage) -> Measured:
        """The likelihood, of all test rows or of every pattern once."""
        if "test frequencies" in at.trials.shared:
            both = zip(at.trials.shared["test frequencies"], at.log_patterns, strict=True)
            return {"test_log_likelihood": np.array([frequencies @ log_p for frequencies, log_p in both])}
        pairs = zip(at.machines, at.trials.data, strict=True)
        return {"test_log_likelihood": np.array([mean_log_probability(one, data.test) for one, data in pairs])}

    def prepare(self, trials: Trials) -> None:
        """Frequencies of all patterns, where they can be listed."""
        n_visible = trials.machine.layer_sizes[0]
        if 2**n_visible <= _MOST_EXACT_ROWS and enumeration.can_be_enumerated(trials.machine.layer_sizes):
            trials.once("test frequencies", lambda t: [frequencies_of(data.test) for data in t.data])

    def figures(self, shown: Shown) -> dict[str, Callable[[], Drawing]]:
        """The likelihood over synapses."""
        return {"test-log-likelihood": partial(likelihoods.test_likelihood, shown.results)}

    def columns(self, shown: Shown) -> dict[str, Cell]:
        """The likelihood after retraining."""
        return {
            "log-likelihood (nats)": lambda last: written(
                last["test_log_likelihood"].sel(stage="retrained").values, digits=3
            )
        }

    def findings(self, shown: Shown) -> list[str]:
        """How far the unpruned machine is above independent units."""
        return unpruned_over_independent(shown.results)

    def remarks(self, shown: Shown) -> list[str]:
        """Machines that are no better than independent units."""
        return no_better_than_independent(shown.results)

    def trust(self, shown: Shown) -> list[str]:
        """That it is exact."""
        return ["Likelihoods are exact sums over all states of one side of the machine."]


def mean_log_probability(machine: object, rows: np.ndarray) -> float:
    """Exact mean log-probability of rows in nats, each different row computed once."""
    different, counts = np.unique(rows, axis=0, return_counts=True)
    return float(enumeration.log_probability(machine, different) @ counts / len(rows))  # type: ignore[arg-type]


def frequencies_of(rows: np.ndarray) -> np.ndarray:
    """Frequency of every pattern of the units among rows, in the order of :func:`patterns_of`."""
    n_units = rows.shape[1]
    numbers = rows.astype(int) @ (1 << np.arange(n_units))
    return np.bincount(numbers, minlength=len(patterns_of(n_units))) / len(rows)
