"""The pairwise maximum-entropy model against plain sums over all states."""

from __future__ import annotations

import importlib
from contextlib import nullcontext
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import secateur as sc
from pairwise_brute_force import PAIRWISE_FAULTS, PairwiseBruteForce, small_model, with_pairwise_twins
from secateur import fisher, sampling
from secateur.fisher import pairwise_matrix
from secateur.fisher.pairwise_matrix import PairwiseLayout
from secateur.likelihood import log_partition, log_probability
from secateur.model import exact as exact_answers
from secateur.model.pairwise import PairwiseModel
from secateur.model.randomness import uniforms
from secateur.sampling.sweep import Bridge, sweep
from secateur.training import fit_independent, fit_pairwise, pairwise_ascent
from secateur.training import pairwise as fitting
from statistical import GROUPED, assert_within_errors, judged

KEY = jax.random.key(0)
N_CHAINS = 2**16


@pytest.fixture(scope="module")
def model() -> PairwiseModel:
    return small_model()


@pytest.fixture(scope="module")
def exact(model) -> PairwiseBruteForce:
    return PairwiseBruteForce(model)


@pytest.fixture(scope="module")
def words(exact) -> np.ndarray:
    return exact.words(4000)


@cache
def _draws(fault: str) -> np.ndarray:
    """Independent rows, one from each chain, of the small model with a fault."""
    model = PAIRWISE_FAULTS[fault](small_model())
    start = sampling.random_states(model, KEY, N_CHAINS)
    return np.asarray(sampling.gibbs(model, start, jax.random.key(1), 15)[0])


@pytest.mark.parametrize("n_units", [1, 2, 5, 6])
def test_exact_answers_are_sums_over_all_states(n_units):
    """Halves of unequal and of no units included."""
    model = small_model(n_units)
    exact = PairwiseBruteForce(model)
    log_z = log_partition(model)
    assert log_z.estimate == pytest.approx(exact.log_z, rel=1e-12) and log_z.standard_error == 0
    moments = exact_answers.moments(model)
    np.testing.assert_allclose(moments.coincidences[0], exact.coincidences, atol=1e-12)
    np.testing.assert_allclose(moments.rates[0], exact.coincidences.diagonal(), atol=1e-12)
    found = log_probability(model, exact.states, log_z)
    np.testing.assert_allclose(found, np.log(exact.probabilities), atol=1e-10)
    np.testing.assert_allclose(-model.energy((jnp.asarray(exact.states, jnp.float32),)), found + exact.log_z, atol=1e-5)


def test_twenty_units_are_within_reach():
    """Without couplings between the halves the sum factorises."""
    halves = [small_model(10, seed) for seed in (1, 2)]
    couplings = np.zeros((20, 20))
    couplings[:10, :10], couplings[10:, 10:] = (half.couplings for half in halves)
    joined = PairwiseModel(np.concatenate([half.biases for half in halves]), couplings)
    expected = sum(log_partition(half).estimate for half in halves)
    assert log_partition(joined).estimate == pytest.approx(expected, rel=1e-12)


@with_pairwise_twins
def test_gibbs_sampling(exact, fault):
    rows = _draws(fault).astype(float)
    errors = np.sqrt(exact.coincidences * (1 - exact.coincidences) / N_CHAINS)
    with judged(fault):
        assert_within_errors(rows.T @ rows / N_CHAINS, errors, exact.coincidences)


def test_a_sweep_draws_every_unit_once_given_all_others(model):
    """One sweep as a plain loop over units, with the same random numbers."""
    start = sampling.random_states(model, KEY, 7)
    key = jax.random.split(jax.random.key(2), 1)[0]
    numbers = np.asarray(uniforms(key, (model.n_units, 7)))
    states = np.asarray(start[0]).copy()
    for unit in range(model.n_units):
        total = float(model.biases[unit]) + states @ np.asarray(model.couplings[:, unit])
        states[:, unit] = numbers[unit] < 1 / (1 + np.exp(-total))
    np.testing.assert_array_equal(sampling.gibbs(model, start, jax.random.key(2), 1)[0], states)


