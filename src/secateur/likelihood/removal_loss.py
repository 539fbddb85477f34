"""What the removal of one synapse or one hidden unit costs: mean log p of the data, and distance between models.

Removing a factor ``exp(w s_i s_j)`` divides the weight of a state by it, so that every change is an average over the
model as it stands and, for the data, over the hidden units given each row. The formulas hold at any depth.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from secateur.model import enumeration, mean_field, units
from secateur.model.arrays import AnyArray
from secateur.model.machine import Machine, Parameters
from secateur.model.moments import Moments, Statistics


class RowAverages(NamedTuple):
    """Averages over rows of data of what single removals and single units mean for every row.

    Attributes
    ----------
    synapses
        ``<log <exp(-w s_i s_j)>_row>``, nats, ``(n_l, n_{l+1})`` per weight matrix; the inner mean is over the hidden
        units given the row.
    silent
        ``<log P(s_j = 0 | row)>``, nats, ``(n_l,)`` per hidden layer.
    rates, entropies
        ``<P(s_j = 1 | row)>`` and the mean entropy of ``s_j`` given the row in nats, ``(n_l,)`` per hidden layer.
    """

    synapses: tuple[AnyArray, ...]
    silent: tuple[AnyArray, ...]
    rates: tuple[AnyArray, ...]
    entropies: tuple[AnyArray, ...]


def row_averages(
    machine: Machine,
    rows: Float[AnyArray, "rows visible"],
    frequencies: Float[AnyArray, " rows"] | None = None,
    *,
    double: bool = False,
) -> RowAverages:
    """Averages over the rows with the exact posterior of the hidden units.

    Parameters
    ----------
    machine
        A machine with one hidden layer, or one whose hidden layers can be summed.
    rows
        Visible states ``(rows, n_0)``, 0/1.
    frequencies
        Share of every row; ``None``: equal ones.
    double
        Whether to compute in float64, beside exact averages over the model.

    Raises
    ------
    ValueError
        If there is more than one hidden layer and they are too large to be summed. Mean field is no way out: what it
        leaves out, the covariance of two hidden units given a row, is as large as the loss itself.
    """
    if machine.n_layers > 2:
        remedy = "take 'decimation-kl', which needs no rows,"
        enumeration.check_size(machine.layer_sizes[1:], "averages over hidden layers given the data", remedy)
    with jax.enable_x64(double):
        parameters = enumeration.double(machine.parameters) if double else machine.parameters
        rows = jnp.asarray(rows, parameters.biases[0].dtype)
        shares = np.full(rows.shape[0], 1 / rows.shape[0]) if frequencies is None else frequencies
        average = _with_one_hidden_layer if machine.n_layers == 2 else _with_more
        return jax.tree.map(np.asarray, average(parameters, rows, jnp.asarray(shares, rows.dtype)))


def synapse_losses(machine: Machine, averages: RowAverages, moments: Moments) -> tuple[AnyArray, ...]:
    """Loss of mean ``log p(v)`` of the rows in nats when a single synapse goes, ``(n_l, n_{l+1})`` per weight matrix.

    ``log(1 - q (1 - e^-w)) - <log(1 - q_row (1 - e^-w))>`` with the coincidence rates ``q`` of the model and ``q_row``
    given each row; for one hidden layer ``q_row = v_i sigmoid(x_j)``. Negative where the data are better off without.
    """
    pairs = zip(machine.weights, moments.coincidences, averages.synapses, strict=True)
    return tuple(log_mean_factor(w.astype(q.dtype), q) - rows for w, q, rows in pairs)


def unit_losses(averages: RowAverages, moments: Moments) -> tuple[AnyArray, ...]:
    """Loss of mean ``log p(v)`` of the rows in nats when a single hidden unit goes, ``(n_l,)`` per hidden layer.

    ``log <1 - s_j> - <log P(s_j = 0 | v)>``; for one hidden layer the second term is ``+ <softplus(x_j)>`` (Saito &
    Kato 2019). Infinitely much where the model never has the unit silent.
    """
    return tuple(jnp.log1p(-rate) - silent for rate, silent in zip(moments.rates[1:], averages.silent, strict=True))


def unit_information(machine: Machine, rows: Float[AnyArray, "rows visible"]) -> tuple[AnyArray, ...]:
    """Mutual information of each hidden unit and the rows in nats, ``(n_l,)`` per hidden layer.

    ``H(<p_j>) - <H(p_j)>`` with ``p_j = P(s_j = 1 | v)`` (Berglund, Raiko & Cho 2015). ``p_j`` is exact for one hidden
    layer and where the hidden layers can be summed (then in float64), else from mean field.
    """
    if machine.n_layers == 2 or enumeration.can_be_enumerated(machine.layer_sizes[1:]):
        averages = row_averages(machine, rows, double=True)
        rates, entropies = averages.rates, averages.entropies
    else:
        means = mean_field.infer(machine, jnp.asarray(rows, jnp.float32))[1:]
        rates, entropies = (tuple(a.mean(axis=0) for a in each) for each in (means, map(units.entropy, means)))
    with jax.enable_x64(rates[0].dtype == np.float64):
        return tuple(units.entropy(rate) - entropy for rate, entropy in zip(rates, entropies, strict=True))


def decimation_divergence(weights: AnyArray, coincidences: AnyArray) -> AnyArray:
    """Divergence ``KL(p || p without the synapse)`` in nats, ``w q + log(1 - q (1 - e^-w))``, elementwise.

    For small weights it is ``w^2 F / 2`` with the variance Fisher information ``F = q (1 - q)``. Barrat-Charlaix,
    Muntoni, Shimagaki, Weigt & Zamponi (2021) decimate pairwise models by it.
    """
    w, q = weights, coincidences
    information = units.variance(q)
    # Beneath this the difference of two numbers near w q loses its digits, and the next term of the series has none.
    small = 1e-3 if jnp.asarray(w).dtype == jnp.float64 else 0.1
    third, fourth = information * (1 - 2 * q), information * (1 - 6 * information)
    series = w**2 * (information / 2 - w * third / 6 + w**2 * fourth / 24)
    return jnp.where(jnp.abs(w) < small, series, w * q + log_mean_factor(w, q))


def log_mean_factor(weights: AnyArray, coincidences: AnyArray) -> AnyArray:
    """``log <exp(-w s_i s_j)> = log(1 - q (1 - e^-w))``: the change of log Z when a synapse goes, nats, elementwise."""
    change = coincidences * jnp.expm1(-weights)
    # Where nearly all weight goes its remainder has no digits left; at a rate of exactly 1 this gives -w.
    small = jnp.logaddexp(jnp.log1p(-coincidences), jnp.log(coincidences) - weights)
    return jnp.where(change < -0.5, small, jnp.log1p(change))


@jax.jit
def _with_one_hidden_layer(
    parameters: Parameters, rows: Float[Array, "rows visible"], shares: Float[Array, " rows"]
) -> RowAverages:
    (weights,), (_, biases) = parameters

    def of_row(row: Array) -> tuple[Statistics, tuple[Array, ...]]:
        inputs = biases + row @ weights
        means = units.mean(inputs)
        return Statistics((row, means), (row[:, None] * means[None, :],)), (-units.log_normaliser(inputs),)

    return _averaged(parameters, of_row, rows, shares)


@jax.jit
def _with_more(
    parameters: Parameters, rows: Float[Array, "rows visible"], shares: Float[Array, " rows"]
) -> RowAverages:
    def of_row(row: Array) -> tuple[Statistics, tuple[Array, ...]]:
        statistics = enumeration.posterior_of(parameters, row)
        return statistics, tuple(jnp.log1p(-rates) for rates in statistics.rates[1:])

    return _averaged(parameters, of_row, rows, shares)


def _averaged(parameters: Parameters, of_row: Callable, rows: Array, shares: Array) -> RowAverages:
    """Weighted means over the rows, one row after another, so that memory holds one array per weight matrix."""

    def add(total: RowAverages, weighted: tuple[Array, Array]) -> tuple[RowAverages, None]:
        row, share = weighted
        statistics, silent = of_row(row)
        pairs = zip(parameters.weights, statistics.coincidences, strict=True)
        rates = statistics.rates[1:]
        terms = RowAverages(
            tuple(log_mean_factor(w, q) for w, q in pairs), silent, rates, jax.tree.map(units.entropy, rates)
        )
        return jax.tree.map(lambda sums, new: sums + share * new, total, terms), None

    zeros = jax.tree.map(jnp.zeros_like, RowAverages(parameters.weights, *(parameters.biases[1:],) * 3))
    return jax.lax.scan(add, zeros, (rows, shares))[0]
