"""CIFAR-10's colour images from the binary distribution (never the pickled one), checked before use."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

BATCHES = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch")
IMAGES_PER_BATCH = 10_000
N_CLASSES = 10
IMAGE_SHAPE = (3, 32, 32)
RECORD_LENGTH = 1 + 3 * 32 * 32  # a label, then the red, green and blue planes row by row
GET_IT = "get the originals with `secateur data fetch cifar-10`"


@dataclass(frozen=True)
class Cifar10:
    """CIFAR-10 images of the batches that were found.

    Attributes
    ----------
    images
        Pixels 0..255, ``(images, 3, 32, 32)``; channels red, green, blue.
    labels
        Class of each image, 0..9.
    batches
        Names of the batches read, in the order of the images, 10,000 images each.
    """

    images: UInt8[np.ndarray, "images 3 height width"]
    labels: Int[np.ndarray, " images"]
    batches: tuple[str, ...]


def read_cifar10(folder: str | os.PathLike[str]) -> Cifar10:
    """Read every batch of CIFAR-10 (Krizhevsky 2009), binary version, that is in a folder; ``batches`` says which.

    Parameters
    ----------
    folder
        Holds any of ``data_batch_1.bin`` to ``data_batch_5.bin`` and ``test_batch.bin``; see
        :func:`secateur.data.data_folder`.

    Raises
    ------
    FileNotFoundError
        If none of the batches is there.
    ValueError
        If a batch is truncated, of a wrong length or of another kind.
    """
    folder = Path(folder)
    found = tuple(name for name in BATCHES if (folder / f"{name}.bin").is_file())
    if not found:
        raise FileNotFoundError(f"none of CIFAR-10's data_batch_1.bin to test_batch.bin is in {folder}; {GET_IT}")
    images = np.empty((len(found) * IMAGES_PER_BATCH, *IMAGE_SHAPE), np.uint8)
    labels = np.empty(len(images), np.int64)
    for place, name in enumerate(found):
        rows = slice(place * IMAGES_PER_BATCH, (place + 1) * IMAGES_PER_BATCH)
        images[rows], labels[rows] = read_batch(folder / f"{name}.bin")
    return Cifar10(images, labels, found)


def batch_bytes() -> int:
    """Bytes of the file of a batch."""
    return IMAGES_PER_BATCH * RECORD_LENGTH


def read_batch(
    path: Path,
) -> tuple[UInt8[np.ndarray, "images 3 height width"], UInt8[np.ndarray, " images"]]:
    """Images and labels of one batch.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If its length is not that of 10,000 records, a label is not in 0..9, a class does not occur, or all pixels
        are equal.
    """
    if not path.is_file():
        raise FileNotFoundError(f"CIFAR-10's {path.name} is missing in {path.parent}; {GET_IT}")
    length, expected = path.stat().st_size, batch_bytes()
    if length != expected:
        problem = "is truncated" if length < expected else "is too long"
        raise ValueError(
            f"{path} {problem} or no batch of CIFAR-10's binary version: {IMAGES_PER_BATCH} records of {RECORD_LENGTH} "
            f"bytes make {expected} bytes, it has {length}; {GET_IT}"
        )
    records = np.fromfile(path, np.uint8).reshape(-1, RECORD_LENGTH)
    labels, pixels = records[:, 0], records[:, 1:]
    problem = ""
    if labels.max() >= N_CLASSES:
        problem = f"record {labels.argmax()} has the label {labels.max()}, labels are 0 to {N_CLASSES - 1}"
    elif (n_found := np.unique(labels).size) < N_CLASSES:
        problem = f"its labels name {n_found} of the {N_CLASSES} classes"
    elif pixels.min() == pixels.max():
        problem = f"all its pixels are {pixels[0, 0]}"
    if problem:
        raise ValueError(f"{path} is no batch of CIFAR-10's binary version: {problem}; {GET_IT}")
    return pixels.reshape(-1, *IMAGE_SHAPE), labels
