"""What a digits study found, in sentences: a headline per rule, and whether each expectation holds."""

from __future__ import annotations

import numpy as np
import xarray as xr

from secateur.figures.style import rule_styles
from secateur.figures.summary import FI_RULES, hidden_units, total_synapses
from secateur.report.wording import (
    CLEAR,
    UNTESTED,
    Expectation,
    Headline,
    clearly_positive,
    labels_of,
    mean_error,
    mean_of,
    percent,
    points,
    verdict,
    written,
)

POINTS_AT_HALF = 3.0
POINTS_UNPRUNED = 2.0


def headlines(results: xr.Dataset) -> list[Headline]:
    """What pruning by each rule does to the test error and to the hidden units, one sentence per rule."""
    criteria = [str(name) for name in results["criterion"].values]
    return [Headline(name, style, _headline(results, name)) for name, style in rule_styles(criteria).items()]


def expectations(results: xr.Dataset) -> list[Expectation]:
    """The four expectations of the digits study, judged by the data."""
    return [_error_at_half(results), _anti_fi_worst(results), _units_removed(results), _unpruned_reads(results)]


def synapses_left(results: xr.Dataset, criterion: str) -> np.ndarray:
    """Synapses left, ``(trials, rounds)``."""
    return total_synapses(results).sel(criterion=criterion).transpose("trial", "round").values


def retrained_errors(results: xr.Dataset, criterion: str) -> np.ndarray:
    """Test error after retraining, ``(trials, rounds)``."""
    errors = results["test_error"].sel(criterion=criterion, stage="retrained")
    return errors.transpose("trial", "round").values


def hidden_units_left(results: xr.Dataset, criterion: str) -> np.ndarray:
    """Hidden units left, ``(trials, rounds)``."""
    return hidden_units(results).sel(criterion=criterion).transpose("trial", "round").values


