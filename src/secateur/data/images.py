"""Data for studies: binary images with labels, split into training and test rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from sklearn.datasets import load_digits


@dataclass(frozen=True)
class LabelledImages:
    """Binary images of one trial.

    Attributes
    ----------
    train, test
        0/1 pixels, rows by rows of the image, ``(images, height * width)``.
    train_labels, test_labels
        Class of each image.
    shape
        Height and width in pixels.
    """

    train: Float[np.ndarray, "train pixels"]
    test: Float[np.ndarray, "test pixels"]
    train_labels: Int[np.ndarray, " train"]
    test_labels: Int[np.ndarray, " test"]
    shape: tuple[int, int]


def handwritten_digits(seed: int, test_share: float = 0.28) -> LabelledImages:
    """scikit-learn's 1,797 handwritten digits, 8 x 8 pixels, binarised at the mean over all *training* pixels.

    Parameters
    ----------
    seed
        Decides which images are test images.
    test_share
        Share of test images, in (0, 1).
    """
    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(pixels))
    n_test = round(test_share * len(pixels))
    test, train = order[:n_test], order[n_test:]
    binary = (pixels > pixels[train].mean()).astype(np.float32)
    return LabelledImages(binary[train], binary[test], labels[train], labels[test], (8, 8))
