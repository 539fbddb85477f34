"""The Fisher information matrix by independent routes: brute force, Hessian of log Z, enumeration, drawn states."""

from __future__ import annotations

import inspect
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import secateur as sc
from brute_force import BruteForce
from conftest import LAYER_SIZES, small_machine
from secateur import fisher, sampling
from secateur.fisher import matrix_type, total_covariance
from secateur.fisher.joint_matrix import JointFisherMatrix
from secateur.model import enumeration
from secateur.model.machine import Machine, Parameters
from statistical import FAULTS, GROUPED, assert_within_errors, judged

N_ROWS = 8192
KEY = jax.random.key(0)


def _statistics(machine: Machine, states) -> np.ndarray:
    """``T`` of every row, written from its definition: existing synapses row by row, then biases."""
    pairs = zip(states[:-1], states[1:], machine.masks, strict=True)
    products = [(lower[:, :, None] * upper[:, None, :])[:, np.asarray(mask)] for lower, upper, mask in pairs]
    return np.hstack([*products, *states])


def _covariance(rows: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    deviations = rows - probabilities @ rows
    return np.einsum("r,ri,rj->ij", probabilities, deviations, deviations)


def _by_brute_force(machine: Machine, of: str) -> np.ndarray:
    exact = BruteForce(machine)
    statistics = _statistics(machine, exact.states)
    if of == "joint":
        return _covariance(statistics, exact.probabilities)
    rows = np.unique(exact.states[0], axis=0)
    means = np.array([exact.posterior(row) @ statistics for row in rows])
    return _covariance(means, np.exp(exact.log_probability(rows)))


@cache
def _hessian(layer_sizes: tuple[int, ...]):
    """Compiled Hessian of log Z with respect to all weights (present or not) and biases."""
    weights = [np.zeros(shape) for shape in zip(layer_sizes[:-1], layer_sizes[1:], strict=True)]
    _, restore = ravel_pytree(Parameters(tuple(weights), tuple(np.zeros(n) for n in layer_sizes)))
    return jax.jit(jax.hessian(lambda vector: enumeration.log_partition_of(restore(vector))))


def _by_hessian(machine: Machine) -> np.ndarray:
    present = np.concatenate([*(np.asarray(m).ravel() for m in machine.masks), np.ones(machine.n_units, bool)])
    with jax.enable_x64(True):
        vector = ravel_pytree(enumeration.double(machine.parameters))[0]
        hessian = np.asarray(_hessian(machine.layer_sizes)(vector))
    return hessian[np.ix_(present, present)]


def _draws(machine: Machine, seed: int = 1, n_rows: int = N_ROWS) -> tuple[np.ndarray, ...]:
    return BruteForce(machine).draws(n_rows, np.random.default_rng(seed))


@cache
def _wide_machine() -> Machine:
    """A masked DBM with enough parameters (about 330) for the iterative solver, small enough to enumerate."""
    rng = np.random.default_rng(5)
    weights = [rng.normal(0, 0.8, (7, 30)), rng.normal(0, 0.8, (30, 4))]
    masks = [rng.random(w.shape) < 0.9 for w in weights]
    return Machine(weights, [rng.normal(-0.5, 0.5, n) for n in (7, 30, 4)], masks)


@pytest.fixture
def iterative(monkeypatch):
    """Send even small machines through the iterative solver."""
    monkeypatch.setattr(matrix_type, "_MAX_DIRECT", 10)


@pytest.mark.parametrize("of", ["joint", "visible"])
def test_exact_matrix_is_the_covariance_over_all_joint_states(machine, of):
    found = fisher.matrix(machine, "exact", of=of)
    assert found.of == of and found.diagnostics is None and found.dense().dtype == np.float64
    assert found.shape == (machine.n_synapses + machine.n_units,) * 2
    np.testing.assert_allclose(found.dense(), _by_brute_force(machine, of), rtol=1e-10, atol=1e-14)


def test_exact_matrix_is_the_hessian_of_log_z(machine):
    found, hessian = fisher.matrix(machine, "exact").dense(), _by_hessian(machine)
    assert np.linalg.norm(found - hessian) < 1e-12 * np.linalg.norm(hessian)
    np.testing.assert_allclose(found, hessian, rtol=1e-8, atol=1e-13)


def test_hessian_tells_a_distorted_machine_apart(rbm):
    """Twin of the test above: a temperature 1e-6 off is found."""
    parameters = jax.tree.map(lambda a: a * np.float32(1 + 1e-6), rbm.parameters)
    found, hessian = fisher.matrix(rbm.with_parameters(parameters), "exact").dense(), _by_hessian(rbm)
    assert np.linalg.norm(found - hessian) > 1e-8 * np.linalg.norm(hessian)


def test_hidden_states_only_add_information(machine):
    """Joint minus visible is positive semi-definite, and it is not zero."""
    joint, visible = (fisher.matrix(machine, "exact", of=of).dense() for of in ("joint", "visible"))
    eigenvalues = np.linalg.eigvalsh(joint - visible)
    assert eigenvalues[0] > -1e-13 and eigenvalues[-1] > 1e-2


@pytest.mark.parametrize("of", ["joint", "visible"])
def test_matvec_diagonal_and_trace_are_those_of_the_dense_matrix(machine, of):
    found = fisher.matrix(machine, "exact", of=of)
    vector = np.random.default_rng(0).normal(size=found.shape[0])
    np.testing.assert_allclose(found.matvec(vector), found.dense() @ vector, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(found.diagonal(), np.diag(found.dense()), rtol=1e-10)
    assert found.trace() == pytest.approx(np.trace(found.dense()), rel=1e-10)
    np.testing.assert_array_equal(found.diagonal_errors(), 0)


def test_diagonal_is_the_variance_fisher_information(machine):
    found = fisher.matrix(machine, "exact")
    variance = fisher.variance(machine, "exact")
    np.testing.assert_allclose(found.diagonal(), found.flatten(Parameters(variance.weights, variance.biases)))


def test_matrix_from_states_is_one_matrix_by_all_its_methods(dbm):
    found = fisher.matrix(dbm, _draws(dbm))
    dense = found.dense()
    assert dense.dtype == np.float32
    assert found.diagnostics is not None and found.diagnostics.n_chains == N_ROWS
    vector = np.random.default_rng(0).normal(size=found.shape[0])
    np.testing.assert_allclose(found.matvec(vector), dense @ vector, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.diagonal(), np.diag(dense), rtol=1e-4)
    assert found.trace() == pytest.approx(np.trace(dense), rel=1e-4)


@pytest.mark.parametrize(
    ("name", "fault"),
    [*((name, "right") for name in LAYER_SIZES), *(("dbm-2-hidden", fault) for fault in FAULTS if fault != "right")],
)
def test_matrix_from_states_lies_within_its_errors(name, fault):
    """Diagonal, and variances along random directions, which hold every off-diagonal entry."""
    machine = small_machine(name, masked=True)
    found = fisher.matrix(machine, _draws(FAULTS[fault](machine), n_rows=2**17))
    exact = _by_brute_force(machine, "joint")
    directions = np.random.default_rng(3).normal(size=(12, found.shape[0])).astype(np.float32)
    variances = np.array([x @ found.matvec(x) for x in directions])
    errors = found.eigenvalue_errors(found.split(directions))
    truth = (np.diag(exact), np.einsum("ki,ij,kj->k", directions, exact, directions))
    with judged(fault):
        assert_within_errors((found.diagonal(), variances), (found.diagonal_errors(), errors), truth, GROUPED)


@pytest.mark.parametrize("fault", ["right", "swapped bias", "wrong sign"])
@pytest.mark.parametrize("name", ["rbm", "dbm-2-hidden"])
def test_visible_matrix_from_states_lies_within_its_errors(name, fault):
    """As above; hidden layers are summed out of every visible row."""
    machine = small_machine(name, masked=True)
    found = fisher.matrix(machine, _draws(FAULTS[fault](machine), n_rows=2**15), of="visible")
    assert found.of == "visible" and found.diagnostics is not None
    exact = _by_brute_force(machine, "visible")
    directions = np.random.default_rng(3).normal(size=(12, found.shape[0]))
    variances = np.array([x @ found.matvec(x) for x in directions])
    errors = found.eigenvalue_errors(found.split(directions))
    truth = (np.diag(exact), np.einsum("ki,ij,kj->k", directions, exact, directions))
    with judged(fault):
        assert_within_errors((found.diagonal(), variances), (found.diagonal_errors(), errors), truth, GROUPED)


def test_error_of_a_missing_term_is_found(rbm):
    """Twin of the test above: without ``E[Cov(T | a)]`` the estimate would not be within its errors."""
    found = fisher.matrix(rbm, _draws(rbm))
    directions = np.random.default_rng(3).normal(size=(12, found.shape[0])).astype(np.float32)
    assert isinstance(found, JointFisherMatrix)
    given, mean = found._given, found._mean
    rows = total_covariance.conditional_means(given.parameters, given.states.reshape(-1, given.states.shape[-1]))
    means = _statistics(rbm, [np.asarray(r) for r in rows]) - found.flatten(mean)
    without = ((means @ directions.T) ** 2).mean(axis=0)
    exact = np.einsum("ki,ij,kj->k", directions, _by_brute_force(rbm, "joint"), directions)
    with judged("missing term"):
        assert_within_errors(without, found.eigenvalue_errors(found.split(directions)), exact, GROUPED)


def test_conditional_probabilities_lower_the_variance(rbm):
    """Against the plain covariance of the same states, over 16 runs of 512 rows."""
    exact = _by_brute_force(rbm, "joint")
    plain, conditional = [], []
    states = _draws(rbm, seed=7)
    for rows in np.split(np.arange(N_ROWS), 16):
        some = tuple(s[rows] for s in states)
        plain.append(np.cov(_statistics(rbm, some).T, bias=True) - exact)
        conditional.append(fisher.matrix(rbm, some).dense() - exact)
    assert np.square(conditional).mean() < 0.7 * np.square(plain).mean()


@pytest.mark.parametrize("source", ["exact", "states"])
def test_leading_eigenpairs_of_a_masked_machine_are_those_of_the_dense_matrix(iterative, source):
    machine = _wide_machine()
    # Too many units for exact draws; how good the states are does not matter here.
    states = sampling.gibbs(machine, sampling.random_states(machine, KEY, N_ROWS), KEY, 5)
    found = fisher.matrix(machine, "exact" if source == "exact" else states)
    pairs = found.top(10, key=KEY)
    values, vectors = np.linalg.eigh(found.dense().astype(np.float64))
    relative, overlap_error = (1e-9, 1e-9) if source == "exact" else (1e-4, 1e-3)
    np.testing.assert_allclose(pairs.values, values[::-1][:10], rtol=relative)
    overlaps = (found.flatten(pairs.vectors) * vectors[:, ::-1][:, :10].T).sum(axis=1)
    np.testing.assert_allclose(abs(overlaps), 1, atol=overlap_error)
    for weights, mask in zip(pairs.vectors.weights, machine.masks, strict=True):
        assert weights.shape == (10, *mask.shape) and not weights[:, ~np.asarray(mask)].any()


def test_all_eigenpairs_rebuild_the_matrix(machine):
    found = fisher.matrix(machine, "exact")
    values, vectors = found.top(found.shape[0])
    flat = found.flatten(vectors)
    np.testing.assert_allclose(flat.T @ (values[:, None] * flat), found.dense(), atol=1e-12)
    assert (np.diff(values) <= 0).all() and (flat.max(axis=1) == abs(flat).max(axis=1)).all()


def test_split_and_flatten_are_inverse_and_leave_absent_synapses_out(dbm):
    found = fisher.matrix(dbm, "exact")
    numbers = np.arange(1.0, found.shape[0] + 1)
    parameters = found.split(numbers)
    np.testing.assert_array_equal(found.flatten(parameters), numbers)
    for weights, mask in zip(parameters.weights, dbm.masks, strict=True):
        np.testing.assert_array_equal(weights != 0, np.asarray(mask))
    first = parameters.weights[0][np.asarray(dbm.masks[0])]
    np.testing.assert_array_equal(first, np.arange(1.0, first.size + 1))
    np.testing.assert_array_equal(parameters.biases[-1], numbers[-dbm.layer_sizes[-1] :])


def test_eigenvector_importance_is_the_magnitude_of_the_leading_eigenvector(iterative):
    machine = _wide_machine()
    dense = fisher.matrix(machine, "exact")
    leading = dense.split(np.linalg.eigh(dense.dense())[1][:, -1])
    found = sc.fisher.leading_eigenvector_importance(machine, "exact", KEY)
    for importance, weights, mask in zip(found, leading.weights, machine.masks, strict=True):
        np.testing.assert_allclose(importance, abs(weights), atol=1e-6)
        assert (importance >= 0).all() and not importance[~np.asarray(mask)].any()
        assert (weights < 0).any() or (weights >= 0).all()
    again = sc.fisher.leading_eigenvector_importance(machine, "exact", KEY)
    for first, second in zip(found, again, strict=True):
        np.testing.assert_array_equal(first, second)


def test_chunks_do_not_change_the_matrix(rbm, monkeypatch):
    states = tuple(s[:1000] for s in _draws(rbm))
    whole = fisher.matrix(rbm, states)
    monkeypatch.setattr(total_covariance, "_CHUNK_ROWS", 300)
    parts = fisher.matrix(rbm, tuple(s.astype(np.uint8) for s in states))
    assert isinstance(parts, JointFisherMatrix) and isinstance(whole, JointFisherMatrix)
    assert parts._given.states.shape == (4, 250, 4) and whole._given.states.shape == (1, 1000, 4)
    np.testing.assert_allclose(parts.dense(), whole.dense(), atol=1e-6)
    vector = np.ones(whole.shape[0])
    np.testing.assert_allclose(parts.matvec(vector), whole.matvec(vector), atol=1e-5)


def test_a_second_machine_of_equal_shape_does_not_recompile(machine):
    vector = np.ones(machine.n_synapses + machine.n_units)
    fisher.matrix(machine, "exact").matvec(vector)
    compiled = total_covariance.times._cache_size()  # type: ignore[attr-defined]
    other = machine.with_parameters(jax.tree.map(lambda a: a * jnp.float32(0.5), machine.parameters))
    fisher.matrix(other, "exact").matvec(vector)
    assert total_covariance.times._cache_size() == compiled  # type: ignore[attr-defined]


def test_bad_input_is_refused(rbm):
    states = tuple(s[:4] for s in _draws(rbm))
    unchecked = inspect.unwrap(fisher.matrix)  # past the type checks of the test climate
    with pytest.raises(ValueError, match="of must be 'joint' or 'visible', got 'hidden'"):
        unchecked(rbm, "exact", of="hidden")
    with pytest.raises(ValueError, match="source must be 'exact' or states of the model.*got 'exakt'"):
        unchecked(rbm, "exakt")
    with pytest.raises(ValueError, match=r"states must have as many chains \(rows\) in every layer, got \[4, 3\]"):
        fisher.matrix(rbm, (states[0], states[1][:3]))
    with pytest.raises(ValueError, match=r"states\[0\] must have 5 columns, one per unit, got 4 \(shape \(4, 4\)\)"):
        fisher.matrix(rbm, states[::-1])
    for single in (tuple(s[:1] for s in states), tuple(s[None, :1] for s in states)):
        with pytest.raises(ValueError, match="states must have at least 2 rows for a standard error, got 1; draw more"):
            fisher.matrix(rbm, single)
    differently = (states[0][None, :], states[1][:, None])
    with pytest.raises(ValueError, match=r"as many draws and chains in every layer, got \[\(1, 4\), \(4, 1\)\]"):
        fisher.matrix(rbm, differently)
    with pytest.raises(ValueError, match=r"states\[1\] must hold 0 and 1 only, got 0.5 in row"):
        fisher.matrix(rbm, (states[0], states[1] * 0.5))
    deep = Machine.random((2, 21, 21), KEY)
    drawn = tuple(np.zeros((4, n), np.float32) for n in deep.layer_sizes)
    with pytest.raises(
        ValueError, match="moments given visible states needs .* this one has 21 .*; use of='joint' instead"
    ):
        fisher.matrix(deep, drawn, of="visible")
    found = fisher.matrix(rbm, "exact")
    with pytest.raises(ValueError, match=r"vector must have shape \(29,\).* got \(3,\)"):
        found.matvec(np.ones(3))
    with pytest.raises(ValueError, match="k must lie between 1 and the number of parameters, 29, got 30"):
        found.top(30)
    with pytest.raises(ValueError, match="source must be 'exact' or states of the model.* got Moments"):
        unchecked(rbm, enumeration.moments(rbm))


def test_large_machines_are_told_what_to_do(rbm, monkeypatch, iterative):
    large = Machine.random((30, 25), KEY)
    with pytest.raises(ValueError, match="exact Fisher information matrix needs .* at most 20 units, this one has 25"):
        fisher.matrix(large, "exact")
    with pytest.raises(ValueError, match=r"of='visible' needs a machine with at most 20 units .* this one has 30"):
        fisher.matrix(large, "exact", of="visible")
    with pytest.raises(ValueError, match="iterative and needs key"):
        fisher.matrix(_wide_machine(), "exact").top(1)
    monkeypatch.setattr(matrix_type, "MAX_DENSE_BYTES", 2**12)
    with pytest.raises(ValueError, match=r"dense\(\) of 29 parameters would take .* GiB, more than the limit of"):
        fisher.matrix(rbm, "exact").dense()
