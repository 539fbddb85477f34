"""Controls that remove whole hidden units, at the number of synapses that a rule for synapses would leave."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import numpy as np
from jaxtyping import Bool, Float, PRNGKeyArray

from secateur import fisher
from secateur.fisher.diagonal import Source
from secateur.model.machine import Machine
from secateur.pruning.removal import living_units, number_to_remove

UnitScores = tuple[Float[np.ndarray, " _units"], ...]
"""Score of every unit of every hidden layer, first hidden layer first; the lowest go first."""


def random_units(machine: Machine, source: Source, key: PRNGKeyArray) -> UnitScores:
    """Uniformly random scores: removes units blindly."""
    keys = jax.random.split(key, machine.n_layers - 1)
    sizes = machine.layer_sizes[1:]
    return tuple(np.asarray(jax.random.uniform(k, (n,))) for k, n in zip(keys, sizes, strict=True))


def weakest_units(machine: Machine, source: Source, key: PRNGKeyArray) -> UnitScores:
    """Sum of the absolute weights of a unit's synapses, on both of its sides."""
    return _per_unit([np.abs(w) for w in machine.weights])


def least_fi_units(machine: Machine, source: Source, key: PRNGKeyArray) -> UnitScores:
    """Mean variance Fisher information of a unit's synapses, on both of its sides."""
    totals = _per_unit([np.asarray(f) for f in fisher.variance(machine, source)])
    counts = _per_unit([np.asarray(m, dtype=float) for m in machine.masks])
    return tuple(total / np.maximum(count, 1) for total, count in zip(totals, counts, strict=True))


UNIT_RULES: dict[str, Callable[[Machine, Source, PRNGKeyArray], UnitScores]] = {
    "random-units": random_units,
    "weakest-units": weakest_units,
    "least-fi-units": least_fi_units,
}
"""Rules for units by the name a user types: functions of machine, source and key."""


def remove_lowest_units(
    scores: UnitScores,
    masks: Sequence[Bool[np.ndarray, "_lower _upper"]],
    fractions: Sequence[float],
    key: PRNGKeyArray,
) -> tuple[Bool[np.ndarray, "_lower _upper"], ...]:
    """Masks after removing living hidden units with the lowest scores, ties in random order.

    Weight matrix by weight matrix, from below: units of its upper layer go, with their synapses on both sides, until
    the
    synapses left in the matrix are as near as possible to what removing the fraction would have left of it before the
    round. Of two numbers of units equally near, the smaller is removed.
    """
    kept = [np.array(m, dtype=bool) for m in masks]
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    for matrix, (score, fraction) in enumerate(zip(scores, fractions, strict=True)):
        before = int(np.asarray(masks[matrix]).sum())
        target = before - number_to_remove(before, fraction)
        alive = np.flatnonzero(living_units(kept)[matrix + 1])
        order = alive[np.lexsort((rng.permutation(alive.size), score[alive]))]
        left = kept[matrix].sum() - np.concatenate([[0], np.cumsum(kept[matrix].sum(axis=0)[order])])
        removed = order[: int(np.argmin(np.abs(left - target)))]
        kept[matrix][:, removed] = False
        if matrix + 1 < len(kept):
            kept[matrix + 1][removed, :] = False
    return tuple(kept)


def _per_unit(values: Sequence[np.ndarray]) -> UnitScores:
    """Sum of a quantity of synapses over each hidden unit's synapses."""
    from_below = [np.asarray(v).sum(axis=0) for v in values]
    from_above = [*(np.asarray(v).sum(axis=1) for v in values[1:]), 0]
    return tuple(below + above for below, above in zip(from_below, from_above, strict=True))
