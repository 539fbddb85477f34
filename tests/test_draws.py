"""Starts, clamps, draws given back, samplers of one's own: what users give to sampling and get from it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import secateur as sc
from brute_force import BruteForce
from pairwise_brute_force import PairwiseBruteForce, small_model
from secateur import fisher, sampling
from secateur.model.moments import FEW, Statistics
from secateur.model.trials import stack
from secateur.model.trust import NotToBeTrusted
from secateur.sampling import Gibbs, GibbsState, info_of
from secateur.sampling.sampler import _FACTORIES
from secateur.sampling.stored import dependence, moments_of
from statistical import GROUPED, assert_within_errors, judged
from two_modes import equal_modes_machine

KEY = jax.random.key(0)


def test_starts_are_dispersed(dbm):
    rows = np.zeros((20, 4), np.uint8)
    rows[:, 1] = 1
    states = sampling.start_states(dbm, KEY, 400, "dispersed", rows)
    activity = sum(np.asarray(layer).sum(axis=1) for layer in states)
    assert (activity == 0).sum() >= 100 and (activity == sum(dbm.layer_sizes)).sum() >= 100
    assert (np.asarray(states[0]) == rows[0]).all(axis=1).sum() >= 100
    # In random order, so that groups of consecutive chains differ.
    assert np.ptp([(activity[group] == 0).sum() for group in np.split(np.arange(400), 16)]) > 2
    for how, expected in (("silence", 0), ("burst", 1)):
        assert all((np.asarray(layer) == expected).all() for layer in sampling.start_states(dbm, KEY, 5, how))


def test_a_clamp_may_differ_from_chain_to_chain(dbm):
    """Filling in: every chain holds other visible units, and one of them is compared with its exact conditional."""
    exact = BruteForce(dbm)
    row = np.array([1.0, 0.0, 1.0, 1.0])
    held = np.tile([True, False, True, False], (8192, 1))
    held[4096:] = [True, True, True, True]
    start = (jnp.asarray(np.tile(row, (8192, 1)), jnp.float32), *sampling.random_states(dbm, KEY, 8192)[1:])
    states = sampling.gibbs(dbm, start, jax.random.key(1), 50, (jnp.asarray(held), None, None))
    np.testing.assert_array_equal(np.asarray(states[0])[held], np.tile(row, (8192, 1))[held])
    fits = (exact.states[0][:, 0] == 1) & (exact.states[0][:, 2] == 1)
    conditional = np.where(fits, exact.probabilities, 0) / exact.probabilities[fits].sum()
    expected = conditional @ exact.states[0]
    found = np.asarray(states[0])[:4096]
    np.testing.assert_allclose(found.mean(axis=0), expected, atol=6 * 0.5 / np.sqrt(4096))
    clamped = sampling.sample(
        dbm, KEY, n_draws=20, n_chains=8192, start=start, clamp=(jnp.asarray(held), None, None), n_sweeps=5
    )
    np.testing.assert_array_equal(np.asarray(clamped[0])[:, held], np.tile(row, (8192, 1))[held][None, :].repeat(20, 0))


def test_a_clamp_holds_units_of_a_pairwise_model():
    model, exact = small_model(), PairwiseBruteForce(small_model())
    start = (jnp.zeros((8192, model.n_units)).at[:, 0].set(1.0),)
    held = (jnp.arange(model.n_units) == 0,)
    (states,) = sampling.gibbs(model, start, KEY, 30, held)
    on = exact.states[:, 0] == 1
    expected = exact.probabilities[on] @ exact.states[on] / exact.probabilities[on].sum()
    np.testing.assert_allclose(states.mean(axis=0), expected, atol=6 * 0.5 / np.sqrt(8192))


@pytest.mark.parametrize("fault", ["right", "flattened draw by draw"])
def test_errors_of_draws_given_back_cover_the_truth(fault):
    """A slow machine in 40 repeats: draws as they are have the errors of their chains. Flattened draw after draw, each
    group of rows holds every chain, errors are too small, and the rows are said to hang together.
    """
    machine = equal_modes_machine()
    slow = machine.with_parameters(jax.tree.map(lambda a: np.float32(0.75) * a, machine.parameters))
    truth = BruteForce(slow).statistics()[0][0]
    z, trusted = [], []
    for seed in range(40):
        with pytest.warns(NotToBeTrusted, match="split R-hat"):  # a memory of many draws
            draws = sampling.sample(slow, jax.random.key(seed), n_draws=100, n_chains=64, n_burn_in=1000)
        given = draws if fault == "right" else [np.asarray(layer).reshape(-1, layer.shape[-1]) for layer in draws]
        moments = moments_of(slow, given)
        z.append((np.asarray(moments.rates[0]) - truth) / np.asarray(moments.standard_errors.rates[0]))
        trusted.append(moments.verdict.trusted)
    spread = np.sqrt(np.mean(np.square(z)))
    if fault == "right":
        assert 0.8 < spread < 1.4
    else:
        assert spread > 2 and not any(trusted)


def test_arrays_of_draws_are_taken_as_they_are(rbm):
    draws = sampling.sample(rbm, KEY, n_draws=50, n_chains=32)
    from_object, from_arrays = (fisher.variance(rbm, source) for source in (draws, tuple(map(np.asarray, draws))))
    np.testing.assert_allclose(from_object[0], from_arrays[0], rtol=1e-6)
    np.testing.assert_allclose(from_object.weight_errors[0], from_arrays.weight_errors[0], rtol=1e-5)
    assert from_arrays.diagnostics.n_chains == 32
    assert from_arrays.verdict == from_object.verdict


@pytest.mark.parametrize("lag", [1, 16, None])
def test_rows_that_hang_together_are_found(lag):
    rng = np.random.default_rng(0)
    series = rng.normal(size=(6400, 2))
    if lag:
        chains = np.zeros((6400, 2))
        for n in range(6400):
            chains[n] = 0.5 * (chains[n - lag] if n >= lag else 0) + series[n]
        series = chains
    assert (float(dependence(jnp.asarray(series, jnp.float32))) > 1) == bool(lag)


def test_a_unit_never_seen_active_has_an_error_that_covers_the_truth():
    """Fifteen units of rate 6e-6: no draw has one of them active; their information is 3e-6, not 0 +- 0."""
    bias = np.zeros(30)
    bias[:15] = -12
    machine = sc.Machine([np.full((30, 25), 1e-3)], [bias, np.zeros(25)])
    moments = sampling.moments(machine, KEY, n_draws=50, n_chains=200, n_sweeps=2)
    information = fisher.variance(machine, moments)
    q = 0.5 / (1 + np.exp(12))
    never = np.asarray(information[0])[:15] == 0
    assert never.mean() > 0.5
    errors = np.asarray(information.weight_errors[0])[:15][never]
    assert (errors > 0).all() and (1.96 * errors > q).all() and (errors < 1e-3).all()
    assert (np.asarray(moments.rates[0])[15:] * 10_000 > FEW).all()


def test_the_error_at_one_half_is_not_zero():
    machine = sc.Machine([np.zeros((2, 2))], [np.zeros(2), np.zeros(2)])
    information = fisher.variance(machine, sampling.moments(machine, KEY, n_draws=50, n_chains=64))
    assert (np.asarray(information.bias_errors[0]) > 0).all()


def test_a_sampler_of_ones_own_works_by_object_and_by_name(rbm):
    """Exact draws from a table: what a user would write."""
    exact = BruteForce(rbm)
    table = [jnp.asarray(s, jnp.float32) for s in exact.states]
    logits = jnp.asarray(np.log(exact.probabilities), jnp.float32)

    class Table:
        def init(self, model, key, n_chains, start=None):
            return GibbsState(start if start is not None else sampling.random_states(model, key, n_chains))

        def step(self, model, state, key):
            chosen = jax.random.categorical(key, logits, shape=(state.states[0].shape[0],))
            states = tuple(layer[chosen] for layer in table)
            return GibbsState(states), info_of(model, states)

    rates, coincidences = exact.statistics()
    sampling.register("table", lambda n_sweeps: Table())
    try:
        for sampler in (Table(), "table"):
            found = sampling.moments(rbm, KEY, n_draws=100, n_chains=64, sampler=sampler)
            assert found.diagnostics.sampler == "table"
            expected = Statistics(tuple(rates), tuple(coincidences))
            assert_within_errors(found.values, found.standard_errors, expected, GROUPED)
        with pytest.raises(ValueError, match="sampler 'table' is registered already; choose another name"):
            sampling.register("table", lambda n_sweeps: Table())
    finally:
        del _FACTORIES["table"]


def test_bad_input_is_refused(rbm, unchecked):
    def refused(kind, message, **changes):
        arguments: dict[str, Any] = {"key": KEY, "n_draws": 4} | changes
        with pytest.raises(kind, match=message):
            sampling.sample(rbm, **arguments)

    refused(
        ValueError, "sampler must be one of 'gibbs', 'tempering' .* got 'gibs'; did you mean 'gibbs'?", sampler="gibs"
    )
    refused(TypeError, "sampler must be a name or an object with init and step, got 3; make one", sampler=3)
    refused(ValueError, "start must be one of 'dispersed', 'data', .* got 'middle'", start="middle")
    refused(ValueError, "start='data' needs visible rows, got none", start="data")
    refused(TypeError, r"key must be a JAX random key, got the int 0; write jax.random.key\(0\)", key=0)
    refused(ValueError, "n_draws must be a whole number of at least 1, got 0", n_draws=0)
    refused(ValueError, "clamp needs sampler='gibbs', got 'tempering'", sampler="tempering", clamp=(None, None))
    start = sampling.random_states(rbm, KEY, 5)
    refused(ValueError, "n_chains must be the 5 chains of start, got 6; leave it out", start=start, n_chains=6)
    with pytest.raises(ValueError, match=r"states\[0\] must have 5 columns, one per unit, got 4"):
        sampling.gibbs(rbm, (start[0][:, :4], start[1]), KEY, 1)


def test_what_comes_back_shows_numbers(rbm):
    draws = sampling.sample(rbm, KEY, n_draws=100, n_chains=50)
    moments = sampling.moments(rbm, KEY, n_draws=100, n_chains=50)
    information = fisher.variance(rbm, moments)
    for text in (repr(draws), repr(moments), repr(information)):
        assert "100 draws" in text and "effective sample size" in text and "trusted" in text.lower()
    assert "exact" in repr(fisher.variance(rbm, "exact"))


@pytest.mark.parametrize("fault", ["right", "wrong temperature"])
def test_covariances_are_summed_while_chains_run(rbm, fault):
    from secateur.sampling.runner import CovarianceSums, run

    sampled = rbm if fault == "right" else rbm.with_parameters(jax.tree.map(lambda a: 1.3 * a, rbm.parameters))
    state = Gibbs().init(rbm, KEY, 512)
    found = run(sampled, Gibbs(), state, KEY, CovarianceSums.empty(state.states), n_draws=200, n_burn_in=50)
    exact = BruteForce(rbm)
    joined = np.concatenate(exact.states, axis=1)
    centred = joined - exact.probabilities @ joined
    truth = (exact.probabilities[:, None] * centred).T @ centred
    with judged(fault):
        # At least 10,000 effective draws; a covariance of 0/1 units has at most a quarter of 1 / sqrt of that as error.
        assert_within_errors(found.collected.covariance, np.full_like(truth, 0.25 / np.sqrt(10_000)), truth)


def test_chains_that_hold_the_same_states_are_compared(unchecked):
    """A unit without synapses, held alike in all chains, changes nothing: the two modes must still be seen."""
    machine = equal_modes_machine()
    weights, biases = np.vstack([machine.weights[0], np.zeros(6)]), np.append(machine.biases[0], 0.0)
    wider = sc.Machine([weights], [biases, machine.biases[1]])
    start = sampling.start_states(wider, KEY, 64)
    start = (start[0].at[:, -1].set(1), start[1])
    clamp = ([0] * 8 + [1], None)
    with pytest.warns(NotToBeTrusted, match="split R-hat"):
        sampling.moments(wider, KEY, n_draws=100, start=start, clamp=clamp)


def test_bad_clamps_are_refused(rbm, unchecked):
    start = sampling.random_states(rbm, KEY, 10)
    cases: tuple[tuple[Any, str], ...] = (
        ((None,), "clamp must be a tuple with one entry for each of the 2 layers: .* got 1 entries; write None for"),
        (np.ones(5, bool), "clamp must be a tuple with one entry for each of the 2 layers: .* got a ndarray"),
        (([True], None), r"clamp\[0\] must have the shape \(5,\) or \(10, 5\), got \(1,\)"),
        (([0.3, 0, 0, 0, 0], None), r"clamp\[0\] must hold 0 and 1 only, got 0.3"),
    )
    for clamp, message in cases:
        with pytest.raises(ValueError, match=message):
            sampling.gibbs(rbm, start, KEY, 1, clamp)


def test_stacked_machines_are_named(rbm, unchecked):
    both = stack([rbm, rbm])
    for call in (
        lambda: sampling.sample(both, KEY, n_draws=4),
        lambda: fisher.variance(both, "exact"),
        lambda: sc.pruning.prune(both, "random", 0.5, key=KEY),
        lambda: sc.likelihood.log_partition(both),
    ):
        with pytest.raises(ValueError, match="must be a single one, got 2 stacked ones; take them apart with"):
            call()
