"""Intervals of Fisher information against refits that leave a block out, and the rule for rare events."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy import stats

from pairwise_brute_force import PairwiseBruteForce, small_model
from secateur import fisher
from secateur.model.pairwise import PairwiseModel
from secateur.recordings import stiffness
from secateur.recordings.intervals import BlockSums, intervals, misfit, proportions, relative_influence
from secateur.recordings.parameters import CONVENTIONS, Convention, group_sums, parameter_list
from secateur.training import fit_pairwise

KEY = jax.random.key(0)
N_BLOCKS, N_BINS = 12, 3600
BLOCKS = np.repeat(np.arange(N_BLOCKS), N_BINS // N_BLOCKS)


@pytest.fixture(scope="module")
def words() -> np.ndarray:
    return PairwiseBruteForce(small_model(4)).words(N_BINS)


def _block_sums(words: np.ndarray, blocks: np.ndarray = BLOCKS) -> BlockSums:
    n = words.shape[1]
    listed = parameter_list(PairwiseModel(np.zeros(n), np.zeros((n, n))))
    sums = group_sums(listed, words.astype(np.float32), blocks, "joint", "0/1")
    return BlockSums(sums.first, sums.counts)


def _root(words: np.ndarray, convention: Convention) -> np.ndarray:
    """The number whose square or ``q (1 - q)`` is the information, from a fit to words."""
    model = fit_pairwise(words, KEY)[0]
    p = PairwiseBruteForce(model).coincidences
    q = np.concatenate([p[np.triu_indices(4, 1)], p.diagonal()])
    listed = parameter_list(model)
    if convention == "theta-scaled":
        return listed.values * np.sqrt(q * (1 - q))
    return proportions(listed, q[None, :], convention)[0]


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_influences_of_blocks_are_those_of_refits_without_them(words, convention):
    """One Newton step against a fit that leaves the block out: pseudo-values agree, and so do standard errors."""
    whole = _root(words, convention)
    refits = np.array([_root(words[BLOCKS != block], convention) for block in range(N_BLOCKS)])
    changes = (N_BLOCKS - 1) / N_BLOCKS * (whole - refits)
    model, sums = fit_pairwise(words, KEY)[0], _block_sums(words)
    listed = parameter_list(model)
    events = BlockSums(proportions(listed, sums.sums, convention), sums.sizes)
    if convention == "theta-scaled":
        q = events.sums.sum(axis=0) / N_BINS
        found = relative_influence(listed, events, q, fisher.matrix(model, "exact").dense(), 0.0)[1]
    else:
        found = events.deviations() / N_BINS
    for parameter in range(len(whole)):
        assert np.corrcoef(found[:, parameter], changes[:, parameter])[0, 1] > 0.99
    np.testing.assert_allclose(found.std(axis=0), changes.std(axis=0), rtol=0.1)


def test_the_interval_of_a_proportion_by_hand(words):
    """Student's width on the proportion where events are many, mapped by ``q (1 - q)``."""
    listed, sums = parameter_list(fit_pairwise(words, KEY)[0]), _block_sums(words)
    found = intervals(listed, sums, "0/1")
    each = sums.sums / sums.sizes[:, None]
    q, error = each.mean(axis=0), each.std(axis=0, ddof=1) / np.sqrt(N_BLOCKS)
    low = q - stats.t.ppf(0.975, N_BLOCKS - 1) * error
    small = (q < 0.3) & (error**2 > q * (1 - q) / N_BINS)
    assert small.sum() >= 2
    np.testing.assert_allclose(found.low[small], (low * (1 - low))[small], rtol=0.06)


def test_pairs_that_never_coincide_have_an_upper_limit():
    rng = np.random.default_rng(0)
    words = (rng.random((2000, 6)) < 0.04).astype(np.uint8)
    words[words[:, 0] == 1, 1] = 0  # chance alone would give about 3 bins
    model = fit_pairwise(words, KEY)[0]
    table = stiffness(model, words, np.repeat(np.arange(20), 100), KEY).parameters
    pair = table[(table["first_unit"] == "0") & (table["second_unit"] == "1")].iloc[0]
    assert pair["low"] == 0 and 3 / 2000 < pair["high"] < 8 / 2000
    relative = stiffness(model, words, np.repeat(np.arange(20), 100), KEY, convention="theta-scaled").parameters
    pair = relative[(relative["first_unit"] == "0") & (relative["second_unit"] == "1")].iloc[0]
    assert pair["low"] == 0 and pair["high"] > 4 * pair["fisher_information"]


def test_the_information_at_one_half_is_bounded_by_its_maximum():
    words = (np.random.default_rng(1).random((N_BINS, 3)) < 0.5).astype(np.uint8)
    listed, sums = parameter_list(fit_pairwise(words, KEY)[0]), _block_sums(words)
    found = intervals(listed, sums, "+-1")
    assert (found.high <= 1).all() and (found.high > 0.99).all() and (found.low > 0.9).all()


def test_misfit_counts_sampling_errors_of_the_recording(words):
    """Averages one standard error off are off by one; those of the fit by nothing."""
    model, sums = fit_pairwise(words, KEY)[0], _block_sums(words)
    p = PairwiseBruteForce(model).coincidences
    q = np.concatenate([p[np.triu_indices(4, 1)], p.diagonal()])
    none = np.zeros(len(q))
    assert misfit(sums, q, none) < 0.02
    error = np.maximum((sums.sums / sums.sizes[:, None]).std(axis=0, ddof=1) / np.sqrt(N_BLOCKS), 0)
    error = np.maximum(error, np.sqrt(q * (1 - q) / N_BINS))
    assert misfit(sums, q + error, none) == pytest.approx(1, rel=0.02)
    assert misfit(sums, q + error, error) == pytest.approx(0, abs=0.2)
