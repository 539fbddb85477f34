"""Blocks of a recording that can be taken as independent, and held-out folds made of whole blocks.

Activity drifts over minutes, so neighbouring bins are no independent data: blocks are whole epochs, or contiguous
stretches of at least one second where a recording has one epoch only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Bool, Int, PRNGKeyArray

from secateur.model.arrays import AnyArray

MIN_BLOCK_SECONDS = 1.0
"""Shortest block cut from a recording of one epoch."""

_MOST_BLOCKS = 100  # blocks of a recording of one epoch: longer ones are more independent, fewer than 20 say little


@dataclass(frozen=True)
class Blocks:
    """Which block each bin lies in.

    Attributes
    ----------
    numbers
        ``(bins,)``, 0-based, non-decreasing: block of each bin.
    sentence
        What the blocks are, e.g. ``"62 blocks: whole epochs"``.
    """

    numbers: Int[np.ndarray, " bins"]
    sentence: str

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


@dataclass(frozen=True)
class Folds:
    """Held-out folds of a recording.

    Attributes
    ----------
    numbers
        ``(bins,)``: the fold in which each bin is held out, 0-based.
    blocks
        The blocks that the folds are made of.
    n_folds
        Number of folds.
    sentence
        What the folds are, e.g. ``"5 folds of whole epochs (62 epochs)"``.
    """

    numbers: Int[np.ndarray, " bins"]
    blocks: Blocks
    n_folds: int
    sentence: str

    def held_out(self, fold: int) -> Bool[np.ndarray, " bins"]:
        """Bins held out in a fold; all others are for training."""
        return self.numbers == fold


def blocks(epochs: AnyArray, bin_size: float = math.nan) -> Blocks:
    """Blocks of a recording: whole epochs; of a single epoch contiguous stretches of at least one second.

    Parameters
    ----------
    epochs
        ``(bins,)``, epoch number of each bin, non-decreasing.
    bin_size
        Seconds; needed for a single epoch.

    Raises
    ------
    ValueError
        If the epoch numbers decrease, or a single epoch has no bin size or is shorter than two blocks.
    """
    numbers = np.asarray(epochs)
    if numbers.ndim != 1 or numbers.size == 0 or (np.diff(numbers) < 0).any():
        raise ValueError(
            f"epochs must be non-decreasing epoch numbers (bins,), one per bin, got shape {numbers.shape}"
            f"{' with decreasing numbers' if numbers.ndim == 1 and numbers.size else ''}; sort the bins by epoch"
        )
    different, of_bin = np.unique(numbers, return_inverse=True)
    if len(different) > 1:
        return Blocks(of_bin, f"{len(different)} blocks: whole epochs")
    if not bin_size > 0:
        raise ValueError(
            f"bin_size must be given in seconds for a recording of one epoch, to cut blocks of at least one second, "
            f"got {bin_size}"
        )
    shortest = math.ceil(MIN_BLOCK_SECONDS / bin_size - 1e-9)
    n_blocks = min(_MOST_BLOCKS, len(numbers) // shortest)
    if n_blocks < 2:
        raise ValueError(
            f"epochs holds one epoch of {len(numbers) * bin_size:.3g} s, too short for two blocks of "
            f"{MIN_BLOCK_SECONDS:g} s; give the recording's epochs, or a longer recording"
        )
    of_bin = np.arange(len(numbers)) * n_blocks // len(numbers)
    seconds = len(numbers) * bin_size / n_blocks
    return Blocks(of_bin, f"{n_blocks} contiguous blocks of {seconds:.3g} s (the recording has one epoch)")


def folds(epochs: AnyArray, key: PRNGKeyArray, *, n_folds: int = 5, bin_size: float = math.nan) -> Folds:
    """Folds of whole epochs with about equal numbers of bins; of contiguous blocks if there is one epoch only.

    Blocks are shuffled, then each goes, the largest first, to the fold with the fewest bins so far. With fewer epochs
    than ``n_folds`` every epoch is a fold, and the sentence says so. The same key gives the same folds.

    Parameters
    ----------
    epochs, bin_size
        As in :func:`blocks`.
    key
        Random key of the assignment.
    n_folds
        Folds wanted, at least 2.

    Raises
    ------
    ValueError
        If ``n_folds`` is less than 2, or as in :func:`blocks`.
    """
    if n_folds < 2:
        raise ValueError(f"n_folds must be at least 2, got {n_folds}; one fold would leave nothing to train on")
    found = blocks(epochs, bin_size)
    count = min(n_folds, found.n_blocks)
    shuffled = np.random.default_rng(np.asarray(jax.random.key_data(key))).permutation(found.n_blocks)
    largest_first = shuffled[np.argsort(-found.sizes[shuffled], kind="stable")]
    fold_of_block = np.zeros(found.n_blocks, int)
    filled = np.zeros(count, int)
    for block in largest_first:
        fold_of_block[block] = filled.argmin()
        filled[filled.argmin()] += found.sizes[block]
    fewer = f", fewer than the {n_folds} asked for" if count < n_folds else ""
    return Folds(fold_of_block[found.numbers], found, count, f"{count} folds{fewer}, of {found.sentence}")