@pytest.mark.parametrize("bridged", [False, True])
@pytest.mark.parametrize("held", [False, True])
def test_a_sweep_block_by_block_is_that_unit_by_unit(bridged, held, monkeypatch):
    """Two blocks of 16 units and five more, as where all states do not fit into a processor's cache."""
    model, rng = small_model(37), np.random.default_rng(0)
    start = jnp.asarray(rng.random((50, 37)) < 0.4, jnp.float32)
    clamp = (jnp.asarray(rng.random((50, 37)) < 0.2),) if held else None
    base = (jnp.asarray(rng.normal(0, 1, 37), jnp.float32),)
    bridge = Bridge(jnp.linspace(0, 1, 50, dtype=jnp.float32), base) if bridged else None
    (unit_by_unit,), _ = sweep(model, (start,), KEY, clamp, bridge)
    monkeypatch.setattr(importlib.import_module("secateur.sampling.sweep"), "_CACHED", 0)
    (block_by_block,), _ = sweep(model, (start,), KEY, clamp, bridge)
    np.testing.assert_array_equal(unit_by_unit, block_by_block)
    assert not np.array_equal(unit_by_unit, start)


def test_sampling_reports_how_well_the_chains_mixed(model):
    draws = sampling.sample(model, jax.random.key(1), n_draws=100, n_chains=64, n_burn_in=50)
    (states,), diagnostics = draws.states, draws.diagnostics
    assert states.shape == (100, 64, model.n_units)
    assert (diagnostics.n_chains, diagnostics.n_draws) == (64, 100)
    assert diagnostics.split_r_hat < 1.05 and diagnostics.effective_sample_size > 1000


def test_exact_fisher_information(model, exact):
    found = fisher.matrix(model, "exact")
    covariance = exact.covariance()
    np.testing.assert_allclose(found.dense(), covariance, atol=1e-12)
    np.testing.assert_allclose(found.diagonal(), covariance.diagonal(), atol=1e-12)
    direction = np.arange(1.0, 22.0)
    np.testing.assert_allclose(found.matvec(direction), covariance @ direction, atol=1e-10)
    assert found.diagnostics is None and not found.diagonal_errors().any()
    values, vectors = found.top(3)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(covariance)[::-1][:3], atol=1e-12)
    flat = found.flatten(vectors)
    np.testing.assert_allclose(covariance @ flat.T, flat.T * values, atol=1e-10)
    np.testing.assert_array_equal(vectors.weights[0], np.swapaxes(vectors.weights[0], 1, 2))
    assert not found.eigenvalue_errors(vectors).any()
    variance = fisher.variance(model, "exact")
    np.testing.assert_allclose(variance[0], exact.coincidences * (1 - exact.coincidences) * (1 - np.eye(6)), atol=1e-12)
    np.testing.assert_allclose(variance.biases[0], covariance.diagonal()[-6:], atol=1e-12)


@with_pairwise_twins
def test_fisher_matrix_from_states(model, exact, fault):
    """The diagonal and the variance along random directions, which takes every entry."""
    found = fisher.matrix(model, _draws(fault))
    covariance = exact.covariance()
    directions = np.random.default_rng(0).normal(size=(5, 21)).astype(np.float32)
    along = [d @ found.matvec(d) for d in directions]
    estimates = [found.diagonal(), np.array(along)]
    errors = [found.diagonal_errors(), found.eigenvalue_errors(found.split(directions))]
    with judged(fault):
        assert_within_errors(
            estimates,
            errors,
            [covariance.diagonal(), np.einsum("ki,ij,kj->k", directions, covariance, directions)],
            GROUPED,
        )
    np.testing.assert_allclose(found.dense() @ directions[0], found.matvec(directions[0]), atol=1e-4)
    variance = fisher.variance(model, _draws("right"))
    assert variance.diagnostics is not None and (np.asarray(variance.weight_errors[0])[np.triu_indices(6, 1)] > 0).all()


