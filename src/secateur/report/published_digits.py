"""What the digits study should show at the paper's size, judged by the data."""

from __future__ import annotations

import numpy as np
import xarray as xr

from secateur.figures.comparisons import (
    compared_at_equal_synapses,
    errors_left,
    synapses_left,
    worse_in_words,
)
from secateur.figures.published import CITATION, DIGITS_ERRORS
from secateur.figures.summary import FI_RULES
from secateur.figures.wording import (
    HOLDS,
    IN_PART,
    UNTESTED,
    Expectation,
    labels_of,
    mean_of,
    percent,
    points,
    verdict,
    written,
)
from secateur.report.published_comparison import NOT_REACHED, TOLERANCE, at_published, compared_errors

HIGHEST_FIRST_ERROR = 0.05
MOST_UNITS = 100
"""Units of the second hidden layer below which FI rules end."""


def paper_expectations(results: xr.Dataset) -> list[Expectation]:
    """The expectations of a study of the published machine."""
    found = [
        _first_error(results),
        _as_good_as_published(results),
        _few_units(results),
        _anti_fi_early(results),
        _random_units_worse(results),
    ]
    return [expectation._replace(because=f"{CITATION}, Figures 3 and 4, one run per rule") for expectation in found]


def _first_error(results: xr.Dataset) -> Expectation:
    claim = (
        f"The unpruned machine misreads at most {HIGHEST_FIRST_ERROR * 100:.1f} % of the test digits "
        f"(published: {DIGITS_ERRORS.unpruned * 100:.1f} %)"
    )
    errors = errors_left(results, str(results["criterion"].values[0]))[:, 0]
    if not np.isfinite(mean_of(errors)):
        return Expectation(claim, UNTESTED, ["The test error before pruning is missing."])
    return Expectation(claim, verdict([mean_of(errors) <= HIGHEST_FIRST_ERROR]), [f"It misreads {percent(errors)}."])


def _as_good_as_published(results: xr.Dataset) -> Expectation:
    claim = (
        f"After retraining the mean test error is no more than {TOLERANCE * 100:.1f} points above the published one at "
        "every published number of synapses"
    )
    rows = [row for row in compared_errors(results) if row.synapses is not None and not row.above]
    reached = [row for row in rows if row.verdict != NOT_REACHED]
    if not reached:
        return Expectation(claim, UNTESTED, ["No published number of synapses was reached."])
    found = [bool(mean_of(row.ours) <= row.published + TOLERANCE) for row in reached]
    evidence = [f"It is so at {sum(found)} of {len(found)} points."]
    for row, met in zip(reached, found, strict=True):
        if not met:
            evidence.append(
                f"{row.label} at {row.synapses:,} synapses: {percent(row.ours)}, "
                f"{points(row.ours - row.published)} from the published {row.published * 100:.1f} %."
            )
    judged = verdict(found)
    if len(reached) < len(rows):
        missing = ", ".join(f"{row.label} at {row.synapses:,}" for row in rows if row.verdict == NOT_REACHED)
        evidence.append(f"Not reached: {missing}.")
        judged = IN_PART if judged == HOLDS else judged
    return Expectation(claim, judged, evidence)


def _few_units(results: xr.Dataset) -> Expectation:
    claim = f"FI rules end with fewer than {MOST_UNITS} units in the second hidden layer"
    labels, found, evidence = labels_of(results), [], []
    for name in (rule for rule in FI_RULES if rule in labels):
        units = results["n_units"].sel(criterion=name).isel(layer=2, round=-1).values
        if np.isfinite(mean_of(units)):
            found.append(bool(mean_of(units) < MOST_UNITS))
            last = synapses_left(results, name)[:, -1]
            evidence.append(f"{labels[name]}: {written(units)} units, with {written(last, digits=0)} synapses.")
    return Expectation(claim, verdict(found), evidence or ["No FI rule reached the last round."])


def _anti_fi_early(results: xr.Dataset) -> Expectation:
    number, limit = DIGITS_ERRORS.above["anti-fi"]
    claim = f"Anti-FI fails early: by {number:,} synapses it misreads more than {limit * 100:.0f} % of the test digits"
    if "anti-fi" not in labels_of(results):
        return Expectation(claim, UNTESTED, ["The study did not run anti-FI."])
    synapses, errors = synapses_left(results, "anti-fi"), errors_left(results, "anti-fi")
    there = at_published(synapses, errors, number)
    if not np.isfinite(mean_of(there)):
        return Expectation(claim, UNTESTED, [f"Anti-FI did not reach {number:,} synapses."])
    evidence = [f"At {number:,} synapses it misreads {percent(there)}."]
    for level in (0.1, limit):
        passed = np.array([first_above(*trial, level) for trial in zip(synapses, errors, strict=True)])
        n_passed = int(np.isfinite(passed).sum())
        if n_passed == 0:
            evidence.append(f"It never misreads more than {level * 100:.0f} %.")
            continue
        which = "" if n_passed == passed.size else f" ({n_passed} of {passed.size} trials)"
        evidence.append(f"It passes {level * 100:.0f} % at {written(passed, digits=0)} synapses{which}.")
    return Expectation(claim, verdict([bool(mean_of(there) > limit)]), evidence)


def first_above(synapses: np.ndarray, errors: np.ndarray, level: float) -> float:
    """Number of synapses at which the error of one trial first passes a level, linear in its logarithm between rounds.

    Parameters
    ----------
    synapses, errors
        ``(rounds,)``.
    level
        The error to pass.

    Returns
    -------
    float
        NaN where it is never passed.
    """
    known = np.isfinite(synapses) & np.isfinite(errors) & (synapses > 0)
    synapses, errors = synapses[known], errors[known]
    above = np.flatnonzero(errors > level)
    if not above.size:
        return np.nan
    after = int(above[0])
    if after == 0:
        return float(synapses[0])
    logs = np.log(synapses)
    share = (level - errors[after - 1]) / (errors[after] - errors[after - 1])
    return float(np.exp(logs[after - 1] + share * (logs[after] - logs[after - 1])))


def _random_units_worse(results: xr.Dataset) -> Expectation:
    claim = "Removing whole units at random is worse than FI rules at equal numbers of synapses, after retraining"
    labels = labels_of(results)
    rivals = [name for name in FI_RULES if name in labels]
    if "random-units" not in labels or not rivals:
        return Expectation(claim, UNTESTED, ["The study did not run random-units beside an FI rule."])
    found, smallest = compared_at_equal_synapses(results, "random-units", rivals)
    if not found:
        return Expectation(claim, UNTESTED, ["Test errors at equal numbers of synapses are missing."])
    evidence = [
        f"Compared after every round with {' and '.join(labels[name] for name in rivals)}, at the larger of the two "
        f"numbers of synapses, it is {worse_in_words(results)} in {sum(found)} of {len(found)} comparisons.",
        smallest,
    ]
    return Expectation(claim, verdict(found), evidence)
