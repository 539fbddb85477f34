"""Whether a ranking of neurons and couplings by Fisher information would come out again."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import numpy as np
import pandas as pd
from jaxtyping import Float, PRNGKeyArray
from scipy.stats import spearmanr

from secateur.model.arrays import AnyArray
from secateur.model.pairwise import PairwiseModel
from secateur.model.randomness import child_key
from secateur.recordings.fitting import check_words
from secateur.recordings.folds import FEWEST_BLOCKS, Blocks, blocks
from secateur.recordings.parameters import Convention, ParameterList, group_sums, parameter_list
from secateur.training import fit_pairwise

STABLE = 0.7
"""Rank correlation between halves below which a ranking is called not stable: half of the variance of the ranks."""


@dataclass(frozen=True)
class RankingStability:
    """Agreement of rankings between the halves of a recording.

    Attributes
    ----------
    table
        One row per ranking: ``ranking`` (``"units"``: by the information of a unit's bias and couplings;
        ``"couplings"``: by their information; ``"couplings beyond rates"``: by its excess over shuffled data),
        ``correlation`` (Spearman's, odd against even blocks), ``shuffled``, ``shuffled_low``, ``shuffled_high`` (mean
        and range over shuffles), ``stable``; and the column ``convention``.
    sentences
        The same in plain words.
    """

    table: pd.DataFrame
    sentences: tuple[str, ...]


def ranking_stability(
    states: AnyArray,
    epochs: AnyArray,
    key: PRNGKeyArray,
    *,
    bin_size: float = math.nan,
    convention: Convention = "0/1",
    n_shuffles: int = 20,
) -> RankingStability:
    """Agreement of the pairwise model's Fisher information between odd and even blocks, beside shuffled data.

    The model is fitted to each half by itself. In the conventions 0/1 and +-1 its information follows from the averages
    that a fit meets, those of the half; theta-scaled it takes the fitted parameters. Shuffling permutes every unit's
    bins within each half independently, so it keeps the rates in each half and destroys all coincidences beyond chance:
    what a ranking owes to rates alone is as stable there. Couplings of shuffled data are those of first order in their
    covariances, which are near zero.

    Parameters and errors as in :func:`secateur.recordings.stiffness.stiffness`; ``n_shuffles``, at least 2.
    """
    words = check_words(states, epochs)
    if n_shuffles < 2:
        raise ValueError(f"n_shuffles must be at least 2, got {n_shuffles}; more give a finer range")
    n_units = words.shape[1]
    listed = parameter_list(PairwiseModel(np.zeros(n_units), np.zeros((n_units, n_units))))
    found = blocks(words, epochs, bin_size)
    half_of = found.numbers % 2
    halves = [words[half_of == half] for half in range(min(2, found.n_blocks))]
    if len(halves) < 2:
        halves = np.array_split(words, 2)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(child_key(key, "shuffles"))))
    own = child_key(key, "halves")
    real = np.array([_fitted(listed, half, convention, child_key(own, h)) for h, half in enumerate(halves)])
    shuffled = np.array(
        [[_shuffled(listed, _rearranged(half, rng), convention) for half in halves] for _ in range(n_shuffles)]
    )
    table = _table(listed, real, shuffled)
    table["stable"] &= found.enough
    table.insert(0, "convention", convention)
    table.insert(1, "n_shuffles", n_shuffles)
    return RankingStability(table, tuple(_sentence(row, found) for row in table.to_dict("records")))


def _rearranged(half: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As many spikes of every unit, in bins at random: each unit shuffled by itself."""
    places = np.zeros(half.shape[::-1], np.uint8)
    for unit, n_spikes in enumerate(half.sum(axis=0, dtype=np.int64)):
        places[unit, rng.choice(len(half), n_spikes, replace=False, shuffle=False)] = 1
    return places.T


def _information(listed: ParameterList, rows: np.ndarray, convention: Convention) -> np.ndarray:
    everything = np.zeros(len(rows), int)
    return group_sums(listed, rows.astype(np.float32), everything, "joint", convention).information(np.ones((1, 1)))[0]


def _fitted(listed: ParameterList, half: np.ndarray, convention: Convention, key: PRNGKeyArray) -> np.ndarray:
    """Information of the pairwise model fitted to a half."""
    if convention != "theta-scaled":
        return _information(listed, half, convention)
    return parameter_list(fit_pairwise(half, key)[0]).values ** 2 * _information(listed, half, "0/1")


def _shuffled(listed: ParameterList, half: np.ndarray, convention: Convention) -> np.ndarray:
    """Information of the pairwise model of shuffled words."""
    if convention != "theta-scaled":
        return _information(listed, half, convention)
    sums = group_sums(listed, half.astype(np.float32), np.zeros(len(half), int), "joint", "0/1").first[0]
    means = (sums + 0.25) / (len(half) + 0.5)
    n = listed.n_couplings
    rates = means[n:]
    variances = rates * (1 - rates)
    first, second = listed.first[:n], listed.second[:n]
    couplings = (means[:n] - rates[first] * rates[second]) / (variances[first] * variances[second])
    drive = np.bincount(first, couplings * rates[second], len(rates))
    drive += np.bincount(second, couplings * rates[first], len(rates))
    values = np.concatenate([couplings, np.log(rates) - np.log1p(-rates) - drive])
    return values**2 * means * (1 - means)


def _table(
    listed: ParameterList,
    real: Float[np.ndarray, "halves parameters"],
    shuffled: Float[np.ndarray, "shuffles halves parameters"],
) -> pd.DataFrame:
    touching, n = listed.shares().ceil(), listed.n_couplings
    rows = []
    total = shuffled.sum(axis=0)
    others = (total[None] - shuffled) / (len(shuffled) - 1)  # the mean of all other shuffles, for each shuffle
    for name, of_real, of_shuffled in (
        ("units", (touching @ real.T).T, np.array([(touching @ one.T).T for one in shuffled])),
        ("couplings", real[:, :n], shuffled[:, :, :n]),
        ("couplings beyond rates", (real - total / len(shuffled))[:, :n], (shuffled - others)[:, :, :n]),
    ):
        null = np.array([_correlation(one) for one in of_shuffled])
        correlation = _correlation(of_real)
        stable = correlation >= STABLE and (name != "couplings beyond rates" or correlation > null.max())
        rows.append((name, correlation, null.mean(), null.min(), null.max(), stable))
    columns = ["ranking", "correlation", "shuffled", "shuffled_low", "shuffled_high", "stable"]
    return pd.DataFrame(rows, columns=columns)


def _correlation(halves: np.ndarray) -> float:
    """Spearman correlation; 0 where one half ranks nothing because all its values are equal."""
    if len(halves[0]) < 2 or (np.ptp(halves, axis=1) == 0).any():
        return 0.0
    return float(spearmanr(halves[0], halves[1]).statistic)


def _sentence(row: dict, found: Blocks) -> str:
    beside = f"{row['shuffled']:.2f} ({row['shuffled_low']:.2f} to {row['shuffled_high']:.2f}) in shuffled data"
    numbers = f"rank correlation {row['correlation']:.2f} between odd and even blocks; {beside}"
    name = f"The ranking of {row['ranking']} ({row['convention']})"
    if not found.enough:
        return f"{name} is not judged: fewer than {FEWEST_BLOCKS} blocks; {numbers}."
    if not row["stable"]:
        return f"{name} is not stable: {numbers}. Do not read single ranks from it."
    if row["ranking"] != "couplings beyond rates" and row["correlation"] <= row["shuffled_high"]:
        return f"{name} is stable, as stable as firing rates alone make it: {numbers}."
    return f"{name} is stable: {numbers}."
