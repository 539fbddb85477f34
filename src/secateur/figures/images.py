"""Images on the original pixel grid: samples, receptive fields, lost pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from secateur.figures.fields import MOST_UNITS, fields_of, rgba_of, show_tiles, weight_norm
from secateur.figures.panels import Drawing
from secateur.figures.style import WIDTH, RuleStyle, rule_styles
from secateur.figures.summary import listed, shown_rounds
from secateur.figures.tiles import (
    COLOUR_BAR,
    COLUMNS,
    MARGIN,
    PAPER,
    PixelGrid,
    axes_at,
    colour_bar,
    frame,
    mosaic,
    pixel_grid,
    stacked_tiles,
)
from secateur.model.machine import Machine

_UNPRUNED = RuleStyle("unpruned", "#222222", "o")
LARGEST_R_HAT = 1.1
"""Split R-hat above this value means that chains had not mixed."""
_NOT_MEASURED = "#F3E3C3"


def example_samples(results: xr.Dataset) -> Drawing:
    """Samples of the first trial's retrained machines: unpruned, then per rule the first, middle and last round."""
    styles = rule_styles([str(name) for name in results["criterion"].values])
    n_rounds = int(results["round"].values[-1])
    shown = shown_rounds(results)
    samples = results["example_sample"].isel(trial=0).transpose("criterion", "round", "example", "pixel")
    blocks = [(_UNPRUNED, ["0"], [samples.values[0, 0]])]
    for row, style in enumerate(styles.values()):
        blocks.append((style, [str(number) for number in shown], [samples.values[row, number] for number in shown]))

    grid, n_columns = pixel_grid(results), max(results.sizes["example"], 8)
    shape = grid.shape
    ink = matplotlib.colormaps["Greys"].with_extremes(bad=_NOT_MEASURED)
    left, gap, title = 0.35, 0.1, 0.27
    tile = (WIDTH - left - MARGIN) / n_columns * shape[0] / shape[1]
    height = sum(title + gap + tile * len(rows) for _, _, rows in blocks) + MARGIN
    figure = Figure(figsize=(WIDTH, height))
    top = height
    for style, numbers, rows in blocks:
        top -= title
        axes = axes_at(figure, left, top - tile * len(rows), WIDTH - left - MARGIN, tile * len(rows))
        top -= tile * len(rows) + gap
        tiles = np.ones((len(rows), n_columns, *shape, 4))
        tiles[:, : len(rows[0])] = ink(_on_grid(np.stack(rows), grid))
        tiles[:, :, ~grid.inside] = PAPER
        axes.imshow(mosaic(tiles.reshape(-1, *shape, 4), n_columns), interpolation="nearest", aspect="auto")
        frame(axes, style, style.label)
        places = (np.arange(len(rows)) + 0.5) / len(rows) * axes.get_ylim()[0]
        axes.set_yticks(places, labels=numbers)
        axes.tick_params(length=0, pad=3)
    caption = (
        "Samples of trial 1's machines after retraining (probability of each pixel given the hidden layers, dark = 1), "
        "each from its own chain. Numbers on the left are rounds of pruning: "
        f"{listed(map(str, shown))} of {n_rounds} for every rule, 0 for the unpruned machine."
    )
    return Drawing(figure, "Example samples", caption)


def receptive_fields(results: xr.Dataset, machines: Callable[[int, str, int], Machine]) -> Drawing:
    """Weights from the pixels to the surviving units of the first hidden layer, most informative unit first.

    ``machines(trial, criterion, round)`` loads a stored machine.
    """
    criteria = [str(name) for name in results["criterion"].values]
    n_rounds = int(results["round"].values[-1])
    trial = int(results["trial"].values[0])
    information, unsure = results["unit_information"].isel(trial=0), _unmixed(results)
    blocks = [(_UNPRUNED, machines(trial, criteria[0], 0), _known(information, unsure, criteria[0], 0))]
    for name, style in rule_styles(criteria).items():
        machine = machines(trial, name, n_rounds)
        blocks.append((style, machine, _known(information, unsure, name, n_rounds)))

    norm, colours = weight_norm([machine for _, machine, _ in blocks]), matplotlib.colormaps["RdBu_r"]
    grid = pixel_grid(results)
    windows = _windows(blocks[0][1], grid)
    figure, panels = stacked_tiles(
        [math.ceil(min(max(m.layer_sizes[1], 1), MOST_UNITS) / COLUMNS) for _, m, _ in blocks],
        grid.shape if windows is None else windows.shape,
    )
    for axes, (style, machine, values) in zip(panels, blocks, strict=True):
        fields = fields_of(machine, values[np.asarray(machine.unit_indices[1])], grid)
        rgba = rgba_of(fields, norm, grid)
        if windows is not None:
            rgba = windows.cut(rgba, fields.units)
        frame(axes, style, f"{style.label}: {machine.layer_sizes[1]} of {machine.original_layer_sizes[1]} units")
        show_tiles(axes, rgba)
    colour_bar(figure, ScalarMappable(norm, colours), "weight (nats)")
    cut = "Each tile shows a unit's own receptive field only, wherever it lies in the image. "
    caption = (
        f"Weights from the pixels to each surviving unit of the first hidden layer, trial 1, after round {n_rounds} "
        "(top block: before pruning). Units are ordered by the mean variance Fisher information of their synapses, "
        f"most informative first{_at_most(blocks)}{_by_number(blocks)}. {cut if windows else ''}Red is positive, "
        "blue negative, white "
        "zero; grey pixels have no synapse to the unit."
    )
    return Drawing(figure, "Receptive fields of surviving units", caption)


