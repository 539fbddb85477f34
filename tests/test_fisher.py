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
from secateur.sampling.diagnostics import MixingDiagnostics
from secateur.sampling.stored import moments_of
from statistical import FAULTS, GROUPED, assert_within_errors, every_machine_and_twins, judged, sampled_moments


def _plain_coincidence(weight: float, rate_pre: float, rate_post: float) -> float:
    """The coincidence rate ``q`` that the local rule expects."""
    if rate_pre in (0, 1) or rate_post in (0, 1):
        return 0.0
    log_odds = math.log(rate_pre / (1 - rate_pre)) + weight * (1 - rate_post)
    return rate_post / (1 + math.exp(-log_odds))


def _plain_coincidences(machine: Machine, rates) -> list[np.ndarray]:
    found = []
    for layer, weight in enumerate(machine.weights):
        expected = np.zeros(weight.shape)
        for (i, j), exists in np.ndenumerate(machine.masks[layer]):
            if exists:
                expected[i, j] = _plain_coincidence(float(weight[i, j]), rates[layer][i], rates[layer + 1][j])
        found.append(expected)
    return found


def _plain_heuristics(machine: Machine, rates) -> list[np.ndarray]:
    return [q * (1 - q) for q in _plain_coincidences(machine, rates)]


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
    """Rates of 0 and 1 give exactly zero, whatever the weight, and errors as far as the rates may be wrong."""
    machine = Machine([np.full((3, 3), 2.0)], [np.zeros(3), np.zeros(3)])
    rates = np.array([0.0, 1.0, 0.3], np.float32)
    states = tuple(jnp.asarray(np.random.default_rng(0).uniform(size=(40, 3)) < rates, jnp.float32) for _ in range(2))
    np.testing.assert_array_equal(states[0].mean(axis=0)[:2], [0, 1])
    found = fisher.heuristic(machine, states)
    information, errors = np.asarray(found[0]), np.asarray(found.weight_errors[0])
    np.testing.assert_array_equal(information[:2], 0)
    np.testing.assert_array_equal(information[:, :2], 0)
    assert information[2, 2] > 0.01
    assert np.isfinite(errors).all() and (errors > 0).all()
    # Beside a unit that is 1 in all 40 rows the error covers the information that it has in the limit of rate 1.
    at_most = _plain_coincidence(2.0, 1 - 1e-6, 0.3)
    assert errors[1, 2] > at_most * (1 - at_most)


@every_machine_and_twins()
@pytest.mark.parametrize("rule", [fisher.variance, fisher.heuristic])
def test_sampled_information_lies_within_its_errors(machine, rule, fault):
    found = rule(machine, sampled_moments(FAULTS[fault](machine)))
    exact = rule(machine, "exact")
    errors = (*found.weight_errors, *found.bias_errors)
    with judged(fault):
        assert_within_errors((*found.weights, *found.biases), errors, (*exact.weights, *exact.biases), GROUPED)
    for error, mask in zip(found.weight_errors, machine.masks, strict=True):
        assert (np.asarray(error) > 0).tolist() == np.asarray(mask).tolist()


def test_errors_follow_the_slope_of_the_information(machine):
    """Root mean square over 16 equal deviations of the rates, which vary together; differences of the plain formula.

    ``p (1 - p)`` also moves by the square of an error of ``p``, which counts where ``p`` is near 1/2.
    """
    exact = enumeration.moments(machine)
    scale, step = 1e-3, 1e-6
    rng = np.random.default_rng(3)
    deviations = tuple(scale / 4 * rng.normal(size=(16, r.size)) for r in exact.rates)
    rate_errors = tuple(np.sqrt((d**2).sum(axis=0)) for d in deviations)
    errors = Statistics(rate_errors, tuple(scale * (1 + p) for p in exact.coincidences))
    moments = Moments(exact.values, errors, MixingDiagnostics.of_rows(machine.layer_sizes, 1000), deviations)
    found = fisher.variance(machine, moments)
    for p, error, found_error, mask in zip(
        exact.coincidences, errors.coincidences, found.weight_errors, machine.masks, strict=True
    ):
        slope = ((p + step) * (1 - p - step) - (p - step) * (1 - p + step)) / (2 * step)
        expected = np.sqrt((slope * error) ** 2 + 3 * error**4)
        np.testing.assert_allclose(found_error, expected * np.asarray(mask), atol=1e-9)
    found = fisher.heuristic(machine, moments)
    for layer, error in enumerate(found.weight_errors):
        moved_by = 0
        for moved in (layer, layer + 1):
            shifted = [[r + sign * step * (at == moved) for at, r in enumerate(exact.rates)] for sign in (1, -1)]
            up, down = (_plain_coincidences(machine, rates)[layer] for rates in shifted)
            deviation = deviations[moved][:, :, None] if moved == layer else deviations[moved][:, None, :]
            moved_by = moved_by + ((up - down) / (2 * step))[None, :, :] * deviation
        q, squares = _plain_coincidences(machine, exact.rates)[layer], np.square(moved_by).sum(axis=0)
        np.testing.assert_allclose(error, np.sqrt((1 - 2 * q) ** 2 * squares + 3 * squares**2), atol=1e-8)


def test_states_and_their_moments_are_the_same_source(rbm):
    states = tuple(np.random.default_rng(0).integers(0, 2, (32, n)).astype(np.float32) for n in rbm.layer_sizes)
    of_states = fisher.variance(rbm, states)
    of_moments = fisher.variance(rbm, moments_of(rbm, states))
    for a, b in zip(jax.tree.leaves(of_states), jax.tree.leaves(of_moments), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    coincidence = np.einsum("si,sj->ij", *states) / 32
    np.testing.assert_allclose(of_states[0], coincidence * (1 - coincidence), atol=1e-6)


@pytest.mark.usefixtures("unchecked")
def test_sources_that_do_not_fit_are_refused(rbm):
    other = tuple(np.zeros((8, n), np.float32) for n in (5, 3))
    moments = Moments.exact(Statistics((np.zeros(5), np.zeros(3)), (np.zeros((5, 3)),)))
    messages = (
        "states[1] must have 4 columns, one per unit, got 3 (shape (8, 3)); give the data that the machine was made "
        "for",
        "moments must have one rate per unit of layers of (5, 4) units, got (5, 3); take them from this machine, not "
        "from the one before pruning",
    )
    for source, message in zip((other, moments), messages, strict=True):
        with pytest.raises(ValueError) as error:
            fisher.heuristic(rbm, source)
        assert str(error.value) == message
    with pytest.raises(ValueError) as error:
        fisher.variance(rbm, "sampled")
    assert str(error.value) == "source must be 'exact', states of the model or moments, got 'sampled'"
