"""What a fitted recording's folder holds as numbers: one dataset, every variable with its unit and meaning."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import PRNGKeyArray

from secateur.model import mean_field
from secateur.model.machine import Machine
from secateur.model.pairwise import PairwiseModel
from secateur.model.randomness import child_key
from secateur.reading.words import Words
from secateur.recordings import measures
from secateur.recordings.belief import belief, findings, unit_of_information
from secateur.recordings.comparison import Comparison
from secateur.recordings.fitting import Model
from secateur.recordings.folds import MANY_UNITS, Blocks
from secateur.recordings.heat import specific_heat
from secateur.recordings.stability import RankingStability
from secateur.recordings.stiffness import Stiffness

TEMPERATURES = np.round(np.linspace(0.5, 2.0, 13), 3)
FEW_TEMPERATURES = np.array([0.75, 0.9, 1.0, 1.2, 1.5])
"""Temperatures of the specific heat of more than 200 units."""
N_RANKS = 2000
N_TRIPLETS = 2000
QUANTITIES = ("log-likelihood", "gain over independent", "gain over pairwise")
PER = ("nats/bin", "nats/spike")
_CHUNK = 8192  # words at a time
RANKINGS = ("units", "couplings", "couplings beyond rates")


def dataset(
    words: Words,
    drawn: dict[str, np.ndarray],
    models: dict[str, Model],
    comparison: Comparison,
    stiff: dict[str, Stiffness],
    stable: RankingStability,
    key: PRNGKeyArray,
    noted: Sequence[str] = (),
) -> xr.Dataset:
    """The dataset.

    ``drawn``: words drawn from every model of the comparison, of each fold as many for every held-out bin. ``models``:
    those that are fitted to all words that are not held out by name, the machine last. ``noted``: what was said not to
    be trusted.
    """
    split = comparison.folds
    held_out = split.ever_held_out
    name = list(models)[-1]
    machine, pair = models[name], models["pairwise"]
    assert isinstance(machine, Machine) and isinstance(pair, PairwiseModel)
    units = list(words.unit_ids)
    results = xr.Dataset(coords={"unit": units, "other_unit": units})
    results["source"] = ["data", *models]
    results["model"] = list(models)
    _add_activity(results, words.states[held_out], drawn, key)
    _add_specific_heat(results, models, key)
    _add_likelihoods(results, comparison)
    _add_information(results, stiff["pairwise"], stable)
    _add_hidden(results, words, machine, split.blocks)
    fitted = len(words.states) if split.n_folds > 1 else int((~held_out).sum())
    believed = belief(fitted, comparison, stiff["pairwise"], stable, noted)
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
        findings=findings(comparison, stiff["pairwise"], stable, believed),
        conclusion=believed.conclusion,
        ground_names=[g.what for g in believed.grounds],
        ground_findings=[g.found for g in believed.grounds],
        ground_verdicts=[g.verdict for g in believed.grounds],
        rankings_mean_something=int(believed.rankings),
        intervals_given=int(not stiff["pairwise"].without_intervals),
        unit_of_information=unit_of_information(stiff["pairwise"].convention),
        n_folds=split.n_folds,
        held_out_epochs=_epoch_names(words.epochs[held_out]),
        n_blocks=split.blocks.n_blocks,
        blocks=split.blocks.sentence,
        n_drawn=len(drawn[name]),
        comparison_sentences=list(comparison.sentences),
        stiffness_sentences=list(stiff["pairwise"].sentences),
        n_shuffles=int(stable.table["n_shuffles"].iloc[0]),
        stability_sentences=list(stable.sentences),
        Conventions="CF-1.11",
    )


def _about(units: str, meaning: str) -> dict[str, str]:
    return {"units": units, "long_name": meaning}


def _epoch_names(epochs: np.ndarray) -> str:
    """Numbers of epochs in words, neighbours joined: ``0-3, 7``."""
    numbers = np.unique(epochs)
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _add_activity(results: xr.Dataset, test: np.ndarray, drawn: dict[str, np.ndarray], key: PRNGKeyArray) -> None:
    """Rates, correlations and words of the held-out bins, and of words drawn from every model."""
    n_units = test.shape[1]
    triplets = measures.choose_triplets(n_units, N_TRIPLETS, child_key(key, "triplets"))
    sources = [test, *drawn.values()]
    n_ranked = min(len(source) for source in sources)
    found = {
        "rate": (("unit",), lambda s: s.mean(axis=0), "1", "probability of a spike per bin"),
        "correlation": (("unit", "other_unit"), measures.correlations, "1", "Pearson correlation of two units"),
        "population_count": (("count",), measures.population_counts, "1", "probability that so many units are active"),
        "rank_frequency": (
            ("rank",),
            lambda s: measures.rank_frequencies(_spread(s, n_ranked), N_RANKS),  # of equal numbers: rare words count
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


def _add_specific_heat(results: xr.Dataset, models: dict[str, Model], key: PRNGKeyArray) -> None:
    temperatures = TEMPERATURES if results.sizes["unit"] <= MANY_UNITS else FEW_TEMPERATURES
    heats = {n: specific_heat(m, temperatures, child_key(key, "specific heat", n)) for n, m in models.items()}
    dims = ("model", "temperature")
    meaning = "Var(E) / T^2 per unit, all parameters divided by the temperature T"
    results["specific_heat"] = (dims, np.array([h.values for h in heats.values()]), _about("1", meaning))
    errors = np.array([h.errors for h in heats.values()])
    results["specific_heat_error"] = (dims, errors, _about("1", "its standard error, 0 where it is exact"))
    results["temperature"] = temperatures
    told = []
    for name, heat in heats.items():
        bad = [f"{t:g}" for t, v in zip(temperatures, heat.verdicts, strict=True) if not v.trusted]
        if bad:
            told.append(
                f"Specific heat of {name} is not given at T = {', '.join(bad)}: the chains had not mixed there."
            )
    results.attrs["heat_sentences"] = told


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
    unit = "1" if stiff.convention == "theta-scaled" else "nat-2"
    numbers = stiff.eigenvalues
    results["eigenvalue"] = (("index",), numbers["eigenvalue"].to_numpy(), _about(unit, "eigenvalue of the FIM"))
    results["index"] = numbers["number"].to_numpy()
    columns = ["information", "information_low", "information_high"]
    meaning = "Fisher information of a unit's bias and couplings together, with 95 % interval"
    results["unit_information"] = (("unit", "interval"), stiff.units[columns].to_numpy(), _about(unit, meaning))
    couplings = stiff.parameters[stiff.parameters["kind"] == "coupling"]
    place = {unit: number for number, unit in enumerate(results["unit"].values)}
    first, second = (couplings[c].map(place).to_numpy(int) for c in ("first_unit", "second_unit"))
    information = np.full((n, n), np.nan)
    information[first, second] = information[second, first] = couplings["fisher_information"]
    meaning = "Fisher information of a coupling"
    results["coupling_information"] = (("unit", "other_unit"), information, _about(unit, meaning))
    loadings = stiff.loadings["loading"].to_numpy().reshape(-1, n)
    results["loading"] = (("direction", "unit"), loadings, _about("1", "share of a unit in a stiff direction"))
    results["direction"] = np.arange(1, len(loadings) + 1)
    agreement = stable.table.set_index("ranking").loc[list(RANKINGS)]
    columns = ["correlation", "shuffled", "shuffled_low", "shuffled_high"]
    meaning = "rank correlation of Fisher information between halves, and in shuffled data"
    results["stability"] = (("ranking", "half"), agreement[columns].to_numpy(), _about("1", meaning))
    results["ranking"], results["half"] = list(RANKINGS), ["halves", *columns[1:]]


def _add_hidden(results: xr.Dataset, words: Words, machine: Machine, blocks: Blocks) -> None:
    """Weights of the first hidden layer, and its mean activity given the words of every block."""
    infer = jax.jit(lambda m, r: mean_field.infer(m, r)[1])
    sums = np.zeros((blocks.n_blocks, machine.layer_sizes[1]))
    for start in range(0, len(words.states), _CHUNK):
        rows = words.states[start : start + _CHUNK]
        padded = np.zeros((_CHUNK, rows.shape[1]), np.float32)
        padded[: len(rows)] = rows
        activity = np.asarray(infer(machine, jnp.asarray(padded)))[: len(rows)]
        np.add.at(sums, blocks.numbers[start : start + _CHUNK], activity)
    spikes = np.bincount(blocks.numbers, weights=words.states.mean(axis=1))
    hidden = {
        "hidden_weight": (("unit", "hidden"), np.asarray(machine.weights[0]), _about("nat", "weight")),
        "hidden_bias": (("hidden",), np.asarray(machine.biases[1]), _about("nat", "bias of a hidden unit")),
        "hidden_activity": (
            ("block", "hidden"),
            sums / blocks.sizes[:, None],
            _about("1", "mean probability to be active"),
        ),
        "block_rate": (("block",), spikes / blocks.sizes, _about("1", "spikes per bin and unit")),
    }
    for name, variable in hidden.items():
        results[name] = variable
    results["block"], results["hidden"] = np.arange(blocks.n_blocks), np.arange(sums.shape[1])


def _spread(rows: np.ndarray, n_rows: int) -> np.ndarray:
    """So many rows, evenly spread, so that every fold's model has its share."""
    return rows[np.linspace(0, len(rows) - 1, n_rows).astype(int)]
