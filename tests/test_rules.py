"""Rules as one kind of object: what they declare, what they are given, and what is said where they go wrong."""

from __future__ import annotations

import sys
from typing import Any

import jax
import numpy as np
import pytest

from conftest import small_machine
from secateur import fisher, pruning, sampling
from secateur.model import enumeration
from secateur.model.machine import Machine
from secateur.model.moments import Moments, Statistics
from secateur.model.randomness import child_key
from secateur.model.trials import stack, unstack
from secateur.model.trust import NotToBeTrusted, Verdict
from secateur.pruning import ImportanceSampling, MoreRemoved, Rule, importance, prune, prune_and_retrain, removed, rule
from secateur.pruning import rules as registry
from secateur.pruning.rules import RULES
from statistical import quantile

KEY = jax.random.key(5)
NEEDLESS = [name for name, one in RULES.items() if not one.needs]
SAMPLES = ImportanceSampling(n_chains=16, n_draws=4, n_burn_in=2, sampler="gibbs")
MANY_SAMPLES = ImportanceSampling(n_chains=50, n_draws=40)  # enough to be trusted


@pytest.fixture
def own_rules(monkeypatch):
    """What a test registers is gone after it."""
    monkeypatch.setattr(registry, "RULES", dict(RULES))


@pytest.fixture
def no_averages(monkeypatch):
    """Averages, however they are asked for, raise."""

    def refuse(*_, **__):
        raise AssertionError("averages were taken")

    monkeypatch.setattr(enumeration, "moments", refuse)
    monkeypatch.setattr(sampling, "moments", refuse)
    monkeypatch.setattr(sampling, "sample", refuse)
    monkeypatch.setattr(fisher, "moments_from", refuse)


def _large() -> Machine:
    """Too large to be enumerated, small enough to be quick."""
    return Machine.random((30, 25, 24), jax.random.key(0), weight_scale=0.5)


def test_what_the_built_in_rules_declare():
    found = {name: (one.ranks, set(one.needs)) for name, one in RULES.items()}
    assert found == {
        "variance-fi": ("synapses", {"coincidences"}),
        "heuristic-fi": ("synapses", {"rates"}),
        "weight-magnitude": ("synapses", set()),
        "random": ("synapses", set()),
        "anti-fi": ("synapses", {"coincidences"}),
        "fi-times-weight-squared": ("synapses", {"coincidences"}),
        "decimation-kl": ("synapses", {"coincidences"}),
        "likelihood-loss": ("synapses", {"coincidences", "rows"}),
        "greedy-likelihood": ("synapses", {"rows"}),
        "optimal-brain-surgeon": ("synapses", {"states"}),
        "eigenvector-fi": ("synapses", {"states"}),
        "random-units": ("units", set()),
        "weakest-units": ("units", set()),
        "least-fi-units": ("units", {"coincidences"}),
        "unit-kl": ("units", {"rates", "rows"}),
        "unit-information": ("units", {"rows"}),
    }
    of_units = [name for name in RULES if pruning.ranks_units(name)]
    assert of_units == ["random-units", "weakest-units", "least-fi-units", "unit-kl", "unit-information"]
    assert not pruning.ranks_units("unknown")


def test_importances_of_units_are_their_formulas(machine):
    """Against sums over single synapses in plain NumPy."""
    exact, masks = enumeration.moments(machine), [np.asarray(m) for m in machine.masks]
    found = {name: importance(machine, None, name, KEY) for name in ("weakest-units", "least-fi-units")}
    assert [len(arrays) for arrays in found.values()] == [machine.n_layers - 1] * 2
    for layer in range(1, machine.n_layers):
        for unit in range(machine.layer_sizes[layer]):
            places: list[Any] = [(layer - 1, i, unit) for i in np.flatnonzero(masks[layer - 1][:, unit])]
            if layer < machine.n_layers - 1:
                places += [(layer, unit, j) for j in np.flatnonzero(masks[layer][unit])]
            weights = [abs(float(machine.weights[matrix][i, j])) for matrix, i, j in places]
            rates = np.array([exact.coincidences[matrix][i, j] for matrix, i, j in places])
            assert found["weakest-units"][layer - 1][unit] == pytest.approx(sum(weights), rel=1e-5)
            expected = (rates * (1 - rates)).mean() if places else 0
            assert found["least-fi-units"][layer - 1][unit] == pytest.approx(expected, rel=1e-6)


