"""Fitting pairwise models: exact maximum likelihood up to 20 units, beyond that pseudo-likelihood, then sampling.

Everything is fitted in standardised coordinates ``z_i = (s_i - r_i) / sqrt(r_i (1 - r_i))``, with ``r`` the rates of
the data: ``log p = sum_i a_i z_i + sum_{i<j} K_ij z_i z_j - log Z``. There the curvature of the log-likelihood is near
the identity while correlations are weak, whatever the rates, so that L-BFGS and stochastic ascent need few steps (the
rectification of Ferrari 2016, Phys. Rev. E 94:023301, by its diagonal).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.optimize import minimize

from secateur import units
from secateur.arrays import AnyArray
from secateur.enumeration import MAX_UNITS
from secateur.moments import Moments, Statistics
from secateur.pairwise import enumeration
from secateur.pairwise.fisher import moments_from
from secateur.pairwise.model import PairwiseModel, check_states
from secateur.pairwise.sampling import gibbs, sample
from secateur.randomness import child_key

Method = Literal["exact", "sampled"]


class FitSummary(NamedTuple):
    """How a model was fitted, and how well its moments meet those of the data.

    Attributes
    ----------
    method
        ``"exact"`` or ``"sampled"`` (pseudo-likelihood, then stochastic maximum likelihood).
    target
        Rates ``(units,)`` and coincidence rates ``(units, units)`` to be met: those of the data with the pseudo-word.
    moments
        Those of the model: exact, or from fresh chains with standard errors.
    """

    method: Method
    target: Statistics
    moments: Moments

    @property
    def largest_difference(self) -> float:
        """Largest absolute difference of a rate or coincidence rate between model and target."""
        pairs = zip(jax.tree.leaves(self.moments.values), jax.tree.leaves(self.target), strict=True)
        return max(float(abs(np.asarray(model, float) - target).max()) for model, target in pairs)


class _Scale(NamedTuple):
    """Mean and standard deviation of every unit, which take standardised parameters to the model's and back."""

    rates: Float[AnyArray, " units"]
    deviations: Float[AnyArray, " units"]

    def model_parameters(self, slopes: AnyArray, couplings: AnyArray) -> tuple[AnyArray, AnyArray]:
        """Biases and couplings from ``a`` and symmetric ``K``."""
        raw = couplings / (self.deviations[:, None] * self.deviations[None, :])
        return slopes / self.deviations - raw @ self.rates, raw

    def differences(self, model: Statistics, target: Statistics) -> tuple[AnyArray, AnyArray]:
        """``<z_i>`` and ``<z_i z_j>`` of the model less those of the data, the gradient with respect to ``-a, -K``."""
        rates, coincidences = (m - t for m, t in zip((*model.rates, *model.coincidences), _both(target), strict=True))
        crossed = rates[:, None] * self.rates[None, :]
        centred = coincidences - crossed - crossed.T
        return rates / self.deviations, centred / (self.deviations[:, None] * self.deviations[None, :])


def independent(states: AnyArray) -> PairwiseModel:
    """The model without couplings that has the rates of the data, in closed form.

    Rates are ``(k + 1/2) / (n + 1)`` for ``k`` ones in ``n`` bins: one pseudo-word, spread evenly over all words,
    keeps the biases of units that are always silent or always active finite.

    Parameters
    ----------
    states
        0/1 words ``(bins, units)``.

    Raises
    ------
    ValueError
        If the states are not 0/1.
    """
    (rates,) = _target(check_states(states)).rates
    n_units = len(rates)
    return PairwiseModel(np.log(rates) - np.log1p(-rates), np.zeros((n_units, n_units)))


