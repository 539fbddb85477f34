"""What the page of a digits study shows beside its figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import xarray as xr

from secateur.figures.costs import shown_sweeps
from secateur.figures.published import CITATION, is_published_digits, is_published_schedule
from secateur.figures.style import rule_styles
from secateur.figures.summary import total_synapses
from secateur.report.digits_findings import expectations, headlines
from secateur.report.digits_paper_findings import paper_expectations
from secateur.report.published_comparison import END_COLUMNS, ERROR_COLUMNS, end_rows, error_rows
from secateur.report.settings import machine_in_words, pruning_in_words, rules_in_words
from secateur.report.wording import count, percent, share, written
from secateur.studies.config import DigitsConfig


def digits_content(results: xr.Dataset, config: DigitsConfig, facts: dict[str, Any]) -> dict[str, Any]:
    """Findings, settings and tables of a digits study, for its template."""
    beside = is_published_digits(results, config)
    columns, rows = _anatomy_table(results, facts)
    return {
        "what_ran": _what_ran(results, config),
        "headlines": headlines(results),
        "expectations": expectations(results) + (paper_expectations(results) if beside else []),
        "final_columns": columns,
        "final_rows": rows,
        "samples": _samples_table(results),
        "citation": CITATION if beside else None,
        "same_schedule": is_published_schedule(config),
        "published_errors": (ERROR_COLUMNS, error_rows(results) if beside else []),
        "published_ends": (END_COLUMNS, end_rows(results) if beside else []),
    }


def _what_ran(results: xr.Dataset, config: DigitsConfig) -> list[tuple[str, str]]:
    """Data, machine, training, rules and rounds in words."""
    training = config.training
    return [
        ("Data", _data_in_words(results, config)),
        ("Machine", machine_in_words(results, config)),
        (
            "Training",
            f"{config.pretraining.n_epochs} epochs of pretraining per layer, {training.n_epochs} of joint training "
            f"({training.method.upper()}), {config.retraining.n_epochs} of retraining after every round",
        ),
        ("Rules", rules_in_words(config)),
        ("Pruning", pruning_in_words(results, config)),
        ("Trials", f"{count(config.trials, 'trial')} from seed {config.seed}{_splits_in_words(config)}"),
    ]


def _data_in_words(results: xr.Dataset, config: DigitsConfig) -> str:
    """The data set, its binarisation, and how many images train and test."""
    data, (height, width) = config.data, results.attrs["image_shape"]
    if data.dataset == "mnist":
        cut = "cropped to the central" if data.side < 28 else "whole images of"
        numbers = ""
        if "n_train" in results.attrs:
            numbers = f"; {results.attrs['n_train']:,} training and {results.attrs['n_test']:,} test images"
        return f"MNIST handwritten digits, {cut} {height} × {width} pixels, binarised at the training mean{numbers}"
    return (
        "scikit-learn's handwritten digits (real, 8 × 8 pixels, binarised at the mean of the training pixels); "
        f"{share(data.test_share)} of the images kept for testing"
    )


def _splits_in_words(config: DigitsConfig) -> str:
    """Whether trials share the split into training and test images."""
    if config.data.dataset == "mnist":
        return ", on the data set's own training and test images"
    which = "each with its own split" if config.trials > 1 else "with one split"
    return f", {which} into training and test images"


def _anatomy_table(results: xr.Dataset, facts: dict[str, Any]) -> tuple[list[str], list[dict[str, Any]]]:
    """What is left after the last round, how it reads digits and what it costs, beside the unpruned machine."""
    sweeps = {name: f"{sweep['milliseconds']:.3g}" for name, sweep in shown_sweeps(results, facts).items()}
    layers = [f"units in layer {layer}" for layer in range(1, results.sizes["layer"])]
    columns = ["synapses", *layers, "test error, pruned", "test error, retrained", "kB", "ms per sweep"]

    def cells(last: xr.Dataset, name: str) -> list[str]:
        units = last["n_units"].transpose("layer", "trial").values[1:]
        return [
            written(total_synapses(last).values, digits=0),
            *(written(layer) for layer in units),
            *(percent(last["test_error"].sel(stage=stage).values) for stage in ("pruned", "retrained")),
            written(last["machine_bytes"].values, scale=1e-3, digits=0),
            sweeps.get(name, "not measured"),
        ]

    pixels = percent(results["pixel_error"].values)
    reference = ["–"] * (1 + len(layers)) + [pixels, pixels, "–", "–"]
    return columns, [*_rows(results, cells), {"name": "raw pixels", "colour": None, "cells": reference}]


def _samples_table(results: xr.Dataset) -> tuple[list[str], list[dict[str, Any]]]:
    """What the retrained machines of the last round generate, beside the unpruned machine and references."""
    columns = ["quality", "diversity (nats)", "read as the digit", "bound, from pixels", "bound, from samples"]

    def cells(last: xr.Dataset, _: str) -> list[str]:
        retrained = last.sel(stage="retrained")
        return [
            written(retrained["sample_quality"].values, digits=2),
            written(retrained["sample_diversity"].values, digits=2),
            percent(retrained["conditional_accuracy"].values),
            written(retrained["log_likelihood_bound"].values, unit=" nats"),
            written(retrained["log_likelihood_bound_reverse"].values, unit=" nats"),
        ]

    rows = _rows(results, cells)
    for name in map(str, results["reference"].values):
        scores = [results[f"reference_{score}"].sel(reference=name).values for score in ("quality", "diversity")]
        read = percent(1 - results["pixel_error"].values) if name == "test digits" else "–"
        of_reference = [*(written(score, digits=2) for score in scores), read, "–", "–"]
        rows.append({"name": name, "colour": None, "cells": of_reference})
    return columns, rows


def _rows(results: xr.Dataset, cells: Callable[[xr.Dataset, str], list[str]]) -> list[dict[str, Any]]:
    """A row for the unpruned machine and one for every rule after the last round."""
    styles = rule_styles([str(name) for name in results["criterion"].values])
    unpruned = results.isel(criterion=0, round=0)
    rows: list[dict[str, Any]] = [{"name": "unpruned", "colour": None, "cells": cells(unpruned, "unpruned")}]
    for name, style in styles.items():
        last = results.sel(criterion=name).isel(round=-1)
        rows.append({"name": style.label, "colour": style.colour, "cells": cells(last, name)})
    return rows
