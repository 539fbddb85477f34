"""Everything that is told about a recording: models fitted to its words, compared, and what is stiff in them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import PRNGKeyArray

from secateur.fisher.full_matrix import Of
from secateur.model import mean_field
from secateur.model.machine import Machine
from secateur.model.pairwise import PairwiseModel
from secateur.model.randomness import child_key
from secateur.reading.words import Words
from secateur.recordings import measures
from secateur.recordings.fitting import N_HIDDEN, Comparison, Model, choose_n_hidden, compare
from secateur.recordings.folds import blocks, folds
from secateur.recordings.parameters import Convention
from secateur.recordings.stability import RankingStability, ranking_stability
from secateur.recordings.stiffness import Stiffness, stiffness
from secateur.training import TrainingSettings

TEMPERATURES = np.round(np.linspace(0.5, 2.0, 13), 3)
N_RANKS = 2000
N_TRIPLETS = 2000
N_DIRECTIONS = 3
DRAWN_PER_BIN = 5
"""Words drawn from each model per held-out bin, so that their sampling error is the smaller part."""
QUANTITIES = ("log-likelihood", "gain over independent", "gain over pairwise")
PER = ("nats/bin", "nats/spike")
RANKINGS = ("units", "couplings", "couplings beyond rates")
FEWEST_BINS = 100


@dataclass(frozen=True)
class Analysis:
    """What was fitted to a recording and what came out.

    Attributes
    ----------
    results
        Everything the report draws; units and meaning are attributes of every variable.
    machine, pairwise
        The models, fitted to all epochs but those held out.
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
    n_folds: int = 5,
    settings: TrainingSettings | None = None,
    of: Of = "joint",
    convention: Convention = "0/1",
    on_step: Callable[[str], None] | None = None,
) -> Analysis:
    """Fit the independent, the pairwise and a hidden-unit model to a recording, compare them, and find what is stiff.

    One fold of whole epochs is held out; everything is fitted to the others and compared with it.

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
    n_folds
        Folds of epochs, of which the first is held out.
    settings
        How the machine is trained (see :func:`secateur.recordings.fitting.fit_machine`).
    of, convention
        Whose Fisher information, and of which parameters (see :func:`secateur.recordings.stiffness.stiffness`).
    on_step
        Told what is done next.

    Raises
    ------
    ValueError
        If there are fewer than two units or 100 bins, or epochs do not make that many folds.
    """
    _check(words)
    say = on_step or (lambda _: None)
    with warnings.catch_warnings(record=True) as caught:  # told in the results, where a reader of the report finds them
        warnings.simplefilter("always", UserWarning)
        place: dict[str, Any] = {"bin_size": words.bin_size}
        key_comparison = child_key(key, "comparison")
        split = folds(words.epochs, child_key(key_comparison, "folds"), n_folds=n_folds, **place)
        held_out = split.held_out(0)
        fitted_to = words.states[~held_out], words.epochs[~held_out]
        blocks(fitted_to[1], words.bin_size)  # refuses a recording too short for intervals before anything is fitted
        choice, chosen = None, n_hidden if n_hidden is not None else N_HIDDEN
        if choose_hidden is not None:
            say("choosing the number of hidden units")
            own = child_key(key, "hidden units")
            options = place | {"candidates": choose_hidden, "settings": settings, "n_folds": n_folds}
            chosen, choice = choose_n_hidden(fitted_to[0], fitted_to[1], own, **options)
        models: dict[str, Model] = {}
        comparison = compare(
            words.states,
            words.epochs,
            key_comparison,
            n_hidden=chosen,
            settings=settings,
            n_folds=n_folds,
            on_fit=lambda name, _: say(f"fitting: {name}"),
            on_model=lambda name, _, model: models.__setitem__(name, model),
            **place,
        )
        name = list(models)[-1]
        machine, pair = models[name], models["pairwise"]
        assert isinstance(machine, Machine) and isinstance(pair, PairwiseModel)
        whose = place | {"of": of, "convention": convention}
        stiff = {}
        for which, model in (("pairwise", pair), ("machine", machine)):
            say(f"Fisher information: {name if which == 'machine' else which}")
            own = child_key(key, "stiffness", which)
            names = list(words.unit_ids)
            stiff[which] = stiffness(model, *fitted_to, own, unit_ids=names, n_directions=N_DIRECTIONS, **whose)
        say("stability of rankings")
        stable = ranking_stability(pair, *fitted_to, child_key(key, "stability"), **whose)
        say("activity of the models")
        results = _dataset(words, held_out, models, machine, pair, comparison, stiff, stable, key)
    told = [str(w.message) for w in caught if issubclass(w.category, UserWarning)]
    if told:
        results.attrs["warnings"] = told
    for other in caught:
        if not issubclass(other.category, UserWarning):
            warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)
    return Analysis(results, machine, pair, stiff, stable, comparison, choice)


