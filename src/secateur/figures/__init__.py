"""Figures of a study, drawn from its stored results and machines; nothing here trains or samples."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import xarray as xr
from matplotlib import style as matplotlib_style

from secateur.figures import activity, costs, curves, fisher_maps, generation, images, likelihoods, synapse_fate
from secateur.figures.panels import Drawing
from secateur.figures.style import RC, RULE_STYLES, RuleStyle, rule_styles
from secateur.storage.arrays import write_atomically
from secateur.studies.store import StudyFolder

__all__ = ["RULE_STYLES", "Caption", "RuleStyle", "draw_all", "rule_styles", "save"]


class Caption(NamedTuple):
    """What a drawn figure shows."""

    title: str
    text: str


def draw_all(folder: StudyFolder) -> dict[str, Caption]:
    """Draw every figure of a study, by its kind, into ``figures/``, as PNG and as PDF.

    Returns
    -------
    dict
        Title and caption by the file's name without ending, in the order of the report.

    Raises
    ------
    OSError
        If a machine's file is missing or the folder cannot be written.
    """
    results = folder.results
    figures = _patches_figures(results, folder) if folder.config.kind == "patches" else _digits_figures(results, folder)
    captions = {}
    # matplotlib's own defaults first, so that figures do not depend on the user's settings.
    with matplotlib_style.context(["default", RC]):
        for name, draw in figures.items():
            drawing = draw()
            save(drawing, folder.path / "figures" / name)
            captions[name] = Caption(drawing.title, drawing.caption)
    return captions


def _digits_figures(results: xr.Dataset, folder: StudyFolder) -> dict[str, Callable[[], Drawing]]:
    config = folder.config
    return {
        "test-error-over-synapses": partial(curves.test_error_over_synapses, results, config),
        "test-error-over-rounds": partial(curves.test_error_over_rounds, results),
        "retraining-gain": partial(curves.retraining_gain, results),
        "units-over-synapses": partial(curves.units_over_synapses, results, config),
        "units-over-rounds": partial(curves.units_over_rounds, results, config),
        "machine-bytes": partial(costs.machine_bytes, results),
        "sweep-times": partial(costs.sweep_times, results, folder.provenance),
        "sample-quality": partial(generation.sample_quality, results, config),
        "sample-diversity": partial(generation.sample_diversity, results),
        "samples-over-rounds": partial(generation.samples_over_rounds, results),
        "conditional-accuracy": partial(generation.conditional_accuracy, results),
        "log-likelihood-bound": partial(generation.log_likelihood_bound, results),
        "example-samples": partial(images.example_samples, results),
        "receptive-fields": partial(images.receptive_fields, results, folder),
        "lost-pixels": partial(images.lost_pixels, results),
        "training-history": partial(curves.training_history, results),
    }


def _patches_figures(results: xr.Dataset, folder: StudyFolder) -> dict[str, Callable[[], Drawing]]:
    trained = fisher_maps.TrainedMachine(results, folder)
    by_frequency = {
        f"log-frequencies-{stage}-round-{number:02d}": partial(
            likelihoods.log_frequency_by_frequency, results, stage, number
        )
        for stage in likelihoods.STAGES
        for number in sorted({1, int(results["round"].values[-1])})
    }
    return {
        "fisher-matrix": partial(fisher_maps.whole_matrix, trained),
        "leading-eigenvector": partial(fisher_maps.leading_eigenvector, trained),
        "fisher-diagonal": partial(fisher_maps.diagonal, trained),
        "eigenvalue-spectrum": partial(fisher_maps.spectrum, results),
        "population-count": partial(activity.population_count, results),
        "rank-frequency": partial(activity.rank_frequency, results),
        **by_frequency,
        "log-frequency-error": partial(likelihoods.log_frequency_error, results),
        "kl-divergence": partial(likelihoods.divergence, results),
        "test-log-likelihood": partial(likelihoods.test_likelihood, results),
        "units-over-synapses": partial(curves.units_over_synapses, results),
        "units-over-rounds": partial(curves.units_over_rounds, results),
        "receptive-fields": partial(images.receptive_fields, results, folder),
        "elimination-by-weight": partial(synapse_fate.elimination, results, "weight"),
        "elimination-by-presynaptic-rate": partial(synapse_fate.elimination, results, "presynaptic rate"),
        "elimination-by-postsynaptic-rate": partial(synapse_fate.elimination, results, "postsynaptic rate"),
        "rank-correlations": partial(synapse_fate.rank_correlations, results),
    }


def save(drawing: Drawing, path: Path) -> None:
    """Write a figure as PNG and as PDF."""
    write_atomically(path.with_name(f"{path.name}.png"), lambda t: drawing.figure.savefig(t))
    drawing.figure.set_layout_engine("none")  # the layout found for the PNG file holds for the PDF file
    # Without a date equal results give equal files.
    write_atomically(
        path.with_name(f"{path.name}.pdf"),
        lambda t: drawing.figure.savefig(t, metadata={"CreationDate": None, "Title": drawing.title}),
    )
