"""Machines whose chains do not cross between modes, with their exact answers: what diagnostics must see."""

from __future__ import annotations

import numpy as np

from secateur.model.machine import Machine


def burst_machine() -> Machine:
    """24 x 24 units, weights 0.4, biases -4.65: a silent mode, and a burst of all units 1,100 times as likely."""
    return Machine([np.full((24, 24), 0.4)], [np.full(24, -4.65)] * 2)


BURST_RATE, BURST_LOG_Z = 0.991, 7.555
"""Exact rate of every unit of :func:`burst_machine`, and its log Z in nats, to three digits (:func:`exact_burst`)."""


def exact_burst() -> tuple[float, float]:
    """Rate and log Z of :func:`burst_machine`, summed over the numbers of active units in both layers."""
    from scipy.special import gammaln, logsumexp

    k = np.arange(25)
    log_choose = gammaln(25) - gammaln(k + 1) - gammaln(25 - k)
    weight, bias = np.float64(np.float32(0.4)), np.float64(np.float32(-4.65))
    log_weights = (log_choose + bias * k)[:, None] + (log_choose + bias * k)[None, :] + weight * np.outer(k, k)
    log_z = logsumexp(log_weights)
    return float((np.exp(log_weights - log_z).sum(axis=1) @ k) / 24), float(log_z)


def equal_modes_machine(tilt: float = 0.0) -> Machine:
    """8 x 6 units with two modes of equal energy, opposite in every unit, so that neither energy nor activity tells.

    ``tilt``: added to the biases along the difference of the modes, which makes one of them more likely.
    """
    rng = np.random.default_rng(3)
    noise = rng.normal(0, 1, (8, 6))
    u, v = rng.choice([-1, 1], 8), rng.choice([-1, 1], 6)
    weights = (1.1 * np.outer(u, v) + 0.3 * noise).astype(np.float32)
    return Machine([weights], [-weights.sum(1) / 2 + tilt * u, -weights.sum(0) / 2 + 0.05])


def two_cluster_rows(n: int = 1000) -> np.ndarray:
    """Rows of two clusters: 85 % almost all ones, 15 % almost all zeros."""
    rng = np.random.default_rng(0)
    busy = rng.random(n) < 0.85
    return np.where(busy[:, None], rng.random((n, 16)) < 0.97, rng.random((n, 16)) < 0.03)
