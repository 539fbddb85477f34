"""Exact answers against plain sums over all joint states, and the gradient against automatic differentiation."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from brute_force import BruteForce
from secateur.model import enumeration
from secateur.model.machine import Machine, Parameters

ROWS = 7


def _rows(machine: Machine) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 2, (ROWS, machine.layer_sizes[0])).astype(float)


def test_log_partition(machine):
    assert enumeration.log_partition(machine) == pytest.approx(BruteForce(machine).log_z, rel=1e-12)


def test_moments(machine):
    rates, coincidences = BruteForce(machine).statistics()
    found = enumeration.moments(machine)
    assert found.diagnostics is None
    for a, b in zip((*found.rates, *found.coincidences), (*rates, *coincidences), strict=True):
        assert isinstance(a, np.ndarray) and a.dtype == np.float64
        np.testing.assert_allclose(a, b, rtol=1e-10)
    for error in jax.tree.leaves(found.standard_errors):
        np.testing.assert_array_equal(error, 0)


def test_log_probability(machine):
    rows = _rows(machine)
    np.testing.assert_allclose(enumeration.log_probability(machine, rows), BruteForce(machine).log_probability(rows))


def test_probabilities_of_all_rows_sum_to_one(machine):
    rows = np.array(list(itertools.product((0.0, 1.0), repeat=machine.layer_sizes[0])))
    assert np.exp(enumeration.log_probability(machine, rows)).sum() == pytest.approx(1, rel=1e-12)


def test_gradient(machine):
    rows = _rows(machine)
    weights, biases = BruteForce(machine).gradient(rows)
    found = enumeration.gradient(machine, rows)
    for a, b in zip((*found.weights, *found.biases), (*weights, *biases), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)
    for gradient, mask in zip(found.weights, machine.masks, strict=True):
        np.testing.assert_array_equal(gradient[~np.asarray(mask)], 0)


def test_posterior_statistics(machine):
    exact = BruteForce(machine)
    rows = _rows(machine)
    found = enumeration.posterior_statistics(machine, rows)
    for number, row in enumerate(rows):
        rates, coincidences = exact.statistics(exact.posterior(row))
        for a, b in zip((*found.rates, *found.coincidences), (*rates, *coincidences), strict=True):
            np.testing.assert_allclose(a[number], b, atol=1e-12)


def test_gradient_is_the_derivative_of_the_mean_log_likelihood(machine):
    """Automatic differentiation, in float64, of a log-likelihood summed over all joint states."""
    exact = BruteForce(machine)
    rows = _rows(machine)
    of_row = np.array([[(state == row).all() for state in exact.states[0]] for row in rows])

    def log_likelihood(parameters: Parameters):
        log_weights = sum(jnp.asarray(s) @ b for s, b in zip(exact.states, parameters.biases, strict=True))
        for lower, w, mask, upper in zip(
            exact.states[:-1], parameters.weights, exact.masks, exact.states[1:], strict=True
        ):
            log_weights = log_weights + jnp.einsum("si,ij,sj->s", lower, jnp.where(mask, w, 0), upper)
        of_rows = jnp.where(of_row, log_weights[None, :], -jnp.inf)
        return jax.nn.logsumexp(of_rows, axis=1).mean() - jax.nn.logsumexp(log_weights)

    with jax.enable_x64(True):
        parameters = jax.tree.map(lambda a: jnp.asarray(np.asarray(a, float)), machine.parameters)
        expected = jax.jit(jax.grad(log_likelihood))(parameters)
        expected = jax.tree.map(np.asarray, expected)
    found = enumeration.gradient(machine, rows)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_more_states_than_fit_in_one_chunk():
    """14 enumerated units are summed in four chunks; against a NumPy sum over the hidden states."""
    rng = np.random.default_rng(0)
    machine = Machine([rng.normal(size=(15, 14))], [rng.normal(size=15), rng.normal(size=14)])
    (weight,), (visible_bias, hidden_bias) = (
        [np.asarray(a, float) for a in part] for part in (machine.weights, machine.biases)
    )
    hidden = (np.arange(2**14)[:, None] >> np.arange(14)) & 1
    inputs = visible_bias + hidden @ weight.T
    log_weights = hidden @ hidden_bias + np.logaddexp(0, inputs).sum(axis=1)
    log_z = logsumexp(log_weights)
    assert enumeration.log_partition(machine) == pytest.approx(log_z, rel=1e-12)
    probabilities = np.exp(log_weights - log_z)
    found = enumeration.moments(machine)
    means = 1 / (1 + np.exp(-inputs))
    np.testing.assert_allclose(found.rates[0], probabilities @ means, rtol=1e-10)
    np.testing.assert_allclose(found.coincidences[0], (means * probabilities[:, None]).T @ hidden, rtol=1e-10)


def test_exact_results_need_no_global_float64():
    before = jax.config.jax_enable_x64  # type: ignore[attr-defined]
    machine = Machine([np.zeros((2, 2))], [np.zeros(2), np.zeros(2)])
    assert enumeration.log_partition(machine) == pytest.approx(4 * np.log(2), rel=1e-14)
    assert jax.config.jax_enable_x64 == before  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("function", "sizes", "what", "found"),
    [
        ("log_partition", (21, 30), "log_partition", 21),
        ("moments", (10, 40, 11), "moments", 21),
        ("gradient", (21, 22), "gradient", 21),
        ("log_probability", (2, 21, 30), "log_probability of visible states", 21),
        ("posterior_statistics", (2, 25, 22), "moments given visible states", 22),
    ],
)
def test_machines_too_large_for_enumeration_are_refused(function, sizes, what, found):
    machine = Machine([np.zeros(s) for s in zip(sizes[:-1], sizes[1:], strict=True)], [np.zeros(n) for n in sizes])
    arguments = [] if function in ("log_partition", "moments") else [np.zeros((2, sizes[0]))]
    shown = sizes[1:] if "visible" in what else sizes
    with pytest.raises(ValueError) as error:
        getattr(enumeration, function)(machine, *arguments)
    assert str(error.value) == (
        f"exact {what} needs a machine whose smaller block of layers has at most 20 units, this one has {found} "
        f"(layer sizes {shown}); use method='ais' or sampled states instead"
    )


ROW_FUNCTIONS = ["log_probability", "unnormalised_log_probability", "gradient", "posterior_statistics"]


@pytest.mark.parametrize("function", ROW_FUNCTIONS)
def test_rows_of_every_type_give_the_same_numbers(function, rbm):
    rows = _rows(rbm)
    expected = jax.tree.leaves(getattr(enumeration, function)(rbm, rows))
    for other in (rows.astype(bool), rows.astype(np.uint8), rows.astype(int).tolist(), jnp.asarray(rows, jnp.float32)):
        found = jax.tree.leaves(getattr(enumeration, function)(rbm, other))
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("function", ROW_FUNCTIONS)
def test_what_is_no_row_of_0_and_1_has_no_probability(function, rbm):
    for rows, message in (
        (
            255 * _rows(rbm),
            "visible must hold 0 and 1 only, got 255.0 in row 0, column 0; write visible > 127 for pixels",
        ),
        (2 * _rows(rbm) - 1, r"got -1.0 in row 0, column 1; write \(visible \+ 1\) / 2 for data of -1 and 1"),
        (_rows(rbm)[:, 1:], "visible must have 5 columns, one per unit, got 4"),
    ):
        with pytest.raises(ValueError, match=message):
            getattr(enumeration, function)(rbm, rows)


def test_the_largest_machine_allowed_is_not_refused():
    machine = Machine([np.zeros((20, 1))], [np.zeros(20), np.zeros(1)])
    assert enumeration.log_partition(machine) == pytest.approx(21 * np.log(2), rel=1e-12)
