"""Receptive fields as tiles: the weights of each hidden unit on the original pixel grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from secateur.figures.tiles import COLUMNS, PAPER, PixelGrid, mosaic
from secateur.model.machine import Machine

MOST_UNITS = 5 * COLUMNS
ABSENT = (0.84, 0.84, 0.84, 1.0)
"""Colour of pixels without a synapse."""


class Fields(NamedTuple):
    """Weights ``(units, height, width)`` on the original grid, where synapses are, and the units' original indices."""

    weights: np.ndarray
    present: np.ndarray
    units: np.ndarray


def fields_of(machine: Machine, information: np.ndarray, grid: PixelGrid, most: int = MOST_UNITS) -> Fields:
    """Receptive fields of the first hidden layer; ``information`` of its units orders them, the largest first."""
    order = np.argsort(-information, kind="stable")[:most]
    pixels = grid.places[np.asarray(machine.unit_indices[0])]
    found = []
    for array in (machine.weights[0], machine.masks[0]):
        fields = np.zeros((order.size, math.prod(grid.shape)), np.asarray(array).dtype)
        fields[:, pixels] = np.asarray(array).T[order]
        found.append(fields.reshape(-1, *grid.shape))
    return Fields(found[0], found[1], np.asarray(machine.unit_indices[1])[order])


def weight_norm(machines: Sequence[Machine]) -> Normalize:
    """Scale of colours that is even on both sides of 0 and reaches the largest weight but one in a hundred."""
    weights = np.concatenate([np.abs(np.asarray(m.weights[0])[np.asarray(m.masks[0])]) for m in machines])
    largest = (float(np.quantile(weights, 0.99)) if weights.size else 1.0) or 1.0
    return Normalize(-largest, largest)


def rgba_of(fields: Fields, norm: Normalize, grid: PixelGrid) -> np.ndarray:
    """Colours ``(units, height, width, 4)``."""
    rgba = np.where(fields.present[..., None], matplotlib.colormaps["RdBu_r"](norm(fields.weights)), ABSENT)
    rgba[:, ~grid.inside] = PAPER
    return rgba


def show_tiles(
    axes: Axes, rgba: np.ndarray, n_columns: int = COLUMNS, aspect: Literal["auto", "equal"] = "auto"
) -> None:
    """Tiles side by side, or a word where there are none."""
    if len(rgba):
        axes.imshow(mosaic(rgba, n_columns), interpolation="nearest", aspect=aspect)
    else:
        axes.text(0.5, 0.5, "no unit left", transform=axes.transAxes, ha="center", va="center")
