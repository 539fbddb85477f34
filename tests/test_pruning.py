"""Pruning steps and rounds: counts, criteria, the distribution after compaction, and what is refused."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brute_force import BruteForce
from secateur import fisher, pruning, sampling
from secateur.model import enumeration
from secateur.model.machine import Machine
from secateur.model.moments import Moments, Statistics
from secateur.pruning import ImportanceSampling, MoreRemoved, Synapses, compact, importance, prune, prune_and_retrain
from secateur.pruning import rules as rules_module
from secateur.training import TrainingSettings

KEY = jax.random.key(3)
LOCAL = ["variance-fi", "heuristic-fi", "weight-magnitude", "random", "anti-fi", "fi-times-weight-squared"]


def _patches_machine() -> Machine:
    """13 x 70 units, the size of the paper's single-layer study."""
    return Machine.random((13, 70), jax.random.key(0), weight_scale=0.5, hidden_bias=-1.0)


@pytest.mark.parametrize("criterion", LOCAL)
def test_half_of_the_synapses_go_in_every_round(criterion):
    """910 -> 455 -> 228 -> 114 for every rule, also when units die and the machine is compacted in between."""
    machine = _patches_machine()
    counts = [machine.n_synapses]
    for round_key in jax.random.split(KEY, 3):
        machine = prune(machine, criterion, 0.5, key=round_key)
        counts.append(machine.n_synapses)
    assert counts == [910, 455, 228, 114]


def test_importances_are_their_formulas(dbm):
    exact = enumeration.moments(dbm)
    expected = {
        "variance-fi": [p * (1 - p) for p in exact.coincidences],
        "anti-fi": [-p * (1 - p) for p in exact.coincidences],
        "weight-magnitude": [abs(np.asarray(w)) for w in dbm.weights],
        "fi-times-weight-squared": [
            np.asarray(w, float) ** 2 * p * (1 - p) for w, p in zip(dbm.weights, exact.coincidences, strict=True)
        ],
        "heuristic-fi": fisher.heuristic(dbm, "exact").weights,
    }
    for criterion, arrays in expected.items():
        found = importance(dbm, "exact", criterion, KEY)
        for score, array, mask in zip(found, arrays, dbm.masks, strict=True):
            present = np.asarray(mask)
            np.testing.assert_allclose(np.asarray(score)[present], array[present], rtol=1e-6)


def test_random_importance_differs_between_matrices_and_keys():
    machine = Machine([np.ones((4, 4)), np.ones((4, 4))], [np.zeros(4)] * 3)
    moments = enumeration.moments(machine)
    first, second = importance(machine, moments, "random", KEY)
    other, _ = importance(machine, moments, "random", jax.random.key(4))
    assert (np.asarray(first) != np.asarray(second)).all()
    assert (np.asarray(first) != np.asarray(other)).all()


def test_anti_fi_removes_what_variance_fi_keeps():
    """Without ties and with half to go, the two rules split the synapses."""
    machine = _patches_machine()
    moments = enumeration.moments(machine)
    (kept,), (anti,) = (pruning.pruned_masks(machine, moments, rule, 0.5, KEY) for rule in ("variance-fi", "anti-fi"))
    np.testing.assert_array_equal(kept, ~anti)


def _silent_machine_and_moments() -> tuple[Machine, Moments]:
    """Seven of ten hidden units never fire, so 70 % of the synapses have zero importance."""
    machine = Machine([np.random.default_rng(0).normal(size=(6, 10))], [np.zeros(6), np.zeros(10)])
    rates = (np.full(6, 0.5), np.where(np.arange(10) < 3, 0.4, 0.0))
    return machine, Moments.exact(Statistics(rates, (np.outer(*rates),)))


@pytest.mark.parametrize("criterion", ["variance-fi", "heuristic-fi", "fi-times-weight-squared"])
def test_zero_rule(criterion):
    machine, moments = _silent_machine_and_moments()
    with pytest.warns(MoreRemoved) as warned:
        everything = prune(machine, criterion, 0.5, key=KEY, source=moments, zeros="all")
    assert [str(warning.message) for warning in warned] == [
        "weight matrix 0: 42 of 60 synapses went, 12 beyond the fraction, whose importance is exactly zero; "
        "say zeros='fraction' to remove no more than was asked for"
    ]
    np.testing.assert_array_equal(everything.unit_indices[1], [0, 1, 2])
    assert everything.n_synapses == 18
    fraction = prune(machine, criterion, 0.5, key=KEY, source=moments)
    assert fraction.n_synapses == 30
    assert set(np.asarray(fraction.unit_indices[1])) >= {0, 1, 2}


