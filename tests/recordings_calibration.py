"""What is said of recordings, over 200 simulated ones: verdicts on gains, and intervals of Fisher information.

Small pairwise models are fitted to all recordings at once by Newton's method on the exact likelihood; what is judged
are the package's own blocks, folds, intervals and verdicts. Recordings are *noise* (independent bins and units), words
of a known pairwise model, or such words each of which lasts a random number of bins, as activity with a *memory* does.
"""

from __future__ import annotations

from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, Float

from pairwise_brute_force import PairwiseBruteForce, small_model
from secateur.model.pairwise import PairwiseModel
from secateur.recordings.comparison import summarise
from secateur.recordings.folds import Folds, folds
from secateur.recordings.intervals import BlockSums, Intervals, intervals
from secateur.recordings.parameters import Convention, parameter_list

N_UNITS = 6
EXACT = PairwiseBruteForce(PairwiseModel(np.zeros(N_UNITS), np.zeros((N_UNITS, N_UNITS))))
STATISTICS, PAIRS = EXACT.statistics, EXACT.pairs
"""All states' sufficient statistics, couplings first, and the units of each coupling."""


@partial(jax.jit, static_argnames="steps")
def _newton(targets: Float[Array, "fits k"], statistics: Float[Array, "states k"], steps: int = 30) -> Array:
    """Parameters of many exponential families at their maximum likelihood; steps are halved where they are long."""

    def fit(target: Array) -> Array:
        def step(theta: Array, _: None) -> tuple[Array, None]:
            p = jax.nn.softmax(statistics @ theta)
            mean = p @ statistics
            curvature = (statistics * p[:, None]).T @ statistics - mean[:, None] * mean[None, :]
            move = jnp.linalg.solve(curvature + 1e-9 * jnp.eye(mean.shape[0]), target - mean)
            return theta + move / jnp.maximum(1, jnp.abs(move).max()), None

        return jax.lax.scan(step, jnp.zeros_like(target), None, length=steps)[0]

    return jax.vmap(fit)(targets)


def fitted(words_means: np.ndarray, n_words: np.ndarray, couplings: bool = True) -> np.ndarray:
    """Parameters ``(fits, k)`` from mean statistics, with the pseudo-word of the package; without couplings zeros."""
    k = len(PAIRS)
    pseudo = np.concatenate([np.full(k, 0.25), np.full(N_UNITS, 0.5)])
    targets = (words_means * n_words[:, None] + pseudo) / (n_words[:, None] + 1)
    if not couplings:
        rates = targets[:, k:]
        return np.concatenate([np.zeros((len(targets), k)), np.log(rates) - np.log1p(-rates)], axis=1)
    with jax.enable_x64(True):
        return np.asarray(_newton(jnp.asarray(targets), jnp.asarray(STATISTICS)))


def log_probabilities(parameters: np.ndarray) -> np.ndarray:
    """Of every state, ``(fits, states)``, nats."""
    weights = parameters @ STATISTICS.T
    return weights - np.logaddexp.reduce(weights, axis=1, keepdims=True)


class Simulated(NamedTuple):
    """Numbers of states ``(repeats, bins)`` in ``EXACT.states``, epochs ``(bins,)``, and their true probabilities."""

    states: np.ndarray
    epochs: np.ndarray
    probabilities: np.ndarray


