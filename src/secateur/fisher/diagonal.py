"""Fisher information of every synapse and unit.

The Fisher information matrix of the joint model is the covariance of the sufficient statistics; here are its diagonal
(*variance* Fisher information) and the local estimate of it from firing rates and weights alone (*heuristic*). The full
matrix comes from :mod:`secateur.fisher.full_matrix`.
Scholl, Rule & Hennig 2021, equations 6 and 10.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from secateur.model import checked, exact, units
from secateur.model.arrays import AnyArray
from secateur.model.machine import Machine
from secateur.model.moments import Moments
from secateur.model.trust import TRUSTED, Verdict
from secateur.sampling.draws import Draws
from secateur.sampling.stored import moments_of
from secateur.sampling.sweep import Model

Source = Literal["exact"] | Draws | Sequence[AnyArray] | AnyArray | Moments
"""Where averages come from: ``"exact"`` (enumeration); draws as :func:`secateur.sampling.sample` returns them, or
arrays ``(draws, chains, n_l)`` or ``(rows, n_l)``, one per layer; or moments already taken."""


class FisherInformation(eqx.Module):
    """Diagonal Fisher information, per product of two parameters (nats); zero for absent synapses.

    Behaves as a sequence with one array ``(n_l, n_{l+1})`` per weight matrix; of a pairwise model one ``(n, n)``,
    symmetric with a zero diagonal.

    Attributes
    ----------
    weights, biases
        Fisher information of weights and of biases.
    weight_errors, bias_errors
        Their standard errors; 0 where exact, and nowhere else.
    diagnostics
        How the states were drawn; ``None`` when exact.
    """

    weights: tuple[AnyArray, ...]
    biases: tuple[AnyArray, ...]
    weight_errors: tuple[AnyArray, ...]
    bias_errors: tuple[AnyArray, ...]
    diagnostics: Any

    def __getitem__(self, matrix: int) -> AnyArray:
        return self.weights[matrix]

    def __len__(self) -> int:
        return len(self.weights)

    def __iter__(self) -> Iterator[AnyArray]:
        return iter(self.weights)

    @property
    def verdict(self) -> Verdict:
        """Whether the information can be trusted."""
        return TRUSTED if self.diagnostics is None else self.diagnostics.verdict

    def __repr__(self) -> str:
        means = ", ".join(f"{np.mean(np.asarray(w)):.4g}" for w in self.weights)
        how = "exact" if self.diagnostics is None else str(self.diagnostics)
        return f"FisherInformation(mean per weight matrix: {means}; {how})"


def variance(model: Model, source: Source) -> FisherInformation:
    """Variance Fisher information ``p (1 - p)``: ``p = <s_i s_j>`` for a synapse, ``<s_i>`` for a bias.

    Parameters
    ----------
    model
        A machine or a pairwise model.
    source
        :data:`Source`; ``"exact"`` takes at most 20 units in the smaller block of layers.

    Raises
    ------
    ValueError
        If the model is too large for ``"exact"`` or the states do not fit it.
    """
    moments = moments_from(model, source)
    with moments.precision():
        means, errors = moments.values, moments.standard_errors
        weights = tuple(units.variance(p) for p in means.coincidences)
        pairs = zip(means.coincidences, errors.coincidences, strict=True)
        return _assemble(model, moments, weights, tuple(error_of_variance(p, e) for p, e in pairs))


def error_of_variance(p: Float[AnyArray, "*shape"], error: Float[AnyArray, "*shape"]) -> Float[AnyArray, "*shape"]:
    """Root mean square error of ``p (1 - p)`` where ``p`` has this standard error.

    ``p (1 - p)`` changes by ``(1 - 2 p) d - d^2`` with an error ``d`` of ``p``, whose fourth moment is three times its
    squared variance; so the error does not vanish at ``p = 1/2``, where the first term does.
    """
    return ((1 - 2 * p) ** 2 * error**2 + 3 * error**4) ** 0.5


def heuristic(machine: Machine, source: Source) -> FisherInformation:
    """Heuristic Fisher information of synapses from firing rates and weights alone (the paper's local rule).

    ``q_ij = r_j sigmoid(logit(r_i) + w_ij (1 - r_j))`` with ``i`` in the lower (presynaptic) layer estimates the
    coincidence rate, and ``F_ij = q_ij (1 - q_ij)``; a unit with rate 0 or 1 gives ``F = 0``. Biases as in
    :func:`variance`. Errors are those of the rates, which vary together (delta method).

    Parameters and errors as in :func:`variance`.
    """
    moments = moments_from(checked.model(machine, hidden=True), source)
    with moments.precision():
        weights, errors = [], []
        for layer, weight in enumerate(machine.weights):
            rates = tuple(jnp.asarray(r) for r in moments.rates[layer : layer + 2])
            weight = weight.astype(rates[0].dtype)
            weights.append(heuristic_information(weight, *rates))
            errors.append(_heuristic_error(weight, moments, layer))
        return _assemble(machine, moments, tuple(weights), tuple(errors))


@jax.jit
def heuristic_information(
    weight: Float[AnyArray, "lower upper"], rate_pre: Float[AnyArray, " lower"], rate_post: Float[AnyArray, " upper"]
) -> Float[AnyArray, "lower upper"]:
    """Heuristic Fisher information of one weight matrix (formula in :func:`heuristic`)."""
    silent = _saturated(rate_pre)[:, None] | _saturated(rate_post)[None, :]
    return jnp.where(silent, 0, units.variance(_heuristic_coincidence(weight, rate_pre[:, None], rate_post[None, :])))


def _heuristic_coincidence(weight: AnyArray, pre: AnyArray, post: AnyArray) -> AnyArray:
    """The estimate ``q``; rates of 0 and 1 are kept from the infinite logit, where it goes over into its limit."""
    tiny = jnp.finfo(pre.dtype).tiny
    log_odds = jnp.log(jnp.maximum(pre, tiny)) - jnp.log(jnp.maximum(1 - pre, tiny))
    return post * units.mean(log_odds + weight * (1 - post))


def _heuristic_error(weight: AnyArray, moments: Moments, layer: int) -> Float[Array, "lower upper"]:
    """Error from those of the two rates of every synapse, which vary together; 0 where exact."""
    if moments.is_exact:
        return jnp.zeros_like(weight)
    ends = slice(layer, layer + 2)
    covariance = None
    if moments.rate_deviations is not None:
        lower, upper = moments.rate_deviations[ends]
        covariance = lower.T @ upper
    return _propagated(weight, moments.rates[ends], moments.standard_errors.rates[ends], covariance)


@jax.jit
def _propagated(
    weight: AnyArray, rates: tuple[AnyArray, ...], errors: tuple[AnyArray, ...], covariance: AnyArray | None
) -> Float[Array, "lower upper"]:
    """Delta method in the two rates. A unit never seen to change may have any information up to that of its limit."""
    pre, post = rates[0][:, None], rates[1][None, :]
    shape = weight.shape

    def of_rates(pre: AnyArray, post: AnyArray) -> AnyArray:
        return _heuristic_coincidence(weight, pre, post)

    within = tuple(jnp.broadcast_to(jnp.clip(r, 1e-6, 1 - 1e-6), shape) for r in (pre, post))
    ones, zeros = jnp.ones(shape, weight.dtype), jnp.zeros(shape, weight.dtype)
    q, slope_pre = jax.jvp(of_rates, within, (ones, zeros))
    slope_post = jax.jvp(of_rates, within, (zeros, ones))[1]
    from_pre, from_post = slope_pre * errors[0][:, None], slope_post * errors[1][None, :]
    squared = from_pre**2 + from_post**2
    if covariance is not None:
        squared = squared + 2 * slope_pre * slope_post * covariance
    error = error_of_variance(q, jnp.sqrt(jnp.maximum(squared, 0)))
    silent = _saturated(pre) | _saturated(post)
    return jnp.where(silent, jnp.hypot(error, units.variance(q)), error)


def moments_from(model: Model, source: Source) -> Moments:
    """Moments of the model from any :data:`Source`.

    Raises
    ------
    ValueError
        If the source is no source, or its shapes do not fit the model.
    """
    checked.model(model, single=True)
    if isinstance(source, str):
        if source != "exact":
            raise ValueError(f"source must be 'exact', states of the model or moments, got {source!r}")
        return exact.moments(model)
    if not isinstance(source, Moments):
        return moments_of(model, source)
    found = tuple(r.shape[-1] for r in source.rates)
    if found != model.layer_sizes:
        raise ValueError(
            f"moments must have one rate per unit of layers of {model.layer_sizes} units, got {found}; "
            "take them from this machine, not from the one before pruning"
        )
    return source


def _saturated(rates: AnyArray) -> AnyArray:
    return (rates <= 0) | (rates >= 1)


def _assemble(
    model: Model, moments: Moments, weights: tuple[AnyArray, ...], weight_errors: tuple[AnyArray, ...]
) -> FisherInformation:
    """Fisher information of existing synapses and of biases; float64 NumPy arrays when the moments are exact."""
    rates, rate_errors = moments.values.rates, moments.standard_errors.rates
    masks: tuple[AnyArray, ...] = (~np.eye(model.n_units, dtype=bool),)
    if isinstance(model, Machine):
        masks = model.masks
    information = FisherInformation(
        weights=tuple(jnp.where(m, w, 0) for m, w in zip(masks, weights, strict=True)),
        biases=tuple(units.variance(r) for r in rates),
        weight_errors=tuple(jnp.where(m, e, 0) for m, e in zip(masks, weight_errors, strict=True)),
        bias_errors=tuple(error_of_variance(r, e) for r, e in zip(rates, rate_errors, strict=True)),
        diagnostics=moments.diagnostics,
    )
    return jax.tree.map(np.asarray, information) if moments.is_exact else information