def fit(
    states: AnyArray,
    key: PRNGKeyArray,
    *,
    method: Method | None = None,
    l2: float | None = None,
    n_chains: int = 2000,
    n_steps: int = 500,
) -> tuple[PairwiseModel, FitSummary]:
    """Fit the pairwise model to words.

    Up to 20 units the exact log-likelihood is maximised by L-BFGS in float64. Beyond, the pseudo-likelihood
    ``sum_i log p(s_i | rest)`` (Besag 1975; convex) is maximised by L-BFGS, then the likelihood by stochastic ascent
    with persistent Gibbs chains (Younes 1989; Tieleman 2008) whose second half is averaged (Polyak & Juditsky 1992),
    so that the moments of the model meet those of the data. The data are completed by one pseudo-word, spread evenly
    over all words, which keeps the parameters of silent units and of pairs that never coincide finite.

    Parameters
    ----------
    states
        0/1 words ``(bins, units)``; at least two units.
    key
        Random key of the chains; unused where the fit is exact.
    method
        ``"exact"``, ``"sampled"``, or ``None``: exact up to 20 units.
    l2
        Strength of the penalty ``l2 / 2 * sum_{i<j} J_ij^2`` per bin, in nats. ``None``: 0 for an exact fit, else
        1 / bins, a standard normal prior on every coupling.
    n_chains, n_steps
        Persistent chains, and steps of one sweep each, of a sampled fit.

    Returns
    -------
    model, summary
        The model, and how well its moments meet those of the data.

    Raises
    ------
    ValueError
        If the states are not 0/1, have one unit only, or are too many units for an exact fit.
    """
    words = check_states(states)
    n_rows, n_units = words.shape
    if n_units < 2:
        raise ValueError("states must have at least two units for a pairwise model, got 1; use independent(states)")
    method = method or ("exact" if n_units <= MAX_UNITS else "sampled")
    target = _target(words)
    (rates,) = target.rates
    scale = _Scale(rates, np.sqrt(rates * (1 - rates)))
    if method == "exact":
        enumeration.check_size(n_units, "fit")
        model = _maximise_likelihood(target, scale, 0.0 if l2 is None else l2)
        return model, FitSummary(method, target, enumeration.moments(model))
    penalty = 1 / n_rows if l2 is None else l2
    start = _maximise_pseudo_likelihood(words, scale, penalty)
    chains = jnp.asarray(
        words[np.asarray(jax.random.randint(child_key(key, "rows"), (n_chains,), 0, n_rows))], jnp.float32
    )
    model, chains = _ascend(start, scale, target, penalty, chains, child_key(key, "ascent"), n_steps)
    draws, _ = sample(model, chains, child_key(key, "check"), n_draws=10, n_sweeps=5, n_burn_in=50)
    by_chain = jnp.swapaxes(draws, 0, 1).reshape(-1, n_units)
    return model, FitSummary(method, target, moments_from(model, by_chain))


def _target(words: np.ndarray) -> Statistics:
    """Rates and coincidence rates of the words and one pseudo-word, float64; the diagonal holds the rates."""
    rows = words.astype(np.float32)  # counts below 2^24 are exact
    counts = (rows.T @ rows).astype(np.float64) if len(rows) < 2**24 else words.T.astype(float) @ words
    pseudo = np.full(counts.shape, 0.25) + 0.25 * np.eye(len(counts))
    coincidences = (counts + pseudo) / (len(rows) + 1)
    return Statistics((coincidences.diagonal().copy(),), (coincidences,))


def _both(statistics: Statistics) -> tuple[AnyArray, AnyArray]:
    return statistics.rates[0], statistics.coincidences[0]


def _maximise_likelihood(target: Statistics, scale: _Scale, l2: float) -> PairwiseModel:
    with jax.enable_x64(True):
        on_device = jax.tree.map(jnp.asarray, (scale, target))

        def loss(slopes: np.ndarray, couplings: np.ndarray) -> tuple[AnyArray, AnyArray, AnyArray]:
            return _negative_log_likelihood(slopes, couplings, *on_device)

        return _minimise(loss, scale, l2, tolerance=1e-9)


@jax.jit
def _negative_log_likelihood(
    slopes: Array, couplings: Array, scale: _Scale, target: Statistics
) -> tuple[Array, Array, Array]:
    biases, raw = scale.model_parameters(slopes, couplings)
    log_z, moments = enumeration.log_partition_and_moments(biases, raw)
    rates, coincidences = _both(target)
    value = log_z - biases @ rates - 0.5 * (raw * coincidences).sum()  # the diagonal of raw is zero
    return value, *scale.differences(moments, target)


def _maximise_pseudo_likelihood(words: np.ndarray, scale: _Scale, l2: float) -> PairwiseModel:
    z = jnp.asarray((words - scale.rates) / scale.deviations, jnp.float32)
    narrow = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), scale)

    def loss(slopes: np.ndarray, couplings: np.ndarray) -> tuple[AnyArray, AnyArray, AnyArray]:
        arrays = (jnp.asarray(a, jnp.float32) for a in (slopes, couplings))
        return _negative_pseudo_likelihood(*arrays, z, narrow)

    return _minimise(loss, scale, l2, tolerance=1e-4)


