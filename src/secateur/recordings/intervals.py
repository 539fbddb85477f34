"""Intervals of Fisher information that contain the error of the fit, from blocks of the recording.

In the conventions 0/1 and +-1 the information of a parameter of a pairwise model is ``c q (1 - q)``, with ``q`` a
proportion of bins: in which both units fire, or one unit does, or (+-1) in which two units differ. At the maximum of
the likelihood the model's ``q`` are those of the recording, so refits would differ by what these proportions do. Their
intervals are those of Korn & Graubard (1998, Survey Methodology 24:193): exact binomial ones (Clopper & Pearson 1934)
with the number of bins that independent ones would need for the variance between blocks. They hold for rare events
too: zero coincidences in ``n`` bins give ``0`` to about ``4 / n``.

Of relative parameters (theta-scaled) the information is ``u^2`` with ``u = theta sqrt(q (1 - q))``. The influence of a
block on a refit is one Newton step, ``H^-1 s_b``, with ``s_b`` the score of the block (the sandwich estimator: Huber
1967; White 1982, Econometrica 50:1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import linalg, stats

from secateur.recordings.folds import FEWEST_BLOCKS
from secateur.recordings.parameters import Convention, ParameterList

MOST_CURVED = 5000
"""Parameters up to which the curvature is inverted, a few seconds."""

_RARE = 5  # events in fewer bins than this: blocks cannot tell their variance


@dataclass(frozen=True)
class BlockSums:
    """Sums of the statistics of 0/1 states over blocks of a recording.

    Attributes
    ----------
    sums
        ``(blocks, parameters)``: bins in which both units of a coupling fire, and in which each unit does.
    sizes
        ``(blocks,)``: bins.
    """

    sums: Float[np.ndarray, "blocks parameters"]
    sizes: Int[np.ndarray, " blocks"]

    @property
    def n_bins(self) -> int:
        """Bins of all blocks."""
        return int(self.sizes.sum())

    def deviations(self) -> Float[np.ndarray, "blocks parameters"]:
        """Sums less what a block of that size would have on average."""
        return self.sums - self.sizes[:, None] * (self.sums.sum(axis=0) / self.n_bins)


def proportions(
    parameters: ParameterList, values: Float[np.ndarray, "rows parameters"], convention: Convention
) -> Float[np.ndarray, "rows parameters"]:
    """Of sums or means of 0/1 statistics those of the events whose proportion ``q`` makes the information.

    For +-1 a coupling's event is that its two units differ, ``s_i + s_j - 2 s_i s_j``.
    """
    if convention != "+-1":
        return values
    n = parameters.n_couplings
    rates = values[:, n:]
    first, second = (rates[:, units[:n]] for units in (parameters.first, parameters.second))
    return np.concatenate([first + second - 2 * values[:, :n], rates], axis=1)


@dataclass(frozen=True)
class Intervals:
    """Lower and upper limits of Fisher information, of every parameter and of every unit."""

    low: Float[np.ndarray, " parameters"]
    high: Float[np.ndarray, " parameters"]
    unit_low: Float[np.ndarray, " units"]
    unit_high: Float[np.ndarray, " units"]


def no_intervals(parameters: ParameterList) -> Intervals:
    """Limits that are not given: NaN."""
    nothing = np.full(len(parameters.values), math.nan), np.full(parameters.n_units, math.nan)
    return Intervals(nothing[0], nothing[0], nothing[1], nothing[1])


def misfit(
    blocks: BlockSums, means: Float[np.ndarray, " parameters"], errors: Float[np.ndarray, " parameters"]
) -> float:
    """How far averages of a model are from those of the recording, in sampling errors of the recording.

    Root mean square over parameters, beyond what the ``errors`` of the model's averages make; 0 at the maximum of the
    likelihood. ``means``: the model's, of 0/1 statistics.
    """
    target = _with_pseudo_word(blocks)
    own = np.maximum(_variances(blocks), target * (1 - target) / blocks.n_bins)
    return math.sqrt(max(0.0, float((((means - target) ** 2 - errors**2) / own).mean())))


def intervals(
    parameters: ParameterList,
    blocks: BlockSums,
    convention: Convention,
    *,
    curvature: Float[np.ndarray, "parameters parameters"] | None = None,
    prior: float = 0.0,
    sampling_error: Float[np.ndarray, " parameters"] | None = None,
    level: float = 0.95,
) -> Intervals:
    """Intervals of the Fisher information of a pairwise model that was fitted to the blocks.

    Parameters
    ----------
    parameters
        The fitted parameters.
    blocks
        Sums over at least eight blocks.
    convention
        Whose parameters.
    curvature, prior
        Theta-scaled only: the Fisher information matrix of 0/1 states per bin, and the precision of the normal prior on
        couplings.
    sampling_error
        Standard errors of the Fisher information, where it was estimated from drawn states.
    level
        Coverage.
    """
    assert len(blocks.sizes) >= FEWEST_BLOCKS
    scale = 4.0 if convention == "+-1" else 1.0
    events = BlockSums(proportions(parameters, blocks.sums, convention), blocks.sizes)
    q = _with_pseudo_word(events)
    if convention == "theta-scaled":
        assert curvature is not None
        return _of_relative(parameters, events, q, curvature, prior, level)
    error = np.zeros(len(q)) if sampling_error is None else sampling_error
    # An error of c q (1 - q) as one of q; at q = 1/2, where the slope is zero, as it would be at a distance of 0.1.
    of_q = error / (scale * np.maximum(abs(1 - 2 * q), 0.2))
    low, high = _korn_graubard(events, q, of_q**2, level)
    ends = scale * low * (1 - low), scale * high * (1 - high)
    over_half = (low < 0.5) & (high > 0.5)
    limits = np.minimum(*ends), np.where(over_half, scale / 4, np.maximum(*ends))
    influence = scale * (1 - 2 * q) * events.deviations() / events.n_bins
    touching = parameters.shares().ceil()
    information = touching @ (scale * q * (1 - q))
    n_blocks = len(blocks.sizes)
    variance = n_blocks / (n_blocks - 1) * ((touching @ influence.T) ** 2).sum(axis=1) + touching @ error**2
    factor = np.exp(_quantile(n_blocks, level) * np.sqrt(variance) / np.maximum(information, 1e-300))
    return Intervals(*limits, information / factor, information * factor)


def relative_influence(
    parameters: ParameterList,
    events: BlockSums,
    q: Float[np.ndarray, " parameters"],
    curvature: Float[np.ndarray, "parameters parameters"],
    prior: float,
) -> tuple[Float[np.ndarray, " parameters"], Float[np.ndarray, "blocks parameters"]]:
    """``u = theta sqrt(q (1 - q))``, and its change by each block: one Newton step of the fit, and that of ``q``."""
    bins, scores = events.n_bins, events.deviations()
    steps = linalg.solve(bins * curvature + np.diag(_prior_of(parameters, prior)), scores.T, assume_a="pos").T
    root = np.sqrt(q * (1 - q))
    change = root * steps + parameters.values * (1 - 2 * q) / (2 * root) * scores / bins
    return parameters.values * root, change


def _of_relative(
    parameters: ParameterList,
    events: BlockSums,
    q: np.ndarray,
    curvature: np.ndarray,
    prior: float,
    level: float,
) -> Intervals:
    u, change = relative_influence(parameters, events, q, curvature, prior)
    n_blocks = len(events.sizes)
    variance = n_blocks / (n_blocks - 1) * (change**2).sum(axis=0)
    rare = (
        events.sums.sum(axis=0) < _RARE
    )  # blocks without an event do not vary: the curvature tells how little is known
    if rare.any():
        total = events.n_bins * curvature + np.diag(_prior_of(parameters, prior))
        known = linalg.inv(total).diagonal()
        variance = np.where(rare, np.maximum(variance, q * (1 - q) * known), variance)
    t = _quantile(n_blocks, level)
    below, above = u - t * np.sqrt(variance), u + t * np.sqrt(variance)
    low = np.where((below < 0) & (above > 0), 0.0, np.minimum(below**2, above**2))
    # A sum of squares is too large by the variances of its terms; these vary by themselves as well.
    touching = parameters.shares().ceil()
    centre = touching @ (u**2 - variance)
    of_sum = n_blocks / (n_blocks - 1) * ((touching @ (2 * u * change).T) ** 2).sum(axis=1)
    width = t * np.sqrt(of_sum + 2 * (touching @ variance**2))
    return Intervals(low, np.maximum(below**2, above**2), np.maximum(centre - width, 0), np.maximum(centre + width, 0))


def _prior_of(parameters: ParameterList, prior: float) -> np.ndarray:
    return np.where(np.arange(len(parameters.values)) < parameters.n_couplings, prior, 0.0)


def _korn_graubard(
    events: BlockSums, q: np.ndarray, further: np.ndarray, level: float
) -> tuple[Float[np.ndarray, " parameters"], Float[np.ndarray, " parameters"]]:
    """Limits of proportions, with the variance between blocks and a ``further`` one."""
    n, n_blocks = events.n_bins, len(events.sizes)
    binomial = q * (1 - q) / n
    variance = _variances(events)
    counts = events.sums.sum(axis=0)
    told = np.minimum(counts, n - counts) >= _RARE
    usual = max(1.0, float(np.median((variance / binomial)[told]))) if told.any() else 1.0
    variance = np.where(told, np.maximum(variance, binomial), binomial * usual) + further
    independent = q * (1 - q) / variance * (stats.t.ppf((1 + level) / 2, n - 1) / _quantile(n_blocks, level)) ** 2
    hits = q * independent
    low = stats.beta.ppf((1 - level) / 2, hits, independent - hits + 1)
    high = stats.beta.ppf((1 + level) / 2, hits + 1, independent - hits)
    return np.where(counts == 0, 0.0, low), np.where(counts == n, 1.0, high)


def _with_pseudo_word(events: BlockSums) -> np.ndarray:
    """Proportions with a quarter of an event more in one bin more, which keeps them off 0 and 1."""
    return (events.sums.sum(axis=0) + 0.25) / (events.n_bins + 0.5)


def _variances(events: BlockSums) -> np.ndarray:
    """Of the proportions, between blocks."""
    n_blocks = len(events.sizes)
    return n_blocks / max(n_blocks - 1, 1) * (events.deviations() ** 2).sum(axis=0) / events.n_bins**2


def _quantile(n_blocks: int, level: float) -> float:
    return float(stats.t.ppf((1 + level) / 2, n_blocks - 1))
