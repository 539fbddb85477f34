"""Machines fitted to words, their log-likelihood, and the number of hidden units by cross-validation."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise

import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Float, PRNGKeyArray
from scipy.special import logit

from secateur import likelihood
from secateur.likelihood import LogPartition, rates_of
from secateur.model import enumeration
from secateur.model.arrays import AnyArray
from secateur.model.machine import Machine
from secateur.model.pairwise import PairwiseModel, check_states
from secateur.model.randomness import child_key
from secateur.model.trust import NotToBeTrusted
from secateur.recordings.folds import MANY_UNITS, folds
from secateur.storage.limits import MAX_HIDDEN_LAYERS, MAX_SYNAPSES
from secateur.training import TrainingSettings, pretrain, train

Model = Machine | PairwiseModel

N_HIDDEN = 20
"""Hidden units unless asked otherwise: the most for which ``log Z`` is exact however many neurons there are."""

_N_UPDATES = 6000  # held-out likelihood of 20 to 44 hidden units gains less than 0.01 nats per bin from more
_BATCH = 500
_TEMPERATURES_OF_MANY = 500  # half the usual: of 400 units the error is 0.003 nats, a fifth of a gain's interval
_VALUES = 2**24  # states whose log-probabilities are computed at a time, in double precision


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
        If the states are not 0/1, or a layer has no unit or too many.
    secateur.training.TrainingDiverged
        If a parameter became NaN or infinite.
    """
    words = check_states(states)
    hidden = hidden_sizes(words.shape[1], n_hidden)
    rates = rates_of(words)
    machine = Machine.random(
        (words.shape[1], *hidden), child_key(key, "machine"), weight_scale=0.05, visible_bias=logit(rates)
    )
    settings = settings or default_settings(len(words))
    rows = jnp.asarray(words).astype(jnp.float32)  # made there, without another copy here
    if machine.n_layers > 2:
        machine, _ = pretrain(machine, rows, settings, child_key(key, "pretraining"), record_history=False)
    return train(machine, rows, settings, child_key(key, "training"), record_history=False)[0]


def hidden_sizes(n_units: int, n_hidden: int | Sequence[int], what: str = "n_hidden") -> tuple[int, ...]:
    """Hidden units of each layer of a machine for so many units; ``what`` names the argument in messages.

    Raises
    ------
    ValueError
        If there is no layer, one without a unit, or more than a study may have.
    """
    hidden = (n_hidden,) if isinstance(n_hidden, int) else tuple(n_hidden)
    if not hidden or min(hidden) < 1:
        raise ValueError(f"{what} must name layers of at least one unit each, got {hidden}; give e.g. {N_HIDDEN}")
    sizes = (n_units, *hidden)
    if len(hidden) > MAX_HIDDEN_LAYERS or max(lower * upper for lower, upper in pairwise(sizes)) > MAX_SYNAPSES:
        raise ValueError(
            f"{what} must name at most {MAX_HIDDEN_LAYERS} layers with at most {MAX_SYNAPSES:,} synapses between "
            f"two, got {len(hidden)} with up to {max(hidden)} units, over {n_units} units of the words; take fewer"
        )
    return hidden


def log_partition(model: Model, key: PRNGKeyArray, rates: AnyArray) -> LogPartition:
    """``log Z`` of any of the models in nats: exact where it can be, else annealed or tempered.

    ``rates``: those of the data, from which the annealing starts.
    """
    n_temperatures = None if model.layer_sizes[0] <= MANY_UNITS else _TEMPERATURES_OF_MANY
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotToBeTrusted)  # the sentences of a comparison say it
        return likelihood.log_partition(model, key=key, base_rates=np.asarray(rates), n_temperatures=n_temperatures)


def log_probability(model: Model, states: AnyArray, log_z: LogPartition) -> Float[np.ndarray, " bins"]:
    """``log p`` of each word in nats, hidden units summed out; of large deep machines the variational lower bound."""
    deep = isinstance(model, Machine) and model.n_layers > 2
    bound = deep and not enumeration.can_be_enumerated(model.layer_sizes[1:])
    function = likelihood.log_probability_bound if bound else likelihood.log_probability
    rows = np.asarray(states)
    at_once = max(1, _VALUES // rows.shape[1])
    parts = (rows[start : start + at_once] for start in range(0, len(rows), at_once))
    return np.concatenate([function(model, part, log_z.estimate) for part in parts])


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

    Other parameters as in :func:`secateur.recordings.comparison.compare`.

    Returns
    -------
    n_hidden, table
        The choice, and one row per candidate: ``n_hidden``, ``log_likelihood`` (nats per bin, mean over folds),
        ``difference`` from the best, its ``standard_error`` over folds, and ``chosen``.
    """
    words = check_words(states, epochs)
    if len(candidates) == 0 or min(candidates) < 1:
        raise ValueError(f"candidates must be positive numbers of hidden units, got {tuple(candidates)}")
    hidden_sizes(words.shape[1], max(candidates), "candidates")
    split = folds(words, epochs, child_key(key, "folds"), n_folds=n_folds, bin_size=bin_size)
    numbers = sorted(set(candidates))
    found = np.zeros((split.n_folds, len(numbers)))
    for fold, (place, n_hidden) in ((f, c) for f in range(split.n_folds) for c in enumerate(numbers)):
        if on_fit is not None:
            on_fit(f"rbm-{n_hidden}", fold)
        test = split.held_out(fold)
        own = child_key(key, "choice", fold, n_hidden)
        machine = fit_machine(words[~test], own, n_hidden=n_hidden, settings=settings)
        log_z = log_partition(machine, child_key(own, "log_partition"), rates_of(words[~test]))
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