def test_anti_fi_does_not_trigger_the_zero_rule():
    machine, moments = _silent_machine_and_moments()
    pruned = prune(machine, "anti-fi", 0.5, key=KEY, source=moments, zeros="all")
    assert pruned.n_synapses == 30
    assert not set(np.asarray(pruned.unit_indices[1])) & {0, 1, 2}  # the informative ones went first


def _masks_with_dead_units(machine: Machine) -> list[np.ndarray]:
    """Takes the last unit of every hidden layer its synapses from below; for a DBM others may follow."""
    masks = [np.array(m) for m in machine.masks]
    for mask in masks:
        mask[:, -1] = False
    return masks


def test_compaction_leaves_the_distribution_unchanged(machine):
    """Marginals of all surviving units of the masked machine against those of the compacted one, by enumeration."""
    masked = machine.with_masks(pruning.remove_dead_units(_masks_with_dead_units(machine)))
    compacted = compact(masked)
    assert compacted.n_units < masked.n_units
    assert compacted.n_synapses == masked.n_synapses
    for layer, indices in enumerate(compacted.unit_indices):
        units = np.asarray(indices)
        assert len(units) >= 1
        before, after = BruteForce(masked), BruteForce(compacted)
        np.testing.assert_allclose(after.distribution(layer), before.distribution(layer, units), atol=1e-9)
    kept = [np.asarray(i) for i in compacted.unit_indices]
    coincidences = BruteForce(masked).statistics()[1]
    for layer, found in enumerate(BruteForce(compacted).statistics()[1]):
        np.testing.assert_allclose(found, coincidences[layer][np.ix_(kept[layer], kept[layer + 1])], atol=1e-9)


def test_compaction_without_removing_the_dead_units_synapses_would_change_the_distribution(dbm):
    """Twin of the test above: a unit dropped while it still has synapses shifts what it was connected to."""
    exact = BruteForce(dbm)
    without = Machine(
        [np.asarray(dbm.weights[0])[:, :-1], np.asarray(dbm.weights[1])[:-1]],
        [dbm.biases[0], np.asarray(dbm.biases[1])[:-1], dbm.biases[2]],
        [np.asarray(dbm.masks[0])[:, :-1], np.asarray(dbm.masks[1])[:-1]],
    )
    assert abs(BruteForce(without).distribution(0) - exact.distribution(0)).max() > 1e-3


def test_a_machine_that_lost_everything_is_its_visible_biases(dbm):
    empty = compact(dbm.with_masks([np.zeros(m.shape, bool) for m in dbm.masks]))
    assert empty.layer_sizes == (4, 0, 0)
    expected = np.logaddexp(0, np.asarray(dbm.biases[0], float)).sum()
    assert enumeration.log_partition(empty) == pytest.approx(expected, rel=1e-9)
    rates = enumeration.moments(empty).rates
    np.testing.assert_allclose(rates[0], jax.nn.sigmoid(dbm.biases[0]), rtol=1e-6)
    np.testing.assert_array_equal(pruning.silent_visible_units(empty.masks), True)


def test_different_fractions_for_different_matrices():
    rng = np.random.default_rng(0)
    machine = Machine([rng.normal(size=(10, 10)), rng.normal(size=(10, 20))], [np.zeros(n) for n in (10, 10, 20)])
    pruned = prune(machine, "weight-magnitude", (0.1, 0.25), key=KEY)
    assert pruned.synapse_counts == (90, 150)


def test_a_users_function_is_a_criterion(rbm):
    def largest_bias_first(synapses: Synapses):
        assert synapses.weights.shape == synapses.coincidences.shape == (5, 4)
        assert (synapses.rates_pre.shape, synapses.rates_post.shape) == ((5,), (4,))
        return jnp.broadcast_to(synapses.rates_post[None, :], (5, 4))

    pruned = prune(rbm, largest_bias_first, 0.25, key=KEY)
    lowest = np.argmin(enumeration.moments(rbm).rates[1])
    np.testing.assert_array_equal(pruned.unit_indices[1], np.delete(np.arange(4), lowest))


def test_a_registered_rule_works_by_its_name_and_names_are_taken_once(rbm, monkeypatch):
    monkeypatch.setattr(rules_module, "RULES", dict(rules_module.RULES))  # the registry is clean afterwards
    pruning.register("signed-weight", lambda synapses: synapses.weights)
    found = prune(rbm, "signed-weight", 0.5, key=KEY)
    gone = np.setdiff1d(np.asarray(rbm.weights[0]), np.asarray(found.weights[0]))
    assert gone.max() < np.asarray(found.weights[0])[np.asarray(found.masks[0])].min()
    with pytest.raises(ValueError) as error:
        pruning.register("variance-fi", lambda synapses: synapses.weights)
    assert str(error.value) == "criterion 'variance-fi' is already registered; choose another name"


