"""What a fitted model is compared with a recording by: activity, correlations, and the specific heat."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int, PRNGKeyArray

from secateur import sampling
from secateur.model.arrays import AnyArray
from secateur.model.machine import Parameters
from secateur.model.moments import N_GROUPS
from secateur.model.pairwise import PairwiseModel
from secateur.model.randomness import child_key
from secateur.recordings.fitting import Model

N_CHAINS = 1024
_N_BURN_IN = 200
_N_SWEEPS = 4
_FEWEST_DRAWS = 4  # per chain, so that the chains can be seen to have mixed


def draw_words(model: Model, key: PRNGKeyArray, n_words: int) -> Float[np.ndarray, "words units"]:
    """Words drawn from a model: at least ``n_words``, from 1,024 chains, four sweeps apart."""
    n_draws = max(_FEWEST_DRAWS, -(-n_words // N_CHAINS))
    schedule: dict[str, Any] = {"n_draws": n_draws, "n_sweeps": _N_SWEEPS, "n_burn_in": _N_BURN_IN}
    drawn = sampling.sample(model, key, n_chains=N_CHAINS, **schedule)[0]
    return np.asarray(drawn).reshape(-1, drawn.shape[-1])


def correlations(states: AnyArray) -> Float[np.ndarray, "units units"]:
    """Pearson correlation of every pair of units; NaN on the diagonal and where a unit never changes."""
    rows = np.asarray(states, np.float32)  # counts below 2^24 are exact
    rates = rows.mean(axis=0, dtype=float)
    products = sum((chunk.T @ chunk).astype(float) for chunk in np.array_split(rows, 1 + len(rows) // 2**20))
    covariance = products / len(rows) - np.outer(rates, rates)
    scale = np.sqrt(covariance.diagonal())
    with np.errstate(invalid="ignore", divide="ignore"):
        found = covariance / np.outer(scale, scale)
    np.fill_diagonal(found, np.nan)
    return found


def population_counts(states: AnyArray) -> Float[np.ndarray, " counts"]:
    """Probability ``P(K)`` that ``K = 0..n`` units are active in a bin."""
    rows = np.asarray(states)
    return np.bincount(rows.sum(axis=1).astype(int), minlength=rows.shape[1] + 1) / len(rows)


def rank_frequencies(states: AnyArray, n_ranks: int) -> Float[np.ndarray, " ranks"]:
    """Frequencies of the most frequent words, largest first; NaN beyond the last word."""
    packed = np.packbits(np.asarray(states).astype(bool), axis=1)
    counts = np.unique(packed, axis=0, return_counts=True)[1]
    largest = np.sort(counts)[::-1][:n_ranks] / len(packed)
    return np.pad(largest, (0, n_ranks - len(largest)), constant_values=np.nan)


def choose_triplets(n_units: int, n_triplets: int, key: PRNGKeyArray) -> Int[np.ndarray, "triplets 3"]:
    """Different triplets of units: all of them, or ``n_triplets`` at random."""
    everyone = np.array([(i, j, k) for k in range(n_units) for j in range(k) for i in range(j)], int).reshape(-1, 3)
    if len(everyone) <= n_triplets:
        return everyone
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    return everyone[np.sort(rng.permutation(len(everyone))[:n_triplets])]


def triplet_correlations(states: AnyArray, triplets: Int[np.ndarray, "triplets 3"]) -> Float[np.ndarray, " triplets"]:
    """Third central moment ``<(s_i - r_i)(s_j - r_j)(s_k - r_k)>`` of every triplet."""
    deviations = np.ascontiguousarray((np.asarray(states, np.float32) - np.mean(states, axis=0, dtype=np.float32)).T)
    return np.array([(deviations[i] * deviations[j] * deviations[k]).mean(dtype=float) for i, j, k in triplets])


class SpecificHeat(NamedTuple):
    """Specific heat at each temperature, and its standard error between groups of chains."""

    values: Float[np.ndarray, " temperatures"]
    errors: Float[np.ndarray, " temperatures"]


def specific_heat(
    model: Model, temperatures: Float[np.ndarray, " temperatures"], key: PRNGKeyArray, n_draws: int = 20
) -> SpecificHeat:
    """``Var(E) / T^2`` per unit at temperatures ``T``, where all parameters are divided by ``T`` (dimensionless).

    ``E`` is the energy of the model at ``T = 1``, in nats; of a machine with hidden units that of all its units, and
    then per unit of all layers. Sampled, 1,024 chains per temperature (Tkacik et al. 2015).
    """
    values, errors = [], []
    for number, temperature in enumerate(temperatures):
        energies = _energies(model, float(temperature), child_key(key, number), n_draws)
        groups = energies.reshape(N_GROUPS, -1).astype(float)
        scale = temperature**2 * model.n_units
        values.append(groups.var() / scale)
        left_out = np.array([np.delete(groups, g, axis=0).var() for g in range(N_GROUPS)]) / scale
        errors.append(np.sqrt((N_GROUPS - 1) / N_GROUPS * ((left_out - left_out.mean()) ** 2).sum()))
    return SpecificHeat(np.array(values), np.array(errors))


def _energies(model: Model, temperature: float, key: PRNGKeyArray, n_draws: int) -> Float[np.ndarray, "chains draws"]:
    """Energies (nats, parameters not divided) of states drawn at a temperature."""
    schedule: dict[str, Any] = {"n_draws": n_draws, "n_sweeps": _N_SWEEPS, "n_burn_in": _N_BURN_IN}
    draws = sampling.sample(_divided(model, temperature), key, n_chains=N_CHAINS, **schedule)
    return np.asarray(draws.energies).T * temperature


def _divided(model: Model, temperature: float) -> Model:
    """The model with all parameters divided."""
    if isinstance(model, PairwiseModel):
        return PairwiseModel(np.asarray(model.biases) / temperature, np.asarray(model.couplings) / temperature)
    weights, biases = (tuple(a / np.float32(temperature) for a in part) for part in model.parameters)
    return model.with_parameters(Parameters(weights, biases))
