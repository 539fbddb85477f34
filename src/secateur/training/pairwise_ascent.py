"""Stochastic ascent of the likelihood of a pairwise model, in standardised coordinates.

Persistent Gibbs chains (Younes 1989; Tieleman 2008) give the gradient, the data's own curvature the steps (Ferrari
2016, Phys. Rev. E 94:023301), and the second half of the steps is averaged (Polyak & Juditsky 1992).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from secateur.model.arrays import AnyArray
from secateur.model.moments import Statistics
from secateur.model.pairwise import PairwiseModel
from secateur.model.randomness import child_key
from secateur.sampling.draws import swept


class Scale(NamedTuple):
    """Mean and standard deviation of every unit, which take standardised parameters to the model's and back."""

    rates: Float[AnyArray, " units"]
    deviations: Float[AnyArray, " units"]

    def model_parameters(self, slopes: AnyArray, couplings: AnyArray) -> tuple[AnyArray, AnyArray]:
        """Biases and couplings from ``a`` and symmetric ``K``."""
        raw = couplings / (self.deviations[:, None] * self.deviations[None, :])
        return slopes / self.deviations - raw @ self.rates, raw

    def differences(self, model: Statistics, target: Statistics) -> tuple[AnyArray, AnyArray]:
        """``<z_i>`` and ``<z_i z_j>`` of the model less those of the data, the gradient with respect to ``-a, -K``."""
        rates, coincidences = (
            m - t
            for m, t in zip((*model.rates, *model.coincidences), (*target.rates, *target.coincidences), strict=True)
        )
        crossed = rates[:, None] * self.rates[None, :]
        centred = coincidences - crossed - crossed.T
        return rates / self.deviations, centred / (self.deviations[:, None] * self.deviations[None, :])


def ascend(
    model: PairwiseModel,
    words: np.ndarray,
    scale: Scale,
    target: Statistics,
    l2: float,
    chains: Array,
    key: PRNGKeyArray,
    n_steps: int,
    present: Bool[np.ndarray, " couplings"],
) -> PairwiseModel:
    """The model after so many steps; couplings that are not ``present`` stay as they are."""
    narrow = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), (scale, target))
    steps = _newton_steps(words, scale, l2, child_key(key, "rows"), present)
    first = min(_FIRST_RATE, _RATE_PER_CHAIN * len(chains) / steps.shape[0])
    rates = jnp.asarray(np.geomspace(first, min(first, _LAST_RATE), n_steps), jnp.float32)
    keys = jax.random.split(child_key(key, "steps"), n_steps)
    return PairwiseModel(*_stochastic_ascent(model, *narrow, jnp.float32(l2), chains, steps, rates, keys))


_FIRST_RATE, _LAST_RATE = 0.1, 0.02
"""Step lengths of the stochastic ascent relative to a Newton step; 0.3 diverged on recordings of 44 and 50 units."""

_RATE_PER_CHAIN = 0.06  # longest step is this times chains / parameters: each step carries the noise of all parameters

MOST_NEWTON = 5000  # parameters (99 units) up to which the curvature is inverted, a few seconds
_RIDGE = 0.1  # keeps the noise of directions without curvature small; typical curvature is 1


def _newton_steps(
    words: np.ndarray, scale: Scale, l2: float, key: PRNGKeyArray, present: Bool[np.ndarray, " couplings"]
) -> Array:
    """Inverse curvature of minus the log-likelihood, from the covariance of the data (Ferrari 2016).

    ``(parameters, parameters)``, order ``K, a``; of larger models a step length ``(parameters,)`` short enough for the
    stiffest direction. Zero for couplings that are not ``present``.
    """
    moving = np.concatenate([present, np.ones(words.shape[1], bool)])
    n_rows, n_units = words.shape
    n_parameters = n_units * (n_units + 1) // 2
    n_used = min(n_rows, max(20_000, 4 * min(n_parameters, MOST_NEWTON)))
    used = words[np.sort(np.asarray(jax.random.permutation(key, n_rows))[:n_used])]
    z = ((used - scale.rates) / scale.deviations).astype(np.float32)
    first, second = np.triu_indices(n_units, 1)
    penalty = np.concatenate([l2 / (scale.deviations[first] * scale.deviations[second]) ** 2, np.zeros(n_units)])
    if n_parameters <= MOST_NEWTON:
        statistics = np.hstack([z[:, first] * z[:, second], z])
        statistics -= statistics.mean(axis=0)
        statistics = statistics[:, moving]
        curvature = (statistics.T @ statistics).astype(np.float64) / n_used
        steps = np.zeros((n_parameters, n_parameters), np.float32)
        steps[np.ix_(moving, moving)] = np.linalg.inv(curvature + np.diag(penalty[moving] + _RIDGE))
        return jnp.asarray(steps)
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
    return jnp.asarray(moving / (largest + penalty), jnp.float32)


@jax.jit
def _stochastic_ascent(
    model: PairwiseModel,
    scale: Scale,
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
