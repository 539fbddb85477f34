"""What the page of a study says beside its figures: findings, remarks, expectations and tables of all its measures."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from secateur.figures.images import LARGEST_R_HAT
from secateur.figures.published import CITATION, is_published_digits, is_published_schedule
from secateur.figures.style import RuleStyle, rule_styles
from secateur.figures.wording import FAILS, IN_PART, Expectation, count
from secateur.report import published_patches
from secateur.report.published_comparison import END_COLUMNS, ERROR_COLUMNS, end_rows, error_rows
from secateur.report.published_digits import paper_expectations
from secateur.report.settings import what_ran
from secateur.studies.measures import Measure, Shown, measured, unknown

_MANY = 0.25
"""Share of measurements of importance from unmixed chains above which the report remarks on it."""


class Headline(NamedTuple):
    """One sentence about a rule."""

    criterion: str
    style: RuleStyle
    sentence: str


def findings_content(shown: Shown) -> dict[str, Any]:
    """Findings, settings and tables of a study, for the template."""
    results, measures = shown.results, measured(shown.results)
    beside = is_published_digits(results) and "test_error" in results
    expected = expectations(shown)
    columns, rows = _final_table(shown, measures)
    return {
        "what_ran": what_ran(results, shown.config),
        "headlines": headlines(shown),
        "findings": [sentence for measure in measures for sentence in measure.findings(shown)],
        "remarks": [
            *_failed(expected),
            *_unmixed(results),
            *_unknown(results),
            *(sentence for measure in measures for sentence in measure.remarks(shown)),
        ],
        "expectations": expected,
        "trust": [sentence for measure in measures for sentence in measure.trust(shown)],
        "final_columns": columns,
        "final_rows": rows,
        "citation": CITATION if beside else None,
        "same_schedule": beside and is_published_schedule(results),
        "published_errors": (ERROR_COLUMNS, error_rows(results) if beside else []),
        "published_ends": (END_COLUMNS, end_rows(results) if beside and "sample_quality" in results else []),
    }


def headlines(shown: Shown) -> list[Headline]:
    """What pruning by each rule does, one sentence per rule."""
    found = []
    for name, style in rule_styles([str(n) for n in shown.results["criterion"].values]).items():
        clauses = [clause for m in measured(shown.results) if (clause := m.clause(shown, name)) is not None]
        rounds = count(int(shown.results["round"].values[-1]), "round").replace("1 round", "one round")
        told = "; ".join(clauses) if clauses else "nothing was measured"
        found.append(Headline(name, style, f"after {rounds}: {told}."))
    return found


def expectations(shown: Shown) -> list[Expectation]:
    """What was expected, of the measures and of the published studies."""
    found = [expectation for measure in measured(shown.results) for expectation in measure.expectations(shown)]
    if is_published_digits(shown.results) and "test_error" in shown.results:
        found += paper_expectations(shown.results)
    return found + published_patches.expectations(shown.results, shown.config)


def _unmixed(results: xr.Dataset) -> list[str]:
    """That rules chose by importance from chains which had mostly not mixed."""
    r_hats = results["split_r_hat"].values
    r_hats = r_hats[np.isfinite(r_hats)]
    n_high = int((r_hats > LARGEST_R_HAT).sum())
    if not r_hats.size or n_high <= _MANY * r_hats.size:
        return []
    return [
        f"In {n_high} of {r_hats.size} measurements of importance some unit's chains had not mixed (split R-hat above "
        f"{LARGEST_R_HAT}), most often units that are hardly ever active: which synapses such a unit loses is partly "
        "chance, and rankings of single units are not shown. Longer or tempered chains help (importance.n_burn_in, "
        "importance.sampler)."
    ]


def _unknown(results: xr.Dataset) -> list[str]:
    """That measures of the user's own are not at hand, whose values are stored."""
    names = unknown(results)
    if not names:
        return []
    return [
        f"What {', '.join(names)} measured is stored in results.nc but not shown: this report was drawn where that "
        "measure is not registered (in Python: import its module, register it, and call write_report)."
    ]


def _failed(expected: list[Expectation]) -> list[str]:
    """Expectations that do not hold, in a sentence."""
    failed = [expectation.claim for expectation in expected if expectation.verdict == FAILS]
    partly = [expectation.claim for expectation in expected if expectation.verdict == IN_PART]
    sentences = []
    if failed:
        sentences.append(f"Expected, but not found: {'; '.join(failed)}.")
    if partly:
        sentences.append(f"Expected, and found in part only: {'; '.join(partly)}.")
    return sentences


def _final_table(shown: Shown, measures: list[Measure]) -> tuple[list[str], list[dict[str, Any]]]:
    """What is left after the last round, beside the unpruned machine and the references of the measures."""
    results = shown.results
    columns = {header: cell for measure in measures for header, cell in measure.columns(shown).items()}

    def row(name: str, colour: str | None, last: xr.Dataset) -> dict[str, Any]:
        return {"name": name, "colour": colour, "cells": [cell(last) for cell in columns.values()]}

    rows = [row("unpruned", None, results.isel(criterion=0, round=0))]
    for name, style in rule_styles([str(n) for n in results["criterion"].values]).items():
        rows.append(row(style.label, style.colour, results.sel(criterion=name).isel(round=-1)))
    references: dict[str, dict[str, str]] = {}
    for measure in measures:
        for name, cells in measure.reference_rows(shown).items():
            references.setdefault(name, {}).update(cells)
    for name, cells in references.items():
        rows.append({"name": name, "colour": None, "cells": [cells.get(header, "–") for header in columns]})
    return list(columns), rows
