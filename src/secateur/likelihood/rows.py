"""Log-probabilities, free energies and pseudo-likelihoods of rows, in nats.

Public functions check what they are given; the pure functions beside them, whose names end in ``_of``, check nothing
and work under ``jit`` and ``vmap``.
"""

from __future__ import annotations

import math

import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from secateur.likelihood.estimates import LogPartition
from secateur.model import checked, enumeration, mean_field, units
from secateur.model.arrays import AnyArray
from secateur.model.pairwise import PairwiseModel
from secateur.sampling.sweep import Model


def log_probability(model: Model, visible: AnyArray, log_z: LogPartition | float) -> Float[np.ndarray, " rows"]:
    """Exact ``log p(v)`` of each row in nats given ``log Z``, hidden layers summed out, float64.

    Exact at any size for one hidden layer and for pairwise models; for deeper machines the smaller block of the hidden
    layers may have up to 20 units, beyond that use :func:`log_probability_bound`.

    Parameters
    ----------
    model
        A machine or a pairwise model.
    visible
        0/1 rows ``(rows, n_0)``.
    log_z
        Result of :func:`secateur.likelihood.log_partition`, or its value in nats. An estimate with a standard error
        shifts all rows together.

    Raises
    ------
    ValueError
        If the rows are not 0/1 or do not fit the model, ``log_z`` is not finite, or the hidden layers of a deep machine
        are too large to be summed out.
    TypeError
        If an argument is of another kind.

    Warns
    -----
    NotToBeTrusted
        If ``log_z`` is not to be trusted.
    """
    rows, value = _checked(model, visible, log_z, "log p")
    if isinstance(model, PairwiseModel):
        rows = rows.astype(np.float64)
        biases, couplings = (np.asarray(a, np.float64) for a in (model.biases, model.couplings))
        return rows @ biases + 0.5 * ((rows @ couplings) * rows).sum(axis=1) - value
    return enumeration.unnormalised_log_probability(model, rows) - value


def log_probability_bound(model: Model, visible: AnyArray, log_z: LogPartition | float) -> Float[np.ndarray, " rows"]:
    """Variational *lower bound* on ``log p(v)`` of each row in nats, from mean-field inference (tight for an RBM).

    Parameters, errors and warnings as in :func:`log_probability` (Salakhutdinov & Hinton 2009, equation 6).
    """
    rows, value = _checked(model, visible, log_z, "the bound on log p")
    return -np.asarray(free_energy_of(model, rows), dtype=np.float64) - value


def free_energy(model: Model, visible: AnyArray) -> Float[Array, " rows"]:
    """Free energy ``-log p(v) - log Z`` of each 0/1 row in nats.

    Exact for one hidden layer and for pairwise models; an upper bound (mean field) for deeper machines.

    Raises
    ------
    ValueError, TypeError
        If the rows are not 0/1 or do not fit the model.
    """
    checked.model(model, "model")
    return free_energy_of(model, checked.rows(visible, model.layer_sizes[0]))


def pseudo_likelihood(model: Model, visible: AnyArray, key: AnyArray) -> Float[Array, ""]:
    """Mean log pseudo-likelihood ``sum_i log p(v_i | v_rest)`` per 0/1 row in nats, from one random unit per row.

    An unbiased estimate for one hidden layer and for pairwise models; for deeper machines the free energies are
    mean-field bounds, so it is an approximation without a sign. Cheap: two free energies per row.

    Raises
    ------
    ValueError, TypeError
        If the rows are not 0/1 or do not fit the model, or the key is no random key.
    """
    checked.model(model, "model")
    return pseudo_likelihood_of(model, checked.rows(visible, model.layer_sizes[0]), checked.key(key))


@jax.jit
def free_energy_of(model: Model, visible: Float[AnyArray, "rows visible"]) -> Float[Array, " rows"]:
    """:func:`free_energy` of rows that have been checked."""
    if isinstance(model, PairwiseModel):
        return model.energy((visible,))
    if model.n_layers == 2:
        hidden = units.log_normaliser(model.total_input((visible, visible), 1))
        return -(visible @ model.biases[0]) - hidden.sum(axis=1)
    return -mean_field.variational_bound(model, mean_field.infer(model, visible))


@jax.jit
def pseudo_likelihood_of(model: Model, visible: Float[AnyArray, "rows visible"], key: PRNGKeyArray) -> Float[Array, ""]:
    """:func:`pseudo_likelihood` of rows that have been checked."""
    n_rows, n_visible = visible.shape
    flipped_unit = jax.random.randint(key, (n_rows,), 0, n_visible)
    flip = jax.nn.one_hot(flipped_unit, n_visible, dtype=visible.dtype)
    flipped = visible * (1 - flip) + (1 - visible) * flip
    difference = free_energy_of(model, flipped) - free_energy_of(model, visible)
    return n_visible * jax.nn.log_sigmoid(difference).mean()


def _checked(
    model: Model, visible: AnyArray, log_z: LogPartition | float, what: str
) -> tuple[Float[np.ndarray, "rows visible"], float]:
    """Rows and the value of log Z; warns where log Z is not to be trusted."""
    checked.model(model, "model")
    rows = checked.host_rows(visible, model.layer_sizes[0])
    if isinstance(log_z, LogPartition):
        log_z.verdict.warn(f"log Z, and so {what},", stacklevel=3)
        return rows, log_z.estimate
    try:
        value = float(log_z)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(
            f"log_z must be a finite number of nats or what log_partition returns, got {log_z!r}; give "
            "secateur.likelihood.log_partition(model, key=jax.random.key(0))"
        )
    return rows, value
