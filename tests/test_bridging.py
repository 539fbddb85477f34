"""log Z of machines with separate modes, from tempering, and from annealing that must know when it is wrong."""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brute_force import BruteForce
from conftest import small_machine
from pairwise_brute_force import PAIRWISE_FAULTS, PairwiseBruteForce, small_model, with_pairwise_twins
from secateur import likelihood
from secateur.likelihood import annealing, bridging, partition
from secateur.model import enumeration
from secateur.model.machine import Machine
from secateur.model.pairwise import PairwiseModel
from secateur.model.trust import NotToBeTrusted
from secateur.sampling import Tempering, tempering
from statistical import FAULTS, GROUPED, assert_within_errors, judged, with_twins
from two_modes import burst_machine, equal_modes_machine, exact_burst, two_cluster_rows

KEY = jax.random.key(0)


def _tempered(model, key=KEY, **sizes) -> likelihood.LogPartition:
    sizes = {"n_chains": 64, "n_draws": 400, "n_burn_in": 400} | sizes
    sampler = Tempering(n_temperatures=sizes.pop("n_temperatures", 10))
    return bridging.combine_temperatures(bridging.tempering_run(model, sampler, key, **sizes))


def _two_clusters() -> Machine:
    """A machine that has learned two clusters, 85 % and 15 % of the rows, by the exact gradient."""
    rows = two_cluster_rows(100).astype(float)
    weights, visible, hidden = np.random.default_rng(0).normal(0, 0.1, (16, 6)), np.zeros(16), np.zeros(6)
    for _ in range(150):
        gradient = enumeration.gradient(Machine([weights], [visible, hidden]), rows)
        weights, visible, hidden = (
            old + 0.2 * new
            for old, new in zip((weights, visible, hidden), (*gradient.weights, *gradient.biases))  # noqa: B905
        )
    return Machine([weights], [visible, hidden])


@with_twins
def test_tempering_of_a_machine(dbm, fault):
    found = _tempered(FAULTS[fault](dbm))
    with judged(fault):
        assert_within_errors(found.estimate, found.standard_error, BruteForce(dbm).log_z, GROUPED)
    assert found.verdict.trusted and (found.method, found.n_chains, found.n_temperatures) == ("tempering", 64, 10)
    assert "tempering, 64 chains x 10 temperatures, effective" in repr(found)


@with_pairwise_twins
def test_tempering_of_a_pairwise_model(fault):
    found = _tempered(PAIRWISE_FAULTS[fault](small_model()))
    with judged(fault):
        exact = PairwiseBruteForce(small_model()).log_z
        assert_within_errors(found.estimate, found.standard_error, exact, GROUPED)


def test_annealing_is_right_on_machines_with_two_modes_or_not_trusted():
    """What forward annealing alone got wrong by 7 nats, with an effective sample size of 256 of 256."""
    for machine, truth in (
        (burst_machine(), exact_burst()[1]),
        (equal_modes_machine(), BruteForce(equal_modes_machine()).log_z),
        (_two_clusters(), enumeration.log_partition(_two_clusters())),
    ):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            found = likelihood.log_partition(machine, "ais", key=KEY, n_temperatures=500)
        assert [w.category for w in told] == [NotToBeTrusted] * (not found.verdict.trusted)
        assert not found.verdict.trusted or abs(found.estimate - truth) < 3 * found.standard_error


def test_auto_turns_to_tempering_where_annealing_is_not_to_be_trusted(monkeypatch):
    """The machine of 24 x 24 units is beyond enumeration; its truth is a sum over the numbers of active units."""
    truth = exact_burst()[1]
    found = likelihood.log_partition(burst_machine(), key=KEY, n_temperatures=500)
    assert found.method == "tempering" and found.verdict.trusted
    assert_within_errors(found.estimate, found.standard_error, truth, GROUPED)
    monkeypatch.setattr(partition, "can_be_summed", lambda model: False)
    easy = small_machine("rbm", masked=False)
    assert likelihood.log_partition(easy, key=KEY, n_temperatures=500).method == "ais"


