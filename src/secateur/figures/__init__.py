"""Figures of a study, drawn from its stored results and machines; nothing here trains or samples."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from matplotlib import style as matplotlib_style

from secateur.figures import curves, images
from secateur.figures.curves import Drawing
from secateur.figures.style import RC, RULE_STYLES, RuleStyle, rule_styles
from secateur.files import write_atomically
from secateur.studies.store import StudyFolder

__all__ = ["RULE_STYLES", "Caption", "RuleStyle", "draw_all", "rule_styles"]


class Caption(NamedTuple):
    """What a drawn figure shows."""

    title: str
    text: str


def draw_all(folder: StudyFolder) -> dict[str, Caption]:
    """Draw every figure of a digits study into ``figures/``, as PNG and as PDF.

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
    captions = {}
    # matplotlib's own defaults first, so that figures do not depend on the user's settings.
    with matplotlib_style.context(["default", RC]):
        for name, draw in {
            "test-error-over-synapses": curves.test_error_over_synapses,
            "test-error-over-rounds": curves.test_error_over_rounds,
            "retraining-gain": curves.retraining_gain,
            "units-over-synapses": curves.units_over_synapses,
            "units-over-rounds": curves.units_over_rounds,
            "sample-quality": curves.sample_quality,
            "sample-diversity": curves.sample_diversity,
            "example-samples": images.example_samples,
            "receptive-fields": lambda results: images.receptive_fields(results, folder),
            "lost-pixels": images.lost_pixels,
            "training-history": curves.training_history,
        }.items():
            drawing = draw(results)
            _save(drawing, folder.path / "figures" / name)
            captions[name] = Caption(drawing.title, drawing.caption)
    return captions


def _save(drawing: Drawing, path: Path) -> None:
    write_atomically(path.with_name(f"{path.name}.png"), lambda t: drawing.figure.savefig(t))
    drawing.figure.set_layout_engine("none")  # the layout found for the PNG file holds for the PDF file
    # Without a date equal results give equal files.
    write_atomically(
        path.with_name(f"{path.name}.pdf"),
        lambda t: drawing.figure.savefig(t, metadata={"CreationDate": None, "Title": drawing.title}),
    )
