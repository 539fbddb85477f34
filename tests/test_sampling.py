"""Samplers against the exact distribution, within errors that have a stated false-alarm rate."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from brute_force import BruteForce
from secateur import sampling
from secateur.model.machine import Machine
from secateur.model.moments import Statistics
from secateur.sampling import Gibbs
from secateur.sampling.runner import streamed_moments
from secateur.sampling.stored import moments_of
from secateur.sampling.sweep import half_sweep
from statistical import (
    FALSE_ALARMS,
    FAULTS,
    GROUPED,
    N_TESTS,
    assert_within_errors,
    every_machine_and_twins,
    judged,
    sampled_moments,
)


def _exact(machine: Machine) -> Statistics:
    rates, coincidences = BruteForce(machine).statistics()
    return Statistics(tuple(rates), tuple(coincidences))


@every_machine_and_twins()
def test_sampled_moments_lie_within_their_errors(machine, fault):
    found = sampled_moments(FAULTS[fault](machine))
    with judged(fault):
        assert_within_errors(found.values, found.standard_errors, _exact(machine), GROUPED)


@pytest.mark.parametrize("fault", ["right", "swapped bias", "wrong sign"])
def test_moments_of_stored_draws_lie_within_their_errors(dbm, fault):
    start = sampling.random_states(dbm, jax.random.key(0), 8192)
    states = sampling.gibbs(FAULTS[fault](dbm), start, jax.random.key(1), 50)
    found = moments_of(dbm, states)
    with judged(fault):
        assert_within_errors(found.values, found.standard_errors, _exact(dbm), GROUPED)


@pytest.mark.parametrize("fault", ["right", "errors halved", "errors doubled"])
def test_reported_errors_are_those_of_repeated_runs(rbm, fault):
    """Variance over 60 runs against the mean reported variance, an F test; draws follow every sweep, so they hang
    together."""
    n_runs = 60
    keys = jax.random.split(jax.random.key(3), n_runs)
    start = sampling.random_states(rbm, jax.random.key(4), 64)

    def run(key):
        return streamed_moments(rbm, Gibbs(), Gibbs().init(rbm, key, 64, start), key, n_draws=50, n_burn_in=50)

    moments = jax.vmap(run)(keys)
    scale = {"right": 1.0, "errors halved": 0.5, "errors doubled": 2.0}[fault]
    ratios = [
        np.asarray(values).var(axis=0, ddof=1) / (scale**2 * np.square(errors).mean(axis=0))
        for values, errors in zip(
            jax.tree.leaves(moments.values), jax.tree.leaves(moments.standard_errors), strict=True
        )
    ]
    ratio = np.concatenate([r.ravel() for r in ratios])
    tail = FALSE_ALARMS / N_TESTS / ratio.size / 2
    degrees = (n_runs - 1, n_runs * GROUPED)
    within = (ratio > stats.f.ppf(tail, *degrees)) & (ratio < stats.f.isf(tail, *degrees))
    assert within.all() == (fault == "right")


@pytest.mark.parametrize("fault", ["right", "clamp left out", "clamped to another row"])
def test_clamped_sampling_draws_from_the_exact_conditional(dbm, fault):
    """The visible layer and one unit of the first hidden layer are held, all other units move."""
    exact = BruteForce(dbm)
    row, held = np.array([1.0, 0.0, 0.0, 1.0]), 1
    conditional = exact.posterior(row) * (exact.states[1][:, held] == 1)
    rates, coincidences = exact.statistics(conditional / conditional.sum())
    clamp = sampling.clamp_visible(dbm)
    clamp = (clamp[0], jnp.arange(3) == held, None)
    start_row = 1 - row if fault == "clamped to another row" else row
    _, *hidden = sampling.random_states(dbm, jax.random.key(5), 8192)
    start = (jnp.asarray(np.tile(start_row, (8192, 1)), jnp.float32), hidden[0].at[:, held].set(1), hidden[1])
    if fault == "clamp left out":
        clamp = (jnp.zeros(4, bool), jnp.zeros(3, bool), None)
    states = sampling.gibbs(dbm, start, jax.random.key(6), 50, clamp)
    if fault != "clamp left out":
        np.testing.assert_array_equal(states[0], start[0])
        np.testing.assert_array_equal(states[1][:, held], 1)
    found = moments_of(dbm, states)
    with judged(fault):
        expected = Statistics(tuple(rates), tuple(coincidences))
        assert_within_errors(found.values, found.standard_errors, expected, GROUPED)


def test_conditional_means_are_exact_probabilities_given_the_even_layers(machine):
    """Second half-sweep: each odd unit's probability given the even layers, from the joint distribution."""
    exact = BruteForce(machine)
    joint = tuple(jnp.asarray(s, jnp.float32) for s in exact.states)
    new, means, _ = half_sweep(machine, joint, jax.random.key(0), parity=1)
    even = np.concatenate(exact.states[0::2], axis=1)
    numbers = (even @ (2.0 ** np.arange(even.shape[1]))).astype(int)
    total = np.bincount(numbers, weights=exact.probabilities)[numbers]
    for layer in range(machine.n_layers):
        if layer % 2 == 0:
            np.testing.assert_array_equal(means[layer], joint[layer])
            np.testing.assert_array_equal(new[layer], joint[layer])
            continue
        for unit in range(machine.layer_sizes[layer]):
            on = exact.probabilities * exact.states[layer][:, unit]
            np.testing.assert_allclose(
                means[layer][:, unit], np.bincount(numbers, weights=on)[numbers] / total, atol=2e-6
            )
        assert set(np.unique(new[layer])) <= {0.0, 1.0}


