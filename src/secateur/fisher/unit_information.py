"""Fisher information of whole hidden units: the mean over their synapses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from secateur.fisher.diagonal import Source, variance
from secateur.model.arrays import AnyArray
from secateur.model.machine import Machine


def mean_synapse_information(machine: Machine, source: Source) -> tuple[Float[np.ndarray, " _units"], ...]:
    """Mean variance Fisher information of each hidden unit's synapses, on both of its sides, per nat^2.

    One array ``(n_l,)`` per hidden layer, the first hidden layer first; 0 for a unit without synapses. Parameters and
    errors as in :func:`secateur.fisher.variance`.
    """
    information: list[AnyArray] = [np.asarray(one) for one in variance(machine, source)]
    nothing = np.zeros((machine.layer_sizes[-1], 0), information[-1].dtype)
    information, masks = [*information, nothing], [*machine.masks, nothing.astype(bool)]
    sides = range(len(machine.weights))
    return tuple(mean_over_synapses(information[side : side + 2], masks[side : side + 2]) for side in sides)


def mean_over_synapses(values: Sequence[AnyArray], masks: Sequence[AnyArray]) -> Float[np.ndarray, " _units"]:
    """Mean of a quantity over the synapses that the units of one layer have; 0 for a unit without synapses.

    Parameters
    ----------
    values, masks
        Of the synapses below ``(lower, units)`` and above ``(units, upper)``; of the top layer the latter are empty.
    """
    totals = [np.where(mask, value, 0).sum(axis=axis) for axis, value, mask in zip((0, 1), values, masks, strict=True)]
    counts = [np.asarray(mask).sum(axis=axis) for axis, mask in enumerate(masks)]
    return (totals[0] + totals[1]) / np.maximum(counts[0] + counts[1], 1)
