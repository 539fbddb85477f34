"""Every bias and coupling of a model in one list, and how Fisher information changes with the convention of states.

A machine and a pairwise model are here one thing: units (visible first), and pairs of units that have a coupling. The
order of parameters is that of the Fisher information matrices: couplings, then biases.

Conventions. With ``T = (s_i s_j, s_i)`` of 0/1 states the statistics of ``sigma = 2 s - 1`` are ``T' = C T + const``,

``sigma_i = 2 s_i - 1``, ``sigma_i sigma_j = 4 s_i s_j - 2 s_i - 2 s_j + 1``,

so Fisher information becomes ``F' = C F C^T`` and parameters, from ``theta . T = theta' . T' + const``, obey
``theta = C^T theta'``: ``K_ij = J_ij / 4`` and ``h_i = b_i / 2 + sum_j J_ij / 4``. Relative changes of the 0/1
parameters, ``d log |theta|``, have ``F_ij theta_i theta_j``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy import sparse

from secateur.fisher.full_matrix import Of
from secateur.fisher.pairwise_matrix import PairwiseLayout
from secateur.fisher.total_covariance import Layout
from secateur.model import mean_field
from secateur.model.machine import Machine, Parameters
from secateur.model.pairwise import PairwiseModel

Convention = Literal["0/1", "+-1", "theta-scaled"]
"""Whose parameters: of 0/1 states, of +-1 states, or relative changes of the parameters of 0/1 states."""

CONVENTIONS: tuple[Convention, ...] = ("0/1", "+-1", "theta-scaled")

_VALUES = 2**25  # states at a time


@dataclass(frozen=True)
class ParameterList:
    """Units and parameters of a model.

    Attributes
    ----------
    unit_ids, layers
        Name and layer (0 = visible) of every unit.
    first, second
        ``(parameters,)``: numbers of the two units of each coupling; of a bias twice its unit.
    values
        ``(parameters,)``: parameters of 0/1 states in nats, float64.
    """

    unit_ids: tuple[str, ...]
    layers: Int[np.ndarray, " units"]
    first: Int[np.ndarray, " parameters"]
    second: Int[np.ndarray, " parameters"]
    values: Float[np.ndarray, " parameters"]

    @property
    def n_units(self) -> int:
        """Number of units, hidden ones included."""
        return len(self.unit_ids)

    @property
    def n_couplings(self) -> int:
        """Number of couplings; they come first."""
        return len(self.values) - self.n_units

    def change(self, convention: Convention) -> sparse.csr_array:
        """The matrix ``A`` of a convention: its Fisher information is ``A F A^T``, with ``F`` that of 0/1 states."""
        if convention == "0/1":
            return sparse.eye_array(len(self.values), format="csr")
        if convention == "theta-scaled":
            return sparse.diags_array(self.values, format="csr")
        number, bias_of = np.arange(self.n_couplings), self.n_couplings + np.arange(self.n_units)
        first, second = (bias_of[units[: self.n_couplings]] for units in (self.first, self.second))
        rows = np.concatenate([number, number, number, bias_of])
        columns = np.concatenate([number, first, second, bias_of])
        entries = np.repeat([4.0, -2.0, -2.0, 2.0], [len(number), len(number), len(number), self.n_units])
        return sparse.csr_array((entries, (rows, columns)), shape=(len(self.values),) * 2)

    def in_convention(self, convention: Convention) -> Float[np.ndarray, " parameters"]:
        """The parameters themselves: of +-1 states for ``"+-1"``, else of 0/1 states."""
        if convention != "+-1":
            return self.values
        n = self.n_couplings
        sums = np.bincount(self.first[:n], self.values[:n], self.n_units)
        sums += np.bincount(self.second[:n], self.values[:n], self.n_units)
        return np.concatenate([self.values[:n] / 4, self.values[n:] / 2 + sums / 4])

    def shares(self) -> sparse.csr_array:
        """``(units, parameters)``: 1 for a unit's own bias, 1/2 for each of its couplings; columns sum to 1."""
        number = np.arange(len(self.values))
        places = (np.concatenate([self.first, self.second]), np.concatenate([number, number]))
        return sparse.csr_array((np.full(2 * len(number), 0.5), places), shape=(self.n_units, len(number)))


