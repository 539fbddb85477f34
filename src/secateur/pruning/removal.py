"""Which synapses and units go: exact counts, the zero rule, anatomy, compaction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int, PRNGKeyArray

from secateur.model import checked
from secateur.model.arrays import AnyArray
from secateur.model.checked import exact_share
from secateur.model.machine import Machine
from secateur.model.trials import n_trials, stack, unstack

Zeros = Literal["all", "fraction"]
"""Zero rule: where more synapses than the fraction have zero importance, remove all of them, or a random choice of
them."""

Masks = tuple[Bool[np.ndarray, "_lower _upper"], ...]


class MoreRemoved(UserWarning):
    """More synapses went than the fraction asked for; the message says how many and why."""


class RemovalCount(NamedTuple):
    """What a rule took from one weight matrix, before the units that it left dead went as well.

    Attributes
    ----------
    asked
        Synapses that make the fraction.
    gone
        Synapses that the rule took.
    n_zero
        Synapses whose importance is zero, where that is the lowest; else 0.
    exact
        Whether zero importance is exactly zero. If not, it cannot be told from zero in the draws that it was measured
        from, in which, say, a synapse was never seen active.
    by_units
        Whether whole units went, as near to the fraction as they can.
    """

    asked: int
    gone: int
    n_zero: int
    exact: bool = True
    by_units: bool = False

    @property
    def beyond(self) -> int:
        """Synapses that went beyond the fraction."""
        return max(self.gone - self.asked, 0)

    @property
    def zero_in_words(self) -> str:
        """What can be said of synapses of importance zero."""
        return "importance is exactly zero" if self.exact else "importance cannot be told from zero in the draws"

    def __str__(self) -> str:
        if self.by_units:
            return f"{self.beyond:,} beyond the fraction, in whole units" if self.beyond else ""
        if self.beyond:
            return f"{self.beyond:,} beyond the fraction, whose {self.zero_in_words}"
        if self.n_zero > self.gone:
            return f"chosen at random from the {self.n_zero:,} whose {self.zero_in_words}"
        return ""


def number_to_remove(n_synapses: int, fraction: float) -> int:
    """Synapses to remove from ``n_synapses``: the fraction, halves rounded down (455 -> 228 stay).

    The fraction is the decimal that was written, not the nearest binary number: 0.55 of 50 is 27.5, so that 27 go.
    """
    return exact_share(n_synapses, fraction)


def remove_lowest(
    importance: Float[np.ndarray, "lower upper"],
    mask: Bool[np.ndarray, "lower upper"],
    fraction: float,
    key: PRNGKeyArray,
    zeros: Zeros = "fraction",
    *,
    exact: bool = True,
) -> tuple[Bool[np.ndarray, "lower upper"], RemovalCount]:
    """Mask of the synapses that stay when the fraction with the lowest importance goes, and what went.

    Exactly :func:`number_to_remove` synapses go, ties broken at random, with one exception: if more than that have
    zero importance, zero being the lowest, and ``zeros="all"``, then all of those go (Scholl, Rule & Hennig 2021,
    Methods).

    Parameters
    ----------
    importance, mask
        Importance of the synapses, and which of them exist.
    fraction
        Share of the existing synapses, in (0, 1).
    key
        Random key that breaks ties.
    zeros
        Zero rule.
    exact
        Whether importances are exact, and not estimates from draws; only for what is said of zeros.

    Raises
    ------
    ValueError
        If an importance is NaN.
    """
    kept = np.array(mask, dtype=bool, order="C")
    present = np.flatnonzero(kept)
    scores = np.asarray(importance).reshape(-1)[present]
    if np.isnan(scores).any():
        raise ValueError(f"importance is NaN for {int(np.isnan(scores).sum())} synapses; mend the criterion")
    asked = number_to_remove(present.size, fraction)
    n_zero = int((scores == 0).sum()) if present.size and scores.min() == 0 else 0
    gone = max(asked, n_zero) if zeros == "all" else asked
    # NumPy's generator, seeded from the key: JAX would compile a permutation for every new number of synapses.
    tie_break = np.random.default_rng(np.asarray(jax.random.key_data(key))).permutation(present.size)
    order = np.lexsort((tie_break, scores))
    # In C order whatever order the mask has, so that this is a view: of another order reshape makes a copy.
    kept.reshape(-1)[present[order[:gone]]] = False
    return kept, RemovalCount(asked, gone, n_zero, exact)


def remove_dead_units(masks: Sequence[Bool[np.ndarray, "_lower _upper"]]) -> Masks:
    """Masks without the synapses of dead units.

    A hidden unit with no synapse left on one of its sides is dead (the top layer has one side) and loses its other
    synapses, which may kill further units, until nothing changes. Visible units never die.
    """
    masks = [np.array(m, dtype=bool) for m in masks]
    while True:
        before = sum(int(m.sum()) for m in masks)
        for layer, alive in enumerate(living_units(masks)):
            if layer > 0:
                masks[layer - 1] &= alive[None, :]
            if layer < len(masks):
                masks[layer] &= alive[:, None]
        if sum(int(m.sum()) for m in masks) == before:
            return tuple(masks)


def living_units(masks: Sequence[Bool[AnyArray, "_lower _upper"]]) -> tuple[Bool[np.ndarray, " _units"], ...]:
    """Per layer which units have synapses on all of their sides; all visible units count as living."""
    masks = [np.asarray(m) for m in masks]
    alive: list[np.ndarray] = [np.ones(masks[0].shape[0], dtype=bool)]
    for layer in range(1, len(masks) + 1):
        from_below = np.any(masks[layer - 1], axis=0)
        alive.append(from_below & np.any(masks[layer], axis=1) if layer < len(masks) else from_below)
    return tuple(alive)


def silent_visible_units(masks: Sequence[Bool[AnyArray, "_lower _upper"]]) -> Bool[np.ndarray, " visible"]:
    """Visible units that have lost all synapses (the paper's lost pixels); they stay in the model with their bias."""
    return ~np.any(np.asarray(masks[0]), axis=1)


def compact(machine: Machine) -> Machine:
    """The machine without its dead units, whose remaining synapses go with them; original unit indices are kept.

    The distribution over the units that stay is that of the machine whose dead units have lost their synapses.
    """
    machine = machine.with_masks(remove_dead_units([np.asarray(m) for m in machine.masks]))
    return _keep(machine, [np.flatnonzero(alive) for alive in living_units(machine.masks)])


def shrink(machine: Machine, multiple: int = 64) -> Machine:
    """The machine, or stacked trials, in smaller arrays: dead units leave until every hidden layer fills a multiple.

    Where :func:`compact` makes a shape of its own for every machine, and so costs a compilation each, this rounds up:
    layers keep all living units and so many dead ones, without synapses, that few shapes occur. Stacked trials keep
    equal shapes.

    Parameters
    ----------
    machine
        A machine whose dead units have no synapses left (:func:`remove_dead_units`).
    multiple
        Hidden layers get a multiple of this many units, or keep the size they have if that is smaller.
    """
    multiple = checked.count("multiple", multiple)
    stacked = n_trials(machine) is not None
    machines = unstack(machine) if stacked else [machine]
    alive = [living_units(one.masks) for one in machines]
    sizes = list(machine.layer_sizes)
    for layer in range(1, machine.n_layers):
        most = max(int(living[layer].sum()) for living in alive)
        sizes[layer] = min(sizes[layer], multiple * max(1, math.ceil(most / multiple)))
    # Living units first, then dead ones, each in their order; then the chosen ones in their order.
    chosen = [
        [np.sort(np.argsort(~layer, kind="stable")[:size]) for layer, size in zip(living, sizes, strict=True)]
        for living in alive
    ]
    smaller = [_keep(one, units) for one, units in zip(machines, chosen, strict=True)]
    return stack(smaller) if stacked else smaller[0]


def _keep(machine: Machine, units: Sequence[Int[np.ndarray, " _units"]]) -> Machine:
    """The machine with only these units of every layer."""
    pairs = list(zip(units[:-1], units[1:], strict=True))
    return Machine(
        weights=[np.asarray(w)[np.ix_(*ends)] for w, ends in zip(machine.weights, pairs, strict=True)],
        biases=[np.asarray(b)[kept] for b, kept in zip(machine.biases, units, strict=True)],
        masks=[np.asarray(m)[np.ix_(*ends)] for m, ends in zip(machine.masks, pairs, strict=True)],
        unit_indices=[np.asarray(i)[kept] for i, kept in zip(machine.unit_indices, units, strict=True)],
        original_layer_sizes=machine.original_layer_sizes,
    )
