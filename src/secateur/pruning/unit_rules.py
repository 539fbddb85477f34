"""The built-in rules that rank hidden units: controls that remove whole units."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from secateur.fisher.unit_information import mean_over_synapses
from secateur.likelihood import removal_loss
from secateur.model.arrays import AnyArray
from secateur.model.units import variance
from secateur.pruning.given import Units, WholeMachine, moments_of_whole, row_averages_of
from secateur.pruning.rules import rule


@rule("random-units", ranks="units", needs=())
def random_units(units: Units) -> Float[AnyArray, " units"]:
    """Uniformly random importance: removes units blindly."""
    return jax.random.uniform(units.key, units.biases.shape, jnp.float32)


@rule("weakest-units", ranks="units", needs=())
def weakest_units(units: Units) -> Float[AnyArray, " units"]:
    """Sum of the absolute weights of a unit's synapses, on both of its sides."""
    return np.abs(units.weights_below).sum(axis=0) + np.abs(units.weights_above).sum(axis=1)


@rule("unit-kl", ranks="units", needs=("rates", "rows"))
def unit_kl(whole: WholeMachine) -> tuple[Float[AnyArray, " units"], ...]:
    """Loss of mean log p of the data, nats, when the unit goes with all its synapses (Saito & Kato 2019)."""
    return removal_loss.unit_losses(row_averages_of(whole), moments_of_whole(whole))


@rule("unit-information", ranks="units", needs=("rows",))
def unit_information(whole: WholeMachine) -> tuple[Float[AnyArray, " units"], ...]:
    """Mutual information of the unit and the rows of data, nats (Berglund, Raiko & Cho 2015)."""
    assert whole.rows is not None
    return removal_loss.unit_information(whole.machine, whole.rows)


@rule("least-fi-units", ranks="units", needs=("coincidences",))
def least_fi_units(units: Units) -> Float[AnyArray, " units"]:
    """Mean variance Fisher information of a unit's synapses, on both of its sides."""
    information = variance(units.coincidences_below), variance(units.coincidences_above)
    return mean_over_synapses(information, (units.masks_below, units.masks_above))
