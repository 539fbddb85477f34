r"""Covariance of the sufficient statistics, by the law of total covariance over the states of one block of layers.

Given the states ``a`` of the smaller block of layers, the units ``j`` of the other block are independent with
probabilities ``m_j(a)`` of being 1. So

.. math:: \mathrm{Cov}[T] = \mathrm{Cov}_a[E(T \mid a)] + E_a[\mathrm{Cov}(T \mid a)],

where ``E(T | a)`` has ``m_j`` in place of ``s_j``, and the second term joins only statistics of the same unit ``j``:
``Cov(s_i s_j, s_k s_j | a) = s_i s_k m_j (1 - m_j)``, with ``s_i = 1`` for the bias of ``j``. This is exact when ``a``
runs over all states, and an estimate with less variance than the covariance of drawn states when ``a`` was drawn
(Rao-Blackwell). Both are written once, here, as a sum over weighted rows; no row of statistics is ever stored.
"""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from secateur.model import enumeration, units
from secateur.model.enumeration import Blocks
from secateur.model.machine import Machine, Parameters, States

_CHUNK_ROWS = 1024  # drawn states are used 1,024 at a time: enough for the matrix products, little enough for the cache


class Layout:
    """Place of every parameter in a vector.

    First the existing synapses of ``W_0, W_1, ...``, each matrix row by row, then the biases ``b_0, ..., b_L``.
    """

    def __init__(self, machine: Machine):
        self.masks = tuple(np.asarray(m) for m in machine.masks)
        self.layer_sizes = machine.layer_sizes
        self.n_parameters = machine.n_synapses + machine.n_units

    def flatten(self, parameters: Parameters) -> np.ndarray:
        """Vector ``(..., n_parameters)`` of parameters that may have leading axes; absent synapses are left out."""
        weights = [np.asarray(w)[..., mask] for w, mask in zip(parameters.weights, self.masks, strict=True)]
        return np.concatenate([*weights, *(np.asarray(b) for b in parameters.biases)], axis=-1)

    def split(self, vector: np.ndarray) -> Parameters:
        """The inverse of :meth:`flatten`: parameters with zeros at absent synapses."""
        sizes = [int(m.sum()) for m in self.masks] + list(self.layer_sizes)
        parts = np.split(vector, np.cumsum(sizes)[:-1], axis=-1)
        weights = [np.zeros((*vector.shape[:-1], *mask.shape), vector.dtype) for mask in self.masks]
        for weight, mask, part in zip(weights, self.masks, parts, strict=False):
            weight[..., mask] = part
        return Parameters(tuple(weights), tuple(parts[len(self.masks) :]))

    def statistics(self, means: Sequence[np.ndarray]) -> np.ndarray:
        """Sufficient statistics ``(rows, n_parameters)`` of states or conditional means, one array per layer."""
        pairs = [mask.nonzero() for mask in self.masks]
        products = [means[layer][:, i] * means[layer + 1][:, j] for layer, (i, j) in enumerate(pairs)]
        return np.concatenate([*products, *means], axis=1)


class GivenStates(eqx.Module):
    """States of the smaller block of layers in chunks, each with its probability, and the machine's parameters.

    Rows that only fill the last chunk have probability 0. The dtype of ``parameters`` is that of all results.
    """

    parameters: Parameters
    states: UInt8[Array, "chunks rows given"]
    probabilities: Float[Array, "chunks rows"]


def every_state(machine: Machine) -> GivenStates:
    """All states of the smaller block with their exact probabilities, float64.

    Raises
    ------
    ValueError
        If the smaller block has more than 20 units.
    """
    enumeration.check_size(machine.layer_sizes, "Fisher information matrix")
    with jax.enable_x64(True):
        parameters = enumeration.double(machine.parameters)
        return GivenStates(parameters, *_every_state(parameters))


@jax.jit
def _every_state(parameters: Parameters) -> tuple[Array, Array]:
    blocks = Blocks(parameters)

    def body(chunk: Array) -> tuple[Array, Array]:
        joined = blocks.joined_states(chunk)
        states = blocks.split(joined)
        return joined.astype(jnp.uint8), blocks.log_weights(states, blocks.inputs(states))

    states, log_weights = jax.lax.map(body, blocks.chunks)
    return states, jnp.exp(log_weights - jax.nn.logsumexp(log_weights))


