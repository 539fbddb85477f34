"""Where the rows of a study come from: built-in sets, files of the user's own, arrays from Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from secateur.data import (
    LabelledImages,
    Patches,
    cifar_patches,
    data_folder,
    handwritten_digits,
    photograph_patches,
    read_cifar10,
    read_mnist,
)
from secateur.studies.own_rows import OwnRows, OwnWords, Split, read_own_rows, read_own_words
from secateur.studies.settings import DataSettings, StudyConfig


@dataclass(frozen=True)
class Rows:
    """Rows of one trial, and what is known about them.

    Attributes
    ----------
    train, test
        0/1 rows, ``(rows, units)``.
    source
        One or two sentences: what was read, how it became 0 and 1, how it was split.
    nouns
        What one row and several are called.
    train_labels, test_labels
        Class of each row, from 0; ``None`` without labels.
    image_shape
        Height and width, where units are the pixels of an image, row by row.
    offsets
        Row and column of each unit where they are pixels of some other shape, ``(units, 2)``.
    bin_size
        Seconds of a time bin where rows are words of a recording (NaN where unknown); ``None`` for other rows.
    grey
        Training rows as probabilities, where they are drawn afresh every epoch.
    """

    train: Float[np.ndarray, "train units"]
    test: Float[np.ndarray, "test units"]
    source: str
    nouns: tuple[str, str] = ("row", "rows")
    train_labels: Int[np.ndarray, " train"] | None = None
    test_labels: Int[np.ndarray, " test"] | None = None
    image_shape: tuple[int, int] | None = None
    offsets: Int[np.ndarray, "units 2"] | None = None
    bin_size: float | None = None
    grey: Float[np.ndarray, "train units"] | None = None

    @property
    def has_places(self) -> bool:
        """Whether every unit has a place in an image."""
        return self.image_shape is not None or self.offsets is not None

    @property
    def classes(self) -> tuple[Int[np.ndarray, " train"], Int[np.ndarray, " test"]]:
        """Labels of training and test rows; only where there are any."""
        assert self.train_labels is not None and self.test_labels is not None
        return self.train_labels, self.test_labels

    def attrs(self) -> dict[str, Any]:
        """Facts for the results; ``image_shape``, or ``pixel_row`` and ``pixel_column``, where there are places."""
        facts: dict[str, Any] = {
            "source": self.source,
            "nouns": list(self.nouns),
            "n_train": len(self.train),
            "n_test": len(self.test),
        }
        if self.image_shape is not None:
            facts["image_shape"] = self.image_shape
        if self.offsets is not None:
            facts |= {"pixel_row": self.offsets[:, 0], "pixel_column": self.offsets[:, 1]}
        if self.bin_size is not None:
            facts["bin_size"] = self.bin_size
        return facts


def read_rows_of(data: DataSettings, seed: int, trials: Sequence[int]) -> list[Rows]:
    """Rows of every trial; each has a split or a draw of its own, so that error bars cover the choice of rows as well,
    unless the data set has one itself. What a trial gets does not depend on the other trials.

    Raises
    ------
    OSError
        If a file or a data set is not there.
    ValueError
        If what was found is no table of rows, or does not fit the settings.
    """
    seeds = [seed + 1000 * trial for trial in trials]
    if data.dataset == "mnist":
        return [_of_mnist(read_mnist(data_folder("mnist", data.data_dir), data.side), data)] * len(trials)
    if data.dataset == "handwritten-digits":
        return [_of_digits(handwritten_digits(seed=own, test_share=data.test_share), data) for own in seeds]
    if data.dataset == "rows":
        own = read_own_rows(data)
        return [_of_own_rows(own, own.split(one)) for one in seeds]
    if data.dataset == "words":
        words = read_own_words(data)
        return [_of_words(words, words.split(one)) for one in seeds]
    return _cut_patches(data, seeds)


def check_data(config: StudyConfig) -> None:
    """Read the rows of the first trial, so that what does not fit is refused; errors as of :func:`read_rows_of`."""
    read_rows_of(config.data, config.seed, [0])


def _of_own_rows(own: OwnRows, split: Split) -> Rows:
    labels = f", labels of {len(own.classes)} classes" if own.classes else ""
    kind = "rows" if own.image_shape is None else f"images of {own.image_shape[0]} × {own.image_shape[1]} pixels"
    whose = "given test rows" if own.test is not None else "each trial with its own split"
    source = (
        f"{own.name}: {len(own.rows):,} {kind} of {own.rows.shape[1]} units{labels}. {split.how} "
        f"{len(split.train):,} rows are for training and {len(split.test):,} for testing, {whose}."
    )
    nouns = ("row", "rows") if own.image_shape is None else ("image", "images")
    return Rows(
        split.train,
        split.test,
        source,
        nouns,
        split.train_labels,
        split.test_labels,
        own.image_shape,
        grey=split.grey,
    )


def _of_words(words: OwnWords, split: Split) -> Rows:
    seconds = "" if np.isnan(words.bin_size) else f" of {words.bin_size:g} s"
    epochs = f"{words.n_epochs} epochs" if words.n_epochs > 1 else "one epoch"
    source = (
        f"{words.name}: {words.n_bins:,} words of {words.n_units} units in bins{seconds}, {epochs}. {split.how} "
        f"{len(split.train):,} bins are for training."
    )
    return Rows(split.train, split.test, source, ("bin", "bins"), bin_size=words.bin_size)


def _labelled(images: LabelledImages, source: str) -> Rows:
    return Rows(
        images.train,
        images.test,
        source,
        ("digit", "digits"),
        images.train_labels,
        images.test_labels,
        images.shape,
    )


def _of_mnist(images: LabelledImages, data: DataSettings) -> Rows:
    height, width = images.shape
    cut = "cropped to the central" if data.side < 28 else "whole images of"
    return _labelled(
        images,
        f"MNIST handwritten digits, {cut} {height} × {width} pixels, binarised at the training mean; "
        f"{len(images.train):,} training and {len(images.test):,} test images. All trials share the "
        "data set's own split.",
    )


def _of_digits(images: LabelledImages, data: DataSettings) -> Rows:
    return _labelled(
        images,
        "scikit-learn's handwritten digits (real, 8 × 8 pixels, binarised at the mean of the training pixels); "
        f"{data.test_share:.0%} of the images kept for testing. Each trial has its own split.",
    )


def _cut_patches(data: DataSettings, seeds: Sequence[int]) -> list[Rows]:
    """Patches of every trial, each with its own draw of images."""
    sizes: dict[str, Any] = {"radius": data.radius, "n_train": data.n_train, "n_validation": data.n_validation}
    if data.dataset != "photographs":
        try:
            images = read_cifar10(data_folder("cifar-10", data.data_dir))
            return [_of_patches(cifar_patches(images, own, **sizes)) for own in seeds]
        except FileNotFoundError:
            if data.dataset == "cifar-10" or data.data_dir is not None:
                raise
    return [_of_patches(photograph_patches(own, **sizes)) for own in seeds]


def _of_patches(found: Patches) -> Rows:
    shared = "Patches of one image overlap." if found.overlapping else "Patches do not overlap."
    source = f"{found.source} {shared} (The sentence describes trial 1; each trial has its own draw of images.)"
    return Rows(found.train, found.validation, source, ("patch", "patches"), offsets=found.offsets)
