"""Code of the manual's pages: run as it stands, with what it prints and the pictures it makes.

``python tools/page_code.py`` makes the pictures of all pages anew; the tests run every page and compare what it prints.
A block that prints is followed by a block ``text`` with the title *Output*, or *Output, about* where other processors
may give slightly other numbers. A page shows ``pictures/NAME.png`` where its code saves ``NAME.png``.
"""

from __future__ import annotations

import io
import math
import os
import re
import shutil
import sys
import tempfile
from contextlib import chdir, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
TOLERANCE = 0.1
"""Relative difference of numbers that are stated *about*."""

_BLOCK = re.compile(
    r'^```python\n(.*?)^```$(?:\n+^```text title="(Output(?:, about)?)"\n(.*?)^```$)?', re.DOTALL | re.MULTILINE
)
_NUMBER = re.compile(r"-?\d[\d,]*\.?\d*(?:e-?\d+)?")


class Block(NamedTuple):
    """A block of Python on a page, with what it prints; ``None`` where the page does not say."""

    line: int
    code: str
    output: str | None
    about: bool


def pages() -> list[Path]:
    """The README and every page of the manual that has Python code."""
    every = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in every if "```python\n" in page.read_text("utf-8")]


def blocks(page: Path) -> list[Block]:
    """Blocks of Python on a page, in order."""
    text = page.read_text("utf-8")
    return [
        Block(text.count("\n", 0, found.start(1)), found[1], found[3], found[2] == "Output, about")
        for found in _BLOCK.finditer(text)
    ]


def pictures(page: Path) -> list[str]:
    """Names of the pictures that the page's code makes."""
    return re.findall(r"\]\(pictures/([\w-]+\.png)\)", page.read_text("utf-8"))


def run(page: Path) -> list[tuple[Block, str]]:
    """Run the blocks of a page one after another, in one namespace; each with what it printed."""
    names: dict[str, Any] = {}
    found = []
    for block in blocks(page):
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(compile("\n" * block.line + block.code, str(page), "exec"), names)
        found.append((block, printed.getvalue()))
    return found


def differs(block: Block, printed: str) -> str:
    """How what was printed differs from what the page says; empty where it does not."""
    if block.output is None or printed == block.output:
        return ""
    told = f"line {block.line}: the page says\n{block.output}but this was printed\n{printed}"
    if not block.about or _NUMBER.sub("0", printed) != _NUMBER.sub("0", block.output):
        return told
    numbers = [[float(n.replace(",", "")) for n in _NUMBER.findall(text)] for text in (printed, block.output)]
    near = (math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=0.02) for a, b in zip(*numbers, strict=True))
    return "" if all(near) else told


def main() -> None:
    """Make the pictures of every page, and say what its code prints otherwise than it says."""
    os.environ.setdefault("MPLBACKEND", "agg")
    chosen = [page for page in pages() if not sys.argv[1:] or page.stem in sys.argv[1:]]
    for page in (page for page in chosen if pictures(page) or any(block.output for block in blocks(page))):
        with tempfile.TemporaryDirectory() as folder:
            with chdir(folder):
                results = run(page)
            for block, printed in results:
                if told := differs(block, printed):
                    print(f"{page.relative_to(ROOT)}, {told}")
            for name in pictures(page):
                (page.parent / "pictures").mkdir(exist_ok=True)
                shutil.copyfile(Path(folder) / name, page.parent / "pictures" / name)


if __name__ == "__main__":
    main()
