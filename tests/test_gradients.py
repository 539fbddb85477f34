"""Estimates of the likelihood gradient at equilibrium against the exact one; pretraining against a duplicated RBM."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brute_force import BruteForce
from conftest import small_machine
from secateur import sampling
from secateur.model import enumeration, mean_field
from secateur.model.machine import Machine, Parameters
from secateur.model.moments import Statistics
from secateur.training import History, TrainingSettings, TrainingState, gradients, pretrain, pretraining
from statistical import FAULTS, assert_within_errors, judged, with_twins

N_GROUPS = 64
GROUP = 2048
"""Independent groups of chains, and chains in each; the spread between the groups gives the errors."""


def _equilibrium(machine: Machine, seed: int) -> list[jax.Array]:
    """Independent draws from the exact joint distribution, ``(groups, chains, n_l)`` per layer."""
    return [jnp.asarray(s) for s in BruteForce(machine).draws((N_GROUPS, GROUP), np.random.default_rng(seed))]


def _mean_and_error(groups):
    """Mean over groups, and its standard error with ``N_GROUPS - 1`` degrees of freedom."""
    groups = jax.tree.map(lambda a: np.asarray(a, float), groups)
    errors = jax.tree.map(lambda a: a.std(axis=0, ddof=1) / np.sqrt(N_GROUPS), groups)
    return jax.tree.map(lambda a: a.mean(axis=0), groups), errors


def _rows(machine: Machine) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 2, (8, machine.layer_sizes[0])).astype(np.float32)


@with_twins
@pytest.mark.parametrize("name", ["rbm", "dbm-2-hidden"])
def test_persistent_chains_at_equilibrium_give_the_exact_gradient(name, fault):
    """For a DBM the positive phase is that of mean field, deterministic and tested by itself; the rest is exact."""
    machine = small_machine(name, masked=False)
    rows = jnp.asarray(_rows(machine))

    @jax.jit
    @jax.vmap
    def estimate(chains, key):
        positive, negative, _ = gradients.persistent(
            machine, rows, sampling.Gibbs(), sampling.GibbsState(chains), key, n_mean_field=10
        )
        return gradients.gradient(machine, positive, negative)

    chains = tuple(_equilibrium(FAULTS[fault](machine), seed=1))
    found, errors = _mean_and_error(estimate(chains, jax.random.split(jax.random.key(0), N_GROUPS)))
    if name == "rbm":
        exact = enumeration.gradient(machine, np.asarray(rows, float))
    else:
        means = [np.asarray(m, float) for m in mean_field.infer(machine, rows, max_updates=10)]
        rates, coincidences = BruteForce(machine).statistics()
        pairs = zip(means[:-1], means[1:], coincidences, machine.masks, strict=True)
        weights = [(lower.T @ upper / len(rows) - c) * np.asarray(m) for lower, upper, c, m in pairs]
        exact = Parameters(tuple(weights), tuple(m.mean(axis=0) - r for m, r in zip(means, rates, strict=True)))
    with judged(fault):
        assert_within_errors(found, errors, exact, N_GROUPS - 1)


@with_twins
def test_contrastive_divergence_stands_still_where_data_come_from_the_model(rbm, fault):
    """A fixed point of CD-k for every k: chains that start at equilibrium stay there, so the gradient is zero."""
    visible, _ = _equilibrium(FAULTS[fault](rbm), seed=3)

    @jax.jit
    @jax.vmap
    def estimate(rows, key):
        return gradients.gradient(rbm, *gradients.contrastive_divergence(rbm, rows, key, 1))

    found, errors = _mean_and_error(estimate(visible, jax.random.split(jax.random.key(1), N_GROUPS)))
    with judged(fault):
        assert_within_errors(found, errors, jax.tree.map(np.zeros_like, found), N_GROUPS - 1)


def _random_statistics(machine: Machine, seed: int) -> Statistics:
    rng = np.random.default_rng(seed)
    states = tuple(jnp.asarray(rng.uniform(size=(30, n)), jnp.float32) for n in machine.layer_sizes)
    return gradients.mean_statistics(states)


def test_plain_gradient_is_the_difference_of_the_statistics(dbm):
    positive, negative = _random_statistics(dbm, 0), _random_statistics(dbm, 1)
    found = gradients.gradient(dbm, positive, negative)
    for layer, weight in enumerate(found.weights):
        difference = np.asarray(positive.coincidences[layer]) - np.asarray(negative.coincidences[layer])
        np.testing.assert_allclose(weight, difference * np.asarray(dbm.masks[layer]), atol=1e-7)
    for found_bias, data, model in zip(found.biases, positive.rates, negative.rates, strict=True):
        np.testing.assert_allclose(found_bias, np.asarray(data) - np.asarray(model), atol=1e-7)


def test_centred_gradient_is_the_formula(dbm):
    """Melchior, Fischer & Wiskott 2016, equations 22-24, written with loops over synapses."""
    positive, negative = _random_statistics(dbm, 0), _random_statistics(dbm, 1)
    found = gradients.gradient(dbm, positive, negative, centred=True)
    data, model = ([np.asarray(r, float) for r in s.rates] for s in (positive, negative))
    offsets = [(d + m) / 2 for d, m in zip(data, model, strict=True)]
    biases = [d - m for d, m in zip(data, model, strict=True)]
    for layer, mask in enumerate(dbm.masks):
        expected = np.zeros(mask.shape)
        for i, j in np.argwhere(np.asarray(mask)):

            def centred(rates, coincidences, i=i, j=j, layer=layer):
                """``<(x_i - o_i)(y_j - o_j)>``."""
                lower, upper = offsets[layer][i], offsets[layer + 1][j]
                coincidence = float(coincidences[layer][i, j])
                return coincidence - lower * rates[layer + 1][j] - rates[layer][i] * upper + lower * upper

            expected[i, j] = centred(data, positive.coincidences) - centred(model, negative.coincidences)
            biases[layer][i] -= expected[i, j] * offsets[layer + 1][j]
            biases[layer + 1][j] -= expected[i, j] * offsets[layer][i]
        np.testing.assert_allclose(found.weights[layer], expected, atol=1e-6)
    for bias, expected in zip(found.biases, biases, strict=True):
        np.testing.assert_allclose(bias, expected, atol=1e-6)


def test_centring_keeps_fixed_points_and_never_turns_against_the_gradient(dbm):
    """The centred gradient is a positive definite matrix times the plain one."""
    statistics = _random_statistics(dbm, 0)
    for array in jax.tree.leaves(gradients.gradient(dbm, statistics, statistics, centred=True)):
        np.testing.assert_array_equal(array, 0)
    for seed in range(20):
        positive, negative = _random_statistics(dbm, seed), _random_statistics(dbm, seed + 100)
        plain = gradients.gradient(dbm, positive, negative)
        centred = gradients.gradient(dbm, positive, negative, centred=True)
        pairs = zip(jax.tree.leaves(plain), jax.tree.leaves(centred), strict=True)
        assert sum(float(np.vdot(a, b)) for a, b in pairs) > 0


@pytest.mark.parametrize("fault", ["right", "plain gradient"])
def test_centred_gradient_does_not_change_when_zero_and_one_change_roles(rbm, fault):
    """Flipped visible units: gradients of their biases and weights change sign and nothing else."""
    rng = np.random.default_rng(4)
    data, model = ([rng.uniform(size=(30, n)).astype(np.float32) for n in rbm.layer_sizes] for _ in range(2))

    def gradient(flipped):
        statistics = [
            gradients.mean_statistics((jnp.asarray(1 - v if flipped else v), jnp.asarray(h))) for v, h in (data, model)
        ]
        return gradients.gradient(rbm, *statistics, centred=fault == "right")

    here, there = gradient(False), gradient(True)
    same_weights = np.allclose(here.weights[0], -there.weights[0], atol=1e-6)
    hidden_change = here.weights[0].sum(axis=0)
    # The hidden bias of the flipped machine is b + sum_i w_ij, so its gradient takes the weights' changes along.
    same_biases = np.allclose(here.biases[1] + hidden_change, there.biases[1], atol=1e-6)
    assert (same_weights and same_biases) == (fault == "right")


def _duplicated(machine: Machine, up: int, down: int) -> Machine:
    """Every visible unit ``up`` times and every hidden unit ``down`` times, with the same weights and biases."""
    weight, (visible, hidden) = np.asarray(machine.weights[0]), machine.biases
    return Machine([np.tile(weight, (up, down))], [np.tile(visible, up), np.tile(hidden, down)])


def _exact_divergence(machine: Machine, row: np.ndarray, up: int, down: int) -> Statistics:
    """Expected statistics after one sweep of a duplicated RBM whose copies are tied: sums over all states."""
    n_visible, n_hidden = machine.layer_sizes
    double = _duplicated(machine, up, down)

    def probabilities(layer, states):
        both = [jnp.zeros((len(states), double.layer_sizes[at]), jnp.float32) for at in (0, 1)]
        both[1 - layer] = jnp.asarray(np.tile(states, (1, (up, down)[1 - layer])), jnp.float32)
        size = (n_visible, n_hidden)[layer]
        return np.asarray(jax.nn.sigmoid(double.total_input(tuple(both), layer)), float)[:, :size]

    def all_states(size):
        return np.array(list(itertools.product((0.0, 1.0), repeat=size)))

    hidden, visible = all_states(n_hidden), all_states(n_visible)
    given_row = probabilities(1, row[None, :])
    p_hidden = np.where(hidden == 1, given_row, 1 - given_row).prod(axis=1)
    given_hidden = probabilities(0, hidden)
    p_visible = np.where(visible[None] == 1, given_hidden[:, None], 1 - given_hidden[:, None]).prod(axis=2)
    p = p_hidden @ p_visible
    means = probabilities(1, visible)
    return Statistics((p @ visible, p @ means), ((visible * p[:, None]).T @ means,))


@pytest.mark.usefixtures("unchecked")  # the scales are traced, for one compilation; annotated as numbers
@pytest.mark.parametrize("fault", ["right", "input not doubled"])
@pytest.mark.parametrize("scales", [(2, 1), (1, 2), (2, 2)], ids=["first", "last", "middle"])
def test_doubled_input_is_that_of_a_duplicated_rbm(rbm, scales, fault):
    """Salakhutdinov & Hinton 2009, section 3.1; all chains start at one row."""
    row = np.array([1.0, 0.0, 1.0, 1.0, 0.0])
    rows = jnp.asarray(np.tile(row, (GROUP, 1)), jnp.float32)
    used = scales if fault == "right" else (1, 1)
    factors = tuple(jnp.asarray(f, jnp.float32) for f in used)
    keys = jax.random.split(jax.random.key(2), N_GROUPS)
    positive, negative = _divergence(rbm, rows, keys, factors)
    found, errors = _mean_and_error(negative)
    with judged(fault):
        assert_within_errors(found, errors, _exact_divergence(rbm, row, *scales), N_GROUPS - 1)
    if fault == "right":
        double = _duplicated(rbm, *scales)
        tiled = jnp.asarray(np.tile(row, scales[0])[None, :], jnp.float32)
        expected = jax.nn.sigmoid(double.total_input((tiled, tiled), 1))[0, :4]
        np.testing.assert_allclose(positive.rates[1][0], expected, atol=1e-6)


@jax.jit
def _divergence(machine, rows, keys, factors):
    return jax.vmap(lambda key: gradients.contrastive_divergence(machine, rows, key, 1, factors))(keys)


def test_pretraining_hands_each_pair_its_data_and_merges_biases(monkeypatch):
    """A stand-in trainer adds 1 to biases and 0.5 to weights, so that everything can be followed by hand."""
    machine = small_machine("dbm-3-hidden", masked=True)
    calls = []

    def trained(pair, data, settings, key, *, input_scales, **_):
        calls.append((pair, np.asarray(data), settings.method, input_scales))
        steps = Parameters((0.5,), (1.0, 1.0))
        pair = pair.with_parameters(jax.tree.map(jnp.add, pair.parameters, steps))
        return TrainingState(pair, (), None, key, jnp.int32(0)), History.of_epochs([])

    monkeypatch.setattr(pretraining, "trained", trained)
    rows = np.random.default_rng(0).integers(0, 2, (6, 3)).astype(np.float32)
    found, histories = pretrain(machine, rows, TrainingSettings(method="pcd"), jax.random.key(0))
    assert [scales for *_, scales in calls] == [(2.0, 1.0), (2.0, 2.0), (1.0, 2.0)]
    assert [method for _, _, method, _ in calls] == ["cd"] * 3 and len(histories) == 3
    data, lower_bias = rows, np.asarray(machine.biases[0])
    for layer, ((pair, seen, _, (up, _)), mask) in enumerate(zip(calls, machine.masks, strict=True)):
        np.testing.assert_allclose(seen, data, atol=1e-6)
        np.testing.assert_allclose(pair.biases[0], lower_bias, atol=1e-6)
        weight = np.where(mask, machine.weights[layer] + 0.5, 0)
        np.testing.assert_allclose(found.weights[layer], weight, atol=1e-6)
        lower_bias = np.asarray(machine.biases[layer + 1]) + 1
        data = 1 / (1 + np.exp(-(lower_bias + up * data @ weight)))
    # Hidden layers but the last are trained twice, as an upper and then, from there, as a lower layer.
    for found_bias, bias, steps in zip(found.biases, machine.biases, (1.0, 1.5, 1.5, 1.0), strict=True):
        np.testing.assert_allclose(found_bias, bias + steps, atol=1e-6)
