"""The Fisher information matrix of a trained machine, its eigenvectors and spectrum."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from scipy.sparse.linalg import eigsh

from secateur import fisher
from secateur.figures.machines import DECADES, fisher_map, fisher_matrix
from secateur.figures.machines import spectrum as draw_spectrum
from secateur.figures.panels import Drawing, powers_of_ten
from secateur.figures.style import WIDTH
from secateur.figures.summary import mean_and_error
from secateur.figures.tiles import COLOUR_BAR, MARGIN, axes_at, colour_bar
from secateur.model.machine import Machine, Parameters

_LEFT = 0.75  # inches beside a map, for its words


class TrainedMachine:
    """The first trial's machine before pruning, its hidden units ordered by information, and its exact matrix."""

    def __init__(self, results: xr.Dataset, machines: Callable[[int, str, int], Machine]):
        criterion = str(results["criterion"].values[0])
        self.machine = machines(int(results["trial"].values[0]), criterion, 0)
        information = results["unit_information"].isel(trial=0, criterion=0, round=0).values
        self.order = np.argsort(-information[np.asarray(self.machine.unit_indices[1])], kind="stable")

    @cached_property
    def matrix(self) -> fisher.FisherMatrix:
        """The exact Fisher information matrix of the joint model."""
        return fisher.matrix(self.machine, "exact")

    @property
    def places(self) -> np.ndarray:
        """Parameters of the matrix, those of informative units first within each pixel's synapses and the biases."""
        places = self.matrix.split(np.arange(1, self.matrix.shape[0] + 1, dtype=float))
        weights = [places.weights[0][:, self.order], *places.weights[1:]]
        biases = [places.biases[0], places.biases[1][self.order], *places.biases[2:]]
        flat = np.concatenate([part.ravel() for part in (*weights, *biases)])
        return flat[flat > 0].astype(int) - 1


def whole_matrix(trained: TrainedMachine) -> Drawing:
    """The exact matrix as an image, magnitudes on a logarithmic scale."""
    places, machine = trained.places, trained.machine
    side = WIDTH - _LEFT - MARGIN
    figure = Figure(figsize=(WIDTH, side + 0.45 + COLOUR_BAR))
    axes = axes_at(figure, _LEFT, COLOUR_BAR + 0.1, side, side)
    edges = np.cumsum([machine.n_synapses, *machine.layer_sizes])[:-1].tolist()
    fisher_matrix(trained.matrix.dense()[np.ix_(places, places)], edges=edges, bar=False, ax=axes)
    axes.tick_params(length=0, pad=4, labelbottom=False, labeltop=True)
    largest = float(abs(trained.matrix.dense()).max())
    norm = LogNorm(largest / 10**DECADES, largest)
    bar = colour_bar(figure, ScalarMappable(norm, matplotlib.colormaps["cividis"]), "|entry| (log scale)")
    powers_of_ten(bar.long_axis)
    caption = (
        f"Exact Fisher information matrix of trial 1's trained machine: {machine.n_synapses:,} weights, visible unit "
        "by "
        "visible unit and within each by hidden unit, the most informative first; then the biases of the visible and "
        "of the "
        f"hidden units in the same order. Magnitudes below a {10**DECADES:,}th part of the largest are drawn alike."
    )
    return Drawing(figure, "Fisher information matrix", caption)


def leading_eigenvector(trained: TrainedMachine) -> Drawing:
    """Magnitudes of the leading eigenvector as a map of the weights with the biases as margins."""
    matrix = trained.matrix
    # One pair of a matrix that is there already; a start that does not depend on chance gives the same picture again.
    _, vectors = eigsh(matrix.dense(), k=1, v0=matrix.diagonal())
    entries = matrix.split(abs(vectors[:, 0]))
    figure = _map(trained, entries, "|entry of the eigenvector|")
    caption = (
        "Magnitude of every parameter's entry in the leading eigenvector of that matrix: weights from visible units "
        "(rows) "
        "to hidden units (columns, most informative first), with the biases of the visible units on the right and of "
        "the hidden "
        "units below."
    )
    return Drawing(figure, "Leading eigenvector", caption)


