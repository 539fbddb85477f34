"""How values of the user's become states of units: as they stand, as probabilities, or by a threshold."""

from __future__ import annotations

import math
import warnings
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

RULES = ("redraw", "mean")
"""Rules with a name, as of the setting ``data.binarize`` of studies."""

_FAR = 0.5
"""Shares of the range of the training rows by which later values may lie outside of it."""


class Levels(NamedTuple):
    """What one unit of a value is, and when it counts as active.

    Attributes
    ----------
    scale
        The value that stands for the probability 1.
    threshold
        Values above it are 1, all others 0; ``None``: values are probabilities.
    grey
        Whether the training rows held anything but 0 and 1 before a threshold.
    """

    scale: float = 1.0
    threshold: float | None = None
    grey: bool = False

    @property
    def drawn_afresh(self) -> bool:
        """Whether training draws the rows as 0 and 1 in every epoch."""
        return self.grey and self.threshold is None

    def __str__(self) -> str:
        if self.threshold is not None:
            return f"values above {self.threshold:.4g} are 1, all others 0"
        if not self.grey:
            return "0 and 1 as they stand"
        divided = "" if self.scale == 1 else f", divided by {self.scale:.4g},"
        return f"grey levels{divided} are probabilities, drawn as 0 and 1 afresh every epoch, for likelihoods once"

    def rows(
        self, values: Shaped[np.ndarray, "rows visible"], *, training: bool = False
    ) -> Float[np.ndarray, "rows visible"]:
        """Probabilities between 0 and 1, or 0 and 1 by the threshold, float32.

        Values beyond the range of the training rows count as its ends, with a warning.

        Raises
        ------
        ValueError
            If values lie far outside of that range.
        """
        if self.threshold is not None:
            return (values > self.threshold).astype(np.float32)
        found = np.asarray(values, np.float32) if self.scale == 1 else (values / self.scale).astype(np.float32)
        low, high = float(found.min()), float(found.max())
        if training or (low >= 0 and high <= 1):
            return np.array(found, order="C")
        if low < -_FAR or high > 1 + _FAR:
            raise ValueError(
                f"X must hold values from 0 to {self.scale:.4g} like the training rows, got values from "
                f"{values.min():.4g} to {values.max():.4g}; scale X as in fit, or set binarize to a threshold"
            )
        warnings.warn(
            f"X holds values from {values.min():.4g} to {values.max():.4g}, training rows lay between 0 and "
            f"{self.scale:.4g}: values outside count as 0 and {self.scale:.4g}",
            UserWarning,
            stacklevel=4,
        )
        return np.clip(found, 0, 1)


def levels_for(values: Shaped[np.ndarray, "rows visible"], binarize: Any) -> Levels:
    """How training rows become 0 and 1 by the estimator's parameter of this name.

    Raises
    ------
    ValueError
        If ``binarize`` is no rule, or values are negative where they are to be probabilities.

    Warns
    -----
    UserWarning
        If values above 1 are taken as grey levels without having been asked for.
    """
    if isinstance(binarize, Real) and not isinstance(binarize, bool) and not math.isnan(binarize):
        return Levels(threshold=float(binarize), grey=_is_grey(values))
    if not (binarize is None or (isinstance(binarize, str) and binarize in RULES)):
        raise ValueError(
            f"binarize must be None, a threshold (a number), 'redraw' or 'mean', got {binarize!r}; None takes values "
            "from 0 to 1 as probabilities"
        )
    if binarize == "mean":
        return Levels(threshold=float(values.mean(dtype=np.float64)), grey=_is_grey(values))
    low, high = float(values.min()), float(values.max())
    if low < 0:
        row, column = np.argwhere(values < 0)[0].tolist()
        raise ValueError(
            f"Negative values in data passed to BoltzmannMachine: X must hold 0 and 1, or values from 0 on as grey "
            f"levels, got {values[row, column]:g} in row {row}, column {column}; set binarize to the threshold above "
            "which values become 1, or scale X to [0, 1]"
        )
    if high <= 1:
        return Levels(grey=_is_grey(values))
    if binarize is None:
        warnings.warn(
            f"X holds values up to {high:.4g}: they are taken as grey levels, divided by {high:.4g} and drawn as 0 and "
            "1; set binarize to a threshold, to 'mean', or to 'redraw' to have it so without this warning",
            UserWarning,
            stacklevel=4,
        )
    return Levels(scale=high, grey=True)


def drawn_once(levels: Float[np.ndarray, "rows visible"], seed: int) -> Float[np.ndarray, "rows visible"]:
    """Rows of 0 and 1 drawn from probabilities, always alike for equal rows, whatever stands beside them.

    The random numbers are a hash (SplitMix64; Steele, Lea & Flood 2014) of seed, row and column.
    """
    if not _is_grey(levels):
        return levels
    with np.errstate(over="ignore"):
        columns = _mixed(np.arange(levels.shape[1], dtype=np.uint64) + _mixed(np.array([seed], np.uint64)))
        bits = (levels + np.float32(0)).view(np.uint32).astype(np.uint64)  # minus zero is zero
        of_rows = _mixed((bits * (columns | np.uint64(1))[None, :]).sum(axis=1, dtype=np.uint64))
        hashed = _mixed(of_rows[:, None] ^ columns[None, :])
    return ((hashed >> np.uint64(11)) * 2.0**-53 < levels).astype(np.float32)


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """The output function of SplitMix64."""
    z = numbers + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _is_grey(values: np.ndarray) -> bool:
    return bool(((values != 0) & (values != 1)).any())
