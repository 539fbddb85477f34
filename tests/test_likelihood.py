"""Partition function, log-probabilities, bounds and pseudo-likelihood against plain sums over all joint states."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brute_force import BruteForce
from conftest import small_machine
from pairwise_brute_force import PAIRWISE_FAULTS, PairwiseBruteForce, small_model, with_pairwise_twins
from secateur import likelihood
from secateur.likelihood import LogPartition, annealing
from secateur.likelihood.rows import pseudo_likelihood_of
from secateur.model import mean_field
from secateur.model.machine import Machine
from secateur.model.pairwise import PairwiseModel
from secateur.model.trials import stack
from secateur.model.trust import NotToBeTrusted, Verdict
from statistical import FAULTS, assert_within_errors, every_machine_and_twins, judged, with_twins

N_CHAINS = 256


def _all_rows(machine) -> np.ndarray:
    return np.array(list(itertools.product((0.0, 1.0), repeat=machine.layer_sizes[0])), dtype=np.float32)


@contextmanager
def _verdict_ignored() -> Iterator[None]:
    """What a fault makes of the verdict is no part of the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotToBeTrusted)
        yield


def test_exact_log_partition_says_that_it_is_exact(machine):
    for method in ("exact", "auto"):
        found = likelihood.log_partition(machine, method)
        assert found.estimate == pytest.approx(BruteForce(machine).log_z, rel=1e-12)
        assert (found.standard_error, found.effective_sample_size, found.n_chains) == (0, math.inf, 0)
        assert found.method == "exact" and found.verdict.trusted
        assert repr(found) == f"LogPartition({found.estimate:.6g} nats; exact)"


def test_exact_log_partition_of_pairwise_models():
    for n_units in (1, 2, 5, 6):
        model = small_model(n_units)
        expected = PairwiseBruteForce(model).log_z
        assert likelihood.log_partition(model).estimate == pytest.approx(expected, rel=1e-12)


def test_without_synapses_log_z_is_exact_at_any_size():
    biases = np.linspace(-3, 3, 50)
    expected = np.logaddexp(0, biases.astype(np.float32).astype(float)).sum()
    for model in (
        PairwiseModel(biases, np.zeros((50, 50))),
        Machine([np.zeros((25, 25))], [biases[:25], biases[25:]]),
    ):
        found = likelihood.log_partition(model, "ais")
        assert found.estimate == pytest.approx(expected, rel=1e-12) and found.standard_error == 0


def _annealed(machine, *, n_temperatures: int, n_chains: int = N_CHAINS, base_rates: Any = None) -> LogPartition:
    size: dict[str, Any] = {"n_temperatures": n_temperatures, "n_chains": n_chains}
    with _verdict_ignored():
        return likelihood.log_partition(machine, "ais", key=jax.random.key(0), base_rates=base_rates, **size)


def _assert_covers(found: LogPartition, truth: float) -> None:
    # The effective number of weights less one bounds the degrees of freedom of the error.
    assert_within_errors(found.estimate, found.standard_error, truth, found.effective_sample_size - 1)


@every_machine_and_twins(("wrong temperature", "wrong sign"))
def test_annealed_estimate_lies_within_its_error(machine, fault):
    found = _annealed(FAULTS[fault](machine), n_temperatures=300)
    with judged(fault):
        _assert_covers(found, BruteForce(machine).log_z)
    if fault == "right":
        assert N_CHAINS / 2 < found.effective_sample_size <= N_CHAINS and found.verdict.trusted
        assert (
            found.gap is not None
            and abs(found.gap) < 0.2
            and "trusted" in repr(found)
            and "300 temperatures each way" in repr(found)
        )
    assert (found.n_chains, found.n_temperatures, found.method) == (N_CHAINS, 300, "ais")


@with_pairwise_twins
@pytest.mark.parametrize("base", ["own biases", "rates"])
def test_annealed_log_partition_of_a_pairwise_model(fault, base):
    model, exact = small_model(), PairwiseBruteForce(small_model())
    rates = None if base == "own biases" else exact.coincidences.diagonal()
    found = _annealed(PAIRWISE_FAULTS[fault](model), n_chains=4096, n_temperatures=30, base_rates=rates)
    with judged(fault):
        _assert_covers(found, exact.log_z)


