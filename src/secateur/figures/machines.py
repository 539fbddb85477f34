"""Figures of machines on the user's own axes: Fisher information, its spectrum, receptive fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import MaxNLocator

from secateur import fisher
from secateur.figures.fields import fields_of, rgba_of, show_tiles, weight_norm
from secateur.figures.own_axes import axes_of, bar_beside
from secateur.figures.panels import powers_of_ten, say_when_empty
from secateur.figures.style import REFERENCE_COLOUR
from secateur.figures.tiles import COLUMNS, PixelGrid
from secateur.model.machine import Machine

DECADES = 5
"""Magnitudes more than this many powers of ten below the largest are drawn like the smallest."""
_SPREAD = "#BDBDBD"
_MAP, _SIGNED = "cividis", "RdBu_r"


def fisher_map(
    information: Any,
    *,
    matrix: int = 0,
    order: Literal["information"] | Sequence[int] | np.ndarray | None = None,
    norm: Normalize | None = None,
    bar: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Fisher information of every synapse of one weight matrix, as an image of lower by upper units.

    Parameters
    ----------
    information
        What :func:`secateur.fisher.variance` or ``heuristic`` returned; an array ``(lower, upper)`` of anything else
        per synapse; or a machine that can be summed, whose variance Fisher information is then taken exactly.
    matrix
        Which weight matrix; 0 is that of the visible layer.
    order
        Upper units from left to right: their numbers, or ``"information"`` for the most informative first (largest sum
        over their synapses). ``None``: as they stand.
    norm
        Scale of the colours; ``None``: from 0 to the largest value.
    bar
        Whether a colour bar stands beside the image.
    ax
        Axes to draw on; ``None``: new ones.

    Returns
    -------
    matplotlib.axes.Axes
        The axes. Fisher information is per nat².

    Raises
    ------
    ValueError
        If the machine is too large to be summed, there is no such matrix, or the array is not one of two dimensions.
    TypeError
        If ``ax`` is not axes.
    """
    values = _of_matrix(information, matrix)
    if order is not None:
        informative = isinstance(order, str)
        values = values[:, np.argsort(-values.sum(axis=0), kind="stable") if informative else np.asarray(order)]
    ax = axes_of(ax)
    norm = norm or Normalize(0, float(np.max(values, initial=0)) or 1.0)
    image = ax.imshow(values, cmap=_MAP, norm=norm, interpolation="nearest", aspect="auto")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel(f"units of layer {matrix + 1}")
    ax.set_ylabel("visible units" if matrix == 0 else f"units of layer {matrix}")
    if bar:
        bar_beside(ax, image, "Fisher information (per nat²)")
    return ax


def _of_matrix(information: Any, matrix: int) -> np.ndarray:
    if isinstance(information, Machine):
        information = fisher.variance(information, "exact")
    if isinstance(information, fisher.FisherInformation):
        if not 0 <= matrix < len(information):
            raise ValueError(
                f"matrix must be one of the {len(information)} weight matrices, 0 to {len(information) - 1}, got "
                f"{matrix}"
            )
        information = information[matrix]
    values = np.asarray(information)
    if values.ndim != 2:
        raise ValueError(
            f"information must be a machine, what secateur.fisher.variance returned, or an array (lower, upper), got "
            f"{type(information).__name__} of shape {values.shape}"
        )
    return values


