"""Our digits study beside the published one: for every published number ours at the same number of synapses."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from secateur.figures.comparisons import at_synapses, errors_left, synapses_left
from secateur.figures.published import DIGITS_END, DIGITS_ERRORS, in_study
from secateur.figures.style import RuleStyle, rule_styles
from secateur.figures.wording import mean_of, percent, points, written

TOLERANCE = 0.005
"""Difference of test errors up to which they are called equal: published values were read off plots."""
WITHIN, BETTER, WORSE, NOT_REACHED = "within 0.5 points", "better", "worse", "not reached"
ERROR_COLUMNS = ("synapses", "published", "ours", "difference", "verdict")
END_COLUMNS = ("synapses", "h1 published", "h1 ours", "h2 published", "h2 ours", "quality published", "quality ours")


class ComparedError(NamedTuple):
    """A published test error and ours of every trial at the same number of synapses.

    Attributes
    ----------
    label, style
        What the row is called, and the rule's style where it is of a rule.
    synapses
        Number of synapses left; ``None`` for the unpruned machine and for raw pixels.
    published
        Published test error, as a share.
    above
        Whether the published error was above the value.
    ours
        Our test errors, ``(trials,)``; NaN where pruning never went that far.
    """

    label: str
    style: RuleStyle | None
    synapses: int | None
    published: float
    above: bool
    ours: np.ndarray

    @property
    def verdict(self) -> str:
        """Whether the mean of ours is within :data:`TOLERANCE` of the published error, better or worse."""
        mean = mean_of(self.ours)
        if not np.isfinite(mean):
            return NOT_REACHED
        if self.above:
            return "above as well" if mean > self.published else "not above"
        difference = mean - self.published
        return WITHIN if abs(difference) <= TOLERANCE else WORSE if difference > 0 else BETTER


def at_published(synapses: np.ndarray, values: np.ndarray, wanted: float) -> np.ndarray:
    """Values of every trial at a number of synapses, linear between rounds in its logarithm.

    Parameters
    ----------
    synapses, values
        ``(trials, rounds)``.
    wanted
        Number of synapses.

    Returns
    -------
    numpy.ndarray
        ``(trials,)``; NaN where pruning never went that far.
    """
    known = np.log(np.where(synapses > 0, synapses, np.nan))
    return at_synapses(known, values, np.full(len(values), np.log(wanted)))


def compared_errors(results: xr.Dataset) -> list[ComparedError]:
    """Every published test error beside ours: unpruned, raw pixels, then by rule from many to few synapses."""
    first = str(results["criterion"].values[0])
    unpruned, pixels = errors_left(results, first)[:, 0], results["pixel_error"].values
    found = [
        ComparedError("unpruned machine", None, None, DIGITS_ERRORS.unpruned, False, unpruned),
        ComparedError("raw pixels", None, None, DIGITS_ERRORS.raw_pixels, False, pixels),
    ]
    for name, style in _styles(results).items():
        values = [(*point, False) for point in DIGITS_ERRORS.after_retraining.get(name, ())]
        if name in DIGITS_ERRORS.above:
            values.append((*DIGITS_ERRORS.above[name], True))
        for number, error, above in values:
            ours = at_published(synapses_left(results, name), errors_left(results, name), number)
            found.append(ComparedError(style.label, style, number, error, above, ours))
    return found


def error_rows(results: xr.Dataset) -> list[dict[str, Any]]:
    """Rows of the table of test errors, for :data:`ERROR_COLUMNS`."""
    rows = []
    for row in compared_errors(results):
        reached = np.isfinite(row.ours).sum()
        some = f" ({reached} of {row.ours.size} trials)" if 0 < reached < row.ours.size else ""
        cells = [
            "–" if row.synapses is None else f"{row.synapses:,}",
            f"{'over ' if row.above else ''}{percent(np.array([row.published]))}",
            NOT_REACHED if row.verdict == NOT_REACHED else percent(row.ours) + some,
            "–" if row.verdict == NOT_REACHED or row.above else points(row.ours - row.published),
            row.verdict,
        ]
        rows.append({"name": row.label, "colour": row.style and row.style.colour, "cells": cells})
    return rows


def end_rows(results: xr.Dataset) -> list[dict[str, Any]]:
    """Rows of the table of units and sample quality at the published end, for :data:`END_COLUMNS`."""
    rows = []
    styles = _styles(results)
    for name, end in in_study(results, DIGITS_END).items():
        of_rule = results.sel(criterion=name).transpose("trial", "round", ...)
        synapses = synapses_left(results, name)
        cells = [f"{end.synapses:,}"]
        for layer, published in enumerate(end.units, start=1):
            ours = at_published(synapses, of_rule["n_units"].isel(layer=layer).values, end.synapses)
            cells += [str(published), _reached(ours, 0)]
        quality = of_rule["sample_quality"].sel(stage="retrained").values
        cells += [f"{end.sample_quality:.3g}", _reached(at_published(synapses, quality, end.synapses), 3)]
        rows.append({"name": styles[name].label, "colour": styles[name].colour, "cells": cells})
    return rows


def markdown(results: xr.Dataset) -> str:
    """Both tables in Markdown, for the documents."""
    errors = _markdown_table(("", *ERROR_COLUMNS), error_rows(results))
    ends = _markdown_table(("", *END_COLUMNS), end_rows(results))
    return "\n\n".join(table for table in (errors, ends) if table) + "\n"


def _styles(results: xr.Dataset) -> dict[str, RuleStyle]:
    return rule_styles([str(name) for name in results["criterion"].values])


def _reached(values: np.ndarray, digits: int) -> str:
    return written(values, digits=digits) if np.isfinite(values).any() else NOT_REACHED


def _markdown_table(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    lines = [columns, ("---", *["--:"] * (len(columns) - 1)), *((row["name"], *row["cells"]) for row in rows)]
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)