def test_held_units_are_their_own_means(dbm):
    states = sampling.random_states(dbm, jax.random.key(0), 64)
    held = jnp.asarray([True, False, True])
    new, means, _ = half_sweep(dbm, states, jax.random.key(1), 1, (None, held, None))
    free_new, free_means, _ = half_sweep(dbm, states, jax.random.key(1), 1)
    for found, free in ((new, free_new), (means, free_means)):
        np.testing.assert_array_equal(found[1], jnp.where(held[None, :], states[1], free[1]))
        assert (np.asarray(found[1]) != np.asarray(free[1])).any()


def test_draws_and_streamed_moments_come_from_the_same_chains(rbm):
    schedule: dict[str, Any] = {"n_draws": 20, "n_chains": 64, "n_sweeps": 2, "n_burn_in": 3}
    draws = sampling.sample(rbm, jax.random.key(1), **schedule)
    assert [d.shape for d in draws] == [(20, 64, n) for n in rbm.layer_sizes]
    moments = sampling.moments(rbm, jax.random.key(1), **schedule)
    # The even layer enters the moments as states, so its rates are plain averages over the draws.
    np.testing.assert_allclose(moments.rates[0], np.asarray(draws[0]).mean(axis=(0, 1)), rtol=1e-5)
    found = moments.diagnostics
    assert (found.n_chains, found.n_draws, found.n_sweeps) == (64, 20, 2)
    np.testing.assert_allclose(found.effective_sample_size, draws.diagnostics.effective_sample_size, rtol=1e-4)
    energies = np.asarray(rbm.energy(draws.rows())).reshape(64, 20).T
    np.testing.assert_allclose(draws.energies, energies, rtol=1e-5)


def test_same_key_same_states_and_inputs_stay_as_they_were(rbm):
    start = sampling.random_states(rbm, jax.random.key(0), 64)
    before = [np.array(s) for s in start]
    first = sampling.gibbs(rbm, start, jax.random.key(1), 5)
    again = sampling.gibbs(rbm, start, jax.random.key(1), 5)
    other = sampling.gibbs(rbm, start, jax.random.key(2), 5)
    for layer in range(2):
        np.testing.assert_array_equal(first[layer], again[layer])
        np.testing.assert_array_equal(start[layer], before[layer])
        assert (np.asarray(first[layer]) != np.asarray(other[layer])).any()


@pytest.mark.parametrize(("name", "value"), [("n_chains", 1), ("n_draws", 1)])
def test_too_few_draws_for_an_error_are_refused(rbm, name, value):
    numbers = {"n_chains": 8, "n_draws": 10} | {name: value}
    with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 2, got 1"):
        sampling.moments(rbm, jax.random.key(1), **numbers)


