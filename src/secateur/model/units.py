"""Bernoulli units: everything that depends on a unit's states being 0 or 1.

A unit with total input ``x`` (nats) is 1 with probability ``sigmoid(x)``; summed over its two states it
contributes ``log(1 + exp(x))`` to the logarithm of an unnormalised probability.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from secateur.model.arrays import AnyArray
from secateur.model.randomness import uniforms


def mean(total_input: Float[AnyArray, "*shape"]) -> Float[Array, "*shape"]:
    """Probability that each unit is 1, given its total input in nats."""
    return jax.nn.sigmoid(total_input)


def sample(probabilities: Float[AnyArray, "*shape"], key: PRNGKeyArray) -> Float[Array, "*shape"]:
    """Draw 0/1 states with the given probabilities of being 1."""
    return (uniforms(key, probabilities.shape) < probabilities).astype(probabilities.dtype)


def log_normaliser(total_input: Float[AnyArray, "*shape"]) -> Float[Array, "*shape"]:
    """``log sum_{s in {0, 1}} exp(s * total_input)``, in nats."""
    return jax.nn.softplus(total_input)


def variance(probabilities: Float[AnyArray, "*shape"]) -> Float[AnyArray, "*shape"]:
    """Variance ``p (1 - p)`` of a 0/1 variable with probability ``p``."""
    return probabilities * (1 - probabilities)


def entropy(probabilities: Float[AnyArray, "*shape"]) -> Float[Array, "*shape"]:
    """Entropy of 0/1 units in nats; 0 at probability 0 or 1."""
    return jax.scipy.special.entr(probabilities) + jax.scipy.special.entr(1 - probabilities)


def logit(probabilities: Float[AnyArray, "*shape"]) -> Float[Array, "*shape"]:
    """Inverse of :func:`mean`; infinite at probability 0 or 1."""
    return jnp.log(probabilities) - jnp.log1p(-probabilities)
