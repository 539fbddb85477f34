"""One pruning step: measure importance, remove, mend the anatomy, compact."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple, SupportsFloat

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from secateur.fisher.diagonal import Source
from secateur.model import checked
from secateur.model.machine import Machine, Parameters
from secateur.pruning.averages import is_exact, sources_for, verdict_on
from secateur.pruning.ranking import corrected, scores
from secateur.pruning.removal import (
    Masks,
    MoreRemoved,
    RemovalCount,
    Zeros,
    compact,
    remove_dead_units,
    remove_lowest,
)
from secateur.pruning.rules import Criterion, Rule, rule_of
from secateur.pruning.unit_removal import remove_lowest_units

Fraction = SupportsFloat | Sequence[SupportsFloat]
"""Share of the remaining synapses to remove: one number for all weight matrices, or one per weight matrix."""


class Step(NamedTuple):
    """What one step of pruning leaves.

    Attributes
    ----------
    masks
        Synapses that stay, without those of dead units.
    counts
        What the rule took.
    importance
        What it went by: one array per weight matrix, or per hidden layer.
    parameters
        What the rule makes of the parameters; ``None`` for a rule that leaves them as they are.
    """

    masks: Masks
    counts: tuple[RemovalCount, ...]
    importance: tuple[np.ndarray, ...] = ()
    parameters: Parameters | None = None

    def applied(self, machine: Machine) -> Machine:
        """The machine after the step, in arrays of its size."""
        pruned = machine.with_masks(self.masks)
        return pruned if self.parameters is None else pruned.with_parameters(self.parameters)


def prune(
    machine: Machine,
    criterion: Criterion,
    fraction: Fraction,
    *,
    key: PRNGKeyArray,
    source: Source | None = None,
    zeros: Zeros = "fraction",
    visible: Any = None,
) -> Machine:
    """Remove the least important synapses and the units they leave dead.

    Parameters
    ----------
    machine
        The machine to prune.
    criterion
        Name of a rule, a rule, or a function of :class:`secateur.pruning.Synapses`.
    fraction
        Share of each weight matrix's remaining synapses to remove, in (0, 1); one number, or one per weight matrix.
    key
        Random key, for chains, for rules that draw and for ties.
    source
        Where rates and coincidences come from (see :data:`secateur.fisher.Source`). ``None``: from nowhere for a rule
        that needs none, else exactly where the machine can be enumerated, else from 10,000 states drawn here.
    zeros
        Where more synapses than the fraction have importance zero: ``"fraction"`` removes as many as asked for, chosen
        at random from them, ``"all"`` removes all of them.

    visible
        Rows of the data ``(rows, n_0)``, 0/1, for rules that look at them.

    Returns
    -------
    Machine
        The pruned machine without its dead units; ``unit_indices`` tell which units of the original they were. What
        stays has the parameters that it had, or those to which the rule corrects them.

    Warns
    -----
    MoreRemoved
        If the zero rule took more than the fraction.
    NotToBeTrusted
        If importance was measured from draws that are not to be trusted.

    Raises
    ------
    ValueError
        If the criterion is unknown, the fraction lies outside (0, 1) or the source does not fit the machine.
    TypeError
        If the fraction is no number, the key no random key or the machine no machine.
    """
    machine, key = checked.model(machine, single=True, hidden=True), checked.key(key)
    rule = rule_of(criterion)
    fractions = checked.fraction(fraction, len(machine.weights))
    source = _source_for(machine, rule, source, key)
    step = pruning_step(machine, source, rule, fractions, key, zeros, visible)
    if rule.needs:
        verdict_on(machine, source).warn(f"the importance by {rule.name}")
    _warn_of_more(step.counts, [int(np.asarray(m).sum()) for m in machine.masks])
    return compact(step.applied(machine))


def pruned_masks(
    machine: Machine,
    source: Source | None,
    criterion: Criterion,
    fraction: Fraction,
    key: PRNGKeyArray,
    zeros: Zeros = "fraction",
    visible: Any = None,
) -> Masks:
    """Masks of the synapses that stay after one pruning step, dead units included; parameters of :func:`prune`.

    Masks do not tell what a rule does that corrects the parameters that stay; :func:`secateur.pruning.remove` does it.
    """
    machine, key = checked.model(machine, single=True, hidden=True), checked.key(key)
    rule = rule_of(criterion)
    fractions = checked.fraction(fraction, len(machine.weights))
    source = _source_for(machine, rule, source, key)
    return pruning_step(machine, source, rule, fractions, key, zeros, visible).masks


def pruning_step(
    machine: Machine,
    source: Source | None,
    rule: Rule,
    fractions: Sequence[float],
    key: PRNGKeyArray,
    zeros: Zeros,
    visible: Any = None,
) -> Step:
    """One step on a single machine, with the averages that the rule needs and one checked fraction per matrix."""
    if zeros not in ("all", "fraction"):
        raise ValueError(f"zeros must be 'all' or 'fraction', got {zeros!r}")
    key_rule, key_ties = jax.random.split(key)
    importance = [np.asarray(score) for score in scores(machine, source, rule, key_rule, visible)]
    masks = [np.asarray(m) for m in machine.masks]
    try:
        if rule.ranks == "units":
            kept, counts = remove_lowest_units(importance, masks, fractions, key_ties)
        else:
            exact = is_exact(source)
            kept, counts = _remove_synapses(importance, masks, fractions, key_ties, zeros, exact)
    except ValueError as error:
        raise ValueError(f"criterion {rule.name!r}, {error}") from error
    left = remove_dead_units(kept)
    parameters = corrected(machine, source, rule, key_rule, left, visible)
    return Step(left, counts, tuple(importance), parameters)


def _source_for(machine: Machine, rule: Rule, source: Source | None, key: PRNGKeyArray) -> Source | None:
    return source if source is not None else sources_for(machine, rule, None, key)[0]


def _remove_synapses(
    importance: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    fractions: Sequence[float],
    key: PRNGKeyArray,
    zeros: Zeros,
    exact: bool,
) -> tuple[Masks, tuple[RemovalCount, ...]]:
    """The lowest synapses of every weight matrix go."""
    kept, counts = [], []
    each = zip(importance, masks, fractions, jax.random.split(key, len(masks)), strict=True)
    for matrix, (score, mask, fraction, key_ties) in enumerate(each):
        try:
            left, count = remove_lowest(score, mask, fraction, key_ties, zeros, exact=exact)
        except ValueError as error:
            raise ValueError(f"weight matrix {matrix}: {error}") from error
        kept.append(left)
        counts.append(count)
    return tuple(kept), tuple(counts)


def _warn_of_more(counts: Sequence[RemovalCount], n_synapses: Sequence[int]) -> None:
    """Warn of what the zero rule took beyond the fraction; whole units are as near to it as they can be."""
    for matrix, (count, before) in enumerate(zip(counts, n_synapses, strict=True)):
        if count.beyond and not count.by_units:
            warnings.warn(
                f"weight matrix {matrix}: {count.gone:,} of {before:,} synapses went, {count}; "
                "say zeros='fraction' to remove no more than was asked for",
                MoreRemoved,
                stacklevel=3,
            )