@jax.jit
def _negative_pseudo_likelihood(slopes: Array, couplings: Array, z: Array, scale: _Scale) -> tuple[Array, Array, Array]:
    """Minus the mean of ``sum_i log p(s_i | rest)`` and its gradient, from standardised words."""
    n_rows = z.shape[0]
    states = z * scale.deviations[None, :] + scale.rates[None, :]
    total = (slopes[None, :] + z @ couplings) / scale.deviations[None, :]
    value = (units.log_normaliser(total) - states * total).sum() / n_rows
    residual = (units.mean(total) - states) / scale.deviations[None, :]
    crossed = residual.T @ z / n_rows
    return value, residual.mean(axis=0), crossed + crossed.T


def _minimise(loss: Callable[..., tuple], scale: _Scale, l2: float, *, tolerance: float) -> PairwiseModel:
    """Minimise a loss of ``(a, K)``, which returns its value and gradients, plus the penalty, by L-BFGS from ``K = 0``.

    ``tolerance``: largest entry of the gradient, in units of a standardised statistic.
    """
    n_units = len(scale.rates)
    upper = np.triu_indices(n_units, 1)
    stiffening = l2 / (scale.deviations[upper[0]] * scale.deviations[upper[1]]) ** 2

    def unpack(vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        couplings = np.zeros((n_units, n_units))
        couplings[upper] = vector[n_units:]
        return vector[:n_units], couplings + couplings.T

    def value_and_gradient(vector: np.ndarray) -> tuple[float, np.ndarray]:
        value, d_slopes, d_couplings = loss(*unpack(vector))
        penalised = np.asarray(d_couplings, float)[upper] + stiffening * vector[n_units:]
        gradient = np.concatenate([np.asarray(d_slopes, float), penalised])
        return float(value) + 0.5 * float(stiffening @ vector[n_units:] ** 2), gradient

    start = np.concatenate([scale.deviations * (np.log(scale.rates) - np.log1p(-scale.rates)), np.zeros(len(upper[0]))])
    options = {"gtol": tolerance, "ftol": tolerance**2 / 10, "maxiter": 2000, "maxcor": 20}
    found = minimize(value_and_gradient, start, jac=True, method="L-BFGS-B", options=options)
    return PairwiseModel(*scale.model_parameters(*unpack(found.x)))


def _ascend(
    model: PairwiseModel, scale: _Scale, target: Statistics, l2: float, chains: Array, key: PRNGKeyArray, n_steps: int
) -> tuple[PairwiseModel, Array]:
    narrow = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), (scale, target))
    rates = jnp.asarray(np.geomspace(_FIRST_RATE, _LAST_RATE, n_steps), jnp.float32)
    averaged, chains = _stochastic_ascent(
        model, *narrow, jnp.float32(l2), chains, rates, jax.random.split(key, n_steps)
    )
    couplings = np.asarray(averaged.couplings)
    return PairwiseModel(averaged.biases, (couplings + couplings.T) / 2), chains


_FIRST_RATE, _LAST_RATE = 0.3, 0.02
"""Step lengths of the stochastic ascent relative to a Newton step at weak correlations."""


@jax.jit
def _stochastic_ascent(
    model: PairwiseModel, scale: _Scale, target: Statistics, l2: Array, chains: Array, rates: Array, keys: Array
) -> tuple[PairwiseModel, Array]:
    deviations = scale.deviations[:, None] * scale.deviations[None, :]
    stiffening = l2 / deviations**2
    off_diagonal = 1 - jnp.eye(len(scale.rates))
    start = (scale.deviations * (model.biases + model.couplings @ scale.rates), model.couplings * deviations)

    def as_model(slopes: Array, couplings: Array) -> PairwiseModel:
        return PairwiseModel.of_arrays(*scale.model_parameters(slopes, couplings))

    def body(carry: tuple, step: tuple) -> tuple[tuple, tuple]:
        slopes, couplings, chains = carry
        rate, key = step
        chains = gibbs(as_model(slopes, couplings), chains, key, 1)
        found = Statistics((chains.mean(axis=0),), (chains.T @ chains / chains.shape[0],))
        d_slopes, d_couplings = scale.differences(found, target)
        slopes = slopes - rate * d_slopes
        couplings = couplings - rate * off_diagonal * (d_couplings + stiffening * couplings) / (1 + stiffening)
        return (slopes, couplings, chains), (slopes, couplings)

    (_, _, chains), path = jax.lax.scan(body, (*start, chains), (rates, keys))
    averaged = jax.tree.map(lambda a: a[len(rates) // 2 :].mean(axis=0), path)
    return as_model(*averaged), chains
