"""The Python examples of the README and the docs run as they stand."""

import re
from pathlib import Path

import jax
import pytest

from secateur.pruning import rules, schedules
from secateur.sampling import sampler
from secateur.studies import measures

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", [p for p in PAGES if "```python" in p.read_text("utf-8")], ids=lambda p: p.name)
def test_examples_run(page, monkeypatch):
    registries = ((rules, "RULES"), (sampler, "_FACTORIES"), (schedules, "_SCHEDULES"), (measures, "MEASURES"))
    for registry, names in registries:
        monkeypatch.setattr(registry, names, dict(getattr(registry, names)))  # what a page registers is gone after it
    code = "\n".join(re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), flags=re.DOTALL))
    # As for users: results may meet arrays of another precision.
    with jax.numpy_dtype_promotion("standard"):
        exec(compile(code, str(page), "exec"), {})
