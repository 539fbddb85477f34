"""Exact answers of any model that is small enough, whichever kind it is."""

from __future__ import annotations

from secateur.model import enumeration, pairwise_enumeration
from secateur.model.machine import Machine
from secateur.model.moments import Moments
from secateur.model.pairwise import PairwiseModel


def can_be_summed(model: Machine | PairwiseModel) -> bool:
    """Whether sums over all states are possible: at most 20 units, of a machine in the smaller block of layers."""
    if isinstance(model, PairwiseModel):
        return model.n_units <= enumeration.MAX_UNITS
    return enumeration.can_be_enumerated(model.layer_sizes)


def moments(model: Machine | PairwiseModel) -> Moments:
    """Exact rates and coincidence rates, float64.

    Raises
    ------
    ValueError
        If the model is too large.
    """
    return pairwise_enumeration.moments(model) if isinstance(model, PairwiseModel) else enumeration.moments(model)
