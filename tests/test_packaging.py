"""What is published: declared imports, data files, one version, links. The wheel itself: make test-wheel."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import secateur

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "secateur"
MODULES = {"scikit-learn": "sklearn", "tomli-w": "tomli_w", "annotated-types": "annotated_types"}
DATA = {".csv", ".h5", ".mat", ".nc", ".npy", ".npz", ".nwb", ".safetensors"}

pytestmark = pytest.mark.skipif(not PACKAGE.is_dir(), reason="looks at src and pyproject.toml, which a wheel lacks")


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module.partition(".")[0]


def undeclared(names, declared):
    known = {MODULES.get(name, name) for name in (re.split(r"[^\w-]", one)[0] for one in declared)}
    return set(names) - known - set(sys.stdlib_module_names) - {"secateur"}


def test_every_import_is_declared():
    names = {name for path in PACKAGE.rglob("*.py") for name in imported(ast.parse(path.read_text("utf-8")))}
    declared = project()["dependencies"]
    assert undeclared(names, declared) == set()
    # Planted fault: one declaration fewer.
    assert undeclared(names, [one for one in declared if not one.startswith("pandas")]) == {"pandas"}


def test_no_file_of_the_package_is_ignored():
    """The build backend leaves out what .gitignore names."""
    files = [p for p in PACKAGE.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    names = "\n".join(str(path.relative_to(ROOT)) for path in files)
    command = ["git", "-C", str(ROOT), "check-ignore", "--no-index", "--stdin"]
    try:
        found = subprocess.run(command, input=names, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no git here")
    if found.returncode == 128:
        pytest.skip("no checkout of git")
    assert found.stdout.split() == []
    planted = subprocess.run(command, input="src/secateur/a.egg-info/x", capture_output=True, text=True, check=False)
    assert planted.stdout.split() == ["src/secateur/a.egg-info/x"]
    assert {"src/secateur/py.typed", "src/secateur/studies/digits.toml"} <= set(names.splitlines())


def test_data_files_stand_in_the_notice():
    notice = (ROOT / "NOTICE").read_text("utf-8")
    named = [path.name for path in PACKAGE.rglob("*") if path.suffix in DATA]
    assert [name for name in named if name not in notice] == []
    assert all((ROOT / name).is_file() for name in project()["license-files"])


def test_the_version_stands_in_one_place():
    version = project()["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
    assert secateur.__version__ == metadata.version("secateur") == version  # else: install again


def test_readme_has_no_links_that_a_package_index_breaks():
    links = re.findall(r"\]\(([^)\s]+)\)", (ROOT / "README.md").read_text("utf-8"))
    assert links and [link for link in links if not link.startswith("https://")] == []


def test_pythons_of_the_classifiers_are_tested():
    named = [one.rpartition(" ")[2] for one in project()["classifiers"] if re.search(r":: 3\.\d+$", one)]
    workflow = (ROOT / ".github" / "workflows" / "tests.yml").read_text("utf-8")
    assert re.findall(r'"(3[.][0-9]+)"', workflow.partition("python: [")[2].partition("]")[0]) == named != []
