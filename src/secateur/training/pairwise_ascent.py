"""Stochastic ascent of the likelihood of a pairwise model, in standardised coordinates.

Persistent Gibbs chains (Younes 1989; Tieleman 2008) give the gradient, the data's own curvature the steps (as Ferrari
2016, Phys. Rev. E 94:023301, but without inverting a matrix of all parameters), and the second half of the steps is
averaged (Polyak & Juditsky 1992). In the first half one chain a step starts anew from a burst of all units: a second
state that the data never visit would hold such chains, and so is unlearnt.
"""

from __future__ import annotations

from typing import Any, NamedTuple

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
    present: Bool[np.ndarray, "units units"],
) -> PairwiseModel:
    """The model after so many steps; couplings that are not ``present`` stay as they are."""
    narrow = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), (scale, target))
    curvature = data_curvature(words, scale, l2, child_key(key, "rows"))
    rates = jnp.asarray(np.geomspace(_FIRST_RATE, _LAST_RATE, n_steps) / curvature.excess, jnp.float32)
    keys = jax.random.split(child_key(key, "steps"), n_steps)
    moving = jnp.asarray(present & ~np.eye(len(present), dtype=bool), jnp.float32)
    arrays = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), curvature)
    return PairwiseModel(*_stochastic_ascent(model, *narrow, jnp.float32(l2), chains, arrays, moving, rates, keys))


_FIRST_RATE, _LAST_RATE = 0.1, 0.02
"""Step lengths of the stochastic ascent relative to a Newton step; 0.3 diverged on recordings of 44 and 50 units."""

_RIDGE = 0.3  # keeps the noise of directions without curvature small; typical curvature is 1
_LARGEST = 10.0  # curvature along a direction that a step of the first rate bears, with room to spare
_ROWS = 20_000  # at a time, and at most for the largest curvature


class Curvature(NamedTuple):
    """What the second derivative of minus the log-likelihood of the data is taken for.

    Of Gaussian ``z`` with correlations ``R`` it takes a change ``K`` of the couplings to ``R K R``, and one of the
    slopes ``a`` to ``R a`` (Isserlis 1918). Spikes come in bursts, so every coupling is scaled besides by the standard
    deviation that ``z_i z_j`` has in the data.

    Attributes
    ----------
    inverse
        Of ``R`` with a ridge, ``(units, units)``.
    deviations
        Of ``z_i z_j``, and what the penalty adds to its curvature; at least 1, that of independent units.
    excess
        How many times the stiffest direction is stiffer than steps would bear; at least 1.
    """

    inverse: Float[AnyArray, "units units"]
    deviations: Float[AnyArray, "units units"]
    excess: Float[AnyArray, ""] | float

    def newton_step(self, slopes: AnyArray, couplings: AnyArray) -> tuple[Any, Any]:
        """What is subtracted from ``a`` and symmetric ``K``, given their gradients."""
        step = self.inverse @ (couplings / self.deviations) @ self.inverse / self.deviations
        return self.inverse @ slopes, (step + step.T) / 2


def data_curvature(words: np.ndarray, scale: Scale, l2: float, key: PRNGKeyArray) -> Curvature:
    """The curvature for words ``(bins, units)``, from all of them but for its excess."""
    n_rows, n_units = words.shape
    correlations, squares = (np.zeros((n_units, n_units)) for _ in range(2))
    for block in np.array_split(words, -(-n_rows // _ROWS)):
        z = _standardised(block, scale)
        correlations += z.T @ z
        squares += (z * z).T @ (z * z)
    correlations, variances = correlations / n_rows, squares / n_rows - (correlations / n_rows) ** 2
    penalty = l2 / np.outer(scale.deviations, scale.deviations) ** 2
    inverse = np.linalg.inv(correlations + _RIDGE * np.eye(n_units))
    found = Curvature(inverse, np.sqrt(np.maximum(variances, 1.0) + penalty), 1.0)
    used = words[np.sort(np.asarray(jax.random.permutation(key, n_rows))[:_ROWS])]
    along = np.linalg.eigh(correlations)[1][:, -1]
    return found._replace(excess=max(1.0, _largest(found, _standardised(used, scale), along) / _LARGEST))


def _standardised(words: np.ndarray, scale: Scale) -> Float[np.ndarray, "rows units"]:
    return ((words - scale.rates) / scale.deviations).astype(np.float32)


def _largest(curvature: Curvature, z: np.ndarray, along: np.ndarray) -> float:
    """Largest curvature of the rows beyond what ``curvature`` says, by power iteration from bursts of all units.

    Its start knows nothing of the rows' noise, which it would follow after many more iterations.
    """
    slopes: AnyArray = along
    couplings: AnyArray = np.outer(along, along)
    size = 1.0
    couple = 1 - np.eye(len(along))
    for _ in range(4):
        couplings = couple * couplings
        length = float(np.sqrt((slopes**2).sum() + (couplings**2).sum() / 2))
        slopes, couplings = (np.asarray(part / length, np.float32) for part in (slopes, couplings))
        image = 0.5 * ((z @ couplings) * z).sum(axis=1) + z @ slopes  # of every row, what the direction makes of it
        image -= image.mean()
        crossed = couple * (z.T @ (z * image[:, None]))
        slopes, couplings = curvature.newton_step(z.T @ image / len(z), crossed / len(z))
        size = float(np.sqrt((slopes**2).sum() + ((couple * couplings) ** 2).sum() / 2))
    return size


@jax.jit
def _stochastic_ascent(
    model: PairwiseModel,
    scale: Scale,
    target: Statistics,
    l2: Array,
    chains: Array,
    curvature: Curvature,
    moving: Array,
    rates: Array,
    keys: Array,
) -> tuple[Array, Array]:
    deviations = scale.deviations[:, None] * scale.deviations[None, :]

    def as_model(slopes: Array, couplings: Array) -> PairwiseModel:
        return PairwiseModel.of_arrays(*scale.model_parameters(slopes, couplings))

    def body(carry: Any, step: tuple[Array, ...]) -> tuple[Any, None]:
        (slopes, couplings), totals, (chains,) = carry
        rate, share, key, number = step
        restarted = (share == 0) & (jnp.arange(chains.shape[0]) == number % chains.shape[0])
        chains = jnp.where(restarted[:, None], jnp.ones_like(chains), chains)
        (chains,) = swept(as_model(slopes, couplings), (chains,), key, 1)
        found = Statistics((chains.mean(axis=0),), (chains.T @ chains / chains.shape[0],))
        d_slopes, d_couplings = scale.differences(found, target)
        penalised = moving * (d_couplings + l2 * couplings / deviations**2)
        step_slopes, step_couplings = curvature.newton_step(d_slopes, penalised)
        new = slopes - rate * step_slopes, couplings - rate * moving * step_couplings
        return (new, tuple(t + share * n for t, n in zip(totals, new, strict=True)), (chains,)), None

    couplings = model.couplings * deviations
    start = (scale.deviations * (model.biases + model.couplings @ scale.rates), (couplings + couplings.T) / 2)
    n_steps = rates.shape[0]
    shares = (jnp.arange(n_steps) >= n_steps // 2).astype(jnp.float32) / (n_steps - n_steps // 2)
    nothing, steps = tuple(map(jnp.zeros_like, start)), (rates, shares, keys, jnp.arange(n_steps))
    (_, averaged, _), _ = jax.lax.scan(body, (start, nothing, (chains,)), steps)
    result = as_model(*averaged)
    return result.biases, result.couplings