def test_a_criterion_of_the_wrong_shape_is_refused(rbm):
    def short(synapses: Synapses):
        return synapses.rates_pre

    with pytest.raises(ValueError) as error:
        prune(rbm, short, 0.5, key=KEY)
    assert str(error.value) == (
        "criterion 'short' must return one importance per synapse, shape (5, 4) for weight matrix 0, got shape (5,)"
    )


def test_importance_that_is_not_a_number_is_refused(rbm):
    with pytest.raises(ValueError, match="importance is NaN for 20 synapses; mend the criterion"):
        prune(rbm, lambda synapses: synapses.weights * jnp.nan, 0.5, key=KEY)


@pytest.mark.parametrize(
    ("criterion", "hint"),
    [("varience-fi", "did you mean 'variance-fi'?"), ("zzz", "choose one of them, or your own as module:function")],
)
def test_unknown_criterion_is_refused_with_the_nearest_name(rbm, criterion, hint):
    known = ", ".join(pruning.criterion_names())
    assert known.startswith(", ".join(LOCAL))
    with pytest.raises(ValueError) as error:
        prune(rbm, criterion, 0.5, key=KEY)
    assert str(error.value) == f"unknown criterion {criterion!r}; known are {known}; {hint}"


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan"), (0.5, 1.0)])
def test_fractions_outside_zero_and_one_are_refused(dbm, fraction):
    shown = fraction[-1] if isinstance(fraction, tuple) else fraction
    with pytest.raises(ValueError) as error:
        prune(dbm, "random", fraction, key=KEY)
    expected = f"fraction must lie between 0 and 1 (both excluded), got {float(shown)}; 0.1 removes a tenth"
    assert str(error.value) == expected


def test_a_number_of_fractions_that_does_not_fit_is_refused(dbm):
    with pytest.raises(ValueError) as error:
        prune(dbm, "random", (0.1, 0.2, 0.3), key=KEY)
    assert str(error.value) == (
        "fraction must be one number or 2 (one per weight matrix), got 3; a single number holds for every weight matrix"
    )


@pytest.mark.usefixtures("unchecked")
def test_unknown_zero_rule_is_refused(dbm):
    with pytest.raises(ValueError) as error:
        prune(dbm, "random", 0.5, key=KEY, zeros="some")  # type: ignore[arg-type]
    assert str(error.value) == "zeros must be 'all' or 'fraction', got 'some'"


RETRAINING = TrainingSettings(method="cd", n_epochs=2, batch_size=20)
SAMPLES = ImportanceSampling(n_chains=16, n_draws=4, n_burn_in=2, sampler="gibbs")


def test_removed_synapses_never_return_through_rounds_with_retraining():
    machine = _patches_machine()
    rows = np.asarray(sampling.random_states(machine, KEY, 40)[0])
    rounds = prune_and_retrain(
        machine, rows, "weight-magnitude", n_rounds=3, fraction=0.5, retraining=RETRAINING, key=KEY, importance=SAMPLES
    )
    before = np.ones((13, 70), bool)
    for found, left in zip(rounds, (455, 228, 114), strict=True):
        pruned, retrained = (np.asarray(m.masks[0]) for m in (found.pruned, found.retrained))
        assert found.pruned.n_synapses == left
        assert not (pruned & ~before).any()
        np.testing.assert_array_equal(retrained, pruned)
        weights = np.asarray(found.retrained.weights[0])
        np.testing.assert_array_equal(weights[~pruned], 0)
        assert (weights[pruned] != np.asarray(found.pruned.weights[0])[pruned]).any()
        before = pruned


def test_a_round_that_removed_nothing_does_not_retrain():
    """One per cent of twenty synapses rounds to none."""
    machine = Machine([np.ones((5, 4))], [np.zeros(5), np.zeros(4)])
    rows = np.zeros((40, 5), np.float32)
    (found,) = prune_and_retrain(
        machine, rows, "random", n_rounds=1, fraction=0.01, retraining=RETRAINING, key=KEY, importance="exact"
    )
    assert found.pruned.n_synapses == 20
    for a, b in zip(jax.tree.leaves(found.retrained), jax.tree.leaves(machine), strict=True):
        np.testing.assert_array_equal(a, b)