def test_chunks_of_rows_give_the_same_matrix(model, words, monkeypatch):
    whole = fisher.matrix(model, words).dense()
    monkeypatch.setattr(pairwise_matrix, "_CHUNK_ENTRIES", 21 * 999)
    np.testing.assert_allclose(fisher.matrix(model, words).dense(), whole, atol=1e-6)


def test_layout_is_its_own_inverse():
    layout, numbers = PairwiseLayout(4), np.arange(1.0, 11.0)
    parameters = layout.split(numbers)
    np.testing.assert_array_equal(parameters.weights[0][0], [0, 1, 2, 3])
    np.testing.assert_array_equal(parameters.weights[0], parameters.weights[0].T)
    np.testing.assert_array_equal(parameters.biases[0], [7, 8, 9, 10])
    np.testing.assert_array_equal(layout.flatten(parameters), numbers)


def _completed(words: np.ndarray) -> np.ndarray:
    """Coincidence rates of words and one pseudo-word spread over all words."""
    rows = words.astype(float)
    evenly = 0.25 + 0.25 * np.eye(words.shape[1])
    return (rows.T @ rows + evenly) / (len(rows) + 1)


def test_exact_fit_has_the_moments_of_the_data(words):
    """The likelihood is convex: equal moments are maximum likelihood."""
    fitted, summary = fit_pairwise(words, KEY)
    assert summary.method == "exact" and summary.largest_difference < 1e-6
    np.testing.assert_allclose(PairwiseBruteForce(fitted).coincidences, _completed(words), atol=1e-6)
    np.testing.assert_allclose(summary.target.coincidences[0], _completed(words), atol=1e-12)


def test_penalised_fit_is_where_the_gradient_vanishes(words):
    fitted, _ = fit_pairwise(words, KEY, l2=0.03)
    gradient = _completed(words) - PairwiseBruteForce(fitted).coincidences - 0.03 * np.asarray(fitted.couplings)
    np.testing.assert_allclose(gradient, 0, atol=1e-6)


@pytest.mark.parametrize("n_units", [3, 6])
def test_independent_model_in_closed_form(exact, n_units):
    words = exact.words(37)[:, :n_units]
    words[:, 0], words[:, 1] = 0, 1
    fitted = fit_independent(words)
    rates = (words.sum(axis=0) + 0.5) / 38
    np.testing.assert_allclose(1 / (1 + np.exp(-np.asarray(fitted.biases))), rates, rtol=1e-6)
    assert not fitted.couplings.any()
    expected = (words * np.log(rates) + (1 - words) * np.log(1 - rates)).sum(axis=1)
    found = log_probability(fitted, words, log_partition(fitted))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_silent_units_and_pairs_that_never_meet_stay_finite(words):
    awkward = words.copy()
    awkward[:, 0], awkward[:, 1] = 0, 1
    awkward[awkward[:, 2] == 1, 3] = 0
    fitted, summary = fit_pairwise(awkward, KEY)
    assert np.isfinite(fitted.couplings).all() and summary.largest_difference < 1e-6
    assert fitted.couplings[2, 3] < -3


def test_pseudo_likelihood_and_its_gradient(words, model):
    """Against a plain sum of log conditionals, and against automatic differentiation."""
    rates = _completed(words).diagonal()
    scale = fitting.Scale(*(jnp.asarray(a, jnp.float32) for a in (rates, np.sqrt(rates * (1 - rates)))))
    z = (jnp.asarray(words, jnp.float32) - scale.rates[None, :]) / scale.deviations[None, :]
    rng = np.random.default_rng(4)
    upper = np.triu(rng.normal(0, 0.1, (6, 6)), 1)
    slopes, couplings = (jnp.asarray(a, jnp.float32) for a in (rng.normal(0, 0.3, 6), upper + upper.T))
    value, *gradients = fitting._negative_pseudo_likelihood(slopes, couplings, z, scale)
    as_model = PairwiseModel(*scale.model_parameters(slopes, couplings))
    total = np.asarray(as_model.total_input(jnp.asarray(words, jnp.float32)), float)
    expected = -(words * total - np.log1p(np.exp(total))).sum(axis=1).mean()
    assert float(value) == pytest.approx(expected, rel=1e-5)
    automatic = jax.grad(lambda a, k: fitting._negative_pseudo_likelihood(a, k, z, scale)[0], (0, 1))(slopes, couplings)
    np.testing.assert_allclose(gradients[0], automatic[0], atol=1e-5)
    # Each coupling stands in both triangles: its derivative is the sum of both entries'.
    off = 1 - np.eye(6, dtype=np.float32)
    np.testing.assert_allclose(gradients[1] * off, (automatic[1] + automatic[1].T) * off, atol=1e-5)


