"""Verdicts and intervals of recordings have the error rates that they state; 200 simulated recordings of each kind.

``-m slow -s`` prints the rows of the table in docs/trust.md.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from calibration import FALSE_ALARM, LOWEST
from recordings_calibration import gains, information_intervals, true_information
from secateur.recordings.parameters import CONVENTIONS

N_REPEATS = 200
MOST_FIRM = 0.08
"""Share of firm verdicts where there is no difference."""

pytestmark = pytest.mark.slow


def _too_many(hits: int, n: int, share: float) -> bool:
    return bool(binom.sf(hits - 1, n, share) < FALSE_ALARM)


def _too_few(hits: int, n: int, share: float) -> bool:
    return bool(binom.cdf(hits, n, share) < FALSE_ALARM)


@pytest.mark.parametrize("n_epochs", [5, 10, 20])
def test_no_firm_verdicts_on_independent_noise(n_epochs):
    found = gains("noise", n_epochs, 4000, N_REPEATS)
    firm = sum(gain.row["verdict"] in ("better", "worse") for gain in found)
    print(f"| verdict on noise, {n_epochs} epochs | firm in {firm} of {N_REPEATS} |")
    assert firm <= MOST_FIRM * N_REPEATS
    assert all(gain.row["verdict"] != "none" for gain in found)
    # Planted: a loss that is only what the parameters cost, called worse.
    assert _too_many(sum(gain.row["high"] < 0 for gain in found), N_REPEATS, MOST_FIRM)


@pytest.mark.parametrize(
    ("kind", "n_epochs"), [("noise", 5), ("noise", 20), ("pairwise", 8), ("memory", 8), ("memory", 20)]
)
def test_intervals_of_gains_contain_what_new_bins_would_give(kind, n_epochs):
    found = gains(kind, n_epochs, 4000, N_REPEATS)
    value, low, high = (np.array([gain.row[name] for gain in found]) for name in ("value", "low", "high"))
    truth = np.array([gain.truth for gain in found])
    inside = int(((low <= truth) & (truth <= high)).sum())
    print(f"| gain, {kind}, {n_epochs} epochs | {inside / N_REPEATS:.3f} |")
    assert inside >= LOWEST * N_REPEATS
    half = abs(truth - value) <= (high - low) / 6  # planted: a third as wide
    assert _too_few(int(half.sum()), N_REPEATS, LOWEST)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize(("kind", "n_blocks"), [("pairwise", 8), ("memory", 8), ("memory", 20)])
def test_intervals_of_information_contain_that_of_the_true_model(kind, n_blocks, convention):
    found = information_intervals(kind, n_blocks, 8000, N_REPEATS, convention)
    information, of_units = true_information(convention)
    inside = np.array([(i.low <= information) & (information <= i.high) for i in found])
    units = np.array([(i.unit_low <= of_units) & (of_units <= i.unit_high) for i in found])
    what = f"information, {convention}, {kind}, {n_blocks} blocks"
    print(f"| {what} | {inside.mean():.3f} | units {units.mean():.3f} |")
    assert inside.mean() >= LOWEST and units.mean() >= LOWEST
    for parameter in np.concatenate([inside, units], axis=1).T:
        assert not _too_few(int(parameter.sum()), N_REPEATS, LOWEST)
    # Planted: intervals a third as wide about their middle.
    middle, width = (np.array([half(i.low, i.high) for i in found]) for half in (_middle, _width))
    narrow = abs(information - middle) <= width / 6
    assert any(_too_few(int(parameter.sum()), N_REPEATS, LOWEST) for parameter in narrow.T)


def _middle(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return (low + high) / 2


def _width(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return high - low


def test_the_stiffest_couplings_of_a_known_model_are_found():
    """Of the three stiffest true couplings those that the estimates put among their first five."""
    information, _ = true_information("0/1")
    couplings = information[:15]
    stiffest = set(np.argsort(-couplings)[:3])
    found = information_intervals("memory", 8, 8000, N_REPEATS, "0/1")
    kept = [len(stiffest & set(np.argsort(-(i.low + i.high)[:15])[:5])) for i in found]
    assert np.mean(kept) > 2.8