@cache
def simulated(kind: str, n_epochs: int, n_bins: int, n_repeats: int) -> Simulated:
    """Recordings: ``"noise"``, independent bins and units; ``"pairwise"``, independent bins; ``"memory"``."""
    rng = np.random.default_rng([n_epochs, n_bins, n_repeats])
    if kind == "noise":
        rates = np.linspace(0.08, 0.3, N_UNITS)
        p = np.prod(np.where(EXACT.states > 0, rates, 1 - rates), axis=1)
    else:
        p = PairwiseBruteForce(small_model(N_UNITS)).probabilities
    drawn = rng.choice(len(p), size=(n_repeats, n_bins), p=p)
    if kind == "memory":  # a word stays with probability 3/4: an autocorrelation time of 7 bins
        place = np.where(rng.random((n_repeats, n_bins)) < 0.25, np.arange(n_bins), 0)
        drawn = np.take_along_axis(drawn, np.maximum.accumulate(place, axis=1), axis=1)
    return Simulated(drawn, np.arange(n_bins) * n_epochs // n_bins, p)


class Gain(NamedTuple):
    """Of one recording: the row of the pairwise model's gain per bin, and what it is on endless new bins."""

    row: dict
    truth: float


@cache
def gains(kind: str, n_epochs: int, n_bins: int, n_repeats: int, all_folds: bool = True) -> list[Gain]:
    """The gain of the pairwise over the independent model in every recording, as the package judges it."""
    found = simulated(kind, n_epochs, n_bins, n_repeats)
    splits = [
        folds(EXACT.states[row].astype(np.uint8), found.epochs, jax.random.key(number))
        for number, row in enumerate(found.states)
    ]
    counts = [
        np.bincount(row[split.numbers != fold], minlength=len(EXACT.states))
        for split, row in zip(splits, found.states, strict=True)
        for fold in range(split.n_folds)
    ]
    n_words = np.sum(counts, axis=1).astype(float)
    means = np.array(counts) @ STATISTICS / n_words[:, None]
    tables = [log_probabilities(fitted(means, n_words, couplings)) for couplings in (False, True)]
    results, start = [], 0
    for split, row in zip(splits, found.states, strict=True):
        own = [table[start : start + split.n_folds] for table in tables]
        seen = np.array(counts[start : start + split.n_folds])
        start += split.n_folds
        results.append(_gain(split, row, own, seen, found.probabilities))
    return results


def _gain(split: Folds, row: np.ndarray, tables: list[np.ndarray], seen: np.ndarray, truth: np.ndarray) -> Gain:
    rows: list[dict] = []
    errors: dict[tuple[str, int], float] = {}
    trained: dict[str, list[float]] = {}
    for name, table in zip(("independent", "pairwise"), tables, strict=True):
        values = table[split.numbers, row]
        for block in range(split.blocks.n_blocks):
            bins = split.blocks.numbers == block
            fold = int(split.numbers[bins][0])
            spikes = int(EXACT.states[row[bins]].sum())
            sums = {"bins": int(bins.sum()), "spikes": spikes, "log_likelihood": float(values[bins].sum())}
            rows.append({"model": name, "fold": fold, "block": block, **sums})
        errors |= {(name, fold): 0.0 for fold in range(split.n_folds)}
        trained[name] = list((seen * table).sum(axis=1) / seen.sum(axis=1))
    table = summarise(pd.DataFrame(rows), errors, trained)
    gain = table[(table["quantity"] == "gain over independent") & (table["unit"] == "nats/bin")].iloc[0]
    share = np.bincount(split.numbers) / len(row)
    return Gain(gain.to_dict(), float(share @ (tables[1] - tables[0]) @ truth))


def model_of(parameters: np.ndarray) -> PairwiseModel:
    """The model with these parameters, couplings first."""
    couplings = np.zeros((N_UNITS, N_UNITS))
    for value, (i, j) in zip(parameters, PAIRS, strict=False):
        couplings[i, j] = couplings[j, i] = value
    return PairwiseModel(parameters[len(PAIRS) :], couplings)


def true_information(convention: Convention) -> tuple[np.ndarray, np.ndarray]:
    """Of every parameter and every unit of the model that words are drawn from."""
    model = small_model(N_UNITS)
    listed = parameter_list(model)
    change = listed.change(convention).toarray()
    information = (change @ PairwiseBruteForce(model).covariance() @ change.T).diagonal()
    return information, listed.shares().ceil() @ information


@cache
def information_intervals(
    kind: str, n_blocks: int, n_bins: int, n_repeats: int, convention: Convention
) -> list[Intervals]:
    """The intervals of every recording, each of whose epochs is a block."""
    found = simulated(kind, n_blocks, n_bins, n_repeats)
    counts = np.array([np.bincount(row, minlength=len(EXACT.states)) for row in found.states])
    fits = fitted(counts @ STATISTICS / n_bins, np.full(n_repeats, float(n_bins)))
    results = []
    for row, theta, p in zip(found.states, fits, np.exp(log_probabilities(fits)), strict=True):
        cells = np.bincount(found.epochs * len(EXACT.states) + row, minlength=n_blocks * len(EXACT.states))
        sums = BlockSums(cells.reshape(n_blocks, -1) @ STATISTICS, np.bincount(found.epochs))
        mean = p @ STATISTICS
        curvature = (STATISTICS * p[:, None]).T @ STATISTICS - np.outer(mean, mean)
        results.append(intervals(parameter_list(model_of(theta)), sums, convention, curvature=curvature))
    return results
