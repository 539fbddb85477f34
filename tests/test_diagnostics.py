"""Effective sample size and split R-hat against ArviZ on stored traces, streamed against stored, and known answers."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
import pytest
from arviz_stats.base import array_stats
from scipy.signal import lfilter

from secateur.sampling import diagnostics
from secateur.sampling.diagnostics import (
    N_BATCHES,
    MixingDiagnostics,
    Swaps,
    chance_r_hat,
    effective_sample_size,
    quantity_name,
    sample_sizes,
    split_r_hat,
    split_r_hats,
    sums_of_draws,
)


def _autoregressive(rho: float, n_chains: int, n_draws: int, seed: int = 7) -> np.ndarray:
    """Stationary chains ``x_t = rho x_{t-1} + e_t``, whose autocorrelation time is ``(1 + rho) / (1 - rho)``."""
    noise = np.random.default_rng(seed).normal(size=(n_chains, n_draws))
    noise[:, 0] /= math.sqrt(1 - rho**2)
    return lfilter([1.0], [1.0, -rho], noise, axis=1)


def _streamed(draws: np.ndarray):
    return sums_of_draws(jnp.asarray(draws, jnp.float32)[:, :, None], draws.shape[1])


@pytest.mark.parametrize("rho", [-0.5, 0.0, 0.8, 0.98])
@pytest.mark.parametrize(("n_chains", "n_draws"), [(4, 500), (3, 101), (40, 100), (2, 2000)])
def test_stored_traces_agree_with_arviz(rho, n_chains, n_draws):
    draws = _autoregressive(rho, n_chains, n_draws)
    expected = array_stats.ess(draws, chain_axis=0, draw_axis=1, method="bulk")
    assert effective_sample_size(draws) == pytest.approx(expected, rel=1e-6)
    expected = array_stats.rhat(draws, chain_axis=0, draw_axis=1, method="rank")
    assert split_r_hat(draws) == pytest.approx(expected, rel=1e-6)


def test_ranks_change_nothing_for_units():
    """A trace of 0 and 1: the streamed form, which knows no ranks, agrees with ArviZ's ranks all the same."""
    draws = (_autoregressive(0.9, 8, 200) > 0.7).astype(float)
    sums = _streamed(draws)
    assert N_BATCHES >= 8 * 200  # batches of one draw
    expected = array_stats.ess(draws, chain_axis=0, draw_axis=1, method="bulk")
    assert sample_sizes(sums)[0] == pytest.approx(expected, rel=1e-3)
    expected = array_stats.rhat(draws, chain_axis=0, draw_axis=1, method="split")
    assert split_r_hats(sums)[0] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("offset", [0.0, 3000.0])
@pytest.mark.parametrize(("rho", "n_chains", "n_draws"), [(0.8, 4, 20_000), (0.98, 4, 20_000), (0.9, 50, 1000)])
def test_batches_keep_what_the_draws_tell(rho, n_chains, n_draws, offset):
    """Sums over batches, also of energies far from zero, whose squares do not fit float32."""
    draws = _autoregressive(rho, n_chains, n_draws)
    sums = _streamed(draws + offset)
    assert sums.sums.shape[1] < n_draws
    expected = array_stats.ess(draws, chain_axis=0, draw_axis=1, method="mean")
    assert sample_sizes(sums)[0] == pytest.approx(expected, rel=0.15)
    assert split_r_hats(sums)[0] == pytest.approx(
        array_stats.rhat(draws, chain_axis=0, draw_axis=1, method="split"), rel=1e-3
    )


@pytest.mark.parametrize("n_draws", [6, 7, 20, 21, 101])
def test_an_odd_number_of_draws_hides_nothing(n_draws):
    """Chains that drift from a far start: R-hat is that of the halves, whether there is a middle draw or not."""
    draws = _autoregressive(0.5, 8, n_draws) + 30 * np.exp(-np.arange(n_draws) / n_draws)[None, :]
    expected = array_stats.rhat(draws, chain_axis=0, draw_axis=1, method="split")
    assert split_r_hats(_streamed(draws))[0] == pytest.approx(expected, rel=0.3)
    assert split_r_hats(_streamed(draws))[0] > 1.3


def test_four_stuck_chains_tell_four_things():
    stuck = np.arange(4.0)[:, None] + 0.01 * _autoregressive(0.0, 4, 1000)
    assert sample_sizes(_streamed(stuck))[0] < 6
    assert split_r_hats(_streamed(stuck))[0] > 10
    without_noise = np.repeat(np.arange(4.0)[:, None], 1000, axis=1)
    assert sample_sizes(_streamed(without_noise))[0] < 6
    assert split_r_hats(_streamed(without_noise))[0] == math.inf


