r"""The machine: parameters and structure of a layered Boltzmann machine, and its energy.

Layers ``0..L`` of 0/1 units; layer 0 is visible. With biases :math:`b_l`, weights :math:`W_l` and synapse masks
:math:`M_l` (true where a synapse exists)

.. math:: \log p(s) = \sum_l b_l \cdot s_l + \sum_l s_l^T (W_l \odot M_l) s_{l+1} - \log Z

in natural logarithms. ``L = 1`` is a restricted Boltzmann machine (RBM), ``L >= 2`` a deep one (DBM).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray
from numpy.typing import ArrayLike

from secateur.model import checked
from secateur.model.arrays import AnyArray

Precision = Literal["float32", "bfloat16"]
"""What matrix products are computed in; sums are always float32."""

States = tuple[Float[AnyArray, "chains _"], ...]
"""State of every layer for a set of chains: one 0/1 array ``(chains, n_l)`` per layer, visible first."""


class Parameters(NamedTuple):
    """The free parameters of a machine; also the shape of gradients and of optimiser updates.

    ``weights``: one array ``(n_l, n_{l+1})`` per pair of adjacent layers. ``biases``: one array ``(n_l,)`` per layer.
    """

    weights: tuple[AnyArray, ...]
    biases: tuple[AnyArray, ...]


class Machine(eqx.Module):
    """Parameters and structure of a layered Boltzmann machine; immutable, and a JAX pytree.

    Weights of absent synapses are zero: the constructor and every function that makes a new machine keep it so,
    so that ``weights`` can be used without the mask.

    Parameters
    ----------
    weights
        One array ``(n_l, n_{l+1})`` per pair of adjacent layers, lower layer first.
    biases
        One array ``(n_l,)`` per layer, visible layer first.
    masks
        One array per weight matrix, true (any integer but 0) where a synapse exists. ``None``: all synapses exist.
    unit_indices
        For each layer the index every unit had in the machine before any unit was removed. ``None``: ``0..n_l-1``.
    original_layer_sizes
        Layer sizes before any unit was removed. ``None``: the present ones.

    Raises
    ------
    ValueError
        If the numbers or shapes of the arrays do not fit each other, or a parameter is not finite.
    TypeError
        If something else than numbers is given.
    """

    weights: tuple[Float[Array, "_lower _upper"], ...]
    biases: tuple[Float[Array, " _units"], ...]
    masks: tuple[Bool[Array, "_lower _upper"], ...]
    unit_indices: tuple[Int[Array, " _units"], ...]
    original_layer_sizes: tuple[int, ...] = eqx.field(static=True)

    def __init__(
        self,
        weights: Sequence[ArrayLike],
        biases: Sequence[ArrayLike],
        masks: Sequence[ArrayLike] | None = None,
        unit_indices: Sequence[ArrayLike] | None = None,
        original_layer_sizes: Sequence[int] | None = None,
    ):
        host_weights = [checked.finite(w, f"weights[{number}]") for number, w in enumerate(weights)]
        host_biases = [checked.finite(b, f"biases[{layer}]") for layer, b in enumerate(biases)]
        _check_shapes(host_weights, host_biases)
        host_masks = [np.ones(w.shape, bool) for w in host_weights] if masks is None else masks
        host_masks = checked.masks(host_masks, host_weights)
        sizes = tuple(b.size for b in host_biases)
        indices = [np.arange(n) for n in sizes] if unit_indices is None else [np.array(i) for i in unit_indices]
        original = sizes if original_layer_sizes is None else tuple(original_layer_sizes)
        original = tuple(checked.count("original_layer_sizes", n, 0) for n in original)
        _check_unit_indices(indices, sizes, original)
        masked = [np.where(m, w, np.float32(0)) for w, m in zip(host_weights, host_masks, strict=True)]
        # device_put, unlike jnp.asarray, compiles nothing; pruning makes machines of many shapes.
        self.weights = tuple(jax.device_put(masked))
        self.biases = tuple(jax.device_put(host_biases))
        self.masks = tuple(jax.device_put(host_masks))
        self.unit_indices = tuple(jax.device_put([i.astype(np.int32) for i in indices]))
        self.original_layer_sizes = original

    @classmethod
    def random(
        cls,
        layer_sizes: Sequence[int],
        key: PRNGKeyArray,
        *,
        weight_scale: float = 0.01,
        visible_bias: ArrayLike = 0.0,
        hidden_bias: float = 0.0,
        masks: Sequence[ArrayLike] | None = None,
    ) -> Machine:
        """A machine with normal weights of standard deviation ``weight_scale`` and the given biases.

        Parameters
        ----------
        layer_sizes
            Units per layer, visible first; at least two layers, each with at least one unit.
        key
            Random key of the weights.
        visible_bias
            A number or one value per visible unit, e.g. the logit of its mean rate.

        Raises
        ------
        ValueError
            If a layer would have no unit or a shape does not fit.
        TypeError
            If ``key`` is no random key, or something else than numbers is given.
        """
        sizes = tuple(checked.count("layer_sizes", n, 0) for n in np.atleast_1d(layer_sizes))
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(
                f"layer_sizes must name at least two layers of at least one unit each, got {sizes}; "
                "give the number of visible units first, then one number per hidden layer"
            )
        visible_biases = checked.finite(visible_bias, "visible_bias")
        if visible_biases.shape not in ((), (1,), sizes[:1]):
            raise ValueError(
                f"visible_bias must be one number or {sizes[0]}, one per visible unit, got shape "
                f"{visible_biases.shape}; give an array of shape {sizes[:1]}"
            )
        keys = jax.random.split(checked.key(key), len(sizes) - 1)
        shapes = zip(sizes[:-1], sizes[1:], strict=True)
        scale = checked.finite(weight_scale, "weight_scale")
        # The type is named, since where 64-bit JAX is switched on its default gives other numbers.
        weights = [scale * np.asarray(jax.random.normal(k, s, np.float32)) for k, s in zip(keys, shapes, strict=True)]
        biases = [np.broadcast_to(visible_biases, sizes[:1]), *(np.full(n, hidden_bias) for n in sizes[1:])]
        return cls(weights, biases, masks)

    @property
    def n_layers(self) -> int:
        """Number of layers, the visible one included."""
        return len(self.biases)

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """Units in the arrays of each layer, visible first."""
        return tuple(b.shape[-1] for b in self.biases)

    @property
    def n_units(self) -> int:
        """Units in all layers together."""
        return sum(self.layer_sizes)

    @property
    def bias_terms(self) -> tuple[Float[Array, "*trials _units"], ...]:
        """Biases of every layer; what machines and pairwise models both have."""
        return self.biases

    @property
    def synapse_counts(self) -> tuple[int, ...]:
        """Existing synapses in each weight matrix."""
        return tuple(int(m.sum()) for m in self.masks)

    @property
    def n_synapses(self) -> int:
        """Existing synapses in all weight matrices together."""
        return sum(self.synapse_counts)

    @property
    def parameters(self) -> Parameters:
        """Weights and biases alone, without the structure."""
        return Parameters(self.weights, self.biases)

    def with_parameters(self, parameters: Parameters) -> Machine:
        """The same structure with other parameters; weights of absent synapses are set to zero."""
        weights = tuple(jnp.where(m, w, 0) for w, m in zip(parameters.weights, self.masks, strict=True))
        return eqx.tree_at(lambda m: (m.weights, m.biases), self, (weights, parameters.biases))

    def with_masks(self, masks: Sequence[ArrayLike]) -> Machine:
        """The same machine with fewer synapses: those that exist here *and* are true in ``masks`` stay.

        Parameters
        ----------
        masks
            One array in the shape of each weight matrix; integers count as true where they are not 0.

        Raises
        ------
        ValueError
            If the number of masks, a shape or a value does not fit.
        """
        wanted = checked.masks(masks, self.weights)
        kept = tuple(np.asarray(old) & new for old, new in zip(self.masks, wanted, strict=True))
        weights = tuple(np.where(m, np.asarray(w), np.float32(0)) for w, m in zip(self.weights, kept, strict=True))
        return eqx.tree_at(lambda m: (m.weights, m.masks), self, jax.device_put((weights, kept)))

    def in_precision(self, precision: Precision) -> Machine:
        """The same machine for sampling and inference with products in another precision.

        ``"bfloat16"`` rounds the weights to 8 bits, and the states that go into a product (0 and 1 are exact); biases
        and sums stay float32. Faster where the processor has such products (AVX-512 BF16, AMX, GPU, TPU).

        Raises
        ------
        ValueError
            If the precision is another one.
        """
        if precision not in get_args(Precision):
            raise ValueError(
                f"precision must be 'float32' or 'bfloat16', got {precision!r}; take 'bfloat16' for faster products "
                "where the processor has them"
            )
        return _RoundedMachine(self) if precision == "bfloat16" else self

    def pair(self, matrix: int, lower_bias: Float[Array, "*trials lower"] | None = None) -> Machine:
        """One weight matrix with its two layers as a machine with one hidden layer, optionally with other lower
        biases.
        """
        layers = slice(matrix, matrix + 2)
        lower = self.biases[matrix] if lower_bias is None else lower_bias
        fields = {
            "weights": (self.weights[matrix],),
            "biases": (lower, self.biases[matrix + 1]),
            "masks": (self.masks[matrix],),
            "unit_indices": self.unit_indices[layers],
            "original_layer_sizes": self.original_layer_sizes[layers],
        }
        # Past the constructor, whose checks need concrete arrays: this also runs on stacked and traced machines.
        pair = object.__new__(Machine)
        for name, value in fields.items():
            object.__setattr__(pair, name, value)
        return pair

    def total_input(self, states: States, layer: int) -> Float[Array, "chains units"]:
        """Total input (nats) of each unit of ``layer``: its log odds of being 1 given the layers beside it."""
        return self.biases[layer][None, :] + self.input_from_below(states, layer) + self.input_from_above(states, layer)

    def input_from_below(self, states: States, layer: int) -> Float[Array, "#chains units"]:
        """The part of the total input (nats) that comes from the next lower layer."""
        if layer == 0:
            return jnp.zeros((1, self.layer_sizes[layer]), self.biases[layer].dtype)
        return product(states[layer - 1], self.weights[layer - 1])

    def input_from_above(self, states: States, layer: int) -> Float[Array, "#chains units"]:
        """The part of the total input (nats) that comes from the next upper layer."""
        if layer == self.n_layers - 1:
            return jnp.zeros((1, self.layer_sizes[layer]), self.biases[layer].dtype)
        return product(states[layer + 1], self._weights_downwards(layer))

    def _weights_downwards(self, layer: int) -> Float[Array, "upper lower"]:
        return self.weights[layer].T

    def energy(self, states: States) -> Float[Array, " chains"]:
        """Energy ``-log p(s) - log Z`` of each row of ``states``, in nats."""
        bias_terms = sum(s @ b for s, b in zip(states, self.biases, strict=True))
        synapse_terms = sum(
            (product(states[layer], w) * states[layer + 1]).sum(axis=1) for layer, w in enumerate(self.weights)
        )
        return -(bias_terms + synapse_terms)


class _RoundedMachine(Machine):
    """A machine in bfloat16. It holds its transposed weights too: XLA transposes float32 within a product, but bfloat16
    in a step of its own, once per product.
    """

    transposed: tuple[Float[Array, "_upper _lower"], ...]

    def __init__(self, machine: Machine):
        self.weights = tuple(w.astype(jnp.bfloat16) for w in machine.weights)
        self.transposed = tuple(jnp.swapaxes(w, -1, -2) for w in self.weights)
        self.biases, self.masks, self.unit_indices = machine.biases, machine.masks, machine.unit_indices
        self.original_layer_sizes = machine.original_layer_sizes

    def _weights_downwards(self, layer: int) -> Float[Array, "upper lower"]:
        return self.transposed[layer]


def product(
    states: Float[AnyArray, "*batch rows lower"], weight: Float[AnyArray, "*batch lower upper"]
) -> Float[Array, "*batch rows upper"]:
    """Matrix product in the precision of the weights, summed in float32."""
    if weight.dtype == jnp.bfloat16:
        return jnp.matmul(states.astype(jnp.bfloat16), weight, preferred_element_type=jnp.float32)
    return jnp.matmul(states, weight)


def receptive_field_mask(visible_shape: tuple[int, int], size: int) -> Bool[np.ndarray, "visible hidden"]:
    """Mask of local receptive fields for a hidden layer on the same grid as the visible one.

    The hidden unit at grid place ``(r, c)`` sees the ``size x size`` visible neighbourhood around ``(r, c)``, clipped
    at the border (Scholl, Rule & Hennig 2021, Methods). Units are counted row by row.

    Raises
    ------
    ValueError
        If ``size`` is not an odd number from 1 to the smaller side of the grid.
    """
    rows, columns = visible_shape
    if size < 1 or size % 2 == 0 or size > min(rows, columns):
        raise ValueError(
            f"receptive field size must be an odd number from 1 to {min(rows, columns)} for a {rows} x {columns} "
            f"image, got {size}; choose a smaller odd size or leave it out for full connectivity"
        )
    row, column = np.divmod(np.arange(rows * columns), columns)
    near = size // 2
    return (abs(row[:, None] - row[None, :]) <= near) & (abs(column[:, None] - column[None, :]) <= near)


def receptive_field_masks(
    layer_sizes: Sequence[int], visible_shape: tuple[int, int], size: int
) -> list[Bool[np.ndarray, "lower upper"]]:
    """Masks of all weight matrices: local receptive fields in the first, every synapse in the others.

    Raises
    ------
    ValueError
        If the first hidden layer has not one unit per pixel, or ``size`` does not fit the image.
    """
    n_visible, n_hidden = layer_sizes[:2]
    first = receptive_field_mask(visible_shape, size)
    if n_hidden != n_visible:
        raise ValueError(
            f"receptive_field needs one unit of the first hidden layer per pixel, got {n_hidden} units and "
            f"{n_visible} pixels; set hidden=({n_visible}, ...)"
        )
    return [first, *(np.ones(shape, bool) for shape in zip(layer_sizes[1:-1], layer_sizes[2:], strict=True))]


def _check_shapes(weights: Sequence[np.ndarray], biases: Sequence[np.ndarray]) -> None:
    if not weights or len(biases) != len(weights) + 1:
        raise ValueError(
            f"biases must hold one array more than weights (at least 2 and 1), got {len(biases)} and {len(weights)}; "
            "give one bias vector per layer, the visible layer first"
        )
    if any(b.ndim != 1 for b in biases):
        raise ValueError(
            f"biases must be one vector per layer, got shapes {[b.shape for b in biases]}; give arrays of one axis"
        )
    expected = [(lower.size, upper.size) for lower, upper in zip(biases[:-1], biases[1:], strict=True)]
    found = [w.shape for w in weights]
    if found != expected:
        raise ValueError(
            f"weights must have shapes {expected} to fit the biases, got {found}; give arrays with axes (lower, upper)"
        )


def _check_unit_indices(indices: Sequence[np.ndarray], sizes: tuple[int, ...], original: tuple[int, ...]) -> None:
    if [i.shape for i in indices] != [(n,) for n in sizes] or len(original) != len(sizes):
        raise ValueError(
            "unit_indices and original_layer_sizes must have one entry per layer, unit_indices one index per unit, got "
            f"shapes {[i.shape for i in indices]} and sizes {original} for layers of {sizes} units; leave both out for "
            "a machine that has all its units"
        )
    for layer, (found, size) in enumerate(zip(indices, original, strict=True)):
        if not found.size:
            continue
        if found.dtype.kind not in "iu" or found.min() < 0 or found.max() >= size or np.unique(found).size < found.size:
            raise ValueError(
                f"unit_indices[{layer}] must be different numbers from 0 to {size - 1}, got {found}; give the "
                "place that every unit had before any was removed"
            )