def drawn_states(machine: Machine, states: Sequence[np.ndarray]) -> GivenStates:
    """The smaller block of drawn states, every row with the same probability, float32."""
    joined = np.concatenate([states[layer] for layer in Blocks(machine.parameters).enumerated], axis=1)
    n_rows, n_given = joined.shape
    n_chunks = -(-n_rows // _CHUNK_ROWS)
    rows = -(-n_rows // n_chunks)
    padded = np.zeros((n_chunks * rows, n_given), np.uint8)
    padded[:n_rows] = joined
    probabilities = np.where(np.arange(n_chunks * rows) < n_rows, 1 / n_rows, 0).astype(np.float32)
    return GivenStates(
        machine.parameters,
        jnp.asarray(padded.reshape(n_chunks, rows, n_given)),
        jnp.asarray(probabilities.reshape(n_chunks, rows)),
    )


@jax.jit
def conditional_means(parameters: Parameters, joined: Array) -> States:
    """``E(s_l | a)`` of every layer ``(rows, n_l)``: the given states, and the probabilities of the other block."""
    blocks = Blocks(parameters)
    states = blocks.split(joined.astype(parameters.biases[0].dtype))
    means = states | {layer: units.mean(total) for layer, total in blocks.inputs(states).items()}
    return tuple(means[layer] for layer in range(len(blocks.sizes)))


class _Projection(eqx.Module):
    """What a chunk of rows gives along one direction ``x`` of parameter space.

    ``deviations``: ``(rows,)``, ``E(T | a) . x`` less its mean. ``slopes``: per layer of the summed block
    ``(rows, n_l)``, the change of ``T . x`` when that unit goes from 0 to 1.
    """

    means: States
    deviations: Float[Array, " rows"]
    slopes: dict[int, Array]

    def __init__(self, parameters: Parameters, joined: Array, direction: Parameters, centre: Array):
        blocks = Blocks(direction)
        self.means = conditional_means(parameters, joined)
        given = {layer: self.means[layer] for layer in blocks.enumerated}
        self.slopes = blocks.inputs(given)
        along_given = sum(states @ direction.biases[layer] for layer, states in given.items())
        along_summed = sum((self.means[layer] * slope).sum(axis=1) for layer, slope in self.slopes.items())
        self.deviations = along_given + along_summed - centre


def _inner_product(first: Parameters, second: Parameters) -> Array:
    return jax.tree.reduce(jnp.add, jax.tree.map(jnp.vdot, first, second))


@jax.jit
def times(given: GivenStates, mean: Parameters, direction: Parameters) -> Parameters:
    """``Cov[T]`` times a direction that is zero at absent synapses; ``mean`` is ``E[T]``.

    Entries of absent synapses in the result mean nothing.
    """
    centre = _inner_product(mean, direction)

    def body(total: Parameters, chunk: tuple[Array, Array]) -> tuple[Parameters, None]:
        joined, probabilities = chunk
        projection = _Projection(given.parameters, joined, direction, centre)
        weighted = probabilities * projection.deviations
        factors = list(projection.means)
        for layer, slope in projection.slopes.items():
            summed = projection.means[layer]
            factors[layer] = weighted[:, None] * summed + probabilities[:, None] * units.variance(summed) * slope
        weights = tuple(lower.T @ upper for lower, upper in zip(factors[:-1], factors[1:], strict=True))
        biases = tuple(
            factor.sum(axis=0) if layer in projection.slopes else weighted @ factor
            for layer, factor in enumerate(factors)
        )
        return jax.tree.map(jnp.add, total, Parameters(weights, biases)), None

    zeros = jax.tree.map(jnp.zeros_like, given.parameters)
    return jax.lax.scan(body, zeros, (given.states, given.probabilities))[0]


@jax.jit
def variance_along(given: GivenStates, mean: Parameters, direction: Parameters) -> Float[Array, " rows"]:
    """``E[(T . x - E[T] . x)^2 | a]`` of every row, whose weighted mean is ``x^T Cov[T] x``.

    Rows that only fill the last chunk come last.
    """
    centre = _inner_product(mean, direction)

    def body(chunk: Array) -> Array:
        projection = _Projection(given.parameters, chunk, direction, centre)
        within = sum(
            (units.variance(projection.means[layer]) * slope**2).sum(axis=1)
            for layer, slope in projection.slopes.items()
        )
        return projection.deviations**2 + within

    return jax.lax.map(body, given.states).reshape(-1)


def dense(given: GivenStates, mean: Parameters, layout: Layout) -> np.ndarray:
    """``Cov[T]`` as a matrix ``(n_parameters, n_parameters)``, chunk by chunk."""
    centre = layout.flatten(mean)
    covariance = np.zeros((layout.n_parameters, layout.n_parameters), centre.dtype)
    summed = Blocks(given.parameters).summed
    for joined, chunk_probabilities in zip(given.states, given.probabilities, strict=True):
        probabilities = np.asarray(chunk_probabilities)
        with jax.enable_x64(centre.dtype == np.float64):
            means = [np.asarray(m) for m in conditional_means(given.parameters, joined)]
        add_outer_products(covariance, layout.statistics(means) - centre[None, :], probabilities)
        _add_conditional_covariance(covariance, means, probabilities, layout, summed)
    return covariance


def add_outer_products(covariance: np.ndarray, deviations: np.ndarray, probabilities: np.ndarray) -> None:
    """Add the weighted sum of ``d d^T`` over the rows ``d`` of ``deviations`` (overwritten) to ``covariance``."""
    deviations *= np.sqrt(probabilities)[:, None]
    covariance += deviations.T @ deviations  # one array and its transpose: BLAS does half the work


def _add_conditional_covariance(
    covariance: np.ndarray,
    means: Sequence[np.ndarray],
    probabilities: np.ndarray,
    layout: Layout,
    summed: Sequence[int],
) -> None:
    """Add ``E_a[Cov(T | a)]``: one small dense block per unit of the summed layers, its bias and synapses."""
    places = layout.split(np.arange(layout.n_parameters))
    for layer in summed:
        # What a unit's statistics hold beside its own state: 1 (its bias) and the states of the layers next to it.
        partners = [np.ones((len(probabilities), 1), covariance.dtype)]
        exists = [np.ones((1, layout.layer_sizes[layer]), bool)]
        place = [places.biases[layer][None, :]]
        if layer > 0:
            partners.append(means[layer - 1])
            exists.append(layout.masks[layer - 1])
            place.append(places.weights[layer - 1])
        if layer < len(means) - 1:
            partners.append(means[layer + 1])
            exists.append(layout.masks[layer].T)
            place.append(places.weights[layer].T)
        joined, present, at = np.hstack(partners), np.vstack(exists), np.vstack(place)
        variances = probabilities[:, None] * means[layer] * (1 - means[layer])
        for unit in range(layout.layer_sizes[layer]):
            of_unit = joined[:, present[:, unit]]
            own = at[present[:, unit], unit]
            covariance[np.ix_(own, own)] += of_unit.T @ (of_unit * variances[:, [unit]])
