"""Mixing diagnostics of Markov chains, streamed: effective sample size and split R-hat of a scalar trace.

Both come from sums over consecutive batches of each chain, so memory does not grow with the number of draws.
The effective sample size is the batch-means estimate (Flegal & Jones 2010) pooled over independent chains; R-hat
compares the two halves of every chain (Gelman et al., Bayesian Data Analysis, 3rd ed., section 11.4).
"""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from secateur.model.arrays import AnyArray

N_BATCHES = 64
"""Batches aimed at over all chains together; the relative error of the effective sample size is then about
sqrt(2 / 64). A few short chains have fewer."""


class TraceSummary(eqx.Module):
    """Running sums of a scalar trace, per chain and batch of consecutive draws.

    Values are summed as differences from ``reference``, so that float32 holds the variance of large energies.
    """

    sums: Float[Array, "chains batches"]
    squares: Float[Array, "chains batches"]
    reference: Float[Array, ""]
    n_draws: int = eqx.field(static=True)

    @classmethod
    def empty(cls, first_values: Float[Array, " chains"], n_draws: int) -> TraceSummary:
        """No draws yet; ``first_values`` only set the reference point and the number of chains."""
        n_chains = first_values.shape[0]
        per_chain = 2 * math.ceil(N_BATCHES / (2 * n_chains))
        # Batches at least as long as they are many: shorter ones would take draws that hang together for independent.
        most = 2 * max(1, math.isqrt(n_draws) // 2)
        zeros = jnp.zeros((n_chains, min(per_chain, most)))
        return cls(zeros, zeros, first_values.mean(), n_draws)

    @classmethod
    def of_draws(cls, draws: Float[AnyArray, "chains draws"]) -> TraceSummary:
        """Summary of a stored trace."""
        start = cls.empty(draws[:, 0], draws.shape[1])
        steps = (draws.T, jnp.arange(draws.shape[1]))
        return jax.lax.scan(lambda summary, step: (summary.add(*step), None), start, steps)[0]

    def add(self, values: Float[Array, " chains"], draw: Array) -> TraceSummary:
        """The summary with the values of draw number ``draw`` (0-based) added."""
        n_batches = self.sums.shape[1]
        batch = draw * n_batches // self.n_draws
        shifted = values - self.reference
        return eqx.tree_at(
            lambda s: (s.sums, s.squares),
            self,
            (self.sums.at[:, batch].add(shifted), self.squares.at[:, batch].add(shifted**2)),
        )

    def effective_sample_size(self) -> Float[Array, ""]:
        """Independent draws with the same error of the mean, all chains together; at most the number of draws."""
        n_chains = self.sums.shape[0]
        n_total = n_chains * self.n_draws
        lengths = self._batch_lengths()
        means = self.sums / lengths[None, :]
        mean = self.sums.sum() / n_total
        variance = self.squares.sum() / n_total - mean**2
        # Batch b of length n_b has a mean of variance tau * variance / n_b, with tau the autocorrelation time.
        n_batches = means.size
        scaled = (lengths[None, :] * (means - mean) ** 2).sum() / max(n_batches - 1, 1)
        tau = jnp.where(variance > 0, scaled / jnp.where(variance > 0, variance, 1), 1.0)
        return n_total / jnp.maximum(tau, 1.0)

    def split_r_hat(self) -> Float[Array, ""]:
        """Split R-hat: near 1 when the halves of all chains agree; NaN with fewer than four draws."""
        if self.n_draws < 4:
            return jnp.asarray(jnp.nan)
        half = self.sums.shape[1] // 2
        lengths = np.add.reduceat(self._batch_lengths(), [0, half])[None, :]
        sums = jnp.stack([self.sums[:, :half].sum(1), self.sums[:, half:].sum(1)], axis=1)
        squares = jnp.stack([self.squares[:, :half].sum(1), self.squares[:, half:].sum(1)], axis=1)
        means = sums / lengths
        within = ((squares - lengths * means**2) / (lengths - 1)).mean()
        between = means.var(ddof=1)
        n = self.n_draws / 2
        ratio = ((n - 1) / n * within + between) / jnp.where(within > 0, within, 1)
        return jnp.where(within > 0, jnp.sqrt(ratio), jnp.where(between > 0, jnp.inf, 1.0))

    def _batch_lengths(self) -> np.ndarray:
        n_batches = self.sums.shape[1]
        lengths = np.bincount(np.arange(self.n_draws) * n_batches // self.n_draws, minlength=n_batches)
        return np.maximum(lengths, 1).astype(np.float32)


class MixingDiagnostics(eqx.Module):
    """What a reader needs to trust draws: how many there were and how well the chains mixed.

    ``effective_sample_size`` and ``split_r_hat`` are those of the energy over all chains; ``n_sweeps`` lie between
    draws.
    """

    effective_sample_size: Float[Array, ""]
    split_r_hat: Float[Array, ""]
    n_chains: int = eqx.field(static=True)
    n_draws: int = eqx.field(static=True)
    n_sweeps: int = eqx.field(static=True)

    @classmethod
    def of_energies(cls, summary: TraceSummary, n_sweeps: int) -> MixingDiagnostics:
        """Diagnostics of chains whose energies were summarised."""
        return cls(
            summary.effective_sample_size(), summary.split_r_hat(), summary.sums.shape[0], summary.n_draws, n_sweeps
        )

    @classmethod
    def of_rows(cls, n_rows: int) -> MixingDiagnostics:
        """Diagnostics of rows that are taken as independent draws."""
        return cls(jnp.asarray(float(n_rows)), jnp.asarray(jnp.nan), n_rows, 1, 0)


def effective_sample_size(draws: Float[AnyArray, "chains draws"]) -> Float[Array, ""]:
    """Effective sample size of a stored scalar trace (see :meth:`TraceSummary.effective_sample_size`)."""
    return TraceSummary.of_draws(draws).effective_sample_size()


def split_r_hat(draws: Float[AnyArray, "chains draws"]) -> Float[Array, ""]:
    """Split R-hat of a stored scalar trace (see :meth:`TraceSummary.split_r_hat`)."""
    return TraceSummary.of_draws(draws).split_r_hat()
