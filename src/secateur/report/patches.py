"""What the page of a patches study shows beside its figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from secateur.figures.published import CITATION, published_units
from secateur.figures.style import rule_styles
from secateur.figures.synapse_fate import QUANTITIES
from secateur.report.patches_findings import (
    agreement,
    divergences,
    expectations,
    headlines,
    least_loss,
    synapses_left,
    units_left,
)
from secateur.report.settings import machine_in_words, pruning_in_words, rules_in_words
from secateur.report.wording import count, percent, written
from secateur.studies.config import PatchesConfig
from secateur.training import TrainingSettings

_METHODS = {"cd": "contrastive divergence", "pcd": "persistent chains", "exact": "the exact gradient"}


def patches_content(results: xr.Dataset, config: PatchesConfig) -> dict[str, Any]:
    """Findings, settings and tables of a patches study, for its template."""
    columns, rows = _units_table(results)
    return {
        "what_ran": _what_ran(results, config),
        "headlines": headlines(results),
        "findings": list(filter(None, [*least_loss(results), agreement(results)])),
        "expectations": expectations(results, config),
        "final_columns": _FINAL_COLUMNS,
        "final_rows": _final_rows(results),
        "units_columns": columns,
        "units_rows": rows,
        "citation": CITATION if published_units(results) else None,
        "fate_columns": [short for short, _, _ in QUANTITIES.values()],
        "fate_rows": _fate_rows(results),
        "n_samples": config.evaluation.n_samples,
        "unseen": percent(_unpruned(results, "unseen_share")),
        "exact_error": written(_unpruned(results, "log_frequency_error", estimate="exact"), digits=2),
        "sampled_error": written(_unpruned(results, "log_frequency_error", estimate="sampled"), digits=2),
    }


def _what_ran(results: xr.Dataset, config: PatchesConfig) -> list[tuple[str, str]]:
    """Data, machine, training, rules and rounds in words."""
    # Attributes that stand for truth values are stored as text.
    overlap = str(results.attrs["overlapping_patches"]) == "True"
    shared = "Patches of one image overlap" if overlap else "Patches do not overlap"
    seeds = f"seed {config.seed}, each with its own draw of images" if config.trials > 1 else f"seed {config.seed}"
    return [
        ("Data", f"{results.attrs['source']} {shared}. (The sentence describes trial 1.)"),
        ("Machine", machine_in_words(results, config)),
        (
            "Training",
            f"{_in_words(config.training)}; after every pruning {_in_words(config.retraining)}",
        ),
        ("Rules", rules_in_words(config)),
        ("Pruning", pruning_in_words(results, config)),
        ("Trials", f"{count(config.trials, 'trial')} from {seeds}"),
    ]


def _in_words(training: TrainingSettings) -> str:
    method = _METHODS[training.method]
    if training.method == "exact":
        return f"{count(training.n_epochs, 'iteration')} on {method}"
    first, *_, last = np.atleast_1d(training.learning_rate)
    return (
        f"{count(training.n_epochs, 'epoch')} of {method} ({count(training.n_sweeps, 'sweep')}), batches of "
        f"{training.batch_size}, learning rate {first:g} to {last:g}"
    )


def _unpruned(results: xr.Dataset, variable: str, estimate: str | None = None) -> np.ndarray:
    """A measurement of every trial's unpruned machine."""
    values = results[variable].isel(criterion=0, round=0).sel(stage="retrained")
    return (values if estimate is None else values.sel(estimate=estimate)).values


_FINAL_COLUMNS = [
    "synapses",
    "hidden units",
    "KL, pruned (nats)",
    "KL (nats)",
    "test log-likelihood (nats)",
    "log-frequency error, pruned",
    "log-frequency error",
    "log-frequency error, sampled",
]


def _final_rows(results: xr.Dataset) -> list[dict[str, Any]]:
    """Numbers after the last round per rule, below those of the unpruned machine."""
    criteria = [str(name) for name in results["criterion"].values]
    rows = [{"name": "unpruned", "colour": None, "cells": _final_cells(results, criteria[0], 0)}]
    for name, style in rule_styles(criteria).items():
        rows.append({"name": style.label, "colour": style.colour, "cells": _final_cells(results, name, -1)})
    return rows


def _final_cells(results: xr.Dataset, criterion: str, number: int) -> list[str]:
    last = results.sel(criterion=criterion).isel(round=number)
    errors = last["log_frequency_error"]
    return [
        written(synapses_left(results, criterion)[:, number], digits=0),
        written(units_left(results, criterion)[:, number]),
        written(divergences(results, criterion, "pruned")[:, number], digits=2),
        written(divergences(results, criterion, "retrained")[:, number], digits=3),
        written(last["test_log_likelihood"].sel(stage="retrained").values, digits=3),
        *(written(errors.sel(stage=stage, estimate="exact").values, digits=2) for stage in ("pruned", "retrained")),
        written(errors.sel(stage="retrained", estimate="sampled").values, digits=2),
    ]


def _units_table(results: xr.Dataset) -> tuple[list[str], list[dict[str, Any]]]:
    """Hidden units after every round, mean and standard deviation over trials, beside the published run."""
    criteria = [str(name) for name in results["criterion"].values]
    published = published_units(results)
    n_published = max((len(counts) for counts in published.values()), default=0)
    columns, rows = [], []
    for number in range(1, results.sizes["round"]):
        columns += [f"round {number}", *([f"published, round {number}"] if number <= n_published else [])]
    for name, style in rule_styles(criteria).items():
        cells = []
        for number in range(1, results.sizes["round"]):
            cells.append(_spread(units_left(results, name)[:, number]))
            if number <= n_published:
                cells.append(str(published[name][number - 1]) if name in published else "–")
        rows.append({"name": style.label, "colour": style.colour, "cells": cells})
    return columns, rows


def _spread(values: np.ndarray) -> str:
    """Mean and standard deviation over trials; the mean alone for one trial."""
    values = values[np.isfinite(values)]
    if not values.size:
        return "not measured"
    text = f"{values.mean():.1f}"
    return text if values.size == 1 else f"{text}\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{values.std(ddof=1):.1f}"


def _fate_rows(results: xr.Dataset) -> list[dict[str, Any]]:
    """Share that the first round removes in the lowest and in the highest decile of each quantity, per rule."""
    first = results["elimination_probability"].isel(round=1).transpose("criterion", "quantity", "decile", "trial")
    rows = []
    for name, style in rule_styles([str(n) for n in results["criterion"].values]).items():
        cells = []
        for quantity in QUANTITIES:
            low, high = (first.sel(criterion=name, quantity=quantity).isel(decile=end).values for end in (0, -1))
            known = np.isfinite(low).any() and np.isfinite(high).any()
            cells.append(f"{percent(low)} → {percent(high)}" if known else "not measured")
        rows.append({"name": style.label, "colour": style.colour, "cells": cells})
    return rows
