"""How far to believe what a fitted recording says: what speaks for and against it, and one plain conclusion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from secateur.recordings.comparison import Comparison
from secateur.recordings.folds import FEWEST_BLOCKS
from secateur.recordings.stability import RankingStability
from secateur.recordings.stiffness import MOST_OFF, WORDS_PER_PARAMETER, Stiffness

GOOD, POOR = "good", "poor"
MOST_DRIFT = 0.3
"""Correlation of the activity of neighbouring blocks up to which they are as good as independent."""
_N_NAMED = 3


class Ground(NamedTuple):
    """One reason to believe the page or not: what was looked at, what was found, and ``"good"`` or ``"poor"``."""

    what: str
    found: str
    verdict: str


class Belief(NamedTuple):
    """How far to believe a fitted recording.

    Attributes
    ----------
    conclusion
        One or two plain sentences.
    grounds
        What it rests on.
    rankings
        Whether rankings by Fisher information mean something.
    """

    conclusion: str
    grounds: tuple[Ground, ...]
    rankings: bool


def belief(
    n_words: int,
    comparison: Comparison,
    stiff: Stiffness,
    stable: RankingStability,
    noted: Sequence[str] = (),
) -> Belief:
    """The grounds and the conclusion.

    ``stiff``: of the pairwise model, fitted to ``n_words`` words. ``noted``: what else was said not to be trusted.
    """
    n_parameters = len(stiff.parameters)
    ratio = n_words / n_parameters
    split = comparison.folds
    blocks = split.blocks
    n_held = len(np.unique(blocks.numbers[split.ever_held_out]))
    unmixed = [s for s in (*comparison.sentences, *collapsed(list(noted))) if "NOT TO BE TRUSTED" in s]
    mixed = stiff.verdict.trusted and not unmixed
    drifts = blocks.neighbours > MOST_DRIFT
    grounds = (
        Ground(
            "words per parameter",
            f"{ratio:,.3g}: {n_words:,} words, {n_parameters:,} parameters of the pairwise model (10 are needed)",
            _good(ratio >= WORDS_PER_PARAMETER),
        ),
        Ground(
            "independent blocks",
            f"{blocks.sentence}; {n_held} held out ({FEWEST_BLOCKS} are needed)",
            _good(min(n_held, blocks.n_blocks) >= FEWEST_BLOCKS and not drifts),
        ),
        Ground(
            "convergence of the fit",
            f"averages of the pairwise model lie {stiff.misfit:.2f} sampling errors of the recording from its own "
            f"(up to {MOST_OFF} is converged)",
            _good(stiff.misfit <= MOST_OFF),
        ),
        Ground(
            "mixing",
            "all chains mixed, or sums were exact"
            if mixed
            else "; ".join([*stiff.verdict.reasons, *(s.removesuffix(".") for s in unmixed[:1])]),
            _good(mixed),
        ),
        Ground(
            "rankings come out again",
            "; ".join(f"{r['ranking']}: {r['correlation']:.2f}" for r in stable.table.to_dict("records"))
            + " (rank correlation between halves)",
            _good(bool(stable.table["stable"].any())),
        ),
    )
    conclusion, rankings = _conclusion(ratio, n_held, drifts, mixed, stiff, stable)
    return Belief(conclusion, grounds, rankings)


def _good(holds: bool) -> str:
    return GOOD if holds else POOR


def _conclusion(
    ratio: float, n_held: int, drifts: bool, mixed: bool, stiff: Stiffness, stable: RankingStability
) -> tuple[str, bool]:
    """The plain conclusion, and whether rankings mean something."""
    if ratio < WORDS_PER_PARAMETER:
        return (
            f"Rankings mean nothing here: there are {ratio:.2g} words for each parameter of the pairwise model, so its "
            "fit follows noise. Use fewer units, or a longer recording.",
            False,
        )
    if stiff.misfit > MOST_OFF:
        return (
            "Rankings mean nothing here: the pairwise fit has not converged, or holds bursts that the recording never "
            "shows. Leave out the units with the fewest spikes, or take longer bins.",
            False,
        )
    if stiff.without_intervals and math.isnan(stiff.units["information_low"].iloc[0]):
        return f"No interval can be given, so single ranks mean nothing: {stiff.without_intervals[0]}.", False
    if not stable.table["stable"].any():
        return "The models can be compared, but no ranking comes out again in the other half of the recording.", False
    lacking = []
    if n_held < FEWEST_BLOCKS:
        lacking.append("there are too few held-out blocks for verdicts on prediction")
    if drifts:
        lacking.append(
            "activity drifts from block to block, so intervals hold for the stretch that was recorded and are narrow "
            "for what the same animal would show on another day"
        )
    if not mixed:
        lacking.append("some chains have not mixed")
    if lacking:
        return f"To be read with care: {'; '.join(lacking)}.", True
    return "This can be read as it stands: enough words and blocks, a converged fit, chains that mixed.", True


def findings(comparison: Comparison, stiff: Stiffness, stable: RankingStability, belief: Belief) -> list[str]:
    """The sentences a reader needs first: which model predicts, what is stiffest, does it come out again."""
    gains = [s for s in comparison.sentences if " on held-out bins" in s or s.startswith("No verdict on")]
    if not belief.rankings:
        return [*gains, f"The stiffest units and couplings are not named. {belief.conclusion}"]
    return [*gains, *_stiffest(stiff), *stable.sentences]


def _stiffest(stiff: Stiffness) -> list[str]:
    unit = unit_of_information(stiff.convention)
    units = stiff.units.sort_values("rank").head(_N_NAMED)
    couplings = stiff.parameters[stiff.parameters["kind"] == "coupling"].sort_values("rank").head(_N_NAMED)
    whose = f"({stiff.of} matrix, convention {stiff.convention}; Fisher information {unit}, 95 % intervals)"
    of_units = [
        f"{row['unit']}: {_with_limits(row, 'information', 'information_low', 'information_high')}"
        for row in units.to_dict("records")
    ]
    of_couplings = [
        f"{row['first_unit']} with {row['second_unit']}: {_with_limits(row, 'fisher_information', 'low', 'high')}"
        for row in couplings.to_dict("records")
    ]
    return [
        f"Stiffest units {whose}: {'; '.join(of_units)}.",
        f"Stiffest couplings: {'; '.join(of_couplings)}.",
    ]


def _with_limits(row: dict, value: str, low: str, high: str) -> str:
    return f"{row[value]:.3g} ({row[low]:.3g} to {row[high]:.3g})"


def unit_of_information(convention: str) -> str:
    """The unit of Fisher information in words: per squared nat of a parameter, or of a relative change of it."""
    return "per relative change²" if convention == "theta-scaled" else "per nat²"


def collapsed(messages: list[str]) -> list[str]:
    """Messages of which those that differ in numbers only are one, with how many they were."""
    table = pd.DataFrame({"message": messages})
    if not len(table):
        return []
    table["kind"] = table["message"].str.replace(
        r"of the rate of unit .*?\(|of the energy \(|of the population.*?\(", "(", regex=True
    )
    table["kind"] = table["kind"].str.replace(r"[\d.]+", "#", regex=True)
    found = []
    for _, group in table.groupby("kind", sort=False):
        first = str(group["message"].iloc[0])
        found.append(first if len(group) == 1 else f"{first} ({len(group)} messages like this)")
    return found
