"""MNIST: the real files give the known digits, and every wrong file is refused in one sentence."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_files import idx_bytes, real_data, sha256, tiny_mnist
from secateur.data import LabelledImages, data_folder, mnist, read_mnist

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = mnist.PUBLISHED_SHA256


@pytest.fixture
def contents(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Four tiny files, taken for the originals."""
    contents = tiny_mnist()
    for name, content in contents.items():
        monkeypatch.setitem(mnist.PUBLISHED_SHA256, name, sha256(content))
    return contents


def write(folder: Path, contents: dict[str, bytes]) -> None:
    for name, content in contents.items():
        (folder / name).write_bytes(content)


@pytest.mark.parametrize("side", [20, 28])
def test_real_digits_are_cropped_and_binarised_at_the_training_mean(side: int):
    folder = data_folder("mnist", real_data())
    digits = read_mnist(folder, side)
    raw = [
        np.frombuffer(gzip.decompress((folder / f"{name}.gz").read_bytes())[16:], np.uint8).reshape(-1, 28, 28)
        for name in (TRAIN_IMAGES, TEST_IMAGES)
    ]
    margin = (28 - side) // 2
    train, test = (images[:, margin : margin + side, margin : margin + side] for images in raw)

    assert digits.shape == (side, side)
    assert digits.train.shape == (60_000, side**2) and digits.train.dtype == np.float32
    assert np.array_equal(digits.train, (train > train.mean()).reshape(60_000, -1))
    assert np.array_equal(digits.test, (test > train.mean()).reshape(10_000, -1))
    assert np.bincount(digits.test_labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert digits.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]


def test_gzip_is_recognised_by_content_whatever_the_name(tmp_path: Path, contents: dict[str, bytes]):
    names = [TRAIN_IMAGES, TRAIN_LABELS + ".gz", TEST_IMAGES + ".gz", TEST_LABELS]
    packed = [contents[TRAIN_IMAGES], contents[TRAIN_LABELS], *map(gzip.compress, list(contents.values())[2:])]
    write(tmp_path, dict(zip(names, packed, strict=True)))
    digits = read_mnist(tmp_path)
    assert isinstance(digits, LabelledImages)
    assert digits.train.shape == (30, 400) and digits.test.shape == (12, 400)
    assert digits.train_labels.tolist() == list(contents[TRAIN_LABELS][8:])


def test_test_images_are_binarised_at_the_training_mean(
    tmp_path: Path, contents: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
):
    for name, n, low, high in ((TRAIN_IMAGES, 30, 0, 100), (TEST_IMAGES, 12, 60, 200)):
        images = np.full((n, 28, 28), low)
        images[:, :, :14] = high
        contents[name] = idx_bytes(images)
        monkeypatch.setitem(mnist.PUBLISHED_SHA256, name, sha256(contents[name]))
    write(tmp_path, contents)
    digits = read_mnist(tmp_path)
    assert digits.train.mean() == 0.5
    assert digits.test.min() == 1.0  # 60 is above the training mean 50, though below the test images' own 130


def test_crop_keeps_the_central_pixels(tmp_path: Path, contents: dict[str, bytes], monkeypatch: pytest.MonkeyPatch):
    images = np.zeros((30, 28, 28))
    images[:, 4, 4] = images[:, 23, 22] = 255
    images[:, 3, 4] = images[:, 4, 24] = 255  # just outside
    contents[TRAIN_IMAGES] = idx_bytes(images)
    monkeypatch.setitem(mnist.PUBLISHED_SHA256, TRAIN_IMAGES, sha256(contents[TRAIN_IMAGES]))
    write(tmp_path, contents)
    assert np.flatnonzero(read_mnist(tmp_path, 20).train[0]).tolist() == [0, 19 * 20 + 18]
    assert read_mnist(tmp_path, 28).train[0].sum() == 4