def test_one_row_of_states_is_refused(rbm):
    start = sampling.random_states(rbm, jax.random.key(0), 1)
    with pytest.raises(ValueError, match="at least 2 rows for a standard error, got 1; draw more states"):
        moments_of(rbm, start)


@pytest.mark.parametrize("n_rows", [2, 16, 17, 33, 500])
def test_errors_from_groups_of_any_size(n_rows):
    """Up to 16 groups of consecutive rows, the last ones smaller, against NumPy loops."""
    rng = np.random.default_rng(n_rows)
    lower, upper = (rng.integers(0, 2, (n_rows, n)).astype(np.float32) for n in (3, 2))
    found = moments_of(Machine([np.zeros((3, 2))], [np.zeros(3), np.zeros(2)]), (lower, upper))
    size = -(-n_rows // min(n_rows, 16))
    groups = [slice(start, start + size) for start in range(0, n_rows, size)]
    products = lower[:, :, None] * upper[:, None, :]
    for values, mean, error in (
        (lower, found.rates[0], found.standard_errors.rates[0]),
        (products, found.coincidences[0], found.standard_errors.coincidences[0]),
    ):
        np.testing.assert_allclose(mean, values.mean(axis=0), rtol=1e-5)
        shares = [len(values[g]) / n_rows for g in groups]
        spread = sum(
            s**2 * (values[g].mean(axis=0) - values.mean(axis=0)) ** 2 for s, g in zip(shares, groups, strict=True)
        )
        between_groups = np.sqrt(spread * len(groups) / (len(groups) - 1))
        # Seen in few rows: an error that covers what was not seen, never less than the spread.
        few = np.minimum(mean, 1 - np.asarray(mean)) * n_rows < 40
        np.testing.assert_allclose(np.asarray(error)[~few], between_groups[~few], rtol=1e-4)
        assert (np.asarray(error) >= between_groups - 1e-5).all()
        assert (np.asarray(error)[few] >= 1.4 / n_rows).all()


def test_memory_does_not_grow_with_the_number_of_states(dbm):
    """The compiled programs for 10,000 and 100,000 states need the same memory beyond the keys of the draws."""
    key = jax.random.key(0)
    states = sampling.random_states(dbm, key, 100)
    needed = {}
    for n_draws in (100, 1000):

        def stream(states, key, n_draws=n_draws, sampler=Gibbs()):  # noqa: B008
            return streamed_moments(dbm, sampler, sampler.init(dbm, key, 100, states), key, n_draws=n_draws)

        program = jax.jit(stream).lower(states, key).compile()
        analysis = program.memory_analysis()
        assert analysis is not None
        needed[n_draws] = analysis.temp_size_in_bytes
    assert needed[1000] - needed[100] <= 64 * 900, needed  # a state of all chains takes 4,800 bytes


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["right", "weights of eight bits"])
def test_a_hundred_million_draws_have_the_exact_frequencies(rbm, fault):
    """Chi-square over all 512 joint states: independent exact draws, each after one sweep that must change nothing.

    Twin: weights rounded to bfloat16, wrong by one part in 256 at most.
    """
    exact = BruteForce(rbm)
    cumulative = jnp.asarray(exact.probabilities.cumsum(), jnp.float32)
    table = [jnp.asarray(s, jnp.float32) for s in exact.states]
    n_chains = 2**20
    machine = rbm if fault == "right" else rbm.in_precision("bfloat16")

    @jax.jit
    def numbers(key):
        key_start, key_sweep = jax.random.split(key)
        uniform = jax.random.uniform(key_start, (n_chains,))
        start = jnp.minimum(jnp.searchsorted(cumulative, uniform, side="right"), len(cumulative) - 1)
        states = sampling.gibbs(machine, tuple(s[start] for s in table), key_sweep, 1)
        bits = jnp.concatenate(states, axis=1).astype(jnp.int32)
        return bits @ (2 ** jnp.arange(bits.shape[1] - 1, -1, -1))

    counts = np.zeros(len(cumulative), int)
    for key in jax.random.split(jax.random.key(8), 96):
        counts += np.bincount(np.asarray(numbers(key)), minlength=counts.size)
    p_value = stats.chisquare(counts, exact.probabilities * counts.sum()).pvalue
    assert (p_value > FALSE_ALARMS / N_TESTS) == (fault == "right")