@with_twins
def test_annealing_from_the_rates_of_the_data(dbm, fault):
    rates = np.linspace(0.0, 0.9, 4, dtype=np.float32)
    found = _annealed(FAULTS[fault](dbm), n_temperatures=300, n_chains=1024, base_rates=rates)
    with judged(fault):
        _assert_covers(found, BruteForce(dbm).log_z)


@with_twins
def test_annealing_is_unbiased_with_few_temperatures(fault):
    """A transition that leaves the distribution of another temperature alone shows here, as 14 errors or more."""
    machine = small_machine("dbm-2-hidden", masked=False)
    distorted = FAULTS[fault](machine)
    size = {"n_chains": 40_000, "n_temperatures": 5}
    weights = likelihood.annealed_log_weights(distorted, distorted.biases[0], jax.random.key(1), **size)
    found = likelihood.combine_log_weights(np.asarray(weights), 5)
    with judged(fault):
        _assert_covers(found, BruteForce(machine).log_z)


def test_annealing_with_more_temperatures_is_more_accurate(dbm):
    """The variance of the log weights falls in proportion to the number of temperatures (Neal 2001, section 4)."""
    coarse, fine = (_annealed(dbm, n_temperatures=n) for n in (4, 300))
    assert fine.standard_error < 0.4 * coarse.standard_error
    assert fine.effective_sample_size > coarse.effective_sample_size


@pytest.mark.parametrize("fault", ["right", "plain sum"])
def test_thousands_of_temperatures_lose_no_thousandths_of_a_nat(monkeypatch, fault):
    """Units of a machine without synapses have one and the same log weight, that of the units alone: about 800 nats."""
    if fault != "right":
        monkeypatch.setattr(annealing, "_added", lambda total, lost, gain: (total + gain, lost))
    biases = np.random.default_rng(0).normal(20, 12, 40).astype(np.float32)
    machine = Machine([np.zeros((1, 40))], [np.zeros(1), biases])
    size = {"n_chains": 2, "n_temperatures": 5000}
    # A function of its own, so that nothing compiled is used again.
    plain: Any = annealing.annealed_log_weights
    weights = jax.jit(lambda key: plain.__wrapped__(machine, machine.biases[0], key, **size))(jax.random.key(0))
    error = np.asarray(weights, float) - np.logaddexp(0, biases.astype(float)).sum() - np.log(2)
    # Float32 holds numbers above 512 to 3e-5.
    assert (np.abs(error) < 2e-4).all() if fault == "right" else (np.abs(error) > 4e-3).all()


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
    assert alone.effective_sample_size == pytest.approx(1) and not alone.verdict.trusted
    assert 10 < alone.standard_error < math.inf


def test_log_probability(machine):
    rows = _all_rows(machine)
    exact = BruteForce(machine)
    for log_z in (exact.log_z, LogPartition(exact.log_z)):
        found = likelihood.log_probability(machine, rows, log_z)
        np.testing.assert_allclose(found, exact.log_probability(rows), rtol=1e-9)


def test_log_probability_of_words():
    model = small_model()
    exact = PairwiseBruteForce(model)
    found = likelihood.log_probability(model, exact.states.astype(bool), likelihood.log_partition(model))
    np.testing.assert_allclose(found, np.log(exact.probabilities), atol=1e-10)
    bound = likelihood.log_probability_bound(model, exact.states, exact.log_z)
    np.testing.assert_allclose(bound, found, atol=1e-5)


def test_a_log_z_that_is_not_to_be_trusted_is_told_where_it_is_used(rbm):
    rows, doubtful = _all_rows(rbm), LogPartition(3.0, 0.1, verdict=Verdict(("the chains have not mixed; take more",)))
    for function in (likelihood.log_probability, likelihood.log_probability_bound):
        with pytest.warns(NotToBeTrusted, match="log Z, and so .*, is NOT TO BE TRUSTED: the chains have not mixed"):
            found = function(rbm, rows, doubtful)
        np.testing.assert_array_equal(found, function(rbm, rows, 3.0))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("kind", ["machine", "pairwise"])