def fisher_matrix(matrix: Any, *, edges: Sequence[int] | None = None, bar: bool = True, ax: Axes | None = None) -> Axes:
    """Magnitudes of a Fisher information matrix as an image, on a logarithmic scale of five powers of ten.

    Parameters
    ----------
    matrix
        What :func:`secateur.fisher.matrix` returned, or an array ``(parameters, parameters)``; up to a few thousand
        parameters.
    edges
        Places between blocks of parameters, where lines are drawn: numbers of synapses, then of these and the visible
        units, and so on. ``None``: those of the matrix; none for an array.
    bar
        Whether a colour bar stands beside the image.
    ax
        Axes to draw on; ``None``: new ones.

    Returns
    -------
    matplotlib.axes.Axes
        The axes; entries are per product of two parameters in nats. Rows and columns are synapses, then biases
        (:class:`secateur.fisher.FisherMatrix`).

    Raises
    ------
    ValueError
        If the matrix is too large to be made, not square, or zero throughout.
    TypeError
        If ``ax`` is not axes.
    """
    if isinstance(matrix, fisher.FisherMatrix):
        if edges is None:
            biases = [part.shape[-1] for part in matrix.split(np.zeros(matrix.shape[0])).biases]
            edges = np.cumsum([matrix.shape[0] - sum(biases), *biases])[:-1].tolist()
        matrix = matrix.dense()
    magnitudes = abs(np.asarray(matrix, float))
    if magnitudes.ndim != 2 or len(set(magnitudes.shape)) > 1 or not magnitudes.max(initial=0) > 0:
        raise ValueError(
            f"matrix must be a Fisher information matrix that is not zero throughout, got shape {magnitudes.shape}; "
            "secateur.fisher.matrix makes one"
        )
    largest = float(magnitudes.max())
    norm, colours = LogNorm(largest / 10**DECADES, largest), matplotlib.colormaps[_MAP]
    ax = axes_of(ax)
    # Coloured once for all files, and averaged where there are more parameters than dots of the printer.
    rgba = colours(norm(np.maximum(magnitudes, largest / 10**DECADES)), bytes=True)
    ax.imshow(rgba, interpolation="antialiased", aspect="auto")
    for edge in edges or ():
        ax.axvline(edge - 0.5, color="white", linewidth=0.8)
        ax.axhline(edge - 0.5, color="white", linewidth=0.8)
    if edges:
        middles = [edges[0] / 2, (edges[0] + len(magnitudes)) / 2]
        ax.set_xticks(middles, labels=["weights", "biases"])
        ax.set_yticks(middles, labels=["weights", "biases"])
    else:
        ax.set_xlabel("parameter")
        ax.set_ylabel("parameter")
    if bar:
        powers_of_ten(bar_beside(ax, ScalarMappable(norm, colours), "|entry| (per nat², log scale)").long_axis)
    return ax


def spectrum(eigenvalues: Any, *, ax: Axes | None = None, **look: Any) -> Axes:
    """Eigenvalues of a Fisher information matrix by rank, both on logarithmic scales.

    Parameters
    ----------
    eigenvalues
        What :func:`secateur.fisher.matrix` (all eigenvalues) or :func:`secateur.fisher.spectrum` (the largest)
        returned; results of a study or of a recording; or an array ``(k,)``, largest first, or ``(trials, k)``: then
        the line is the mean over trials and the grey band their range. Values that are not positive are left out.
    ax
        Axes to draw on; ``None``: new ones.
    look
        How the line looks, as of ``Axes.plot``.

    Returns
    -------
    matplotlib.axes.Axes
        The axes; eigenvalues are per nat² (of recordings in the convention ``theta-scaled`` per relative change²).

    Raises
    ------
    ValueError
        If there are no eigenvalues.
    TypeError
        If ``ax`` is not axes.
    """
    values, per = _eigenvalues(eigenvalues), "per nat²"
    if isinstance(eigenvalues, xr.Dataset):
        per = str(eigenvalues.attrs.get("unit_of_information", per))
    values = np.where(values > 0, values, np.nan)
    known = np.isfinite(values).any(axis=0)
    count = np.isfinite(values).sum(axis=0)
    mean = np.where(known, np.nansum(values, axis=0) / np.maximum(count, 1), np.nan)
    ax, rank = axes_of(ax), np.arange(1, values.shape[1] + 1)
    ax.set_xscale("log")
    ax.set_yscale("log")
    if len(values) > 1 and known.any():
        low, high = (extreme(np.where(known, values, 1.0), axis=0) for extreme in (np.nanmin, np.nanmax))
        ax.fill_between(rank, np.where(known, low, np.nan), np.where(known, high, np.nan), color=_SPREAD, linewidth=0)
    shown: dict[str, Any] = {
        "color": REFERENCE_COLOUR,
        "marker": "o",
        "markersize": 3.5,
        "markevery": list(range(min(10, len(rank)))),
    }
    ax.plot(rank, mean, **shown | look)
    say_when_empty(ax, values)
    ax.set_xlabel("rank (log scale)")
    ax.set_ylabel(f"eigenvalue ({per}, log scale)")
    powers_of_ten(ax.xaxis)
    powers_of_ten(ax.yaxis)
    return ax


