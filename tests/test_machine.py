"""Energy and structure of machines, and what the constructor refuses."""

from __future__ import annotations

import itertools
import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brute_force import BruteForce
from secateur.model.machine import Machine, receptive_field_mask


def test_energy_of_every_joint_state(machine):
    exact = BruteForce(machine)
    states = tuple(jnp.asarray(s, jnp.float32) for s in exact.states)
    np.testing.assert_allclose(-machine.energy(states), exact.log_weights, atol=1e-5)


def test_total_input_is_the_log_odds_of_a_unit(machine):
    exact = BruteForce(machine)
    states = tuple(jnp.asarray(s, jnp.float32) for s in exact.states)
    # Joint states are numbered in binary, so that switching a unit on or off sets one bit of the number.
    bits = iter(2 ** np.arange(machine.n_units)[::-1])
    numbers = np.arange(2**machine.n_units)
    for layer, size in enumerate(machine.layer_sizes):
        log_odds = machine.total_input(states, layer)
        for unit, bit in zip(range(size), bits, strict=False):
            difference = exact.log_weights[numbers | bit] - exact.log_weights[numbers & ~bit]
            np.testing.assert_allclose(log_odds[:, unit], difference, atol=1e-5)


def test_counts_and_sizes():
    masks = [np.eye(3, 2, dtype=bool), np.ones((2, 4), bool)]
    machine = Machine([np.ones((3, 2)), np.ones((2, 4))], [np.zeros(3), np.zeros(2), np.zeros(4)], masks)
    assert machine.layer_sizes == machine.original_layer_sizes == (3, 2, 4)
    assert (machine.n_layers, machine.n_units) == (3, 9)
    assert (machine.synapse_counts, machine.n_synapses) == ((2, 8), 10)
    for indices, size in zip(machine.unit_indices, (3, 2, 4), strict=True):
        np.testing.assert_array_equal(indices, np.arange(size))


def test_weights_of_absent_synapses_are_zero(dbm):
    def absent_weights(machine):
        return [np.asarray(w)[~np.asarray(m)] for w, m in zip(machine.weights, machine.masks, strict=True)]

    changed = dbm.with_parameters(jax.tree.map(lambda a: a + 1, dbm.parameters))
    fewer = dbm.with_masks([np.tri(*m.shape).astype(bool) for m in dbm.masks])
    for machine in (dbm, changed, fewer):
        assert sum(w.size for w in absent_weights(machine)) > 0
        for weights in absent_weights(machine):
            np.testing.assert_array_equal(weights, 0)
    for before, after in zip(dbm.biases, changed.biases, strict=True):
        np.testing.assert_array_equal(after, before + 1)


def test_with_masks_brings_no_synapse_back(dbm):
    again = dbm.with_masks([np.ones(m.shape, bool) for m in dbm.masks])
    assert eqx.tree_equal(again, dbm)


def test_pair_is_two_layers_with_their_synapses(dbm):
    pair = dbm.pair(1, lower_bias=jnp.asarray([1.0, 2.0, 3.0]))
    assert pair.layer_sizes == pair.original_layer_sizes == (3, 5)
    np.testing.assert_array_equal(pair.weights[0], dbm.weights[1])
    np.testing.assert_array_equal(pair.masks[0], dbm.masks[1])
    np.testing.assert_array_equal(pair.biases[0], [1, 2, 3])
    np.testing.assert_array_equal(pair.biases[1], dbm.biases[2])
    np.testing.assert_array_equal(dbm.pair(1).biases[0], dbm.biases[1])


def test_random_machine_has_the_scale_and_biases_asked_for():
    """The spread of 10,000 normal weights has a relative standard error of 1 / sqrt(20,000), five of them allowed."""
    visible_bias = np.linspace(-1, 1, 100)
    machine = Machine.random((100, 100), jax.random.key(0), weight_scale=0.3, visible_bias=visible_bias, hidden_bias=-2)
    assert np.std(machine.weights[0]) == pytest.approx(0.3, rel=5 / np.sqrt(20_000))
    np.testing.assert_allclose(machine.biases[0], visible_bias, rtol=1e-6)
    np.testing.assert_array_equal(machine.biases[1], -2)
    again = Machine.random((100, 100), jax.random.key(0), weight_scale=0.3, visible_bias=visible_bias, hidden_bias=-2)
    assert eqx.tree_equal(machine, again)


