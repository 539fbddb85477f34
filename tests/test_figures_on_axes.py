"""Figures on the user's own axes show the numbers that were given, with units, and change nothing else."""

from types import SimpleNamespace
from typing import Any

import jax
import matplotlib
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib import pyplot
from matplotlib.figure import Figure

import secateur as sc
from secateur import figures, fisher
from secateur.figures.summary import mean_and_error, total_synapses
from secateur.model.machine import Machine
from synthetic_study import synthetic_config, synthetic_results

RNG = np.random.default_rng(0)
CRITERIA = ("variance-fi", "random")


@pytest.fixture(scope="module")
def machine():
    masks = RNG.random((12, 5)) < 0.7
    return Machine([RNG.normal(size=(12, 5))], [RNG.normal(size=12), RNG.normal(size=5)], [masks])


@pytest.fixture(scope="module")
def results():
    return synthetic_results(synthetic_config(CRITERIA, 3, (12, 8)))


@pytest.fixture(scope="module")
def stiffness():
    names = ["a", "b", "c", "d"]
    pairs = [(0, 1, 0.3), (0, 2, 0.1), (0, 3, 0.2), (1, 2, 0.05), (1, 3, 0.4), (2, 3, 0.01)]
    units = pd.DataFrame({"unit": names, "information": [0.2, 0.9, 0.1, 0.5]})
    units["information_low"], units["information_high"] = units["information"] - 0.05, units["information"] + 0.1
    rows = [("coupling", names[i], names[j], f) for i, j, f in pairs] + [("bias", n, "", 9.0) for n in names]
    parameters = pd.DataFrame(rows, columns=["kind", "first_unit", "second_unit", "fisher_information"])
    return SimpleNamespace(units=units, parameters=parameters, convention="0/1")


@pytest.fixture
def ax():
    return Figure().subplots()


def image(ax) -> Any:
    return np.asarray(ax.images[0].get_array())


CASES = {
    "curve": lambda m, r, s, **how: figures.curve(r, "test_error", **how),
    "fisher_map": lambda m, r, s, **how: figures.fisher_map(m, **how),
    "fisher_matrix": lambda m, r, s, **how: figures.fisher_matrix(fisher.matrix(m, "exact"), **how),
    "receptive_fields": lambda m, r, s, **how: figures.receptive_fields(m, (3, 4), **how),
    "spectrum": lambda m, r, s, **how: figures.spectrum(fisher.matrix(m, "exact"), **how),
    "stiff_couplings": lambda m, r, s, **how: figures.stiff_couplings(s, **how),
    "stiff_units": lambda m, r, s, **how: figures.stiff_units(s, **how),
    "assemblies": lambda m, r, s, **how: figures.assemblies(m, **how),
}


def test_every_public_function_is_tested():
    functions = {name for name in figures.__all__ if hasattr(getattr(figures, name), "__code__")}
    assert functions - {"rule_styles", "save"} == set(CASES)
    assert sc.figures is figures


@pytest.mark.parametrize("case", CASES)
def test_axes_given_are_returned_new_ones_made_and_nothing_global_changes(
    case, machine, results, stiffness, ax, unchecked
):
    pyplot.close(pyplot.figure())  # chooses the backend
    before, random = dict(matplotlib.rcParams), RNG.bit_generator.state
    given = pyplot.subplots()[1]
    given.set_title("mine")
    assert CASES[case](machine, results, stiffness, ax=given) is given
    assert given.get_title() == "mine"
    made = CASES[case](machine, results, stiffness)
    assert made is not given and made.get_figure() is pyplot.gcf()
    assert dict(matplotlib.rcParams) == before and RNG.bit_generator.state == random
    pyplot.close("all")
    with pytest.raises(TypeError, match=r"ax must be matplotlib axes, got Figure; make some with"):
        CASES[case](machine, results, stiffness, ax=ax.get_figure())


def test_a_fisher_map_shows_every_synapse(machine, ax):
    information = fisher.variance(machine, "exact")
    figures.fisher_map(information, ax=ax)
    np.testing.assert_array_equal(image(ax), information[0])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("units of layer 1", "visible units")
    assert ax.get_figure().axes[1].get_ylabel() == "Fisher information (per nat²)"
    ordered = image(figures.fisher_map(machine, order="information", bar=False, ax=Figure().subplots()))
    assert (np.diff(ordered.sum(axis=0)) <= 0).all() and not np.array_equal(ordered, image(ax))
    np.testing.assert_allclose(np.sort(ordered.sum(axis=0)), np.sort(image(ax).sum(axis=0)), rtol=1e-6)
    by_hand = figures.fisher_map(np.asarray(information[0]), order=[4, 3, 2, 1, 0], ax=Figure().subplots())
    np.testing.assert_array_equal(image(by_hand), np.asarray(information[0])[:, ::-1])


