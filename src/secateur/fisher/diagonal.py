"""Fisher information of every synapse and unit.

The Fisher information matrix of the joint model is the covariance of the sufficient statistics; here are its diagonal
(*variance* Fisher information) and the local estimate of it from firing rates and weights alone (*heuristic*). The full
matrix, :func:`matrix`, comes from :mod:`secateur.fisher.full_matrix`.
Scholl, Rule & Hennig 2021, equations 6 and 10.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from secateur.fisher.full_matrix import FisherMatrix as FisherMatrix
from secateur.fisher.full_matrix import leading_eigenvector_importance as leading_eigenvector_importance
from secateur.fisher.full_matrix import matrix as matrix
from secateur.model import enumeration, units
from secateur.model.arrays import AnyArray
from secateur.model.diagnostics import MixingDiagnostics
from secateur.model.machine import Machine, States
from secateur.model.moments import Moments

Source = Literal["exact"] | States | Moments
"""Where averages come from: ``"exact"`` (enumeration), model states (one row per draw), or moments already taken."""


class FisherInformation(eqx.Module):
    """Diagonal Fisher information, per nat^2 of weight or bias; zero for absent synapses.

    Behaves as a sequence with one array ``(n_l, n_{l+1})`` per weight matrix.

    Attributes
    ----------
    weights, biases
        Fisher information of weights and of biases.
    weight_errors, bias_errors
        Their standard errors (zero when exact).
    diagnostics
        How the states were drawn; ``None`` when exact.
    """

    weights: tuple[AnyArray, ...]
    biases: tuple[AnyArray, ...]
    weight_errors: tuple[AnyArray, ...]
    bias_errors: tuple[AnyArray, ...]
    diagnostics: MixingDiagnostics | None

    def __getitem__(self, matrix: int) -> AnyArray:
        return self.weights[matrix]

    def __len__(self) -> int:
        return len(self.weights)

    def __iter__(self) -> Iterator[AnyArray]:
        return iter(self.weights)


def variance(machine: Machine, source: Source) -> FisherInformation:
    """Variance Fisher information ``p (1 - p)``: ``p = <s_i s_j>`` for a synapse, ``<s_i>`` for a bias.

    Parameters
    ----------
    machine
        The model.
    source
        ``"exact"`` (at most 20 units in the smaller block of layers), states drawn from the model, or moments.

    Raises
    ------
    ValueError
        If the machine is too large for ``"exact"`` or the states do not fit it.
    """
    moments = moments_from(machine, source)
    with moments.precision():
        means, errors = moments.values, moments.standard_errors
        weights = tuple(units.variance(p) for p in means.coincidences)
        # Delta method: d(p (1 - p)) = (1 - 2 p) dp.
        weight_errors = tuple(abs(1 - 2 * p) * e for p, e in zip(means.coincidences, errors.coincidences, strict=True))
        return _assemble(machine, moments, weights, weight_errors)


def heuristic(machine: Machine, source: Source) -> FisherInformation:
    """Heuristic Fisher information of synapses from firing rates and weights alone (the paper's local rule).

    ``q_ij = r_j sigmoid(logit(r_i) + w_ij (1 - r_j))`` with ``i`` in the lower (presynaptic) layer estimates the
    coincidence
    rate, and ``F_ij = q_ij (1 - q_ij)``; a unit with rate 0 or 1 gives ``F = 0``. Biases as in :func:`variance`.

    Parameters and errors as in :func:`variance`.
    """
    moments = moments_from(machine, source)
    with moments.precision():
        rates, rate_errors = moments.values.rates, moments.standard_errors.rates
        weights, errors = [], []
        for layer, weight in enumerate(machine.weights):
            pre, post = jnp.asarray(rates[layer]), jnp.asarray(rates[layer + 1])
            information, (slope_pre, slope_post) = _heuristic_with_slopes(weight.astype(pre.dtype), pre, post)
            weights.append(information)
            # Delta method in the two rates, taken as independent.
            from_pre, from_post = slope_pre * rate_errors[layer][:, None], slope_post * rate_errors[layer + 1][None, :]
            errors.append(jnp.hypot(from_pre, from_post))
        return _assemble(machine, moments, tuple(weights), tuple(errors))


@jax.jit
def heuristic_information(
    weight: Float[AnyArray, "lower upper"], rate_pre: Float[AnyArray, " lower"], rate_post: Float[AnyArray, " upper"]
) -> Float[AnyArray, "lower upper"]:
    """Heuristic Fisher information of one weight matrix (formula in :func:`heuristic`)."""
    silent = _saturated(rate_pre)[:, None] | _saturated(rate_post)[None, :]
    pre = jnp.where(_saturated(rate_pre), 0.5, rate_pre)[:, None]  # keeps the unused branch finite
    post = rate_post[None, :]
    coincidence = post * units.mean(units.logit(pre) + weight * (1 - post))
    return jnp.where(silent, 0, units.variance(coincidence))


def moments_from(machine: Machine, source: Source) -> Moments:
    """Moments of the model from any :data:`Source`.

    Raises
    ------
    ValueError
        If the source is no source, or its shapes do not fit the machine.
    """
    if isinstance(source, str):
        if source != "exact":
            raise ValueError(f"source must be 'exact', states of the model or moments, got {source!r}")
        return enumeration.moments(machine)
    if not isinstance(source, Moments):
        source = tuple(jnp.asarray(s, dtype=jnp.float32) for s in source)
        _check_widths(machine, tuple(s.shape[-1] for s in source))
        return Moments.of_states(source)
    _check_widths(machine, tuple(r.shape[-1] for r in source.rates))
    return source


@jax.jit
def _heuristic_with_slopes(weight: AnyArray, pre: AnyArray, post: AnyArray) -> tuple[AnyArray, tuple[AnyArray, Array]]:
    """The information and its derivatives with respect to the rate of each synapse's lower and upper unit."""

    def of_pre(p: AnyArray) -> AnyArray:
        return heuristic_information(weight, p, post)

    def of_post(p: AnyArray) -> AnyArray:
        return heuristic_information(weight, pre, p)

    information, slope_pre = jax.jvp(of_pre, (pre,), (jnp.ones_like(pre),))
    slope_post = jax.jvp(of_post, (post,), (jnp.ones_like(post),))[1]
    return information, (slope_pre, slope_post)


def _saturated(rates: AnyArray) -> AnyArray:
    return (rates <= 0) | (rates >= 1)


def _assemble(
    machine: Machine, moments: Moments, weights: tuple[AnyArray, ...], weight_errors: tuple[AnyArray, ...]
) -> FisherInformation:
    """Fisher information of existing synapses and of biases; float64 NumPy arrays when the moments are exact."""
    rates, rate_errors = moments.values.rates, moments.standard_errors.rates
    information = FisherInformation(
        weights=tuple(jnp.where(m, w, 0) for m, w in zip(machine.masks, weights, strict=True)),
        biases=tuple(units.variance(r) for r in rates),
        weight_errors=tuple(jnp.where(m, e, 0) for m, e in zip(machine.masks, weight_errors, strict=True)),
        bias_errors=tuple(abs(1 - 2 * r) * e for r, e in zip(rates, rate_errors, strict=True)),
        diagnostics=moments.diagnostics,
    )
    return jax.tree.map(np.asarray, information) if moments.diagnostics is None else information


def _check_widths(machine: Machine, found: tuple[int, ...]) -> None:
    if found != machine.layer_sizes:
        raise ValueError(
            f"states must have one array per layer with widths {machine.layer_sizes}, got {found}; "
            "draw them from this machine, not from the one before pruning"
        )
