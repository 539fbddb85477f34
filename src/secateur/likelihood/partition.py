"""The partition function of machines and pairwise models: exact, annealed or tempered, and whether to trust it."""

from __future__ import annotations

from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from secateur.likelihood import annealing, bridging
from secateur.likelihood.estimates import LogPartition
from secateur.model import checked, enumeration, pairwise_enumeration
from secateur.model.arrays import AnyArray
from secateur.model.exact import can_be_summed
from secateur.model.pairwise import PairwiseModel
from secateur.sampling.sampler import Sampler, sampler_named
from secateur.sampling.sweep import Model
from secateur.sampling.tempering import Tempering

Method = Literal["auto", "exact", "ais", "tempering"]
"""How log Z is found."""

N_ANNEALED, N_ANNEALING_TEMPERATURES = 256, 1000
"""Annealing runs each way, and their temperatures, where the numbers are not given."""

N_TEMPERED, N_TEMPERING_TEMPERATURES = 64, 20
"""Chains of tempering, and replicas of each, where the numbers are not given."""

N_TEMPERING_DRAWS = 1000
"""Steps of tempering that are used; as many come before them."""

_LEAST_DRAWS = 200
"""Least draws that show whether the chains mixed at whose ends reversed annealing starts."""


def log_partition(
    model: Model,
    method: Method = "auto",
    *,
    key: AnyArray | None = None,
    n_chains: int | None = None,
    n_temperatures: int | None = None,
    base_rates: Float[AnyArray, " visible"] | None = None,
    visible: AnyArray | None = None,
    sampler: str | Sampler | None = None,
) -> LogPartition:
    """Logarithm of the partition function, in nats.

    Parameters
    ----------
    model
        A machine or a pairwise model. Without synapses the answer is exact at any size, whatever the method.
    method
        ``"exact"``: sum over all states (at most 20 units, of a machine in the smaller block of layers), float64.
        ``"ais"``: annealed importance sampling (Neal 2001; Salakhutdinov & Murray 2008) from independent units to the
        model and from states of the model back, joined by Bennett's acceptance ratio; any size. ``"tempering"``:
        from the replicas of parallel tempering; slower, and right for many models with separate modes. ``"auto"``:
        exact where that is possible, else annealing, and tempering where that is not to be trusted; the result says
        which.
    key
        Random key; needed unless the sum is exact.
    n_chains
        Independent annealing runs each way, 256 by default; chains of ``"tempering"``, 64 by default.
    n_temperatures
        Inverse temperatures from 0 to 1: equally spaced ones of annealing, 1000 by default; replicas of
        ``"tempering"``, 20 by default. With ``"auto"`` both numbers are those of annealing.
    base_rates
        Mean rates of the visible units in the data, from which annealing starts. ``None``: the model's own biases.
    visible
        0/1 rows ``(rows, n_0)`` of data, at which some of the chains start that draw states of the model.
    sampler
        What draws the states at which annealing from the model starts, ``"gibbs"`` by default, or the
        :class:`secateur.sampling.Tempering` of ``"tempering"``.

    Returns
    -------
    LogPartition
        Estimate with standard error and verdict.

    Raises
    ------
    ValueError
        If the model is too large for ``"exact"``, ``key`` is missing, a number is too small, rows or rates do not fit
        the model, or ``method`` is unknown.
    TypeError
        If an argument is of another kind.

    Warns
    -----
    NotToBeTrusted
        If the estimate is not to be trusted.
    """
    _check_model_and_method(model, method)
    if not _has_synapses(model):
        biases = np.concatenate([np.asarray(bias, np.float64) for bias in model.bias_terms])
        return LogPartition(float(np.logaddexp(0, biases).sum()))
    if method == "exact" or (method == "auto" and can_be_summed(model)):
        return LogPartition(_exact(model))
    if key is None:
        raise ValueError(f"key must be a JAX random key for method={method!r}, got None; write key=jax.random.key(0)")
    key = checked.key(key)
    rows = None if visible is None else checked.rows(visible, model.layer_sizes[0])
    if method == "tempering":
        found = _tempered(model, key, n_chains, _tempering(sampler, n_temperatures), rows)
    else:
        found = _annealed(model, key, n_chains, n_temperatures, _base_bias(model, base_rates), rows, sampler)
        if method == "auto" and not found.verdict.trusted:
            chosen = sampler if isinstance(sampler, Tempering) else None
            found = _tempered(model, key, None, _tempering(chosen, None), rows)
    found.verdict.warn("log Z", stacklevel=2)
    return found


