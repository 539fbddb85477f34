"""Removal of whole hidden units, at the number of synapses that a rule for synapses would leave."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Bool, Float, PRNGKeyArray

from secateur.pruning.removal import Masks, RemovalCount, living_units, number_to_remove


def remove_lowest_units(
    importance: Sequence[Float[np.ndarray, " _units"]],
    masks: Sequence[Bool[np.ndarray, "_lower _upper"]],
    fractions: Sequence[float],
    key: PRNGKeyArray,
) -> tuple[Masks, tuple[RemovalCount, ...]]:
    """Masks after removing living hidden units with the lowest importance, ties in random order, and what went.

    Weight matrix by weight matrix, from below: units of its upper layer go, with their synapses on both sides, until
    the synapses left in the matrix are as near as possible to what removing the fraction would have left of it before
    the round. Of two numbers of units equally near, the smaller is removed.

    Raises
    ------
    ValueError
        If the importance of a living unit is NaN.
    """
    kept = [np.array(m, dtype=bool) for m in masks]
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    asked = [number_to_remove(int(mask.sum()), fraction) for mask, fraction in zip(kept, fractions, strict=True)]
    before = [int(mask.sum()) for mask in kept]
    for matrix, score in enumerate(importance):
        alive = np.flatnonzero(living_units(kept)[matrix + 1])
        if np.isnan(score[alive]).any():
            n_wrong = int(np.isnan(score[alive]).sum())
            raise ValueError(f"layer {matrix + 1}: importance is NaN for {n_wrong} units; mend the criterion")
        order = alive[np.lexsort((rng.permutation(alive.size), score[alive]))]
        left = kept[matrix].sum() - np.concatenate([[0], np.cumsum(kept[matrix].sum(axis=0)[order])])
        removed = order[: int(np.argmin(np.abs(left - (before[matrix] - asked[matrix]))))]
        kept[matrix][:, removed] = False
        if matrix + 1 < len(kept):
            kept[matrix + 1][removed, :] = False
    gone = [number - int(mask.sum()) for number, mask in zip(before, kept, strict=True)]
    counts = (RemovalCount(wanted, went, n_zero=0, by_units=True) for wanted, went in zip(asked, gone, strict=True))
    return tuple(kept), tuple(counts)
