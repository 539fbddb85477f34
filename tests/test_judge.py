"""The judge of rules against sums over all states: losses, greedy removal, convergence, correlations, regret."""

from __future__ import annotations

import math
import sys
from typing import Any

import jax
import numpy as np
import pytest
from scipy.stats import spearmanr

from brute_force import BruteForce
from conftest import small_machine
from secateur import likelihood
from secateur.model import enumeration
from secateur.model.machine import Machine
from secateur.model.trust import Verdict
from secateur.pruning import Judgement, greedy_removal, importance, judge, pruned_masks, remove, rule
from secateur.pruning import greedy as greedy_module
from secateur.training import TrainingSettings, converge

KEY = jax.random.key(2)


def _rows(machine: Machine, n: int = 40) -> np.ndarray:
    """Rows that the machine could have learnt, several of them equal."""
    other = BruteForce(machine.with_parameters(jax.tree.map(lambda a: 0.7 * a, machine.parameters)))
    return other.draws(n, np.random.default_rng(4))[0]


def _mean(machine: Machine, rows: np.ndarray) -> float:
    return float(BruteForce(machine).log_probability(rows).mean())


def _brute_greedy(
    machine: Machine, rows: np.ndarray, left: list[int]
) -> tuple[list[tuple[int, int, int]], list[float]]:
    """Every remaining synapse is tried at every step."""
    masks, before = [np.array(m) for m in machine.masks], _mean(machine, rows)
    order: list[tuple[int, int, int]] = []
    losses: list[float] = []
    while any(left):
        tried = {}
        for matrix, mask in enumerate(masks):
            for i, j in np.argwhere(mask) if left[matrix] else ():
                mask[i, j] = False
                tried[matrix, int(i), int(j)] = before - _mean(machine.with_masks(masks), rows)
                mask[i, j] = True
        best = min(tried, key=tried.__getitem__)
        masks[best[0]][best[1:]] = False
        left[best[0]] -= 1
        order.append(best)
        losses.append(tried[best])
    return order, losses


WIDE = Machine([np.random.default_rng(0).normal(0, 1, (5, 3))], [np.linspace(-1, 0.5, 5), np.array([0.2, -0.6, 0.1])])
TALL = Machine([np.random.default_rng(1).normal(0, 1, (3, 5))], [np.array([0.3, -0.4, 0.1]), np.linspace(-1, 0.5, 5)])
MASKED = small_machine("rbm", masked=True)
CASES = {"wide": (WIDE, [8]), "tall": (TALL, [8]), "masked": (MASKED, [5]), "deep": (None, [2, 3])}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("quick", [True, False])
def test_greedy_removal_is_that_of_trying_every_synapse(case, quick, monkeypatch):
    """By changed columns and by new sums, with either side the smaller."""
    machine, n_removed = CASES[case]
    machine = machine or small_machine("dbm-2-hidden", masked=True)
    if not quick:
        monkeypatch.setattr(sys.modules[greedy_module.__name__], "_MOST_STORED", 0)
    rows = _rows(machine)
    order, losses = _brute_greedy(machine, rows, list(n_removed))
    found = greedy_removal(machine, rows, n_removed[0] if len(n_removed) == 1 else n_removed)
    assert found.order.tolist() == [list(step) for step in order]
    np.testing.assert_allclose(found.losses, losses, atol=1e-10)
    for mask, old, number in zip(found.masks, machine.masks, n_removed, strict=True):
        assert (np.asarray(old) & ~mask).sum() == number and not (mask & ~np.asarray(old)).any()
    assert found.losses[-1] == pytest.approx(
        _mean(machine, rows) - _mean(machine.with_masks(found.masks), rows), abs=1e-10
    )


def test_greedy_removal_of_nothing_and_of_all(rbm):
    assert greedy_removal(rbm, _rows(rbm), 0).losses.shape == (0,)
    found = greedy_removal(rbm, _rows(rbm), 20)
    assert not found.masks[0].any() and len({tuple(step) for step in found.order.tolist()}) == 20


@pytest.mark.parametrize("n_removed", [21, [1, 1], []])
def test_too_many_or_too_few_numbers_are_told(rbm, n_removed):
    with pytest.raises(ValueError) as error:
        greedy_removal(rbm, _rows(rbm), n_removed)
    assert str(error.value) == (
        f"n_removed must be one number per weight matrix of at most 20 synapses, got {n_removed!r}; remove fewer"
    )


