"""What the page of a digits study shows beside its figures."""

from __future__ import annotations

from typing import Any

import xarray as xr

from secateur.figures.style import rule_styles
from secateur.figures.summary import total_synapses
from secateur.report.digits_findings import expectations, headlines
from secateur.report.settings import machine_in_words, pruning_in_words, rules_in_words
from secateur.report.wording import count, percent, share, written
from secateur.studies.config import DigitsConfig

_DATASETS = {
    "handwritten-digits": "scikit-learn's handwritten digits (real, 8 × 8 pixels, binarised at the mean of the "
    "training pixels)"
}


def digits_content(results: xr.Dataset, config: DigitsConfig) -> dict[str, Any]:
    """Findings, settings and tables of a digits study, for its template."""
    return {
        "what_ran": _what_ran(results, config),
        "headlines": headlines(results),
        "expectations": expectations(results),
        "final_columns": _final_columns(results),
        "final_rows": _final_rows(results),
    }


def _what_ran(results: xr.Dataset, config: DigitsConfig) -> list[tuple[str, str]]:
    """Data, machine, training, rules and rounds in words."""
    training = config.training
    data = _DATASETS.get(config.data.dataset, config.data.dataset)
    seeds = f"seed {config.seed}{', each with its own split' if config.trials > 1 else ', with one split'}"
    return [
        ("Data", f"{data}; {share(config.data.test_share)} of the images kept for testing"),
        ("Machine", machine_in_words(results, config)),
        (
            "Training",
            f"{config.pretraining.n_epochs} epochs of pretraining per layer, {training.n_epochs} of joint training "
            f"({training.method.upper()}), {config.retraining.n_epochs} of retraining after every round",
        ),
        ("Rules", rules_in_words(config)),
        ("Pruning", pruning_in_words(results, config)),
        ("Trials", f"{count(config.trials, 'trial')} from {seeds} into training and test images"),
    ]


def _final_columns(results: xr.Dataset) -> list[str]:
    layers = [f"units in layer {layer}" for layer in range(1, results.sizes["layer"])]
    errors = ["test error, pruned", "test error, retrained"]
    return ["synapses", *layers, *errors, "sample quality", "diversity (nats)"]


def _final_rows(results: xr.Dataset) -> list[dict[str, Any]]:
    """Numbers after the last round per rule, between those of the unpruned machine and of the references."""
    criteria = [str(name) for name in results["criterion"].values]
    n_layers = results.sizes["layer"] - 1
    rows = [{"name": "unpruned", "colour": None, "cells": _final_cells(results, criteria[0], 0)}]
    for name, style in rule_styles(criteria).items():
        rows.append({"name": style.label, "colour": style.colour, "cells": _final_cells(results, name, -1)})
    pixels = percent(results["pixel_error"].values)
    empty = ["–"] * (1 + n_layers)
    rows.append({"name": "raw pixels", "colour": None, "cells": [*empty, pixels, pixels, "–", "–"]})
    for name in results["reference"].values:
        quality, diversity = (
            written(results[f"reference_{what}"].sel(reference=name).values, digits=2)
            for what in ("quality", "diversity")
        )
        rows.append({"name": str(name), "colour": None, "cells": [*empty, "–", "–", quality, diversity]})
    return rows


def _final_cells(results: xr.Dataset, criterion: str, number: int) -> list[str]:
    last = results.sel(criterion=criterion).isel(round=number)
    retrained = last.sel(stage="retrained")
    units = last["n_units"].transpose("layer", "trial").values[1:]
    return [
        written(total_synapses(last).values, digits=0),
        *(written(layer) for layer in units),
        percent(last["test_error"].sel(stage="pruned").values),
        percent(retrained["test_error"].values),
        written(retrained["sample_quality"].values, digits=2),
        written(retrained["sample_diversity"].values, digits=2),
    ]
