"""Rules from the loss itself: every number against sums over all states of the machine with and without the synapse."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from brute_force import BruteForce
from conftest import small_machine
from secateur import sampling
from secateur.likelihood import removal_loss
from secateur.model import enumeration
from secateur.model.machine import Machine
from secateur.pruning import WholeMachine, importance, prune, prune_and_retrain, rule
from secateur.training import TrainingSettings

KEY = jax.random.key(3)


def _rows(machine: Machine) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 2, (7, machine.layer_sizes[0]))


def _without(machine: Machine, matrix: int, place: tuple[int, int]) -> Machine:
    masks = [np.array(m) for m in machine.masks]
    masks[matrix][place] = False
    return machine.with_masks(masks)


def _without_unit(machine: Machine, layer: int, unit: int) -> BruteForce:
    """All states of the machine, of which those in which the unit is active have no weight."""
    judge = BruteForce(machine)
    silent = judge.states[layer][:, unit] == 0
    judge.log_weights = np.where(silent, judge.log_weights, -np.inf)
    judge.log_z = float(np.logaddexp.reduce(judge.log_weights))
    return judge


def test_likelihood_loss_is_what_removal_of_a_synapse_costs(machine):
    """Of every synapse in turn, at every depth, with and without masks; correlation with the truth is 1.0."""
    rows, before = _rows(machine), BruteForce(machine).log_probability(_rows(machine)).mean()
    found = importance(machine, "exact", "likelihood-loss", KEY, rows)
    ours, truth = [], []
    for matrix, mask in enumerate(machine.masks):
        for i, j in zip(*np.nonzero(np.asarray(mask)), strict=True):
            after = BruteForce(_without(machine, matrix, (i, j))).log_probability(rows).mean()
            ours.append(float(found[matrix][i, j]))
            truth.append(before - after)
    np.testing.assert_allclose(ours, truth, atol=1e-10)
    assert np.corrcoef(ours, truth)[0, 1] == pytest.approx(1.0, abs=1e-12)
    assert all(
        (np.asarray(score)[~np.asarray(mask)] == 0).all() for score, mask in zip(found, machine.masks, strict=True)
    )


def test_decimation_kl_is_the_divergence_from_the_machine_without_the_synapse(machine):
    judge = BruteForce(machine)
    found = importance(machine, "exact", "decimation-kl", KEY)
    for matrix, mask in enumerate(machine.masks):
        for i, j in zip(*np.nonzero(np.asarray(mask)), strict=True):
            other = BruteForce(_without(machine, matrix, (i, j)))
            difference = (judge.log_weights - judge.log_z) - (other.log_weights - other.log_z)
            assert float(found[matrix][i, j]) == pytest.approx(judge.probabilities @ difference, abs=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_decimation_kl_of_small_weights_is_half_of_fi_times_weight_squared(dtype):
    q = np.linspace(0.01, 0.99, 9).astype(dtype)
    with jax.enable_x64(dtype is np.float64):
        for weight in (1e-4, -1e-4):
            found = removal_loss.decimation_divergence(np.full(9, weight, dtype), q)
            np.testing.assert_allclose(found, weight**2 * q * (1 - q) / 2, rtol=1e-4)
        # Where the series gives way to the formula both are right.
        for edge in (0.0999, 0.1001) if dtype is np.float32 else (0.999e-3, 1.001e-3):
            exact = np.float64(edge) * q.astype(float) + np.log1p(q.astype(float) * np.expm1(-edge))
            found = removal_loss.decimation_divergence(np.full(9, edge, dtype), q)
            np.testing.assert_allclose(found, exact, rtol=1e-4 if dtype is np.float32 else 1e-9)


def test_unit_kl_is_what_removal_of_a_unit_costs(machine):
    rows, before = _rows(machine), BruteForce(machine).log_probability(_rows(machine)).mean()
    found = importance(machine, "exact", "unit-kl", KEY, rows)
    for layer in range(1, machine.n_layers):
        for unit in range(machine.layer_sizes[layer]):
            after = _without_unit(machine, layer, unit).log_probability(rows).mean()
            assert float(found[layer - 1][unit]) == pytest.approx(before - after, abs=1e-10)


def test_unit_information_is_that_of_the_unit_and_the_rows(machine):
    """Mutual information of the number of the row and the unit, summed over both from the joint table."""
    rows, judge = _rows(machine), BruteForce(machine)
    found = importance(machine, "exact", "unit-information", KEY, rows)
    posteriors = [judge.posterior(row) for row in rows]
    for layer in range(1, machine.n_layers):
        active = np.array([p @ judge.states[layer] for p in posteriors])
        joint = np.stack([1 - active, active]) / len(rows)
        independent = joint.sum(axis=1, keepdims=True) / len(rows)
        np.testing.assert_allclose(found[layer - 1], (joint * np.log(joint / independent)).sum(axis=(0, 1)), atol=1e-10)


def test_a_planted_fault_is_seen():
    """Twin: the term of the data and that of the model exchanged is not the loss."""
    machine = small_machine("rbm", masked=False)
    rows = _rows(machine)
    before, after = (BruteForce(m).log_probability(rows).mean() for m in (machine, _without(machine, 0, (0, 0))))
    wrong = -float(importance(machine, "exact", "likelihood-loss", KEY, rows)[0][0, 0])
    assert abs(wrong - (before - after)) > 1e-3


@pytest.mark.parametrize("name", ["likelihood-loss", "decimation-kl"])
def test_from_draws_it_lies_within_the_error_of_the_coincidences(dbm, name):
    """To first order the error is that of the coincidence rate times the slope of the formula."""
    rows = _rows(dbm)
    moments = sampling.moments(dbm, KEY, n_draws=200, n_chains=64)
    exact, found = (importance(dbm, source, name, KEY, rows) for source in ("exact", moments))
    each = zip(exact, found, dbm.weights, moments.coincidences, moments.standard_errors.coincidences, strict=True)
    for truth, estimate, w, q, error in each:
        decay = np.expm1(-np.asarray(w))
        slope = decay / (1 + np.asarray(q) * decay) + (np.asarray(w) if name == "decimation-kl" else 0)
        assert (abs(np.asarray(estimate) - np.asarray(truth)) <= 6 * abs(slope) * np.asarray(error) + 1e-5).all()


def test_what_cannot_be_summed_is_refused_or_near(monkeypatch, dbm):
    """Twin of the tests above: mean field orders units by information; for losses it would be no estimate."""
    exact = importance(dbm, "exact", "unit-information", KEY, _rows(dbm))
    monkeypatch.setattr(enumeration, "MAX_UNITS", 2)
    found = importance(dbm, None, "unit-information", KEY, _rows(dbm))
    assert np.corrcoef(np.concatenate(exact), np.concatenate(found))[0, 1] > 0.98
    for name in ("likelihood-loss", "unit-kl"):
        with pytest.raises(ValueError, match=r"at most 2 units, .* take 'decimation-kl', which needs no rows, instead"):
            importance(dbm, sampling.moments(dbm, KEY, n_draws=100), name, KEY, _rows(dbm))


def test_rules_that_look_at_data_are_given_rows_everywhere(rbm):
    rows = _rows(rbm)
    pruned = prune(rbm, "likelihood-loss", 0.5, key=KEY, visible=rows)
    assert pruned.n_synapses == 10
    without = {"n_rounds": 2, "fraction": 0.5, "retraining": None, "key": KEY}
    steps = list(prune_and_retrain(rbm, rows, "likelihood-loss", **without))  # type: ignore[arg-type]
    assert [step.retrained.n_synapses for step in steps] == [10, 5]
    with pytest.raises(ValueError, match="retraining needs visible and retraining, got one"):
        next(prune_and_retrain(rbm, rows, "variance-fi", **without))  # type: ignore[arg-type]
    settings = TrainingSettings(n_epochs=1, batch_size=7, n_chains=4)
    (done,) = prune_and_retrain(
        rbm, rows, "unit-kl", n_rounds=1, fraction=0.25, retraining=settings, key=KEY, importance="exact"
    )
    lowest = int(np.argmin(importance(rbm, "exact", "unit-kl", KEY, rows)[0]))
    assert not np.asarray(done.pruned.masks[0])[:, lowest].any()
    seen: list[WholeMachine] = []

    @rule("mine", needs=("rows",))
    def mine(whole: WholeMachine):
        seen.append(whole)
        return whole.machine.weights

    importance(rbm, None, mine, KEY, rows)
    np.testing.assert_array_equal(seen[0].rows, rows)
    assert seen[0].source is None


def test_missing_or_wrong_rows_are_told(rbm):
    with pytest.raises(ValueError) as error:
        prune(rbm, "likelihood-loss", 0.5, key=KEY)
    assert str(error.value) == (
        "criterion 'likelihood-loss' looks at rows of the data, got none; give them as visible (--data FILE)"
    )
    with pytest.raises(ValueError, match="visible"):
        prune(rbm, "likelihood-loss", 0.5, key=KEY, visible=np.full((3, 5), 0.5))
