"""CIFAR-10's binary batches: what is there is read and named, every wrong file is refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataset_files import TINY_BATCH, real_data, tiny_batch
from secateur.data import cifar, data_folder, read_cifar10


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches hold few images."""
    monkeypatch.setattr(cifar, "IMAGES_PER_BATCH", TINY_BATCH)


def test_records_become_labels_and_colour_planes(tiny: None, tmp_path: Path):
    for name, seed in (("test_batch", 1), ("data_batch_3", 2)):
        (tmp_path / f"{name}.bin").write_bytes(tiny_batch(seed))
    read = read_cifar10(tmp_path)
    assert read.batches == ("data_batch_3", "test_batch")
    assert read.images.shape == (2 * TINY_BATCH, 3, 32, 32)
    expected = tiny_batch(2)
    assert read.labels[:TINY_BATCH].tolist() == list(expected[::3073])
    # Second image, green plane, row 5, column 7.
    assert read.images[1, 1, 5, 7] == expected[3073 + 1 + 1024 + 5 * 32 + 7]
    assert read.images[TINY_BATCH, 2, 31, 31] == tiny_batch(1)[3072]


def test_real_batches_are_natural_images():
    read = read_cifar10(data_folder("cifar-10", real_data()))
    assert {"data_batch_1", "test_batch"} <= set(read.batches)
    assert len(read.images) == len(read.labels) == 10_000 * len(read.batches)
    assert np.bincount(read.labels[-10_000:]).tolist() == [1000] * 10

    def neighbour_correlation(images: np.ndarray, axis: int) -> float:
        pixels = np.moveaxis(images, axis, 0).astype(float)
        return float(np.corrcoef(pixels[1:].ravel(), pixels[:-1].ravel())[0, 1])

    some = read.images[:500]
    assert neighbour_correlation(some, 2) > 0.9 and neighbour_correlation(some, 3) > 0.9
    # Read as interleaved colours, the same bytes lose their columns' likeness: the check above can fail.
    interleaved = np.moveaxis(some.reshape(-1, 32, 32, 3), -1, 1)
    assert neighbour_correlation(interleaved, 2) < 0.9


def corrupt(place: int, value: int) -> bytes:
    batch = bytearray(tiny_batch(1))
    batch[place] = value
    return bytes(batch)


def with_labels(labels: np.ndarray, pixel: int | None = None) -> bytes:
    records = np.frombuffer(tiny_batch(1), np.uint8).reshape(-1, 3073).copy()
    records[:, 0] = labels
    if pixel is not None:
        records[:, 1:] = pixel
    return records.tobytes()


WHOLE = TINY_BATCH * 3073
DAMAGE = {
    "truncated": (tiny_batch(1)[:-1], f"is truncated .* make {WHOLE} bytes, it has {WHOLE - 1}"),
    "records-lack": (tiny_batch(1)[: -5 * 3073], f"is truncated .* make {WHOLE} bytes, it has {WHOLE - 5 * 3073}"),
    "empty": (b"", f"is truncated .* make {WHOLE} bytes, it has 0"),
    "too-long": (tiny_batch(1) + b"\0", "is too long or no batch"),
    "two-label-bytes": (b"\0" * (TINY_BATCH * 3074), "is too long or no batch"),  # CIFAR-100's layout
    "label": (corrupt(2 * 3073, 10), "record 2 has the label 10, labels are 0 to 9"),
    "shifted": (tiny_batch(1)[1:] + b"\0", "has the label"),
    "classes": (with_labels(np.arange(TINY_BATCH) % 7), "its labels name 7 of the 10 classes"),
    "constant": (with_labels(np.arange(TINY_BATCH) % 10, pixel=9), "all its pixels are 9"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_wrong_files_are_refused_in_one_sentence(case: str, tiny: None, tmp_path: Path):
    content, message = DAMAGE[case]
    (tmp_path / "data_batch_1.bin").write_bytes(content)
    with pytest.raises(ValueError, match=message) as refused:
        read_cifar10(tmp_path)
    assert str(tmp_path / "data_batch_1.bin") in str(refused.value)
    assert "secateur data fetch cifar-10" in str(refused.value) and "\n" not in str(refused.value)


def test_folder_without_binary_batches_is_refused(tmp_path: Path):
    (tmp_path / "data_batch_1").write_bytes(b"the pickled version is never read")
    with pytest.raises(FileNotFoundError, match=r"none of .* is in .*; get .* `secateur data fetch cifar-10`"):
        read_cifar10(tmp_path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mutations=st.lists(st.tuples(st.integers(0, TINY_BATCH - 1), st.integers(0, 2), st.integers(0, 255)), max_size=4),
    cut=st.sampled_from([0, 0, 0, 1, 3072, 3073, 3074]),
    extra=st.binary(max_size=2),
)
def test_mutated_batches_are_read_or_refused(
    tiny: None, tmp_path: Path, mutations: list[tuple[int, int, int]], cut: int, extra: bytes
):
    batch = bytearray(tiny_batch(1))
    for record, byte, value in mutations:
        batch[record * 3073 + byte] = value
    content = bytes(batch[: len(batch) - cut]) + extra
    (tmp_path / "test_batch.bin").write_bytes(content)
    try:
        read = read_cifar10(tmp_path)
    except ValueError as error:
        assert "test_batch.bin is " in str(error) and "\n" not in str(error)
    else:
        assert len(content) == WHOLE and set(read.labels.tolist()) == set(range(10))
