"""What the report says of its own accord: what is surprising, what is clear, what is withheld; each with a quiet "
"twin."""

from __future__ import annotations

import numpy as np
import pytest

from pages import plain
from secateur.figures import images
from secateur.figures.comparisons import clearly_positive, quantile
from secateur.report.content import findings_content
from synthetic_study import synthetic_config, synthetic_machine, synthetic_results, told

CRITERIA = ("variance-fi", "heuristic-fi", "weight-magnitude", "random", "anti-fi")


@pytest.fixture
def config():
    return synthetic_config(CRITERIA, 3, (12, 8))


@pytest.fixture
def results(config):
    return synthetic_results(config)


def remarks(config, results, **facts):
    shown = told(config, results)
    return plain(" ".join(findings_content(shown._replace(facts=shown.facts | facts))["remarks"]))


def test_nothing_is_surprising_where_everything_is_as_expected(config, results):
    results["covariance_error"][:] = 0.1
    assert remarks(config, results) == ""


def test_a_rule_below_random_is_remarked_on(config, results):
    errors = results["test_error"]
    errors.loc[{"criterion": "heuristic-fi"}] = errors.sel(criterion="random").values + 0.02
    found = remarks(config, results)
    assert (
        "Worse than random removal at the end, at equal numbers of synapses: heuristic FI by +2.0 ± 0.0 points" in found
    )
    assert "variance FI by" not in found


def test_expectations_that_fail_are_remarked_on(config, results):
    results["test_error"].loc[{"criterion": "anti-fi"}] = 0.08
    assert "Expected, but not found: Anti-FI is clearly the worst rule" in remarks(config, results)


def test_a_machine_no_better_than_independent_units_is_remarked_on(config, results):
    results["test_log_likelihood"].loc[{"criterion": "anti-fi", "round": 4}] = -20
    assert "Not clearly better than units that do not depend on each other: anti-FI (+0.00" in remarks(config, results)
    # What is withheld is not held against a rule.
    results["test_log_likelihood_trusted"].loc[{"criterion": "anti-fi", "round": 4}] = 0
    assert "Not clearly better" not in remarks(config, results)


def test_smaller_but_slower_is_remarked_on(config, results):
    sweeps = [
        {"criterion": "unpruned", "layer_sizes": [20, 12, 8], "milliseconds": 1.0},
        {"criterion": "variance-fi", "layer_sizes": [20, 9, 8], "milliseconds": 1.5},
        {"criterion": "random", "layer_sizes": [20, 12, 8], "milliseconds": 3.0},
    ]
    found = remarks(config, results, gibbs_sweeps=sweeps)
    assert (
        "Smaller but slower: a sweep of the unpruned machine took 1 ms, after pruning by variance FI (1.5 ms)." in found
    )


def test_a_top_layer_that_tells_less_than_the_rows_is_remarked_on(config, results):
    results["pixel_error"][:] = 0.01
    assert "The unpruned machine's top layer tells less about the label than the raw digits do" in remarks(
        config, results
    )


def test_importance_from_unmixed_chains_is_withheld_and_said(config, results):
    def load(trial, criterion, number):
        return synthetic_machine((12, 8))

    assert "by their numbers" not in images.receptive_fields(results, load).caption
    assert "had not mixed" not in remarks(config, results)
    results["split_r_hat"].loc[{"criterion": ["random", "anti-fi"]}] = 1.2
    caption = images.receptive_fields(results, load).caption
    assert "by their numbers where the chains behind it had not mixed (random and anti-FI)" in caption
    found = remarks(config, results)
    assert "In 30 of 75 measurements of importance some unit's chains had not mixed (split R-hat above 1.1)" in found


def test_a_difference_is_called_clear_by_chance_in_one_of_forty_comparisons():
    """Three trials without a difference: the stated 2.5 %; twin: two standard errors would call 9 % clear."""
    rng = np.random.default_rng(0)
    n = 4000
    draws = rng.normal(size=(n, 3))
    share = np.mean([clearly_positive(one) for one in draws])
    assert abs(share - 0.025) < 4.9 * np.sqrt(0.025 * 0.975 / n)
    by_two = np.mean(draws.mean(axis=1) > 2 * draws.std(axis=1, ddof=1) / np.sqrt(3))
    assert by_two > 0.07
    assert quantile(np.zeros(3)) == pytest.approx(4.3027, abs=1e-3) and quantile(np.zeros(10)) < 2.27
