"""The report of a fitted recording: one self-contained page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from secateur.figures.pruned_recordings import draw_pruned
from secateur.figures.recordings import draw_recording
from secateur.report.page import embedded, environment, finished
from secateur.storage.arrays import write_atomically

GROUPS = {
    "predict": (
        "held-out-likelihood",
        "rates",
        "correlations",
        "triplet-correlations",
        "population-count",
        "rank-frequency",
        "specific-heat",
    ),
    "stiff": (
        "stiffness-of-units",
        "coupling-map",
        "fisher-spectrum",
        "loadings",
        "ranking-stability",
    ),
    "hidden": ("assemblies",),
}
"""Figures of each part of the page."""

_FILES = (
    ("recording.toml", "settings of this fit"),
    ("provenance.json", "versions, seed, computer, times, checksum of the words"),
    ("results.nc", "everything that is drawn here (netCDF)"),
    ("words.npz", "the words"),
    ("machines/", "the machine (safetensors): secateur info, prune, sample and fisher read it"),
    ("tables/", "Fisher information of every unit and coupling, held-out likelihoods, stability (CSV)"),
    ("pruning/", "what pruning gave ('secateur prune' on this folder), if it was done"),
    ("figures/", "the figures of this page as PNG and PDF"),
)


def write_recording_report(
    folder: Path,
    results: xr.Dataset,
    facts: dict[str, Any],
    settings: dict[str, Any],
    pruned: dict[str, xr.Dataset] | None = None,
) -> Path:
    """Draw the figures of a fitted recording and write ``report.html`` from its stored results.

    Parameters
    ----------
    folder
        The recording's folder.
    results, facts, settings
        Its results, provenance and settings (:class:`secateur.recordings.folder.RecordingFolder`).
    pruned
        What was pruned, if anything (:func:`secateur.recordings.pruned.pruned_results`).

    Returns
    -------
    pathlib.Path
        The page: one file with everything in it.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    captions = draw_recording(results, folder)
    of_pruning = {what: draw_pruned(one, folder) for what, one in (pruned or {}).items()}
    for drawn in of_pruning.values():
        captions |= drawn
    figures = {
        name: {"title": caption.title, "text": caption.text, "source": embedded(folder / "figures" / name)}
        for name, caption in captions.items()
    }
    found = _sentences(results, "findings")
    kinds = ("comparison", "stiffness", "stability", "heat")
    every = [s for kind in kinds for s in _sentences(results, f"{kind}_sentences")]
    page = (
        environment()
        .get_template("recording.html.jinja")
        .render(
            attrs=results.attrs,
            facts=facts,
            finished=finished(facts),
            findings=found,
            grounds=list(
                zip(*(_sentences(results, f"ground_{n}") for n in ("names", "findings", "verdicts")), strict=True)
            ),
            bins=_bins(results.attrs),
            held_out=_held_out(results.attrs),
            explained=(_WHOSE[results.attrs["fisher_matrix"]], _CONVENTIONS[results.attrs["convention"]]),
            summary=str(results.attrs["summary"]).splitlines(),
            trust=[*_sentences(results, "warnings"), *(s for s in every if s not in found)],
            figures=figures,
            pruned=[
                (_NOUN[what], _sentences(one, "sentences"), list(of_pruning[what]))
                for what, one in (pruned or {}).items()
            ],
            groups=GROUPS,
            command=_command(settings),
            files=_FILES,
        )
    )
    path = folder / "report.html"
    write_atomically(path, lambda t: t.write_text(page, "utf-8"))
    return path


_NOUN = {"couplings": "couplings of the pairwise model", "machine": "synapses of the machine"}
_WHOSE = {
    "joint": "The joint matrix is that of the model over all its units. A model without hidden units has only one.",
    "visible": "The visible matrix is that of what is observed, hidden states unknown; a model without hidden units "
    "has only one.",
}
_CONVENTIONS = {
    "0/1": "Convention 0/1: parameters of units that are 0 or 1. A coupling is informative where two units often fire "
    "together.",
    "+-1": "Convention +-1: parameters of units that are -1 or +1. A coupling is informative where two units agree "
    "about as often as not.",
    "theta-scaled": "Convention theta-scaled: relative changes of the parameters of 0/1 units. A coupling is "
    "informative where it is large and its units often fire together.",
}


def _bins(attrs: dict[str, Any]) -> str:
    """How many bins there are and how wide, in words."""
    size = float(attrs["bin_size"])
    wide = f" of {1000 * size:g} ms" if np.isfinite(size) else " (their width is not known)"
    return f"{attrs['n_bins']:,} bins{wide} in {attrs['n_epochs']} epoch{'s' if attrs['n_epochs'] > 1 else ''}"


def _held_out(attrs: dict[str, Any]) -> str:
    """Which epochs were held out, in words."""
    names = attrs["held_out_epochs"]
    if attrs["n_folds"] > 1:
        what = f"epoch ({names})" if attrs["n_epochs"] > 1 else "bin"
        return f"every {what} held out once, in {attrs['n_folds']} folds"
    return f"held out: epoch{'s' * (not str(names).isdecimal())} {names}"


def _sentences(results: xr.Dataset, name: str) -> list[str]:
    """Sentences of an attribute, which is missing where there are none; a single one is stored as a plain text."""
    return [str(sentence) for sentence in np.atleast_1d(results.attrs.get(name, []))]


def _command(settings: dict[str, Any]) -> str:
    """The command that repeats the fit; settings of training other than the default are in ``recording.toml``."""
    hidden = ",".join(str(n) for n in settings["hidden"])
    whose = f"--fisher {settings['fisher']} --convention {settings['convention']}"
    held = settings.get("hold_out")
    split = f"--folds {settings['folds']}" if held is None else f"--hold-out {','.join(map(str, held))}"
    size = f"--hidden {hidden} {split}"
    return f"secateur fit words.npz {size} {whose} --seed {settings['seed']} --out again"