def _check(words: Words) -> None:
    n_bins, n_units = words.states.shape
    if n_units < 2:
        raise ValueError(f"words must have at least 2 units to be fitted together, got {n_units}; keep more units")
    if n_bins < FEWEST_BINS:
        raise ValueError(
            f"words must have at least {FEWEST_BINS} bins to be fitted, got {n_bins}; take a longer recording"
        )


def _dataset(
    words: Words,
    held_out: np.ndarray,
    models: dict[str, Model],
    machine: Machine,
    pair: PairwiseModel,
    comparison: Comparison,
    stiff: dict[str, Stiffness],
    stable: RankingStability,
    key: PRNGKeyArray,
) -> xr.Dataset:
    test = words.states[held_out]
    name = list(models)[-1]
    units = list(words.unit_ids)
    results = xr.Dataset(coords={"unit": units, "other_unit": units})
    results["source"] = ["data", *models]
    results["model"] = list(models)
    _add_activity(results, test, models, key)
    _add_likelihoods(results, comparison)
    _add_information(results, stiff["pairwise"], stable)
    _add_hidden(results, words, machine)
    results["pairwise_bias"] = (("unit",), np.asarray(pair.biases), _about("nat", "bias of the pairwise model"))
    couplings = np.asarray(pair.couplings)
    results["pairwise_coupling"] = (("unit", "other_unit"), couplings, _about("nat", "coupling of the pairwise model"))
    return results.assign_attrs(
        title=f"Recording of {len(units)} units in {len(words.states):,} bins",
        n_bins=len(words.states),
        n_units=len(units),
        bin_size=words.bin_size,
        n_epochs=len(np.unique(words.epochs)),
        n_held_out_bins=int(held_out.sum()),
        machine=name,
        fisher_model="pairwise",
        fisher_matrix=stiff["pairwise"].of,
        convention=stiff["pairwise"].convention,
        summary=str(words),
        findings=_findings(comparison, stable, name),
        comparison_sentences=list(comparison.sentences),
        stiffness_sentences=list(stiff["pairwise"].sentences),
        stability_sentences=list(stable.sentences),
        Conventions="CF-1.11",
    )


def _about(units: str, meaning: str) -> dict[str, str]:
    return {"units": units, "long_name": meaning}


def _add_activity(results: xr.Dataset, test: np.ndarray, models: dict[str, Model], key: PRNGKeyArray) -> None:
    """Rates, correlations and words of the held-out bins, and of five times as many words drawn from every model."""
    n_units = test.shape[1]
    triplets = measures.choose_triplets(n_units, N_TRIPLETS, child_key(key, "triplets"))
    n_drawn = DRAWN_PER_BIN * len(test)
    sources = [test.astype(np.float32)]
    sources += [measures.draw_words(m, child_key(key, "words", name), n_drawn) for name, m in models.items()]
    found = {
        "rate": (("unit",), lambda s: s.mean(axis=0), "1", "probability of a spike per bin"),
        "correlation": (("unit", "other_unit"), measures.correlations, "1", "Pearson correlation of two units"),
        "population_count": (("count",), measures.population_counts, "1", "probability that so many units are active"),
        "rank_frequency": (
            ("rank",),
            lambda s: measures.rank_frequencies(s[-len(test) :], N_RANKS),  # of equal numbers: rare words count
            "1",
            "frequency of words, largest first",
        ),
        "triplet_correlation": (
            ("triplet",),
            lambda s: measures.triplet_correlations(s, triplets),
            "1",
            "third central moment of three units",
        ),
    }
    for name, (dims, measure, unit, meaning) in found.items():
        values = np.stack([measure(source) for source in sources])
        results[name] = (("source", *dims), values.astype(np.float32), _about(unit, meaning))
    results["count"] = np.arange(n_units + 1)
    results["rank"] = np.arange(1, N_RANKS + 1)
    heats = [
        measures.specific_heat(m, TEMPERATURES, child_key(key, "specific heat", name)) for name, m in models.items()
    ]
    dims = ("model", "temperature")
    meaning = "Var(E) / T^2 per unit, all parameters divided by the temperature T"
    results["specific_heat"] = (dims, np.array([h.values for h in heats]), _about("1", meaning))
    results["specific_heat_error"] = (dims, np.array([h.errors for h in heats]), _about("1", "its standard error"))
    results["temperature"] = TEMPERATURES


