"""Coverage of the stated error of log Z over 200 repeats, on fast, slow and two-mode machines; minutes, so -m slow."""

from __future__ import annotations

import warnings
from functools import partial

import jax
import numpy as np
import pytest
from scipy import stats

from brute_force import BruteForce
from conftest import small_machine
from secateur.likelihood import (
    LogPartition,
    annealed_log_weights,
    bridging,
    combine_both_directions,
    combine_log_weights,
    log_partition,
    reverse_log_weights,
)
from secateur.model.machine import Machine
from secateur.model.trust import NotToBeTrusted
from secateur.sampling import Tempering
from two_modes import equal_modes_machine

pytestmark = pytest.mark.slow

N_REPEATS = 200
FALSE_ALARM = 1e-4
"""Probability with which a right error is judged wrong, had the seeds not been fixed."""


def _slow_machine() -> Machine:
    """8 x 6 units whose two modes a Gibbs chain leaves about once in a hundred sweeps."""
    modes = equal_modes_machine()
    weights = 0.85 * np.asarray(modes.weights[0], float)
    return Machine([weights], [-weights.sum(1) / 2, -weights.sum(0) / 2 + 0.05])


MACHINES = {
    "fast": lambda: small_machine("rbm", masked=False),
    "deep": lambda: small_machine("dbm-2-hidden", masked=True),
    "slow": _slow_machine,
    "two modes": equal_modes_machine,
}


def _annealed(machine: Machine, seed: int) -> LogPartition:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotToBeTrusted)
        return log_partition(machine, "ais", key=jax.random.key(seed), n_chains=64, n_temperatures=40)


def _tempered(machine: Machine, seed: int) -> LogPartition:
    sampler, key = Tempering(n_temperatures=6), jax.random.key(seed)
    run = bridging.tempering_run(machine, sampler, key, n_chains=32, n_draws=300, n_burn_in=200)
    return bridging.combine_temperatures(run)


def _judge(found: list[LogPartition], truth: float, scale: float = 1.0) -> str | None:
    """What is wrong with the trusted estimates, if their errors were ``scale`` times what they are."""
    trusted = [one for one in found if one.verdict.trusted]
    if not trusted:
        return None
    distance = np.array([abs(one.estimate - truth) / (scale * one.standard_error) for one in trusted])
    n, near, far = len(trusted), int((distance < 1.96).sum()), int((distance < 3).sum())
    print(f"{n} of {len(found)} trusted, {near / n:.3f} within 1.96 errors, {far / n:.3f} within 3")
    if stats.binom.cdf(near, n, 0.90) < FALSE_ALARM or stats.binom.sf(near - 1, n, 0.98) < FALSE_ALARM:
        return f"{near} of {n} within 1.96 errors"
    return f"{far} of {n} within 3 errors" if stats.binom.cdf(far, n, 0.99) < FALSE_ALARM else None


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("method", ["ais", "tempering"])
def test_trusted_estimates_cover_the_truth(method, name):
    """Twins: the error is stated at half its size, or the estimate is off by two of its errors."""
    machine, estimate = MACHINES[name](), {"ais": _annealed, "tempering": _tempered}[method]
    truth = BruteForce(machine).log_z
    found = [estimate(machine, seed) for seed in range(N_REPEATS)]
    assert _judge(found, truth) is None
    if name in ("fast", "deep"):
        assert sum(one.verdict.trusted for one in found) > 0.9 * N_REPEATS
    if sum(one.verdict.trusted for one in found) > N_REPEATS / 4:
        assert _judge(found, truth, 0.5) is not None
        assert _judge(found, truth + 2 * np.median([one.standard_error for one in found])) is not None


def _measured_machines() -> list[Machine]:
    """Kinds of machines on which the limits were found: random of several scales, two modes, silent and busy, deep."""
    rng = np.random.default_rng(0)
    machines = [
        Machine([rng.normal(0, scale, (8, 6))], [rng.normal(-0.5, 0.5, n) for n in (8, 6)]) for scale in (0.5, 1, 2, 3)
    ]
    busy = [Machine([np.full((8, 6), w)], [np.full(8, -3 * w), np.full(6, -4 * w)]) for w in (0.7, 1.3)]
    return [*machines, *busy, equal_modes_machine(), _slow_machine()]


@partial(jax.jit, static_argnames=("n_chains", "n_temperatures"))
def _both_ways(machine, states, keys, n_chains, n_temperatures):
    def one(states, key):
        key_forward, key_reverse = jax.random.split(key)
        base, size = machine.biases[0], {"n_temperatures": n_temperatures}
        forward = annealed_log_weights(machine, base, key_forward, n_chains=n_chains, **size)
        return forward, reverse_log_weights(machine, base, states, key_reverse, **size)

    return jax.vmap(one)(states, keys)


def _measured(n_chains: int = 64) -> tuple[list[float], list[float], int]:
    """Distances from the truth, in errors, of what is trusted, and of annealing one way with enough effective runs.

    From exact draws, with few to many temperatures; and the number of all runs.
    """
    kept, one_way, n_runs = [], [], 0
    for number, machine in enumerate(_measured_machines()):
        exact = BruteForce(machine)
        for n_temperatures in (4, 16, 60):
            seed = 1000 * number + n_temperatures
            states = exact.draws((N_REPEATS, n_chains), np.random.default_rng(seed))
            keys = jax.random.split(jax.random.key(seed), N_REPEATS)
            for forward, reverse in zip(*map(np.asarray, _both_ways(machine, states, keys, n_chains, n_temperatures))):  # noqa: B905
                both = combine_both_directions(forward, reverse, n_temperatures)
                alone = combine_log_weights(forward, n_temperatures)
                if both.verdict.trusted:
                    kept.append(abs(both.estimate - exact.log_z) / both.standard_error)
                if alone.effective_sample_size >= bridging.TRUSTED_SAMPLE_SIZE:
                    one_way.append(abs(alone.estimate - exact.log_z) / max(alone.standard_error, 1e-30))
                n_runs += 1
    return kept, one_way, n_runs


def test_the_limits_of_size_and_gap_keep_what_covers_the_truth():
    """The experiment behind the limits, with other machines. Twin: one way alone, judged by its sample size."""
    kept, one_way, n_runs = _measured()
    for name, distances in (("both ways", np.array(kept)), ("one way", np.array(one_way))):
        n, near, far = distances.size, int((distances < 1.96).sum()), int((distances < 3).sum())
        print(f"{name}: {n} of {n_runs} kept, {near / n:.3f} within 1.96 errors, {far / n:.4f} within 3")
        right = 0.90 < near / n < 0.98 and stats.binom.cdf(far, n, 0.99) > FALSE_ALARM
        assert right == (name == "both ways")
    assert len(kept) > n_runs / 3
