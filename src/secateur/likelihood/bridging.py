"""Ratios of partition functions from draws on both sides: Bennett's acceptance ratio, and what is built of it.

Bennett (1976, J Comput Phys 22:245) takes draws of two distributions and the log ratio of their densities at each; of
all ways to combine them it has the least variance (Shirts, Bair, Hooker & Pande 2003).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.optimize import brentq
from scipy.special import expit

from secateur.likelihood.estimates import LogPartition
from secateur.model.machine import States
from secateur.model.moments import N_GROUPS
from secateur.model.trust import TRUSTED, Verdict
from secateur.sampling.diagnostics import (
    AVERAGES_R_HAT_LIMIT,
    MixingDiagnostics,
    chance_r_hat,
    split_r_hats,
    sums_of_draws,
)
from secateur.sampling.runner import run
from secateur.sampling.starts import started
from secateur.sampling.sweep import Model
from secateur.sampling.tempering import Tempering, TemperingState

TRUSTED_SAMPLE_SIZE = 20
"""Effective sample size of annealing, of each direction, below which log Z is not to be trusted.

Measured on 30 machines of 13 or 14 units (random, trained, two modes, deep; 2 to 100 temperatures, 200 repeats each,
states of the model drawn exactly): of 41,868 runs of 64 or 256 chains above this size and within :data:`TRUSTED_GAP`,
94.8 % lay within 1.96 and 99.7 % within 3 standard errors of the truth, the worst at 4.2; of the 14,783 below a size of
10, 98.9 % within 3, the worst at 66. Runs of 16 chains, which this size leaves out, had 98.8 % within 3 from a size of
10 on. Both limits were chosen on these runs. Annealing one way alone was off by more than 3 errors in 22 % of the runs
above this size: it is never trusted."""

TRUSTED_GAP = 4.0
"""Gap between the two directions, in its own standard errors, above which log Z is not to be trusted.

