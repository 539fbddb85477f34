"""The built-in rules that rank hidden units: controls that remove whole units."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from secateur.fisher.unit_information import mean_over_synapses
from secateur.model.arrays import AnyArray
from secateur.model.units import variance
from secateur.pruning.given import Units
from secateur.pruning.rules import rule


@rule("random-units", ranks="units", needs=())
def random_units(units: Units) -> Float[AnyArray, " units"]:
    """Uniformly random importance: removes units blindly."""
    return jax.random.uniform(units.key, units.biases.shape, jnp.float32)


@rule("weakest-units", ranks="units", needs=())
def weakest_units(units: Units) -> Float[AnyArray, " units"]:
    """Sum of the absolute weights of a unit's synapses, on both of its sides."""
    return np.abs(units.weights_below).sum(axis=0) + np.abs(units.weights_above).sum(axis=1)


@rule("least-fi-units", ranks="units", needs=("coincidences",))
def least_fi_units(units: Units) -> Float[AnyArray, " units"]:
    """Mean variance Fisher information of a unit's synapses, on both of its sides."""
    information = variance(units.coincidences_below), variance(units.coincidences_above)
    return mean_over_synapses(information, (units.masks_below, units.masks_above))
