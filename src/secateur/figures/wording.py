"""How figures and reports put numbers and judgements into words."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from secateur.figures.style import rule_styles
from secateur.figures.summary import mean_and_error

HOLDS, IN_PART, FAILS, UNTESTED = "holds", "holds in part", "does not hold", "not tested"
CHANCE = "beyond chance (Student's t, 95 %)"
"""What a clear difference is called (:func:`secateur.figures.comparisons.clearly_positive`)."""


class Expectation(NamedTuple):
    """Something the study was expected to show.

    Attributes
    ----------
    claim
        What was expected.
    verdict
        Whether it holds.
    evidence
        The numbers behind the verdict, in sentences.
    because
        What the expectation rests on.
    """

    claim: str
    verdict: str
    evidence: list[str]
    because: str = ""


def written(values: np.ndarray, scale: float = 1.0, unit: str = "", digits: int = 1, signed: bool = False) -> str:
    """Mean over trials with its standard error, e.g. ``8.4 ± 0.3 %``; without the error where there is one trial.

    Spaces do not break, so that a number stays on one line.
    """
    mean, error = mean_error(values)
    if not np.isfinite(mean):
        return "not measured"
    text = f"{mean * scale:{'+' if signed else ''},.{digits}f}".replace("-", "−")
    if np.isfinite(error):
        text += f" ± {error * scale:,.{digits}f}"
    return (text + unit).replace(" ", "\N{NO-BREAK SPACE}")


def percent(values: np.ndarray) -> str:
    """A share as percentage (see :func:`written`)."""
    return written(values, 100.0, " %")


def points(values: np.ndarray) -> str:
    """A signed difference of shares in percentage points (see :func:`written`)."""
    return written(values, 100.0, " points", signed=True)


def mean_error(values: np.ndarray) -> tuple[float, float]:
    """Mean over trials and its standard error."""
    mean, error = mean_and_error(xr.DataArray(np.asarray(values, float), dims="trial"))
    return float(mean), float(error)


def mean_of(values: np.ndarray) -> float:
    """Mean over trials that have a value."""
    return mean_error(values)[0]


def verdict(found: list[bool]) -> str:
    """Judgement over several findings."""
    if not found:
        return UNTESTED
    return HOLDS if all(found) else IN_PART if any(found) else FAILS


def nats(values: np.ndarray) -> str:
    """A number of nats (see :func:`written`), finer where it is small."""
    return written(values, digits=3 if abs(mean_of(values)) < 1 else 2, unit=" nats")


def nouns_of(results: xr.Dataset) -> tuple[str, str]:
    """What one row of the data and several are called."""
    one, several = results.attrs.get("nouns", ("row", "rows"))
    return str(one), str(several)


def labels_of(results: xr.Dataset) -> dict[str, str]:
    """What each rule of a study is called."""
    criteria = [str(name) for name in results["criterion"].values]
    return {name: style.label for name, style in rule_styles(criteria).items()}


def share(value: float) -> str:
    """A share as a whole percentage."""
    return f"{value * 100:.0f}\N{NO-BREAK SPACE}%"


def count(number: int, noun: str) -> str:
    """A number of things, e.g. ``3 rounds``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