def test_a_rule_of_the_leading_eigenvector_is_that_of_fisher(dbm):
    found = importance(dbm, None, "eigenvector-fi", KEY)
    vectors = fisher.matrix(dbm, "exact").top(1, key=KEY).vectors.weights
    for score, vector in zip(found, vectors, strict=True):
        np.testing.assert_allclose(score, abs(np.asarray(vector)[0]), rtol=1e-6)


@pytest.mark.usefixtures("no_averages")
@pytest.mark.parametrize("name", NEEDLESS)
def test_a_rule_that_needs_no_averages_gets_none(name):
    machine = _large()
    pruned = prune(machine, name, 0.5, key=KEY)
    assert pruned.n_synapses < 0.6 * machine.n_synapses
    assert importance(machine, None, name, KEY)
    for found in prune_and_retrain(machine, None, name, n_rounds=2, fraction=0.5, retraining=None, key=KEY):
        assert found.sources == [None] and found.moments is None


@pytest.mark.usefixtures("no_averages")
@pytest.mark.parametrize("name", [name for name, one in RULES.items() if {"rates", "coincidences"} & set(one.needs)])
def test_twin_a_rule_that_needs_averages_asks_for_them(name):
    with pytest.raises(AssertionError, match="averages were taken"):
        prune(small_machine("rbm", masked=False), name, 0.5, key=KEY)


def test_a_rule_without_needs_prunes_a_machine_of_any_size():
    machine = Machine.random((784, 500, 500), jax.random.key(0))
    pruned = prune(machine, "random", 0.5, key=KEY)
    assert pruned.synapse_counts == (784 * 250, 500 * 250)


@pytest.mark.parametrize("name", ["variance-fi", "least-fi-units", "eigenvector-fi"])
def test_without_a_source_averages_are_exact_where_they_can_be(dbm, name):
    found, expected = prune(dbm, name, 0.5, key=KEY), prune(dbm, name, 0.5, key=KEY, source="exact")
    for one, other in zip(found.masks, expected.masks, strict=True):
        np.testing.assert_array_equal(one, other)


def test_without_a_source_a_large_machine_is_sampled():
    machine = _large()
    (moments,) = pruning.model_moments(machine, ImportanceSampling(), child_key(KEY, "importance"))
    expected = prune(machine, "variance-fi", 0.5, key=KEY, source=moments)
    found = prune(machine, "variance-fi", 0.5, key=KEY)
    for one, other in zip(found.masks, expected.masks, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("ranks", "needs", "field", "declared"),
    [
        ("synapses", (), "rates_pre", "'rates'"),
        ("synapses", (), "rates_post", "'rates'"),
        ("synapses", ("rates",), "coincidences", "'coincidences', 'rates'"),
        ("units", ("coincidences",), "rates", "'coincidences', 'rates'"),
        ("units", "rates", "coincidences_above", "'coincidences', 'rates'"),
        ("units", (), "coincidences_below", "'coincidences'"),
    ],
)
def test_looking_at_what_is_not_declared_is_told(rbm, ranks, needs, field, declared):
    nosy = Rule("nosy", lambda given: getattr(given, field), ranks, needs)
    with pytest.raises(ValueError) as error:
        prune(rbm, nosy, 0.5, key=KEY, source="exact")
    assert str(error.value) == (
        f"criterion 'nosy' looks at {field}, which it does not declare; make it with needs=({declared},)"
    )