def parameter_list(model: Machine | PairwiseModel, unit_ids: Sequence[str] | None = None) -> ParameterList:
    """The units and parameters of a model; hidden units are called ``h1.0, h1.1, ...`` by layer and index.

    Raises
    ------
    ValueError
        If there is not one name for each visible unit.
    """
    if isinstance(model, PairwiseModel):
        layout: Layout = PairwiseLayout(model.n_units)
        values = layout.flatten(_float64((model.couplings,), (model.biases,)))
        sizes: tuple[int, ...] = (model.n_units,)
        pairs, hidden = [(0, 0)], []
    else:
        layout = Layout(model)
        values = layout.flatten(_float64(*model.parameters))
        sizes = model.layer_sizes
        offsets = [0, *np.cumsum(sizes)[:-1].tolist()]
        pairs = list(zip(offsets[:-1], offsets[1:], strict=True))
        hidden = [f"h{layer}.{i}" for layer, found in enumerate(model.unit_indices) if layer for i in np.asarray(found)]
    names = tuple(map(str, range(sizes[0]))) if unit_ids is None else tuple(map(str, unit_ids))
    if len(names) != sizes[0]:
        raise ValueError(f"unit_ids must name the {sizes[0]} visible units, got {len(names)} names")
    ends = [mask.nonzero() for mask in layout.masks]
    everyone = np.arange(sum(sizes))
    first = np.concatenate([*(i + lower for (i, _), (lower, _) in zip(ends, pairs, strict=True)), everyone])
    second = np.concatenate([*(j + upper for (_, j), (_, upper) in zip(ends, pairs, strict=True)), everyone])
    layers = np.repeat(np.arange(len(sizes)), sizes)
    return ParameterList((*names, *hidden), layers, first, second, values)


def _float64(weights: Sequence[Array], biases: Sequence[Array]) -> Parameters:
    return Parameters(*(tuple(np.asarray(a, np.float64) for a in part) for part in (weights, biases)))


def unit_means(model: Machine | PairwiseModel, states: np.ndarray) -> Float[np.ndarray, "bins units"]:
    """States of the visible units and, given them, probabilities of the hidden ones (mean field in deep machines)."""
    if isinstance(model, PairwiseModel):
        return states.astype(np.float32)
    found, at_once = np.empty((len(states), model.n_units), np.float32), max(1, _VALUES // model.n_units)
    for start in range(0, len(states), at_once):  # a long recording of many units would be held three times
        rows = slice(start, start + at_once)
        found[rows] = np.concatenate(mean_field.infer(model, jnp.asarray(states[rows], jnp.float32)), axis=1)
    return found


@dataclass(frozen=True)
class GroupSums:
    """Sums over groups of bins, from which the Fisher information of any union of groups follows.

    Attributes
    ----------
    counts
        ``(groups,)``: bins.
    first, second
        ``(groups, parameters)``: sums of ``E(T | v)`` and of ``E(T^2 | v)`` (joint) or ``E(T | v)^2`` (visible), in the
        convention.
    scale
        ``(parameters,)``: factor of the Fisher information, ``theta^2`` when theta-scaled, else 1.
    """

    counts: Int[np.ndarray, " groups"]
    first: Float[np.ndarray, "groups parameters"]
    second: Float[np.ndarray, "groups parameters"]
    scale: Float[np.ndarray, " parameters"]

    def information(self, weights: np.ndarray) -> Float[np.ndarray, "unions parameters"]:
        """Fisher information ``E[T^2] - E[T]^2`` of every union of groups, given how often each group is in it."""
        n = (weights @ self.counts)[:, None]
        return self.scale * np.maximum(weights @ self.second / n - (weights @ self.first / n) ** 2, 0.0)


def group_sums(
    parameters: ParameterList, means: np.ndarray, groups: np.ndarray, of: Of, convention: Convention
) -> GroupSums:
    """Sums of the statistics over groups of consecutive bins.

    ``means``: ``(bins, units)`` from :func:`unit_means`. ``groups``: ``(bins,)``, non-decreasing group numbers from 0.
    """
    if convention == "+-1":
        means = 2 * means - 1
    # Joint: T^2 = T for 0/1 and 1 for +-1 states, whatever is known of them. Visible: the square of E(T | v).
    starts = np.searchsorted(groups, np.arange(groups[-1] + 1))
    ends = np.append(starts[1:], len(groups))
    first, second = [], []
    for start, end in zip(starts, ends, strict=True):
        rows = means[start:end]
        first.append(_sums(parameters, rows))
        if of == "visible":
            second.append(_sums(parameters, rows**2))
        else:
            second.append(np.full(len(parameters.values), float(end - start)) if convention == "+-1" else first[-1])
    scale = parameters.values**2 if convention == "theta-scaled" else np.ones(len(parameters.values))
    return GroupSums(ends - starts, np.array(first), np.array(second), scale)


def _sums(parameters: ParameterList, rows: np.ndarray) -> np.ndarray:
    """Sums over rows of products of two units, for couplings, and of single units, for biases."""
    n = parameters.n_couplings
    products = (rows.T @ rows)[parameters.first[:n], parameters.second[:n]]
    return np.concatenate([products, rows.sum(axis=0)]).astype(np.float64)
