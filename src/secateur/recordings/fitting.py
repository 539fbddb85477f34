"""Machines fitted to words, and their held-out likelihood beside the independent and the pairwise model."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Float, PRNGKeyArray
from scipy.special import logit

from secateur import likelihood
from secateur.likelihood import LogPartition
from secateur.model import enumeration
from secateur.model.arrays import AnyArray
from secateur.model.machine import Machine
from secateur.model.pairwise import PairwiseModel, check_states
from secateur.model.randomness import child_key
from secateur.model.trust import NotToBeTrusted
from secateur.recordings.folds import Folds, folds
from secateur.training import TrainingSettings, fit_independent, fit_pairwise, pretrain, train

Model = Machine | PairwiseModel

N_HIDDEN = 20
"""Hidden units unless asked otherwise: the most for which ``log Z`` is exact however many neurons there are."""

_N_UPDATES = 6000  # held-out likelihood of 20 to 44 hidden units gains less than 0.01 nats per bin from more
_BATCH = 500


def default_settings(n_bins: int) -> TrainingSettings:
    """Settings for words of spikes: persistent chains, Adam, about 6,000 updates of 500 bins.

    Adam because rates differ by orders of magnitude. Without the centred gradient: Adam rescales weights and biases
    apart, which takes from the centred gradient that it points uphill, and some machines then diverge slowly.
    """
    batch = min(_BATCH, max(1, n_bins // 10))
    return TrainingSettings(
        method="pcd",
        optimizer="adam",
        batch_size=batch,
        n_chains=_BATCH,
        learning_rate=(0.02, 0.0005),
        n_epochs=math.ceil(_N_UPDATES / max(1, n_bins // batch)),
    )


def fit_machine(
    states: AnyArray,
    key: PRNGKeyArray,
    *,
    n_hidden: int | Sequence[int] = N_HIDDEN,
    settings: TrainingSettings | None = None,
) -> Machine:
    """Fit a machine with hidden units to words: an RBM, or with several numbers a DBM (pretrained layer by layer).

    Parameters
    ----------
    states
        0/1 words ``(bins, units)``.
    key
        Random key.
    n_hidden
        Hidden units, or one number per hidden layer.
    settings
        How to train; ``None``: :func:`default_settings`.

    Raises
    ------
    ValueError
        If the states are not 0/1 or a layer has no unit.
    secateur.training.TrainingDiverged
        If a parameter became NaN or infinite.
    """
    words = check_states(states)
    hidden = (n_hidden,) if isinstance(n_hidden, int) else tuple(n_hidden)
    rates = _smoothed_rates(words)
    machine = Machine.random(
        (words.shape[1], *hidden), child_key(key, "machine"), weight_scale=0.05, visible_bias=logit(rates)
    )
    settings = settings or default_settings(len(words))
    rows = jnp.asarray(words, jnp.float32)
    if machine.n_layers > 2:
        machine, _ = pretrain(machine, rows, settings, child_key(key, "pretraining"), record_history=False)
    return train(machine, rows, settings, child_key(key, "training"), record_history=False)[0]


def log_partition(model: Model, key: PRNGKeyArray, rates: AnyArray) -> LogPartition:
    """``log Z`` of any of the models in nats: exact where it can be, else annealed or tempered.

    ``rates``: those of the data, from which the annealing starts.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotToBeTrusted)  # the sentences of a comparison say it
        return likelihood.log_partition(model, key=key, base_rates=np.asarray(rates))


def log_probability(model: Model, states: AnyArray, log_z: LogPartition) -> Float[np.ndarray, " bins"]:
    """``log p`` of each word in nats, hidden units summed out; of large deep machines the variational lower bound."""
    deep = isinstance(model, Machine) and model.n_layers > 2
    bound = deep and not enumeration.can_be_enumerated(model.layer_sizes[1:])
    function = likelihood.log_probability_bound if bound else likelihood.log_probability
    return function(model, states, log_z.estimate)


