"""The map of the rooms in CONTRIBUTING.md holds: imports, first lines, sizes of modules."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "secateur"
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
LONGEST = 400

pytestmark = pytest.mark.skipif(not PACKAGE.is_dir(), reason="looks at src and pyproject.toml, which a wheel lacks")


def _lint(folder: Path, config: Path) -> subprocess.CompletedProcess:
    script = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"
    command = [sys.executable, "-c", script, "--config", str(config), "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_rooms_import_downwards_only():
    found = _lint(ROOT, ROOT / "pyproject.toml")
    assert found.returncode == 0, found.stdout


def test_an_import_from_above_is_found(tmp_path):
    """Twin: one room turned upside down in the contract breaks it."""
    text = (ROOT / "pyproject.toml").read_text()
    swapped = text.replace('  "sampling",\n  "storage",\n  "model",', '  "model",\n  "storage",\n  "sampling",')
    assert swapped != text
    config = tmp_path / "pyproject.toml"
    config.write_text(swapped)
    found = _lint(ROOT, config)
    assert found.returncode == 1 and "BROKEN" in found.stdout


def test_the_map_names_every_room():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    drawn = text[text.index("## Where things go") :].split("\n\n")[2]
    assert sorted(set(re.findall(r"[a-z]+", drawn)) & set(ROOMS)) == ROOMS


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_in_its_first_line_what_it_holds(room):
    line = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text()))
    assert line and len(line.splitlines()[0]) > 20


def test_nothing_lies_beside_the_rooms():
    # __main__ is what "python -m secateur" runs.
    assert sorted(path.name for path in PACKAGE.glob("*.py")) == ["__init__.py", "__main__.py"]


def test_no_module_is_longer_than_it_may_be():
    lengths = {path: len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {path.name: n for path, n in lengths.items() if n > LONGEST} == {}
