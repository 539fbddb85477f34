"""Whether a ranking of neurons and couplings by Fisher information would come out again."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import numpy as np
import pandas as pd
from jaxtyping import PRNGKeyArray
from scipy.stats import spearmanr

from secateur.fisher.full_matrix import Of
from secateur.model.arrays import AnyArray
from secateur.model.randomness import child_key
from secateur.recordings.fitting import Model, check_words
from secateur.recordings.folds import blocks
from secateur.recordings.parameters import Convention, ParameterList, group_sums, parameter_list, unit_means

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
        ``correlation`` (Spearman, odd against even blocks), ``shuffled``, ``shuffled_low``, ``shuffled_high`` (mean
        and range over shuffles), ``stable``; and the columns ``fisher_matrix`` and ``convention``.
    sentences
        The same in plain words.
    """

    table: pd.DataFrame
    sentences: tuple[str, ...]


def ranking_stability(
    model: Model,
    states: AnyArray,
    epochs: AnyArray,
    key: PRNGKeyArray,
    *,
    bin_size: float = math.nan,
    of: Of = "joint",
    convention: Convention = "0/1",
    n_shuffles: int = 20,
) -> RankingStability:
    """Spearman correlation of Fisher information between odd and even epochs, beside shuffled data.

    In each half the averages are taken over its words, hidden units filled in by the model, whose parameters stay
    those of the whole recording. Shuffling permutes every unit's bins within each half independently, so it keeps the
    rates in each half and destroys all coincidences beyond chance: what a ranking owes to rates alone is as stable
    there.

    Parameters and errors as in :func:`secateur.recordings.stiffness.stiffness`; ``n_shuffles``, at least 2.
    """
    words = check_words(states, epochs, model)
    if n_shuffles < 2:
        raise ValueError(f"n_shuffles must be at least 2, got {n_shuffles}; more give a finer range")
    parameters = parameter_list(model)
    found = blocks(words, epochs, bin_size)
    half_of = found.numbers % 2
    halves = [words[half_of == half] for half in (0, 1)]
    rng = np.random.default_rng(np.asarray(jax.random.key_data(child_key(key, "shuffles"))))

    groups = np.sort(half_of)

    def information(rows: list[np.ndarray]) -> np.ndarray:
        means = unit_means(model, np.concatenate(rows))
        return group_sums(parameters, means, groups, of, convention).information(np.eye(2))

    real = information(halves)
    columns = [np.ascontiguousarray(half.T) for half in halves]  # units first, so that shuffling runs along memory
    shuffled = np.array([information([rng.permuted(c, axis=1).T for c in columns]) for _ in range(n_shuffles)])
    table = _table(parameters, real, shuffled)
    table.insert(0, "fisher_matrix", of)
    table.insert(1, "convention", convention)
    how = f"odd against even of {found.sentence}"
    sentences = [_sentence(row, how) for row in table.to_dict("records")]
    if parameters.layers[-1] > 0 or convention == "theta-scaled":
        sentences.append("Parameters were those of the whole recording in both halves, which flatters the agreement.")
    return RankingStability(table, tuple(sentences))


def _table(parameters: ParameterList, real: np.ndarray, shuffled: np.ndarray) -> pd.DataFrame:
    """``real``: ``(halves, parameters)``; ``shuffled``: the same for every shuffle."""
    touching, n = parameters.shares().ceil(), parameters.n_couplings
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


def _sentence(row: dict, how: str) -> str:
    beside = f"{row['shuffled']:.2f} ({row['shuffled_low']:.2f} to {row['shuffled_high']:.2f}) in shuffled data"
    numbers = f"rank correlation {row['correlation']:.2f}, {how}; {beside}"
    name = f"The ranking of {row['ranking']} ({row['fisher_matrix']}, {row['convention']})"
    if not row["stable"]:
        return f"{name} is not stable: {numbers}. Do not read single ranks from it."
    if row["ranking"] != "couplings beyond rates" and row["correlation"] <= row["shuffled_high"]:
        return f"{name} is stable, as stable as firing rates alone make it: {numbers}."
    return f"{name} is stable: {numbers}."
