"""Put the numbers and figures of a finished digits study into the documents: ``make docs-digits STUDY=DIR``.

Writes into ``docs/digits/``: ``results.nc``, the chosen figures as PNG (drawn by ``secateur report``), and
``comparison.md`` with the tables beside the published numbers.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from secateur.figures.published import is_published_digits
from secateur.report import write_report
from secateur.report.published_comparison import markdown
from secateur.studies import StudyFolder

FIGURES = (
    "test-error-over-synapses",
    "test-error-over-rounds",
    "retraining-gain",
    "units-over-synapses",
    "units-over-rounds",
    "sweep-times",
    "machine-bytes",
    "sample-quality",
    "samples-over-rounds",
    "conditional-accuracy",
    "test-log-likelihood",
    "example-samples",
    "receptive-fields",
    "lost-pixels",
)
DOCS = Path(__file__).parent.parent / "docs" / "digits"


def write_docs(study: Path, docs: Path) -> None:
    """Write tables, figures and results of a study of the published machine into a folder.

    Raises
    ------
    ValueError
        If there is no finished digits study of the published machine (MNIST, 20 x 20, 400-400-676).
    """
    folder = StudyFolder.open(study)
    if not is_published_digits(folder.results):
        raise ValueError(
            f"{str(study)!r} is not a digits study of the published machine; run one with "
            "'secateur run digits --size paper' or --size first-version"
        )
    write_report(folder)
    docs.mkdir(parents=True, exist_ok=True)
    for name in FIGURES:
        shutil.copyfile(folder.path / "figures" / f"{name}.png", docs / f"{name}.png")
    shutil.copyfile(folder.path / "results.nc", docs / "results.nc")
    (docs / "comparison.md").write_text(markdown(folder.results), "utf-8")


def main() -> int:
    """Exit code 2 where the study does not fit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="folder of a finished study")
    try:
        write_docs(parser.parse_args().study, DOCS)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