def test_the_loss_of_any_change_is_that_of_all_states(machine):
    """A set of synapses, and another parameter."""
    rows = _rows(machine)
    masks = [np.random.default_rng(1).random(m.shape) < 0.5 for m in machine.masks]
    for changed in (machine.with_masks(masks), machine.with_parameters(jax.tree.map(lambda a: -a, machine.parameters))):
        found = likelihood.loss_of(machine, changed, rows)
        assert found.value == pytest.approx(_mean(machine, rows) - _mean(changed, rows), abs=1e-10)
        assert (found.standard_error, found.quantity, found.verdict.trusted) == (0.0, "exact log p(v)", True)


def test_annealed_losses_are_near_or_withheld(monkeypatch, rbm):
    rows = _rows(rbm)
    cut = rbm.with_masks([np.eye(5, 4) == 0])
    truth = _mean(rbm, rows) - _mean(cut, rows)
    monkeypatch.setattr(sys.modules["secateur.likelihood.partition"], "can_be_summed", lambda _: False)
    with pytest.raises(ValueError, match="key must be a JAX random key"):
        likelihood.loss_of(rbm, cut, rows)
    found = likelihood.loss_of(rbm, cut, rows, KEY)
    assert found.quantity == "annealed log p(v)" and found.verdict.trusted
    assert 0 < found.standard_error < 0.02 and abs(found.value - truth) < 6 * found.standard_error
    doubtful = likelihood.LogPartition(1.0, 0.1, method="ais", verdict=Verdict(("it did not mix; draw more",)))
    monkeypatch.setattr(sys.modules["secateur.likelihood.loss"], "log_partition", lambda *_, **__: doubtful)
    withheld = likelihood.loss_of(rbm, cut, rows, KEY)
    assert math.isnan(withheld.value) and str(withheld.verdict) == "NOT TO BE TRUSTED: it did not mix; draw more"


@pytest.mark.parametrize("name", ["rbm", "dbm-2-hidden"])
def test_convergence_is_a_maximum_with_masks_held(name):
    """The gradient by sums over all states vanishes there."""
    machine = small_machine(name, masked=True)
    rows = _rows(machine, 400)
    found = converge(machine, rows, tolerance=1e-7)
    assert found.verdict.trusted and found.log_likelihood > _mean(machine, rows)
    assert found.log_likelihood == pytest.approx(_mean(found.machine, rows), abs=1e-5)
    weights, biases = BruteForce(found.machine).gradient(rows)
    assert max(abs(g).max() for g in (*weights, *biases)) < 2e-3
    for weight, mask in zip(found.machine.weights, machine.masks, strict=True):
        assert (np.asarray(weight)[~np.asarray(mask)] == 0).all()


def test_convergence_goes_without_the_matrix_and_says_when_it_was_stopped(rbm, monkeypatch):
    rows = _rows(rbm, 400)
    best = converge(rbm, rows).log_likelihood
    monkeypatch.setattr(sys.modules["secateur.training.convergence"], "MAX_DENSE", 0)
    assert converge(rbm, rows, tolerance=1e-4).log_likelihood == pytest.approx(best, abs=5e-3)
    stopped = converge(rbm, rows, max_iterations=2)
    assert stopped.n_iterations == 2
    assert str(stopped.verdict) == (
        f"NOT TO BE TRUSTED: 2 iterations were no end, the last ones gained {stopped.gain:.1e} nats; allow more"
    )
    with pytest.raises(ValueError, match=r"tolerance must be a positive number of nats, got 0; 0.001 suits most"):
        converge(rbm, rows, tolerance=0)


NAMES = ("likelihood-loss", "weight-magnitude", "optimal-brain-surgeon", "unit-kl", "random")


@pytest.fixture(scope="module")
def judged() -> tuple[Machine, np.ndarray, dict[tuple[str, int], Judgement]]:
    machine = small_machine("rbm", masked=False)
    rows = _rows(machine, 400)
    found = judge(machine, rows, NAMES, fraction=0.4, key=KEY, n_rounds=2, retraining="exact")
    return machine, rows, {(one.criterion, one.round): one for one in found}


