"""Fisher information of synapses and units against sums over all states and a plain-loop formula."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brute_force import BruteForce
from secateur import fisher
from secateur.model import enumeration
from secateur.model.machine import Machine
from secateur.model.moments import Moments, Statistics
from statistical import FAULTS, GROUPED, assert_within_errors, judged, sampled_moments, with_twins


def _plain_heuristic(weight: float, rate_pre: float, rate_post: float) -> float:
    if rate_pre in (0, 1) or rate_post in (0, 1):
        return 0.0
    log_odds = math.log(rate_pre / (1 - rate_pre)) + weight * (1 - rate_post)
    q = rate_post / (1 + math.exp(-log_odds))
    return q * (1 - q)


def _plain_heuristics(machine: Machine, rates) -> list[np.ndarray]:
    found = []
    for layer, weight in enumerate(machine.weights):
        information = np.zeros(weight.shape)
        for (i, j), exists in np.ndenumerate(machine.masks[layer]):
            if exists:
                information[i, j] = _plain_heuristic(float(weight[i, j]), rates[layer][i], rates[layer + 1][j])
        found.append(information)
    return found


def test_variance_information_is_the_variance_of_the_sufficient_statistics(machine):
    """``Var[s_i s_j]`` and ``Var[s_i]`` over all joint states; zero where no synapse is."""
    exact = BruteForce(machine)
    p = exact.probabilities
    found = fisher.variance(machine, "exact")
    for layer, information in enumerate(found):
        products = exact.states[layer][:, :, None] * exact.states[layer + 1][:, None, :]
        centred = products - np.tensordot(p, products, axes=1)
        expected = np.tensordot(p, centred**2, axes=1) * exact.masks[layer]
        np.testing.assert_allclose(information, expected, atol=1e-12)
    for states, information in zip(exact.states, found.biases, strict=True):
        np.testing.assert_allclose(information, p @ (states - p @ states) ** 2, atol=1e-12)


def test_heuristic_information_is_the_plain_formula(machine):
    rates, _ = BruteForce(machine).statistics()
    found = fisher.heuristic(machine, "exact")
    for information, expected in zip(found, _plain_heuristics(machine, rates), strict=True):
        np.testing.assert_allclose(information, expected, atol=1e-12)
    for information, rate in zip(found.biases, rates, strict=True):
        np.testing.assert_allclose(information, rate * (1 - rate), atol=1e-12)


def test_exact_information_is_float64_without_errors(machine):
    for found in (fisher.variance(machine, "exact"), fisher.heuristic(machine, "exact")):
        assert found.diagnostics is None
        assert len(found) == len(machine.weights)
        assert found[0] is found.weights[0]
        for array in jax.tree.leaves(found):
            assert isinstance(array, np.ndarray) and array.dtype == np.float64
        for error in (*found.weight_errors, *found.bias_errors):
            np.testing.assert_array_equal(error, 0)


def test_both_rules_agree_where_units_are_independent():
    """Without weights ``q_ij = r_i r_j`` is the coincidence rate itself."""
    machine = Machine([np.zeros((3, 2)), np.zeros((2, 4))], [np.linspace(-2, 1, n) for n in (3, 2, 4)])
    for a, b in zip(fisher.heuristic(machine, "exact"), fisher.variance(machine, "exact"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_silent_and_saturated_units_carry_no_heuristic_information():
    """Rates of 0 and 1 give exactly zero, and finite errors, whatever the weight."""
    machine = Machine([np.full((3, 3), 2.0)], [np.zeros(3), np.zeros(3)])
    rates = np.array([0.0, 1.0, 0.3], np.float32)
    states = tuple(jnp.asarray(np.random.default_rng(0).uniform(size=(40, 3)) < rates, jnp.float32) for _ in range(2))
    np.testing.assert_array_equal(states[0].mean(axis=0)[:2], [0, 1])
    found = fisher.heuristic(machine, states)
    information, errors = np.asarray(found[0]), np.asarray(found.weight_errors[0])
    np.testing.assert_array_equal(information[:2], 0)
    np.testing.assert_array_equal(information[:, :2], 0)
    assert information[2, 2] > 0.01
    assert np.isfinite(errors).all() and errors[2, 2] > 0
    np.testing.assert_array_equal(errors[:2], 0)


@with_twins
@pytest.mark.parametrize("rule", [fisher.variance, fisher.heuristic])
def test_sampled_information_lies_within_its_errors(machine, rule, fault):
    """The delta method takes the two rates of a synapse for independent, hence the margin of sqrt(2)."""
    found = rule(machine, sampled_moments(FAULTS[fault](machine)))
    exact = rule(machine, "exact")
    margin = np.float32(math.sqrt(2) if rule is fisher.heuristic else 1)
    errors = [margin * e for e in (*found.weight_errors, *found.bias_errors)]
    with judged(fault):
        assert_within_errors((*found.weights, *found.biases), errors, (*exact.weights, *exact.biases), GROUPED)
    for error, mask in zip(found.weight_errors, machine.masks, strict=True):
        assert (np.asarray(error) > 0).tolist() == np.asarray(mask).tolist()


def test_errors_follow_the_slope_of_the_information(machine):
    """Delta method against differences of the plain formula, in float64."""
    exact = enumeration.moments(machine)
    scale = 1e-3
    errors = jax.tree.map(lambda a: scale * (1 + a), exact.values)
    moments = Moments(exact.values, errors, None)
    step = 1e-6
    found = fisher.variance(machine, moments)
    for p, error, found_error, mask in zip(
        exact.coincidences, errors.coincidences, found.weight_errors, machine.masks, strict=True
    ):
        slope = ((p + step) * (1 - p - step) - (p - step) * (1 - p + step)) / (2 * step)
        np.testing.assert_allclose(found_error, abs(slope) * error * np.asarray(mask), atol=1e-9)
    found = fisher.heuristic(machine, moments)
    for layer, error in enumerate(found.weight_errors):
        squares = 0
        for moved in (layer, layer + 1):
            shifted = [[r + sign * step * (at == moved) for at, r in enumerate(exact.rates)] for sign in (1, -1)]
            up, down = (_plain_heuristics(machine, rates)[layer] for rates in shifted)
            rate_error = errors.rates[moved][:, None] if moved == layer else errors.rates[moved][None, :]
            squares = squares + ((up - down) / (2 * step) * rate_error) ** 2
        np.testing.assert_allclose(error, np.sqrt(squares), atol=1e-8)


def test_states_and_their_moments_are_the_same_source(rbm):
    states = tuple(np.random.default_rng(0).integers(0, 2, (32, n)).astype(np.float32) for n in rbm.layer_sizes)
    of_states = fisher.variance(rbm, states)
    of_moments = fisher.variance(rbm, Moments.of_states(tuple(map(jnp.asarray, states))))
    for a, b in zip(jax.tree.leaves(of_states), jax.tree.leaves(of_moments), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    coincidence = np.einsum("si,sj->ij", *states) / 32
    np.testing.assert_allclose(of_states[0], coincidence * (1 - coincidence), atol=1e-6)


@pytest.mark.usefixtures("unchecked")
def test_sources_that_do_not_fit_are_refused(rbm):
    other = tuple(np.zeros((8, n), np.float32) for n in (5, 3))
    message = (
        "states must have one array per layer with widths (5, 4), got (5, 3); draw them from this machine, not from "
        "the one before pruning"
    )
    moments = Moments.exact(Statistics((np.zeros(5), np.zeros(3)), (np.zeros((5, 3)),)))
    for source in (other, moments):
        with pytest.raises(ValueError) as error:
            fisher.heuristic(rbm, source)
        assert str(error.value) == message
    with pytest.raises(ValueError) as error:
        fisher.variance(rbm, "sampled")  # type: ignore[arg-type]
    assert str(error.value) == "source must be 'exact', states of the model or moments, got 'sampled'"
