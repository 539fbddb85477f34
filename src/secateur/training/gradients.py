"""Estimates of the likelihood gradient ``<T>_data - <T>_model``, pure functions of machine, data and key."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from secateur.model import mean_field, units
from secateur.model.arrays import AnyArray
from secateur.model.machine import Machine, Parameters
from secateur.model.moments import Statistics, mean_statistics
from secateur.sampling.sampler import Sampler


def contrastive_divergence(
    machine: Machine,
    visible: Float[AnyArray, "rows visible"],
    key: PRNGKeyArray,
    n_sweeps: int,
    input_scales: tuple[float, float] = (1.0, 1.0),
) -> tuple[Statistics, Statistics]:
    """Statistics of data and of chains started at the data (CD-k; Hinton 2002), for one hidden layer.

    Parameters
    ----------
    machine
        A machine with one hidden layer.
    visible
        Visible states or probabilities ``(rows, n_0)``.
    key
        Random key.
    n_sweeps
        Gibbs sweeps from the data (the k of CD-k).
    input_scales
        Factors of the input from below and of the input from above. A factor of two stands for the layer that is
        missing on the other side during greedy pretraining (Salakhutdinov & Hinton 2009, section 3.1).

    Returns
    -------
    positive, negative
        Mean sufficient statistics given the data and of the chains.
    """
    up, down = input_scales
    visible_bias, hidden_bias = machine.biases

    def hidden_means(v: Array) -> Array:
        return units.mean(hidden_bias[None, :] + up * machine.input_from_below((v, v), 1))

    def body(carry: tuple[Array, Array], sweep_key: PRNGKeyArray) -> tuple[tuple[Array, Array], None]:
        key_hidden, key_visible = jax.random.split(sweep_key)
        hidden = units.sample(carry[1], key_hidden)
        from_above = machine.input_from_above((hidden, hidden), 0)
        v = units.sample(units.mean(visible_bias[None, :] + down * from_above), key_visible)
        return (v, hidden_means(v)), None

    start = (visible, hidden_means(visible))
    chains, _ = jax.lax.scan(body, start, jax.random.split(key, n_sweeps))
    return mean_statistics(start), mean_statistics(chains)


def persistent(
    machine: Machine,
    visible: Float[AnyArray, "rows visible"],
    sampler: Sampler,
    chains: Any,
    key: PRNGKeyArray,
    *,
    n_mean_field: int,
) -> tuple[Statistics, Statistics, Any]:
    """Statistics of data (mean field) and of persistent chains (Salakhutdinov & Hinton 2009; Tieleman 2008), any depth.

    Chains of parallel tempering cross between modes where those of Gibbs sampling stay (Desjardins, Courville, Bengio,
    Vincent & Delalleau 2010).

    Parameters
    ----------
    machine
        A machine of any depth.
    visible
        Visible states or probabilities ``(rows, n_0)``.
    sampler, chains
        How the chains move, and the sampler's state.
    key
        Random key.
    n_mean_field
        Most mean-field updates of the hidden layers.

    Returns
    -------
    positive, negative
        Mean sufficient statistics given the data and of the chains (conditional means where the sampler has them).
    chains
        The sampler's state after one more step.
    """
    positive = mean_statistics(mean_field.infer(machine, visible, max_updates=n_mean_field))
    chains, info = sampler.step(machine, chains, key)
    return positive, mean_statistics(info.means), chains


def gradient(machine: Machine, positive: Statistics, negative: Statistics, *, centred: bool = False) -> Parameters:
    """Gradient of the mean log-likelihood (nats) from the two sets of statistics; zero for absent synapses.

    ``centred``: the enhanced gradient (Melchior, Fischer & Wiskott 2016, equations 22-24), which measures states from
    the average of their data and model rates and so does not change when 0 and 1 change roles.
    """
    difference = jax.tree.map(jnp.subtract, positive, negative)
    if not centred:
        return _masked(machine, difference.as_parameters())
    offsets = jax.tree.map(lambda p, n: 0.5 * (p + n), positive.rates, negative.rates)
    weights = []
    for layer, coincidence in enumerate(difference.coincidences):
        lower, upper = offsets[layer], offsets[layer + 1]
        d_lower, d_upper = difference.rates[layer], difference.rates[layer + 1]
        weights.append(coincidence - jnp.outer(lower, d_upper) - jnp.outer(d_lower, upper))
    centred_weights = _masked(machine, Parameters(tuple(weights), ())).weights
    biases = list(difference.rates)
    for layer, weight in enumerate(centred_weights):
        biases[layer] = biases[layer] - weight @ offsets[layer + 1]
        biases[layer + 1] = biases[layer + 1] - offsets[layer] @ weight
    return Parameters(centred_weights, tuple(biases))


def sparsity_gradient(machine: Machine, positive: Statistics, target: float) -> Parameters:
    """Gradient that pulls the mean rate of every hidden unit towards ``target`` (Hinton 2012, section 11)."""
    shortfall = [jnp.zeros_like(positive.rates[0]), *(target - rate for rate in positive.rates[1:])]
    weights = tuple(jnp.outer(positive.rates[layer], shortfall[layer + 1]) for layer in range(len(machine.weights)))
    return _masked(machine, Parameters(weights, tuple(shortfall)))


def _masked(machine: Machine, parameters: Parameters) -> Parameters:
    weights = tuple(jnp.where(m, w, 0) for m, w in zip(machine.masks, parameters.weights, strict=True))
    return Parameters(weights, parameters.biases)