def lost_pixels(results: xr.Dataset) -> Drawing:
    """Share of trials in which a pixel has lost all synapses after the last round, one map per rule."""
    styles = rule_styles([str(name) for name in results["criterion"].values])
    lost = results["lost_pixel"].isel(round=-1).transpose("criterion", "trial", "pixel")
    grid, n_columns = pixel_grid(results), 3
    shape = grid.shape
    side, gap, title = (WIDTH - 2 * MARGIN - 2 * 0.2) / n_columns, 0.2, 0.5
    n_rows = math.ceil(len(styles) / n_columns)
    tall = side * shape[0] / shape[1]
    height = n_rows * (tall + title) + COLOUR_BAR
    figure = Figure(figsize=(WIDTH, height))
    ink, norm = matplotlib.colormaps["Greys"].with_extremes(bad=_NOT_MEASURED), Normalize(0, 1)
    for place, (style, maps) in enumerate(zip(styles.values(), lost.values, strict=True)):
        row, column = divmod(place, n_columns)
        bottom = height - (row + 1) * (tall + title)
        axes = axes_at(figure, MARGIN + column * (side + gap), bottom, side, tall)
        axes.imshow(_on_grid(maps.mean(axis=0), grid), cmap=ink, norm=norm, interpolation="nearest", aspect="auto")
        n_lost = maps.sum(axis=1).mean()
        label = style.label if len(style.label) <= 15 else f"{style.label[:14]}…"
        frame(axes, style, f"{label}\n" + (f"{n_lost:.1f} lost" if np.isfinite(n_lost) else "not measured"))
    n_trials, n_rounds = results.sizes["trial"], int(results["round"].values[-1])
    colour_bar(figure, ScalarMappable(norm, ink), "share of trials" if n_trials > 1 else "lost (1) or kept (0)")
    trials = f"; shade: share of {n_trials} trials" if n_trials > 1 else " in the only trial"
    caption = (
        f"Pixels that have lost all their synapses after round {n_rounds}{trials}. Above each map: mean number of "
        f"lost pixels, of {grid.places.size}."
    )
    return Drawing(figure, "Lost pixels", caption)


def _on_grid(values: np.ndarray, grid: PixelGrid) -> np.ndarray:
    """Values of every pixel, last, as images; 0 where there is no pixel."""
    images = np.zeros((*values.shape[:-1], math.prod(grid.shape)), values.dtype)
    images[..., grid.places] = values
    return images.reshape(*values.shape[:-1], *grid.shape)


def _unmixed(results: xr.Dataset) -> xr.DataArray:
    """Where the chains behind trial 1's importance of units had not mixed."""
    return results["split_r_hat"].isel(trial=0) > LARGEST_R_HAT


def _known(information: xr.DataArray, unsure: xr.DataArray, criterion: str, number: int) -> np.ndarray:
    """Importance of units, zero for all where it is not to be trusted: then units stay in the order of their "
    "numbers.
    """
    values = information.sel(criterion=criterion).isel(round=number).values
    return np.zeros_like(values) if bool(unsure.sel(criterion=criterion).isel(round=number)) else values


def _by_number(blocks: list[tuple[RuleStyle, Machine, np.ndarray]]) -> str:
    """Which blocks are not ordered by importance, because it is not to be trusted."""
    names = [style.label for style, _, values in blocks if not values.any()]
    return f"; by their numbers where the chains behind it had not mixed ({listed(names)})" if names else ""


def _at_most(blocks: list[tuple[RuleStyle, Machine, np.ndarray]]) -> str:
    more = any(machine.layer_sizes[1] > MOST_UNITS for _, machine, _ in blocks)
    return f" (the first {MOST_UNITS} are shown)" if more else ""


class _Windows(NamedTuple):
    """Where each unit of the unpruned machine has its receptive field: first rows and columns, ``(units,)``."""

    shape: tuple[int, int]
    row: np.ndarray
    column: np.ndarray

    def cut(self, rgba: np.ndarray, units: np.ndarray) -> np.ndarray:
        """The receptive fields of units (original indices) out of images ``(units, height, width, 4)``."""
        height, width = self.shape
        tiles = [
            image[self.row[unit] : self.row[unit] + height, self.column[unit] : self.column[unit] + width]
            for image, unit in zip(rgba, units, strict=True)
        ]
        return np.array(tiles).reshape(-1, height, width, 4)


def _windows(unpruned: Machine, grid: PixelGrid) -> _Windows | None:
    """Windows that hold each unit's receptive field; none where fields are not small beside the image."""
    n_units = len(unpruned.unit_indices[1])
    present = fields_of(unpruned, np.zeros(n_units), grid, n_units).present
    firsts, sizes = [], []
    for axis, length in zip((2, 1), grid.shape, strict=True):
        along = np.asarray(present.any(axis=axis))
        first, last = along.argmax(axis=1), length - 1 - along[:, ::-1].argmax(axis=1)
        sizes.append(int((last - first).max(initial=0)) + 1)
        # A window of full size lies within the image, also where the field is clipped at the border.
        firsts.append(np.minimum(first, length - sizes[-1]))
    if 2 * sizes[0] > grid.shape[0] or 2 * sizes[1] > grid.shape[1]:
        return None
    return _Windows((sizes[0], sizes[1]), *firsts)