@pytest.mark.parametrize("fault", ["right", "no ascent"])
def test_stochastic_ascent_meets_the_moments_of_the_data(words, fault, monkeypatch):
    """Even from the independent model. Summed exactly, they lie within the sampling error of 16 steps' chains.

    The fit averages 250 steps of chains that persist, of which at least 16 are worth an independent one.
    """
    monkeypatch.setattr(
        fitting, "_maximise_pseudo_likelihood", lambda words, scale, l2, present: fit_independent(words)
    )
    n_steps = 500 if fault == "right" else 1
    told = nullcontext() if fault == "right" else pytest.warns(sc.NotToBeTrusted, match="the ascent has not converged")
    with told:
        fitted, summary = fit_pairwise(words, KEY, method="sampled", l2=0.0, n_steps=n_steps)
    assert summary.method == "sampled" and summary.moments.diagnostics is not None
    target = _completed(words)
    errors = np.sqrt(target * (1 - target) / 2000 / 16)
    with judged(fault):
        assert_within_errors(PairwiseBruteForce(fitted).coincidences, errors, target)
    if fault == "right":
        maximum, _ = fit_pairwise(words, KEY)
        np.testing.assert_allclose(fitted.couplings, maximum.couplings, atol=0.1)
        np.testing.assert_array_equal(fitted.couplings, np.asarray(fitted.couplings).T)


def test_strong_correlations_do_not_make_the_ascent_diverge():
    """Bursts of all units, for which the curvature is far from the identity."""
    rng = np.random.default_rng(0)
    bursts = np.where(rng.random((4000, 1)) < 0.05, 0.8, 0.03)
    words = (rng.random((4000, 6)) < bursts).astype(np.uint8)
    fitted, summary = fit_pairwise(words, KEY, method="sampled", l2=0.0)
    assert summary.misfit < fitting.TRUSTED_MISFIT and summary.verdict.trusted
    maximum, _ = fit_pairwise(words, KEY)
    likelihoods = [log_probability(m, words, log_partition(m)).mean() for m in (fitted, maximum)]
    assert likelihoods[1] - likelihoods[0] < 0.002


def test_a_start_with_a_second_state_is_drawn_to_the_independent_model():
    """Ten units that keep each other active once they are; the data know the silent state only."""
    bursting = PairwiseModel(np.full(10, -6.0), 2.0 * (1 - np.eye(10)))
    target = fitting._target(np.random.default_rng(0).random((4000, 10)) < 0.05)
    found = fitting._without_bursts(bursting, target, KEY)
    assert 0 <= float(found.couplings[0, 1]) < 1.0
    quiet = PairwiseModel(np.full(10, -3.0), 0.1 * (1 - np.eye(10)))
    np.testing.assert_array_equal(fitting._without_bursts(quiet, target, KEY).couplings, quiet.couplings)


def test_a_fit_that_did_not_converge_warns(words, monkeypatch):
    monkeypatch.setattr(fitting, "_maximise_pseudo_likelihood", lambda words, scale, l2, present: small_model(seed=5))
    message = (
        r"the pairwise fit with n_steps=1 is NOT TO BE TRUSTED: moments of the pairwise model differ from those of the "
        r"data by \d+\.\d standard errors \(root mean square; at most 2 is usual\), so the ascent has not converged; "
        r"fit with more n_steps$"
    )
    with pytest.warns(sc.NotToBeTrusted, match=message):
        fit_pairwise(words, KEY, method="sampled", l2=0.0, n_steps=1)


