"""Images on the original pixel grid: samples, receptive fields, lost pixels."""

from __future__ import annotations

import math

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from secateur.figures.curves import Drawing
from secateur.figures.style import WIDTH, RuleStyle, rule_styles
from secateur.machine import Machine
from secateur.studies.store import StudyFolder

_UNPRUNED = RuleStyle("unpruned", "#222222", "o")
_COLUMNS = 16
_MOST_UNITS = 64
_ABSENT = (0.84, 0.84, 0.84, 1.0)
_PAPER = (1.0, 1.0, 1.0, 1.0)
_NOT_MEASURED = "#F3E3C3"
_MARGIN = 0.12
_COLOUR_BAR = 0.75


def example_samples(results: xr.Dataset) -> Drawing:
    """Samples of the first trial's retrained machines: unpruned, then per rule the first, middle and last round."""
    styles = rule_styles([str(name) for name in results["criterion"].values])
    n_rounds = int(results["round"].values[-1])
    shown = sorted({1, (n_rounds + 1) // 2, n_rounds})
    samples = results["example_sample"].isel(trial=0).transpose("criterion", "round", "example", "pixel")
    blocks = [(_UNPRUNED, ["0"], [samples.values[0, 0]])]
    for row, style in enumerate(styles.values()):
        blocks.append((style, [str(number) for number in shown], [samples.values[row, number] for number in shown]))

    shape, n_columns = _image_shape(results), max(results.sizes["example"], 8)
    ink = matplotlib.colormaps["Greys"].with_extremes(bad=_NOT_MEASURED)
    left, gap, title = 0.35, 0.1, 0.27
    tile = (WIDTH - left - _MARGIN) / n_columns * shape[0] / shape[1]
    height = sum(title + gap + tile * len(rows) for _, _, rows in blocks) + _MARGIN
    figure = Figure(figsize=(WIDTH, height))
    top = height
    for style, numbers, rows in blocks:
        top -= title
        axes = _axes(figure, left, top - tile * len(rows), WIDTH - left - _MARGIN, tile * len(rows))
        top -= tile * len(rows) + gap
        tiles = np.ones((len(rows), n_columns, *shape, 4))
        tiles[:, : len(rows[0])] = ink(np.reshape(rows, (*np.shape(rows)[:2], *shape)))
        axes.imshow(_mosaic(tiles.reshape(-1, *shape, 4), n_columns), interpolation="nearest", aspect="auto")
        _frame(axes, style, style.label)
        places = (np.arange(len(rows)) + 0.5) / len(rows) * axes.get_ylim()[0]
        axes.set_yticks(places, labels=numbers)
        axes.tick_params(length=0, pad=3)
    caption = (
        "Samples of trial 1's machines after retraining (probability of each pixel given the hidden layers, dark = 1), "
        "each from its own chain. Numbers on the left are rounds of pruning: "
        f"{_listed(shown)} of {n_rounds} for every rule, 0 for the unpruned machine."
    )
    return Drawing(figure, "Example samples", caption)


def receptive_fields(results: xr.Dataset, folder: StudyFolder) -> Drawing:
    """Weights from the pixels to the surviving units of the first hidden layer, most informative unit first."""
    criteria = [str(name) for name in results["criterion"].values]
    n_rounds = int(results["round"].values[-1])
    trial = int(results["trial"].values[0])
    information = results["unit_information"].isel(trial=0)
    blocks = [(_UNPRUNED, folder.load_machine(trial, criteria[0], 0), information.isel(criterion=0, round=0).values)]
    for name, style in rule_styles(criteria).items():
        machine = folder.load_machine(trial, name, n_rounds)
        blocks.append((style, machine, information.sel(criterion=name).isel(round=-1).values))

    existing = [np.abs(np.asarray(m.weights[0])[np.asarray(m.masks[0])]) for _, m, _ in blocks]
    weights = np.concatenate(existing)
    largest = float(np.quantile(weights, 0.99)) if weights.size else 1.0
    norm, colours = Normalize(-largest, largest), matplotlib.colormaps["RdBu_r"]
    shape = _image_shape(results)
    figure, panels = _stacked(
        [math.ceil(min(max(m.layer_sizes[1], 1), _MOST_UNITS) / _COLUMNS) for _, m, _ in blocks], shape
    )
    for axes, (style, machine, values) in zip(panels, blocks, strict=True):
        fields, present = _fields(machine, values, shape)
        rgba = np.where(present[..., None], colours(norm(fields)), _ABSENT)
        _frame(axes, style, f"{style.label}: {machine.layer_sizes[1]} of {machine.original_layer_sizes[1]} units")
        if len(fields):
            axes.imshow(_mosaic(rgba, _COLUMNS), interpolation="nearest", aspect="auto")
        else:
            axes.text(0.5, 0.5, "no unit left", transform=axes.transAxes, ha="center", va="center")
    _colour_bar(figure, ScalarMappable(norm, colours), "weight (nats)")
    caption = (
        f"Weights from the pixels to each surviving unit of the first hidden layer, trial 1, after round {n_rounds} "
        "(top block: before pruning). Units are ordered by the mean variance Fisher information of their synapses, "
        f"most informative first{_at_most(blocks)}. Red is positive, blue negative, white zero; grey pixels have no "
        "synapse to the unit."
    )
    return Drawing(figure, "Receptive fields of surviving units", caption)


def lost_pixels(results: xr.Dataset) -> Drawing:
    """Share of trials in which a pixel has lost all synapses after the last round, one map per rule."""
    styles = rule_styles([str(name) for name in results["criterion"].values])
    lost = results["lost_pixel"].isel(round=-1).transpose("criterion", "trial", "pixel")
    shape, n_columns = _image_shape(results), 3
    side, gap, title = (WIDTH - 2 * _MARGIN - 2 * 0.2) / n_columns, 0.2, 0.5
    n_rows = math.ceil(len(styles) / n_columns)
    tall = side * shape[0] / shape[1]
    height = n_rows * (tall + title) + _COLOUR_BAR
    figure = Figure(figsize=(WIDTH, height))
    ink, norm = matplotlib.colormaps["Greys"].with_extremes(bad=_NOT_MEASURED), Normalize(0, 1)
    for place, (style, maps) in enumerate(zip(styles.values(), lost.values, strict=True)):
        row, column = divmod(place, n_columns)
        bottom = height - (row + 1) * (tall + title)
        axes = _axes(figure, _MARGIN + column * (side + gap), bottom, side, tall)
        axes.imshow(maps.mean(axis=0).reshape(shape), cmap=ink, norm=norm, interpolation="nearest", aspect="auto")
        n_lost = maps.sum(axis=1).mean()
        label = style.label if len(style.label) <= 15 else f"{style.label[:14]}…"
        _frame(axes, style, f"{label}\n" + (f"{n_lost:.1f} lost" if np.isfinite(n_lost) else "not measured"))
    n_trials, n_rounds = results.sizes["trial"], int(results["round"].values[-1])
    _colour_bar(figure, ScalarMappable(norm, ink), "share of trials" if n_trials > 1 else "lost (1) or kept (0)")
    trials = f"; shade: share of {n_trials} trials" if n_trials > 1 else " in the only trial"
    caption = (
        f"Pixels that have lost all their synapses after round {n_rounds}{trials}. Above each map: mean number of "
        f"lost pixels, of {math.prod(shape)}."
    )
    return Drawing(figure, "Lost pixels", caption)


def _image_shape(results: xr.Dataset) -> tuple[int, int]:
    height, width = (int(side) for side in results.attrs["image_shape"])
    return height, width


def _listed(numbers: list[int]) -> str:
    return " and ".join(filter(None, (", ".join(map(str, numbers[:-1])), str(numbers[-1]))))


def _at_most(blocks: list[tuple[RuleStyle, Machine, np.ndarray]]) -> str:
    more = any(machine.layer_sizes[1] > _MOST_UNITS for _, machine, _ in blocks)
    return f" (the first {_MOST_UNITS} are shown)" if more else ""


def _fields(machine: Machine, information: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Receptive fields ``(units, height, width)`` on the original grid and where synapses are, most informative
    first.
    """
    order = np.argsort(-information[np.asarray(machine.unit_indices[1])], kind="stable")[:_MOST_UNITS]
    pixels = np.asarray(machine.unit_indices[0])
    found = []
    for array in (machine.weights[0], machine.masks[0]):
        fields = np.zeros((order.size, math.prod(shape)), np.asarray(array).dtype)
        fields[:, pixels] = np.asarray(array).T[order]
        found.append(fields.reshape(-1, *shape))
    return found[0], found[1]


def _mosaic(tiles: np.ndarray, n_columns: int) -> np.ndarray:
    """Tiles ``(n, height, width, 4)`` side by side, row after row, with a white line around each."""
    n_rows = math.ceil(len(tiles) / n_columns)
    height, width = tiles.shape[1:3]
    canvas = np.ones((n_rows * n_columns, height + 1, width + 1, 4)) * np.array(_PAPER)
    canvas[: len(tiles), :height, :width] = tiles
    rows = canvas.reshape(n_rows, n_columns, height + 1, width + 1, 4).swapaxes(1, 2)
    return np.pad(rows.reshape(n_rows * (height + 1), -1, 4), ((1, 0), (1, 0), (0, 0)), constant_values=1.0)


def _stacked(n_rows: list[int], shape: tuple[int, int]) -> tuple[Figure, list[Axes]]:
    """A figure with one panel below the other, each as tall as its rows of tiles, and room for a colour bar."""
    tile = (WIDTH - 2 * _MARGIN) / _COLUMNS * shape[0] / shape[1]
    title, gap = 0.28, 0.08
    height = sum(title + gap + tile * rows for rows in n_rows) + _COLOUR_BAR
    figure = Figure(figsize=(WIDTH, height))
    panels, top = [], height
    for rows in n_rows:
        top -= title + tile * rows
        panels.append(_axes(figure, _MARGIN, top, WIDTH - 2 * _MARGIN, tile * rows))
        top -= gap
    return figure, panels


def _axes(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place in inches."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


def _frame(axes: Axes, style: RuleStyle, title: str) -> None:
    """A panel without ticks, framed in the rule's colour."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title, loc="left", pad=3)
    for spine in axes.spines.values():
        spine.set(visible=True, color=style.colour, linewidth=1.8)


def _colour_bar(figure: Figure, colours: ScalarMappable, label: str) -> None:
    axes = _axes(figure, WIDTH / 4, 0.5, WIDTH / 2, 0.12)
    bar = figure.colorbar(colours, cax=axes, orientation="horizontal")
    bar.set_label(label, labelpad=1)
    bar.outline.set_linewidth(0.5)
