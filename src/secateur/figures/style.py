"""One look for all figures: a colour, a marker and a name per rule, the same in every figure and report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from zlib import crc32

WIDTH = 5.0
"""Width of every figure in inches: text of 11 points stays readable when a phone shows the figure 9 cm wide."""

RC: dict[str, Any] = {
    "font.size": 11.5,
    "axes.labelsize": 11.5,
    "axes.titlesize": 11.5,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "legend.fontsize": 11,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "lines.linewidth": 1.6,
    "lines.markersize": 5.5,
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,  # text in PDF files stays text
    "text.parse_math": False,  # a rule's name may hold a dollar sign
}
"""matplotlib settings that hold while figures are drawn, on top of matplotlib's own defaults."""

REFERENCE_COLOUR = "#222222"


class RuleStyle(NamedTuple):
    """How a rule looks and what it is called in figures and reports."""

    label: str
    colour: str
    marker: str


# Okabe & Ito's palette without yellow and black, then dark colours of Paul Tol's "muted" scheme for the unit controls:
# both can be told apart with any common colour blindness, and markers differ as well.
RULE_STYLES: dict[str, RuleStyle] = {
    "variance-fi": RuleStyle("variance FI", "#0072B2", "o"),
    "heuristic-fi": RuleStyle("heuristic FI", "#56B4E9", "s"),
    "eigenvector-fi": RuleStyle("eigenvector FI", "#009E73", "^"),
    "weight-magnitude": RuleStyle("|w|", "#E69F00", "D"),
    "random": RuleStyle("random", "#6E6E6E", "X"),
    "anti-fi": RuleStyle("anti-FI", "#D55E00", "v"),
    "fi-times-weight-squared": RuleStyle("FI × w²", "#CC79A7", "P"),
    "random-units": RuleStyle("random units", "#882255", "<"),
    "weakest-units": RuleStyle("weakest units", "#999933", ">"),
    "least-fi-units": RuleStyle("least-FI units", "#332288", "h"),
    "decimation-kl": RuleStyle("decimation KL", "#117733", "p"),
    "likelihood-loss": RuleStyle("likelihood loss", "#661100", "*"),
    "greedy-likelihood": RuleStyle("greedy likelihood", "#BBAA00", "H"),
    "optimal-brain-surgeon": RuleStyle("Optimal Brain Surgeon", "#BB5566", "1"),
    "unit-kl": RuleStyle("unit KL", "#44AA99", "d"),
    "unit-information": RuleStyle("unit information", "#AA4499", "8"),
}
"""Styles of the rules that come with secateur, by the name a user types."""

_FURTHER = [(colour, marker) for marker in "H1234" for colour in ("#CC6677", "#999999", "#4477AA", "#AA7744")]


def rule_styles(criteria: Sequence[str]) -> dict[str, RuleStyle]:
    """Style of every rule of a study.

    A rule of the user's own gets a style that depends on its name alone, unless two of them in the study would get the
    same.
    """
    styles = {name: RULE_STYLES[name] for name in criteria if name in RULE_STYLES}
    taken: set[int] = set()
    for name in sorted(set(criteria) - set(styles)):
        place = crc32(name.encode()) % len(_FURTHER)
        while place in taken and len(taken) < len(_FURTHER):
            place = (place + 1) % len(_FURTHER)
        taken.add(place)
        # matplotlib leaves labels that begin with an underscore out of legends.
        label = " ".join(name.lstrip("_").split()) or "…"
        styles[name] = RuleStyle(label if len(label) <= 24 else f"{label[:23]}…", *_FURTHER[place])
    return {name: styles[name] for name in criteria}
