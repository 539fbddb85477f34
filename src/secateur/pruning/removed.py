"""What a step of pruning took, or would take: synapses, units that died, visible units that fell silent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from secateur.model.machine import Machine
from secateur.pruning.removal import RemovalCount, living_units, silent_visible_units


@dataclass(frozen=True)
class Removed:
    """What one machine has lost against an earlier one; unit numbers are those of the machine before any pruning.

    Attributes
    ----------
    before, after
        Synapses of each weight matrix.
    units
        Per layer the units that had synapses on all of their sides and no longer have; none in the visible layer.
    silent
        Visible units that lost their last synapse; they stay in the machine with their bias.
    counts
        What the rule took from each weight matrix, and why more than the fraction; ``None`` where that is not known.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    units: tuple[tuple[int, ...], ...]
    silent: tuple[int, ...]
    counts: tuple[RemovalCount, ...] | None = None

    def __str__(self) -> str:
        lines = [
            f"synapses {matrix}-{matrix + 1}: {before:,} -> {after:,} ({', '.join(self._why(matrix))})"
            for matrix, (before, after) in enumerate(zip(self.before, self.after, strict=True))
        ]
        lines += [f"units of layer {layer}: {_listed(gone)} die" for layer, gone in enumerate(self.units) if layer]
        return "\n".join([*lines, f"visible units: {_listed(self.silent)} lose their last synapse"])

    def _why(self, matrix: int) -> list[str]:
        """How many synapses of a weight matrix go, and what is beyond the fraction."""
        gone = self.before[matrix] - self.after[matrix]
        words = [f"{gone:,} go"]
        if self.counts is not None:
            count = self.counts[matrix]
            words += [str(count)] if str(count) else []
            # What goes with dead units is beyond the fraction only where the rule itself has reached it.
            died = gone - max(count.gone, count.asked)
            words += [f"{died:,} beyond the fraction, with units that die"] if died > 0 else []
        return words


def removed(before: Machine, after: Machine, counts: tuple[RemovalCount, ...] | None = None) -> Removed:
    """What ``after`` has lost against ``before``; with :func:`secateur.pruning.prune` a look before anything goes.

    Parameters
    ----------
    before, after
        Two single machines of one lineage, compact or not.
    counts
        What the rule took (:attr:`secateur.pruning.Round.counts`), to tell what is beyond the fraction.

    Raises
    ------
    ValueError
        If ``after`` cannot have come from ``before``.
    """
    if before.original_layer_sizes != after.original_layer_sizes:
        raise ValueError(
            f"after must come from before, got machines that began with {after.original_layer_sizes} and "
            f"{before.original_layer_sizes} units"
        )
    units = zip(_living(before), _living(after), strict=True)
    silent = np.setdiff1d(_silent(after), _silent(before))
    return Removed(
        before.synapse_counts,
        after.synapse_counts,
        tuple(tuple(np.setdiff1d(old, new).tolist()) for old, new in units),
        tuple(silent.tolist()),
        counts,
    )


def _living(machine: Machine) -> list[np.ndarray]:
    alive = living_units(machine.masks)
    return [np.asarray(i)[living] for i, living in zip(machine.unit_indices, alive, strict=True)]


def _silent(machine: Machine) -> np.ndarray:
    return np.asarray(machine.unit_indices[0])[silent_visible_units(machine.masks)]


def _listed(numbers: tuple[int, ...], most: int = 10) -> str:
    shown = ", ".join(map(str, numbers[:most])) + (", ..." if len(numbers) > most else "")
    return f"{len(numbers):,} ({shown})" if numbers else "0"
