"""Machines on disk: nothing is lost on the way, and nothing damaged or foreign is taken for a machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load, save, save_file

from conftest import small_machine
from secateur.model.machine import Machine
from secateur.storage.arrays import checksum, write_atomically
from secateur.storage.machines import load_lineage, load_machine, save_machine

finite = st.floats(-1e6, 1e6, width=32)
lineages = st.dictionaries(st.text(), st.integers() | st.text() | st.none() | st.lists(st.floats(allow_nan=False)))


@st.composite
def structures(draw) -> dict:
    """Arguments of machines of two to four layers, also empty hidden ones, compacted from larger ones."""
    original = draw(st.lists(st.integers(1, 6), min_size=2, max_size=4))
    indices = [np.arange(original[0])]
    indices += [np.flatnonzero(draw(hnp.arrays(bool, n))) for n in original[1:]]
    sizes = [len(i) for i in indices]
    shapes = list(zip(sizes[:-1], sizes[1:], strict=True))
    return {
        "weights": [draw(hnp.arrays(np.float32, shape, elements=finite)) for shape in shapes],
        "biases": [draw(hnp.arrays(np.float32, size, elements=finite)) for size in sizes],
        "masks": [draw(hnp.arrays(bool, shape)) for shape in shapes],
        "unit_indices": indices,
        "original_layer_sizes": original,
    }


@given(structures(), lineages)
def test_machines_and_their_lineage_come_back_as_they_were(tmp_path_factory, structure, lineage):
    machine = Machine(**structure)
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    save_machine(machine, path, lineage)
    assert _same(load_machine(path), machine)
    assert load_lineage(path) == lineage


@pytest.fixture(scope="module")
def content(tmp_path_factory) -> bytes:
    """The bytes of a small machine's file."""
    path = tmp_path_factory.mktemp("machine") / "whole.safetensors"
    save_machine(small_machine("dbm-2-hidden", masked=True), path, {"criterion": "variance-fi", "round": 3})
    return path.read_bytes()


def _same(one: Machine, other: Machine) -> bool:
    """Equal structure and arrays; compared by NumPy, which compiles nothing for every new shape."""
    structures: list[Any] = [jax.tree.structure(machine) for machine in (one, other)]
    return structures[0] == structures[1] and all(
        np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    )


def _written(folder: Path, content: bytes) -> Path:
    path = folder / "some.safetensors"
    path.write_bytes(content)
    return path


def test_any_flipped_bit_is_noticed(content, tmp_path):
    """In the length, the header, the parameters or the masks: an error, or at least the same machine."""
    whole = small_machine("dbm-2-hidden", masked=True)
    header_end = 8 + int.from_bytes(content[:8], "little")
    refused_in_data = 0
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 1 << (position % 8)
        path = _written(tmp_path, bytes(flipped))
        try:
            assert _same(load_machine(path), whole) and position < header_end
        except ValueError as error:
            assert str(path) in str(error)
            refused_in_data += position >= header_end
    assert refused_in_data == len(content) - header_end > 0


def test_any_truncation_is_noticed(content, tmp_path):
    for length in range(0, len(content), 7):
        path = _written(tmp_path, content[:length])
        with pytest.raises(ValueError) as error:
            load_machine(path)
        assert str(error.value).startswith(f"{path} is not a readable safetensors file (")
        assert str(error.value).endswith("); it is damaged or of another kind")


def test_a_changed_weight_is_named_as_damage(content, tmp_path):
    path = _written(tmp_path, content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError) as error:
        load_machine(path)
    expected = f"{path} is damaged (its checksum does not match); restore it from a copy or make it again"
    assert str(error.value) == expected


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"secateur": "[]"}, {"secateur": '{"format": "other"}'}])
def test_foreign_safetensors_files_are_refused(tmp_path, metadata):
    path = tmp_path / "foreign.safetensors"
    save_file({"weights.0": np.zeros((2, 2), np.float32)}, path, metadata)
    with pytest.raises(ValueError) as error:
        load_machine(path)
    expected = f"{path} is a safetensors file but not a secateur machine; expected a file that secateur wrote"
    assert str(error.value) == expected


@pytest.mark.parametrize("junk", [b"", b"junk", b"PK\x03\x04" + bytes(100), b'{"weights": [1, 2]}'])
def test_other_kinds_of_file_are_refused(tmp_path, junk):
    path = _written(tmp_path, junk)
    with pytest.raises(ValueError, match="is not a readable safetensors file") as error:
        load_machine(path)
    assert str(path) in str(error.value)


def _changed(content: bytes, arrays: dict | None = None, **changes) -> bytes:
    """The same file with another header or other arrays, and the checksum that belongs to them."""
    stored = load(content) if arrays is None else arrays
    length = int.from_bytes(content[:8], "little")
    header = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["secateur"]) | changes
    header["sha256"] = checksum(stored, header)
    return save(stored, metadata={"secateur": json.dumps(header)})


def test_a_newer_format_is_refused(content, tmp_path):
    path = _written(tmp_path, _changed(content, format_version=2))
    with pytest.raises(ValueError) as error:
        load_machine(path)
    assert str(error.value) == (
        f"{path} has secateur machine format version 2, this secateur reads up to version 1; install a newer secateur"
    )


@pytest.mark.parametrize("changes", [{"layer_sizes": "4,3,5"}, {"original_layer_sizes": [4.5]}, {"lineage": None}])
def test_a_header_that_is_no_header_is_refused(content, tmp_path, changes):
    path = _written(tmp_path, _changed(content, **changes))
    with pytest.raises(ValueError) as error:
        load_machine(path)
    assert str(error.value) == f"{path} has a damaged header; write it again with save_machine"


@pytest.mark.parametrize(
    ("name", "array", "reason"),
    [
        ("weights.1", None, "'weights.1'"),
        ("biases.0", np.full(4, np.nan, np.float32), "biases[0] must be finite, got nan at [0]"),
        ("weights.0", np.zeros((4, 4), np.float32), "weights must have shapes [(4, 3), (3, 5)] to fit the biases"),
        ("unit_indices.2", np.zeros(5, np.int32), "unit_indices[2] must be different numbers from 0 to 4"),
    ],
)
def test_a_machine_that_is_not_whole_is_refused(content, tmp_path, name, array, reason):
    arrays = {k: v for k, v in load(content).items() if k != name} | ({} if array is None else {name: array})
    path = _written(tmp_path, _changed(content, arrays))
    with pytest.raises(ValueError) as error:
        load_machine(path)
    assert str(error.value).startswith(f"{path} does not hold a whole machine ({reason}")
    assert str(error.value).endswith("); write it again with save_machine")


def test_a_missing_file_is_missing(tmp_path):
    path = tmp_path / "nowhere.safetensors"
    with pytest.raises(FileNotFoundError, match=str(path)):
        load_machine(path)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(content, tmp_path):
    path = _written(tmp_path, content)

    def fails(temporary: Path) -> None:
        temporary.write_bytes(content[:10])
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left on device"):
        write_atomically(path, fails)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_writing_makes_the_folder_and_replaces_the_old_file(rbm, dbm, tmp_path):
    path = tmp_path / "deep" / "er" / "machine.safetensors"
    save_machine(dbm, path)
    save_machine(rbm, path)
    assert _same(load_machine(path), rbm)
    assert load_lineage(path) == {}
    assert list(path.parent.iterdir()) == [path]
    plain = tmp_path / "plain"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode  # readable for whom the user's umask says
