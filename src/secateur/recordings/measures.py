"""What a fitted model is compared with a recording by: activity and correlations."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int, PRNGKeyArray
from scipy.special import expit, softmax

from secateur import likelihood, sampling
from secateur.model import enumeration
from secateur.model.arrays import AnyArray
from secateur.model.pairwise import PairwiseModel
from secateur.model.pairwise_enumeration import all_states
from secateur.recordings.fitting import Model

N_CHAINS = 1024
_N_BURN_IN = 500
_N_SWEEPS = 10
_FEWEST_DRAWS = 4  # per chain, so that the chains can be seen to have mixed
_MOST_SUMMED = 16  # units whose every word is given its probability


def draw_words(model: Model, key: PRNGKeyArray, n_words: int) -> Float[np.ndarray, "words units"]:
    """Words drawn from a model, at least ``n_words``.

    Exact and independent draws where units are independent, or few enough that every word has its probability computed;
    else from 1,024 chains, ten sweeps apart, tempered where they do not mix by themselves.
    """
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    if isinstance(model, PairwiseModel) and not np.any(model.couplings):
        return (rng.random((n_words, model.n_units)) < expit(np.asarray(model.biases))).astype(np.float32)
    n_units, *hidden = model.layer_sizes
    if n_units <= _MOST_SUMMED and (not hidden or enumeration.can_be_enumerated(tuple(hidden))):
        everything = all_states(n_units)
        probability = softmax(likelihood.log_probability(model, everything, 0.0))
        return everything[rng.choice(len(everything), n_words, p=probability)].astype(np.float32)
    n_draws = max(_FEWEST_DRAWS, -(-n_words // N_CHAINS))
    schedule: dict[str, Any] = {"n_draws": n_draws, "n_sweeps": _N_SWEEPS, "n_burn_in": _N_BURN_IN, "sampler": "auto"}
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