def test_one_slow_chain_is_not_taken_for_many_draws():
    """Autocorrelation 0.999 in 11,000 draws: 5.5 independent ones; the mean over seeds is within a factor of two."""
    found = [sample_sizes(_streamed(_autoregressive(0.999, 1, 11_000, seed)))[0] for seed in range(20)]
    assert 5.5 / 2 < np.median(found) < 5.5 * 2


def test_a_trace_that_never_changes_tells_one_thing_per_chain():
    constant = np.full((4, 40_000), 2.5)
    assert np.isnan(sample_sizes(_streamed(constant))[0])
    mixing = MixingDiagnostics(_streamed(np.repeat(constant[:, :, None], 3, 2)[:, :, 0]), (1,), 4, 40_000, 1)
    assert mixing.effective_sample_size == 4
    assert mixing.split_r_hat == 1
    assert not mixing.verdict.trusted


def test_chains_that_disagree_or_drift_have_a_large_r_hat():
    draws = _autoregressive(0.0, 8, 200)
    assert split_r_hats(_streamed(draws))[0] == pytest.approx(1, abs=0.01)
    assert split_r_hats(_streamed(draws + 2.0 * np.arange(8)[:, None]))[0] > 2
    assert split_r_hats(_streamed(draws + np.linspace(0, 4, 200)[None, :]))[0] > 1.3


@pytest.mark.parametrize(("n_chains", "n_draws"), [(100, 10), (4, 1000), (20, 10)])
def test_chance_alone_exceeds_the_limit_in_one_of_a_hundred_samples(n_chains, n_draws):
    """Independent draws of 30 quantities, 2,000 times: 20 exceed the limit, within four standard errors."""
    rng = np.random.default_rng(0)
    limit = chance_r_hat(n_chains, n_draws, 30)
    halves, length = 2 * n_chains, n_draws // 2
    # Means and variances of halves of independent normal draws, drawn as such.
    means = rng.normal(size=(2000, halves, 30)) / math.sqrt(length)
    within = rng.chisquare(length - 1, size=(2000, halves, 30)).mean(axis=1) / (length - 1)
    ratio = (length - 1) / length + means.var(axis=1, ddof=1) / within
    exceeded = (np.sqrt(ratio).max(axis=1) > limit).sum()
    assert 20 - 4 * math.sqrt(20) < exceeded < 20 + 4 * math.sqrt(20)


def test_three_draws_are_too_few_to_be_split():
    assert math.isnan(split_r_hat(np.arange(6.0).reshape(2, 3)))
    mixing = MixingDiagnostics(_streamed(np.arange(6.0).reshape(2, 3)), (1,), 2, 3, 1)
    assert "3 draws per chain do not show whether chains have mixed; take four or more" in str(mixing.verdict)


def test_the_worst_quantity_is_named():
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(4, 200, 2 + 5))
    draws[:, :, 5] += 3.0 * np.arange(4)[:, None]
    sums = sums_of_draws(jnp.asarray(draws, jnp.float32), 200)
    mixing = MixingDiagnostics(sums, (2, 3), 4, 200, 1)
    assert mixing.split_r_hat > 2 and mixing.effective_sample_size < 10
    assert "the rate of unit 1 of layer 1 (limit 1.05): the chains have not mixed; take more sweeps" in str(mixing)
    names = [quantity_name(number, (2, 3)) for number in (0, 1, 2, 6)]
    assert names[:2] == ["the energy", "the population's activity"]
    assert names[2:] == ["the rate of unit 0 of layer 0", "the rate of unit 2 of layer 1"]


def test_replicas_that_do_not_travel_explain_why_chains_have_not_mixed():
    draws = np.random.default_rng(0).normal(size=(8, 200))
    swaps = Swaps(jnp.asarray([0.4, 0.01]), jnp.asarray(0.2))
    mixed = MixingDiagnostics(_streamed(draws), (1,), 8, 200, 1, "tempering", swaps=swaps)
    assert mixed.verdict.trusted
    apart = draws + np.arange(8)[:, None]
    mixing = MixingDiagnostics(_streamed(apart), (1,), 8, 200, 1, "tempering", swaps=swaps)
    assert "0.2 round trips between the temperatures each" in str(mixing.verdict)
    assert "lowest acceptance of a swap 0.01" in str(mixing.verdict)


def test_draws_have_a_stricter_limit_than_averages():
    draws = np.random.default_rng(0).normal(size=(8, 400))
    mixing = MixingDiagnostics(_streamed(draws + 0.4 * (np.arange(8)[:, None] % 2)), (1,), 8, 400, 1)
    assert diagnostics.R_HAT_LIMIT < mixing.split_r_hat < diagnostics.AVERAGES_R_HAT_LIMIT
    assert mixing.verdict.trusted and "(limit 1.01)" in str(mixing.mixing_verdict())