def test_what_a_rule_for_units_is_given(dbm):
    seen = []

    @rule("look", ranks="units")
    def look(units):
        seen.append(units)
        return units.rates

    found = importance(dbm, "exact", look, KEY)
    exact = enumeration.moments(dbm)
    for layer, (units, score) in enumerate(zip(seen, found, strict=True), start=1):
        assert units.layer == layer
        np.testing.assert_array_equal(score, exact.rates[layer])
        np.testing.assert_allclose(units.biases, dbm.biases[layer], rtol=1e-7)
        np.testing.assert_allclose(units.weights_below, dbm.weights[layer - 1], rtol=1e-7)
        np.testing.assert_array_equal(units.masks_below, dbm.masks[layer - 1])
        np.testing.assert_array_equal(units.coincidences_below, exact.coincidences[layer - 1])
    np.testing.assert_array_equal(seen[0].masks_above, dbm.masks[1])
    np.testing.assert_array_equal(seen[0].coincidences_above, exact.coincidences[1])
    assert seen[1].weights_above.shape == seen[1].masks_above.shape == seen[1].coincidences_above.shape == (5, 0)
    assert look(seen[0]) is not None  # a rule can be called like its function


def _quiet_last(units):
    """The busiest units go first."""
    return -units.rates


@pytest.mark.usefixtures("own_rules")
@pytest.mark.parametrize("ready", [True, False])
def test_a_users_rule_for_units_works_by_its_name(ready):
    machine = small_machine("rbm", masked=False)
    if ready:
        pruning.register(Rule("quiet-last", _quiet_last, "units", ("rates",)))
    else:
        pruning.register("quiet-last", _quiet_last, ranks="units", needs=("rates",))
    assert "quiet-last" in pruning.criterion_names() and pruning.ranks_units("quiet-last")
    busiest = int(np.argmax(enumeration.moments(machine).rates[1]))
    left = np.delete(np.arange(4), busiest)
    np.testing.assert_array_equal(prune(machine, "quiet-last", 0.25, key=KEY).unit_indices[1], left)
    (found,) = prune_and_retrain(machine, None, "quiet-last", n_rounds=1, fraction=0.25, retraining=None, key=KEY)
    np.testing.assert_array_equal(np.asarray(found.pruned.masks[0]).any(axis=0), np.arange(4) != busiest)
    assert found.counts == [(pruning.RemovalCount(5, 5, 0, by_units=True),)]


def test_a_rule_of_a_module_keeps_what_it_declares(tmp_path, monkeypatch, rbm):
    (tmp_path / "unit_rules_of_mine.py").write_text(
        "import secateur as sc\n"
        "@sc.pruning.rule('busy', ranks='units', needs=('rates',))\n"
        "def busy(units):\n    return units.rates\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    found = pruning.rule_named("unit_rules_of_mine:busy")
    assert (found.name, found.ranks, found.needs) == ("unit_rules_of_mine:busy", "units", {"rates"})
    np.testing.assert_array_equal(importance(rbm, None, found, KEY)[0], enumeration.moments(rbm).rates[1])


@pytest.mark.usefixtures("own_rules")
def test_a_rule_can_be_registered_under_another_name(rbm):
    pruning.register("blind", RULES["random-units"])
    assert pruning.rule_named("blind") == Rule("blind", RULES["random-units"].function, "units", ())
    with pytest.raises(TypeError) as error:
        pruning.register("nothing")
    assert str(error.value) == "register takes a rule, or a name and a function, got 'nothing' and None"


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"ranks": "layers"}, "ranks of rule 'mine' must be 'synapses' or 'units', got 'layers'"),
        (
            {"needs": ("rate",)},
            "needs of rule 'mine' must be among 'rates', 'coincidences', 'states', 'rows', got 'rate'; did you mean "
            "'rates'?",
        ),
        (
            {"needs": "weights"},
            "needs of rule 'mine' must be among 'rates', 'coincidences', 'states', 'rows', got 'weights'; weights are "
            "given without being asked for",
        ),
    ],
)
def test_a_wrong_declaration_is_refused(declared, message):
    with pytest.raises(ValueError) as error:
        rule("mine", **declared)(_quiet_last)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("needs", "function", "message"),
    [
        (
            ("rates",),
            lambda units: units.rates[:2],
            "must return one importance per unit, shape (4,) for layer 1, got shape (2,)",
        ),
        ("states", lambda whole: None, "must return 1 array(s), one importance per unit, in a tuple, got a NoneType"),
        ("states", lambda whole: (1, 2), "must return 1 array(s), one importance per unit, in a tuple, got 2"),
        (
            "states",
            lambda whole: whole.machine.biases[:1],
            "must return one importance per unit, shape (4,) for layer 1, got shape (5,)",
        ),
    ],
)
def test_a_rule_for_units_that_returns_something_else_is_told(rbm, needs, function, message):
    with pytest.raises(ValueError) as error:
        prune(rbm, Rule("mine", function, "units", needs), 0.5, key=KEY)
    assert str(error.value) == f"criterion 'mine' {message}"


