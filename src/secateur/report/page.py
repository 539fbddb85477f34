"""The page: figures, sentences and tables of a finished study, in one HTML file that needs no network."""

from __future__ import annotations

import base64
import shlex
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import xarray as xr

from secateur.figures import RULE_STYLES, draw_all, rule_styles
from secateur.figures.summary import has_error_bars, total_synapses
from secateur.files import write_atomically
from secateur.pruning import ImportanceSampling
from secateur.report.findings import expectations, headlines, percent, written
from secateur.studies.config import StudyConfig
from secateur.studies.store import StudyFolder

LARGEST_R_HAT = 1.1
"""Split R-hat above this value means that chains had not mixed."""

_DATASETS = {
    "handwritten-digits": "scikit-learn's handwritten digits (real, 8 × 8 pixels, binarised at the mean of the "
    "training pixels)"
}
_FILES = (
    ("study.toml", "every setting of this run"),
    ("provenance.json", "versions, seed, computer and times"),
    ("results.nc", "all measurements (netCDF), by trial, rule, round and stage"),
    ("machines/", "every machine after every round (safetensors)"),
    ("figures/", "the figures of this page as PNG and PDF"),
)


def write_report(folder: StudyFolder) -> Path:
    """Draw the figures of a finished study and write ``report.html`` from its stored results.

    Returns
    -------
    pathlib.Path
        The page: one file with everything in it.

    Raises
    ------
    OSError
        If a file of the study is missing or the folder cannot be written.
    """
    captions = draw_all(folder)
    figures = {
        name: {"title": caption.title, "text": caption.text, "source": _embedded(folder.path / "figures" / name)}
        for name, caption in captions.items()
    }
    # Undefined names are errors; everything is escaped, for names and texts come from users.
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("secateur.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.jinja").render(figures=figures, **_content(folder))
    path = folder.path / "report.html"
    write_atomically(path, lambda t: t.write_text(page, "utf-8"))
    return path


def _embedded(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.with_name(f"{path.name}.png").read_bytes()).decode("ascii")


def _content(folder: StudyFolder) -> dict[str, Any]:
    """Everything the template shows, figures apart."""
    results, config, facts = folder.results, folder.config, folder.provenance
    return {
        "config": config,
        "facts": facts,
        "finished": _finished(facts),
        "n_trials": results.sizes["trial"],
        "error_bars": has_error_bars(results),
        "what_ran": _what_ran(results, config),
        "headlines": headlines(results),
        "expectations": expectations(results),
        "final_columns": _final_columns(results),
        "final_rows": _final_rows(results),
        "trust_rows": _trust_rows(results),
        "sampling": config.importance if isinstance(config.importance, ImportanceSampling) else None,
        "largest_r_hat": LARGEST_R_HAT,
        "compile_share": _compile_share(facts),
        "command": _command(config),
        "own_rules": [name for name in config.criteria if name not in RULE_STYLES],
        "files": _FILES,
    }


def _what_ran(results: xr.Dataset, config: Any) -> list[tuple[str, str]]:
    """Data, machine, training, rules and rounds of a digits study in words."""
    model, pruning, training = config.model, config.pruning, config.training
    layers = " – ".join(map(str, (results.sizes["pixel"], *model.hidden)))
    synapses = written(total_synapses(results).isel(trial=[0], criterion=0, round=0).values, digits=0)
    fields = f" with {model.receptive_field} × {model.receptive_field} receptive fields in the first matrix"
    fractions = np.broadcast_to(pruning.fraction, results.sizes["matrix"])
    removed = " and ".join(f"{_share(share)} of matrix {place}" for place, share in enumerate(fractions, start=1))
    zeros = {
        "all": "all synapses of zero importance go, also where there are more",
        "fraction": "of synapses of zero importance only as many go",
    }
    labels = [style.label for style in rule_styles(config.criteria).values()]
    data = _DATASETS.get(config.data.dataset, config.data.dataset)
    seeds = f"seed {config.seed}{', each with its own split' if config.trials > 1 else ', with one split'}"
    return [
        ("Data", f"{data}; {_share(config.data.test_share)} of the images kept for testing"),
        (
            "Machine",
            f"{'deep ' if len(model.hidden) > 1 else ''}Boltzmann machine with {layers} units (pixels first) and "
            f"{synapses} synapses{fields if model.receptive_field else ''}",
        ),
        (
            "Training",
            f"{config.pretraining.n_epochs} epochs of pretraining per layer, {training.n_epochs} of joint training "
            f"({training.method.upper()}), {config.retraining.n_epochs} of retraining after every round",
        ),
        ("Rules", ", ".join(labels)),
        (
            "Pruning",
            f"{_count(config.rounds, 'round')}, each removing {removed} (of what is left); {zeros[pruning.zeros]}",
        ),
        ("Trials", f"{_count(config.trials, 'trial')} from {seeds} into training and test images"),
    ]


def _share(value: float) -> str:
    return f"{value * 100:.0f}\N{NO-BREAK SPACE}%"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


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


def _trust_rows(results: xr.Dataset) -> list[dict[str, Any]]:
    """Per rule: how well the model states behind the Fisher information had mixed, over trials and rounds."""
    rows = []
    for name, style in rule_styles([str(n) for n in results["criterion"].values]).items():
        sizes, r_hats = (
            results[variable].sel(criterion=name).values for variable in ("effective_sample_size", "split_r_hat")
        )
        sizes, r_hats = sizes[np.isfinite(sizes)], r_hats[np.isfinite(r_hats)]
        n_high = int((r_hats > LARGEST_R_HAT).sum())
        rows.append(
            {
                "name": style.label,
                "colour": style.colour,
                "smallest": f"{sizes.min():,.0f}" if sizes.size else "not measured",
                "median": f"{np.median(sizes):,.0f}" if sizes.size else "not measured",
                "worst": f"{r_hats.max():.3f}" if r_hats.size else "not measured",
                "high": f"{n_high} of {r_hats.size}",
                "flagged": n_high > 0,
            }
        )
    return rows


def _finished(facts: dict[str, Any]) -> str | None:
    if "finished" not in facts:
        return None
    return datetime.fromisoformat(facts["finished"]).strftime("%d %B %Y, %H:%M %Z")


def _compile_share(facts: dict[str, Any]) -> str | None:
    if "compile_share" not in facts:
        return None
    return (
        f"{_share(facts['compile_share'])} of the run's {facts['total_seconds']:,.0f} s "
        f"({facts['n_compilations']} compilations)"
    )


def _command(config: StudyConfig) -> str:
    """The command that repeats the run; all settings, the seed among them, are in ``study.toml``."""
    return f"secateur run study.toml --seed {config.seed} --out {shlex.quote(f'{config.name}-again')}"
