"""Blocks of a recording that can be taken as independent, and held-out folds made of whole blocks.

Activity hangs together over time, so neighbouring bins are no independent data. Blocks are whole epochs where there are
enough of them; of fewer, longer epochs they are contiguous stretches of at least ten autocorrelation times. The
autocorrelation time is measured by batch means (Flegal & Jones 2010, Ann. Statist. 38:1034), which see slow drifts too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Bool, Int, PRNGKeyArray

from secateur.model.arrays import AnyArray

FEWEST_BLOCKS = 8
"""Fewer blocks than this give no interval and no verdict."""

TIMES_LONGER = 10
"""Autocorrelation times in the shortest block that is cut."""

_ENOUGH_EPOCHS = 20  # so many epochs are blocks as they are
_DRIFT = 0.3  # correlation of neighbouring blocks that is told
_FEWEST_BATCHES = 20  # fewer tell their variance too badly
_MOST_WATCHED = 64  # units whose mean autocorrelation is taken
_MOST_CUT = 40  # blocks cut: longer ones are more independent, and 40 tell a standard error to 11 %


MANY_UNITS = 200
"""More units than this have two folds in place of five, for every fit of them takes minutes."""


def default_folds(n_units: int) -> int:
    """Folds of a recording unless asked otherwise."""
    return 5 if n_units <= MANY_UNITS else 2


@dataclass(frozen=True)
class Blocks:
    """Which block each bin lies in.

    Attributes
    ----------
    numbers
        ``(bins,)``, 0-based, non-decreasing: block of each bin.
    sentence
        What the blocks are, e.g. ``"62 blocks: whole epochs"``.
    autocorrelation_time
        Of the activity, in bins: the variance of a mean over many bins is that of so many times fewer independent ones.
    neighbours
        Correlation of the mean activity of neighbouring blocks, 0 with fewer than eight; near 0 where they are as good
        as independent.
    """

    numbers: Int[np.ndarray, " bins"]
    sentence: str
    autocorrelation_time: float
    neighbours: float

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return int(self.numbers[-1]) + 1

    @property
    def sizes(self) -> Int[np.ndarray, " blocks"]:
        """Bins of each block."""
        return np.bincount(self.numbers)

    @property
    def starts(self) -> Int[np.ndarray, " blocks"]:
        """First bin of each block."""
        return np.searchsorted(self.numbers, np.arange(self.n_blocks))

    @property
    def enough(self) -> bool:
        """Whether there are enough blocks for an interval."""
        return self.n_blocks >= FEWEST_BLOCKS

    def of(self, bins: Bool[np.ndarray, " bins"]) -> Int[np.ndarray, " chosen"]:
        """Block of each of some bins, numbered anew from 0."""
        return np.unique(self.numbers[bins], return_inverse=True)[1]


@dataclass(frozen=True)
class Folds:
    """Held-out folds of a recording.

    Attributes
    ----------
    numbers
        ``(bins,)``: the fold in which each bin is held out, 0-based; -1 where it never is.
    blocks
        The blocks that the folds are made of.
    n_folds
        Number of folds.
    sentence
        What the folds are, e.g. ``"5 folds of 62 blocks: whole epochs; each is held out once"``.
    """

    numbers: Int[np.ndarray, " bins"]
    blocks: Blocks
    n_folds: int
    sentence: str

    def held_out(self, fold: int) -> Bool[np.ndarray, " bins"]:
        """Bins held out in a fold; all others are for training."""
        return self.numbers == fold

    @property
    def ever_held_out(self) -> Bool[np.ndarray, " bins"]:
        """Bins held out in any fold."""
        return self.numbers >= 0


def blocks(states: AnyArray, epochs: AnyArray, bin_size: float = math.nan) -> Blocks:
    """Blocks of a recording: whole epochs, or stretches of at least ten autocorrelation times where epochs are few.

    Parameters
    ----------
    states
        0/1 words ``(bins, units)``, whose activity hangs together over time.
    epochs
        ``(bins,)``, epoch number of each bin, non-decreasing.
    bin_size
        Seconds, for the sentence.

    Raises
    ------
    ValueError
        If the epoch numbers decrease, or are not one for each bin.
    """
    numbers, rows = np.asarray(epochs), np.asarray(states)
    if numbers.ndim != 1 or numbers.size == 0 or (np.diff(numbers) < 0).any():
        raise ValueError(
            f"epochs must be non-decreasing epoch numbers (bins,), one per bin, got shape {numbers.shape}"
            f"{' with decreasing numbers' if numbers.ndim == 1 and numbers.size else ''}; sort the bins by epoch"
        )
    if len(rows) != len(numbers):
        raise ValueError(f"epochs must hold one number per bin, ({len(rows)},), got shape {numbers.shape}")
    of_epoch = np.unique(numbers, return_inverse=True)[1]
    n_epochs = int(of_epoch[-1]) + 1
    activity = rows.sum(axis=1, dtype=np.int64)
    time = _autocorrelation_time(rows, activity)
    shortest = math.ceil(TIMES_LONGER * time)
    memory = f"activity hangs together over {_duration(time, bin_size)}"
    sizes = np.bincount(of_epoch)
    if n_epochs >= _ENOUGH_EPOCHS:
        # Epochs are apart, so a drift over the whole recording does not join more of them than leave enough blocks.
        length = min(shortest, len(rows) // _ENOUGH_EPOCHS)
        joined = np.unique((np.cumsum(sizes) - sizes) // length, return_inverse=True)[1]
        if np.median(sizes) >= length:
            joined = np.arange(n_epochs)
        found = joined[of_epoch]
        what = "whole epochs" if found[-1] + 1 == n_epochs else f"neighbours of {n_epochs} epochs"
        return _described(f"{found[-1] + 1} blocks: {what}", memory, activity, found, time)
    parts = np.maximum(1, sizes // max(shortest, math.ceil(len(rows) / _MOST_CUT)))
    if (parts == 1).all():
        which = "whole epochs" if n_epochs > 1 else "the recording has one epoch"
        return _described(f"{n_epochs} block{'s' * (n_epochs > 1)}: {which}", memory, activity, of_epoch, time)
    place = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    offsets = np.cumsum(parts) - parts
    found = offsets[of_epoch] + place * parts[of_epoch] // sizes[of_epoch]
    shortest_cut = _duration(float(np.bincount(found).min()), bin_size)
    whole = f"{n_epochs} epoch{'s' * (n_epochs > 1)}"
    return _described(
        f"{parts.sum()} blocks of {shortest_cut} or more, cut from {whole}", memory, activity, found, time
    )


def _described(what: str, memory: str, activity: np.ndarray, found: np.ndarray, time: float) -> Blocks:
    """Blocks with their sentence, which says so where their activity drifts."""
    drift = _neighbours(activity, found)
    told = f"; neighbouring blocks correlate by {drift:.2f}, for activity drifts" if drift > _DRIFT else ""
    return Blocks(found, f"{what} ({memory}{told})", time, drift)


def _duration(n_bins: float, bin_size: float) -> str:
    return f"{n_bins * bin_size:.2g} s" if bin_size > 0 else f"{n_bins:.3g} bins"


def _neighbours(activity: np.ndarray, found: np.ndarray) -> float:
    """Lag-one autocorrelation of the mean activity of blocks."""
    means = np.bincount(found, weights=activity) / np.bincount(found) - activity.mean()
    if len(means) < FEWEST_BLOCKS or not means.any():
        return 0.0
    return float((means[1:] * means[:-1]).mean() / (means**2).mean())


def _autocorrelation_time(rows: np.ndarray, activity: np.ndarray) -> float:
    """Autocorrelation time in bins: the largest that batches of any length show.

    Batches double from one bin on as long as there are twenty of them; of the population's activity or of the units on
    average. They run through the ends of epochs.
    """
    some = rows[:, :: math.ceil(rows.shape[1] / _MOST_WATCHED)]
    units = np.vstack([np.zeros((1, some.shape[1]), np.int32), np.cumsum(some, axis=0, dtype=np.int32)])
    population = np.concatenate([[0], np.cumsum(activity)])
    rates = some.mean(axis=0)
    variances = np.array([(rates * (1 - rates)).sum(), float(activity.var())])
    length, time = 1, 1.0
    while (n_batches := len(rows) // length) >= _FEWEST_BATCHES:
        ends = length * np.arange(n_batches + 1)
        each = np.diff(units[ends], axis=0) / length - rates
        together = np.diff(population[ends]) / length - activity.mean()
        spread = np.array([(each**2).mean(axis=0).sum(), (together**2).mean()])
        measured = length * np.divide(spread, variances, out=np.ones(2), where=variances > 0)
        time = max(time, float(measured.max()))
        length *= 2
    return time


def folds(
    states: AnyArray,
    epochs: AnyArray,
    key: PRNGKeyArray,
    *,
    n_folds: int = 5,
    hold_out: Sequence[int] | None = None,
    bin_size: float = math.nan,
) -> Folds:
    """Folds of whole blocks with about equal numbers of bins, or one fold of the epochs that are named.

    Blocks are shuffled, then each goes, the largest first, to the fold with the fewest bins so far. With fewer blocks
    than ``n_folds`` every block is a fold, and the sentence says so. The same key gives the same folds.

    Parameters
    ----------
    states, epochs, bin_size
        As in :func:`blocks`.
    key
        Random key of the assignment.
    n_folds
        Folds wanted, at least 2.
    hold_out
        Numbers of the epochs to be held out, in place of folds; all others are for training.

    Raises
    ------
    ValueError
        If ``n_folds`` is less than 2, there is one block only, ``hold_out`` names no epoch, an unknown one or all of
        them, or as in :func:`blocks`.
    """
    if n_folds < 2:
        raise ValueError(f"n_folds must be at least 2, got {n_folds}; one fold would leave nothing to train on")
    found = blocks(states, epochs, bin_size)
    if hold_out is not None:
        return _named(found, np.asarray(epochs), hold_out)
    count = min(n_folds, found.n_blocks)
    if count < 2:
        raise ValueError(
            f"the recording makes only one block ({found.sentence}), so nothing can be held out; give the recording's "
            "epochs, or a longer recording"
        )
    shuffled = np.random.default_rng(np.asarray(jax.random.key_data(key))).permutation(found.n_blocks)
    largest_first = shuffled[np.argsort(-found.sizes[shuffled], kind="stable")]
    fold_of_block = np.zeros(found.n_blocks, int)
    filled = np.zeros(count, int)
    for block in largest_first:
        fold_of_block[block] = filled.argmin()
        filled[filled.argmin()] += found.sizes[block]
    fewer = f", fewer than the {n_folds} asked for," if count < n_folds else ""
    sentence = f"{count} folds{fewer} of {found.sentence}; each is held out once"
    return Folds(fold_of_block[found.numbers], found, count, sentence)


def _named(found: Blocks, epochs: np.ndarray, hold_out: Sequence[int]) -> Folds:
    """The one fold of named epochs."""
    there = np.unique(epochs)
    unknown = [epoch for epoch in hold_out if epoch not in there]
    held = np.isin(epochs, hold_out)
    if unknown or not held.any() or held.all():
        wrong = f"epoch {unknown[0]} does not exist" if unknown else f"got {tuple(hold_out)}"
        raise ValueError(
            f"hold_out must name epochs from {there[0]} to {there[-1]} and leave others to train on, but {wrong}"
        )
    names = ", ".join(map(str, np.unique(hold_out)))
    sentence = f"held out: epoch{'s' * (len(set(hold_out)) > 1)} {names}, of {found.sentence}"
    return Folds(np.where(held, 0, -1), found, 1, sentence)
