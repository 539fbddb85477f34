"""The built-in rules that rank synapses.

A synapse whose importance is exactly zero carries nothing (see the zero rule in :mod:`secateur.pruning.removal`).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from secateur import fisher
from secateur.likelihood import removal_loss
from secateur.model import units
from secateur.model.arrays import AnyArray
from secateur.model.machine import Parameters
from secateur.pruning.given import Synapses, WholeMachine, moments_of_whole, row_averages_of
from secateur.pruning.greedy import greedy_removal
from secateur.pruning.removal import Masks
from secateur.pruning.rules import rule


@rule("variance-fi", needs=("coincidences",))
def variance_fi(synapses: Synapses) -> Float[AnyArray, "lower upper"]:
    """Variance Fisher information ``p (1 - p)``, ``p`` the coincidence rate (Scholl, Rule & Hennig 2021, eq. 6)."""
    return units.variance(synapses.coincidences)


@rule("heuristic-fi", needs=("rates",))
def heuristic_fi(synapses: Synapses) -> Float[AnyArray, "lower upper"]:
    """Fisher information from firing rates and the weight alone (Scholl, Rule & Hennig 2021, eq. 10)."""
    return fisher.heuristic_information(synapses.weights, synapses.rates_pre, synapses.rates_post)


@rule("weight-magnitude", needs=())
def weight_magnitude(synapses: Synapses) -> Float[AnyArray, "lower upper"]:
    """Absolute weight."""
    return jnp.abs(synapses.weights)


@rule("random", needs=())
def random(synapses: Synapses) -> Float[AnyArray, "lower upper"]:
    """Uniformly random importance: the control that removes synapses blindly."""
    # Of one width, so that a key draws the same where 64-bit JAX is switched on.
    return jax.random.uniform(synapses.key, synapses.weights.shape, jnp.float32)


@rule("anti-fi", needs=("coincidences",))
def anti_fi(synapses: Synapses) -> Float[AnyArray, "lower upper"]:
    """Minus the variance Fisher information: removes the *most* informative synapses first."""
    return -units.variance(synapses.coincidences)


@rule("fi-times-weight-squared", needs=("coincidences",))
def fi_times_weight_squared(synapses: Synapses) -> Float[AnyArray, "lower upper"]:
    """Saliency ``w^2 F`` of Optimal Brain Damage (LeCun, Denker & Solla 1990), with the variance Fisher information."""
    return synapses.weights**2 * units.variance(synapses.coincidences)


@rule("decimation-kl", needs=("coincidences",))
def decimation_kl(synapses: Synapses) -> Float[AnyArray, "lower upper"]:
    """Divergence of the model without the synapse from the model with it, nats; at small weights ``w^2 F / 2``."""
    return removal_loss.decimation_divergence(synapses.weights, synapses.coincidences)


@rule("likelihood-loss", needs=("coincidences", "rows"))
def likelihood_loss(whole: WholeMachine) -> tuple[Float[AnyArray, "lower upper"], ...]:
    """Loss of mean log p of the data, nats, when the synapse alone goes."""
    return removal_loss.synapse_losses(whole.machine, row_averages_of(whole), moments_of_whole(whole))


@rule("greedy-likelihood", needs=("rows",))
def greedy_likelihood(whole: WholeMachine) -> tuple[Float[AnyArray, "lower upper"], ...]:
    """Number of the step at which greedy removal by the true loss takes the synapse, from 1; for small machines."""
    path = greedy_removal(whole.machine, whole.rows, whole.machine.synapse_counts)
    steps = tuple(np.zeros(mask.shape) for mask in whole.machine.masks)
    for number, (matrix, i, j) in enumerate(path.order, start=1):
        steps[matrix][i, j] = number
    return steps


def compensated(whole: WholeMachine, masks: Masks) -> Parameters:
    """Parameters that make up for all removed synapses together, to second order."""
    return fisher.compensated(whole.machine, whole.source, masks)


@rule("optimal-brain-surgeon", needs=("states",), correct=compensated)
def optimal_brain_surgeon(whole: WholeMachine) -> tuple[Float[AnyArray, "lower upper"], ...]:
    """Saliency ``w^2 / (2 [F^-1]_qq)`` of Optimal Brain Surgeon (Hassibi & Stork 1993)."""
    return fisher.removal_saliency(whole.machine, whole.source, whole.key).values


@rule("eigenvector-fi", needs=("states",))
def eigenvector_fi(whole: WholeMachine) -> tuple[Float[AnyArray, "lower upper"], ...]:
    """Absolute entry in the leading eigenvector of the Fisher information matrix (Scholl, Rule & Hennig 2021)."""
    return fisher.leading_eigenvector_importance(whole.machine, whole.source, whole.key)
