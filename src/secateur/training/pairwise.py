"""Fitting pairwise models: exact maximum likelihood up to 20 units, beyond that pseudo-likelihood, then sampling.

Everything is fitted in standardised coordinates ``z_i = (s_i - r_i) / sqrt(r_i (1 - r_i))``, with ``r`` the rates of
the data: ``log p = sum_i a_i z_i + sum_{i<j} K_ij z_i z_j - log Z``. There the curvature of the log-likelihood is near
the identity while correlations are weak, whatever the rates, so that L-BFGS needs few iterations. Stochastic ascent
takes the curvature that the data have into account (Ferrari 2016, Phys. Rev. E 94:023301).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, PRNGKeyArray
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
from secateur.training.pairwise_ascent import Scale, ascend

Method = Literal["exact", "sampled"]

_MOST_PSEUDO = 30_000  # words of which the pseudo-likelihood is maximised
_START = 1e-2  # largest entry of its gradient, in units of a standardised statistic: a start for the ascent
_N_STEPS, _MANY_UNITS = 500, 200  # beyond, half the steps, from independent units: the misfit of 1,000 units is 1.0
_BINS_PER_STEP, _MOST_STEPS = 50, 4000  # more bins have smaller sampling errors, which the ascent has to meet
_N_CHECKED = 500  # chains that check a fit; few and long ones, which show by themselves whether they mix
TRUSTED_MISFIT = 2
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
    fitted
        ``(units, units)``: which moments are to be met, the rates (on the diagonal) and those of existing couplings.
    """

    method: Method
    target: Statistics
    moments: Moments
    fitted: Bool[np.ndarray, "units units"]

    @property
    def largest_difference(self) -> float:
        """Largest absolute difference of a rate or coincidence rate between model and target."""
        model, target = self.moments.values.coincidences[0], self.target.coincidences[0]
        return float(abs(np.asarray(model, float) - target)[self.fitted].max())

    @property
    def misfit(self) -> float:
        """Root mean square difference in units of the standard errors of the model's moments; 0 when exact."""
        model, errors = self.moments.values.coincidences[0], self.moments.standard_errors.coincidences[0]
        if self.moments.diagnostics is None:
            return 0.0
        n_draws = float(self.moments.diagnostics.effective_sample_size)
        binomial = np.sqrt(self.target.coincidences[0] * (1 - self.target.coincidences[0]) / n_draws)
        scaled = (np.asarray(model, float) - self.target.coincidences[0]) / np.maximum(np.asarray(errors), binomial)
        return float(np.sqrt((scaled[self.fitted] ** 2).mean()))

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
    n_steps: int | None = None,
    mask: AnyArray | None = None,
    start: PairwiseModel | None = None,
) -> tuple[PairwiseModel, FitSummary]:
    """Fit the pairwise model to words.

    Up to 20 units the exact log-likelihood is maximised by L-BFGS in float64. Beyond, the pseudo-likelihood
    ``sum_i log p(s_i | rest)`` (Besag 1975; convex) is maximised by L-BFGS (beyond 200 not even that: the ascent is as
    good from independent units), then the likelihood by stochastic ascent
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
        Persistent chains, and steps of one sweep each, of a sampled fit; ``None``: a step for every 50 bins, at least
        500 and at most 4,000; beyond 200 units 250.
    mask
        ``(units, units)``, symmetric: couplings that exist; all others are zero. ``None``: all of them.
    start
        A model from which the fit goes on, in place of pseudo-likelihood; its couplings outside the mask are dropped.

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
    scale = Scale(rates, np.sqrt(rates * (1 - rates)))
    present = _present(mask, n_units)
    fitted = _symmetric(present, n_units) | np.eye(n_units, dtype=bool)
    if method == "exact":
        enumeration.check_size(n_units, "fit")
        model = _maximise_likelihood(target, scale, 0.0 if l2 is None else l2, present)
        return model, FitSummary(method, target, enumeration.moments(model), fitted)
    penalty = 1 / n_rows if l2 is None else l2
    if start is None and n_units > _MANY_UNITS:
        begun = fit_independent(words)
    elif start is None:
        begun = _maximise_pseudo_likelihood(words, scale, penalty, present)
    else:
        begun = PairwiseModel(start.biases, np.where(_symmetric(present, n_units), np.asarray(start.couplings), 0))
    begun = _without_bursts(begun, target, child_key(key, "bursts"))
    if n_steps is None:
        n_steps = _steps_for(n_rows, n_units)
    chosen = np.asarray(jax.random.randint(child_key(key, "rows"), (n_chains,), 0, n_rows))
    chains = jnp.asarray(words[chosen], jnp.float32)
    model = ascend(begun, words, scale, target, penalty, chains, child_key(key, "ascent"), n_steps, fitted)
    summary = FitSummary(method, target, _checking_moments(model, child_key(key, "check")), fitted)
    summary.verdict.warn(f"the pairwise fit with n_steps={n_steps}", stacklevel=2)
    return model, summary


def _steps_for(n_rows: int, n_units: int) -> int:
    if n_units > _MANY_UNITS:
        return _N_STEPS // 2
    return min(max(_N_STEPS, n_rows // _BINS_PER_STEP), _MOST_STEPS)


def _present(mask: AnyArray | None, n_units: int) -> Bool[np.ndarray, " couplings"]:
    """Which couplings exist, in the order of the upper triangle."""
    if mask is None:
        return np.ones(n_units * (n_units - 1) // 2, bool)
    given = np.asarray(mask, bool)
    if given.shape != (n_units, n_units) or (given != given.T).any():
        raise ValueError(
            f"mask must be symmetric, one entry for each pair of the {n_units} units, got shape {given.shape}; give "
            "mask | mask.T"
        )
    return given[np.triu_indices(n_units, 1)]


def _symmetric(present: Bool[np.ndarray, " couplings"], n_units: int) -> Bool[np.ndarray, "units units"]:
    found = np.zeros((n_units, n_units), bool)
    found[np.triu_indices(n_units, 1)] = present
    return found | found.T


def _target(words: np.ndarray) -> Statistics:
    """Rates and coincidence rates of the words and one pseudo-word, float64; the diagonal holds the rates."""
    rows = words.astype(np.float32)  # counts below 2^24 are exact
    counts = (rows.T @ rows).astype(np.float64) if len(rows) < 2**24 else words.T.astype(float) @ words
    pseudo = np.full(counts.shape, 0.25) + 0.25 * np.eye(len(counts))
    coincidences = (counts + pseudo) / (len(rows) + 1)
    return Statistics((coincidences.diagonal().copy(),), (coincidences,))


def _both(statistics: Statistics) -> tuple[AnyArray, AnyArray]:
    return statistics.rates[0], statistics.coincidences[0]


def _maximise_likelihood(
    target: Statistics, scale: Scale, l2: float, present: Bool[np.ndarray, " couplings"]
) -> PairwiseModel:
    with jax.enable_x64(True):
        on_device = jax.tree.map(jnp.asarray, (scale, target))

        def loss(slopes: np.ndarray, couplings: np.ndarray) -> tuple[AnyArray, AnyArray, AnyArray]:
            return _negative_log_likelihood(slopes, couplings, *on_device)

        return _minimise(loss, scale, l2, present, tolerance=1e-9)


@jax.jit
def _negative_log_likelihood(
    slopes: Array, couplings: Array, scale: Scale, target: Statistics
) -> tuple[Array, Array, Array]:
    biases, raw = scale.model_parameters(slopes, couplings)
    log_z, moments = enumeration.log_partition_and_moments(biases, raw)
    rates, coincidences = _both(target)
    value = log_z - biases @ rates - 0.5 * (raw * coincidences).sum()  # the diagonal of raw is zero
    return value, *scale.differences(moments, target)


def _maximise_pseudo_likelihood(
    words: np.ndarray, scale: Scale, l2: float, present: Bool[np.ndarray, " couplings"]
) -> PairwiseModel:
    """From part of the words, for the ascent to start from."""
    narrow = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), scale)
    some = jnp.asarray(words[:: max(1, len(words) // _MOST_PSEUDO)])

    def loss(slopes: np.ndarray, couplings: np.ndarray) -> tuple[AnyArray, AnyArray, AnyArray]:
        arrays = (jnp.asarray(a, jnp.float32) for a in (slopes, couplings))
        value, slope, coupling = _negative_pseudo_likelihood_of(*arrays, some, narrow)
        return np.asarray(value, float), np.asarray(slope, float), np.asarray(coupling, float)

    return _minimise(loss, scale, l2, present, tolerance=_START)


@jax.jit
def _negative_pseudo_likelihood_of(
    slopes: Array, couplings: Array, rows: Array, scale: Scale
) -> tuple[Array, Array, Array]:
    z = (rows.astype(jnp.float32) - scale.rates[None, :]) / scale.deviations[None, :]
    return _negative_pseudo_likelihood(slopes, couplings, z, scale)


@jax.jit
def _negative_pseudo_likelihood(slopes: Array, couplings: Array, z: Array, scale: Scale) -> tuple[Array, Array, Array]:
    """Minus the mean of ``sum_i log p(s_i | rest)`` and its gradient, from standardised words."""
    n_rows = z.shape[0]
    states = z * scale.deviations[None, :] + scale.rates[None, :]
    total = (slopes[None, :] + z @ couplings) / scale.deviations[None, :]
    value = (units.log_normaliser(total) - states * total).sum() / n_rows
    residual = (units.mean(total) - states) / scale.deviations[None, :]
    crossed = residual.T @ z / n_rows
    return value, residual.mean(axis=0), crossed + crossed.T


def _minimise(
    loss: Callable[..., tuple],
    scale: Scale,
    l2: float,
    present: Bool[np.ndarray, " couplings"],
    *,
    tolerance: float,
    start: PairwiseModel | None = None,
    most_steps: int = 2000,
) -> PairwiseModel:
    """Minimise a loss of ``(a, K)``, which returns its value and gradients, plus the penalty, by L-BFGS from
    ``K = 0`` or a model.

    ``tolerance``: largest entry of the gradient, in units of a standardised statistic.
    """
    n_units = len(scale.rates)
    upper = tuple(ends[present] for ends in np.triu_indices(n_units, 1))
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

    begin = np.concatenate([scale.deviations * (np.log(scale.rates) - np.log1p(-scale.rates)), np.zeros(len(upper[0]))])
    if start is not None:
        raw = np.asarray(start.couplings, float)
        deviations = scale.deviations[:, None] * scale.deviations[None, :]
        slopes = scale.deviations * (np.asarray(start.biases, float) + raw @ scale.rates)
        begin = np.concatenate([slopes, (raw * deviations)[upper]])
    options = {"gtol": tolerance, "ftol": tolerance**2 / 10, "maxiter": most_steps, "maxcor": 20}
    found = minimize(value_and_gradient, begin, jac=True, method="L-BFGS-B", options=options)
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
    return streamed_moments(
        model, sampler, state, key, n_draws=40, n_burn_in=200 if model.n_units <= _MANY_UNITS else 100
    )
