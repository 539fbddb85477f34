"""What the top layer tells about the label (Scholl, Rule & Hennig 2021, Methods, "Evaluation")."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import xarray as xr

from secateur.figures import curves
from secateur.figures.comparisons import (
    at_synapses,
    clearly_positive,
    compared_at_equal_synapses,
    errors_left,
    quantile,
    synapses_left,
    worse_in_words,
)
from secateur.figures.panels import Drawing
from secateur.figures.summary import FI_RULES
from secateur.figures.wording import (
    UNTESTED,
    Expectation,
    labels_of,
    mean_error,
    mean_of,
    nouns_of,
    percent,
    points,
    verdict,
)
from secateur.model.randomness import child_key
from secateur.studies import evaluation
from secateur.studies.measures.measure import Cell, Measure, Measured, Shown, Stage, Trials
from secateur.studies.schema import STAGE, Variable

POINTS_AT_HALF = 3.0
POINTS_UNPRUNED = 2.0
_PAPER = "Scholl, Rule & Hennig 2021, Figure 3"


def judges_of(trials: Trials) -> list[evaluation.Classifier]:
    """Classifiers of raw training rows, one per trial, which judge test rows and samples."""

    def fit(trials: Trials) -> list[evaluation.Classifier]:
        pairs = zip(trials.data, trials.keys, strict=True)
        return [
            evaluation.fit_classifier(data.train, data.classes[0], child_key(key, "digit classifier"))
            for data, key in pairs
        ]

    return trials.once("judges", fit)


class Encoding(Measure):
    """Test error of multinomial logistic regression on the top layer's mean-field probabilities."""

    name = "encoding"
    needs = ("labels",)
    section = "Encoding: what the top layer tells about the label"
    variables = {
        "test_error": Variable(STAGE, "1", "share of test rows misread from the top layer by logistic regression"),
        "pixel_error": Variable(("trial",), "1", "share of test rows misread from the raw rows by logistic regression"),
    }

    def prepare(self, trials: Trials) -> None:
        """The classifiers of raw rows."""
        judges_of(trials)

    def once(self, at: Stage) -> Measured:
        """Test error of the same classifier on raw rows."""
        pairs = zip(judges_of(at.trials), at.trials.data, strict=True)
        return {"pixel_error": np.array([1 - judge.accuracy(data.test, data.classes[1]) for judge, data in pairs])}

    def stage(self, at: Stage) -> Measured:
        """Test error on the top layer."""
        train, (test, _) = at.encode(at.trials.visible)[0], at.encoded_test
        keys = child_key(at.keys, "classifier")
        errors = []
        for place, (data, key) in enumerate(zip(at.trials.data, keys, strict=True)):
            reader = evaluation.fit_classifier(train[place], data.classes[0], key)
            errors.append(1 - reader.accuracy(test[place], data.classes[1]))
        return {"test_error": np.array(errors)}

    def figures(self, shown: Shown) -> dict[str, Callable[[], Drawing]]:
        """Errors over synapses and rounds, and what retraining brings back."""
        return {
            "test-error-over-synapses": partial(curves.test_error_over_synapses, shown.results),
            "test-error-over-rounds": partial(curves.test_error_over_rounds, shown.results),
            "retraining-gain": partial(curves.retraining_gain, shown.results),
        }

    def columns(self, shown: Shown) -> dict[str, Cell]:
        """Errors right after pruning and after retraining."""

        def cell(stage: str) -> Cell:
            return lambda last: percent(last["test_error"].sel(stage=stage).values)

        return {f"test error, {stage}": cell(stage) for stage in ("pruned", "retrained")}

    def reference_rows(self, shown: Shown) -> dict[str, dict[str, str]]:
        """The classifier of raw rows."""
        pixels = percent(shown.results["pixel_error"].values)
        return {f"raw {nouns_of(shown.results)[1]}": dict.fromkeys(self.columns(shown), pixels)}

    def clause(self, shown: Shown, criterion: str) -> str | None:
        """Test errors at half of the synapses and at the end."""
        synapses, errors = (part(shown.results, criterion) for part in (synapses_left, errors_left))
        at_half = at_synapses(synapses, errors, synapses[:, 0] / 2)
        last = f"{percent(errors[:, -1])} at the end"
        if not np.isfinite(mean_of(errors[:, -1])):
            return None
        unpruned = f"(unpruned {percent(errors[:, 0])}"
        if not np.isfinite(mean_of(at_half)):
            return f"the machine misreads {last} {unpruned}; half of the synapses was not reached)"
        within = mean_of(at_half - errors[:, 0]) <= POINTS_AT_HALF / 100
        limit = f"{'within' if within else 'more than'} {POINTS_AT_HALF:.0f}"
        return (
            f"the machine misreads {percent(at_half)} of the test {nouns_of(shown.results)[1]} at half of the synapses "
            f"{unpruned}; {points(at_half - errors[:, 0])}, {limit}) and {last}"
        )

    def remarks(self, shown: Shown) -> list[str]:
        """Rules that do worse than chance removal, and a top layer that tells less than the raw rows."""
        return [*_below_random(shown.results), *_below_pixels(shown.results)]

    def expectations(self, shown: Shown) -> list[Expectation]:
        """What FI rules keep, what anti-FI loses, what the unpruned machine reads."""
        results = shown.results
        return [_error_at_half(results), _anti_fi_worst(results), _unpruned_reads(results)]