def test_a_fit_with_two_states_between_which_no_chain_moves_is_not_trusted():
    """The moments themselves are met: half of the chains that check the fit stay silent, half stay in the burst."""
    two_states = PairwiseModel(np.full(10, -9.0), 2.0 * (1 - np.eye(10)))
    found = fitting._checking_moments(two_states, KEY)
    summary = fitting.FitSummary(
        "sampled", exact_answers.moments(two_states).values, found, np.ones((two_states.n_units,) * 2, bool)
    )
    assert summary.misfit < fitting.TRUSTED_MISFIT and not summary.verdict.trusted
    assert "the chains have not mixed" in summary.verdict.reasons[0]
    assert fitting._checking_moments(small_model(), KEY).verdict.trusted


def _random_correlations(n_units: int) -> np.ndarray:
    rows = np.random.default_rng(2).normal(0, 1, (40, n_units))
    return np.asarray(np.corrcoef(rows.T))


def test_newton_steps_undo_the_curvature_of_gaussian_variables():
    """Isserlis: the covariance of z_i z_j and z_k z_l is R_ik R_jl + R_il R_jk, summed here over all pairs."""
    correlations = _random_correlations(5)
    rng = np.random.default_rng(0)
    slopes, couplings = rng.normal(0, 1, 5), rng.normal(0, 1, (5, 5))
    couplings = couplings + couplings.T
    image = np.einsum("ik,jl,kl->ij", correlations, correlations, couplings)
    curvature = pairwise_ascent.Curvature(np.linalg.inv(correlations), np.ones((5, 5)), 1.0)
    found = curvature.newton_step(correlations @ slopes, image)
    np.testing.assert_allclose(found[0], slopes, rtol=1e-4)
    np.testing.assert_allclose(found[1], couplings, rtol=1e-4)


def test_curvature_of_data_and_what_it_leaves_of_the_largest():
    rng = np.random.default_rng(0)
    bursts = np.where(rng.random((9000, 1)) < 0.01, 0.95, np.geomspace(0.02, 0.1, 40))
    words = (rng.random((9000, 40)) < bursts).astype(np.uint8)
    rates = _completed(words).diagonal()
    scale = fitting.Scale(rates, np.sqrt(rates * (1 - rates)))
    curvature = pairwise_ascent.data_curvature(words, scale, 0.01, KEY)
    z = (words - rates) / scale.deviations
    variances = np.maximum([[(z[:, i] * z[:, j]).var() for j in range(40)] for i in range(40)], 1)
    expected = variances + 0.01 / np.outer(scale.deviations, scale.deviations) ** 2
    off = ~np.eye(40, dtype=bool)
    np.testing.assert_allclose(curvature.deviations[off] ** 2, expected[off], rtol=1e-3)
    np.testing.assert_allclose(np.linalg.inv(curvature.inverse), z.T @ z / len(z) + 0.3 * np.eye(40), atol=1e-5)
    first, second = np.triu_indices(40, 1)
    statistics = np.hstack([z[:, first] * z[:, second], z])
    dense = np.cov(statistics.T, bias=True)

    def stepped(column):
        couplings = np.zeros((40, 40))
        couplings[first, second] = column[:780]
        step_slopes, step_couplings = curvature.newton_step(column[780:], couplings + couplings.T)
        return np.concatenate([step_couplings[first, second], step_slopes])

    left = np.stack([stepped(column) for column in dense.T], axis=1)
    largest = np.abs(np.linalg.eigvals(left)).max()
    along = np.linalg.eigh(z.T @ z)[1][:, -1]
    assert pairwise_ascent._largest(curvature, z.astype(np.float32), along) == pytest.approx(largest, rel=0.05)
    assert curvature.excess == pytest.approx(largest / pairwise_ascent._LARGEST, rel=0.05) and curvature.excess > 1


def test_pseudo_likelihood_starts_near_maximum_likelihood(words):
    rates = _completed(words).diagonal()
    start = fitting._maximise_pseudo_likelihood(
        words, fitting.Scale(rates, np.sqrt(rates * (1 - rates))), 0.0, np.ones(15, bool)
    )
    maximum, _ = fit_pairwise(words, KEY)
    np.testing.assert_allclose(start.couplings, maximum.couplings, atol=0.1)
    np.testing.assert_allclose(start.biases, maximum.biases, atol=0.1)


