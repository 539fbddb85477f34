"""What image figures share: panels placed in inches, tiles side by side, frames in a rule's colour, colour bars."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure

from secateur.figures.style import WIDTH, RuleStyle

COLUMNS = 16
"""Tiles side by side."""
MARGIN = 0.12
"""White space at the sides of a figure, in inches."""
COLOUR_BAR = 0.75
"""Height of a colour bar with its label, in inches."""
PAPER = (1.0, 1.0, 1.0, 1.0)


class PixelGrid(NamedTuple):
    """Where the visible units lie in an image: its shape, and the place of each unit counted row by row."""

    shape: tuple[int, int]
    places: np.ndarray

    @property
    def inside(self) -> np.ndarray:
        """Where there is a pixel at all, ``(height, width)``."""
        return np.isin(np.arange(math.prod(self.shape)), self.places).reshape(self.shape)


def pixel_grid(results: xr.Dataset) -> PixelGrid:
    """The grid of a study of whole images (``image_shape``) or of patches (``pixel_row``, ``pixel_column``)."""
    if "image_shape" in results.attrs:
        height, width = (int(side) for side in results.attrs["image_shape"])
        return PixelGrid((height, width), np.arange(height * width))
    row, column = (np.atleast_1d(results.attrs[name]).astype(int) for name in ("pixel_row", "pixel_column"))
    row, column = row - row.min(), column - column.min()
    width = int(column.max()) + 1
    return PixelGrid((int(row.max()) + 1, width), row * width + column)


def mosaic(tiles: np.ndarray, n_columns: int) -> np.ndarray:
    """Tiles ``(n, height, width, 4)`` side by side, row after row, with a white line around each."""
    n_rows = math.ceil(len(tiles) / n_columns)
    height, width = tiles.shape[1:3]
    canvas = np.ones((n_rows * n_columns, height + 1, width + 1, 4)) * np.array(PAPER)
    canvas[: len(tiles), :height, :width] = tiles
    rows = canvas.reshape(n_rows, n_columns, height + 1, width + 1, 4).swapaxes(1, 2)
    return np.pad(rows.reshape(n_rows * (height + 1), -1, 4), ((1, 0), (1, 0), (0, 0)), constant_values=1.0)


def stacked_tiles(n_rows: list[int], shape: tuple[int, int]) -> tuple[Figure, list[Axes]]:
    """A figure with one panel below the other, each as tall as its rows of tiles, and room for a colour bar."""
    tile = (WIDTH - 2 * MARGIN) / COLUMNS * shape[0] / shape[1]
    title, gap = 0.28, 0.08
    height = sum(title + gap + tile * rows for rows in n_rows) + COLOUR_BAR
    figure = Figure(figsize=(WIDTH, height))
    panels, top = [], height
    for rows in n_rows:
        top -= title + tile * rows
        panels.append(axes_at(figure, MARGIN, top, WIDTH - 2 * MARGIN, tile * rows))
        top -= gap
    return figure, panels


def axes_at(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place in inches."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


def frame(axes: Axes, style: RuleStyle, title: str) -> None:
    """A panel without ticks, framed in the rule's colour."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title, loc="left", pad=3)
    for spine in axes.spines.values():
        spine.set(visible=True, color=style.colour, linewidth=1.8)


def colour_bar(figure: Figure, colours: ScalarMappable, label: str) -> Colorbar:
    """A horizontal colour bar at the foot of the figure."""
    axes = axes_at(figure, WIDTH / 4, 0.5, WIDTH / 2, 0.12)
    bar = figure.colorbar(colours, cax=axes, orientation="horizontal")
    bar.set_label(label, labelpad=1)
    bar.outline.set_linewidth(0.5)
    return bar
