"""Circular patches of natural images as binary patterns (Scholl, Rule & Hennig 2021, Methods, single-layer study).

Channels are summed and the sums binarised at the median over all pixels of the training images. Training and validation
patches come from different images (or regions of photographs): no pixel serves both. Equal patterns are kept as often
as they occur, because their frequencies are what a machine learns.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8
from sklearn.datasets import load_sample_images

from secateur.data.cifar import Cifar10

CIFAR_CENTRES = (3, 8, 13, 18, 23, 28)
"""Rows and columns of the patch centres in a 32 x 32 image, counted from 0: circles of reach 2 cover rows and columns
1 to 30, the same margin on all sides."""

HELD_OUT_OF = 5
"""One of this many consecutive images (or tiles of a photograph) gives validation patches, drawn by the seed: the held
out tiles are spread evenly over the photographs."""

TILE_GRID = (6, 10)
"""Each photograph is cut into this many rows and columns of tiles; a tile gives training or validation patches."""

TILE_GAP = 2
"""Pixels between two tiles that are in neither."""


@dataclass(frozen=True)
class Patches:
    """Binary patches for one trial.

    Attributes
    ----------
    train, validation
        0/1 pixels, ``(patches, pixels)``; duplicates are kept.
    offsets
        Row and column of each pixel from the patch's centre, ``(pixels, 2)``.
    threshold
        Summed channels above it are 1; the median over the training images.
    overlapping
        Whether patches of one image share pixels.
    source
        One sentence: what was cut, from what, and whether the patches overlap.
    seed
        Decided the pools and the draw.
    """

    train: Float[np.ndarray, "train pixels"]
    validation: Float[np.ndarray, "validation pixels"]
    offsets: Int[np.ndarray, "pixels 2"]
    threshold: float
    overlapping: bool
    source: str
    seed: int


def circle_offsets(radius: float) -> Int[np.ndarray, "pixels 2"]:
    """Row and column offsets of the pixels whose centres lie within ``radius`` of a pixel's centre, row by row.

    A radius of 2.1 pixels gives 13.

    Raises
    ------
    ValueError
        If the radius is not a positive finite number.
    """
    reach = _reach(radius)
    places = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1).T
    return places[np.hypot(*places.T) <= radius]


def _reach(radius: float) -> int:
    """Pixels from the centre of a circle to its farthest row and column."""
    if not (math.isfinite(radius) and radius > 0):
        raise ValueError(f"radius must be a positive number of pixels, got {radius!r}; the paper's is 2.1")
    return math.floor(radius)


def cifar_patches(
    cifar: Cifar10, seed: int, *, radius: float = 2.1, n_train: int = 90_000, n_validation: int = 20_000
) -> Patches:
    """Patches of CIFAR-10 images, 36 per image, that do not overlap at the default radius.

    Parameters
    ----------
    cifar
        Images from :func:`secateur.data.read_cifar10`.
    seed
        Decides which images are validation images, and which patches are drawn from each pool, without replacement.
    radius
        Of the circle, in pixels.
    n_train, n_validation
        Patches to draw from the training images and from the validation images.

    Raises
    ------
    ValueError
        If the circle does not lie inside the image at every centre, or a pool has fewer patches than asked.
    """
    centres = np.array(CIFAR_CENTRES)
    name = f"{len(cifar.images)} CIFAR-10 images ({', '.join(cifar.batches)})"
    return _cut(cifar.images, name, seed, radius, centres, centres, n_train, n_validation)


def photograph_patches(
    seed: int, *, radius: float = 2.1, stride: int = 2, n_train: int = 90_000, n_validation: int = 20_000
) -> Patches:
    """Patches of scikit-learn's two sample photographs (china.jpg and flower.jpg): natural images without a download.

    The photographs are cut into 120 tiles, two pixels apart, each of which gives training or validation patches only.
    Two photographs are too few for 90,000 patches that do not overlap, so patches of one tile may share pixels.

    Parameters
    ----------
    seed
        Decides which tiles are validation tiles, and which patches are drawn from each pool, without replacement.
    radius
        Of the circle, in pixels.
    stride
        Pixels from one centre to the next in both directions.
    n_train, n_validation
        Patches to draw from the training tiles and from the validation tiles.

    Raises
    ------
    ValueError
        If the circle does not fit into a tile, the stride is not a positive whole number, or a pool has fewer patches
        than asked.
    """
    if stride < 1:
        raise ValueError(f"stride must be at least 1 pixel, got {stride}; the default is 2")
    images = _tiles([np.moveaxis(photograph, -1, 0) for photograph in load_sample_images().images])
    height, width = images.shape[2:]
    reach = _reach(radius)
    rows, columns = (np.arange(reach, side - reach, stride) for side in (height, width))
    name = (
        f"{len(images)} tiles of {height} x {width} pixels, {TILE_GAP} pixels apart, of scikit-learn's sample "
        "photographs china.jpg and flower.jpg"
    )
    return _cut(images, name, seed, radius, rows, columns, n_train, n_validation)


def _tiles(photographs: Sequence[np.ndarray]) -> np.ndarray:
    """Photographs ``(channels, height, width)`` of equal size as tiles ``(tiles, channels, height, width)``."""
    height, width = ((size + TILE_GAP) // n for size, n in zip(photographs[0].shape[1:], TILE_GRID, strict=True))
    return np.stack(
        [
            photograph[
                :, row * height : (row + 1) * height - TILE_GAP, column * width : (column + 1) * width - TILE_GAP
            ]
            for photograph in photographs
            for row, column in itertools.product(*map(range, TILE_GRID))
        ]
    )


def _cut(
    images: UInt8[np.ndarray, "images channels height width"],
    name: str,
    seed: int,
    radius: float,
    rows: Int[np.ndarray, " rows"],
    columns: Int[np.ndarray, " columns"],
    n_train: int,
    n_validation: int,
) -> Patches:
    """Patches centred at every pair of ``rows`` and ``columns`` of every image, split by image into two pools."""
    _check_inside(images.shape[2:], radius, rows, columns)
    if len(images) < HELD_OUT_OF:
        raise ValueError(f"patches need at least {HELD_OUT_OF} images, one of which to validate on, got {len(images)}")
    offsets = circle_offsets(radius)
    row, column = (axis.ravel() for axis in np.meshgrid(rows, columns, indexing="ij"))
    pixels = (row[:, None] + offsets[None, :, 0]) * images.shape[3] + column[:, None] + offsets[None, :, 1]
    brightness = images.sum(axis=1, dtype=np.uint16).reshape(len(images), -1)

    rng = np.random.default_rng(seed)
    groups = np.arange(0, len(images) - HELD_OUT_OF + 1, HELD_OUT_OF)
    held_out = groups + rng.integers(HELD_OUT_OF, size=len(groups))
    pools = {"train": np.setdiff1d(np.arange(len(images)), held_out), "validation": held_out}
    threshold = float(np.median(brightness[pools["train"]]))
    drawn = {}
    for (pool, members), n_asked in zip(pools.items(), (n_train, n_validation), strict=True):
        n_there = len(members) * len(row)
        if not 0 < n_asked <= n_there:
            raise ValueError(
                f"n_{pool} must be from 1 to {n_there}, the number of {pool} patches in {len(members)} of {name}, got "
                f"{n_asked}; ask for fewer, give more images or take a denser grid"
            )
        image, place = np.divmod(rng.choice(n_there, n_asked, replace=False), len(row))
        values = brightness[members[image][:, None], pixels[place]]
        drawn[pool] = (values > threshold).astype(np.float32)

    overlapping = np.unique(pixels).size < pixels.size
    source = (
        f"{len(offsets)}-pixel circular patches (radius {radius} pixels) at {len(row)} places in each of {name}, on "
        f"{'an overlapping' if overlapping else 'a non-overlapping'} grid: {n_train} training patches from "
        f"{len(pools['train'])} of them, {n_validation} validation patches from the other {len(held_out)}, channels "
        f"summed and binarised at the training median {threshold:g}."
    )
    return Patches(drawn["train"], drawn["validation"], offsets, threshold, overlapping, source, seed)


def _check_inside(shape: tuple[int, ...], radius: float, rows: np.ndarray, columns: np.ndarray) -> None:
    reach = _reach(radius)
    for size, centres in zip(shape, (rows, columns), strict=True):
        if not centres.size or centres.min() < reach or centres.max() + reach >= size:
            raise ValueError(
                f"radius {radius} pixels is too large: its circle must lie inside an image of {shape[0]} x {shape[1]} "
                "pixels at every centre; choose a smaller one, the paper's is 2.1"
            )
