"""Partition function, log-probabilities, bounds and pseudo-likelihood against plain sums over all joint states."""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brute_force import BruteForce
from conftest import small_machine
from secateur import likelihood
from secateur.likelihood.partition import LogPartition
from secateur.model import mean_field
from statistical import FAULTS, assert_within_errors, judged, with_twins

N_CHAINS = 256


def _all_rows(machine) -> np.ndarray:
    return np.array(list(itertools.product((0.0, 1.0), repeat=machine.layer_sizes[0])), dtype=np.float32)


def test_exact_log_partition_says_that_it_is_exact(machine):
    found = likelihood.log_partition(machine)
    assert found.estimate == pytest.approx(BruteForce(machine).log_z, rel=1e-12)
    assert (found.standard_error, found.effective_sample_size, found.n_chains) == (0, math.inf, 0)


def _annealed(machine, **options) -> LogPartition:
    return likelihood.log_partition(machine, "ais", key=jax.random.key(0), n_chains=N_CHAINS, **options)


@pytest.mark.parametrize("fault", ["right", "wrong temperature", "wrong sign"])
def test_annealed_estimate_lies_within_its_error(machine, fault):
    found = _annealed(FAULTS[fault](machine), n_temperatures=300)
    with judged(fault):
        # The effective number of weights less one bounds the degrees of freedom of the error.
        degrees = found.effective_sample_size - 1
        assert_within_errors(found.estimate, found.standard_error, BruteForce(machine).log_z, degrees)
    assert N_CHAINS / 2 < found.effective_sample_size <= N_CHAINS
    assert (found.n_chains, found.n_temperatures) == (N_CHAINS, 300)


@with_twins
def test_annealing_from_the_rates_of_the_data(dbm, fault):
    rates = np.linspace(0.0, 0.9, 4, dtype=np.float32)
    found = _annealed(FAULTS[fault](dbm), n_temperatures=300, base_rates=rates)
    with judged(fault):
        degrees = found.effective_sample_size - 1
        assert_within_errors(found.estimate, found.standard_error, BruteForce(dbm).log_z, degrees)


@with_twins
def test_annealing_is_unbiased_with_few_temperatures(fault):
    """A transition that leaves the distribution of another temperature alone shows here, as 14 errors or more."""
    machine = small_machine("dbm-2-hidden", masked=False)
    distorted = FAULTS[fault](machine)
    found = likelihood.log_partition(distorted, "ais", key=jax.random.key(1), n_chains=40_000, n_temperatures=5)
    degrees = found.effective_sample_size - 1
    with judged(fault):
        assert_within_errors(found.estimate, found.standard_error, BruteForce(machine).log_z, degrees)


def test_annealing_with_more_temperatures_is_more_accurate(dbm):
    """The variance of the log weights falls in proportion to the number of temperatures (Neal 2001, section 4)."""
    coarse, fine = (_annealed(dbm, n_temperatures=n) for n in (4, 300))
    assert fine.standard_error < 0.4 * coarse.standard_error
    assert fine.effective_sample_size > coarse.effective_sample_size


def test_error_of_the_annealed_estimate_is_that_of_the_jackknife():
    """One weight that carries nearly everything shows as an effective sample size near one and a large error."""
    log_weights = np.array([0.0, 0.1, -0.2, 0.3])
    found = likelihood.combine_log_weights(log_weights, 10)
    weights = np.exp(log_weights)
    assert found.estimate == pytest.approx(math.log(weights.mean()))
    left_out = np.array([math.log(np.delete(weights, chain).mean()) for chain in range(4)])
    assert found.standard_error == pytest.approx(math.sqrt(3 / 4 * ((left_out - left_out.mean()) ** 2).sum()))
    assert found.effective_sample_size == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    alone = likelihood.combine_log_weights(np.array([800.0, 0.0, 0.0]), 10)
    assert alone.effective_sample_size == pytest.approx(1)
    assert 10 < alone.standard_error < math.inf


def test_log_probability(machine):
    rows = _all_rows(machine)
    exact = BruteForce(machine)
    for log_z in (exact.log_z, LogPartition(exact.log_z)):
        found = likelihood.log_probability(machine, rows, log_z)
        np.testing.assert_allclose(found, exact.log_probability(rows), rtol=1e-9)


