"""Optimal Brain Surgeon: saliencies and corrections against dense sums over all states, and what they are good for."""

from __future__ import annotations

import sys

import jax
import numpy as np
import pytest

from brute_force import BruteForce
from conftest import small_machine
from secateur import fisher
from secateur.fisher import surgery
from secateur.model.machine import Machine, Parameters
from secateur.model.trials import stack, unstack
from secateur.model.trust import NotToBeTrusted
from secateur.pruning import importance, prune, prune_and_retrain, pruned_masks, remove, rule
from statistical import FAULTS, assert_within_errors, judged, quantile
from two_modes import equal_modes_machine

KEY = jax.random.key(11)


class Dense:
    """The damped covariance of the statistics of all existing parameters, and their values, in plain NumPy."""

    def __init__(self, machine: Machine, damping: float = surgery.DAMPING):
        judge = BruteForce(machine)
        pairs = zip(judge.states[:-1], judge.states[1:], judge.masks, strict=True)
        products = [(lower[:, :, None] * upper[:, None, :])[:, mask] for lower, upper, mask in pairs]
        statistics = np.hstack([*products, *judge.states])
        centred = statistics - judge.probabilities @ statistics
        self.fisher = (centred * judge.probabilities[:, None]).T @ centred
        self.damped = self.fisher + damping * np.trace(self.fisher) / len(self.fisher) * np.eye(len(self.fisher))
        self.masks = judge.masks
        weights = [np.asarray(w, float)[m] for w, m in zip(machine.weights, judge.masks, strict=True)]
        self.parameters = np.concatenate([*weights, *(np.asarray(b, float) for b in machine.biases)])
        self.n_synapses = machine.n_synapses

    def flat(self, arrays) -> np.ndarray:
        return np.concatenate([np.asarray(a)[m] for a, m in zip(arrays, self.masks, strict=True)])


@pytest.fixture(scope="module", params=["rbm", "dbm", "masked dbm", "two modes"])
def small(request) -> Machine:
    """Asymmetric machines of two and more layers, and one with two modes."""
    machines = {"rbm": ("rbm", False), "dbm": ("dbm-3-hidden", False), "masked dbm": ("dbm-2-hidden", True)}
    if request.param == "two modes":
        return equal_modes_machine(0.1)
    name, masked = machines[request.param]
    return small_machine(name, masked=masked)


def test_saliencies_are_those_of_the_inverse_matrix(small):
    dense = Dense(small)
    expected = dense.parameters**2 / (2 * np.diagonal(np.linalg.inv(dense.damped)))
    found = fisher.removal_saliency(small, "exact", KEY)
    np.testing.assert_allclose(dense.flat(found.values), expected[: dense.n_synapses], atol=1e-10)
    for values, errors, mask in zip(found.values, found.standard_errors, dense.masks, strict=True):
        assert (values[~mask] == 0).all() and (errors == 0).all()
    scores = importance(small, "exact", "optimal-brain-surgeon", KEY)
    np.testing.assert_array_equal(dense.flat(scores), dense.flat(found.values))


def _some_masks(machine: Machine, n: int, seed: int = 0) -> list[np.ndarray]:
    """Masks without so many synapses of every matrix, chosen at random."""
    rng, masks = np.random.default_rng(seed), [np.array(m) for m in machine.masks]
    for mask in masks:
        present = np.flatnonzero(mask)
        mask.reshape(-1)[rng.choice(present, n, replace=False)] = False
    return masks


def test_one_synapse_is_made_up_for_as_published(small):
    """``dw = -w_q F^-1 e_q / [F^-1]_qq`` (Hassibi & Stork 1993, equation 5), at a cost that is the saliency."""
    dense = Dense(small)
    inverse = np.linalg.inv(dense.damped)
    masks = [np.array(m) for m in small.masks]
    place = tuple(np.argwhere(masks[0])[2])
    q = int(masks[0][: place[0]].sum() + masks[0][place[0], : place[1]].sum())
    masks[0][place] = False
    change = -dense.parameters[q] * inverse[:, q] / inverse[q, q]
    found = fisher.compensated(small, "exact", masks)
    flat = np.concatenate([dense.flat(found.weights), *found.biases])
    np.testing.assert_allclose(flat, dense.parameters + change, atol=1e-10)
    saliency = fisher.removal_saliency(small, "exact", KEY).values[0][place]
    assert change @ dense.damped @ change / 2 == pytest.approx(saliency, abs=1e-10)


