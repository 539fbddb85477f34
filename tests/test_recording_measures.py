"""Statistics of words against plain loops, draws and specific heat of small models against enumeration."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from brute_force import BruteForce
from conftest import small_machine
from pairwise_brute_force import PairwiseBruteForce, small_model
from secateur.model.machine import Machine
from secateur.model.pairwise import PairwiseModel
from secateur.model.trust import Verdict
from secateur.recordings import heat, measures
from secateur.recordings.heat import specific_heat
from statistical import GROUPED, assert_within_errors, judged
from two_modes import equal_modes_machine

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


def _heat(kind: str, temperatures: np.ndarray) -> tuple[PairwiseModel | Machine, list[float]]:
    """A small model and its specific heat from sums over all states."""
    pairwise, machine = small_model(4), small_machine("rbm", masked=True)
    model = pairwise if kind == "pairwise" else machine
    exact = PairwiseBruteForce(pairwise) if kind == "pairwise" else BruteForce(machine)
    return model, [_variance_of_energy(exact, t) / t**2 / model.n_units for t in temperatures]


@pytest.mark.parametrize("kind", ["pairwise", "machine"])
def test_specific_heat_is_the_variance_of_the_energy(kind):
    temperatures = np.array([0.7, 1.6])
    model, expected = _heat(kind, temperatures)
    found = specific_heat(model, temperatures, jax.random.key(0))
    np.testing.assert_allclose(found.values, expected, rtol=1e-6)
    assert not found.errors.any() and all(v.trusted for v in found.verdicts)


def test_specific_heat_of_independent_units_is_exact_at_any_size():
    biases = np.linspace(-3, 1, 50)
    found = specific_heat(PairwiseModel(biases, np.zeros((50, 50))), np.array([0.5, 1.0]), jax.random.key(0))
    p = 1 / (1 + np.exp(-np.outer([2.0, 1.0], biases)))
    np.testing.assert_allclose(found.values, (biases**2 * p * (1 - p)).sum(axis=1) / [0.25, 1] / 50, rtol=1e-6)


@pytest.mark.parametrize("fault", ["right", "wrong temperature"])
def test_a_model_of_two_modes_is_tempered_and_has_no_false_peak(fault, monkeypatch):
    """Chains that stay in the mode where they fell would make a peak of the difference between modes."""
    model, temperatures = equal_modes_machine(tilt=0.15), np.array([1.0])
    exact = specific_heat(model, temperatures, jax.random.key(0)).values
    monkeypatch.setattr(heat, "_MOST_SUMMED", 0)
    found = specific_heat(model, temperatures if fault == "right" else temperatures * 1.5, jax.random.key(0))
    assert found.verdicts[0].trusted and (found.errors > 0).all()
    with judged(fault):
        assert_within_errors(found.values, found.errors, exact, GROUPED)


def test_specific_heat_that_cannot_be_trusted_is_not_given(monkeypatch):
    def unmixed(*arguments, **options):
        return SimpleNamespace(energies=np.ones((4, 64)), verdict=Verdict(("the chains have not mixed",)))

    monkeypatch.setattr(heat, "_MOST_SUMMED", 0)
    monkeypatch.setattr(heat.sampling, "sample", unmixed)
    found = specific_heat(small_machine("rbm", masked=False), np.array([1.0]), jax.random.key(0))
    assert np.isnan(found.values).all() and not found.verdicts[0].trusted


def test_drawn_words_have_the_rates_of_the_model():
    model = PairwiseModel([-1.0, 0.5, 0.0], np.zeros((3, 3)))
    words = measures.draw_words(model, jax.random.key(0), 3000)
    assert len(words) >= 3000 and set(np.unique(words)) == {0, 1}
    rates = 1 / (1 + np.exp(-np.array([-1.0, 0.5, 0.0])))
    assert_within_errors(words.mean(axis=0), np.sqrt(rates * (1 - rates) / len(words)), rates)


@pytest.mark.parametrize("fault", ["right", "wrong temperature"])
@pytest.mark.parametrize("kind", ["pairwise", "two modes"])
def test_drawn_words_of_few_units_have_the_frequencies_of_enumeration(kind, fault):
    model = small_model(5) if kind == "pairwise" else equal_modes_machine(tilt=0.4)
    exact = PairwiseBruteForce(model) if isinstance(model, PairwiseModel) else BruteForce(model)
    n_units = model.layer_sizes[0]
    everything = np.array(list(itertools.product((0, 1), repeat=n_units)))
    expected = _word_probabilities(exact, everything)
    drawn_from = model if fault == "right" else _colder(model)
    n_words = 40_000
    drawn = measures.draw_words(drawn_from, jax.random.key(3), n_words).astype(int)
    assert drawn.shape == (n_words, n_units)
    places = drawn @ (2 ** np.arange(n_units)[::-1])
    frequencies = np.bincount(places, minlength=2**n_units) / n_words
    common = expected > 20 / n_words
    errors = np.sqrt(expected * (1 - expected) / n_words)
    with judged(fault):
        assert_within_errors(frequencies[common], errors[common], expected[common])


def _colder(model: PairwiseModel | Machine) -> PairwiseModel | Machine:
    if isinstance(model, PairwiseModel):
        return PairwiseModel(1.1 * model.biases, 1.1 * model.couplings)
    return Machine([1.1 * w for w in model.weights], [1.1 * b for b in model.biases])


def _word_probabilities(exact: BruteForce | PairwiseBruteForce, everything: np.ndarray) -> np.ndarray:
    if isinstance(exact, BruteForce):
        return np.exp(exact.log_probability(everything))
    weight = np.array([exact.probabilities[(exact.states == word).all(axis=1)].item() for word in everything])
    return weight / weight.sum()