def diagonal(trained: TrainedMachine) -> Drawing:
    """The diagonal, variance Fisher information, as a map of the weights with the biases as margins."""
    figure = _map(trained, trained.matrix.split(trained.matrix.diagonal()), "variance FI (nats per squared parameter)")
    caption = (
        "Diagonal of that matrix, the variance Fisher information of every parameter by itself, arranged as in the map "
        "of the eigenvector."
    )
    return Drawing(figure, "Diagonal", caption)


def spectrum(results: xr.Dataset) -> Drawing:
    """Eigenvalues of the trained machines by rank, mean and range over trials."""
    values = results["eigenvalue"].transpose("trial", "index").values.astype(float)
    figure = Figure(figsize=(WIDTH, 3.3), layout="constrained")
    axes = draw_spectrum(values, ax=figure.subplots())
    axes.set_ylabel("eigenvalue (log scale)")
    known = bool((values > 0).any())
    spread = "" if len(values) == 1 else f"Line: mean over {len(values)} trials; grey: their range. "
    ratio = eigenvalue_ratio(results)
    mean_ratio, error = mean_and_error(xr.DataArray(ratio, dims="trial"))
    written = f"{float(mean_ratio):.1f}" + (f" ± {float(error):.1f}" if np.isfinite(error) else "")
    caption = "Eigenvalues of the exact Fisher information matrix of the trained machines, largest first. " + spread
    if known and np.isfinite(ratio).any():
        caption += f"The first is {written} times the second."
    return Drawing(figure, "Eigenvalue spectrum", caption.strip())


def eigenvalue_ratio(results: xr.Dataset) -> np.ndarray:
    """Leading by second eigenvalue in each trial; NaN where it was not measured."""
    leading = results["eigenvalue"].transpose("trial", "index").values[:, :2].astype(float)
    if leading.shape[1] < 2:
        return np.full(len(leading), np.nan)
    return leading[:, 0] / np.where(leading[:, 1] > 0, leading[:, 1], np.nan)


def _map(trained: TrainedMachine, entries: Parameters, label: str) -> Figure:
    """Entries of the first weight matrix, ``(pixels, hidden)``, with the visible biases on the right, the hidden
    below.
    """
    weights, visible, hidden = entries.weights[0][:, trained.order], entries.biases[0], entries.biases[1][trained.order]
    n_rows, n_columns = weights.shape
    tall, left, apart = 2.6, 0.75, 0.08
    thick = 0.2  # of the margins, in inches
    wide = WIDTH - left - MARGIN - thick - apart
    norm = Normalize(0, max(float(np.max(part)) for part in (weights, visible, hidden)))
    figure = Figure(figsize=(WIDTH, tall + thick + apart + 0.55 + COLOUR_BAR))
    bottom = COLOUR_BAR + 0.25
    places = {
        "weights": (left, bottom + thick + apart, wide, tall, weights),
        "visible": (left + wide + apart, bottom + thick + apart, thick, tall, visible[:, None]),
        "hidden": (left, bottom, wide, thick, hidden[None, :]),
    }
    for name, (x, y, width, height, values) in places.items():
        axes = axes_at(figure, x, y, width, height)
        fisher_map(values, norm=norm, bar=False, ax=axes)
        axes.set(xticks=[], yticks=[], xlabel="", ylabel="")
        if name == "weights":
            axes.set_ylabel("visible units")
            axes.set_title(f"weights ({n_rows} × {n_columns})", loc="left", pad=4)
        elif name == "visible":
            axes.set_title("biases", loc="right", pad=4)
        else:
            axes.set_ylabel("biases", rotation=0, ha="right", va="center")
            axes.set_xlabel("hidden units, most informative first")
    colour_bar(figure, ScalarMappable(norm, matplotlib.colormaps["cividis"]), label)
    return figure