def test_importance_of_a_unit_that_is_not_a_number_is_refused(rbm):
    with pytest.raises(ValueError) as error:
        prune(rbm, Rule("mine", lambda units: units.biases * np.nan, "units", ()), 0.5, key=KEY)
    assert str(error.value) == "criterion 'mine', layer 1: importance is NaN for 4 units; mend the criterion"


def test_a_compiled_function_is_a_rule(rbm):
    compiled = importance(rbm, "exact", jax.jit(lambda given: given.coincidences * given.weights), KEY)
    plain = importance(rbm, "exact", lambda given: given.coincidences * given.weights, KEY)
    np.testing.assert_allclose(compiled[0], plain[0], rtol=1e-6)


@pytest.mark.parametrize("name", RULES)
def test_rules_choose_the_same_where_64_bit_jax_is_switched_on(dbm, name):
    rows = np.random.default_rng(0).integers(0, 2, (6, 4))
    expected = prune(dbm, name, 0.5, key=KEY, visible=rows).masks
    with jax.enable_x64(True):
        found = prune(dbm, name, 0.5, key=KEY, visible=rows).masks
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def _times_kept(criterion: Rule) -> np.ndarray:
    machine, n_keys = Machine([np.ones((4, 6))], [np.zeros(4), np.zeros(6)]), 400
    keys = jax.random.split(KEY, n_keys)
    return np.sum([pruning.pruned_masks(machine, None, criterion, 0.5, key)[0] for key in keys], axis=0) / n_keys


@pytest.mark.parametrize("planted", [False, True])
def test_random_removal_is_blind_and_a_planted_preference_is_seen(planted):
    """Every synapse stays in half of 400 removals: the standard error of its share is 0.025."""
    blind = RULES["random"]
    preferred = 0.2 * (np.arange(24).reshape(4, 6) == 7).astype(np.float32)
    faulty = Rule("faulty", lambda given: blind(given) + preferred, needs=())
    distance = abs(_times_kept(faulty if planted else blind) - 0.5).max() / np.sqrt(0.25 / 400)
    assert (distance > quantile(24)) == planted


def _rare() -> tuple[Machine, Moments]:
    """Ten of thirty visible units fire once in 160,000 states, so that no draw has them on."""
    bias = np.where(np.arange(30) < 10, -12.0, 0.0)
    machine = Machine([np.full((30, 25), 1e-3)], [bias, np.zeros(25)])
    return machine, pruning.model_moments(machine, MANY_SAMPLES, KEY)[0]


def test_a_sampled_zero_takes_no_more_than_the_fraction_and_is_not_called_exact():
    machine, moments = _rare()
    unseen = int((np.asarray(moments.coincidences[0]) == 0).sum())
    assert 200 < unseen <= 250
    assert prune(machine, "variance-fi", 0.1, key=KEY, source=moments).n_synapses == 675
    rounds = prune_and_retrain(
        machine, None, "variance-fi", n_rounds=1, fraction=0.1, retraining=None, key=KEY, importance=MANY_SAMPLES
    )
    (found,) = rounds
    ((count,),) = found.counts
    assert (count.asked, count.gone, count.exact) == (75, 75, False) and count.n_zero > 75
    assert str(removed(machine, found.pruned, found.counts[0])).splitlines()[0] == (
        f"synapses 0-1: 750 -> 675 (75 go, chosen at random from the {count.n_zero} whose importance cannot be told "
        "from zero in the draws)"
    )
    with pytest.warns(MoreRemoved) as warned:
        everything = prune(machine, "variance-fi", 0.1, key=KEY, source=moments, zeros="all")
    assert everything.n_synapses == 750 - unseen
    assert str(warned[0].message) == (
        f"weight matrix 0: {unseen} of 750 synapses went, {unseen - 75} beyond the fraction, whose importance cannot "
        "be told from zero in the draws; say zeros='fraction' to remove no more than was asked for"
    )