In the same runs it was exceeded by 0.005 % of those where each direction was right, and by 92 % of those where
annealing from the base was more than 5 errors too small."""

LEAST_OVERLAP = 0.03
"""Overlap of neighbouring temperatures below which their ratio is not trusted (Klimovich, Shirts & Mobley 2015, J
Comput Aided Mol Des 29:397)."""

_LEAST_CHAINS = 8
"""Chains of tempering below which their spread is no measure of the error."""


class Bridged(NamedTuple):
    """Log ratio of two normalising constants, and the weights of its estimating equation at the root.

    Attributes
    ----------
    log_ratio
        Of the second to the first, nats.
    up, down
        Probability of the other side given each draw of the first and of the second distribution.
    """

    log_ratio: float
    up: Float[np.ndarray, ...]
    down: Float[np.ndarray, ...]

    @property
    def slope(self) -> float:
        """Derivative of the estimating equation by minus the log ratio."""
        return float((self.up * (1 - self.up)).sum() + (self.down * (1 - self.down)).sum())

    @property
    def standard_error(self) -> float:
        """Of independent draws, nats: that of the estimating equation."""
        spread = self.up.size * self.up.var(ddof=1) + self.down.size * self.down.var(ddof=1)
        return math.sqrt(spread) / max(self.slope, np.finfo(float).tiny)

    @property
    def overlap(self) -> float:
        """Probability of a draw of the first side to come from the second by its weight: 1/2 where they are equal."""
        return float(self.up.mean())


def bennett(forward: Float[np.ndarray, ...], reverse: Float[np.ndarray, ...]) -> Bridged:
    """Bennett's acceptance ratio.

    Parameters
    ----------
    forward
        At draws of the first distribution: log density of the second less that of the first, neither normalised. Also
        log weights of annealing from the first to the second.
    reverse
        At draws of the second: log density of the first less that of the second.
    """
    shift = math.log(forward.size / reverse.size)

    def terms(log_ratio: float) -> tuple[np.ndarray, np.ndarray]:
        return expit(forward - log_ratio - shift), expit(reverse + log_ratio + shift)

    def excess(log_ratio: float) -> float:
        up, down = terms(log_ratio)
        return float(up.sum() - down.sum())

    low, high = (f([forward.mean(), -reverse.mean()]) for f in (min, max))
    width = 50.0
    while excess(low - width) < 0 or excess(high + width) > 0:
        width *= 2
    root = float(brentq(excess, low - width, high + width, xtol=1e-10))
    return Bridged(root, *terms(root))


def combine_log_weights(log_weights: Float[np.ndarray, " chains"], n_temperatures: int) -> LogPartition:
    """``log Z`` from the log weights of annealing runs: their log mean, with the jackknife standard error."""
    log_weights = np.asarray(log_weights, np.float64)
    n_chains = log_weights.size
    shift = log_weights.max()
    weights = np.exp(log_weights - shift)
    total = weights.sum()
    # A chain that carries the whole weight leaves nothing behind: its left-out estimate is then bounded, not -inf.
    left_out = np.log(np.maximum(total - weights, np.finfo(float).tiny) / (n_chains - 1))
    error = math.sqrt((n_chains - 1) / n_chains * ((left_out - left_out.mean()) ** 2).sum())
    size = float(total**2 / (weights**2).sum())
    verdict = Verdict((*_size_reasons(size), _ONE_WAY))
    return LogPartition(
        float(shift + np.log(total / n_chains)), error, size, n_chains, n_temperatures, "ais", verdict=verdict
    )


def combine_reverse_log_weights(log_weights: Float[np.ndarray, " chains"], n_temperatures: int) -> LogPartition:
    """``log Z`` from the log weights of reversed annealing runs, on average too large, with the jackknife error."""
    inverse = combine_log_weights(log_weights, n_temperatures)
    return eqx.tree_at(lambda found: found.estimate, inverse, -inverse.estimate)


def combine_both_directions(
    forward: Float[np.ndarray, " chains"],
    reverse: Float[np.ndarray, " reverse_chains"],
    n_temperatures: int,
    verdict_on_states: Verdict = TRUSTED,
) -> LogPartition:
    """``log Z`` from annealing runs in both directions, by Bennett's acceptance ratio.

    Its bias is far below that of either direction. The standard error is that of the estimating equation, runs taken as
    independent.

    Parameters
    ----------
    forward, reverse
        Log weights of :func:`secateur.likelihood.annealing.annealed_log_weights` and of ``reverse_log_weights``.
    n_temperatures
        Temperatures of both.
    verdict_on_states
        Whether the states that the reverse runs started at come from the whole model.

    Returns
    -------
    LogPartition
        Its effective sample size is the smaller of those of the two directions.
    """
    forward, reverse = np.asarray(forward, np.float64), np.asarray(reverse, np.float64)
    up, down = combine_log_weights(forward, n_temperatures), combine_reverse_log_weights(reverse, n_temperatures)
    found = bennett(forward, reverse)
    size = min(up.effective_sample_size, down.effective_sample_size)
    gap = down.estimate - up.estimate
    reasons = _size_reasons(size) + _gap_reasons(gap, math.hypot(up.standard_error, down.standard_error))
    return LogPartition(
        found.log_ratio,
        found.standard_error,
        size,
        min(forward.size, reverse.size),
        n_temperatures,
        "ais",
        gap,
        Verdict(tuple(reasons)).joined(verdict_on_states),
    )


_ONE_WAY = "annealing one way does not show what it has missed; anneal both ways, as log_partition does"


def _size_reasons(size: float) -> list[str]:
    if size >= TRUSTED_SAMPLE_SIZE:
        return []
    return [
        f"effective sample size {size:.1f} of the annealing runs (at least {TRUSTED_SAMPLE_SIZE} is needed); take more "
        "temperatures or chains"
    ]


def _gap_reasons(gap: float, error: float) -> list[str]:
    if abs(gap) <= TRUSTED_GAP * error:
        return []
    return [
        f"annealing from the model and to the model disagree by {gap:.3g} nats with an error of {error:.2g}; take more "
        "temperatures, or method='tempering'"
    ]


class _RatioInfo(NamedTuple):
    """Info of a step of tempering, with the log ratio of every replica, level by level."""

    means: States
    energy: Float[Array, " chains"]
    log_ratios: Float[Array, "temperatures chains"]


class _Watched(eqx.Module):
    """Tempering whose info holds the log ratios of all temperatures too."""

    tempering: Tempering

    @property
    def n_sweeps(self) -> int:
        """Sweeps per step."""
        return self.tempering.n_sweeps

    @property
    def name(self) -> str:
        """Name in diagnostics."""
        return self.tempering.name

    def init(self, model: Model, key: PRNGKeyArray, n_chains: int, start: States | None = None) -> TemperingState:
        """Replicas of every chain."""
        return self.tempering.init(model, key, n_chains, start)

    def step(self, model: Model, state: TemperingState, key: PRNGKeyArray) -> tuple[TemperingState, _RatioInfo]:
        """The replicas one step later."""
        state, info = self.tempering.step(model, state, key)
        by_level = jnp.take_along_axis(state.log_ratio, jnp.argsort(state.level, axis=0), axis=0)
        return state, _RatioInfo(info.means, info.energy, by_level)


class _LogRatios(eqx.Module):
    """Log ratios of every draw, ``(draws, temperatures, chains)``."""

    stored: Float[Array, "draws temperatures chains"]

    def add(self, states: States, info: Any, draw: Array) -> _LogRatios:
        """The same with a draw more."""
        return _LogRatios(self.stored.at[draw].set(info.log_ratios))


class TemperingRun(NamedTuple):
    """What a run of tempering leaves of log Z: log ratios of every draw, the ladder, its base, and how it mixed."""

    log_ratios: Float[Array, "draws temperatures chains"]
    inverse_temperatures: Float[Array, " temperatures"]
    base: tuple[Float[Array, " _"], ...]
    diagnostics: MixingDiagnostics


@eqx.filter_jit
def tempering_run(
    model: Model,
    sampler: Tempering,
    key: PRNGKeyArray,
    *,
    n_chains: int,
    n_draws: int,
    n_burn_in: int,
    visible: Float[Array, "rows visible"] | None = None,
) -> TemperingRun:
    """Run tempering and keep the log ratios; pure."""
    key_start, key_init, key_run = jax.random.split(key, 3)
    start = started(model, key_start, n_chains, "dispersed", visible)
    watched = _Watched(sampler)
    state = watched.init(model, key_init, n_chains, start)
    empty = _LogRatios(jnp.zeros((n_draws, sampler.n_temperatures, n_chains), jnp.float32))
    found = run(model, watched, state, key_run, empty, n_draws=n_draws, n_burn_in=n_burn_in)
    return TemperingRun(found.collected.stored, state.inverse_temperatures, state.base, found.diagnostics)


def combine_temperatures(found: TemperingRun) -> LogPartition:
    """``log Z`` of the independent units, and onwards from temperature to temperature by Bennett's acceptance ratio.

    The standard error comes from leaving out groups of chains (jackknife), whose replicas share nothing.
    """
    ratios = np.asarray(found.log_ratios, np.float64)
    ladder = np.asarray(found.inverse_temperatures, np.float64)
    n_chains = ratios.shape[2]
    groups = np.array_split(np.arange(n_chains), min(N_GROUPS, n_chains))
    base = np.concatenate([np.asarray(bias, np.float64) for bias in found.base])
    r_hat = float(split_r_hats(sums_of_draws(jnp.moveaxis(found.log_ratios, 2, 0), ratios.shape[0])).max())
    log_z, left_out, overlap = float(np.logaddexp(0, base).sum()), np.zeros(len(groups)), 1.0
    for level, step in enumerate(np.diff(ladder)):
        each = bennett(step * ratios[:, level], -step * ratios[:, level + 1])
        log_z, overlap = log_z + each.log_ratio, min(overlap, each.overlap)
        # One Newton step from the root leads to that of the draws that are left.
        for place, group in enumerate(groups):
            own = Bridged(each.log_ratio, each.up[:, group], each.down[:, group])
            excess = own.up.sum() - own.down.sum()
            left_out[place] -= excess / max(each.slope - own.slope, np.finfo(float).tiny)
    error = math.sqrt((len(groups) - 1) / len(groups) * ((left_out - left_out.mean()) ** 2).sum())
    return LogPartition(
        log_z,
        error,
        found.diagnostics.effective_sample_size,
        n_chains,
        ladder.size,
        "tempering",
        verdict=found.diagnostics.verdict.joined(_verdict_on_levels(overlap, r_hat, ratios.shape)),
    )


def _verdict_on_levels(overlap: float, r_hat: float, shape: tuple[int, ...]) -> Verdict:
    """Whether all temperatures, not the model's own alone, have been sampled well enough."""
    n_draws, n_temperatures, n_chains = shape
    reasons = []
    if overlap < LEAST_OVERLAP:
        reasons.append(
            f"neighbouring temperatures overlap by {overlap:.3f} only (at least {LEAST_OVERLAP} is needed); take more "
            "temperatures"
        )
    limit = max(AVERAGES_R_HAT_LIMIT, chance_r_hat(n_chains, n_draws, n_temperatures))
    if r_hat > limit:
        reasons.append(
            f"split R-hat {r_hat:.3f} between the model and independent units (limit {limit:.2f}): the hot chains have "
            "not mixed; take more sweeps, e.g. sampler=secateur.sampling.Tempering(n_sweeps=10)"
        )
    if n_chains < _LEAST_CHAINS:
        reasons.append(
            f"{n_chains} chains give no measure of the error of tempering; take {_LEAST_CHAINS} or more, better "
            f"{N_GROUPS}"
        )
    return Verdict(tuple(reasons))