def test_equal_keys_give_equal_sampled_fits(words):
    first, second = (fit_pairwise(words, KEY, method="sampled")[0] for _ in range(2))
    np.testing.assert_array_equal(first.couplings, second.couplings)


@given(st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=5), st.integers(0, 31))
def test_energy_of_independent_units_is_the_sum_of_their_biases(biases, number):
    n_units = len(biases)
    state = (number >> np.arange(n_units)) & 1
    independent = PairwiseModel(biases, np.zeros((n_units, n_units)))
    found = log_probability(independent, state[None, :], 0.0)
    assert found[0] == pytest.approx(float(state @ np.asarray(biases)), abs=1e-5)


@pytest.mark.parametrize(
    ("biases", "couplings", "message"),
    [
        ([0.0, 0.0], np.zeros((3, 3)), r"biases must have shape \(units,\) and .* got \(2,\) and \(3, 3\)"),
        ([0.0, np.nan], np.zeros((2, 2)), r"biases must be finite, got nan at \[1\]"),
        ([0.0, 0.0], np.eye(2), "couplings must be symmetric with a zero diagonal; give J"),
        ([0.0, 0.0], np.array([[0, 1], [0, 0]]), "couplings must be symmetric with a zero diagonal; give J"),
    ],
)
def test_models_that_are_none_are_refused(biases, couplings, message):
    with pytest.raises(ValueError, match=message):
        PairwiseModel(biases, couplings)


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_refused(model, words):
    large = PairwiseModel(np.zeros(21), np.ones((21, 21)) - np.eye(21))
    many = np.zeros((4, 21), np.uint8)
    cases = [
        (lambda: fit_pairwise(words[:, 0], KEY), r"states must be a matrix \(bins, units\) .* got shape \(4000,\)"),
        (lambda: fit_pairwise(words * 3, KEY), "states must be 0 or 1, got 3; clip counts to 1 first"),
        (
            lambda: fit_pairwise(words[:, :1], KEY),
            r"at least two units for a pairwise model, got 1; use fit_independent\(states\)",
        ),
        (
            lambda: fit_pairwise(many, KEY, method="exact"),
            "exact fit needs a pairwise model of at most 20 units, .* has 21",
        ),
        (lambda: exact_answers.moments(large), "exact moments needs a pairwise model of at most 20 units"),
        (lambda: fisher.matrix(large, "exact"), "exact moments needs a pairwise model of at most 20 units"),
        (lambda: fisher.matrix(model, "exakt"), "source must be 'exact' or states of the model, got 'exakt'; moments"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()


def test_it_is_reached_from_the_package():
    assert sc.PairwiseModel is PairwiseModel and sc.training.fit_pairwise is fit_pairwise
    assert small_model(5).n_parameters == 15


@pytest.mark.parametrize("method", ["exact", "sampled"])
def test_couplings_outside_a_mask_are_zero_and_the_others_meet_the_data(words, method):
    """Moments of the couplings that exist are those of the data; the gradient of the rest is left alone."""
    mask = np.zeros((6, 6), bool)
    mask[[0, 1, 2], [3, 2, 4]] = True
    mask |= mask.T
    first, _ = fit_pairwise(words, KEY, method="exact", l2=0.0)
    found, summary = fit_pairwise(
        words, KEY, method=method, l2=0.0, mask=mask, start=first if method == "sampled" else None
    )
    assert not np.asarray(found.couplings)[~mask].any() and (np.asarray(found.couplings)[mask] != 0).all()
    reached = PairwiseBruteForce(found).coincidences
    target = summary.target.coincidences[0]
    met = mask | np.eye(6, dtype=bool)
    np.testing.assert_allclose(reached[met], target[met], atol=1e-6 if method == "exact" else 0.01)
    with pytest.raises(ValueError, match=r"mask must be symmetric, one entry for each pair of the 6 units, got shape"):
        fit_pairwise(words, KEY, mask=np.triu(mask))
