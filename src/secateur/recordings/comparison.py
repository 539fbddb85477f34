"""Held-out likelihood of the independent model, the pairwise model and a machine, with intervals and verdicts.

Every fold is held out once. Differences of two models are taken bin by bin and summed over blocks, so that drift of the
recording, which all models share, cancels; their mean has the standard error of a ratio estimate and a Student interval
with one degree of freedom less than there are blocks. Training sets of different folds overlap, which makes held-out
differences of different blocks hang together: the variance is multiplied by ``1 + K / (K - 1)`` for ``K`` folds (Nadeau
& Bengio 2003, Machine Learning 52:239).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, PRNGKeyArray
from scipy import stats

from secateur.likelihood import LogPartition, rates_of
from secateur.model.arrays import AnyArray
from secateur.model.randomness import child_key
from secateur.recordings.fitting import (
    N_HIDDEN,
    Model,
    check_words,
    fit_machine,
    log_partition,
    log_probability,
)
from secateur.recordings.folds import FEWEST_BLOCKS, Folds, folds
from secateur.training import TrainingSettings, fit_independent, fit_pairwise


@dataclass(frozen=True)
class Comparison:
    """Held-out log-likelihood of several models on the same bins.

    Attributes
    ----------
    table
        One row per model, quantity and unit: ``model``, ``quantity``, ``unit``, ``value``, ``low``, ``high`` (NaN below
        eight blocks), ``log_z_error`` (nats; standard error of ``log Z``, contained in the interval), ``cost`` (of a
        gain: half of what it loses from training to held-out bins, which is what following the noise of the training
        bins costs), ``n_blocks``, and ``verdict`` on gains: ``"better"``, ``"worse"``, ``"not told"`` or ``"none"``.
    per_epoch
        One row per model and held-out block: ``model``, ``fold``, ``block``, ``bins``, ``spikes``, ``log_likelihood``
        (nats, summed over the block).
    folds
        The folds.
    sentences
        What was done and what came out, in plain words.
    """

    table: pd.DataFrame
    per_epoch: pd.DataFrame
    folds: Folds
    sentences: tuple[str, ...]


def compare(
    states: AnyArray,
    epochs: AnyArray,
    key: PRNGKeyArray,
    *,
    bin_size: float = math.nan,
    n_hidden: int | Sequence[int] = N_HIDDEN,
    settings: TrainingSettings | None = None,
    n_folds: int = 5,
    hold_out: Sequence[int] | None = None,
    level: float = 0.95,
    on_fit: Callable[[str, int], None] | None = None,
    on_model: Callable[[str, int, Model], None] | None = None,
) -> Comparison:
    """Held-out log-likelihood, per bin and per spike, of the independent model, the pairwise model and a machine.

    A model predicts *better* than another if the interval of its gain lies above zero. It predicts *worse* only if it
    lies below zero by more than following the noise of the training bins costs: more parameters always cost that much,
    also where they are right.

    Parameters
    ----------
    states, epochs, bin_size
        0/1 words ``(bins, units)``, epoch numbers ``(bins,)`` and bin size in seconds.
    key
        Random key.
    n_hidden, settings
        The machine, as in :func:`secateur.recordings.fitting.fit_machine`.
    n_folds, hold_out
        Folds, each of which is held out once, or the epochs to hold out (:func:`secateur.recordings.folds.folds`).
    level
        Coverage of the intervals.
    on_fit
        Called with the name of a model and the fold before each fit.
    on_model
        Called with the name, the fold and the model after each fit.

    Raises
    ------
    ValueError
        If the states are not 0/1, do not fit the epochs, or cannot be divided so.
    """
    words = check_words(states, epochs)
    split = folds(words, epochs, child_key(key, "folds"), n_folds=n_folds, hold_out=hold_out, bin_size=bin_size)
    rows: list[dict[str, Any]] = []
    log_zs: dict[tuple[str, int], LogPartition] = {}
    trained: dict[str, list[float]] = {}
    for fold in range(split.n_folds):
        test = split.held_out(fold)
        for name, model in fitted_models(words[~test], child_key(key, "fit", fold), n_hidden, settings, fold, on_fit):
            if on_model is not None:
                on_model(name, fold, model)
            log_z = log_partition(model, child_key(key, "log_partition", name, fold), rates_of(words[~test]))
            log_zs[name, fold] = log_z
            rows += per_block(
                name, fold, log_probability(model, words[test], log_z), words[test], split.blocks.numbers[test]
            )
            trained.setdefault(name, []).append(float(log_probability(model, words[~test], log_z).mean()))
    per_epoch = pd.DataFrame(rows)
    errors = {place: log_z.standard_error for place, log_z in log_zs.items()}
    table = summarise(per_epoch, errors, trained, level)
    return Comparison(table, per_epoch, split, _sentences(table, split, log_zs))


def fitted_models(
    words: np.ndarray,
    key: PRNGKeyArray,
    n_hidden: int | Sequence[int],
    settings: TrainingSettings | None,
    fold: int = -1,
    on_fit: Callable[[str, int], None] | None = None,
) -> Iterator[tuple[str, Model]]:
    """The three models by name, fitted one after the other."""
    hidden = "-".join(map(str, np.atleast_1d(n_hidden)))
    fits: dict[str, Callable[[], Model]] = {
        "independent": lambda: fit_independent(words),
        "pairwise": lambda: fit_pairwise(words, child_key(key, "pairwise"))[0],
        f"{'rbm' if np.size(n_hidden) == 1 else 'dbm'}-{hidden}": lambda: fit_machine(
            words, child_key(key, "machine"), n_hidden=n_hidden, settings=settings
        ),
    }
    for name, fit in fits.items():
        if on_fit is not None:
            on_fit(name, fold)
        yield name, fit()


def per_block(name: str, fold: int, values: np.ndarray, words: np.ndarray, blocks: np.ndarray) -> list[dict[str, Any]]:
    """Sums of the log-likelihood ``values`` of held-out words over their blocks."""
    different, place = np.unique(blocks, return_inverse=True)
    sums = {
        "bins": np.bincount(place),
        "spikes": np.bincount(place, weights=words.sum(axis=1)).astype(int),
        "log_likelihood": np.bincount(place, weights=values),
    }
    return [
        {"model": name, "fold": fold, "block": int(block), **{k: v[i].item() for k, v in sums.items()}}
        for i, block in enumerate(different)
    ]


def ratio_interval(
    sums: Float[np.ndarray, " blocks"],
    sizes: np.ndarray,
    n_folds: int = 1,
    log_z_error: float = 0.0,
    level: float = 0.95,
) -> tuple[float, float, float]:
    """A sum over blocks per unit of size, and its interval: value, low, high; NaN limits below eight blocks.

    ``sums``: of a log-likelihood or a difference over each block, nats. ``sizes``: bins or spikes of each block.
    ``log_z_error``: standard error of the whole sum, nats, from estimated partition functions. With ``n_folds`` of 1
    the models are fixed, and blocks independent given them.
    """
    total, n_blocks = max(float(sizes.sum()), 1.0), len(sums)
    value = float(sums.sum()) / total
    if n_blocks < FEWEST_BLOCKS:
        return value, math.nan, math.nan
    residuals = sums - value * sizes
    variance = n_blocks / (n_blocks - 1) * float((residuals**2).sum())
    overlap = 1 + n_folds / (n_folds - 1) if n_folds > 1 else 1.0
    width = float(stats.t.ppf((1 + level) / 2, n_blocks - 1)) * math.sqrt(overlap * variance + log_z_error**2) / total
    return value, value - width, value + width


def summarise(
    per_epoch: pd.DataFrame,
    errors: dict[tuple[str, int], float],
    trained: dict[str, list[float]],
    level: float = 0.95,
) -> pd.DataFrame:
    """The table of a comparison from sums over blocks, errors of ``log Z`` and log-likelihoods of training bins.

    ``trained``: nats per training bin of each model, one number per fold.
    """
    names = list(dict.fromkeys(per_epoch["model"]))
    each = {name: per_epoch[per_epoch["model"] == name] for name in names}
    bins, spikes, fold = (each[names[0]][column].to_numpy() for column in ("bins", "spikes", "fold"))
    in_fold = np.bincount(fold, weights=bins)
    rows = []
    for place, name in enumerate(names):
        for other in (None, *names[:place]):
            pair = [name] if other is None else [name, other]
            sums = each[name]["log_likelihood"].to_numpy()
            before = np.array(trained[name])
            if other is not None:
                sums = sums - each[other]["log_likelihood"].to_numpy()
                before = before - np.array(trained[other])
            of_folds = [math.hypot(*(errors[one, f] for one in pair)) for f in range(len(in_fold))]
            error = math.hypot(*(n * e for n, e in zip(in_fold, of_folds, strict=True)))
            optimism = float(in_fold @ before / in_fold.sum() - sums.sum() / bins.sum())
            for unit, sizes in (("nats/bin", bins), ("nats/spike", spikes)):
                value, low, high = ratio_interval(sums, sizes, len(in_fold), error, level)
                cost = math.nan if other is None else max(optimism, 0.0) / 2 * bins.sum() / max(sizes.sum(), 1)
                row: dict[str, Any] = {
                    "model": name,
                    "quantity": "log-likelihood" if other is None else f"gain over {other}",
                    "unit": unit,
                    "value": value,
                    "low": low,
                    "high": high,
                    "log_z_error": max(of_folds),
                    "cost": cost,
                    "n_blocks": len(sums),
                    "verdict": "" if other is None else _verdict(low, high, cost),
                }
                rows.append(row)
    return pd.DataFrame(rows)


def _verdict(low: float, high: float, cost: float) -> str:
    if math.isnan(low):
        return "none"
    return "better" if low > 0 else "worse" if high + cost < 0 else "not told"


def _sentences(table: pd.DataFrame, split: Folds, log_zs: dict[tuple[str, int], LogPartition]) -> tuple[str, ...]:
    found = [f"{split.sentence}."]
    gains = table[table["quantity"].str.startswith("gain") & (table["unit"] == "nats/bin")]
    found += [_gain_sentence(row) for row in gains.to_dict("records")]
    found += [
        f"log Z of {name} (fold {fold}), and so its likelihood, is {log_z.verdict}."
        for (name, fold), log_z in log_zs.items()
        if not log_z.verdict.trusted
    ]
    return tuple(found)


def _gain_sentence(row: dict[str, Any]) -> str:
    model, other = row["model"], row["quantity"].removeprefix("gain over ")
    if row["verdict"] == "none":
        return (
            f"No verdict on {model} against {other}: {row['value']:+.4f} nats/bin on {row['n_blocks']} held-out "
            f"block{'s' * (row['n_blocks'] > 1)}, and fewer than {FEWEST_BLOCKS} give no interval."
        )
    numbers = f"{row['value']:+.4f} nats/bin ({row['low']:+.4f} to {row['high']:+.4f})"
    if row["verdict"] == "not told" and row["high"] < 0:
        return (
            f"{model} is not told from {other}: on held-out bins it predicts {numbers}, worse by no more than "
            f"following the noise of its training bins costs ({row['cost']:.4f})."
        )
    verdict = {"better": "predicts better than", "worse": "predicts worse than", "not told": "is not told from"}
    return f"{model} {verdict[row['verdict']]} {other} on held-out bins: {numbers}."