def test_several_synapses_are_made_up_for_together(small):
    """Stationary under the constraint, by a solution of the whole system with Lagrange multipliers."""
    dense, masks = Dense(small), _some_masks(small, 2)
    gone = np.append(~dense.flat(masks), np.zeros(small.n_units, bool))
    constraint = np.eye(len(gone))[gone]
    zero = np.zeros((gone.sum(), gone.sum()))
    system = np.block([[dense.damped, constraint.T], [constraint, zero]])
    right = np.concatenate([np.zeros(len(gone)), -dense.parameters[gone]])
    change = np.linalg.solve(system, right)[: len(gone)]
    found = fisher.compensated(small, "exact", masks)
    flat = np.concatenate([dense.flat(found.weights), *found.biases])
    np.testing.assert_allclose(flat, dense.parameters + change, atol=1e-10)
    for weights, mask in zip(found.weights, masks, strict=True):
        assert (weights[~mask] == 0).all()


def test_matrix_free_agrees_with_the_inverse(small):
    exact = fisher.removal_saliency(small, "exact", KEY)
    found = fisher.removal_saliency(small, "exact", KEY, max_dense=0, n_probes=64)
    n = small.n_synapses
    for estimate, error, truth in zip(found.values, found.standard_errors, exact.values, strict=True):
        # Conjugate gradients stop at a residual of 0.1, whose part of the error probes do not see.
        assert (abs(estimate - truth) <= quantile(n, 63) * error + 0.05 * truth).all()
    # Twin: the diagonal of the matrix in place of that of its inverse would be seen.
    variances = [
        np.asarray(w) ** 2 * f / 2 for w, f in zip(small.weights, fisher.variance(small, "exact"), strict=True)
    ]
    pairs = zip(found.values, found.standard_errors, variances, strict=True)
    assert any((abs(v - wrong) > quantile(n, 63) * error + 0.05 * wrong).any() for v, error, wrong in pairs)
    masks = _some_masks(small, 2)
    both = [fisher.compensated(small, "exact", masks, max_dense=most) for most in (0, surgery.MAX_DENSE)]
    for iterated, solved in zip(*map(jax.tree.leaves, both), strict=True):
        np.testing.assert_allclose(iterated, solved, atol=0.02)


def test_twin_without_damping_the_saliencies_are_others(small):
    dense = Dense(small, damping=0.1)
    wrong = dense.parameters**2 / (2 * np.diagonal(np.linalg.inv(dense.damped)))
    found = fisher.removal_saliency(small, "exact", KEY)
    assert abs(dense.flat(found.values) - wrong[: dense.n_synapses]).max() > 1e-5


@pytest.mark.parametrize("fault", ["right", "wrong sign", "swapped bias"])
def test_from_states_it_lies_within_the_error_of_repetitions(dbm, fault):
    """Means over 16 independent sets of states; twins draw the states from a machine with a planted fault."""
    judge, rng = BruteForce(FAULTS[fault](dbm)), np.random.default_rng(2)
    masks, found = _some_masks(dbm, 1), []
    for _ in range(16):
        states = judge.draws(4000, rng)
        saliency = fisher.removal_saliency(dbm, states, KEY).values
        found.append((saliency, fisher.compensated(dbm, states, masks)))
    means = jax.tree.map(lambda *each: np.mean(each, axis=0), *found)
    errors = jax.tree.map(lambda *each: np.std(each, axis=0, ddof=1) / 4, *found)
    exact = fisher.removal_saliency(dbm, "exact", KEY).values, fisher.compensated(dbm, "exact", masks)
    with judged(fault):
        assert_within_errors(means, errors, exact, 15)


def _divergence(first: BruteForce, second: BruteForce) -> float:
    difference = first.log_weights - first.log_z - second.log_weights + second.log_z
    return float(first.probabilities @ difference)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["rbm", "dbm-2-hidden", "dbm-3-hidden"])
def test_a_corrected_machine_is_nearer_to_the_one_before(name, seed):
    """For weights so small that the divergence is quadratic; whichever synapses go."""
    machine = small_machine(name, masked=seed % 2 == 1, seed=seed)
    small = tuple(0.3 * w for w in machine.weights)
    machine = machine.with_parameters(Parameters(small, machine.biases))
    masks = _some_masks(machine, 2, seed)
    cut = machine.with_masks(masks)
    moved = fisher.compensated(machine, "exact", masks)
    corrected = cut.with_parameters(jax.tree.map(lambda a: np.asarray(a, np.float32), moved))
    before = BruteForce(machine)
    assert _divergence(before, BruteForce(corrected)) < _divergence(before, BruteForce(cut))