def test_rules_are_judged_by_what_they_cost(judged):
    """Losses, regret and correlation of the first round again by sums over all states."""
    machine, rows, found = judged
    assert list(found) == [(name, number) for name in NAMES for number in (1, 2)]
    truth = np.zeros((5, 4))
    for i, j in np.ndindex(5, 4):
        mask = np.ones((5, 4), bool)
        mask[i, j] = False
        truth[i, j] = _mean(machine, rows) - _mean(machine.with_masks([mask]), rows)
    for name in ("likelihood-loss", "weight-magnitude", "optimal-brain-surgeon"):
        one = found[name, 1]
        pruned = remove(machine, rows, name, 0.4, KEY).pruned
        assert one.n_synapses == pruned.n_synapses == 12
        assert one.loss == pytest.approx(_mean(machine, rows) - _mean(pruned, rows), abs=1e-9)
        kept = greedy_removal(machine, rows, 8).masks
        greedy = _mean(machine, rows) - _mean(machine.with_masks(kept), rows)
        assert one.regret == pytest.approx(one.loss - greedy, abs=1e-9)
        scores = importance(machine, "exact", name, KEY, rows)[0]
        assert one.rank_correlation == pytest.approx(spearmanr(np.ravel(scores), truth.ravel()).statistic, abs=1e-12)
        assert one.verdict.trusted and one.loss_error == one.retrained_loss_error == 0
        retrained = converge(pruned, rows)
        assert one.retrained_loss == pytest.approx(_mean(machine, rows) - _mean(retrained.machine, rows), abs=1e-6)
        again = converge(machine.with_masks(kept), rows)
        assert one.retrained_regret == pytest.approx(again.log_likelihood - retrained.log_likelihood, abs=1e-5)


def test_the_loss_itself_orders_synapses_as_the_truth_does(judged):
    _, _, found = judged
    for number in (1, 2):
        assert found["likelihood-loss", number].rank_correlation == pytest.approx(1.0, abs=1e-12)
        assert found["unit-kl", number].rank_correlation == pytest.approx(1.0, abs=1e-12)
        assert abs(found["random", number].rank_correlation) < 0.9
        assert all(one.retrained_loss <= one.loss + 1e-6 for one in found.values())


def test_a_rule_is_judged_the_same_whichever_others_are(judged):
    machine, rows, found = judged
    (alone,) = judge(machine, rows, ["random"], fraction=0.4, key=KEY, retraining="exact")
    assert alone == found["random", 1]


def test_of_large_deep_machines_bounds_are_compared_and_said_so(monkeypatch, dbm):
    monkeypatch.setattr(enumeration, "MAX_UNITS", 2)
    known = likelihood.LogPartition(5.0, 0.1, method="ais")
    monkeypatch.setattr(sys.modules["secateur.likelihood.loss"], "log_partition", lambda *_, **__: known)
    (found,) = judge(dbm, _rows(dbm), ["weight-magnitude"], fraction=0.3, key=KEY)
    assert found.quantity == "lower bound on log p(v)" and math.isfinite(found.loss)
    assert math.isnan(found.rank_correlation)  # the loss by single removals would need sums over the hidden layers


def test_what_was_left_out_is_not_a_number(dbm):
    """A deep machine, whose greedy removal is summed anew; a rule that orders nothing has no correlation."""
    rows = _rows(dbm)
    flat = rule("flat", needs=())(lambda synapses: np.zeros(synapses.weights.shape))
    one, other = judge(dbm, rows, [flat, "likelihood-loss"], fraction=0.3, key=KEY)
    assert math.isnan(one.rank_correlation) and other.rank_correlation == pytest.approx(1.0)
    assert math.isnan(one.retrained_loss) and math.isnan(one.retrained_regret) and math.isfinite(one.regret)
    assert other.loss == pytest.approx(
        _mean(dbm, rows)
        - _mean(dbm.with_masks(pruned_masks(dbm, "exact", "likelihood-loss", 0.3, KEY, visible=rows)), rows)
    )
    (short,) = judge(dbm, rows, ["likelihood-loss"], fraction=0.3, key=KEY, against_greedy=False)
    assert math.isnan(short.regret) and (short.loss, short.rank_correlation) == (other.loss, other.rank_correlation)


