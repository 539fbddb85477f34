"""Exact answers by summing over all states of the smaller block of layers, in float64.

Even and odd layers form two blocks; given the states of one block the units of the other are independent, so a sum over
the states of the smaller block (up to 20 units) and closed forms for the other give exact results at any depth.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from secateur.model import checked, units
from secateur.model.machine import Machine, Parameters
from secateur.model.moments import Moments, Statistics

MAX_UNITS = 20
"""Most units in the smaller block: 2^20 states take seconds, every further unit doubles the time."""

_CHUNK_BITS = 12  # states are summed 4,096 at a time, which keeps the working set in cache


def log_partition(machine: Machine) -> float:
    """Exact ``log Z`` in nats.

    Raises
    ------
    ValueError
        If the smaller block has more than 20 units.
    """
    check_size(machine.layer_sizes, "log_partition")
    with jax.enable_x64(True):
        return float(log_partition_of(double(machine.parameters)))


def moments(machine: Machine) -> Moments:
    """Exact rates and coincidences of the model, as float64 NumPy arrays.

    Raises
    ------
    ValueError
        If the smaller block has more than 20 units.
    """
    check_size(machine.layer_sizes, "moments")
    with jax.enable_x64(True):
        return Moments.exact(jax.tree.map(np.asarray, _moments(double(machine.parameters))))


def log_probability(machine: Machine, visible: ArrayLike) -> Float[np.ndarray, " rows"]:
    """Exact ``log p(v)`` of each row of 0 and 1 ``(rows, n_0)`` in nats, all hidden layers summed out.

    Raises
    ------
    ValueError
        If the smaller block of the machine, or of its hidden layers alone, has more than 20 units, or ``visible`` does
        not hold rows of 0 and 1 of the machine's visible units.
    """
    return unnormalised_log_probability(machine, visible) - log_partition(machine)


def unnormalised_log_probability(machine: Machine, visible: ArrayLike) -> Float[np.ndarray, " rows"]:
    """Exact ``log p(v) + log Z`` (minus the free energy) of each row in nats, all hidden layers summed out.

    Raises
    ------
    ValueError
        If the smaller block of the hidden layers has more than 20 units, or ``visible`` as in :func:`log_probability`.
    """
    host_rows = checked.host_rows(visible, machine.layer_sizes[0])
    check_size(machine.layer_sizes[1:], "log_probability of visible states")
    with jax.enable_x64(True):
        rows = jnp.asarray(host_rows.astype(np.float64))
        return np.asarray(map_rows(log_weight_of, double(machine.parameters), rows))


def gradient(machine: Machine, visible: ArrayLike) -> Parameters:
    """Exact gradient ``<T>_data - <T>_model`` of the mean log-likelihood of the rows, nats per unit of parameter.

    Entries of absent synapses are zero. Float64 NumPy arrays in the shapes of the parameters.

    Raises
    ------
    ValueError
        If the smaller block has more than 20 units, or ``visible`` as in :func:`log_probability`.
    """
    check_size(machine.layer_sizes, "gradient")
    per_row = posterior_statistics(machine, visible)
    with jax.enable_x64(True):
        model = _moments(double(machine.parameters))
        difference = jax.tree.map(lambda d, m: d.mean(axis=0) - np.asarray(m), per_row, model).as_parameters()
    weights = tuple(np.where(mask, w, 0.0) for mask, w in zip(machine.masks, difference.weights, strict=True))
    return Parameters(weights, difference.biases)


def posterior_statistics(machine: Machine, visible: ArrayLike) -> Statistics:
    """Exact means of the sufficient statistics given each visible row, as float64 NumPy arrays; rows come first.

    Raises
    ------
    ValueError
        If the smaller block of the hidden layers alone has more than 20 units, or ``visible`` as in
        :func:`log_probability`.
    """
    host_rows = checked.host_rows(visible, machine.layer_sizes[0])
    check_size(machine.layer_sizes[1:], "moments given visible states")
    with jax.enable_x64(True):
        rows = jnp.asarray(host_rows.astype(np.float64))
        per_row = map_rows(posterior_of, double(machine.parameters), rows)
        return jax.tree.map(np.asarray, per_row)


class Blocks:
    """A machine seen as two blocks of layers, the one to be enumerated first."""

    def __init__(self, parameters: Parameters):
        sizes = [b.shape[0] for b in parameters.biases]
        layers = [list(range(parity, len(sizes), 2)) for parity in (0, 1)]
        self.enumerated, self.summed = sorted(layers, key=lambda block: sum(sizes[layer] for layer in block))
        self.sizes = sizes
        self.n_enumerated = sum(sizes[layer] for layer in self.enumerated)
        self.parameters = parameters

    def states(self, chunk: Array) -> dict[int, Array]:
        """0/1 states of the enumerated layers for one chunk of state numbers."""
        return self.split(self.joined_states(chunk))

    def joined_states(self, chunk: Array) -> Array:
        """The same states as one array ``(rows, n_enumerated)``."""
        bits = min(_CHUNK_BITS, self.n_enumerated)
        numbers = chunk * 2**bits + jnp.arange(2**bits)
        dtype = self.parameters.biases[0].dtype
        return ((numbers[:, None] >> jnp.arange(self.n_enumerated)[None, :]) & 1).astype(dtype)

    def split(self, states: Array) -> dict[int, Array]:
        """Joined states ``(rows, n_enumerated)`` of the enumerated layers as one array per layer."""
        ends = np.cumsum([self.sizes[layer] for layer in self.enumerated])
        return dict(zip(self.enumerated, jnp.split(states, ends[:-1].tolist(), axis=1), strict=True))

    def inputs(self, states: dict[int, Array]) -> dict[int, Array]:
        """Total inputs of the summed layers, given states of the enumerated ones."""
        weights, biases = self.parameters
        inputs = {}
        for layer in self.summed:
            total = jnp.broadcast_to(biases[layer][None, :], (states[self.enumerated[0]].shape[0], self.sizes[layer]))
            if layer > 0:
                total = total + states[layer - 1] @ weights[layer - 1]
            if layer < len(biases) - 1:
                total = total + states[layer + 1] @ weights[layer].T
            inputs[layer] = total
        return inputs

    def log_weights(self, states: dict[int, Array], inputs: dict[int, Array]) -> Array:
        """Unnormalised log-probability of each enumerated state, the other block summed out."""
        bias_terms = sum(s @ self.parameters.biases[layer] for layer, s in states.items())
        return bias_terms + sum(units.log_normaliser(x).sum(axis=1) for x in inputs.values())

    @property
    def chunks(self) -> Array:
        """Numbers of the chunks that hold all states of the enumerated layers."""
        return jnp.arange(2 ** max(0, self.n_enumerated - _CHUNK_BITS))


@jax.jit
def log_partition_of(parameters: Parameters) -> Float[Array, ""]:
    """``log Z`` in nats as a pure, differentiable function, in the precision of the parameters."""
    blocks = Blocks(parameters)

    @jax.checkpoint
    def body(total: Array, chunk: Array) -> tuple[Array, None]:
        states = blocks.states(chunk)
        log_weights = blocks.log_weights(states, blocks.inputs(states))
        return jnp.logaddexp(total, jax.nn.logsumexp(log_weights)), None

    start = jnp.asarray(-jnp.inf, parameters.biases[0].dtype)
    return jax.lax.scan(body, start, blocks.chunks)[0]


@jax.jit
def _moments(parameters: Parameters) -> Statistics:
    blocks = Blocks(parameters)
    log_z = log_partition_of(parameters)
    n_layers = len(parameters.biases)

    def body(total: Statistics, chunk: Array) -> tuple[Statistics, None]:
        states = blocks.states(chunk)
        inputs = blocks.inputs(states)
        probability = jnp.exp(blocks.log_weights(states, inputs) - log_z)
        means = states | {layer: units.mean(x) for layer, x in inputs.items()}
        rates = tuple(probability @ means[layer] for layer in range(n_layers))
        coincidences = tuple(
            (means[layer] * probability[:, None]).T @ means[layer + 1] for layer in range(n_layers - 1)
        )
        return jax.tree.map(jnp.add, total, Statistics(rates, coincidences)), None

    zeros = Statistics(*(jax.tree.map(jnp.zeros_like, part) for part in (parameters.biases, parameters.weights)))
    return jax.lax.scan(body, zeros, blocks.chunks)[0]


def _clamp_visible(parameters: Parameters, row: Float[Array, " visible"]) -> Parameters:
    """The hidden layers alone, with the visible row's input in the biases of the first of them."""
    weights, biases = parameters
    return Parameters(weights[1:], (biases[1] + row @ weights[0], *biases[2:]))