@pytest.mark.parametrize("machine", [equal_modes_machine(), _two_clusters()], ids=["equal modes", "two clusters"])
def test_tempering_is_right_on_machines_with_two_modes(machine):
    found = likelihood.log_partition(machine, "tempering", key=KEY)
    assert found.verdict.trusted
    assert_within_errors(found.estimate, found.standard_error, enumeration.log_partition(machine), GROUPED)


def test_tempering_that_misses_a_mode_at_the_hot_end_is_not_trusted(monkeypatch):
    """Planted: independent units with a third of all units active, beside which the burst mode is cut off on the way.

    The cold chains alone then look well mixed, and log Z came out 9 errors too small.
    """
    third = tuple(jnp.full(24, np.float32(np.log(0.33 / 0.67))) for _ in range(2))
    monkeypatch.setattr(tempering, "_base", lambda model, key: third)
    found = _tempered(burst_machine(), n_temperatures=20, n_draws=1000, n_burn_in=1001)
    assert abs(found.estimate - exact_burst()[1]) > 4 * found.standard_error
    assert not found.verdict.trusted and "the hot chains have not mixed" in str(found.verdict)


def test_temperatures_that_do_not_overlap_are_not_trusted():
    large = Machine.random((30, 30), KEY, weight_scale=3.0)
    found = _tempered(large, n_temperatures=2)
    assert "neighbouring temperatures overlap by 0.0" in str(found.verdict)
    few = _tempered(small_machine("rbm", masked=False), n_chains=4)
    assert "4 chains give no measure of the error of tempering; take 8 or more, better 16" in str(few.verdict)


def test_gap_and_sample_size_are_judged():
    rng = np.random.default_rng(0)
    right = rng.normal(-0.005, 0.1, 500), rng.normal(-0.005, 0.1, 500)
    assert likelihood.combine_both_directions(*right, 10).verdict.trusted
    # Both directions agree with themselves but not with each other: reversed runs that knew one of two modes.
    apart = likelihood.combine_both_directions(right[0], right[1] - 23, 10)
    assert apart.gap == pytest.approx(23, abs=0.1)
    assert "annealing from the model and to the model disagree by 23 nats with an error of" in str(apart.verdict)
    scattered = likelihood.combine_both_directions(rng.normal(0, 4, 50), rng.normal(0, 4, 50), 10)
    assert "of the annealing runs (at least" in str(scattered.verdict)


@pytest.mark.parametrize("fault", ["right", "the same order both ways"])
def test_reversed_annealing_of_a_pairwise_model_reverses_its_sweeps(fault):
    """Pairs of states before and after a sweep are as frequent as after and before its reverse (Crooks 1999)."""
    n, couplings = 200_000, np.array([[0, 2.0, -1.5], [2.0, 0, 1.0], [-1.5, 1.0, 0]])
    model = PairwiseModel([0.5, -1.0, 0.3], couplings)
    exact = PairwiseBruteForce(model)
    counts = []
    for seed, reverse in ((0, False), (1, fault == "right")):
        drawn = np.random.default_rng(seed).choice(8, n, p=exact.probabilities)
        states = (jnp.asarray(exact.states[drawn], jnp.float32),)
        one, key = jnp.float32(1), jax.random.key(seed)
        _, (found,) = annealing.anneal_step(model, (model.biases,), states, one, one, key, reverse)
        after = np.asarray(found) @ [4, 2, 1]
        pairs = (drawn, after) if seed == 0 else (after, drawn)
        counts.append(np.bincount((8 * pairs[0] + pairs[1]).astype(int), minlength=64))
    first, second = (c / n for c in counts)
    with judged(fault):
        assert_within_errors(first, np.sqrt((first + second + 2 / n) / n), second)
