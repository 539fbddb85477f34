"""How often a machine makes each pattern, beside the data (Scholl, Rule & Hennig 2021, Figure 2)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

from secateur.figures import activity, likelihoods
from secateur.figures.panels import Drawing
from secateur.figures.wording import nouns_of, percent, written
from secateur.studies.measures.exact_likelihood import SECTION, frequencies_of
from secateur.studies.measures.measure import Cell, Measure, Measured, Shown, Stage, Trials, patterns_of
from secateur.studies.schema import STAGE, Variable

ESTIMATES = ("exact", "sampled")
N_FREQUENCIES = 12
"""Bins of the training rows' log-frequency."""


class PatternFrequencies(Measure):
    """Log-frequency errors, exact and from independent samples of the exact distribution; activity of the model."""

    name = "pattern-frequencies"
    needs = ("patterns",)
    section = SECTION
    variables = {
        "log_frequency_error": Variable(
            (*STAGE, "estimate"),
            "nat",
            "mean |log model frequency - log data frequency| over the different training rows",
        ),
        "log_frequency_difference": Variable(
            (*STAGE, "estimate", "frequency"),
            "nat",
            "mean log model frequency - log data frequency, by data frequency",
        ),
        "unseen_share": Variable(STAGE, "1", "share of the different training rows that are absent from the samples"),
        "population_count": Variable(
            ("trial", "distribution", "count"), "1", "probability of the number of active units"
        ),
        "rank_frequency": Variable(
            ("trial", "distribution", "rank"), "1", "probabilities of all patterns, largest first"
        ),
    }
    dimensions = {
        "estimate": "exact, or from as many samples as the settings say",
        "frequency": "frequency of a pattern among the training rows, centre of a bin",
        "distribution": "training rows, or the trained machine",
        "count": "visible units that are 1 together",
        "rank": "place of a pattern in the order of frequencies, most frequent first",
    }

    def prepare(self, trials: Trials) -> None:
        """Frequencies of all patterns among the training rows."""
        _frequencies(trials)

    def coords(self, trials: Trials) -> dict[str, Any]:
        """Coordinates; ``frequency`` holds the geometric centres of the bins."""
        n_visible, edges = trials.machine.layer_sizes[0], _edges(trials)
        return {
            "estimate": list(ESTIMATES),
            "frequency": np.sqrt(edges[:-1] * edges[1:]),
            "distribution": ["data", "model"],
            "count": np.arange(n_visible + 1),
            "rank": np.arange(1, 2**n_visible + 1),
        }

    def once(self, at: Stage) -> Measured:
        """Activity of data and of the trained model."""
        model = np.stack([np.exp(log_model) for log_model in at.log_patterns])
        both = np.stack([_frequencies(at.trials), model], axis=1)
        counts = patterns_of(at.machine.layer_sizes[0]).sum(axis=1).astype(int)
        population = [[np.bincount(counts, weights=p) for p in trial] for trial in both]
        return {"population_count": np.array(population), "rank_frequency": -np.sort(-both, axis=2)}

    def stage(self, at: Stage) -> Measured:
        """Exact errors, and those of independent samples drawn from the exact distribution."""
        each = zip(at.log_patterns, _frequencies(at.trials), at.keys, strict=True)
        found = [self._errors(at, log_model, data, key) for log_model, data, key in each]
        return {name: np.array([one[name] for one in found]) for name in found[0]}

    def _errors(self, at: Stage, log_model: np.ndarray, data: np.ndarray, key: Any) -> Measured:
        n_samples = at.how.n_frequency_samples
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        model = np.exp(log_model)
        sampled = rng.multinomial(n_samples, model / model.sum()) / n_samples
        seen = data > 0
        bins = np.digitize(data, _edges(at.trials)) - 1
        errors, differences = [], []
        for frequencies in (model, sampled):
            both = seen & (frequencies > 0)
            difference = np.log(frequencies[both]) - np.log(data[both])
            errors.append(np.abs(difference).mean())
            differences.append([_mean(difference[bins[both] == b]) for b in range(N_FREQUENCIES)])
        return {
            "log_frequency_error": np.array(errors),
            "log_frequency_difference": np.array(differences),
            "unseen_share": (sampled[seen] == 0).mean(),
        }

    def figures(self, shown: Shown) -> dict[str, Callable[[], Drawing]]:
        """Activity of the trained machine, and log-frequencies after the first and the last round."""
        results = shown.results
        by_frequency = {
            f"log-frequencies-{stage}-round-{number:02d}": partial(
                likelihoods.log_frequency_by_frequency, results, stage, number
            )
            for stage in likelihoods.STAGES
            for number in sorted({1, int(results["round"].values[-1])})
        }
        return {
            "population-count": partial(activity.population_count, results),
            "rank-frequency": partial(activity.rank_frequency, results),
            **by_frequency,
            "log-frequency-error": partial(likelihoods.log_frequency_error, results),
        }

    def columns(self, shown: Shown) -> dict[str, Cell]:
        """Errors right after pruning, after retraining, and by samples."""

        def cell(stage: str, estimate: str) -> Cell:
            return lambda last: written(
                last["log_frequency_error"].sel(stage=stage, estimate=estimate).values, digits=2
            )

        return {
            "log-frequency error (nats), pruned": cell("pruned", "exact"),
            "log-frequency error (nats)": cell("retrained", "exact"),
            "log-frequency error (nats), sampled": cell("retrained", "sampled"),
        }

    def trust(self, shown: Shown) -> list[str]:
        """What the sampled error leaves out."""
        unpruned = shown.results.isel(criterion=0, round=0).sel(stage="retrained")
        errors = {e: written(unpruned["log_frequency_error"].sel(estimate=e).values, digits=2) for e in ESTIMATES}
        noun = nouns_of(shown.results)[1]
        return [
            "The sampled log-frequency error imitates an experiment: frequencies are counted in "
            f"{shown.config.evaluation.n_frequency_samples:,} independent draws from the exact distribution, and "
            f"patterns that were not drawn are left out. For the unpruned machine that leaves out "
            f"{percent(unpruned['unseen_share'].values)} of the different training {noun}; the error is "
            f"{errors['sampled']} nats by samples and {errors['exact']} nats by exact frequencies."
        ]


def _frequencies(trials: Trials) -> np.ndarray:
    """Frequencies of all patterns among the training rows, ``(trials, patterns)``."""
    return trials.once("train frequencies", lambda t: np.stack([frequencies_of(data.train) for data in t.data]))


def _edges(trials: Trials) -> np.ndarray:
    return np.geomspace(0.5 / trials.visible.shape[1], 1, N_FREQUENCIES + 1)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else np.nan
