"""Parallel tempering and dispersed starts on machines that Gibbs sampling does not cross, and their verdicts."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import secateur as sc
from brute_force import BruteForce
from pairwise_brute_force import PairwiseBruteForce, small_model
from secateur import sampling
from secateur.model import exact
from secateur.model.moments import Statistics
from secateur.model.trust import NotToBeTrusted
from secateur.sampling import Tempering
from secateur.sampling.tempering import _spaced, _swap
from statistical import FAULTS, GROUPED, assert_within_errors, every_machine_and_twins, judged
from two_modes import BURST_LOG_Z, BURST_RATE, burst_machine, equal_modes_machine, exact_burst, two_cluster_rows

swap = jax.jit(_swap)

SCHEDULE: dict[str, Any] = {"n_draws": 200, "n_chains": 128, "n_sweeps": 2}


@pytest.fixture(scope="module")
def clusters() -> sc.Machine:
    """A machine that was fitted to two clusters of rows."""
    model = sc.BoltzmannMachine(hidden=(6,), method="exact", n_epochs=200, random_state=0)
    return model.fit(two_cluster_rows()).machine_


def test_the_burst_machine_is_what_it_is_said_to_be():
    rate, log_z = exact_burst()
    assert rate == pytest.approx(BURST_RATE, abs=5e-4) and log_z == pytest.approx(BURST_LOG_Z, abs=5e-4)


@every_machine_and_twins()
def test_tempered_moments_lie_within_their_errors(machine, fault):
    """Every depth, with and without masks; 16 groups of chains."""
    rates, coincidences = BruteForce(machine).statistics()
    found = sampling.moments(FAULTS[fault](machine), jax.random.key(1), sampler="tempering", **SCHEDULE)
    with judged(fault):
        expected = Statistics(tuple(rates), tuple(coincidences))
        assert_within_errors(found.values, found.standard_errors, expected, GROUPED)


@pytest.mark.parametrize("fault", ["right", "wrong temperature"])
def test_tempering_of_a_pairwise_model(fault):
    model, truth = small_model(), PairwiseBruteForce(small_model())
    scale = np.float32(1.0 if fault == "right" else 1.2)
    sampled = sc.PairwiseModel(model.biases * scale, model.couplings * scale)
    found = sampling.moments(sampled, jax.random.key(2), sampler="tempering", **SCHEDULE)
    with judged(fault):
        expected = Statistics((np.diagonal(truth.coincidences),), (truth.coincidences,))
        assert_within_errors(found.values, found.standard_errors, expected, GROUPED)


def test_gibbs_chains_that_do_not_mix_say_so():
    for model in (burst_machine(), equal_modes_machine()):
        with pytest.warns(NotToBeTrusted, match="the average over the model is NOT TO BE TRUSTED: split R-hat"):
            sampling.moments(model, jax.random.key(0), **SCHEDULE)
        with pytest.warns(NotToBeTrusted, match="the chains have not mixed; take more sweeps, or sampler='tempering'"):
            sampling.sample(model, jax.random.key(0), **SCHEDULE)


def test_chains_that_start_alike_would_have_been_trusted():
    """Twin: from the biases alone every chain stays silent, and no diagnostic can see the burst."""
    found = sampling.moments(burst_machine(), jax.random.key(0), start="biases", **SCHEDULE)
    assert found.verdict.trusted and float(np.mean(found.rates[0])) < 0.02


def test_tempering_crosses_where_gibbs_does_not(clusters):
    machines = {"burst": burst_machine(), "equal modes": equal_modes_machine(), "clusters": clusters}
    for name, machine in machines.items():
        found = sampling.moments(machine, jax.random.key(3), sampler="tempering", **SCHEDULE)
        assert found.diagnostics.swaps.round_trips > 1, name
        truth = np.full(24, exact_burst()[0]) if name == "burst" else exact.moments(machine).rates[0]
        assert_within_errors(found.rates[0], found.standard_errors.rates[0], truth, GROUPED)


def test_auto_takes_tempering_where_gibbs_is_not_trusted(clusters):
    found = sampling.sample(clusters, jax.random.key(0), n_draws=400, n_chains=20, n_sweeps=10, sampler="auto")
    assert found.diagnostics.sampler == "tempering"
    assert float(found[0].mean()) == pytest.approx(float(exact.moments(clusters).rates[0].mean()), abs=0.05)
    easy = sc.Machine.random((6, 4), jax.random.key(0), weight_scale=0.5)
    assert sampling.sample(easy, jax.random.key(0), n_draws=400, sampler="auto").diagnostics.sampler == "gibbs"
    assert sampling.moments(easy, jax.random.key(0), n_draws=4, sampler="auto").is_exact


def test_swaps_hold_the_joint_distribution():
    """Replicas drawn exactly at every temperature have the exact mean log ratios after swaps alone as before."""
    machine = equal_modes_machine()
    sampler = Tempering(n_temperatures=4)
    state = sampler.init(machine, jax.random.key(0), 2048)
    truth = BruteForce(machine)
    slope = truth.log_weights - sum(s @ np.asarray(b, float) for s, b in zip(truth.states, state.base, strict=True))
    based = sum(s @ np.asarray(b, float) for s, b in zip(truth.states, state.base, strict=True))
    rng = np.random.default_rng(0)
    rows, expected = [], []
    for beta in np.asarray(state.inverse_temperatures, float):
        p = np.exp(beta * slope + based - (beta * slope + based).max())
        p /= p.sum()
        rows.append(rng.choice(slope, 2048, p=p))
        expected.append((p @ slope, np.sqrt(p @ slope**2 - (p @ slope) ** 2)))
    level = jnp.broadcast_to(jnp.arange(4, dtype=jnp.int32)[:, None], (4, 2048))
    ratios = jnp.asarray(np.stack(rows), jnp.float32)
    state = eqx.tree_at(lambda s: (s.level, s.log_ratio), state, (level, ratios))
    moved = state
    for key in jax.random.split(jax.random.key(1), 20):
        moved = swap(moved, key)
    assert (np.asarray(moved.level) != np.asarray(level)).mean() > 0.2
    at = np.take_along_axis(np.asarray(ratios), np.argsort(np.asarray(moved.level), axis=0), axis=0)
    for found, (mean, deviation) in zip(at, expected, strict=True):
        assert abs(found.mean() - mean) < 6 * deviation / np.sqrt(2048)
    assert (np.sort(np.asarray(moved.level), axis=0) == np.arange(4)[:, None]).all()


def test_a_round_trip_is_from_the_cold_end_to_the_hot_one_and_back():
    """One chain of three replicas whose swaps are always accepted: each replica walks up and down the ladder."""
    machine = sc.Machine.random((3, 2), jax.random.key(0), weight_scale=0.0)
    state = Tempering(n_temperatures=3).init(machine, jax.random.key(0), 1)
    flat = eqx.tree_at(lambda s: s.log_ratio, state.without_counts(), jnp.zeros((3, 1), jnp.float32))
    level = jnp.arange(3, dtype=jnp.int32)[:, None]
    flat = eqx.tree_at(lambda s: (s.level, s.heading), flat, (level, (level == 2).astype(jnp.int32)))
    steps = jax.random.split(jax.random.key(1), 60)
    for key in steps:
        flat = swap(flat, key)
    # Up and down takes twice three steps; the first trip of a replica counts from its first visit of the cold end.
    np.testing.assert_array_less(8, np.asarray(flat.round_trips).ravel())
    assert np.asarray(flat.round_trips).max() == 10
    np.testing.assert_allclose(flat.swaps.acceptance, 1)


def test_the_ladder_is_spaced_by_rejections():
    ladder = jnp.linspace(0, 1, 5)
    rejection = jnp.asarray([0.1, 0.1, 0.1, 0.7])
    spaced = np.asarray(_spaced(ladder, rejection))
    assert spaced[0] == 0 and spaced[-1] == 1 and (np.diff(spaced) > 0).all()
    np.testing.assert_allclose(spaced[1:4], [0.625, 0.75 + 0.25 * 0.2 / 0.7, 0.75 + 0.25 * 0.45 / 0.7], rtol=1e-5)


def test_fewer_than_two_temperatures_are_refused():
    with pytest.raises(ValueError, match="n_temperatures must be a whole number of at least 2, got 1"):
        Tempering(n_temperatures=1)
