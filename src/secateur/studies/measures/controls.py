"""What controls and further schedules show beside the rules; measured by all other measures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
import xarray as xr

from secateur.figures import beside
from secateur.figures.comparisons import clearly_positive, synapses_left
from secateur.figures.likelihoods import trusted
from secateur.figures.panels import Drawing
from secateur.figures.wording import CHANCE, labels_of, mean_of, nouns_of, written
from secateur.studies.lines import ALONE, CONTROLS, SCHEDULES, rules_of
from secateur.studies.measures.measure import Measure, Shown

SECTION = "Beside the rules: controls and schedules"


class _Score(NamedTuple):
    """A quantity by which lines are compared: values after retraining, and how it is told."""

    values: xr.DataArray
    name: str
    axis: str
    scale: float
    digits: int
    unit: str
    more_is_better: bool

    def difference(self, line: str, rule: str, number: int) -> np.ndarray:
        """Of a line against a rule after a round, one per trial; positive where the line is better."""
        one, other = (self.values.sel(criterion=name).isel(round=number).values for name in (line, rule))
        return (one - other) if self.more_is_better else (other - one)


class Controls(Measure):
    """Likelihood and test error of controls and schedules, beside the rules that they belong to."""

    name = "controls"
    section = SECTION

    def figures(self, shown: Shown) -> dict[str, Callable[[], Drawing]]:
        """One figure of controls and one of schedules for each score."""
        found: dict[str, Callable[[], Drawing]] = {}
        for kind, known in (("controls", CONTROLS), ("schedules", SCHEDULES)):
            lines = _beside(shown.all_lines, known)
            for short, score in _scores(shown.all_lines).items() if lines else ():
                found[f"{kind}-{short}"] = partial(_drawn, shown.all_lines, lines, kind, score)
        return found

    def trust(self, shown: Shown) -> list[str]:
        """What a clear difference is."""
        if shown.all_lines.sizes["criterion"] == shown.results.sizes["criterion"]:
            return []
        return [
            "Controls and schedules are compared with their rule trial by trial, positive where they are better; "
            f"better and worse mean {CHANCE}."
        ]

    def findings(self, shown: Shown) -> list[str]:
        """Every control and schedule against its rules after the last round that it took part in."""
        return [
            sentence
            for known in (CONTROLS, SCHEDULES)
            for name in known
            for score in _scores(shown.all_lines).values()
            if (sentence := _compared(shown.all_lines, name, score))
        ]


def _beside(results: xr.Dataset, known: Mapping[str, tuple[str, str]]) -> dict[str, dict[str, str]]:
    """By rule: the lines that stand beside it, by control or schedule."""
    names = [str(name) for name in results["criterion"].values]
    rules = rules_of(names)
    found: dict[str, dict[str, str]] = {}
    for rule in rules:
        lines = {v: f"{rule}/{v}" for v in known if f"{rule}/{v}" in names}
        if ALONE in known and ALONE in names:
            lines[ALONE] = ALONE
        if lines:
            found[rule] = lines
    return found


def _scores(results: xr.Dataset) -> dict[str, _Score]:
    one, several = nouns_of(results)
    found = {}
    if "test_log_likelihood" in results:
        values = trusted(results, "test_log_likelihood").sel(stage="retrained")
        told = f"log-likelihood of unseen {several}"
        found["likelihood"] = _Score(values, told, f"nats per {one}", 1.0, 2, " nats", True)
    if "test_error" in results:
        values = results["test_error"].sel(stage="retrained")
        found["error"] = _Score(values, "test error", "test error (%)", 100.0, 1, " points", False)
    return found


def _drawn(results: xr.Dataset, lines: dict[str, dict[str, str]], kind: str, score: _Score) -> Drawing:
    known = CONTROLS if kind == "controls" else SCHEDULES
    labels = {name: known[name][0] for name in known if any(name in beside_it for beside_it in lines.values())}
    figure = beside.beside_rules(results, score.values * score.scale, lines, labels, score.axis)
    meanings = "; ".join(f"{label}: {known[name][1]}" for name, label in labels.items())
    what = f"{score.name.capitalize()} after retraining, against the number of synapses left. {meanings}."
    title = f"{kind.capitalize()}: {score.name}"
    return beside.drawing(figure, title, what, results)


def _compared(results: xr.Dataset, name: str, score: _Score) -> str:
    """A control or schedule against every rule, in a sentence; empty where there is nothing to compare."""
    labels, parts = labels_of(results), []
    for rule, line in _pairs(results, name):
        number = _last_round(score, line)
        difference = score.difference(line, rule, number)
        if not np.isfinite(mean_of(difference)):
            continue
        clear = "better" if clearly_positive(difference) else "worse" if clearly_positive(-difference) else "not clear"
        told = written(difference, score.scale, score.unit, score.digits, signed=True)
        parts.append(f"{labels[rule]} {told} ({clear}{_sizes(results, line, rule, number)})")
    if not parts:
        return ""
    label, _ = (CONTROLS | SCHEDULES)[name]
    return f"{label[0].upper()}{label[1:]}, less the rule itself, in {score.name} at the end: {', '.join(parts)}."


def _sizes(results: xr.Dataset, line: str, rule: str, number: int) -> str:
    """How many synapses the two have, where that is not the same."""
    one, other = (mean_of(synapses_left(results, name)[:, number]) for name in (line, rule))
    return "" if abs(one - other) <= 0.01 * other else f", with {one:,.0f} synapses for {other:,.0f}"


def _pairs(results: xr.Dataset, name: str) -> Iterator[tuple[str, str]]:
    for known in (CONTROLS, SCHEDULES):
        for rule, lines in _beside(results, known).items():
            if name in lines:
                yield rule, lines[name]


def _last_round(score: _Score, line: str) -> int:
    """The last round of which a line has a score; 0 if none."""
    known = np.isfinite(score.values.sel(criterion=line).transpose("round", "trial").values).any(axis=1)
    return int(np.flatnonzero(known).max(initial=0))