def test_training_by_settings_is_judged_too(rbm):
    rows = _rows(rbm)
    settings = TrainingSettings(n_epochs=1, batch_size=10, n_chains=4)
    (found,) = judge(rbm, rows, ["variance-fi"], fraction=0.4, key=KEY, retraining=settings, against_greedy=False)
    assert math.isfinite(found.retrained_loss) and found.retrained_loss != found.loss


def test_what_cannot_be_summed_is_annealed_and_sampled(monkeypatch, rbm):
    rows = _rows(rbm)
    exact = judge(rbm, rows, ["variance-fi", "likelihood-loss"], fraction=0.4, key=KEY)
    monkeypatch.setattr(enumeration, "MAX_UNITS", 3)
    found = judge(rbm, rows, ["variance-fi", "likelihood-loss"], fraction=0.4, key=KEY)
    for one, truth in zip(found, exact, strict=True):
        assert one.verdict.trusted and math.isnan(one.regret) and "log p(v)" in one.quantity
        assert one.rank_correlation == pytest.approx(truth.rank_correlation, abs=0.1)
        assert 0 < one.loss_error < 0.05
    with pytest.raises(ValueError, match=r"exact retraining needs .* give retraining as TrainingSettings instead"):
        judge(rbm, rows, ["variance-fi"], fraction=0.4, key=KEY, retraining="exact")
    monkeypatch.setattr(
        sys.modules["secateur.pruning.judge"], "verdict_on", lambda *_: Verdict(("they did not mix; draw more",))
    )
    (doubtful,) = judge(rbm, rows, ["variance-fi"], fraction=0.4, key=KEY)
    assert math.isnan(doubtful.rank_correlation) and doubtful.loss == found[0].loss
    assert doubtful.verdict.reasons == (
        "importance: they did not mix; draw more",
        "loss by single removals: they did not mix; draw more",
    )
    with pytest.raises(ValueError, match=r"exact greedy removal needs .* judge by rules alone"):
        greedy_removal(rbm, rows, 3)


@pytest.mark.usefixtures("unchecked")
def test_wrong_words_are_told(rbm):
    arguments: dict[str, Any] = {"fraction": 0.4, "key": KEY}
    with pytest.raises(ValueError, match="retraining must be 'exact', TrainingSettings or None, got 'long'"):
        judge(rbm, _rows(rbm), ["random"], retraining="long", **arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown criterion 'randm'"):
        judge(rbm, _rows(rbm), ["randm"], **arguments)


def test_twin_removal_in_one_go_is_not_greedy(rbm):
    """A judge that did not look anew after every step would take other synapses."""
    rows = _rows(rbm)
    scores = np.asarray(importance(rbm, "exact", "likelihood-loss", KEY, rows)[0]).ravel()
    at_once = np.argsort(scores)[:12]
    greedy = greedy_removal(rbm, rows, 12)
    assert set(at_once) != {i * 4 + j for _, i, j in greedy.order.tolist()}
    mask = np.ones(20, bool)
    mask[at_once] = False
    loss = _mean(rbm, rows) - _mean(rbm.with_masks([mask.reshape(5, 4)]), rows)
    assert greedy.losses[-1] < loss


@pytest.mark.parametrize("name", ["rbm", "dbm-2-hidden"])
def test_greedy_removal_is_a_rule_too(name):
    """Importance is the number of the step; half of the synapses go as in half of the steps."""
    machine = small_machine(name, masked=True)
    rows = _rows(machine)
    path = greedy_removal(machine, rows, machine.synapse_counts)
    steps = importance(machine, None, "greedy-likelihood", KEY, rows)
    for number, (matrix, i, j) in enumerate(path.order.tolist(), start=1):
        assert steps[matrix][i, j] == number
    if name == "rbm":
        (mask,) = pruned_masks(machine, None, "greedy-likelihood", 0.5, KEY, visible=rows)
        np.testing.assert_array_equal(mask, greedy_removal(machine, rows, 7).masks[0])
        (one,) = judge(machine, rows, ["greedy-likelihood"], fraction=0.5, key=KEY)
        assert one.regret == pytest.approx(0, abs=1e-12)