def test_weight_matrices_of_a_random_machine_differ():
    machine = Machine.random((3, 3, 3), jax.random.key(0))
    assert (np.asarray(machine.weights[0]) != np.asarray(machine.weights[1])).all()


@pytest.mark.parametrize(("shape", "size"), [((4, 6), 3), ((5, 5), 5), ((3, 4), 1)])
def test_receptive_fields_are_clipped_neighbourhoods(shape, size):
    mask = receptive_field_mask(shape, size)
    places = list(itertools.product(range(shape[0]), range(shape[1])))
    for (pixel, (r, c)), (unit, (row, column)) in itertools.product(enumerate(places), repeat=2):
        assert mask[pixel, unit] == (abs(r - row) <= size // 2 and abs(c - column) <= size // 2)


def test_receptive_fields_of_the_paper_have_its_number_of_synapses():
    assert receptive_field_mask((20, 20), 5).sum() == 8836


@pytest.mark.parametrize("size", [0, 2, 7, -1])
def test_receptive_field_sizes_that_do_not_fit_are_refused(size):
    with pytest.raises(ValueError) as error:
        receptive_field_mask((5, 8), size)
    assert str(error.value) == (
        f"receptive field size must be an odd number from 1 to 5 for a 5 x 8 image, got {size}; "
        "choose a smaller odd size or leave it out for full connectivity"
    )


def _arguments(**changes):
    return {"weights": [np.ones((2, 3))], "biases": [np.zeros(2), np.zeros(3)]} | changes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"biases": [np.zeros(2)]},
            "biases must hold one array more than weights (at least 2 and 1), got 1 and 1; "
            "give one bias vector per layer, the visible layer first",
        ),
        (
            {"weights": [np.ones((3, 2))]},
            "weights must have shapes [(2, 3)] to fit the biases, got [(3, 2)]; axes are (lower, upper)",
        ),
        (
            {"masks": [np.ones((2, 2))]},
            "masks must have shapes [(2, 3)] to fit the biases, got [(2, 2)]; axes are (lower, upper)",
        ),
        ({"weights": [np.full((2, 3), np.nan)]}, "weights must be finite, got NaN or infinity; retrain the machine"),
        ({"biases": [np.zeros(2), np.array([0, np.inf, 0])]}, "biases must be finite, got NaN or infinity; retrain"),
        (
            {"unit_indices": [np.arange(2), np.array([0, 1, 1])]},
            "unit_indices[1] must be different numbers from 0 to 2",
        ),
        (
            {"unit_indices": [np.arange(2), np.array([0, 1, 5])], "original_layer_sizes": [2, 5]},
            "unit_indices[1] must be different numbers from 0 to 4",
        ),
        (
            {"unit_indices": [np.arange(2), np.arange(2)]},
            "unit_indices and original_layer_sizes must have one entry per layer, unit_indices one index per unit",
        ),
    ],
)
def test_parameters_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError) as error:
        Machine(**_arguments(**changes))
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("sizes", [(4,), (4, 0), ()])
def test_layers_without_units_are_refused(sizes):
    with pytest.raises(ValueError) as error:
        Machine.random(sizes, jax.random.key(0))
    assert str(error.value) == (
        f"layer_sizes must name at least two layers of at least one unit each, got {sizes}; "
        "give the number of visible units first, then one number per hidden layer"
    )


def test_importing_the_package_changes_nothing_global():
    """No JAX settings, warning filters, log handlers or plot style; in a fresh interpreter."""
    script = """
import logging, warnings, jax, matplotlib
before = dict(jax.config.values), list(warnings.filters), list(logging.root.handlers), dict(matplotlib.rcParams)
import secateur as sc
for room in ("model", "storage", "sampling", "likelihood", "fisher", "training", "pruning", "data"):
    __import__(f"secateur.{room}")
after = dict(jax.config.values), list(warnings.filters), list(logging.root.handlers), dict(matplotlib.rcParams)
assert [w for w in after[1] if "secateur" in str(w)] == []
assert (before[0], before[2], before[3]) == (after[0], after[2], after[3])
"""
    subprocess.run([sys.executable, "-c", script], check=True)
