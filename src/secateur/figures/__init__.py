"""Drawing on one's own axes: Fisher maps, spectra, receptive fields, curves of a study, stiffness, assemblies.

Every function takes ``ax`` and returns it, and draws plain results: machines, what ``secateur.fisher`` and
``secateur.recordings`` return, results of studies. Figures of reports are made of the same functions. Nothing here
trains or samples, and nothing global changes.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from secateur.figures.curve import curve
from secateur.figures.machines import fisher_map, fisher_matrix, receptive_fields, spectrum
from secateur.figures.neurons import assemblies, stiff_couplings, stiff_units
from secateur.figures.panels import Drawing
from secateur.figures.style import RULE_STYLES, RuleStyle, rule_styles
from secateur.storage.arrays import write_atomically

__all__ = [
    "RULE_STYLES",
    "Caption",
    "RuleStyle",
    "assemblies",
    "curve",
    "fisher_map",
    "fisher_matrix",
    "receptive_fields",
    "rule_styles",
    "save",
    "spectrum",
    "stiff_couplings",
    "stiff_units",
]


class Caption(NamedTuple):
    """What a drawn figure shows."""

    title: str
    text: str


def save(drawing: Drawing, path: Path) -> None:
    """Write a figure as PNG and as PDF."""
    write_atomically(path.with_name(f"{path.name}.png"), lambda t: drawing.figure.savefig(t))
    drawing.figure.set_layout_engine("none")  # the layout found for the PNG file holds for the PDF file
    # Without a date equal results give equal files.
    write_atomically(
        path.with_name(f"{path.name}.pdf"),
        lambda t: drawing.figure.savefig(t, metadata={"CreationDate": None, "Title": drawing.title}),
    )
