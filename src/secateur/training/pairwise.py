"""Fitting pairwise models: exact maximum likelihood up to 20 units, beyond that pseudo-likelihood, then sampling.

Everything is fitted in standardised coordinates ``z_i = (s_i - r_i) / sqrt(r_i (1 - r_i))``, with ``r`` the rates of
the data: ``log p = sum_i a_i z_i + sum_{i<j} K_ij z_i z_j - log Z``. There the curvature of the log-likelihood is near
the identity while correlations are weak, whatever the rates, so that L-BFGS needs few iterations. Stochastic ascent
takes Newton steps with the curvature that the data have (Ferrari 2016, Phys. Rev. E 94:023301).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from scipy.optimize import minimize

from secateur.model import pairwise_enumeration as enumeration
from secateur.model import units
from secateur.model.arrays import AnyArray
from secateur.model.enumeration import MAX_UNITS
from secateur.model.moments import Moments, Statistics
from secateur.model.pairwise import PairwiseModel, check_states
from secateur.model.randomness import child_key
from secateur.model.trust import Verdict
from secateur.sampling.draws import swept
from secateur.sampling.gibbs_sampler import Gibbs
from secateur.sampling.runner import streamed_moments

Method = Literal["exact", "sampled"]

TRUSTED_MISFIT = 3
"""Largest misfit (:attr:`FitSummary.misfit`) of a sampled fit without a warning."""


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

    @property
    def misfit(self) -> float:
        """Root mean square difference in units of the standard errors of the model's moments; 0 when exact."""
        model, errors = self.moments.values.coincidences[0], self.moments.standard_errors.coincidences[0]
        if self.moments.diagnostics is None:
            return 0.0
        n_draws = float(self.moments.diagnostics.effective_sample_size)
        binomial = np.sqrt(self.target.coincidences[0] * (1 - self.target.coincidences[0]) / n_draws)
        scaled = (np.asarray(model, float) - self.target.coincidences[0]) / np.maximum(np.asarray(errors), binomial)
        return float(np.sqrt((scaled**2).mean()))

    @property
    def verdict(self) -> Verdict:
        """Whether the fit can be trusted: its check chains have mixed, and its moments meet those of the data."""
        if self.misfit <= TRUSTED_MISFIT:
            return self.moments.verdict
        reason = (
            f"moments of the pairwise model differ from those of the data by {self.misfit:.1f} standard errors (root "
            f"mean square; at most {TRUSTED_MISFIT} is usual), so the ascent has not converged; fit with more n_steps"
        )
        return self.moments.verdict.joined(Verdict((reason,)))


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


def fit_independent(states: AnyArray) -> PairwiseModel:
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


