"""Likelihoods of the pairwise model in nats: partition function and log-probability of words."""

from __future__ import annotations

from functools import partial
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from secateur.likelihood.partition import LogPartition, combine_log_weights
from secateur.model import units
from secateur.model.arrays import AnyArray
from secateur.model.pairwise import PairwiseModel, check_states
from secateur.model.pairwise_enumeration import check_size, double, log_partition_of
from secateur.sampling.pairwise import gibbs, random_states


def log_partition(
    model: PairwiseModel,
    method: Literal["exact", "ais"] = "exact",
    *,
    key: PRNGKeyArray | None = None,
    n_chains: int = 256,
    n_temperatures: int = 2000,
    base_rates: Float[AnyArray, " units"] | None = None,
) -> LogPartition:
    """Logarithm of the partition function, in nats.

    Parameters
    ----------
    model
        The model. Without couplings the answer is exact at any size, whatever the method.
    method
        ``"exact"``: sum over all states (at most 20 units), float64. ``"ais"``: annealed importance sampling (Neal
        2001) from an independent model, any size.
    key
        Random key; needed for ``"ais"``.
    n_chains
        Independent annealing runs.
    n_temperatures
        Inverse temperatures from 0 to 1, equally spaced.
    base_rates
        Rates of the units in the data: the annealing starts from the independent model with these rates. ``None``: from
        the model's own biases.

    Raises
    ------
    ValueError
        If the model is too large for ``"exact"``, ``key`` is missing for ``"ais"``, or ``method`` is unknown.
    """
    if method not in ("exact", "ais"):
        raise ValueError(f"method must be 'exact' or 'ais', got {method!r}")
    if not np.asarray(model.couplings).any():
        return LogPartition(float(np.logaddexp(0, np.asarray(model.biases, np.float64)).sum()))
    if method == "exact":
        check_size(model.n_units, "log_partition")
        with jax.enable_x64(True):
            return LogPartition(float(log_partition_of(*double(model))))
    if key is None:
        raise ValueError("method='ais' needs key, e.g. key=jax.random.key(0)")
    if n_chains < 2 or n_temperatures < 2:
        raise ValueError(f"n_chains and n_temperatures must be at least 2, got {n_chains} and {n_temperatures}")
    if base_rates is None:
        base_bias = model.biases
    else:
        base_bias = units.logit(jnp.clip(jnp.asarray(base_rates, jnp.float32), 1e-4, 1 - 1e-4))
    log_weights = _annealed_log_weights(model, base_bias, key, n_chains=n_chains, n_temperatures=n_temperatures)
    return combine_log_weights(np.asarray(log_weights, dtype=np.float64), n_temperatures)


@partial(jax.jit, static_argnames=("n_chains", "n_temperatures"))
def _annealed_log_weights(
    model: PairwiseModel, base_bias: Float[Array, " units"], key: PRNGKeyArray, *, n_chains: int, n_temperatures: int
) -> Float[Array, " chains"]:
    """Log importance weights (nats, ``log Z`` of the base included) of independent annealing runs.

    At inverse temperature ``t`` the biases are ``(1 - t) * base_bias + t * bias`` and the couplings ``t * J``.
    """

    def tempered(t: Array) -> PairwiseModel:
        biases = (1 - t) * base_bias + t * model.biases
        return eqx.tree_at(lambda m: (m.biases, m.couplings), model, (biases, t * model.couplings))

    def body(carry: tuple[Array, Array], step: tuple[Array, Array, Array]) -> tuple[tuple[Array, Array], None]:
        states, log_weights = carry
        before, after, step_key = step
        colder = tempered(after)
        log_weights = log_weights + tempered(before).energy(states) - colder.energy(states)
        return (gibbs(colder, states, step_key, 1), log_weights), None

    key_start, key_steps = jax.random.split(key)
    start = random_states(tempered(jnp.asarray(0.0)), key_start, n_chains)
    inverse = jnp.linspace(0.0, 1.0, n_temperatures)
    steps = (inverse[:-1], inverse[1:], jax.random.split(key_steps, n_temperatures - 1))
    (_, log_weights), _ = jax.lax.scan(body, (start, jnp.zeros(n_chains)), steps)
    return log_weights + units.log_normaliser(base_bias).sum()


def log_probability(model: PairwiseModel, states: AnyArray, log_z: LogPartition | float) -> Float[np.ndarray, " rows"]:
    """``log p(s)`` of each 0/1 row in nats given ``log Z``, float64; exact but for the error of ``log Z``.

    Raises
    ------
    ValueError
        If the states do not fit the model.
    """
    rows = check_states(states, model.n_units).astype(np.float64)
    biases, couplings = (np.asarray(a, np.float64) for a in (model.biases, model.couplings))
    value = log_z.estimate if isinstance(log_z, LogPartition) else float(log_z)
    return rows @ biases + 0.5 * ((rows @ couplings) * rows).sum(axis=1) - value
