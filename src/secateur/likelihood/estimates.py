"""What an estimate of log Z is made of: its value, its error, and whether to trust it."""

from __future__ import annotations

import math

import equinox as eqx

from secateur.model.trust import TRUSTED, Verdict


class LogPartition(eqx.Module):
    """``log Z`` in nats, with what a reader needs to trust it.

    Attributes
    ----------
    estimate
        ``log Z`` in nats.
    standard_error
        Standard error of the estimate in nats; 0 when exact.
    effective_sample_size
        Infinite when exact. Annealing: ``(sum w)^2 / sum w^2`` of the importance weights, of both directions the
        smaller. Tempering: that of the chains at the model's own temperature.
    n_chains, n_temperatures
        Size of the run; 0 when exact. Annealing both ways has ``n_chains`` chains each way.
    method
        ``"exact"``, ``"ais"`` or ``"tempering"``.
    gap
        Annealing both ways: estimate from the model to the base less that from the base to the model, in nats, which
        is positive on average; ``None`` otherwise.
    verdict
        Whether estimate and error can be trusted.
    """

    estimate: float
    standard_error: float = 0.0
    effective_sample_size: float = math.inf
    n_chains: int = 0
    n_temperatures: int = 0
    method: str = eqx.field(static=True, default="exact")
    gap: float | None = None
    verdict: Verdict = eqx.field(static=True, default=TRUSTED)

    def __repr__(self) -> str:
        if self.method == "exact":
            return f"LogPartition({self.estimate:.6g} nats; exact)"
        ways = "" if self.gap is None else f" each way, gap {self.gap:.2g} nats"
        return (
            f"LogPartition({self.estimate:.6g} +- {self.standard_error:.2g} nats; {self.method}, {self.n_chains} "
            f"chains x {self.n_temperatures:,} temperatures{ways}, effective sample size "
            f"{self.effective_sample_size:.0f}; {self.verdict})"
        )