def _check_model_and_method(model: Model, method: str) -> None:
    checked.model(model, "model", single=True)
    if method not in get_args(Method):
        known = ", ".join(map(repr, get_args(Method)))
        raise ValueError(f"method must be one of {known}, got {method!r}; 'auto' suits every model")


def _exact(model: Model) -> float:
    if not isinstance(model, PairwiseModel):
        return enumeration.log_partition(model)
    pairwise_enumeration.check_size(model.n_units, "log_partition")
    with jax.enable_x64(True):
        return float(pairwise_enumeration.log_partition_of(*pairwise_enumeration.double(model)))


def _annealed(
    model: Model,
    key: PRNGKeyArray,
    n_chains: int | None,
    n_temperatures: int | None,
    base_bias: Float[Array, " visible"],
    visible: Float[Array, "rows visible"] | None,
    sampler: str | Sampler | None,
) -> LogPartition:
    """Annealing both ways."""
    chains = _size("n_chains", n_chains, N_ANNEALED)
    temperatures = _size("n_temperatures", n_temperatures, N_ANNEALING_TEMPERATURES)
    chosen = sampler_named("gibbs" if sampler is None else sampler)
    key_forward, key_states, key_reverse = jax.random.split(key, 3)
    forward = annealing.annealed_log_weights(
        model, base_bias, key_forward, n_chains=chains, n_temperatures=temperatures
    )
    n_draws = max(_LEAST_DRAWS, temperatures // 2)
    states, diagnostics = annealing.drawn_states(
        model, chosen, key_states, n_chains=chains, n_draws=n_draws, visible=visible
    )
    reverse = annealing.reverse_log_weights(model, base_bias, states, key_reverse, n_temperatures=temperatures)
    return bridging.combine_both_directions(np.asarray(forward), np.asarray(reverse), temperatures, diagnostics.verdict)


def _tempered(
    model: Model,
    key: PRNGKeyArray,
    n_chains: int | None,
    tempering: Tempering,
    visible: Float[Array, "rows visible"] | None,
) -> LogPartition:
    """From the replicas of tempering."""
    run = bridging.tempering_run(
        model,
        tempering,
        key,
        n_chains=_size("n_chains", n_chains, N_TEMPERED),
        n_draws=N_TEMPERING_DRAWS,
        n_burn_in=N_TEMPERING_DRAWS * tempering.n_sweeps,
        visible=visible,
    )
    return bridging.combine_temperatures(run)


def _has_synapses(model: Model) -> bool:
    weights = (model.couplings,) if isinstance(model, PairwiseModel) else model.weights
    return any(np.asarray(weight).any() for weight in weights)


def _base_bias(model: Model, rates: Float[AnyArray, " visible"] | None) -> Float[Array, " visible"]:
    if rates is None:
        return model.bias_terms[0]
    found = checked.finite(rates, "base_rates")
    n_visible = model.layer_sizes[0]
    if found.shape != (n_visible,) or not ((found >= 0) & (found <= 1)).all():
        raise ValueError(
            f"base_rates must be {n_visible} numbers from 0 to 1, one per visible unit, got shape {found.shape} and "
            f"values from {found.min():.3g} to {found.max():.3g}; give rows.mean(axis=0) of the data"
        )
    return annealing.base_bias_of(jnp.asarray(found))


def _size(what: str, value: int | None, default: int) -> int:
    return default if value is None else checked.count(what, value, 2)


def _tempering(sampler: str | Sampler | None, n_temperatures: int | None) -> Tempering:
    """The sampler given, if it is of tempering, or one with so many temperatures."""
    if isinstance(sampler, Tempering):
        return sampler
    if sampler not in (None, "tempering"):
        raise ValueError(
            f"sampler must be a Tempering for method='tempering', got {sampler!r}; leave it out, or write "
            "secateur.sampling.Tempering(n_temperatures=20)"
        )
    return Tempering(n_temperatures=_size("n_temperatures", n_temperatures, N_TEMPERING_TEMPERATURES))