def test_variational_bound_is_exact_log_probability_minus_divergence(machine):
    """``bound = log p(v) - KL(q || p(h | v))`` with the mean-field ``q``, both summed over all hidden states."""
    rows = _all_rows(machine)
    exact = BruteForce(machine)
    means = [np.asarray(m, float) for m in mean_field.infer(machine, rows)]
    found = likelihood.log_probability_bound(machine, rows, exact.log_z)
    log_probability = exact.log_probability(rows)
    for number, row in enumerate(rows):
        posterior = exact.posterior(row)
        here = posterior > 0
        q = np.ones(here.sum())
        for mean, states in zip(means[1:], exact.states[1:], strict=True):
            q *= np.where(states[here] == 1, mean[number], 1 - mean[number]).prod(axis=1)
        divergence = (q * np.log(q / posterior[here])).sum()
        assert found[number] == pytest.approx(log_probability[number] - divergence, abs=1e-5)
    gap = log_probability - found
    assert (gap > -1e-5).all()
    if machine.n_layers == 2:
        np.testing.assert_allclose(gap, 0, atol=1e-5)  # tight for one hidden layer
    else:
        assert gap.max() > 1e-3


def test_mean_field_stops_at_a_point_that_reproduces_itself(machine):
    rows = _all_rows(machine)
    means = mean_field.infer(machine, rows, tolerance=1e-6, max_updates=1000)
    np.testing.assert_array_equal(means[0], rows)
    for layer in range(1, machine.n_layers):
        expected = jax.nn.sigmoid(machine.total_input(means, layer))
        np.testing.assert_allclose(means[layer], expected, atol=1e-5)


def test_mean_field_starts_from_doubled_input_where_a_layer_above_is_missing(dbm):
    """One pass upwards (Salakhutdinov & Hinton 2009, section 3.1): doubled but for the top layer."""
    rows = _all_rows(dbm)
    first, second = (np.asarray(w, float) for w in dbm.weights)
    hidden = 1 / (1 + np.exp(-(2 * rows @ first + np.asarray(dbm.biases[1]))))
    top = 1 / (1 + np.exp(-(hidden @ second + np.asarray(dbm.biases[2]))))
    for found, expected in zip(mean_field.bottom_up(dbm, rows), (rows, hidden, top), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_mean_field_updates_never_lower_the_bound(dbm):
    rows = _all_rows(dbm)
    bounds = [
        np.asarray(mean_field.variational_bound(dbm, mean_field.infer(dbm, rows, max_updates=n, tolerance=0.0)))
        for n in (1, 2, 4)
    ]
    assert (bounds[1] >= bounds[0] - 1e-5).all() and (bounds[2] >= bounds[1] - 1e-5).all()
    assert (bounds[1] > bounds[0] + 1e-5).any()


def test_free_energy_of_an_rbm(rbm):
    exact = BruteForce(rbm)
    rows = _all_rows(rbm)
    expected = -(exact.log_probability(rows) + exact.log_z)
    np.testing.assert_allclose(likelihood.free_energy(rbm, rows), expected, atol=1e-5)


@with_twins
def test_pseudo_likelihood_is_unbiased(rbm, fault):
    """Mean over 8,000 keys, one random unit per row each, against the sum over all units of exact conditionals."""
    rows = _all_rows(rbm)[::4]
    exact = BruteForce(rbm)
    conditionals = np.zeros(len(rows))
    for unit in range(rows.shape[1]):
        flipped = rows.copy()
        flipped[:, unit] = 1 - flipped[:, unit]
        here, there = exact.log_probability(rows), exact.log_probability(flipped)
        conditionals += here - np.logaddexp(here, there)
    keys = jax.random.split(jax.random.key(0), 8000)
    distorted = FAULTS[fault](rbm)
    values = jax.jit(jax.vmap(lambda key: likelihood.pseudo_likelihood(distorted, jnp.asarray(rows), key)))(keys)
    values = np.asarray(values, float)
    with judged(fault):
        error = values.std(ddof=1) / math.sqrt(len(values))
        assert_within_errors(values.mean(), error, conditionals.mean(), len(values) - 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "guess"}, "method must be 'exact' or 'ais', got 'guess'"),
        ({"method": "ais"}, "method='ais' needs key, e.g. key=jax.random.key(0)"),
        (
            {"method": "ais", "key": True, "n_chains": 1},
            "n_chains and n_temperatures must be at least 2, got 1 and 2000",
        ),
        (
            {"method": "ais", "key": True, "n_temperatures": 1},
            "n_chains and n_temperatures must be at least 2, got 256 and 1",
        ),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_wrong_use_is_refused(rbm, arguments, message):
    if "key" in arguments:
        arguments = arguments | {"key": jax.random.key(0)}
    with pytest.raises(ValueError) as error:
        likelihood.log_partition(rbm, **arguments)
    assert str(error.value) == message


