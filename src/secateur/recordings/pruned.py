"""What pruning a fitted recording gave, as a dataset and a table in its folder, and in sentences."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import xarray as xr

from secateur.pruning import Criterion
from secateur.reading.words import Words, load_words
from secateur.recordings.decimation import CRITERIA, Decimation, What, decimate
from secateur.recordings.folder import RecordingFolder
from secateur.storage.folders import locked, replacing
from secateur.storage.progress import Progress, told_as_they_begin
from secateur.storage.results import read_results
from secateur.storage.watching import watch

FOLDER = "pruning"
_PER = ("nats/bin", "nats/spike")
_NOUN = {"couplings": "couplings", "machine": "synapses"}


def pruned_results(path: str | os.PathLike[str]) -> dict[str, xr.Dataset]:
    """By what was pruned, the results that lie in a recording's folder."""
    places = {what: Path(path) / FOLDER / f"{what}.nc" for what in _NOUN}
    return {what: read_results(place) for what, place in places.items() if place.is_file()}


def prune_recording(
    folder: str | os.PathLike[str],
    *,
    what: What = "couplings",
    criteria: Sequence[Criterion] = CRITERIA,
    fraction: float = 0.3,
    n_rounds: int = 10,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress | bool | None = None,
) -> xr.Dataset:
    """Prune the models of a fitted recording; results go into ``pruning/`` in its folder, where ``report`` draws them.

    Parameters
    ----------
    folder
        Folder of ``secateur fit``.
    what, criteria, fraction, n_rounds
        See :func:`secateur.recordings.decimation.decimate`.
    seed
        Seed of all random numbers.
    overwrite
        Replace what was pruned before.
    progress
        Told what is done; true: a bar with the time left, or lines where there is no terminal.

    Raises
    ------
    ValueError
        If there is no fitted recording, results are there already, the recording cannot be pruned so, or another
        process writes to its folder.
    """
    place = RecordingFolder.open(folder)
    out = place.path / FOLDER / f"{what}.nc"
    if out.exists() and not overwrite:
        raise ValueError(f"{str(out)!r} exists already; say --overwrite to replace it")
    busy = f"another process is writing to {str(place.path)!r}; wait until it ends"
    with watch(progress) as told, locked(place.path, busy):
        words = load_words(place.path / "words.npz")
        told.start(_planned(what, len(criteria), n_rounds))
        hidden = tuple(place.settings["hidden"])
        with told_as_they_begin(told, _kind) as say:
            found = decimate(
                words.states,
                words.epochs,
                jax.random.key(seed),
                what=what,
                criteria=criteria,
                fraction=fraction,
                n_rounds=n_rounds,
                n_hidden=hidden[0] if len(hidden) == 1 else hidden,
                bin_size=words.bin_size,
                on_step=say,
            )
        results = _dataset(found, what, words).assign_attrs(
            what=what, fraction=fraction, n_rounds=n_rounds, seed=seed, words=place.settings["words"]
        )
        _write(out.parent, results, what)
    return results


def _kind(step: str) -> str:
    """Steps that take about as long: fits, rounds of a half, the way of a rule with all words."""
    return "fit" if step.startswith("fitting") else "round" if "round" in step else "all words"


def _planned(what: What, n_criteria: int, n_rounds: int) -> dict[str, int]:
    """Steps by kind."""
    both = {"fit": 2, "round": 2 * n_criteria * n_rounds}
    return both | {"fit": 3, "all words": n_criteria} if what == "couplings" else both


def _write(folder: Path, results: xr.Dataset, what: What) -> None:
    """Results and tables, all or none; what lies there of the other kind stays."""
    own = [f"{what}.nc", f"{what}.csv", *(["kept-couplings.csv"] if what == "couplings" else [])]
    with replacing(folder, own) as new:
        results.to_netcdf(new / own[0], engine="h5netcdf")
        _table(results).to_csv(new / own[1], index=False)
        if what == "couplings":
            _kept_table(results).to_csv(new / own[2], index=False)