@dataclass(frozen=True)
class Comparison:
    """Held-out log-likelihood of several models on the same bins.

    Attributes
    ----------
    table
        One row per model and quantity: ``model``, ``quantity``, ``value``, ``low``, ``high`` (interval),
        ``log_z_error`` (nats; standard error of ``log Z`` that is contained in the interval), ``unit``.
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
    held_out: Sequence[int] = (0,),
    n_bootstrap: int = 1000,
    level: float = 0.95,
    on_fit: Callable[[str, int], None] | None = None,
    on_model: Callable[[str, int, Model], None] | None = None,
) -> Comparison:
    """Held-out log-likelihood, per bin and per spike, of the independent model, the pairwise model and a machine.

    Intervals come from a bootstrap over held-out epochs (blocks); each resample also draws the error of every estimated
    ``log Z``. Models are compared within resamples, so that drift of the recording, which all models share, cancels.

    Parameters
    ----------
    states, epochs, bin_size
        0/1 words ``(bins, units)``, epoch numbers ``(bins,)`` and bin size in seconds.
    key
        Random key.
    n_hidden, settings
        The machine, as in :func:`fit_machine`.
    n_folds
        Folds, as in :func:`secateur.recordings.folds.folds`.
    held_out
        Folds to be held out in turn; the models are fitted once for each. ``range(n_folds)`` is full cross-validation.
    n_bootstrap, level
        Resamples, and coverage of the intervals.
    on_fit
        Called with the name of a model and the fold before each fit.
    on_model
        Called with the name, the fold and the model after each fit.

    Raises
    ------
    ValueError
        If the states are not 0/1, do not fit the epochs, or a fold does not exist.
    """
    words = check_words(states, epochs)
    split = folds(epochs, child_key(key, "folds"), n_folds=n_folds, bin_size=bin_size)
    chosen = tuple(dict.fromkeys(held_out))
    if not chosen or not all(0 <= fold < split.n_folds for fold in chosen):
        raise ValueError(f"held_out must name folds from 0 to {split.n_folds - 1}, got {tuple(held_out)}")
    rows: list[dict[str, Any]] = []
    log_zs: dict[tuple[str, int], LogPartition] = {}
    for fold in chosen:
        test = split.held_out(fold)
        for name, model in _fitted(words[~test], child_key(key, "fit", fold), n_hidden, settings, fold, on_fit):
            if on_model is not None:
                on_model(name, fold, model)
            log_z = log_partition(model, child_key(key, "log_partition", name, fold), _smoothed_rates(words[~test]))
            values = log_probability(model, words[test], log_z)
            log_zs[name, fold] = log_z
            rows += _per_block(name, fold, values, words[test].sum(axis=1), split.blocks.numbers[test])
    per_epoch = pd.DataFrame(rows)
    errors = {place: log_z.standard_error for place, log_z in log_zs.items()}
    table = _summarise(per_epoch, errors, child_key(key, "bootstrap"), n_bootstrap, level)
    return Comparison(table, per_epoch, split, _sentences(table, split, chosen, log_zs))


def choose_n_hidden(
    states: AnyArray,
    epochs: AnyArray,
    key: PRNGKeyArray,
    *,
    candidates: Sequence[int] = (5, 10, 20, 40),
    bin_size: float = math.nan,
    settings: TrainingSettings | None = None,
    n_folds: int = 5,
    on_fit: Callable[[str, int], None] | None = None,
) -> tuple[int, pd.DataFrame]:
    """Number of hidden units of an RBM by cross-validated log-likelihood.

    Of all candidates whose held-out log-likelihood lies within one standard error (over folds, of the difference from
    the best) the smallest is taken (Breiman, Friedman, Olshen & Stone 1984, section 3.4.3).

    Parameters
    ----------
    candidates
        Numbers of hidden units to try.

    Other parameters as in :func:`compare`.

    Returns
    -------
    n_hidden, table
        The choice, and one row per candidate: ``n_hidden``, ``log_likelihood`` (nats per bin, mean over folds),
        ``difference`` from the best, its ``standard_error`` over folds, and ``chosen``.
    """
    words = check_words(states, epochs)
    if len(candidates) == 0 or min(candidates) < 1:
        raise ValueError(f"candidates must be positive numbers of hidden units, got {tuple(candidates)}")
    split = folds(epochs, child_key(key, "folds"), n_folds=n_folds, bin_size=bin_size)
    numbers = sorted(set(candidates))
    found = np.zeros((split.n_folds, len(numbers)))
    for fold, (place, n_hidden) in ((f, c) for f in range(split.n_folds) for c in enumerate(numbers)):
        if on_fit is not None:
            on_fit(f"rbm-{n_hidden}", fold)
        test = split.held_out(fold)
        own = child_key(key, "choice", fold, n_hidden)
        machine = fit_machine(words[~test], own, n_hidden=n_hidden, settings=settings)
        log_z = log_partition(machine, child_key(own, "log_partition"), _smoothed_rates(words[~test]))
        found[fold, place] = log_probability(machine, words[test], log_z).mean()
    mean = found.mean(axis=0)
    behind = found - found[:, [mean.argmax()]]
    error = behind.std(axis=0, ddof=1) / math.sqrt(split.n_folds)
    choice = int(np.argmax(behind.mean(axis=0) >= -error))
    table = pd.DataFrame(
        {
            "n_hidden": numbers,
            "log_likelihood": mean,
            "difference": behind.mean(axis=0),
            "standard_error": error,
            "chosen": np.arange(len(numbers)) == choice,
        }
    )
    return numbers[choice], table


def check_words(states: AnyArray, epochs: AnyArray, model: Model | None = None) -> np.ndarray:
    """0/1 words as uint8, one epoch number for each, with the units of the model if there is one.

    Raises
    ------
    ValueError
        If they are not 0/1, of another number than ``epochs``, or have other units than the model.
    """
    n_units = None
    if model is not None:
        n_units = model.n_units if isinstance(model, PairwiseModel) else model.layer_sizes[0]
    words = check_states(states, n_units)
    if np.shape(epochs) != (len(words),):
        raise ValueError(f"epochs must hold one number per bin, ({len(words)},), got shape {np.shape(epochs)}")
    return words


def _fitted(
    words: np.ndarray,
    key: PRNGKeyArray,
    n_hidden: int | Sequence[int],
    settings: TrainingSettings | None,
    fold: int,
    on_fit: Callable[[str, int], None] | None,
) -> Any:
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


def _per_block(
    name: str, fold: int, values: np.ndarray, spikes: np.ndarray, blocks: np.ndarray
) -> list[dict[str, Any]]:
    different, place = np.unique(blocks, return_inverse=True)
    sums = {
        "bins": np.bincount(place),
        "spikes": np.bincount(place, weights=spikes).astype(int),
        "log_likelihood": np.bincount(place, weights=values),
    }
    return [
        {"model": name, "fold": fold, "block": int(block), **{k: v[i].item() for k, v in sums.items()}}
        for i, block in enumerate(different)
    ]


def _summarise(
    per_epoch: pd.DataFrame, errors: dict[tuple[str, int], float], key: PRNGKeyArray, n_bootstrap: int, level: float
) -> pd.DataFrame:
    """Values with percentile intervals of a bootstrap over blocks, with the errors of ``log Z`` drawn as well."""
    names = list(dict.fromkeys(per_epoch["model"]))
    first = per_epoch[per_epoch["model"] == names[0]]
    bins, spikes, fold = (first[column].to_numpy() for column in ("bins", "spikes", "fold"))
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    n_blocks = len(bins)
    counts = rng.multinomial(n_blocks, np.full(n_blocks, 1 / n_blocks), size=n_bootstrap)
    counts = np.vstack([np.ones((1, n_blocks), int), counts])  # first the blocks themselves
    in_fold = counts * bins @ (fold[:, None] == np.unique(fold)[None, :])
    per_bin = {}
    for name in names:
        values = per_epoch.loc[per_epoch["model"] == name, "log_likelihood"].to_numpy()
        shifts = rng.normal(size=in_fold.shape) * np.array([errors[name, f] for f in np.unique(fold)])
        shifts[0] = 0
        per_bin[name] = (counts @ values - (in_fold * shifts).sum(axis=1)) / (counts @ bins)
    bins_per_spike = (counts @ bins) / np.maximum(counts @ spikes, 1)
    quantities = {}
    for name in names:
        quantities[name, "log-likelihood"] = per_bin[name]
        for other in names[: names.index(name)]:
            quantities[name, f"gain over {other}"] = per_bin[name] - per_bin[other]
    rows = []
    for (name, quantity), values in quantities.items():
        compared = [name, *(other for other in names if quantity == f"gain over {other}")]
        error = max(math.hypot(*(errors[one, f] for one in compared)) for f in np.unique(fold))
        for unit, scaled in (("nats/bin", values), ("nats/spike", values * bins_per_spike)):
            low, high = np.quantile(scaled[1:], [(1 - level) / 2, (1 + level) / 2])
            rows.append((name, quantity, unit, scaled[0], low, high, error))
    return pd.DataFrame(rows, columns=["model", "quantity", "unit", "value", "low", "high", "log_z_error"])


def _sentences(
    table: pd.DataFrame, split: Folds, held_out: Sequence[int], log_zs: dict[tuple[str, int], LogPartition]
) -> tuple[str, ...]:
    found = [f"{split.sentence}; held out: {', '.join(map(str, held_out))}."]
    gains = table[table["quantity"].str.startswith("gain") & (table["unit"] == "nats/bin")]
    for row in gains.itertuples():
        other = row.quantity.removeprefix("gain over ")
        verdict = (
            "predicts better than" if row.low > 0 else "predicts worse than" if row.high < 0 else "is not told from"
        )
        found.append(
            f"{row.model} {verdict} {other} on held-out bins: {row.value:+.4f} nats/bin ({row.low:+.4f} to "
            f"{row.high:+.4f})."
        )
    found += [
        f"log Z of {name} (fold {fold}), and so its likelihood, is {log_z.verdict}."
        for (name, fold), log_z in log_zs.items()
        if not log_z.verdict.trusted
    ]
    return tuple(found)


def _smoothed_rates(words: np.ndarray) -> Float[np.ndarray, " units"]:
    """Rates with half an observation more of each state, as in :func:`secateur.training.fit_independent`."""
    return (words.sum(axis=0) + 0.5) / (len(words) + 1)