def test_what_is_no_fisher_information_is_refused(machine):
    with pytest.raises(ValueError, match=r"matrix must be one of the 1 weight matrices, 0 to 0, got 1"):
        figures.fisher_map(machine, matrix=1)
    with pytest.raises(ValueError, match=r"array \(lower, upper\), got ndarray of shape \(3,\)"):
        figures.fisher_map(np.zeros(3))
    with pytest.raises(ValueError, match=r"not zero throughout, got shape \(2, 3\)"):
        figures.fisher_matrix(np.ones((2, 3)))


def test_a_fisher_matrix_is_coloured_by_magnitude(machine, ax):
    matrix = fisher.matrix(machine, "exact")
    figures.fisher_matrix(matrix, ax=ax)
    shown, magnitudes = image(ax).astype(int), abs(matrix.dense())
    assert shown.shape == (*matrix.shape, 4)
    brightness = shown[..., :3].sum(axis=-1)  # cividis grows brighter throughout
    largest = np.unravel_index(magnitudes.argmax(), magnitudes.shape)
    assert brightness[largest] == brightness.max()
    dark = magnitudes < magnitudes.max() / 1e5
    assert dark.any() and (brightness[dark] == brightness.min()).all()
    upright = [np.asarray(line.get_xdata()) for line in ax.lines]
    assert [x[0] for x in upright if x[0] == x[1]] == [machine.n_synapses - 0.5, machine.n_synapses + 11.5]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["weights", "biases"]


def test_a_spectrum_shows_the_eigenvalues(machine, results, ax):
    matrix = fisher.matrix(machine, "exact")
    values = np.sort(np.linalg.eigvalsh(matrix.dense()))[::-1]
    figures.spectrum(matrix, ax=ax)
    positive = values > 0
    np.testing.assert_allclose(np.asarray(ax.lines[0].get_ydata())[positive], values[positive], rtol=1e-6, atol=1e-12)
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), np.arange(1, len(values) + 1))
    assert ax.get_ylabel() == "eigenvalue (per nat², log scale)" and not ax.collections
    few = fisher.spectrum(machine, "exact", n_eigenvalues=3)
    line = figures.spectrum(few, ax=Figure().subplots(), color="red").lines[0]
    np.testing.assert_allclose(np.asarray(line.get_ydata()), values[:3], rtol=1e-6)
    assert line.get_color() == "red"
    trials = figures.spectrum(np.array([[4.0, 2.0], [2.0, 0.0]]), ax=Figure().subplots())
    np.testing.assert_array_equal(trials.lines[0].get_ydata(), [3.0, 2.0])  # a zero is left out
    band = np.asarray(trials.collections[0].get_paths()[0].vertices)
    assert band[band[:, 0] == 1, 1].min() == 2 and band[band[:, 0] == 1, 1].max() == 4
    with pytest.raises(ValueError, match="these results hold no 'eigenvalue'"):
        figures.spectrum(results.drop_vars("eigenvalue", errors="ignore"))


def test_receptive_fields_are_weights_on_the_image(machine, ax):
    information = np.array([0.0, 3.0, 1.0, 2.0, 0.5])
    figures.receptive_fields(machine, (3, 4), information=information, n_columns=3, ax=ax)
    tiles = image(ax)  # two rows of three tiles of 3 x 4 pixels with white lines
    assert tiles.shape == (2 * 4 + 1, 3 * 5 + 1, 4)
    first = tiles[1:4, 1:5]
    present = np.asarray(machine.masks[0])[:, 1].reshape(3, 4)
    np.testing.assert_array_equal((first == np.array([0.84, 0.84, 0.84, 1])).all(axis=-1), ~present)
    weights = np.asarray(machine.weights[0])
    largest = np.quantile(abs(weights[np.asarray(machine.masks[0])]), 0.99)
    colours = matplotlib.colormaps["RdBu_r"](np.clip(weights[:, 1] / largest, -1, 1) / 2 + 0.5).reshape(3, 4, 4)
    np.testing.assert_allclose(first[present], colours[present], atol=0.01)
    assert ax.get_figure().axes[1].get_ylabel() == "weight (nats)"
    with pytest.raises(ValueError, match=r"height and width of 12 pixels, .* got \(4, 4\)"):
        figures.receptive_fields(machine, (4, 4))
    with pytest.raises(ValueError, match=r"one number for each of the 5 units of layer 1, got shape \(12,\)"):
        figures.receptive_fields(machine, (3, 4), information=np.zeros(12))


def test_pruned_machines_are_drawn_on_the_original_image(machine, ax):
    pruned = sc.pruning.prune(machine, "weight-magnitude", 0.8, key=jax.random.key(0))
    figures.receptive_fields(pruned, (3, 4), information=fisher.variance(pruned, "exact"), ax=ax)
    assert ax.get_xlabel() == f"hidden units ({pruned.layer_sizes[1]} of 5)"
    grey = (image(ax)[1:4] == np.array([0.84, 0.84, 0.84, 1])).all(axis=-1).sum()
    assert grey == 12 * pruned.layer_sizes[1] - pruned.n_synapses


