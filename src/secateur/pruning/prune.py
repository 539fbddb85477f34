"""One pruning step: measure importance, remove, mend the anatomy, compact."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from secateur.fisher.diagonal import Source
from secateur.model.machine import Machine
from secateur.pruning.criteria import Rule, importance
from secateur.pruning.removal import Zeros, compact, remove_dead_units, remove_lowest
from secateur.pruning.unit_rules import UNIT_RULES, remove_lowest_units

Fraction = float | Sequence[float]
"""Share of the remaining synapses to remove: one number for all weight matrices, or one per weight matrix."""


def prune(
    machine: Machine,
    criterion: str | Rule,
    fraction: Fraction,
    *,
    key: PRNGKeyArray,
    source: Source = "exact",
    zeros: Zeros = "all",
) -> Machine:
    """Remove the least important synapses and the units they leave dead.

    Parameters
    ----------
    machine
        The machine to prune.
    criterion
        Name of a rule, or a function of :class:`secateur.pruning.Synapses`.
    fraction
        Share of each weight matrix's remaining synapses to remove, in (0, 1); one number, or one per weight matrix.
    key
        Random key, for rules that draw and for ties.
    source
        Where rates and coincidences come from (see :data:`secateur.fisher.Source`).
    zeros
        Zero rule (see :func:`secateur.pruning.remove_lowest`).

    Returns
    -------
    Machine
        The pruned machine without its dead units; ``unit_indices`` tell which units of the original they were.

    Raises
    ------
    ValueError
        If the criterion is unknown, the fraction lies outside (0, 1) or the source does not fit the machine.
    """
    return compact(machine.with_masks(pruned_masks(machine, source, criterion, fraction, key, zeros)))


def pruned_masks(
    machine: Machine,
    source: Source,
    criterion: str | Rule,
    fraction: Fraction,
    key: PRNGKeyArray,
    zeros: Zeros = "all",
) -> tuple[np.ndarray, ...]:
    """Masks of the synapses that stay after one pruning step, dead units included; parameters of :func:`prune`."""
    fractions = check_fraction(fraction, len(machine.weights))
    if zeros not in ("all", "fraction"):
        raise ValueError(f"zeros must be 'all' or 'fraction', got {zeros!r}")
    key_rule, key_ties = jax.random.split(key)
    masks = [np.asarray(m) for m in machine.masks]
    if isinstance(criterion, str) and criterion in UNIT_RULES:
        unit_scores = UNIT_RULES[criterion](machine, source, key_rule)
        return remove_dead_units(remove_lowest_units(unit_scores, masks, fractions, key_ties))
    scores = importance(machine, source, criterion, key_rule)
    keys = jax.random.split(key_ties, len(scores))
    kept = []
    for matrix, (score, mask, f, k) in enumerate(zip(scores, masks, fractions, keys, strict=True)):
        try:
            kept.append(remove_lowest(np.asarray(score), mask, f, k, zeros))
        except ValueError as error:
            raise ValueError(f"criterion {criterion!r}, weight matrix {matrix}: {error}") from error
    return remove_dead_units(kept)


def check_fraction(fraction: Fraction, n_matrices: int) -> tuple[float, ...]:
    """One fraction per weight matrix.

    Raises
    ------
    ValueError
        If a fraction lies outside (0, 1) or their number does not fit.
    """
    fractions = (fraction,) * n_matrices if isinstance(fraction, int | float) else tuple(fraction)
    if len(fractions) != n_matrices:
        raise ValueError(f"fraction must be one number or {n_matrices} (one per weight matrix), got {len(fractions)}")
    for value in fractions:
        if not 0 < value < 1:
            raise ValueError(f"fraction must lie between 0 and 1 (both excluded), got {value}; 0.1 removes a tenth")
    return fractions