def test_rows_come_in_through_the_door(rbm, kind):
    """Any type that holds 0 and 1; pixels from 0 to 255 are no states, and had probabilities above one."""
    model = rbm if kind == "machine" else small_model(5)
    rows = _all_rows(rbm)
    functions: dict[str, Any] = {
        "log_probability": lambda x: likelihood.log_probability(model, x, 3.0),
        "log_probability_bound": lambda x: likelihood.log_probability_bound(model, x, 3.0),
        "free_energy": lambda x: likelihood.free_energy(model, x),
        "pseudo_likelihood": lambda x: likelihood.pseudo_likelihood(model, x, jax.random.key(0)),
    }
    for function in functions.values():
        for other in (rows.astype(bool), rows.astype(np.uint8), rows.astype(float), rows.tolist()):
            np.testing.assert_array_equal(function(other), function(rows))
        with pytest.raises(ValueError, match=r"visible must hold 0 and 1 only, got 255.0 .* write visible > 127"):
            function(rows * 255)
        with pytest.raises(ValueError, match="visible must have 5 columns, one per unit, got 4"):
            function(rows[:, :4])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("log_z", [math.nan, "three", None])
def test_log_z_must_be_a_number(rbm, log_z):
    message = f"log_z must be a finite number of nats or what log_partition returns, got {log_z!r}; give secateur"
    with pytest.raises(ValueError, match=message):
        likelihood.log_probability(rbm, _all_rows(rbm), log_z)


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
    values = jax.jit(jax.vmap(lambda key: pseudo_likelihood_of(distorted, jnp.asarray(rows), key)))(keys)
    values = np.asarray(values, float)
    with judged(fault):
        error = values.std(ddof=1) / math.sqrt(len(values))
        assert_within_errors(values.mean(), error, conditionals.mean(), len(values) - 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"method": "guess"},
            "method must be one of 'auto', 'exact', 'ais', 'tempering', got 'guess'; 'auto' suits every model",
        ),
        (
            {"method": "ais"},
            "key must be a JAX random key for method='ais', got None; write key=jax.random.key(0)",
        ),
        (
            {"method": "ais", "key": True, "n_chains": 1},
            "n_chains must be a whole number of at least 2, got 1; write n_chains=2",
        ),
        (
            {"method": "tempering", "key": True, "n_temperatures": 1},
            "n_temperatures must be a whole number of at least 2, got 1; write n_temperatures=2",
        ),
        (
            {"method": "ais", "key": True, "base_rates": np.array([0.5, 0.1, 0.2, 0.3, 1.5])},
            "base_rates must be 5 numbers from 0 to 1, one per visible unit, got shape (5,) and values from 0.1 to "
            "1.5; give rows.mean(axis=0) of the data",
        ),
        (
            {"method": "tempering", "key": True, "sampler": "gibbs"},
            "sampler must be a Tempering for method='tempering', got 'gibbs'; leave it out, or write "
            "secateur.sampling.Tempering(n_temperatures=20)",
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


@pytest.mark.usefixtures("unchecked")
def test_wrong_models_are_refused(rbm):
    with pytest.raises(ValueError, match="model must be a single one, got 2 stacked ones; take them apart with"):
        likelihood.log_partition(stack([rbm, rbm]))
    with pytest.raises(TypeError, match="model must be a machine, got an array of type float32"):
        rows: Any = _all_rows(rbm)
        likelihood.log_partition(rows)
    large = Machine([np.ones((21, 22))], [np.zeros(21), np.zeros(22)])
    with pytest.raises(ValueError, match="at most 20 units, this one has 21"):
        likelihood.log_partition(large, "exact")
    wide = PairwiseModel(np.zeros(21), np.ones((21, 21)) - np.eye(21))
    with pytest.raises(ValueError, match="exact log_partition needs .* at most 20 units, this one has 21"):
        likelihood.log_partition(wide, "exact")


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
    assert (found[0].n_chains, found[0].n_temperatures) == (50, 9)
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
