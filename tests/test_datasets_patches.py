"""Patches: the paper's geometry, pools that share no pixel, thresholds from training pixels only."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from dataset_files import real_data
from secateur.data import (
    Cifar10,
    cifar_patches,
    circle_offsets,
    data_folder,
    patches,
    photograph_patches,
    read_cifar10,
)


def as_cifar(images: np.ndarray) -> Cifar10:
    return Cifar10(images.astype(np.uint8), np.zeros(len(images), np.int64), ("data_batch_1",))


def coded_images(codes: np.ndarray) -> Cifar10:
    """Black images in which every one of the 36 patches shows the 13-bit code of the image."""
    images = np.zeros((len(codes), 3, 32, 32))
    bits = (codes[:, None] >> np.arange(13)[None, :]) & 1
    for row, column in itertools.product(patches.CIFAR_CENTRES, patches.CIFAR_CENTRES):
        for bit, (down, right) in enumerate(circle_offsets(2.1)):
            images[:, :, row + down, column + right] = 255 * bits[:, bit, None]
    return as_cifar(images)


def codes_of(rows: np.ndarray) -> np.ndarray:
    return (rows @ 2.0 ** np.arange(rows.shape[1])).astype(int)


CODES = np.random.default_rng(3).choice([c for c in range(1, 8192) if c.bit_count() == 5], 40, replace=False)


def test_radius_of_the_paper_gives_13_pixels():
    rows = [(-2, 0), (-1, -1), (-1, 0), (-1, 1), (0, -2), (0, -1), (0, 0)]
    expected = [*rows, *[(-down, -right) for down, right in reversed(rows[:-1])]]
    assert [tuple(offset) for offset in circle_offsets(2.1)] == expected
    assert [len(circle_offsets(r)) for r in (0.5, 1.0, 1.9, 2.0, 2.3, 3.0)] == [1, 5, 9, 13, 21, 29]


def test_pools_share_no_image_and_every_patch_is_drawn_once():
    drawn = cifar_patches(coded_images(CODES), 0, n_train=32 * 36, n_validation=8 * 36)
    train, validation = (np.unique(codes_of(pool), return_counts=True) for pool in (drawn.train, drawn.validation))
    assert sorted([*train[0], *validation[0]]) == sorted(
        CODES
    )  # disjoint, nothing lost, pixels in the order of offsets
    assert set(train[1]) == set(validation[1]) == {36}  # duplicates kept, none drawn twice
    assert drawn.train.dtype == np.float32 and not drawn.overlapping
    assert "36 places in each of 40 CIFAR-10 images (data_batch_1), on a non-overlapping grid" in drawn.source
    assert "1152 training patches from 32 of them, 288 validation patches from the other 8" in drawn.source


def test_seed_decides_pools_and_draw():
    images = coded_images(CODES)
    first, same, other = (cifar_patches(images, seed, n_train=500, n_validation=100) for seed in (1, 1, 2))
    assert np.array_equal(first.train, same.train) and np.array_equal(first.validation, same.validation)
    assert set(codes_of(first.validation)) != set(codes_of(other.validation))


def test_channels_are_summed_and_the_threshold_is_the_training_median():
    levels = np.array([0, 10, 30, 60, 100])
    images = np.zeros((5, 3, 32, 32))
    images[:, 1] = levels[:, None, None]
    images[:, 2] = 2 * levels[:, None, None]
    # Summed level of the training median, by the level that was held out.
    medians = {0: 135, 10: 135, 30: 105, 60: 60, 100: 60}
    seen = set()
    for seed in range(12):
        drawn = cifar_patches(as_cifar(images), seed, n_train=100, n_validation=36)
        held_out = [level for level in levels if medians[level] == drawn.threshold]
        assert held_out  # never 90, the median over all images
        assert np.all(drawn.validation == (3 * held_out[0] > drawn.threshold))
        seen.add(drawn.threshold)
    assert seen == {60, 105, 135}


def test_tiles_of_photographs_are_apart():
    pictures = [np.arange(427 * 640).reshape(1, 427, 640) + k * 427 * 640 for k in range(2)]
    tiles = patches._tiles(pictures)
    owner = np.full(2 * 427 * 640, -1)
    for tile, pixels in enumerate(tiles):
        assert np.all(owner[pixels] == -1)
        owner[pixels] = tile
    places = owner.reshape(2, 427, 640)
    for gap in range(1, patches.TILE_GAP + 1):
        for one, other in ((places[:, gap:], places[:, :-gap]), (places[:, :, gap:], places[:, :, :-gap])):
            assert np.all((one == other) | (one == -1) | (other == -1))
    assert len(tiles) == 120 and (owner >= 0).mean() > 0.9


def test_photographs_give_the_paper_s_number_of_patches():
    drawn = photograph_patches(0)
    assert drawn.train.shape == (90_000, 13) and drawn.validation.shape == (20_000, 13)
    assert drawn.overlapping and "on an overlapping grid" in drawn.source and "china.jpg and flower.jpg" in drawn.source
    assert abs(drawn.train.mean() - 0.5) < 0.02  # a median of nearly all training pixels
    patterns, counts = np.unique(codes_of(drawn.train), return_counts=True)
    assert set(patterns[np.argsort(counts)[-2:]]) == {0, 8191}  # natural images: all dark and all bright lead


def test_grid_without_overlap_is_reported_as_such():
    drawn = photograph_patches(0, stride=5, n_train=1000, n_validation=100)
    assert not drawn.overlapping and "on a non-overlapping grid" in drawn.source
    assert photograph_patches(0, stride=3, n_train=1000, n_validation=100).overlapping


def test_real_images_give_the_paper_s_number_of_patches():
    drawn = cifar_patches(read_cifar10(data_folder("cifar-10", real_data())), 0)
    assert drawn.train.shape == (90_000, 13) and drawn.validation.shape == (20_000, 13)
    assert abs(drawn.train.mean() - 0.5) < 0.02 and abs(drawn.validation.mean() - 0.5) < 0.02
    patterns, counts = np.unique(codes_of(drawn.train), return_counts=True)
    assert set(patterns[np.argsort(counts)[-2:]]) == {0, 8191}
    assert 20 < 100 * counts.max() / 90_000 < 50


@pytest.mark.parametrize("radius", [4.0, 1e12])
def test_too_large_radius_is_refused(radius: float):
    for cut in (
        lambda: cifar_patches(coded_images(CODES), 0, radius=radius),
        lambda: photograph_patches(0, radius=1e12),
    ):
        with pytest.raises(ValueError, match=r"radius .* is too large: .* inside an image of \d+ x \d+ pixels"):
            cut()


@pytest.mark.parametrize("radius", [0.0, -2.1, float("nan"), float("inf")])
def test_senseless_radius_is_refused(radius: float):
    with pytest.raises(ValueError, match="radius must be a positive number of pixels"):
        circle_offsets(radius)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"n_train": 1153, "n_validation": 1}, "n_train must be from 1 to 1152, .* got 1153; ask for fewer"),
        ({"n_train": 1, "n_validation": 289}, "n_validation must be from 1 to 288, .* got 289; ask for fewer"),
        ({"n_train": 0}, "n_train must be from 1 to 1152"),
        ({}, "n_train must be from 1 to 1152, .* got 90000"),
    ],
)
def test_more_patches_than_there_are_is_refused(asked: dict[str, int], message: str):
    with pytest.raises(ValueError, match=message):
        cifar_patches(coded_images(CODES), 0, **asked)


def test_too_few_images_and_no_stride_are_refused():
    with pytest.raises(ValueError, match="at least 5 images, .* got 4"):
        cifar_patches(coded_images(CODES[:4]), 0)
    with pytest.raises(ValueError, match="stride must be at least 1 pixel, got 0"):
        photograph_patches(0, stride=0)