LABELS_WITH_TEN = idx_bytes(np.arange(30) % 11)
DAMAGE = {
    "truncated": (TRAIN_IMAGES, lambda c: c[TRAIN_IMAGES][:-1], "is truncated: 30 images take 23520 bytes.*has 23519"),
    "header-cut": (TRAIN_IMAGES, lambda c: c[TRAIN_IMAGES][:9], "is truncated: 9 bytes are less than its header"),
    "too-long": (TEST_LABELS, lambda c: c[TEST_LABELS] + b"1", "is too long: 12 labels take 12 bytes.*has 13"),
    "gzip-cut": (TRAIN_IMAGES, lambda c: gzip.compress(c[TRAIN_IMAGES])[:-9], "truncated or damaged gzip"),
    "gzip-damaged": (TRAIN_IMAGES, lambda c: b"\x1f\x8b" + c[TRAIN_IMAGES], "truncated or damaged gzip"),
    "swapped": (TRAIN_IMAGES, lambda c: c[TRAIN_LABELS], "holds labels where images belong"),
    "swapped-back": (TRAIN_LABELS, lambda c: c[TRAIN_IMAGES], "holds images where labels belong"),
    "foreign": (TRAIN_LABELS, lambda c: b"PK\x03\x04 a zip", "not an IDX file of labels: its first bytes are 50 4b 03"),
    "empty": (TRAIN_LABELS, lambda c: b"", "its first bytes are missing"),
    "no-images": (TRAIN_IMAGES, lambda c: idx_bytes(np.zeros((0, 28, 28))), "declares 0 x 28 x 28 images"),
    "other-size": (TRAIN_IMAGES, lambda c: idx_bytes(np.zeros((30, 32, 32))), "declares 30 x 32 x 32 images, MNIST's"),
    "label-10": (TRAIN_LABELS, lambda c: LABELS_WITH_TEN, "holds the label 10, MNIST's are 0 to 9"),
    "lengths": (TRAIN_LABELS, lambda c: c[TEST_LABELS], "holds 30 images but .* holds 12 labels"),
    "other-pixels": (
        TEST_IMAGES,
        lambda c: c[TEST_IMAGES][:-1] + b"\x07",
        "whole IDX file but not MNIST's: the SHA-256",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_wrong_files_are_refused_in_one_sentence(case: str, tmp_path: Path, contents: dict[str, bytes]):
    name, damage, message = DAMAGE[case]
    write(tmp_path, contents | {name: damage(contents)})
    with pytest.raises(ValueError, match=message) as refused:
        read_mnist(tmp_path)
    assert str(tmp_path / name) in str(refused.value)
    assert "secateur data fetch mnist" in str(refused.value) and "\n" not in str(refused.value)


def test_training_and_test_files_exchanged_are_named(tmp_path: Path, contents: dict[str, bytes]):
    write(tmp_path, dict(zip(contents, [*list(contents.values())[2:], *list(contents.values())[:2]], strict=True)))
    with pytest.raises(ValueError, match=f"{TRAIN_IMAGES} is MNIST's {TEST_IMAGES} under another name"):
        read_mnist(tmp_path)


def test_missing_file_is_named_with_its_folder_and_the_remedy(tmp_path: Path, contents: dict[str, bytes]):
    del contents[TEST_LABELS]
    write(tmp_path, contents)
    message = f"{TEST_LABELS}.gz .* is missing in {re.escape(str(tmp_path))}; .*`secateur data fetch mnist`"
    with pytest.raises(FileNotFoundError, match=message):
        read_mnist(tmp_path)


def test_other_sides_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="side must be 20 or 28 pixels, got 24"):
        read_mnist(tmp_path, 24)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), kind=st.sampled_from(["images", "labels"]))
def test_mutated_bytes_are_read_whole_or_refused(data: st.DataObject, kind: str):
    original = bytearray(idx_bytes(np.zeros((2, 28, 28)) if kind == "images" else np.arange(5)))
    for place, value in data.draw(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 255)), max_size=4)):
        original[place % len(original)] = value
    content = bytes(original[: data.draw(st.integers(0, len(original)))]) + data.draw(st.binary(max_size=3))
    try:
        values = mnist.parse_idx(content, kind, Path("digits"))
    except ValueError as error:
        assert str(error).startswith("digits ") and "\n" not in str(error)
    else:
        assert values.tobytes() == content[-values.size :] and values.size == len(content) - 4 * (1 + values.ndim)


@settings(max_examples=150, deadline=None)
@given(mutations=st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), max_size=4), cut=st.integers(0, 60))
def test_mutated_gzip_is_unpacked_or_refused(mutations: list[tuple[int, int]], cut: int, tmp_path_factory):
    packed = bytearray(gzip.compress(idx_bytes(np.arange(300) % 10), mtime=0))
    for place, value in mutations:
        packed[place % len(packed)] = value
    path = tmp_path_factory.getbasetemp() / "mutated.gz"
    path.write_bytes(bytes(packed[: len(packed) - cut]))
    try:
        content = mnist.unpack(path)
    except ValueError as error:
        assert "truncated or damaged gzip file" in str(error)
    else:
        assert content == path.read_bytes() or content == idx_bytes(np.arange(300) % 10)
