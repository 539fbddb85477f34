"""Likelihood of test rows where no side of the machine can be summed: log Z from annealing both ways."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from secateur import likelihood
from secateur.figures import generation, likelihoods
from secateur.figures.panels import Drawing
from secateur.figures.wording import written
from secateur.studies.measures.exact_likelihood import (
    SECTION,
    no_better_than_independent,
    of_independent_units,
    unpruned_over_independent,
)
from secateur.studies.measures.measure import Cell, Measure, Measured, Shown, Stage
from secateur.studies.schema import STAGE, Variable


class AnnealedLikelihood(Measure):
    """Variational bound on the mean log-likelihood of a test row (the likelihood itself for one hidden layer)."""

    name = "annealed-likelihood"
    needs = ("not summable",)
    section = SECTION
    variables = {
        "test_log_likelihood": Variable(STAGE, "nat", "mean log-likelihood of a test row, or a bound on it (deep)"),
        "test_log_likelihood_error": Variable(STAGE, "nat", "standard error of log Z in test_log_likelihood"),
        "test_log_likelihood_trusted": Variable(
            STAGE, "1", "whether nothing speaks against log Z (1) or something (0)"
        ),
        "independent_log_likelihood": Variable(("trial",), "nat", "the same of units that do not depend on each other"),
        "log_likelihood_bound": Variable(STAGE, "nat", "the same with log Z annealed from independent units: too high"),
        "log_likelihood_bound_error": Variable(STAGE, "nat", "standard error of log Z in log_likelihood_bound"),
        "annealing_sample_size": Variable(STAGE, "1", "effective number of annealing runs behind log_likelihood_bound"),
        "log_likelihood_bound_reverse": Variable(STAGE, "nat", "the same with log Z annealed from samples: too low"),
        "log_likelihood_bound_reverse_error": Variable(
            STAGE, "nat", "standard error of log Z in log_likelihood_bound_reverse"
        ),
        "annealing_reverse_sample_size": Variable(
            STAGE, "1", "effective number of annealing runs behind log_likelihood_bound_reverse"
        ),
    }

    def once(self, at: Stage) -> Measured:
        """The likelihood of independent units."""
        return {"independent_log_likelihood": of_independent_units(at.trials)}

    def stage(self, at: Stage) -> Measured:
        """Bounds with log Z from either direction and from both together, if they are to be had at every stage."""
        return _bounds(at) if at.how.annealing == "every stage" else {}

    def end_of_round(self, at: Stage) -> Measured:
        """The same after retraining only."""
        return _bounds(at) if at.how.annealing == "retrained" else {}

    def figures(self, shown: Shown) -> dict[str, Callable[[], Drawing]]:
        """The likelihood over synapses, without what is not to be trusted."""
        return {"test-log-likelihood": partial(likelihoods.test_likelihood, shown.results)}

    def columns(self, shown: Shown) -> dict[str, Cell]:
        """The likelihood after retraining, without what is not to be trusted."""
        return {
            "log-likelihood (nats)": lambda last: written(
                likelihoods.trusted(last, "test_log_likelihood").sel(stage="retrained").values
            )
        }

    def findings(self, shown: Shown) -> list[str]:
        """How far the unpruned machine is above independent units."""
        return unpruned_over_independent(shown.results)

    def remarks(self, shown: Shown) -> list[str]:
        """Machines that are no better than independent units."""
        return no_better_than_independent(shown.results)

    def trust(self, shown: Shown) -> list[str]:
        """How annealing went."""
        return [generation.annealing_note(shown.results)]


def _bounds(at: Stage) -> Measured:
    mean_bound = np.asarray(at.encoded_test[1], float).mean(axis=1)
    both = at.annealed
    measured = {
        "test_log_likelihood": mean_bound - [z.estimate for z in both],
        "test_log_likelihood_error": np.array([z.standard_error for z in both]),
        "test_log_likelihood_trusted": np.array([float(z.verdict.trusted) for z in both]),
    }
    combine = (likelihood.combine_log_weights, likelihood.combine_reverse_log_weights)
    for suffix, combined, weights in zip(("", "_reverse"), combine, at.log_weights, strict=True):
        partitions = [combined(trial, at.how.n_temperatures) for trial in weights]
        measured |= {
            f"log_likelihood_bound{suffix}": mean_bound - [z.estimate for z in partitions],
            f"log_likelihood_bound{suffix}_error": np.array([z.standard_error for z in partitions]),
            f"annealing{suffix}_sample_size": np.array([z.effective_sample_size for z in partitions]),
        }
    return measured
