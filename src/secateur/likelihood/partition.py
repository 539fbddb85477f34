"""Likelihoods in nats: partition function, log-probability of visible states, bounds and cheap training-time
measures.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.optimize import brentq
from scipy.special import expit

from secateur.model import enumeration, mean_field, units
from secateur.model.arrays import AnyArray
from secateur.model.machine import Machine, States

TRUSTED_SAMPLE_SIZE = 10
"""Effective sample size of annealed importance sampling below which its log Z is not to be trusted."""


class LogPartition(eqx.Module):
    """``log Z`` in nats, with what a reader needs to trust it.

    Attributes
    ----------
    estimate
        ``log Z`` in nats.
    standard_error
        Standard error of the estimate in nats; 0 when exact.
    effective_sample_size
        ``(sum w)^2 / sum w^2`` of the importance weights; infinite when exact. Below about 10 neither the estimate nor
        its standard error can be trusted: use more temperatures.
    n_chains, n_temperatures
        Size of the annealing run; 0 when exact.
    """

    estimate: float
    standard_error: float = 0.0
    effective_sample_size: float = math.inf
    n_chains: int = 0
    n_temperatures: int = 0


def log_partition(
    machine: Machine,
    method: Literal["exact", "ais"] = "exact",
    *,
    key: PRNGKeyArray | None = None,
    n_chains: int = 256,
    n_temperatures: int = 2000,
    base_rates: Float[AnyArray, " visible"] | None = None,
) -> LogPartition:
    """Logarithm of the partition function, in nats.

    Parameters
    ----------
    machine
        The model.
    method
        ``"exact"``: sum over all states of the smaller block of layers (at most 20 units), float64.
        ``"ais"``: annealed importance sampling (Neal 2001; Salakhutdinov & Murray 2008), any size.
    key
        Random key; needed for ``"ais"``.
    n_chains
        Independent annealing runs.
    n_temperatures
        Inverse temperatures from 0 to 1, equally spaced.
    base_rates
        Mean rates of the visible units in the data; the annealing starts from independent visible units with these
        rates. ``None``: the machine's own visible biases.

    Returns
    -------
    LogPartition
        Estimate with standard error and effective sample size.

    Raises
    ------
    ValueError
        If the machine is too large for ``"exact"``, ``key`` is missing for ``"ais"``, or ``method`` is unknown.
    """
    if method == "exact":
        return LogPartition(enumeration.log_partition(machine))
    if method != "ais":
        raise ValueError(f"method must be 'exact' or 'ais', got {method!r}")
    if key is None:
        raise ValueError("method='ais' needs key, e.g. key=jax.random.key(0)")
    if n_chains < 2 or n_temperatures < 2:
        raise ValueError(f"n_chains and n_temperatures must be at least 2, got {n_chains} and {n_temperatures}")
    base_bias = machine.biases[0] if base_rates is None else base_bias_of(base_rates)
    log_weights = annealed_log_weights(machine, base_bias, key, n_chains=n_chains, n_temperatures=n_temperatures)
    return combine_log_weights(np.asarray(log_weights), n_temperatures)


def base_bias_of(rates: Float[AnyArray, "*trials visible"]) -> Float[Array, "*trials visible"]:
    """Visible biases (nats) of independent units with these rates, from which annealing starts; bounded."""
    return units.logit(jnp.clip(rates, 1e-3, 1 - 1e-3))


def combine_log_weights(log_weights: Float[np.ndarray, " chains"], n_temperatures: int) -> LogPartition:
    """``log Z`` from the log weights of annealing runs: their log mean, with the jackknife standard error."""
    log_weights = log_weights.astype(np.float64)
    n_chains = log_weights.size
    shift = log_weights.max()
    weights = np.exp(log_weights - shift)
    total = weights.sum()
    # A chain that carries the whole weight leaves nothing behind: its left-out estimate is then bounded, not -inf.
    left_out = np.log(np.maximum(total - weights, np.finfo(float).tiny) / (n_chains - 1))
    error = math.sqrt((n_chains - 1) / n_chains * ((left_out - left_out.mean()) ** 2).sum())
    estimate = float(shift + np.log(total / n_chains))
    return LogPartition(estimate, error, float(total**2 / (weights**2).sum()), n_chains, n_temperatures)


def combine_reverse_log_weights(log_weights: Float[np.ndarray, " chains"], n_temperatures: int) -> LogPartition:
    """``log Z`` from the log weights of reversed annealing runs, on average too large, with the jackknife error."""
    inverse = combine_log_weights(log_weights, n_temperatures)
    return LogPartition(
        -inverse.estimate, inverse.standard_error, inverse.effective_sample_size, inverse.n_chains, n_temperatures
    )


def combine_both_directions(
    forward: Float[np.ndarray, " chains"], reverse: Float[np.ndarray, " reverse_chains"], n_temperatures: int
) -> LogPartition:
    """``log Z`` from annealing runs in both directions: the acceptance ratio of Bennett (1976, J Comput Phys 22:245).

    Of all ways to combine the two it has the least variance (Shirts, Bair, Hooker & Pande 2003), and its bias is far
    below that of either direction. The standard error is that of the estimating equation, runs taken as independent.

    Parameters
    ----------
    forward, reverse
        Log weights of :func:`annealed_log_weights` and of :func:`reverse_log_weights`.
    n_temperatures
        Temperatures of both.

    Returns
    -------
    LogPartition
        Its effective sample size is the smaller of those of the two directions.
    """
    forward, reverse = forward.astype(np.float64), reverse.astype(np.float64)
    shift = math.log(forward.size / reverse.size)

    def terms(log_z: float) -> tuple[np.ndarray, np.ndarray]:
        return expit(forward - log_z - shift), expit(reverse + log_z + shift)

    def excess(log_z: float) -> float:
        up, down = terms(log_z)
        return float(up.sum() - down.sum())

    one_way = (combine_log_weights(forward, n_temperatures), combine_reverse_log_weights(reverse, n_temperatures))
    estimates = [each.estimate for each in one_way]
    width = 50.0
    while excess(min(estimates) - width) < 0 or excess(max(estimates) + width) > 0:
        width *= 2
    log_z = float(brentq(excess, min(estimates) - width, max(estimates) + width, xtol=1e-9))
    up, down = terms(log_z)
    slope = (up * (1 - up)).sum() + (down * (1 - down)).sum()
    error = math.sqrt(up.size * up.var(ddof=1) + down.size * down.var(ddof=1)) / slope
    sample_size = min(each.effective_sample_size for each in one_way)
    return LogPartition(log_z, float(error), sample_size, forward.size + reverse.size, n_temperatures)


@partial(jax.jit, static_argnames=("n_chains", "n_temperatures"))
def annealed_log_weights(
    machine: Machine, base_bias: Float[Array, " visible"], key: PRNGKeyArray, *, n_chains: int, n_temperatures: int
) -> Float[Array, " chains"]:
    """Log importance weights (nats, ``log Z`` of the base included) of independent annealing runs at any depth.

    At inverse temperature ``b`` the visible biases are ``(1 - b) * base_bias + b * bias`` and all other parameters are
    multiplied by ``b``; the odd layers are summed out of every weight.
    """
    key_start, key_steps = jax.random.split(key)
    rates = [units.mean(base_bias), *(jnp.full(n, 0.5) for n in machine.layer_sizes[1:])]
    start_keys = jax.random.split(key_start, machine.n_layers)
    start = tuple(
        units.sample(jnp.broadcast_to(rate, (n_chains, rate.shape[0])), k)
        for rate, k in zip(rates, start_keys, strict=True)
    )
    betas = jnp.linspace(0.0, 1.0, n_temperatures)
    return _anneal(machine, base_bias, start, betas, key_steps) + _log_partition_of_base(machine, base_bias)


@partial(jax.jit, static_argnames=("n_temperatures",))
def reverse_log_weights(
    machine: Machine, base_bias: Float[Array, " visible"], states: States, key: PRNGKeyArray, *, n_temperatures: int
) -> Float[Array, " chains"]:
    """Log weights of ``1 / Z`` from states of the model that are annealed the other way, to the base.

    The mean of ``exp`` of these weights is an unbiased estimate of ``1 / Z`` if the states are draws from the model. So
    minus their log mean is on average at least ``log Z``, where annealing from the base is on average at most that: the
    truth lies between the two (Burda, Grosse & Salakhutdinov 2015).
    """
    betas = jnp.linspace(1.0, 0.0, n_temperatures)
    return _anneal(machine, base_bias, states, betas, key) - _log_partition_of_base(machine, base_bias)


def _log_partition_of_base(machine: Machine, base_bias: Float[Array, " visible"]) -> Float[Array, ""]:
    return units.log_normaliser(base_bias).sum() + sum(machine.layer_sizes[1:]) * math.log(2)


def _anneal(
    machine: Machine, base_bias: Float[Array, " visible"], start: States, betas: Float[Array, " n"], key: PRNGKeyArray
) -> Float[Array, " chains"]:
    """Sum over steps of the change of the states' unnormalised log-probability, from the first temperature to the last.

    The odd layers are summed out. Their total input is ``b`` times that of the machine itself, so that one product per
    step serves both temperatures of a weight and the new odd states. Every transition, odd states given even ones and
    the other way round, is its own reverse for the even layers, so that annealing runs either way.
    """
    even_hidden = range(2, machine.n_layers, 2)
    odd_layers = range(1, machine.n_layers, 2)

    def body(carry: tuple[States, Array], step: tuple[Array, Array, Array]) -> tuple[tuple[States, Array], None]:
        states, log_weights = carry
        before, after, step_key = step
        inputs = {layer: machine.total_input(states, layer) for layer in odd_layers}
        slope = states[0] @ (machine.biases[0] - base_bias)
        slope = slope + sum(states[layer] @ machine.biases[layer] for layer in even_hidden)
        gain = sum(
            (units.log_normaliser(after * x) - units.log_normaliser(before * x)).sum(axis=1) for x in inputs.values()
        )
        log_weights = log_weights + (after - before) * slope + gain
        # Fresh odd states first: the weights are those of the even layers alone, so must be the transitions.
        keys = jax.random.split(step_key, machine.n_layers)
        new = list(states)
        for layer in odd_layers:
            new[layer] = units.sample(units.mean(after * inputs[layer]), keys[layer])
        for layer in range(0, machine.n_layers, 2):
            total = after * machine.total_input(tuple(new), layer)
            if layer == 0:
                total = total + (1 - after) * base_bias[None, :]
            new[layer] = units.sample(units.mean(total), keys[layer])
        return (tuple(new), log_weights), None

    steps = (betas[:-1], betas[1:], jax.random.split(key, betas.shape[0] - 1))
    (_, log_weights), _ = jax.lax.scan(body, (start, jnp.zeros(start[0].shape[0])), steps)
    return log_weights


def log_probability(
    machine: Machine, visible: Float[AnyArray, "rows visible"], log_z: LogPartition | float
) -> Float[np.ndarray, " rows"]:
    """Exact ``log p(v)`` of each row in nats given ``log Z``, hidden layers summed out, float64.

    Exact at any size for one hidden layer; for deeper machines the smaller block of the hidden layers may have up to 20
    units, beyond that use :func:`log_probability_bound`.

    Parameters
    ----------
    machine
        The model.
    visible
        0/1 rows ``(rows, n_0)``.
    log_z
        Result of :func:`log_partition`, or its value in nats. An estimate with a standard error shifts all rows
        together.

    Raises
    ------
    ValueError
        If the hidden layers of a deep machine are too large to be summed out.
    """
    return enumeration.unnormalised_log_probability(machine, np.asarray(visible)) - _value(log_z)


def log_probability_bound(
    machine: Machine, visible: Float[AnyArray, "rows visible"], log_z: LogPartition | float
) -> Float[np.ndarray, " rows"]:
    """Variational *lower bound* on ``log p(v)`` of each row in nats, from mean-field inference (tight for an RBM).

    Parameters as in :func:`log_probability` (Salakhutdinov & Hinton 2009, equation 6).
    """
    return -np.asarray(free_energy(machine, visible), dtype=np.float64) - _value(log_z)


def _value(log_z: LogPartition | float) -> float:
    return log_z.estimate if isinstance(log_z, LogPartition) else float(log_z)


@jax.jit
def free_energy(machine: Machine, visible: Float[AnyArray, "rows visible"]) -> Float[Array, " rows"]:
    """Free energy ``-log p(v) - log Z`` of each row in nats.

    Exact for one hidden layer; an upper bound (mean field) for deeper machines.
    """
    if machine.n_layers == 2:
        hidden = units.log_normaliser(machine.total_input((visible, visible), 1))
        return -(visible @ machine.biases[0]) - hidden.sum(axis=1)
    return -mean_field.variational_bound(machine, mean_field.infer(machine, visible))


@jax.jit
def pseudo_likelihood(
    machine: Machine, visible: Float[AnyArray, "rows visible"], key: PRNGKeyArray
) -> Float[Array, ""]:
    """Mean log pseudo-likelihood ``sum_i log p(v_i | v_rest)`` per row in nats, from one random unit per row.

    An unbiased estimate for one hidden layer; for deeper machines the free energies are mean-field bounds, so it is
    an approximation without a sign. Cheap: two free energies per row.
    """
    n_rows, n_visible = visible.shape
    flipped_unit = jax.random.randint(key, (n_rows,), 0, n_visible)
    flip = jax.nn.one_hot(flipped_unit, n_visible, dtype=visible.dtype)
    flipped = visible * (1 - flip) + (1 - visible) * flip
    difference = free_energy(machine, flipped) - free_energy(machine, visible)
    return n_visible * jax.nn.log_sigmoid(difference).mean()
