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

from secateur.figures import RULE_STYLES, Caption, rule_styles
from secateur.figures.comparisons import quantile
from secateur.figures.images import LARGEST_R_HAT
from secateur.figures.summary import has_error_bars
from secateur.figures.wording import share
from secateur.pruning import ImportanceSampling
from secateur.report.content import findings_content
from secateur.report.drawing import draw_all, shown_of
from secateur.storage.arrays import write_atomically
from secateur.studies.config import StudyConfig
from secateur.studies.sessions import mixed_versions
from secateur.studies.store import StudyFolder

FIRST_TRAINING = "first training"
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
    shown = shown_of(folder)
    sections = [
        (heading, [(name, _embedded_figure(folder, name, caption)) for name, caption in captions.items()])
        for heading, captions in draw_all(folder).items()
    ]
    template = environment().get_template("study.html.jinja")
    page = template.render(sections=sections, **_content(folder, shown.results), **findings_content(shown))
    path = folder.path / "report.html"
    write_atomically(path, lambda t: t.write_text(page, "utf-8"))
    return path


def _embedded_figure(folder: StudyFolder, name: str, caption: Caption) -> dict[str, str]:
    return {"title": caption.title, "text": caption.text, "source": embedded(folder.path / "figures" / name)}


def environment() -> jinja2.Environment:
    """Templates of pages: undefined names are errors; everything is escaped, for names and texts come from users."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("secateur.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def embedded(path: Path) -> str:
    """A PNG file, named without its ending, as the source of an image."""
    return "data:image/png;base64," + base64.b64encode(path.with_name(f"{path.name}.png").read_bytes()).decode("ascii")


def _content(folder: StudyFolder, results: xr.Dataset) -> dict[str, Any]:
    """What the page of any study shows, figures apart; ``results``: of the rules."""
    config, facts = folder.config, folder.provenance
    return {
        "config": config,
        "facts": facts,
        "finished": finished(facts),
        "mixed": mixed_versions(facts),
        "n_sessions": len(facts.get("sessions", [])),
        "n_trials": results.sizes["trial"],
        "error_bars": has_error_bars(results),
        "t_quantile": quantile(np.zeros(results.sizes["trial"])),
        "trust_rows": _trust_rows(results),
        "sampling": config.importance if isinstance(config.importance, ImportanceSampling) else None,
        "largest_r_hat": LARGEST_R_HAT,
        "compile_share": _compile_share(facts),
        "time_columns": _time_table(facts)[0],
        "time_rows": _time_table(facts)[1],
        "command": _command(config),
        "own_rules": [name for name in config.criteria if name not in RULE_STYLES],
        "files": _FILES,
    }


def finished(facts: dict[str, Any]) -> str | None:
    """When a run ended, in words."""
    if "finished" not in facts:
        return None
    return datetime.fromisoformat(facts["finished"]).strftime("%d %B %Y, %H:%M %Z")


def _compile_share(facts: dict[str, Any]) -> str | None:
    if "compile_share" not in facts:
        return None
    return (
        f"{share(facts['compile_share'])} of the run's {facts['total_seconds']:,.0f} s "
        f"({facts['n_compilations']} compilations)"
    )


def _time_table(facts: dict[str, Any]) -> tuple[list[str], list[dict[str, Any]]]:
    """Seconds of the first training and of every rule, one row per batch of trials; empty where not recorded."""
    by_trials: dict[str, dict[str, float]] = facts.get("seconds_by_trials", {})
    columns = list(dict.fromkeys(name for seconds in by_trials.values() for name in seconds))
    labels = {name: style.label for name, style in rule_styles([c for c in columns if c != FIRST_TRAINING]).items()}
    rows = [
        {
            "name": trials,
            "colour": None,
            "cells": [f"{seconds[name]:,.0f}" if name in seconds else "–" for name in columns],
        }
        for trials, seconds in by_trials.items()
    ]
    return [labels.get(name, name) for name in columns], rows


def _command(config: StudyConfig) -> str:
    """The command that repeats the run; all settings, the seed among them, are in ``study.toml``."""
    return f"secateur run study.toml --seed {config.seed} --out {shlex.quote(f'{config.name}-again')}"


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
