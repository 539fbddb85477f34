"""Hostile recordings end with one line and exit code 2, in bounded memory and time, and lead into no other file."""

from __future__ import annotations

import io
import os
import resource
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from secateur.reading import apart
from secateur.reading.words import words

TRAINS = {"a": np.array([0.1, 0.52, 0.93]), "b": np.array([0.2, 1.3])}


def _npy_header(shape: tuple[int, ...]) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return out.getvalue()


def _forged_npy(path: Path) -> None:
    path.write_bytes(_npy_header((10**12,)))


def _npz_of_zeros(path: Path) -> None:
    n = 2**28 + 2**24
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("states.npy", "w", force_zip64=True) as file:
            file.write(_npy_header((n // 8,)))
            for _ in range(n // 2**24):
                file.write(bytes(2**24))


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _wide_csv(path: Path) -> None:
    path.write_text("0,1" * 500_000 + "\n")


def _declared_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("units", (10**12,), "f8", chunks=(2**16,))


def _external_values(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("times", (4,), "f8", external=[("/etc/passwd", 0, 32)])


def _external_link(path: Path) -> None:
    _other(path)
    with h5py.File(path, "w") as file:
        file["times"] = h5py.ExternalLink("other.h5", "secret")


def _soft_link(path: Path) -> None:
    _other(path)
    with h5py.File(path, "w") as file:
        file.attrs["nwb_version"] = "2.0"
        file["door"] = h5py.ExternalLink("other.h5", "/")
        file["units"] = h5py.SoftLink("/door/secret")


def _virtual(path: Path) -> None:
    _other(path)
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource(path.with_name("other.h5"), "secret", (3,))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("times", layout)


def _other(path: Path) -> None:
    with h5py.File(path.with_name("other.h5"), "w") as file:
        file["secret"] = TRAINS["a"]


def _nested_references(path: Path) -> None:
    """Eight cells, each of forty references to the next."""
    with h5py.File(path, "w") as file:
        last = file.create_dataset("#refs#/0", data=np.zeros((1, 3)))
        last.attrs["MATLAB_class"] = np.bytes_("double")
        for depth in range(8):
            name = "cells" if depth == 7 else f"#refs#/{depth + 1}"
            last = file.create_dataset(name, data=np.array([last.ref] * 40, h5py.ref_dtype))
            last.attrs["MATLAB_class"] = np.bytes_("cell")


def _forged_heap(path: Path) -> None:
    """A heap of texts whose free space has no size, which libhdf5 follows for ever."""
    with h5py.File(path, "w") as file:
        file["names"] = ["abc"] * 3
    content = bytearray(path.read_bytes())
    place = content.find(b"GCOL")
    content[place + 16 :] = bytes(len(content) - place - 16)
    path.write_bytes(content)


def _damaged_mat(path: Path) -> None:
    scipy.io.savemat(path, {"times": np.arange(99.0)}, do_compression=False)
    content = bytearray(path.read_bytes())
    path.write_bytes(content[:300])


def _mat_of_zeros(path: Path) -> None:
    scipy.io.savemat(path, {"times": np.zeros(2**25)}, do_compression=True)


ATTACKS: dict[str, tuple[Callable[[Path], None], str]] = {
    "pipe.npz": (_pipe, "is a pipe, socket or device, not a regular file"),
    "device.csv": (_device, "is a pipe, socket or device, not a regular file"),
    "declared.npy": (_forged_npy, "would take 8,000,000,000,000 bytes"),
    "zeros.npz": (_npz_of_zeros, "bytes unpacked, more than"),
    "wide.csv": (_wide_csv, "columns, more than the 20,000"),
    "declared.h5": (_declared_hdf5, "take 8,000,000,000,000 bytes, more than"),
    "external.h5": (_external_values, "the values of /times lie in another file"),
    "link.h5": (_external_link, "times is a link into another file"),
    "soft.nwb": (_soft_link, "units is a link that leads nowhere, or over another link"),
    "virtual.h5": (_virtual, "the values of /times lie in another file"),
    "nested.mat": (_nested_references, "to parse; it is damaged or forged"),
    "heap.h5": (_forged_heap, "cannot be read|to parse; it is damaged or forged|damaged file"),
    "damaged.mat": (_damaged_mat, "cannot be read"),
    "zeros.mat": (_mat_of_zeros, "need more room than its size justifies"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_are_refused_in_one_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    make, expected = ATTACKS[name]
    make(tmp_path / name)
    if "to parse" in expected:  # these never end; all others must be refused for what they are, however busy we are
        monkeypatch.setattr(apart, "SECONDS", 1)
    monkeypatch.setattr(apart, "MEMORY", 2**29)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=expected) as caught:
        words(tmp_path / name, 0.1)
    assert "\n" not in str(caught.value) and name in str(caught.value) and len(str(caught.value)) < 900
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**19  # KiB; a peak, so no more than this ever


PROGRAM = (
    "import resource, sys; from secateur.commands.app import main; "
    "resource.setrlimit(resource.RLIMIT_DATA, (2**30, 2**30)); sys.exit(main())"
)


@pytest.mark.parametrize(
    "name",
    [name if name in ("device.csv", "external.h5") else pytest.param(name, marks=pytest.mark.long) for name in ATTACKS],
)
def test_the_command_ends_with_code_two_in_one_gigabyte(name: str, tmp_path: Path):
    ATTACKS[name][0](tmp_path / name)
    options = ["words", str(tmp_path / name), "--bin-size", "0.1", "--out", str(tmp_path / "w.npz")]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *options], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr, done.stderr
    assert not (tmp_path / "w.npz").exists()


def test_a_parser_that_crashes_is_a_damaged_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scipy.io.savemat(tmp_path / "a.mat", TRAINS)
    (tmp_path / "parser.py").write_text("import os; os.abort()")
    monkeypatch.setattr(apart, "__file__", str(tmp_path / "apart.py"))
    with pytest.raises(ValueError, match=r"a.mat is a damaged file \(its parser ended with -6\)"):
        words(tmp_path / "a.mat", 0.1)


def test_links_to_regular_files_are_followed(tmp_path: Path):
    np.savez(tmp_path / "trains.npz", a=TRAINS["a"], b=TRAINS["b"])
    (tmp_path / "link.npz").symlink_to(tmp_path / "trains.npz")
    expected = words(list(TRAINS.values()), 0.1).states
    np.testing.assert_array_equal(words(tmp_path / "link.npz", 0.1).states, expected)


def test_matlab_values_come_back_from_the_other_process(tmp_path: Path):
    cells = np.empty((1, 2), object)
    cells[0, :] = [TRAINS["a"][None], TRAINS["b"][None]]
    whole = {"cells": cells, "s": {"name": "ab", "x": np.eye(2, dtype=np.uint8)}, "z": 1 + 2j, "e": np.zeros((0, 3))}
    scipy.io.savemat(tmp_path / "a.mat", whole)
    found = apart.read_matlab(tmp_path / "a.mat")
    np.testing.assert_array_equal(found["cells"][1], TRAINS["b"][None])
    assert found["s"]["name"].tolist() == ["ab"] and found["s"]["x"].dtype == np.uint8
    assert found["z"].item() == 1 + 2j and found["e"].shape == (0, 3)
    found["cells"][0][0, 0] = 5.0  # may be written to
