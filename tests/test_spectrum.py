"""Trace, log-determinant and spectrum of the Fisher information matrix against sums over all states."""

from __future__ import annotations

import math
import sys

import jax
import numpy as np
import pytest

from brute_force import BruteForce
from secateur import fisher, sampling
from secateur.model.machine import Machine
from secateur.training import TrainingSettings, train
from statistical import GROUPED, quantile

KEY = jax.random.key(4)


def _eigenvalues(machine: Machine) -> np.ndarray:
    judge = BruteForce(machine)
    pairs = zip(judge.states[:-1], judge.states[1:], judge.masks, strict=True)
    products = [(lower[:, :, None] * upper[:, None, :])[:, mask] for lower, upper, mask in pairs]
    statistics = np.hstack([*products, *judge.states])
    centred = statistics - judge.probabilities @ statistics
    return np.linalg.eigvalsh((centred * judge.probabilities[:, None]).T @ centred)[::-1]


def test_it_is_that_of_all_states(machine):
    expected = _eigenvalues(machine)
    found = fisher.spectrum(machine, "exact", n_eigenvalues=4)
    assert found.n_parameters == len(expected) and found.trace_error == 0 and found.verdict.trusted
    assert found.trace == pytest.approx(expected.sum(), abs=1e-10)
    np.testing.assert_allclose(found.eigenvalues, expected[:4], atol=1e-10)
    damped = np.log(expected + 0.01 * expected.mean()).sum()
    assert found.log_determinant == pytest.approx(damped, abs=1e-8)
    assert len(fisher.spectrum(machine, "exact", n_eigenvalues=1000).eigenvalues) == len(expected)


def test_without_damping_it_is_the_determinant(rbm):
    found = fisher.spectrum(rbm, "exact", damping=0)
    assert found.log_determinant == pytest.approx(np.log(_eigenvalues(rbm)).sum(), abs=1e-6)


def test_a_large_matrix_is_never_made(rbm, monkeypatch):
    everything = fisher.spectrum(rbm, "exact", n_eigenvalues=2)
    monkeypatch.setattr(sys.modules["secateur.fisher.spectrum"], "MAX_DENSE", 5)
    found = fisher.spectrum(rbm, "exact", n_eigenvalues=2, key=KEY)
    assert math.isnan(found.log_determinant) and found.trace == everything.trace
    np.testing.assert_allclose(found.eigenvalues, everything.eigenvalues, rtol=1e-6)
    assert fisher.spectrum(rbm, "exact", n_eigenvalues=0).eigenvalues.shape == (0,)


def test_from_states_it_is_that_of_the_matrix_of_these_states(dbm):
    """The matrix is tested against enumeration elsewhere; here the trace against its error, which is an upper limit."""
    draws = sampling.sample(dbm, KEY, n_draws=200, n_chains=64)
    found, exact = (fisher.spectrum(dbm, source) for source in (draws, "exact"))
    assert 0 < found.trace_error < 0.2 and abs(found.trace - exact.trace) < quantile(1, GROUPED) * found.trace_error
    every = np.linalg.eigvalsh(fisher.matrix(dbm, draws).dense().astype(float))[::-1]
    np.testing.assert_allclose(found.eigenvalues, every[:10], rtol=1e-6)
    assert found.log_determinant == pytest.approx(np.log(every + 0.01 * every.mean()).sum(), rel=1e-6)


def test_a_loop_of_training_follows_it(rbm):
    rows = np.random.default_rng(0).integers(0, 2, (20, 5)).astype(np.float32)
    seen: list[fisher.Spectrum] = []
    settings = TrainingSettings(n_epochs=3, batch_size=5, n_chains=4)
    trained, _ = train(
        rbm, rows, settings, KEY, callback=lambda _, machine, __: seen.append(fisher.spectrum(machine, "exact"))
    )
    assert len(seen) == 3
    assert seen[-1].trace == pytest.approx(fisher.spectrum(trained, "exact").trace, rel=1e-6)
    assert len({found.trace for found in seen}) == 3


def test_negative_numbers_are_told(rbm):
    with pytest.raises(
        ValueError, match=r"damping must be a share of the mean eigenvalue, 0 or more, got -1; try 0.01"
    ):
        fisher.spectrum(rbm, "exact", damping=-1)
    with pytest.raises(ValueError, match="n_eigenvalues"):
        fisher.spectrum(rbm, "exact", n_eigenvalues=-1)