def _dataset(found: Decimation, what: What, words: Words) -> xr.Dataset:
    n_rounds = len(found.paths[found.criteria[0]][0])
    rounds = range(n_rounds)
    sizes = {"nats/bin": found.bins, "nats/spike": found.spikes}
    left = [[np.mean([path[r].n_left for path in found.paths[c]]) for r in rounds] for c in found.criteria]
    loss = [[[found.interval((c, r), (c, 0), sizes[per]) for per in _PER] for r in rounds] for c in found.criteria]
    first = found.criteria[0]
    against = [[found.interval((c, r), (first, r), found.bins) for r in rounds] for c in found.criteria]
    results = xr.Dataset(
        {
            "n_left": (("criterion", "round"), np.array(left, float), _about("1", f"{_NOUN[what]} left")),
            "loss": (
                ("criterion", "round", "per", "interval"),
                np.array(loss, float),
                _about("nat", "held-out log-likelihood less that of the full model, with 95 % interval"),
            ),
            "against_first": (
                ("criterion", "round", "interval"),
                np.array(against, float),
                _about("nat", "held-out log-likelihood per bin less that of the first rule after as many rounds"),
            ),
            "chosen": (
                ("criterion",),
                np.array([found.within_one_error(c) for c in found.criteria]),
                _about("1", "last round that predicts as well as the full model within one standard error"),
            ),
        },
        coords={
            "criterion": list(found.criteria),
            "round": np.arange(n_rounds),
            "per": list(_PER),
            "interval": ["value", "low", "high"],
        },
    )
    if what == "couplings":
        overlap = [[found.overlap(c, r) for r in rounds] for c in found.criteria]
        meaning = "share of the couplings kept in one half that are kept in the other, and by chance"
        results["overlap"] = (("criterion", "round", "which"), np.array(overlap), _about("1", meaning))
        results["which"] = ["found", "chance"]
        kept = np.array([found.final[c] for c in found.criteria]).astype(np.int8)
        dims = ("criterion", "unit", "other_unit")
        results["kept"] = (dims, kept, _about("1", "couplings that stay of a fit to all words"))
        results["unit"] = results["other_unit"] = list(words.unit_ids)
    return results.assign_attrs(sentences=_sentences(results, _NOUN[what]), blocks=found.blocks.sentence)


def _about(units: str, meaning: str) -> dict[str, str]:
    return {"units": units, "long_name": meaning}


def best_rule(results: xr.Dataset) -> str:
    """The rule that leaves the fewest within one standard error."""
    left = [
        float(results["n_left"].sel(criterion=c)[int(results["chosen"].sel(criterion=c))])
        for c in results["criterion"].values
    ]
    return str(results["criterion"].values[int(np.argmin(left))])


def _sentences(results: xr.Dataset, noun: str) -> list[str]:
    """For every rule how much can go, and how rules compare where the best one stops."""
    found = []
    for name in map(str, results["criterion"].values):
        one = results.sel(criterion=name)
        number = int(one["chosen"])
        whole, left = float(one["n_left"][0]), float(one["n_left"][number])
        if number == 0:
            lost = _numbers(one["loss"].sel(per="nats/bin")[1].values)
            found.append(
                f"{name}: nothing can go in steps of this size; with {float(one['n_left'][1]):,.0f} of {whole:,.0f} "
                f"{noun} left the model predicts {lost} nats/bin against the full one."
            )
            continue
        lost = _numbers(one["loss"].sel(per="nats/bin")[number].values)
        text = (
            f"{name}: {whole - left:,.0f} of {whole:,.0f} {noun} can go ({1 - left / whole:.0%}) and prediction stays "
            f"within one standard error; with {left:,.0f} left it changes by {lost} nats/bin"
        )
        if "overlap" in results:
            share, chance = one["overlap"][number].values
            text += f", and {share:.0%} of those kept in one half are kept in the other (chance {chance:.0%})"
        found.append(f"{text}.")
    first, best = str(results["criterion"].values[0]), best_rule(results)
    number = max(int(results["chosen"].sel(criterion=best)), 1)
    for name in map(str, results["criterion"].values):
        value, low, high = results["against_first"].sel(criterion=name)[number].values
        if name != first:
            verdict = "better than" if low > 0 else "worse than" if high < 0 else "not told from"
            numbers = _numbers(np.array([value, low, high]))
            left = float(results["n_left"].sel(criterion=name)[number])
            found.append(f"With {left:,.0f} {noun} left {name} is {verdict} {first}: {numbers} nats/bin.")
    return found


def _numbers(limits: np.ndarray) -> str:
    return f"{limits[0]:+.4f} ({limits[1]:+.4f} to {limits[2]:+.4f})"


def _table(results: xr.Dataset) -> pd.DataFrame:
    rows = []
    for c, name in enumerate(map(str, results["criterion"].values)):
        for r in results["round"].values:
            row = {"criterion": name, "round": int(r), "left": float(results["n_left"][c, r])}
            for p, per in enumerate(_PER):
                row |= dict(zip((per, f"{per} low", f"{per} high"), results["loss"][c, r, p].values, strict=True))
            if "overlap" in results:
                row |= dict(zip(("overlap", "overlap by chance"), results["overlap"][c, r].values, strict=True))
            rows.append(row | {"chosen": int(results["chosen"][c]) == r})
    return pd.DataFrame(rows)


def _kept_table(results: xr.Dataset) -> pd.DataFrame:
    names = np.array([str(u) for u in results["unit"].values], dtype=object)
    first, second = np.triu_indices(len(names), 1)
    table = pd.DataFrame({"first_unit": names[first], "second_unit": names[second]})
    for name in map(str, results["criterion"].values):
        table[name] = results["kept"].sel(criterion=name).values[first, second].astype(bool)
    return table