def test_exactly_none_of_them_has_importance_zero():
    """Twin of the test above: what enumeration says of the same machine."""
    machine = Machine([np.full((30, 5), 1e-3)], [np.where(np.arange(30) < 10, -12.0, 0.0), np.zeros(5)])
    (found,) = prune_and_retrain(
        machine, None, "variance-fi", n_rounds=1, fraction=0.1, retraining=None, key=KEY, zeros="all"
    )
    assert found.counts == [(pruning.RemovalCount(15, 15, 0),)]
    assert found.moments is not None and found.moments[0].diagnostics is None


def test_synapses_that_go_with_dead_units_are_told():
    """The first hidden unit keeps nothing above it, so its four synapses below go beyond the fraction."""
    weights = [np.ones((4, 3)), np.array([[0.1, 0.1], [1, 1], [1, 1]])]
    machine = Machine(weights, [np.zeros(n) for n in (4, 3, 2)])
    (found,) = prune_and_retrain(
        machine, None, "weight-magnitude", n_rounds=1, fraction=(0.01, 1 / 3), retraining=None, key=KEY
    )
    assert str(removed(machine, found.pruned, found.counts[0])).splitlines()[:2] == [
        "synapses 0-1: 12 -> 8 (4 go, 4 beyond the fraction, with units that die)",
        "synapses 1-2: 6 -> 4 (2 go)",
    ]


def test_importance_from_draws_that_are_not_to_be_trusted_is_told(rbm, monkeypatch):
    module = sys.modules["secateur.pruning.prune"]  # as an attribute it is the function of the same name
    monkeypatch.setattr(module, "verdict_on", lambda *_: Verdict(("the chains disagree; draw more",)))
    with pytest.warns(NotToBeTrusted) as warned:
        prune(rbm, "variance-fi", 0.5, key=KEY)
    assert [str(warning.message) for warning in warned] == [
        "the importance by variance-fi is NOT TO BE TRUSTED: the chains disagree; draw more"
    ]
    prune(rbm, "weight-magnitude", 0.5, key=KEY)  # needs no draws, so no verdict concerns it


def test_stacked_trials_are_pruned_like_single_ones():
    """Rules with and without averages, for synapses and for units."""
    trials = [small_machine("dbm-2-hidden", masked=True, seed=seed) for seed in (0, 1)]
    keys = jax.random.split(KEY, 2)
    for name in ("variance-fi", "random", "least-fi-units", "eigenvector-fi"):
        arguments: dict[str, Any] = {"n_rounds": 2, "fraction": 0.3, "retraining": None, "importance": "exact"}
        together = list(prune_and_retrain(stack(trials), None, name, key=keys, **arguments))
        for place, (one, key) in enumerate(zip(trials, keys, strict=True)):
            alone = prune_and_retrain(one, None, name, key=key, **arguments)
            for joint, single in zip(together, alone, strict=True):
                assert joint.counts[place] == single.counts[0]
                for a, b in zip(unstack(joint.pruned)[place].masks, single.pruned.masks, strict=True):
                    np.testing.assert_array_equal(a, b)


def test_the_moments_of_a_round_can_be_measured_again(rbm):
    """Studies measure units by them where the rule needed none."""
    (found,) = prune_and_retrain(
        rbm, None, "variance-fi", n_rounds=1, fraction=0.5, retraining=None, key=KEY, importance=SAMPLES
    )
    (again,) = pruning.model_moments(rbm, SAMPLES, pruning.importance_keys(rbm, KEY, 1))
    assert found.moments is not None
    for a, b in zip(jax.tree.leaves(found.moments[0]), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_unit_without_synapses_has_no_information():
    machine = Machine([np.ones((3, 2))], [np.zeros(3), np.zeros(2)], [np.array([[True, False]] * 3)])
    moments = Moments.exact(Statistics((np.full(3, 0.5), np.full(2, 0.5)), (np.full((3, 2), 0.25),)))
    np.testing.assert_allclose(importance(machine, moments, "least-fi-units", KEY)[0], [3 / 16, 0])
