"""Exact answers of the pairwise model by summing over all states, in float64.

The units are split into two halves: the log weight of a state is that of its first half, that of its second half and a
bilinear form of both, so all ``2^n`` log weights are one product of two small matrices.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from secateur.model.enumeration import MAX_UNITS
from secateur.model.moments import Moments, Statistics
from secateur.model.pairwise import PairwiseModel


def moments(model: PairwiseModel) -> Moments:
    """Exact rates ``(units,)`` and coincidence rates ``(units, units)`` (its diagonal holds the rates), float64.

    Raises
    ------
    ValueError
        If the model has more than 20 units.
    """
    check_size(model.n_units, "moments")
    with jax.enable_x64(True):
        _, statistics = log_partition_and_moments(*double(model))
        return Moments.exact(jax.tree.map(np.asarray, statistics))


def all_states(n_units: int) -> UInt8[np.ndarray, "states units"]:
    """Every state of so many units."""
    return ((np.arange(2**n_units)[:, None] >> np.arange(n_units)[None, :]) & 1).astype(np.uint8)


@jax.jit
def log_partition_of(biases: Float[Array, " units"], couplings: Float[Array, "units units"]) -> Float[Array, ""]:
    """``log Z`` in nats as a pure, differentiable function of biases and symmetric couplings, in their precision."""
    half = biases.shape[0] // 2
    parts = (slice(None, half), slice(half, None))
    first, second = (jnp.asarray(all_states(biases[part].shape[0]), biases.dtype) for part in parts)
    within = [
        states @ biases[part] + 0.5 * ((states @ couplings[part, part]) * states).sum(axis=1)
        for states, part in zip((first, second), parts, strict=True)
    ]
    # Both triangles of the couplings enter equally, so that the gradient is symmetric too.
    between = 0.5 * (couplings[:half, half:] + couplings[half:, :half].T)
    return jax.nn.logsumexp(within[0][:, None] + within[1][None, :] + first @ between @ second.T)


@jax.jit
def log_partition_and_moments(
    biases: Float[Array, " units"], couplings: Float[Array, "units units"]
) -> tuple[Float[Array, ""], Statistics]:
    """``log Z`` in nats, and the moments, which are its gradient: ``d log Z / d b_i = <s_i>`` and so on."""
    log_z, (rates, half_coincidences) = jax.value_and_grad(log_partition_of, argnums=(0, 1))(biases, couplings)
    return log_z, Statistics((rates,), (2 * half_coincidences,))


def double(model: PairwiseModel) -> tuple[Float[Array, " units"], Float[Array, "units units"]]:
    """Biases and couplings in float64; call it within ``jax.enable_x64(True)``."""
    return jnp.asarray(np.asarray(model.biases, np.float64)), jnp.asarray(np.asarray(model.couplings, np.float64))


def check_size(n_units: int, what: str) -> None:
    """Refuse models with more than 20 units, saying ``what`` cannot be computed."""
    if n_units > MAX_UNITS:
        raise ValueError(
            f"exact {what} needs a pairwise model of at most {MAX_UNITS} units, this one has {n_units}; use "
            "method='ais' or sampled states instead"
        )