def at_synapses(synapses: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Values of every trial at a number of synapses, interpolated linearly between rounds.

    Parameters
    ----------
    synapses, values
        ``(trials, rounds)``.
    wanted
        Number of synapses for each trial.

    Returns
    -------
    numpy.ndarray
        One value per trial; NaN where pruning never went that far or a value is missing.
    """
    found = np.full(len(wanted), np.nan)
    for trial, number in enumerate(wanted):
        known = np.isfinite(synapses[trial])
        if known.any() and synapses[trial][known].min() <= number:
            order = np.argsort(synapses[trial][known], kind="stable")
            found[trial] = np.interp(number, synapses[trial][known][order], values[trial][known][order])
    return found


def _headline(results: xr.Dataset, criterion: str) -> str:
    synapses, errors, units = (
        part(results, criterion) for part in (synapses_left, retrained_errors, hidden_units_left)
    )
    at_half = at_synapses(synapses, errors, synapses[:, 0] / 2)
    n_rounds = int(results["round"].values[-1])
    rounds = "one round" if n_rounds == 1 else f"{n_rounds} rounds"
    last = f"after {rounds} nothing was measured."
    if np.isfinite(mean_of(errors[:, -1] + units[:, -1] + synapses[:, -1])):
        last = (
            f"after {rounds}, with {mean_of(synapses[:, -1] / synapses[:, 0]) * 100:.0f}\N{NO-BREAK SPACE}% of the "
            f"synapses, it misreads {percent(errors[:, -1])} and has lost {percent(1 - units[:, -1] / units[:, 0])} of "
            "its hidden units."
        )
    if not np.isfinite(mean_of(at_half)):
        return f"half of the synapses was not reached; {last}"
    within = mean_of(at_half - errors[:, 0]) <= POINTS_AT_HALF / 100
    return (
        f"at half of the synapses the machine misreads {percent(at_half)} of the test digits "
        f"(unpruned {percent(errors[:, 0])}; {points(at_half - errors[:, 0])}, "
        f"{'within' if within else 'more than'} {POINTS_AT_HALF:.0f}); {last}"
    )


def _error_at_half(results: xr.Dataset) -> Expectation:
    claim = (
        f"FI rules and |w| keep the test error within {POINTS_AT_HALF:.0f} percentage points of the unpruned machine "
        "at half of the synapses"
    )
    found, evidence = [], []
    labels = labels_of(results)
    for criterion in (name for name in (*FI_RULES, "weight-magnitude") if name in labels):
        synapses, errors = synapses_left(results, criterion), retrained_errors(results, criterion)
        change = at_synapses(synapses, errors, synapses[:, 0] / 2) - errors[:, 0]
        mean, error = mean_error(change)
        if not np.isfinite(mean):
            evidence.append(f"{labels[criterion]}: not tested, half of the synapses was not reached.")
            continue
        found.append(mean <= POINTS_AT_HALF / 100)
        close = abs(mean - POINTS_AT_HALF / 100) < CLEAR * error
        evidence.append(
            f"{labels[criterion]}: {points(change)}, {'within' if found[-1] else 'beyond'} the limit"
            f"{', but by less than two standard errors' if close else ''}."
        )
    if not evidence:
        evidence.append("The study ran none of these rules.")
    elif found:
        evidence.append(
            "Test errors are those after retraining, interpolated linearly between rounds in the number of synapses; "
            "differences are taken within each trial."
        )
    return Expectation(claim, verdict(found), evidence)


def _anti_fi_worst(results: xr.Dataset) -> Expectation:
    claim = "Anti-FI is clearly the worst rule at equal numbers of synapses"
    labels = labels_of(results)
    others = [name for name in labels if name != "anti-fi"]
    if "anti-fi" not in labels or not others:
        return Expectation(claim, UNTESTED, ["The study did not run anti-FI beside another rule."])
    found, smallest = compared_at_equal_synapses(results, "anti-fi", others)
    if not found:
        return Expectation(claim, UNTESTED, ["Test errors at equal numbers of synapses are missing."])
    evidence = [
        f"Compared with each of the other rules after every round, at the larger of the two numbers of synapses, the "
        f"machine pruned by anti-FI is {worse_in_words(results)} in {sum(found)} of {len(found)} comparisons.",
        smallest,
    ]
    return Expectation(claim, verdict(found), evidence)


def compared_at_equal_synapses(results: xr.Dataset, loser: str, rivals: list[str]) -> tuple[list[bool], str]:
    """Whether a rule is clearly worse than others after retraining: one comparison per rival and round.

    They are compared at the larger of the two numbers of synapses that the rules have left after the round; with one
    trial any difference counts.

    Returns
    -------
    tuple
        The comparisons that could be made, and the smallest difference in a sentence.
    """
    labels = labels_of(results)
    found, smallest = [], (np.inf, "")
    for number in range(1, results.sizes["round"]):
        for other in rivals:
            left = np.maximum(synapses_left(results, loser)[:, number], synapses_left(results, other)[:, number])
            worse, rival = (
                at_synapses(synapses_left(results, n), retrained_errors(results, n), left) for n in (loser, other)
            )
            if not np.isfinite(mean_of(worse - rival)):
                continue
            found.append(clearly_positive(worse - rival))
            if mean_of(worse - rival) < smallest[0]:
                where = f"{points(worse - rival)} against {labels[other]} at {mean_of(left):,.0f} synapses"
                smallest = (mean_of(worse - rival), f"The smallest difference is {where} (round {number}).")
    return found, smallest[1]


def worse_in_words(results: xr.Dataset) -> str:
    """What is called worse in :func:`compared_at_equal_synapses`."""
    single = results.sizes["trial"] == 1
    return "worse (one trial, so chance cannot be told apart)" if single else "worse by more than two standard errors"


def _units_removed(results: xr.Dataset) -> Expectation:
    claim = "FI rules remove more hidden units than |w| and random"
    labels = labels_of(results)
    informed = [name for name in FI_RULES if name in labels]
    controls = [name for name in ("weight-magnitude", "random") if name in labels]
    if not informed or not controls:
        return Expectation(claim, UNTESTED, ["The study did not run an FI rule beside |w| or random."])
    compared = [*informed, *controls]
    left = np.max([np.nanmin(_filled(synapses_left(results, name)), axis=1) for name in compared], axis=0)
    removed = {}
    for name in compared:
        units = hidden_units_left(results, name)
        removed[name] = units[:, 0] - at_synapses(synapses_left(results, name), units, left)
    differences = [removed[rule] - removed[control] for rule in informed for control in controls]
    found = [clearly_positive(d) for d in differences if np.isfinite(mean_of(d))]
    if not found:
        return Expectation(claim, UNTESTED, ["Numbers of units are missing."])
    numbers = ", ".join(f"{labels[name]} {written(removed[name])}" for name in compared)
    evidence = [
        f"Hidden units removed when {mean_of(left):,.0f} synapses are left, the fewest that every one of these rules "
        f"reached: {numbers}."
    ]
    if results.sizes["trial"] > 1:
        evidence.append(f"More by over two standard errors in {sum(found)} of {len(found)} comparisons.")
    return Expectation(claim, verdict(found), evidence)


def _filled(synapses: np.ndarray) -> np.ndarray:
    """Synapse counts with infinity where a trial has none at all, so that its minimum exists."""
    return np.where(np.isfinite(synapses).any(axis=1, keepdims=True), synapses, np.inf)


def _unpruned_reads(results: xr.Dataset) -> Expectation:
    claim = (
        f"The unpruned machine's test error is no worse than that of raw pixels plus {POINTS_UNPRUNED:.0f} percentage "
        "points"
    )
    criterion = str(results["criterion"].values[0])
    unpruned, pixels = retrained_errors(results, criterion)[:, 0], results["pixel_error"].values
    difference = mean_of(unpruned - pixels)
    if not np.isfinite(difference):
        return Expectation(claim, UNTESTED, ["The test error before pruning or that of raw pixels is missing."])
    evidence = [
        f"Logistic regression misreads {percent(unpruned)} of the test digits from the unpruned machine's top layer "
        f"and {percent(pixels)} from raw pixels: {points(unpruned - pixels)}."
    ]
    return Expectation(claim, verdict([difference <= POINTS_UNPRUNED / 100]), evidence)