def _add_likelihoods(results: xr.Dataset, comparison: Comparison) -> None:
    models = [str(m) for m in results["model"].values]
    table = comparison.table.set_index(["model", "quantity", "unit"])[["value", "low", "high"]]
    values = np.full((len(models), len(QUANTITIES), len(PER), 3), np.nan)
    for m, model in enumerate(models):
        for q, quantity in enumerate(QUANTITIES):
            for p, per in enumerate(PER):
                if (model, quantity, per) in table.index:
                    values[m, q, p] = table.loc[(model, quantity, per)]
    results["quantity"], results["per"], results["interval"] = list(QUANTITIES), list(PER), ["value", "low", "high"]
    meaning = "held-out log-likelihood and gains, with 95 % intervals over held-out epochs"
    results["log_likelihood"] = (("model", "quantity", "per", "interval"), values, _about("nat", meaning))


def _add_information(results: xr.Dataset, stiff: Stiffness, stable: RankingStability) -> None:
    n = results.sizes["unit"]
    numbers = stiff.eigenvalues
    results["eigenvalue"] = (("index",), numbers["eigenvalue"].to_numpy(), _about("nat2", "eigenvalue of the FIM"))
    results["index"] = numbers["number"].to_numpy()
    columns = ["information", "information_low", "information_high"]
    meaning = "Fisher information of a unit's bias and couplings together, with 95 % interval"
    results["unit_information"] = (("unit", "interval"), stiff.units[columns].to_numpy(), _about("nat2", meaning))
    couplings = stiff.parameters[stiff.parameters["kind"] == "coupling"]
    place = {unit: number for number, unit in enumerate(results["unit"].values)}
    first, second = (couplings[c].map(place).to_numpy(int) for c in ("first_unit", "second_unit"))
    information = np.full((n, n), np.nan)
    information[first, second] = information[second, first] = couplings["fisher_information"]
    meaning = "Fisher information of a coupling"
    results["coupling_information"] = (("unit", "other_unit"), information, _about("nat2", meaning))
    loadings = stiff.loadings["loading"].to_numpy().reshape(-1, n)
    results["loading"] = (("direction", "unit"), loadings, _about("1", "share of a unit in a stiff direction"))
    results["direction"] = np.arange(1, len(loadings) + 1)
    agreement = stable.table.set_index("ranking").loc[list(RANKINGS)]
    columns = ["correlation", "shuffled", "shuffled_low", "shuffled_high"]
    meaning = "rank correlation of Fisher information between halves, and in shuffled data"
    results["stability"] = (("ranking", "half"), agreement[columns].to_numpy(), _about("1", meaning))
    results["ranking"], results["half"] = list(RANKINGS), ["halves", *columns[1:]]


def _add_hidden(results: xr.Dataset, words: Words, machine: Machine) -> None:
    """Weights of the first hidden layer, and its mean activity given the words of every epoch."""
    rows = jnp.asarray(words.states, jnp.float32)
    activity = np.asarray(jax.jit(lambda m, r: mean_field.infer(m, r)[1])(machine, rows))
    epochs, place = np.unique(words.epochs, return_inverse=True)
    n_bins = np.bincount(place)
    sums = np.zeros((len(epochs), activity.shape[1]))
    np.add.at(sums, place, activity)
    spikes = np.bincount(place, weights=words.states.mean(axis=1))
    hidden = {
        "hidden_weight": (("unit", "hidden"), np.asarray(machine.weights[0]), _about("nat", "weight")),
        "hidden_bias": (("hidden",), np.asarray(machine.biases[1]), _about("nat", "bias of a hidden unit")),
        "hidden_activity": (("epoch", "hidden"), sums / n_bins[:, None], _about("1", "mean probability to be active")),
        "epoch_rate": (("epoch",), spikes / n_bins, _about("1", "spikes per bin and unit")),
    }
    for name, variable in hidden.items():
        results[name] = variable
    results["epoch"], results["hidden"] = epochs, np.arange(activity.shape[1])


def _findings(comparison: Comparison, stable: RankingStability, machine: str) -> list[str]:
    """The sentences a reader needs first: does the machine predict, and can the ranking be read."""
    gains = [s for s in comparison.sentences if s.startswith((machine, "pairwise"))]
    return [*gains, *(s for s in stable.sentences if s.startswith("The ranking of"))]