def fit_pairwise(
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

    Warns
    -----
    NotToBeTrusted
        If the moments of a sampled fit do not meet those of the data, or the fresh chains that check it, half of which
        start from silence and half from a burst of all units, have not mixed.
    """
    words = check_states(states)
    n_rows, n_units = words.shape
    if n_units < 2:
        raise ValueError("states must have at least two units for a pairwise model, got 1; use fit_independent(states)")
    method = method or ("exact" if n_units <= MAX_UNITS else "sampled")
    target = _target(words)
    (rates,) = target.rates
    scale = _Scale(rates, np.sqrt(rates * (1 - rates)))
    if method == "exact":
        enumeration.check_size(n_units, "fit")
        model = _maximise_likelihood(target, scale, 0.0 if l2 is None else l2)
        return model, FitSummary(method, target, enumeration.moments(model))
    penalty = 1 / n_rows if l2 is None else l2
    start = _without_bursts(_maximise_pseudo_likelihood(words, scale, penalty), target, child_key(key, "bursts"))
    chosen = np.asarray(jax.random.randint(child_key(key, "rows"), (n_chains,), 0, n_rows))
    chains = jnp.asarray(words[chosen], jnp.float32)
    model = _ascend(start, words, scale, target, penalty, chains, child_key(key, "ascent"), n_steps)
    summary = FitSummary(method, target, _checking_moments(model, child_key(key, "check")))
    summary.verdict.warn(f"the pairwise fit with n_steps={n_steps}", stacklevel=2)
    return model, summary


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


def _without_bursts(model: PairwiseModel, target: Statistics, key: PRNGKeyArray) -> PairwiseModel:
    """The model drawn towards the independent one as far as it takes for bursts of all units to die out.

    Pseudo-likelihood sees single flips only, so its model may hold a second state of high activity that the data never
    visit, and neither would chains that start at the data.
    """
    rates, _ = _both(target)
    alone = np.log(rates) - np.log1p(-rates)
    for share in (1.0, 0.8, 0.6, 0.4, 0.2):
        biases = share * np.asarray(model.biases) + (1 - share) * alone
        mixed = PairwiseModel(biases, share * np.asarray(model.couplings))
        (after,) = swept(mixed, (jnp.ones((_N_CHECKED, model.n_units), jnp.float32),), key, 50)
        if float(after.mean()) < 1.5 * rates.mean():
            return mixed
    return PairwiseModel(alone, np.zeros_like(model.couplings))


def _checking_moments(model: PairwiseModel, key: PRNGKeyArray) -> Moments:
    """Moments from fresh chains, half from silence and half from a burst, which agree only if they mix."""
    by_turns = jnp.arange(_N_CHECKED, dtype=jnp.float32) % 2
    start = (jnp.broadcast_to(by_turns[:, None], (_N_CHECKED, model.n_units)),)
    sampler = Gibbs(n_sweeps=5)
    state = sampler.init(model, key, _N_CHECKED, start)
    return streamed_moments(model, sampler, state, key, n_draws=40, n_burn_in=200)


def _ascend(
    model: PairwiseModel,
    words: np.ndarray,
    scale: _Scale,
    target: Statistics,
    l2: float,
    chains: Array,
    key: PRNGKeyArray,
    n_steps: int,
) -> PairwiseModel:
    narrow = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), (scale, target))
    steps = _newton_steps(words, scale, l2, child_key(key, "rows"))
    first = min(_FIRST_RATE, _RATE_PER_CHAIN * len(chains) / steps.shape[0])
    rates = jnp.asarray(np.geomspace(first, min(first, _LAST_RATE), n_steps), jnp.float32)
    keys = jax.random.split(child_key(key, "steps"), n_steps)
    return PairwiseModel(*_stochastic_ascent(model, *narrow, jnp.float32(l2), chains, steps, rates, keys))


_FIRST_RATE, _LAST_RATE = 0.1, 0.02
"""Step lengths of the stochastic ascent relative to a Newton step; 0.3 diverged on recordings of 44 and 50 units."""

_RATE_PER_CHAIN = 0.06  # longest step is this times chains / parameters: each step carries the noise of all parameters

_N_CHECKED = 500  # chains that check a fit; few and long ones, which show by themselves whether they mix
_MOST_NEWTON = 5000  # parameters (99 units) up to which the curvature is inverted, a few seconds
_RIDGE = 0.1  # keeps the noise of directions without curvature small; typical curvature is 1


def _newton_steps(words: np.ndarray, scale: _Scale, l2: float, key: PRNGKeyArray) -> Array:
    """Inverse curvature of minus the log-likelihood, from the covariance of the data (Ferrari 2016).

    ``(parameters, parameters)``, order ``K, a``; of larger models a step length ``(parameters,)`` short enough for the
    stiffest direction.
    """
    n_rows, n_units = words.shape
    n_parameters = n_units * (n_units + 1) // 2
    n_used = min(n_rows, max(20_000, 4 * min(n_parameters, _MOST_NEWTON)))
    used = words[np.sort(np.asarray(jax.random.permutation(key, n_rows))[:n_used])]
    z = ((used - scale.rates) / scale.deviations).astype(np.float32)
    first, second = np.triu_indices(n_units, 1)
    penalty = np.concatenate([l2 / (scale.deviations[first] * scale.deviations[second]) ** 2, np.zeros(n_units)])
    if n_parameters <= _MOST_NEWTON:
        statistics = np.hstack([z[:, first] * z[:, second], z])
        statistics -= statistics.mean(axis=0)
        curvature = (statistics.T @ statistics).astype(np.float64) / n_used
        return jnp.asarray(np.linalg.inv(curvature + np.diag(penalty + _RIDGE)), jnp.float32)
    # Power iteration without the statistics: (z_i z_j) . x is a quadratic form of the rows.
    direction = np.ones(n_parameters, np.float32)
    largest = 1.0
    for _ in range(20):
        couplings = np.zeros((n_units, n_units), np.float32)
        couplings[first, second] = direction[:-n_units]
        along = ((z @ couplings) * z).sum(axis=1) + z @ direction[-n_units:]
        along -= along.mean()
        crossed = z.T @ (z * along[:, None]) / n_used
        image = np.concatenate([crossed[first, second], z.T @ along / n_used])
        largest = float(np.linalg.norm(image) / np.linalg.norm(direction))
        direction = image / np.linalg.norm(image)
    return jnp.asarray(1 / (largest + penalty), jnp.float32)


@jax.jit
def _stochastic_ascent(
    model: PairwiseModel,
    scale: _Scale,
    target: Statistics,
    l2: Array,
    chains: Array,
    steps: Array,
    rates: Array,
    keys: Array,
) -> tuple[Array, Array]:
    n_units = model.n_units
    deviations = scale.deviations[:, None] * scale.deviations[None, :]
    upper = np.triu_indices(n_units, 1)

    def as_model(vector: Array) -> PairwiseModel:
        couplings = jnp.zeros((n_units, n_units), vector.dtype).at[upper].set(vector[:-n_units])
        return PairwiseModel.of_arrays(*scale.model_parameters(vector[-n_units:], couplings + couplings.T))

    def body(carry: tuple[Array, Array, Array], step: tuple[Array, ...]) -> tuple[tuple, None]:
        vector, total, chains = carry
        rate, share, key = step
        (chains,) = swept(as_model(vector), (chains,), key, 1)
        found = Statistics((chains.mean(axis=0),), (chains.T @ chains / chains.shape[0],))
        d_slopes, d_couplings = scale.differences(found, target)
        penalised = d_couplings[upper] + l2 * vector[:-n_units] / deviations[upper] ** 2
        gradient = jnp.concatenate([penalised, d_slopes])
        vector = vector - rate * (steps @ gradient if steps.ndim == 2 else steps * gradient)
        return (vector, total + share * vector, chains), None

    slopes = scale.deviations * (model.biases + model.couplings @ scale.rates)
    start = jnp.concatenate([(model.couplings * deviations)[upper], slopes])
    n_steps = rates.shape[0]
    shares = (jnp.arange(n_steps) >= n_steps // 2).astype(jnp.float32) / (n_steps - n_steps // 2)
    (_, averaged, _), _ = jax.lax.scan(body, (start, jnp.zeros_like(start), chains), (rates, shares, keys))
    result = as_model(averaged)
    return result.biases, result.couplings
