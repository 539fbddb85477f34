"""Everything that is told about a recording: models fitted to its words, compared, and what is stiff in them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import PRNGKeyArray

from secateur.fisher.full_matrix import Of
from secateur.model.machine import Machine
from secateur.model.pairwise import PairwiseModel
from secateur.model.randomness import child_key
from secateur.model.trust import NotToBeTrusted
from secateur.reading.words import Words
from secateur.recordings import measures
from secateur.recordings.belief import collapsed
from secateur.recordings.comparison import Comparison, compare, fitted_models
from secateur.recordings.fitting import N_HIDDEN, Model, choose_n_hidden, hidden_sizes
from secateur.recordings.folds import MANY_UNITS, Folds, default_folds, folds
from secateur.recordings.parameters import Convention
from secateur.recordings.results import dataset
from secateur.recordings.stability import RankingStability, ranking_stability
from secateur.recordings.stiffness import Stiffness, stiffness
from secateur.training import TrainingSettings

N_DIRECTIONS = 3
FEWEST_BINS = 100
_ENOUGH_DRAWN = 200_000  # words drawn from each model, five times the held-out bins at most: their error is the smaller
_ENOUGH_OF_MANY = 50_000  # of more than 200 units, whose words take longest


@dataclass(frozen=True)
class Analysis:
    """What was fitted to a recording and what came out.

    Attributes
    ----------
    results
        Everything the report draws; units and meaning are attributes of every variable.
    machine, pairwise
        The models, fitted to all words, or to those that ``hold_out`` leaves.
    stiffness
        Fisher information of the ``"pairwise"`` model and of the ``"machine"``.
    stability, comparison
        Rankings of the pairwise model in halves of the recording; held-out likelihoods.
    choice
        Cross-validated likelihood of each number of hidden units; ``None`` if the number was given.
    """

    results: xr.Dataset
    machine: Machine
    pairwise: PairwiseModel
    stiffness: dict[str, Stiffness]
    stability: RankingStability
    comparison: Comparison
    choice: pd.DataFrame | None


def analyse(
    words: Words,
    key: PRNGKeyArray,
    *,
    n_hidden: int | Sequence[int] | None = None,
    choose_hidden: Sequence[int] | None = None,
    n_folds: int | None = None,
    hold_out: Sequence[int] | None = None,
    settings: TrainingSettings | None = None,
    of: Of = "joint",
    convention: Convention = "0/1",
    on_step: Callable[[str], None] | None = None,
) -> Analysis:
    """Fit the independent, the pairwise and a hidden-unit model to a recording, compare them, and find what is stiff.

    Every fold is held out once, and the models fitted to the others are compared on it; what is told of the models
    themselves is that of fits to all words. With ``hold_out`` the named epochs are held out from everything.

    Parameters
    ----------
    words
        The recording; at least two units and 100 bins.
    key
        Random key.
    n_hidden
        Hidden units of the machine, or one number per layer. ``None``: 20.
    choose_hidden
        Numbers of hidden units from which the cross-validated likelihood chooses, in place of ``n_hidden``.
    n_folds, hold_out
        Folds of blocks, each of which is held out once (``None``: five, beyond 200 units two); or numbers of the epochs
        to hold out.
    settings
        How the machine is trained (see :func:`secateur.recordings.fitting.fit_machine`).
    of, convention
        Whose Fisher information, and of which parameters (see :func:`secateur.recordings.stiffness.stiffness`).
    on_step
        Told what is done next.

    Raises
    ------
    ValueError
        If there are fewer than two units or 100 bins, or they cannot be divided so.
    """
    _check(words)
    say = on_step or (lambda _: None)
    with warnings.catch_warnings(record=True) as caught:  # told in the results, where a reader of the report finds them
        warnings.simplefilter("always", UserWarning)
        n_units = words.states.shape[1]
        n_folds = default_folds(n_units) if n_folds is None else n_folds
        place: dict[str, Any] = {"bin_size": words.bin_size}
        how = place | {"n_folds": n_folds, "settings": settings}
        key_comparison = child_key(key, "comparison")
        split = folds(
            words.states, words.epochs, child_key(key_comparison, "folds"), n_folds=n_folds, hold_out=hold_out, **place
        )
        fitted_to = words.states, words.epochs
        if hold_out is not None:
            fitted_to = words.states[~split.ever_held_out], words.epochs[~split.ever_held_out]
        choice, chosen = None, n_hidden if n_hidden is not None else N_HIDDEN
        for hidden in choose_hidden if choose_hidden is not None else [chosen]:  # refused before anything is fitted
            hidden_sizes(n_units, hidden, "n_hidden" if choose_hidden is None else "choose_hidden")
        if choose_hidden is not None:
            say("choosing the number of hidden units")
            own = child_key(key, "hidden units")
            chosen, choice = choose_n_hidden(*fitted_to, own, candidates=choose_hidden, **how)
        drawn = _DrawnWords(split, n_units, key)
        comparison = compare(
            words.states,
            words.epochs,
            key_comparison,
            n_hidden=chosen,
            hold_out=hold_out,
            on_fit=lambda name, fold: say(f"fold {fold + 1} of {split.n_folds}: {name}"),
            on_model=drawn.add,
            **how,
        )
        fits = fitted_models(
            fitted_to[0], child_key(key, "fit"), chosen, settings, on_fit=lambda name, _: say(f"fitting: {name}")
        )
        models = dict(fits)
        stiff = {}
        whose = place | {"of": of, "convention": convention}
        for name in list(models)[1:]:
            say(f"Fisher information: {name}")
            which = "pairwise" if name == "pairwise" else "machine"
            own, names = child_key(key, "stiffness", which), list(words.unit_ids)
            stiff[which] = stiffness(models[name], *fitted_to, own, unit_ids=names, n_directions=N_DIRECTIONS, **whose)
        say("stability of rankings")
        shuffles = 20 if n_units <= MANY_UNITS else 8
        own = child_key(key, "stability")
        stable = ranking_stability(*fitted_to, own, convention=convention, n_shuffles=shuffles, **place)
        say("activity of the models")
        noted = list(dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, NotToBeTrusted)))
        results = dataset(words, drawn.words(), models, comparison, stiff, stable, key, noted)
    told = collapsed(list(dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, UserWarning))))
    if told:
        results.attrs["warnings"] = told
    for other in caught:
        if not issubclass(other.category, UserWarning):
            warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)
    machine, pair = models[name], models["pairwise"]
    assert isinstance(machine, Machine) and isinstance(pair, PairwiseModel)
    return Analysis(results, machine, pair, stiff, stable, comparison, choice)


class _DrawnWords:
    """Words drawn from the models of every fold, of each as many per held-out bin."""

    def __init__(self, split: Folds, n_units: int, key: PRNGKeyArray):
        self._split, self._key = split, key
        self._found: dict[str, list[np.ndarray]] = {}
        n_bins = int(split.ever_held_out.sum())
        self._per_bin = min(5.0, (_ENOUGH_DRAWN if n_units <= MANY_UNITS else _ENOUGH_OF_MANY) / n_bins)

    def add(self, name: str, fold: int, model: Model) -> None:
        n_words = round(self._per_bin * int(self._split.held_out(fold).sum()))
        rows = measures.draw_words(model, child_key(self._key, "words", name, fold), n_words)
        self._found.setdefault(name, []).append(rows[:n_words].astype(np.uint8))

    def words(self) -> dict[str, np.ndarray]:
        """Of every model, all folds one after the other."""
        return {name: np.concatenate(parts) for name, parts in self._found.items()}


def _check(words: Words) -> None:
    n_bins, n_units = words.states.shape
    if n_units < 2:
        raise ValueError(f"words must have at least 2 units to be fitted together, got {n_units}; keep more units")
    if n_bins < FEWEST_BINS:
        raise ValueError(
            f"words must have at least {FEWEST_BINS} bins to be fitted, got {n_bins}; take a longer recording"
        )