def log_weight_of(parameters: Parameters, row: Float[Array, " visible"]) -> Float[Array, ""]:
    """``log p(v) + log Z`` of one row in nats as a pure, differentiable function, in the parameters' precision."""
    hidden = _clamp_visible(parameters, row)
    visible_term = row @ parameters.biases[0]
    if not hidden.weights:
        return visible_term + units.log_normaliser(hidden.biases[0]).sum()
    return visible_term + log_partition_of(hidden)


def posterior_of(parameters: Parameters, row: Float[Array, " visible"]) -> Statistics:
    """Means of the sufficient statistics given one row as a pure function, in the parameters' precision."""
    hidden = _clamp_visible(parameters, row)
    if hidden.weights:
        posterior = _moments(hidden)
    else:
        posterior = Statistics((units.mean(hidden.biases[0]),), ())
    first = row[:, None] * posterior.rates[0][None, :]
    return Statistics((row, *posterior.rates), (first, *posterior.coincidences))


@partial(jax.jit, static_argnums=0)
def map_rows(function: Callable, parameters: Parameters, rows: Float[Array, "rows visible"]) -> Any:
    """Apply a function of (parameters, row) to every row, as many at a time as keep the working set small."""
    sizes = [b.shape[0] for b in parameters.biases[1:]]
    bits = min(_CHUNK_BITS, sum(sizes[0::2]), sum(sizes[1::2]))
    return jax.lax.map(lambda row: function(parameters, row), rows, batch_size=2 ** (_CHUNK_BITS - bits))


def double(parameters: Parameters) -> Parameters:
    """The parameters in float64; call it within ``jax.enable_x64(True)``."""
    return jax.tree.map(lambda a: jnp.asarray(np.asarray(a, dtype=np.float64)), parameters)


def smaller_block(layer_sizes: tuple[int, ...]) -> int:
    """Units in the smaller block of layers; what is summed over has at most :data:`MAX_UNITS` of them."""
    return min(sum(layer_sizes[0::2]), sum(layer_sizes[1::2]))


def can_be_enumerated(layer_sizes: tuple[int, ...]) -> bool:
    """Whether exact sums over such layers are possible."""
    return smaller_block(layer_sizes) <= MAX_UNITS


def check_size(layer_sizes: tuple[int, ...], what: str, remedy: str = "use method='ais' or sampled states") -> None:
    """Refuse layers whose smaller block has more than :data:`MAX_UNITS` units, saying ``what`` cannot be computed."""
    smaller = smaller_block(layer_sizes)
    if smaller > MAX_UNITS:
        raise ValueError(
            f"exact {what} needs a machine whose smaller block of layers has at most {MAX_UNITS} units, this one has "
            f"{smaller} (layer sizes {layer_sizes}); {remedy} instead"
        )
