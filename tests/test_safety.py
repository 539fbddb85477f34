"""Nobody slips anything in: spoiled files are refused, nothing is unpickled or written elsewhere, names stay text."""

from __future__ import annotations

import ast
import importlib
import io
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import fuzz
import secateur
from dataset_files import tiny_batch
from fuzz_kinds import IMAGES, Kind, kinds
from pages import Page
from secateur.data import cifar, mnist, read_cifar10, read_mnist
from secateur.data.rows import read_rows
from secateur.figures.style import RC
from secateur.pruning.rules import RULES
from secateur.reading.words import load_words, words
from secateur.report import write_report
from secateur.storage import limits
from secateur.storage.machines import load_machine
from secateur.studies import StudyFolder, load_config
from synthetic_study import synthetic_config, synthetic_results, write_study

fetch = importlib.import_module("secateur.data.fetch")
SOURCES = sorted(Path(secateur.__file__).parent.rglob("*.py"))
CASES = 60
CASES_APART = 12
"""Of kinds that are parsed in a process of their own, which takes a while to start."""
NAMES = (
    *("machine", "record", "checkpoint", "settings", "results", "provenance", "images", "labels", "images.gz"),
    *("labels.gz", "cifar", "cifar.tar.gz", "words", "rows", "recording.mat", "recording.mat7.3"),
    *("recording.nwb", "recording.npz", "recording.csv"),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Kind]]:
    """A whole file of every kind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cifar, "IMAGES_PER_BATCH", IMAGES)
        yield kinds(tmp_path_factory.mktemp("whole"))


def test_every_kind_is_fuzzed(whole: dict[str, Kind]):
    assert tuple(whole) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_whole_files_are_read(name: str, whole: dict[str, Kind], unchecked: None, tmp_path: Path):
    kind = whole[name]
    (tmp_path / kind.file).write_bytes(kind.whole)
    (tmp_path / "sealed").touch()
    if name == "cifar.tar.gz":
        (tmp_path / "sealed").unlink()
    kind.read(tmp_path / kind.file)


@pytest.mark.parametrize("name", NAMES)
def test_spoiled_files_are_refused_or_read(name: str, whole: dict[str, Kind], unchecked: None, tmp_path: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [fuzz.run_case(name, whole[name], 1, number, tmp_path / "case") for number in range(_cases(name))]
    assert [(number, detail) for number, (outcome, detail) in enumerate(found) if outcome == "failed"] == []
    assert sum(outcome == "refused" for outcome, _ in found) > _cases(name) // 4


@pytest.mark.slow
def test_ten_thousand_spoiled_recordings_are_refused_or_read():
    command = [sys.executable, fuzz.__file__, "--cases", "10000", "--kinds", "recording"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def _cases(name: str) -> int:
    return CASES_APART if name in ("recording.mat", "recording.mat7.3", "recording.nwb") else CASES


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.trace),)


def _npz(**arrays: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.savez(out, allow_pickle=True, **arrays)
    return out.getvalue()


def _npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "machine": ("machine.safetensors", load_machine),
    "rows.npz": ("rows.npz", read_rows),
    "rows.npy": ("rows.npy", read_rows),
    "words": ("words.npz", load_words),
    "recording.npz": ("recording.npz", lambda path: words(path, 0.1)),
    "recording.npy": ("recording.npy", lambda path: words(path, 0.1)),
    "cifar": ("data_batch_1.bin", lambda path: read_cifar10(path.parent)),
    "mnist": ("train-images-idx3-ubyte", lambda path: mnist.parse_idx(mnist.unpack(path), "images", path)),
    "settings": ("study.toml", load_config),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("wrapped", ["pickle", "npz", "npy"])
def test_nothing_is_unpickled(reader: str, wrapped: str, unchecked: None, tmp_path: Path):
    trace = tmp_path / "trace"
    objects = np.array([[Payload(trace)]], dtype=object)
    content = {
        "pickle": lambda: pickle.dumps(Payload(trace)),
        "npz": lambda: _npz(states=objects, format=objects),
        "npy": lambda: _npy(objects),
    }[wrapped]()
    file, read = READERS[reader]
    (tmp_path / file).write_bytes(content)
    with pytest.raises((ValueError, TypeError)):
        read(tmp_path / file)
    assert not trace.exists()
    with pytest.raises((pickle.UnpicklingError, IndexError, AttributeError)) if wrapped != "pickle" else _nothing():
        pickle.loads(content)
    assert trace.exists() == (wrapped == "pickle")  # the payload works


def _nothing() -> Any:
    return warnings.catch_warnings()


def test_an_mnist_of_pickles_is_refused(tmp_path: Path):
    for name in mnist.PUBLISHED_SHA256:
        (tmp_path / name).write_bytes(pickle.dumps(Payload(tmp_path / "trace")))
    with pytest.raises(ValueError, match="is not an IDX file"):
        read_mnist(tmp_path)
    assert not (tmp_path / "trace").exists()


MEMBERS = {
    "parent": ("../outside.bin", tarfile.REGTYPE, ""),
    "deep-parent": ("cifar-10-batches-bin/../../outside.bin", tarfile.REGTYPE, ""),
    "absolute": ("{outside}", tarfile.REGTYPE, ""),
    "symlink": ("cifar-10-batches-bin/data_batch_1.bin", tarfile.SYMTYPE, "{outside}"),
    "hard-link": ("cifar-10-batches-bin/data_batch_1.bin", tarfile.LNKTYPE, "../outside.bin"),
    "device": ("cifar-10-batches-bin/data_batch_1.bin", tarfile.CHRTYPE, ""),
    "pipe": ("cifar-10-batches-bin/data_batch_1.bin", tarfile.FIFOTYPE, ""),
}


@pytest.mark.parametrize("case", MEMBERS)
def test_archives_write_nothing_outside(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cifar, "IMAGES_PER_BATCH", 20)
    folder, outside, archive = tmp_path / "data", tmp_path / "outside.bin", tmp_path / "archive.part"
    folder.mkdir()
    name, kind, link = MEMBERS[case]
    name, link = name.format(outside=outside), link.format(outside=outside)
    with tarfile.open(archive, "w:gz") as tar:
        for batch in cifar.BATCHES:
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{batch}.bin")
            member.size = len(tiny_batch(0))
            tar.addfile(member, io.BytesIO(tiny_batch(0)))
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, link
        member.size = 4 if kind == tarfile.REGTYPE else 0
        tar.addfile(member, io.BytesIO(b"harm"))
    with pytest.raises(ValueError, match="cannot be unpacked .* and was removed; fetch it again"):
        fetch._unpack_archive(archive, fetch.DATASETS["cifar-10"], folder)
    assert list(folder.iterdir()) == [] and list(tmp_path.iterdir()) == [folder]


def test_zip_archives_write_nothing_at_all(tmp_path: Path):
    folder = tmp_path / "deep"
    folder.mkdir()
    path = folder / "rows.npz"
    for name in ("../outside.npy", str(tmp_path / "outside.npy")):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, _npy(np.eye(3, dtype=np.uint8)))
        np.testing.assert_array_equal(read_rows(path), np.eye(3))
    assert list(tmp_path.iterdir()) == [folder] and list(folder.iterdir()) == [path]


def test_results_lead_into_no_other_file_and_declare_no_terabytes(whole: dict[str, Kind], tmp_path: Path):
    (tmp_path / "results.nc").write_bytes(whole["results"].whole)
    for name in ("study.toml", "provenance.json"):
        (tmp_path / name).touch()
    study = StudyFolder.open(tmp_path)
    assert study.results.sizes["trial"] == 2
    with h5py.File(tmp_path / "results.nc", "r+") as file:
        file.create_dataset("huge", (10**12,), "f4", chunks=(10**6,), compression="gzip")
    with pytest.raises(ValueError, match="results.nc is damaged .*variables up to huge take 4,000,000,"):
        _ = study.results
    (tmp_path / "results.nc").write_bytes(whole["results"].whole)
    with h5py.File(tmp_path / "results.nc", "r+") as file:
        file["other"] = h5py.ExternalLink("/etc/hostname", "x")
    with pytest.raises(ValueError, match="results.nc is damaged .*other is no variable"):
        _ = study.results


@pytest.mark.parametrize(
    "changes",
    [
        {"trials": 10**9},
        {"rounds": 10**9},
        {"model.hidden": [10**9]},
        {"model.hidden": [2**16, 2**16]},
        {"model.hidden": [1] * 1000},
        {"training.n_chains": 10**12},
        {"training.batch_size": 10**12},
        {"training.n_epochs": 10**12},
        {"importance.n_chains": 10**12},
        {"importance.n_draws": 10**12},
        {"evaluation.n_samples": 10**12},
        {"evaluation.n_annealing_chains": 10**12},
        {"evaluation.n_temperatures": 10**12},
        {"evaluation.n_examples": 10**6},
        {"seed": 2**64},
    ],
    ids=str,
)
def test_settings_ask_for_no_absurd_amounts(changes: dict[str, Any]):
    with pytest.raises(ValueError, match=f"study 'digits': {next(iter(changes))}.*(at most|less than or equal to)"):
        load_config("digits", "quick", changes)


IMAGE = '"><img src=x onerror="document.title=\'taken\'">'
SCRIPTS = ("<script>alert(1)</script>", "<script>document.title='taken'</script>", IMAGE)
HOSTILE = "Fine" + "".join(SCRIPTS)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a study whose every name is hostile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RC, "pdf.fonttype", 3)
        patch.setitem(RULES, HOSTILE, RULES["random"])
        config = synthetic_config((HOSTILE,), 1, (4,), name=HOSTILE, title=HOSTILE)
        folder = write_study(tmp_path_factory.mktemp("report") / "study", config, synthetic_results(config))
        texts: dict[str, Any] = {name: HOSTILE for name in ("secateur", "commit", "python")}
        packages, machine = {HOSTILE: HOSTILE}, {"system": HOSTILE, "cpus": HOSTILE}
        folder.write_provenance(folder.provenance | texts | {"packages": packages, "machine": machine})
        return write_report(folder)


def test_hostile_names_are_text_in_a_report(report: Path):
    html = report.read_text("utf-8")
    page = Page(html)
    for text in (*SCRIPTS, "<img src=x"):
        assert text not in html
    assert HOSTILE in page.text and page.text.count("Fine<script>") > 5
    assert "script" not in page.tags and not [name for _, name, _ in page.attributes if name.startswith("on")]
    sources = [value for tag, name, value in page.attributes if (tag, name) == ("img", "src")]
    assert all(source.startswith("data:image/png;base64,") for source in sources)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium here")
def test_a_browser_runs_nothing_of_a_report(report: Path, tmp_path: Path):
    naive = tmp_path / "naive.html"
    naive.write_text(f"<title>Fine</title><p>{''.join(SCRIPTS[1:])}", "utf-8")
    assert "<title>taken</title>" in _in_browser(naive)  # the payload works
    page = _in_browser(report)
    assert "<title>taken" not in page and "<title>Fine" in page


def _in_browser(page: Path) -> str:
    """The page as it stands after its scripts, were there any."""
    with tempfile.TemporaryDirectory() as profile:
        flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--dump-dom"]
        command = ["chromium", *flags, "--virtual-time-budget=3000", page.as_uri()]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout


def _calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_sources_call_nothing_that_runs_what_it_reads(source: Path):
    text = source.read_text("utf-8")
    tree = ast.parse(text)
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert not imported & {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml"}
    for name, call in _calls(tree):
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert name not in ("eval", "exec", "compile", "os.system", "yaml.load", "pandas.read_pickle")
        assert given.get("allow_pickle", "False") == "False" and given.get("shell", "False") == "False"
        assert not name.endswith("extractall") or given.get("filter") == "'data'"
        assert not name.endswith("np.load") or given.get("allow_pickle") == "False"
    assert "http://" not in text


def test_every_download_is_https_with_a_pinned_checksum():
    assert all(dataset.url.startswith("https://") for dataset in fetch.DATASETS.values())
    pinned = [*mnist.PUBLISHED_SHA256.values(), fetch.CIFAR_ARCHIVE_SHA256]
    assert all(len(digest) == 64 and int(digest, 16) for digest in pinned)
    assert set(fetch.DATASETS) == {"mnist", "cifar-10"}
    assert set(fetch.DATASETS["mnist"].files) == set(mnist.PUBLISHED_SHA256)
    opening = [path.name for path in SOURCES if "urlopen" in path.read_text("utf-8")]
    assert opening == ["fetch.py"]


def test_no_bound_is_below_what_the_built_in_studies_need():
    assert load_config("digits", "literal").trials <= limits.MAX_TRIALS
    assert load_config("patches", "literal").trials <= limits.MAX_TRIALS