def _below_random(results: xr.Dataset) -> list[str]:
    labels = labels_of(results)
    if "random" not in labels:
        return []
    worse = []
    for name in (*FI_RULES, "weight-magnitude"):
        if name in labels:
            left = np.maximum(synapses_left(results, name)[:, -1], synapses_left(results, "random")[:, -1])
            ours, random = (
                at_synapses(synapses_left(results, n), errors_left(results, n), left) for n in (name, "random")
            )
            if mean_of(ours - random) > 0:
                clear = "clearly" if clearly_positive(ours - random) else "within chance"
                worse.append(f"{labels[name]} by {points(ours - random)} ({clear})")
    if not worse:
        return []
    return [
        f"Worse than random removal at the end, at equal numbers of synapses: {', '.join(worse)}. A rule that chooses "
        "should not lose to one that does not: look whether the zero rule took more than the fraction, whether "
        "retraining is too short, and how far importance is to be trusted."
    ]


def _below_pixels(results: xr.Dataset) -> list[str]:
    unpruned = errors_left(results, str(results["criterion"].values[0]))[:, 0]
    difference = unpruned - results["pixel_error"].values
    if not clearly_positive(difference):
        return []
    return [
        f"The unpruned machine's top layer tells less about the label than the raw {nouns_of(results)[1]} do "
        f"({points(difference)}): what pruning keeps or loses is then little worth. Train longer, or take more hidden "
        "units."
    ]


def _error_at_half(results: xr.Dataset) -> Expectation:
    claim = (
        f"FI rules and |w| keep the test error within {POINTS_AT_HALF:.0f} percentage points of the unpruned machine "
        "at half of the synapses"
    )
    why = f"{_PAPER}: their curves stay flat down to a fifth of the synapses; the limit of 3 points is ours"
    found, evidence = [], []
    labels = labels_of(results)
    for criterion in (name for name in (*FI_RULES, "weight-magnitude") if name in labels):
        synapses, errors = synapses_left(results, criterion), errors_left(results, criterion)
        change = at_synapses(synapses, errors, synapses[:, 0] / 2) - errors[:, 0]
        mean, error = mean_error(change)
        if not np.isfinite(mean):
            evidence.append(f"{labels[criterion]}: not tested, half of the synapses was not reached.")
            continue
        found.append(mean <= POINTS_AT_HALF / 100)
        close = abs(mean - POINTS_AT_HALF / 100) < quantile(change) * error
        evidence.append(
            f"{labels[criterion]}: {points(change)}, {'within' if found[-1] else 'beyond'} the limit"
            f"{', but not beyond chance' if close else ''}."
        )
    if not evidence:
        evidence.append("The study ran none of these rules.")
    elif found:
        evidence.append(
            "Test errors are those after retraining, interpolated linearly between rounds in the number of synapses; "
            "differences are taken within each trial."
        )
    return Expectation(claim, verdict(found), evidence, why)


def _anti_fi_worst(results: xr.Dataset) -> Expectation:
    claim = "Anti-FI is clearly the worst rule at equal numbers of synapses"
    why = f"{_PAPER}: removing the most informative synapses first destroys the code in two rounds"
    labels = labels_of(results)
    others = [name for name in labels if name != "anti-fi"]
    if "anti-fi" not in labels or not others:
        return Expectation(claim, UNTESTED, ["The study did not run anti-FI beside another rule."], why)
    found, smallest = compared_at_equal_synapses(results, "anti-fi", others)
    if not found:
        return Expectation(claim, UNTESTED, ["Test errors at equal numbers of synapses are missing."], why)
    evidence = [
        f"Compared with each of the other rules after every round, at the larger of the two numbers of synapses, the "
        f"machine pruned by anti-FI is {worse_in_words(results)} in {sum(found)} of {len(found)} comparisons.",
        smallest,
    ]
    return Expectation(claim, verdict(found), evidence, why)


def _unpruned_reads(results: xr.Dataset) -> Expectation:
    claim = (
        f"The unpruned machine's test error is no worse than that of raw {nouns_of(results)[1]} plus "
        f"{POINTS_UNPRUNED:.0f} percentage points"
    )
    why = f"{_PAPER}: 4.9 % from the top layer, 8.4 % from raw pixels"
    criterion = str(results["criterion"].values[0])
    unpruned, pixels = errors_left(results, criterion)[:, 0], results["pixel_error"].values
    difference = mean_of(unpruned - pixels)
    if not np.isfinite(difference):
        missing = ["The test error before pruning or that of raw rows is missing."]
        return Expectation(claim, UNTESTED, missing, why)
    nouns = nouns_of(results)[1]
    evidence = [
        f"Logistic regression misreads {percent(unpruned)} of the test {nouns} from the unpruned machine's top layer "
        f"and {percent(pixels)} of the raw {nouns}: {points(unpruned - pixels)}."
    ]
    return Expectation(claim, verdict([difference <= POINTS_UNPRUNED / 100]), evidence, why)