@pytest.mark.parametrize("fault", ["right", "wrong temperature", "wrong sign"])
def test_reversed_annealing_from_exact_draws_lies_within_its_error(dbm, fault):
    """Started at exact draws, the mean weight is ``1 / Z``; few temperatures already do. So for both ways together."""
    exact, distorted = BruteForce(dbm), FAULTS[fault](dbm)
    states = exact.draws(20_000, np.random.default_rng(0))
    base = jnp.linspace(-1.0, 1.0, 4)
    reverse = np.asarray(likelihood.reverse_log_weights(distorted, base, states, jax.random.key(0), n_temperatures=5))
    size = {"n_chains": 10_000, "n_temperatures": 5}
    forward = np.asarray(likelihood.annealed_log_weights(distorted, base, jax.random.key(1), **size))
    for found in (
        likelihood.combine_reverse_log_weights(reverse, 5),
        likelihood.combine_both_directions(forward, reverse, 5),
    ):
        with judged(fault):
            degrees = found.effective_sample_size - 1
            assert_within_errors(found.estimate, found.standard_error, exact.log_z, degrees)


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_error_of_both_directions_together_is_that_of_repeats(shift):
    """Normal log weights of both directions, as a reversible annealing has them, of unlike numbers; a shift is found.

    Annealing upwards alone is off by half a nat: the variance of the log weights is 9.
    """
    log_z, deviation, rng = 700.0, 3.0, np.random.default_rng(0)
    found, upwards = [], []
    for _ in range(400):
        forward = rng.normal(log_z + shift - deviation**2 / 2, deviation, 50)
        reverse = rng.normal(-log_z - deviation**2 / 2, deviation, 150)
        found.append(likelihood.combine_both_directions(forward, reverse, 9))
        upwards.append(likelihood.combine_log_weights(forward, 9).estimate)
    estimates = np.array([each.estimate for each in found])
    with judged("right" if shift == 0 else "shift"):
        assert_within_errors(estimates.mean(), estimates.std(ddof=1) / math.sqrt(len(found)), log_z)
    assert np.mean(upwards) < log_z - 0.4
    assert (found[0].n_chains, found[0].n_temperatures) == (200, 9)
    # A variance of 400 normal estimates has a relative error of 0.07.
    claimed = np.mean([each.standard_error**2 for each in found])
    assert estimates.var(ddof=1) / claimed == pytest.approx(1, abs=0.36)


def test_annealing_both_ways_encloses_the_truth(dbm):
    """With two temperatures and few chains the mean error has a sign: below from the base, above from the model."""
    exact = BruteForce(dbm)
    rng = np.random.default_rng(1)
    base = jnp.zeros(4)
    forward, reverse = [], []
    for seed in range(40):
        key = jax.random.key(seed)
        weights = likelihood.annealed_log_weights(dbm, base, key, n_chains=4, n_temperatures=2)
        forward.append(likelihood.combine_log_weights(np.asarray(weights), 2).estimate)
        states = exact.draws(4, rng)
        weights = likelihood.reverse_log_weights(dbm, base, states, key, n_temperatures=2)
        reverse.append(likelihood.combine_reverse_log_weights(np.asarray(weights), 2).estimate)
    assert np.mean(forward) < exact.log_z < np.mean(reverse)