def test_a_curve_is_means_and_standard_errors(results, ax):
    figures.curve(results, "test_error", ax=ax)
    mean, error = mean_and_error(results["test_error"].sel(stage="retrained"))
    left = mean_and_error(total_synapses(results))[0]
    for name, (points, _, (bars,)) in zip(CRITERIA, ax.containers, strict=True):
        np.testing.assert_allclose(points.get_ydata(), mean.sel(criterion=name), rtol=1e-6)
        np.testing.assert_allclose(points.get_xdata(), left.sel(criterion=name), rtol=0.2)  # moved sideways a little
        lengths = [np.ptp(segment[:, 1]) for segment in bars.get_segments()]
        np.testing.assert_allclose(lengths, 2 * error.sel(criterion=name), rtol=1e-5)
    assert ax.get_xlabel() == "synapses left (log scale)"
    assert ax.get_ylabel() == results["test_error"].attrs["long_name"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["variance FI", "random"]
    other = figures.curve(results, "n_units", layer=2, over="rounds", legend=False, ax=Figure().subplots())
    units = mean_and_error(results["n_units"].isel(layer=2))[0].sel(criterion="random")
    np.testing.assert_allclose(other.containers[1][0].get_ydata(), units)
    assert other.get_xlabel() == "round of pruning" and other.get_legend() is None


def test_what_no_study_has_is_refused(results, unchecked):
    with pytest.raises(ValueError, match=r"variable must be one of .*test_error.*, got 'error'"):
        figures.curve(results, "error")
    with pytest.raises(ValueError, match=r"layer must be one of 0, 1, 2 for 'n_units', got None; say e.g. layer=2"):
        figures.curve(results, "n_units")
    with pytest.raises(ValueError, match="'test_error' has no dimension 'layer'"):
        figures.curve(results, "test_error", layer=1)
    with pytest.raises(ValueError, match="over must be 'synapses' or 'rounds', got 'time'"):
        figures.curve(results, "test_error", over="time")  # type: ignore[arg-type]


def test_stiff_units_come_first_with_their_intervals(stiffness, ax):
    figures.stiff_units(stiffness, ax=ax)
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [0.9, 0.5, 0.2, 0.1])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["b", "d", "a", "c"]
    bars = np.array([segment[:, 0] for segment in ax.collections[0].get_segments()])
    np.testing.assert_allclose(bars, [[0.85, 1.0], [0.45, 0.6], [0.15, 0.3], [0.05, 0.2]])
    assert ax.get_xlabel() == "Fisher information (per nat²)"
    many = SimpleNamespace(
        convention="theta-scaled",
        parameters=stiffness.parameters.iloc[:0],
        units=pd.DataFrame({"unit": range(9), "information": np.arange(9.0)[::-1]}).assign(
            information_low=np.nan, information_high=np.nan
        ),
    )
    few = figures.stiff_units(many, most=4, ax=Figure().subplots())
    np.testing.assert_array_equal(few.lines[0].get_xdata(), [8, 7, 6, 0])  # three stiffest and the sloppiest
    assert few.get_xlabel() == "Fisher information (per relative change²)"


def test_couplings_stand_in_the_order_of_units(stiffness, ax):
    figures.stiff_couplings(stiffness, ax=ax)
    shown = image(ax)
    assert np.ma.getmaskarray(ax.images[0].get_array()).diagonal().all() or np.isnan(np.diag(shown)).all()
    np.testing.assert_allclose(shown[0, 1:], [0.4, 0.3, 0.05])  # b with d, a, c
    np.testing.assert_allclose(shown[1:, 0], [0.4, 0.3, 0.05])
    assert ax.get_figure().axes[1].get_ylabel() == "Fisher information (per nat²)"
    with pytest.raises(TypeError, match=r"stiffness must be what secateur.recordings.stiffness returned.* got int"):
        figures.stiff_couplings(3)


def test_assemblies_are_the_weights(machine, ax):
    figures.assemblies(machine, names=list("abcdefghijkl"), order=np.arange(12)[::-1], ax=ax)
    np.testing.assert_array_equal(image(ax), np.asarray(machine.weights[0])[::-1])
    assert ax.get_yticklabels()[0].get_text() == "l" and ax.get_figure().axes[1].get_ylabel() == "weight (nats)"
    low, high = ax.images[0].get_clim()
    assert low == -high and high == abs(np.asarray(machine.weights[0])).max()
    with pytest.raises(ValueError, match="names must be one for each of the 12 neurons, got 1"):
        figures.assemblies(machine, names=["a"])
    with pytest.raises(TypeError, match="machine must be a machine, .* got Dataset"):
        figures.assemblies(xr.Dataset())