def _eigenvalues(given: Any) -> np.ndarray:
    """Eigenvalues ``(trials, k)`` of whatever has some."""
    if isinstance(given, fisher.FisherMatrix):
        given = np.linalg.eigvalsh(given.dense())[::-1]
    elif isinstance(given, fisher.Spectrum):
        given = given.eigenvalues
    elif isinstance(given, xr.Dataset):
        if "eigenvalue" not in given:
            raise ValueError(
                "eigenvalues: these results hold no 'eigenvalue'; machines of at most 2,000 parameters are measured, "
                "others by secateur.fisher.spectrum"
            )
        given = given["eigenvalue"]
        given = given.transpose("trial", "index").values if "trial" in given.dims else given.values
    values = np.atleast_2d(np.asarray(given, float))
    if values.ndim != 2 or not values.size:
        raise ValueError(
            f"eigenvalues must be numbers (k,) or (trials, k), got shape {np.shape(given)}; secateur.fisher.spectrum "
            "finds them"
        )
    return values


def receptive_fields(
    machine: Machine,
    image_shape: tuple[int, int],
    *,
    information: Any = None,
    n_columns: int = COLUMNS,
    most: int = 5 * COLUMNS,
    norm: Normalize | None = None,
    bar: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Weights from the pixels to each unit of the first hidden layer, one tile per unit, on the original image.

    Parameters
    ----------
    machine
        A machine whose visible units, before any pruning, were the pixels of an image, row by row.
    image_shape
        Height and width of the image in pixels.
    information
        What orders the units, largest first: an array ``(units,)`` of the machine's units, or what
        :func:`secateur.fisher.variance` returned, of which the mean over each unit's synapses is taken. ``None``: units
        stand in the order of their numbers.
    n_columns, most
        Tiles side by side, and how many units are shown at most.
    norm
        Scale of the colours; ``None``: even on both sides of 0, up to the largest weight but one in a hundred.
    bar
        Whether a colour bar stands beside the image.
    ax
        Axes to draw on; ``None``: new ones.

    Returns
    -------
    matplotlib.axes.Axes
        The axes. Red is positive, blue negative, white zero, in nats; grey pixels have no synapse to the unit.

    Raises
    ------
    ValueError
        If image and machine, or machine and information, do not fit.
    TypeError
        If ``ax`` is not axes.
    """
    n_pixels, n_units = machine.original_layer_sizes[0], machine.layer_sizes[1]
    if len(image_shape) != 2 or np.prod(image_shape) != n_pixels:
        raise ValueError(
            f"image_shape must be height and width of {n_pixels} pixels, the visible units before any pruning, got "
            f"{tuple(image_shape)}"
        )
    values = np.zeros(n_units) if information is None else _of_units(machine, information)
    if values.shape != (n_units,):
        raise ValueError(
            f"information must have one number for each of the {n_units} units of layer 1, got shape {values.shape}"
        )
    grid = PixelGrid((int(image_shape[0]), int(image_shape[1])), np.arange(n_pixels))
    norm = norm or weight_norm([machine])
    ax = axes_of(ax)
    fields = fields_of(machine, values, grid, most)
    show_tiles(ax, rgba_of(fields, norm, grid), min(n_columns, max(len(fields.units), 1)), "equal")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_xlabel(f"hidden units ({min(most, n_units)} of {machine.original_layer_sizes[1]})")
    if bar:
        bar_beside(ax, ScalarMappable(norm, matplotlib.colormaps[_SIGNED]), "weight (nats)")
    return ax


def _of_units(machine: Machine, information: Any) -> np.ndarray:
    """Information of each unit of the first hidden layer."""
    if not isinstance(information, fisher.FisherInformation):
        return np.asarray(information, float)
    exist = np.asarray(machine.masks[0])
    values = np.asarray(information[0])
    if values.shape != exist.shape:
        raise ValueError(
            f"information must be that of this machine, {exist.shape}, got {values.shape}; measure it again after "
            "pruning"
        )
    return (values * exist).sum(axis=0) / np.maximum(exist.sum(axis=0), 1)
