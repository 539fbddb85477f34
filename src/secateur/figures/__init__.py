"""Figures and the words beside them, made of stored results and machines; nothing here trains or samples."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from secateur.figures.panels import Drawing
from secateur.figures.style import RULE_STYLES, RuleStyle, rule_styles
from secateur.storage.arrays import write_atomically

__all__ = ["RULE_STYLES", "Caption", "RuleStyle", "rule_styles", "save"]


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
