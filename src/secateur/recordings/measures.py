"""What a fitted model is compared with a recording by: activity and correlations."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int, PRNGKeyArray
from scipy.special import comb, expit, softmax

from secateur import likelihood, sampling
from secateur.model import enumeration
from secateur.model.arrays import AnyArray
from secateur.model.pairwise import PairwiseModel
from secateur.model.pairwise_enumeration import all_states
from secateur.recordings.fitting import Model
from secateur.recordings.folds import MANY_UNITS

N_CHAINS = 1024
_N_BURN_IN = 500
_N_SWEEPS = 10
_FEWEST_DRAWS = 4  # per chain, so that the chains can be seen to have mixed
_VALUES = 2**24  # states at a time
_MOST_SUMMED = 16  # units whose every word is given its probability


def draw_words(model: Model, key: PRNGKeyArray, n_words: int) -> Float[np.ndarray, "words units"]:
    """Words drawn from a model, at least ``n_words``.

    Exact and independent draws where units are independent, or few enough that every word has its probability computed;
    else from 1,024 chains, ten sweeps apart (five beyond 200 units), tempered where they do not mix by themselves.
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
    n_sweeps, n_burn_in = (_N_SWEEPS, _N_BURN_IN) if n_units <= MANY_UNITS else (_N_SWEEPS // 2, _N_BURN_IN // 2)
    schedule: dict[str, Any] = {"n_draws": n_draws, "n_sweeps": n_sweeps, "n_burn_in": n_burn_in, "sampler": "auto"}
    drawn = sampling.sample(model, key, n_chains=N_CHAINS, **schedule)[0]
    return np.asarray(drawn).reshape(-1, drawn.shape[-1])


def correlations(states: AnyArray) -> Float[np.ndarray, "units units"]:
    """Pearson correlation of every pair of units; NaN on the diagonal and where a unit never changes."""
    rows = np.asarray(states)
    rates = rows.mean(axis=0, dtype=float)
    blocks = (block.astype(np.float32) for block in np.array_split(rows, -(-rows.size // _VALUES)))  # sums are exact
    products = sum((block.T @ block).astype(float) for block in blocks)
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
    numbers = np.arange(n_units + 1)
    pairs_below, triplets_below = comb(numbers, 2).astype(int), comb(numbers, 3).astype(int)
    total = int(triplets_below[-1])
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    chosen = np.arange(total) if total <= n_triplets else np.sort(rng.choice(total, n_triplets, replace=False))
    # Triplets i < j < k in the order of k, then j, then i: the combinatorial number system.
    k = np.searchsorted(triplets_below, chosen, "right") - 1
    rest = chosen - triplets_below[k]
    j = np.searchsorted(pairs_below, rest, "right") - 1
    return np.stack([rest - pairs_below[j], j, k], axis=1)


def triplet_correlations(states: AnyArray, triplets: Int[np.ndarray, "triplets 3"]) -> Float[np.ndarray, " triplets"]:
    """Third central moment ``<(s_i - r_i)(s_j - r_j)(s_k - r_k)>`` of every triplet."""
    rows = np.asarray(states)
    rates, sums = rows.mean(axis=0, dtype=np.float64).astype(np.float32), np.zeros(len(triplets))
    for block in np.array_split(rows, -(-rows.size // _VALUES)):
        deviations = np.ascontiguousarray((block - rates).T)
        sums += [(deviations[i] * deviations[j] * deviations[k]).sum(dtype=float) for i, j, k in triplets]
    return sums / len(rows)
