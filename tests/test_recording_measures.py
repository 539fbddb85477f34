"""Statistics of words against plain loops, draws and specific heat of small models against enumeration."""

from __future__ import annotations

import itertools

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from brute_force import BruteForce
from conftest import small_machine
from pairwise_brute_force import PairwiseBruteForce, small_model
from secateur.model.pairwise import PairwiseModel
from secateur.recordings import measures
from statistical import GROUPED, assert_within_errors, judged

some_words = hnp.arrays(np.uint8, st.tuples(st.integers(2, 12), st.integers(3, 5)), elements=st.integers(0, 1))


@given(some_words)
def test_counts_ranks_and_triplets_are_those_of_plain_loops(words):
    n_bins, n_units = words.shape
    counts = measures.population_counts(words)
    assert counts.shape == (n_units + 1,)
    for k in range(n_units + 1):
        assert counts[k] == pytest.approx(sum(int(w.sum() == k) for w in words) / n_bins)
    tally: dict[tuple, int] = {}
    for word in map(tuple, words):
        tally[word] = tally.get(word, 0) + 1
    ranked = measures.rank_frequencies(words, 4)
    expected = sorted(tally.values(), reverse=True)[:4]
    np.testing.assert_allclose(ranked[: len(expected)], np.array(expected) / n_bins)
    assert np.isnan(ranked[len(expected) :]).all()
    triplets = measures.choose_triplets(n_units, 1000, jax.random.key(0))
    assert sorted(map(tuple, triplets)) == list(itertools.combinations(range(n_units), 3))
    deviations = words - words.mean(axis=0)
    for (i, j, k), found in zip(triplets, measures.triplet_correlations(words, triplets), strict=True):
        assert found == pytest.approx((deviations[:, i] * deviations[:, j] * deviations[:, k]).mean(), abs=1e-6)


def test_correlations_are_those_of_numpy_and_missing_for_silent_units():
    words = np.random.default_rng(0).integers(0, 2, (40, 4))
    words[:, 2] = 0
    found = measures.correlations(words)
    assert np.isnan(found.diagonal()).all() and np.isnan(found[2]).all()
    expected = np.atleast_2d(np.corrcoef(words[:, [0, 1, 3]].T))
    np.testing.assert_allclose(found[np.ix_([0, 3], [1])], expected[np.ix_([0, 2], [1])], rtol=1e-9)


def test_triplets_are_chosen_by_the_key_without_repetition():
    found = measures.choose_triplets(9, 20, jax.random.key(1))
    assert len({tuple(t) for t in found}) == 20
    np.testing.assert_array_equal(found, measures.choose_triplets(9, 20, jax.random.key(1)))


def _variance_of_energy(exact, temperature: float) -> float:
    """Variance of the energy at a temperature, from the probabilities of all states at temperature 1."""
    energies = -np.log(np.asarray(exact.probabilities, float))
    log_p = -energies / temperature
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    return float((p * energies**2).sum() - (p * energies).sum() ** 2)


@pytest.mark.parametrize("fault", ["right", "wrong temperature"])
@pytest.mark.parametrize("kind", ["pairwise", "machine"])
def test_specific_heat_is_the_variance_of_the_energy(kind, fault):
    temperatures = np.array([0.7, 1.6])
    pairwise, machine = small_model(4), small_machine("rbm", masked=False)
    model = pairwise if kind == "pairwise" else machine
    exact = PairwiseBruteForce(pairwise) if kind == "pairwise" else BruteForce(machine)
    expected = [_variance_of_energy(exact, t) / t**2 / model.n_units for t in temperatures]
    asked = temperatures if fault == "right" else temperatures * 1.3
    found = measures.specific_heat(model, asked, jax.random.key(0), n_draws=20)
    with judged(fault):
        assert_within_errors(found.values, found.errors, np.array(expected), GROUPED)


def test_drawn_words_have_the_rates_of_the_model():
    model = PairwiseModel([-1.0, 0.5, 0.0], np.zeros((3, 3)))
    words = measures.draw_words(model, jax.random.key(0), 3000)
    assert len(words) >= 3000 and set(np.unique(words)) == {0, 1}
    rates = 1 / (1 + np.exp(-np.array([-1.0, 0.5, 0.0])))
    assert_within_errors(words.mean(axis=0), np.sqrt(rates * (1 - rates) / len(words)), rates)
