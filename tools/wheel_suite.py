"""Build a wheel and an sdist from a clean clone, and run the default suite on the wheel, away from the checkout.

``python tools/wheel_suite.py [--tag vX.Y.Z] [--keep FOLDER] [pytest arguments]``. Beside the tests lie copies of
README.md and docs, whose examples are run; nothing of src is there. What needs src or pyproject.toml is skipped, and
listed with its reason at the end.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BESIDE_TESTS = ("tests", "tools", "docs", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "mkdocs.yml")


def main() -> int:
    """Exit code of the suite; 1 if the package itself is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tag", help="fail unless this tag is v and the version")
    parser.add_argument("--keep", type=Path, help="folder that wheel and sdist are copied to after a suite that passed")
    options, pytest_arguments = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="secateur-wheel-") as name:
        folder = Path(name)
        clone = _cloned(folder)
        version = tomllib.loads((clone / "pyproject.toml").read_text("utf-8"))["project"]["version"]
        if options.tag is not None and options.tag != f"v{version}":
            return _fail(f"the tag is {options.tag}, the version in pyproject.toml {version}; tag v{version}")
        wheel, sdist = _built(clone, folder)
        if left_out := _left_out(clone, wheel):
            return _fail(f"the wheel lacks {left_out}")
        if (again := _names(_wheel_of_sdist(sdist, folder))) != _names(wheel):
            return _fail(f"a wheel of the sdist differs by {sorted(again ^ _names(wheel))}")
        code = _suite(clone, wheel, folder, pytest_arguments)
        if code == 0 and options.keep is not None:
            options.keep.mkdir(parents=True, exist_ok=True)
            for built in (wheel, sdist):
                shutil.copy2(built, options.keep)
        return code


def _cloned(folder: Path) -> Path:
    if _output("git", "-C", str(ROOT), "status", "--porcelain"):
        print("uncommitted changes are not tested: a clone holds commits alone", file=sys.stderr)
    clone = folder / "clone"
    _run("git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(clone))
    return clone


def _built(clone: Path, folder: Path) -> tuple[Path, Path]:
    """Wheel and sdist, by the build backend in an environment of its own."""
    python = _environment(folder / "build-environment")
    _run(str(python), "-m", "pip", "install", "--quiet", "--constraint", str(clone / "constraints.txt"), "hatchling")
    _run(str(python), "-m", "hatchling", "build", "-d", str(folder / "dist"), folder=clone)
    (wheel,), (sdist,) = (list((folder / "dist").glob(kind)) for kind in ("*.whl", "*.tar.gz"))
    return wheel, sdist


def _wheel_of_sdist(sdist: Path, folder: Path) -> Path:
    shutil.unpack_archive(sdist, folder / "unpacked", filter="data")
    (source,) = (folder / "unpacked").iterdir()
    python = _python(folder / "build-environment")
    _run(str(python), "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "again"), folder=source)
    (wheel,) = (folder / "again").glob("*.whl")
    return wheel


def _left_out(clone: Path, wheel: Path) -> list[str]:
    """Files of the package that git tracks and the wheel lacks."""
    tracked = _output("git", "-C", str(clone), "ls-files", "src/secateur").splitlines()
    return sorted({name.removeprefix("src/") for name in tracked} - _names(wheel))


def _names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def _suite(clone: Path, wheel: Path, folder: Path, arguments: Sequence[str]) -> int:
    place = folder / "suite"
    place.mkdir()
    for name in BESIDE_TESTS:
        source = clone / name
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, place / name)
    (place / "pytest.ini").write_text(_pytest_settings(clone), "utf-8")
    python = _environment(folder / "environment")
    constraints = str(clone / "constraints.txt")
    _run(str(python), "-m", "pip", "install", "--quiet", "--constraint", constraints, f"{wheel}[tests]")
    shutil.rmtree(clone)  # whatever would still reach for it fails
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    data = ROOT.parent / "shared" / "data"
    if data.is_dir():
        variables.setdefault("SECATEUR_TEST_DATA", str(data))
    where = _output(str(python), "-I", "-c", "import secateur; print(secateur.__file__)").strip()
    if not Path(where).is_relative_to(folder / "environment"):
        return _fail(f"secateur is imported from {where}, not from the wheel")
    command = [str(python), "-m", "pytest", "-n", "auto", "--dist", "loadfile", "--no-loadscope-reorder", "-rs"]
    return subprocess.run([*command, *arguments], cwd=place, env=variables, check=False).returncode


def _pytest_settings(clone: Path) -> str:
    """The settings of pytest in pyproject.toml, which itself stays behind."""
    options = tomllib.loads((clone / "pyproject.toml").read_text("utf-8"))["tool"]["pytest"]["ini_options"]
    lines = ["[pytest]"]
    for name, value in options.items():
        lines.append(f"{name} =" + "".join(f"\n    {one}" for one in ([value] if isinstance(value, str) else value)))
    return "\n".join(lines) + "\n"


def _environment(folder: Path) -> Path:
    venv.create(folder, with_pip=True)
    return _python(folder)


def _python(folder: Path) -> Path:
    return folder / "Scripts" / "python.exe" if os.name == "nt" else folder / "bin" / "python"


def _run(*command: str, folder: Path | None = None) -> None:
    subprocess.run(command, cwd=folder, check=True)


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _fail(message: str) -> int:
    print(message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