def test_the_rule_hands_back_corrected_parameters_everywhere(dbm):
    """One step by ``prune``, ``remove`` and the loop of rounds; earlier removals hold, and ties go as without it."""
    name = "optimal-brain-surgeon"
    masks = pruned_masks(dbm, "exact", name, 0.3, KEY)
    expected = fisher.compensated(dbm, "exact", masks)
    found = remove(dbm, None, name, 0.3, KEY).pruned
    (step,) = prune_and_retrain(dbm, None, name, n_rounds=1, fraction=0.3, retraining=None, key=KEY)
    again = fisher.compensated(dbm, "exact", step.pruned.masks)
    for machine, parameters in ((found, None), (step.pruned, again)):
        parameters = parameters or fisher.compensated(dbm, "exact", machine.masks)
        for ours, truth in zip(jax.tree.leaves(machine.parameters), jax.tree.leaves(parameters), strict=True):
            np.testing.assert_allclose(ours, truth, rtol=1e-5, atol=1e-7)
    for weights, mask, old in zip(step.pruned.weights, step.pruned.masks, dbm.masks, strict=True):
        assert (np.asarray(weights)[~np.asarray(mask)] == 0).all()
        assert not (np.asarray(mask) & ~np.asarray(old)).any()
    compacted = prune(dbm, name, 0.3, key=KEY)
    units = [np.asarray(i) for i in compacted.unit_indices]
    for layer, kept in enumerate(units):
        np.testing.assert_allclose(compacted.biases[layer], expected.biases[layer][kept], rtol=1e-5, atol=1e-7)


def test_stacked_trials_are_corrected_each_by_itself():
    trials = [small_machine("dbm-2-hidden", masked=True, seed=seed) for seed in (0, 1)]
    keys = jax.random.split(KEY, 2)
    together = remove(stack(trials), None, "optimal-brain-surgeon", 0.3, keys)
    for one, key, joint in zip(trials, keys, unstack(together.pruned), strict=True):
        alone = remove(one, None, "optimal-brain-surgeon", 0.3, key).pruned
        for a, b in zip(jax.tree.leaves(joint), jax.tree.leaves(alone), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_rule_of_ones_own_may_correct(rbm):
    """It sees the machine before, and the masks of what stays."""

    def doubled(whole, masks):
        assert whole.machine is rbm and masks[0].sum() == 10
        return Parameters(tuple(2 * w for w in rbm.weights), rbm.biases)

    mine = rule("mine", needs=(), correct=doubled)(lambda synapses: abs(synapses.weights))
    found = remove(rbm, None, mine, 0.5, KEY).pruned
    mask = np.asarray(found.masks[0])
    np.testing.assert_array_equal(found.weights[0], np.where(mask, 2 * np.asarray(rbm.weights[0]), 0))


@pytest.mark.parametrize("wrong", [None, "numbers", Parameters((np.zeros(3),), ()), "nan"])
def test_a_wrong_correction_is_told(rbm, wrong):
    if wrong == "nan":
        wrong = jax.tree.map(lambda a: a * np.nan, rbm.parameters)
    mine = rule("mine", needs=(), correct=lambda whole, masks: wrong)(lambda synapses: abs(synapses.weights))
    with pytest.raises(ValueError) as error:
        prune(rbm, mine, 0.5, key=KEY)
    assert str(error.value) == (
        "criterion 'mine' must correct to one finite number per parameter, in arrays like those of "
        "machine.parameters; mend its correct"
    )


def test_what_it_cannot_do_is_told(rbm, monkeypatch):
    with pytest.raises(ValueError) as error:
        fisher.removal_saliency(rbm, "exact", KEY, damping=0.0)
    assert str(error.value) == (
        "damping must be a positive share of the mean eigenvalue, got 0.0; the matrix is near singular without it, "
        "0.01 suits most machines"
    )
    monkeypatch.setattr(sys.modules["secateur.fisher.surgery"], "_MAX_ITERATIONS", 1)
    with pytest.warns(NotToBeTrusted, match=r"no convergence in 1 products with the matrix; take more damping"):
        fisher.compensated(rbm, "exact", _some_masks(rbm, 3), max_dense=0)
