"""The figures of a study, drawn by its measures from stored results and machines."""

from __future__ import annotations

from matplotlib import style as matplotlib_style

from secateur.figures import Caption, save
from secateur.figures.style import RC
from secateur.studies.lines import rules_of
from secateur.studies.measures import Shown, measured
from secateur.studies.store import StudyFolder


def shown_of(folder: StudyFolder) -> Shown:
    """What measures draw and speak about."""
    everything = folder.results
    rules = rules_of([str(name) for name in everything["criterion"].values])
    return Shown(everything.sel(criterion=rules), folder.config, folder.provenance, folder.load_machine, everything)


def draw_all(folder: StudyFolder) -> dict[str, dict[str, Caption]]:
    """Draw every figure of a study into ``figures/``, as PNG and as PDF.

    Returns
    -------
    dict
        By section of the report: title and caption by the file's name without ending.

    Raises
    ------
    OSError
        If a machine's file is missing or the folder cannot be written.
    """
    shown = shown_of(folder)
    sections: dict[str, dict[str, Caption]] = {}
    # matplotlib's own defaults first, so that figures do not depend on the user's settings.
    with matplotlib_style.context(["default", RC]):
        for measure in measured(shown.results):
            for name, draw in measure.figures(shown).items():
                drawing = draw()
                save(drawing, folder.path / "figures" / name)
                sections.setdefault(measure.section, {})[name] = Caption(drawing.title, drawing.caption)
    return sections
