"""Effective sample size and split R-hat against their formulas on stored traces, and against known answers."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import lfilter

from secateur.model.diagnostics import N_BATCHES, effective_sample_size, split_r_hat
from statistical import FALSE_ALARMS, N_TESTS


def _autoregressive(rho: float, n_chains: int, n_draws: int) -> np.ndarray:
    """Stationary chains ``x_t = rho x_{t-1} + e_t``, whose autocorrelation time is ``(1 + rho) / (1 - rho)``."""
    noise = np.random.default_rng(7).normal(size=(n_chains, n_draws))
    noise[:, 0] /= math.sqrt(1 - rho**2)
    return lfilter([1.0], [1.0, -rho], noise, axis=1)


def _batch_numbers(n_chains: int, n_draws: int) -> np.ndarray:
    per_chain = min(2 * math.ceil(N_BATCHES / (2 * n_chains)), 2 * max(1, math.isqrt(n_draws) // 2))
    return np.arange(n_draws) * per_chain // n_draws


def _batch_means_estimate(draws: np.ndarray) -> float:
    numbers = _batch_numbers(*draws.shape)
    batches = [draws[:, numbers == number] for number in np.unique(numbers)]
    scaled = sum(batch.shape[1] * (batch.mean(axis=1) - draws.mean()) ** 2 for batch in batches).sum()
    tau = scaled / (len(batches) * len(draws) - 1) / draws.var()
    return draws.size / max(tau, 1.0)


def _split_r_hat_estimate(draws: np.ndarray) -> float:
    """Bayesian Data Analysis (3rd ed.), equations 11.1-11.4, halves as chains of their own."""
    n = draws.shape[1] / 2
    numbers = _batch_numbers(*draws.shape)
    first = numbers < (numbers[-1] + 1) // 2
    halves = [draws[:, first], draws[:, ~first]]
    within = np.mean([half.var(axis=1, ddof=1) for half in halves])
    between = np.var([half.mean(axis=1) for half in halves], ddof=1)
    return math.sqrt(((n - 1) / n * within + between) / within)


@pytest.mark.parametrize(("n_chains", "n_draws"), [(1, 500), (3, 101), (40, 37), (200, 10)])
@pytest.mark.parametrize("offset", [0.0, 3000.0])
def test_streamed_sums_give_the_textbook_formulas(n_chains, n_draws, offset):
    """Also for energies far from zero, whose squares do not fit float32."""
    draws = _autoregressive(0.8, n_chains, n_draws) + np.linspace(0, 0.5, n_chains)[:, None] + offset
    trace = jnp.asarray(draws, jnp.float32)
    stored = np.asarray(trace, dtype=float)
    assert effective_sample_size(trace) == pytest.approx(_batch_means_estimate(stored), rel=2e-3)
    assert split_r_hat(trace) == pytest.approx(_split_r_hat_estimate(stored), rel=1e-3)


@pytest.mark.parametrize("fault", ["right", "draws shuffled", "wrong autocorrelation"])
def test_effective_sample_size_of_autoregressive_chains(fault):
    """Its relative error is ``sqrt(2 / N_BATCHES)`` (written beside ``N_BATCHES``), normal on the logarithm."""
    rho = 0.98
    draws = _autoregressive(0.5 if fault == "wrong autocorrelation" else rho, 4, 20_000)
    if fault == "draws shuffled":
        draws = np.random.default_rng(0).permuted(draws, axis=1)
    expected = draws.size * (1 - rho) / (1 + rho)
    tolerance = math.sqrt(2 / N_BATCHES) * math.sqrt(2 * math.log(N_TESTS / FALSE_ALARMS))
    distance = abs(math.log(effective_sample_size(jnp.asarray(draws, jnp.float32)) / expected))
    assert (distance < tolerance) == (fault == "right")


def test_independent_draws_are_never_counted_more_than_once():
    draws = np.random.default_rng(1).normal(size=(16, 400))
    found = effective_sample_size(jnp.asarray(draws, jnp.float32))
    assert 0.3 * draws.size < found <= draws.size


@pytest.mark.parametrize("n_draws", [16, 64, 400])
def test_few_draws_that_hang_together_are_not_taken_for_independent(n_draws):
    """One slow chain: autocorrelation time 99, longer than most of the traces."""
    draws = _autoregressive(0.98, 1, n_draws)
    assert effective_sample_size(jnp.asarray(draws, jnp.float32)) < n_draws / 3


def test_chains_that_disagree_have_a_large_r_hat():
    draws = np.random.default_rng(2).normal(size=(8, 200))
    assert split_r_hat(jnp.asarray(draws, jnp.float32)) == pytest.approx(1, abs=0.05)
    apart = draws + 2.0 * np.arange(8)[:, None]
    assert split_r_hat(jnp.asarray(apart, jnp.float32)) > 2
    drifting = draws + np.linspace(0, 4, 200)[None, :]
    assert split_r_hat(jnp.asarray(drifting, jnp.float32)) > 1.3


def test_traces_without_variance():
    """One constant: nothing to mix. Every chain stuck at its own value: never mixed."""
    constant = jnp.full((4, 10), 2.5)
    assert effective_sample_size(constant) == 40
    assert split_r_hat(constant) == 1
    stuck = jnp.broadcast_to(jnp.arange(4.0)[:, None], (4, 10))
    assert effective_sample_size(stuck) < 10
    assert split_r_hat(stuck) == math.inf


def test_three_draws_are_too_few_to_be_split():
    assert math.isnan(split_r_hat(jnp.arange(6.0).reshape(2, 3)))
