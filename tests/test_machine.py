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
from secateur.model import mean_field
from secateur.model.machine import Machine, receptive_field_mask
from secateur.model.pairwise import PairwiseModel
from secateur.storage.machines import load_machine, save_machine


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
            "weights must have shapes [(2, 3)] to fit the biases, got [(3, 2)]; give arrays with axes (lower, upper)",
        ),
        (
            {"masks": [np.ones((2, 2))]},
            "masks must have shapes [(2, 3)], those of the weights, got [(2, 2)]; give one mask per weight matrix, "
            "with "
            "axes (lower, upper)",
        ),
        (
            {"weights": [np.full((2, 3), np.nan)]},
            "weights[0] must be finite, got nan at [0, 0]; retrain the machine or repair the file it came from",
        ),
        (
            {"biases": [np.zeros(2), [0, 1e300, 0]]},
            "biases[1] must be finite, got inf at [1]; retrain the machine or repair the file it came from",
        ),
        (
            {"unit_indices": [np.arange(2), np.array([0, 1, 1])]},
            "unit_indices[1] must be different numbers from 0 to 2, got [0 1 1]; give the place that every unit "
            "had before "
            "any was removed",
        ),
        (
            {"unit_indices": [np.arange(2), np.array([0, 1, 5])], "original_layer_sizes": [2, 5]},
            "unit_indices[1] must be different numbers from 0 to 4, got [0 1 5]; give the place that every unit "
            "had before "
            "any was removed",
        ),
        (
            {"unit_indices": [np.arange(2), np.array([0.0, 1.5, 2.0])]},
            "unit_indices[1] must be different numbers from 0 to 2, got [0.  1.5 2. ]; give the place that every "
            "unit had "
            "before any was removed",
        ),
        (
            {"unit_indices": [np.arange(2), np.arange(2)]},
            "unit_indices and original_layer_sizes must have one entry per layer, unit_indices one index per unit, got "
            "shapes [(2,), (2,)] and sizes (2, 3) for layers of (2, 3) units; leave both out for a machine that "
            "has all "
            "its units",
        ),
    ],
)
def test_parameters_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError) as error:
        Machine(**_arguments(**changes))
    assert str(error.value) == message


def _aligned(values, offset: int) -> np.ndarray:
    """A float32 array whose memory starts ``offset`` bytes after a multiple of 64; JAX shares those with 0."""
    values = np.asarray(values, np.float32)
    memory = np.zeros(values.nbytes + 128, np.uint8)
    start = -memory.ctypes.data % 64 + offset
    array = memory[start : start + values.nbytes].view(np.float32).reshape(values.shape)
    array[...] = values
    return array


@pytest.mark.parametrize("offset", [0, 4])
def test_models_keep_what_they_were_made_of(offset):
    """Whatever happens to the caller's arrays; arrays of both kinds of memory, since JAX shares only one kind."""
    weights, visible, hidden = (_aligned(np.ones(s), offset) for s in ((32, 8), (32,), (8,)))
    mask, index = np.ones((32, 8), bool), np.arange(32, dtype=np.int32)
    biases, couplings = _aligned(np.ones(32), offset), _aligned(1 - np.eye(32), offset)
    machine = Machine([weights], [visible, hidden], [mask], [index, np.arange(8)])
    pairwise = PairwiseModel(biases, couplings)
    before = jax.tree.map(np.array, (machine, pairwise))
    fewer = machine.with_masks([mask])
    for array in (weights, visible, hidden, mask, biases, couplings):
        array[...] = 0
    index[...] = index[::-1].copy()
    assert eqx.tree_equal(jax.tree.map(np.array, (machine, pairwise)), before)
    assert fewer.n_synapses == machine.n_synapses == 256


def test_masks_of_integers_are_masks(tmp_path, dbm):
    """Of 0 and 1, of 0 and 254; what is made with them is saved and comes back."""
    wanted = [np.tri(*m.shape).astype(bool) for m in dbm.masks]
    expected = dbm.with_masks(wanted)
    for mask in (
        [m.astype(int) for m in wanted],
        [m.astype(np.uint8) * 254 for m in wanted],
        [m * 2.0 / 2 for m in wanted],
    ):
        found = dbm.with_masks(mask)
        assert eqx.tree_equal(found, expected)
        made = Machine(dbm.weights, dbm.biases, [np.asarray(a) * b for a, b in zip(dbm.masks, mask, strict=True)])
        assert eqx.tree_equal(made, expected)
    save_machine(found, tmp_path / "masked.safetensors")
    assert eqx.tree_equal(load_machine(tmp_path / "masked.safetensors"), expected)


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (
            [np.ones((1, 3), bool)],
            "masks must have shapes [(2, 3)], those of the weights, got [(1, 3)]; give one mask per weight matrix, "
            "with "
            "axes (lower, upper)",
        ),
        (
            [np.full((2, 3), np.nan)],
            "masks[0] must hold 0 and 1 only, got nan in row 0, column 0; give booleans, true where a synapse exists",
        ),
    ],
)
def test_masks_that_do_not_fit_are_refused(masks, message):
    with pytest.raises(ValueError) as error:
        Machine(**_arguments()).with_masks(masks)
    assert str(error.value) == message


@pytest.mark.usefixtures("unchecked")
def test_a_precision_that_there_is_not_is_refused(rbm):
    with pytest.raises(ValueError) as error:
        rbm.in_precision("float16")
    assert str(error.value) == (
        "precision must be 'float32' or 'bfloat16', got 'float16'; take 'bfloat16' for faster products where the "
        "processor has them"
    )
    assert rbm.in_precision("float32") is rbm
    assert rbm.in_precision("bfloat16").weights[0].dtype == jnp.bfloat16


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"key": 0}, "key must be a JAX random key, got the int 0; write jax.random.key(0)"),
        ({"layer_sizes": (4, 2.5)}, "layer_sizes must be a whole number of at least 0, got 2.5; write layer_sizes=2"),
        (
            {"visible_bias": np.zeros(3)},
            "visible_bias must be one number or 4, one per visible unit, got shape (3,); give an array of shape (4,)",
        ),
    ],
)
def test_what_makes_no_random_machine_is_refused(arguments, message):
    with pytest.raises((ValueError, TypeError)) as error:
        Machine.random(**({"layer_sizes": (4, 2), "key": jax.random.key(0)} | arguments))
    assert str(error.value) == message


def test_64_bit_jax_changes_no_number(dbm):
    """Machines stay in float32 where a user has switched 64-bit JAX on."""
    random = Machine.random((4, 3, 2), jax.random.key(0), weight_scale=1.0)
    states = tuple(np.ones((2, n), np.float32) for n in random.layer_sizes)
    visible = np.eye(4, dtype=np.float32)

    def numbers(machine):
        inputs = [machine.total_input(states, layer) for layer in range(3)]
        rounded = machine.in_precision("bfloat16").total_input(states, 1)
        return machine, inputs, rounded, machine.energy(states), mean_field.infer(machine, visible)

    expected = numbers(random)
    with jax.enable_x64(True):
        found = numbers(Machine.random((4, 3, 2), jax.random.key(0), weight_scale=1.0))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(np.asarray(a, float), np.asarray(b, float), rtol=1e-6)


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
