"""Machines fitted to words, and the comparison of models on held-out epochs."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from pairwise_brute_force import PairwiseBruteForce, small_model
from secateur import likelihood
from secateur.likelihood import LogPartition
from secateur.model.machine import Machine
from secateur.model.trust import Verdict
from secateur.recordings import choose_n_hidden, compare, default_settings, fit_machine, fitting
from secateur.training import TrainingSettings, fit_independent

KEY = jax.random.key(0)
EPOCHS = np.repeat(np.arange(10), 100)
BRIEF = TrainingSettings(n_epochs=8, batch_size=50, n_chains=50, optimizer="adam", learning_rate=0.02)


@pytest.fixture(scope="module")
def words() -> np.ndarray:
    return PairwiseBruteForce(small_model()).words(1000)


@pytest.fixture(scope="module")
def comparison(words):
    return compare(words, EPOCHS, KEY, n_hidden=2, settings=BRIEF, held_out=(0, 2))


def _value(table, model, quantity, unit="nats/bin"):
    rows = table[(table["model"] == model) & (table["quantity"] == quantity) & (table["unit"] == unit)]
    return rows.iloc[0]


def test_held_out_likelihood_of_the_independent_model_by_hand(words, comparison):
    split = comparison.folds
    expected = []
    for fold in (0, 2):
        test = split.held_out(fold)
        rates = (words[~test].sum(axis=0) + 0.5) / ((~test).sum() + 1)
        expected.append((words[test] * np.log(rates) + (1 - words[test]) * np.log(1 - rates)).sum(axis=1))
    total, held = np.concatenate(expected).sum(), split.held_out(0) | split.held_out(2)
    found = _value(comparison.table, "independent", "log-likelihood")
    assert found["value"] == pytest.approx(total / held.sum(), abs=1e-5)
    per_spike = _value(comparison.table, "independent", "log-likelihood", "nats/spike")
    assert per_spike["value"] == pytest.approx(total / words[held].sum(), abs=1e-5)
    assert comparison.per_epoch.query("model == 'independent'")["log_likelihood"].sum() == pytest.approx(
        total, abs=1e-2
    )
    assert comparison.per_epoch["bins"].sum() == 3 * held.sum()


def test_models_stand_beside_each_other_with_intervals(words, comparison):
    table = comparison.table
    assert list(dict.fromkeys(table["model"])) == ["independent", "pairwise", "rbm-2"]
    assert ((table["low"] <= table["value"]) & (table["value"] <= table["high"])).all()
    for other in ("independent", "pairwise"):
        gain = _value(table, "rbm-2", f"gain over {other}")["value"]
        difference = [_value(table, model, "log-likelihood")["value"] for model in ("rbm-2", other)]
        assert gain == pytest.approx(difference[0] - difference[1], abs=1e-9)
    # The words come from a pairwise model, whose gain is known.
    assert _value(table, "pairwise", "gain over independent")["low"] > 0
    assert comparison.sentences[0] == "5 folds, of 10 blocks: whole epochs; held out: 0, 2."
    assert any("pairwise predicts better than independent on held-out bins: +" in s for s in comparison.sentences)
    assert (table["log_z_error"] == 0).all()


def test_gains_are_judged_within_resamples(comparison):
    """The drift that all models share cancels: the interval of a gain is narrower than those of its terms."""
    gain = _value(comparison.table, "pairwise", "gain over independent")
    alone = _value(comparison.table, "pairwise", "log-likelihood")
    assert gain["high"] - gain["low"] < 0.8 * (alone["high"] - alone["low"])


def test_the_error_of_log_z_widens_the_intervals_and_too_few_weights_are_told(words, monkeypatch):
    def uncertain(model, key, rates):
        exact = likelihood.log_partition(model)
        known = isinstance(model, Machine)
        verdict = Verdict() if known else Verdict(("effective sample size 3.0; take more chains",))
        return LogPartition(exact.estimate, 0.0 if known else 0.5, verdict=verdict)

    monkeypatch.setattr(fitting, "log_partition", uncertain)
    found = compare(words, EPOCHS, KEY, n_hidden=2, settings=BRIEF, n_bootstrap=2000)
    width = {m: np.ptp(_value(found.table, m, "log-likelihood")[["low", "high"]]) for m in ("pairwise", "rbm-2")}
    # Independent errors add in squares; 0.5 nats are 1.96 nats wide.
    assert width["pairwise"] == pytest.approx(np.hypot(width["rbm-2"], 2 * 1.96 * 0.5), rel=0.1)
    assert _value(found.table, "pairwise", "gain over independent")["log_z_error"] == pytest.approx(np.hypot(0.5, 0.5))
    told = "log Z of pairwise (fold 0), and so its likelihood, is NOT TO BE TRUSTED: effective sample size 3"
    assert any(s.startswith(told) for s in found.sentences)


def test_fits_are_announced_and_repeat_with_the_key(words, comparison):
    told = []
    again = compare(
        words, EPOCHS, KEY, n_hidden=2, settings=BRIEF, held_out=(0, 2), on_fit=lambda *fit: told.append(fit)
    )
    assert told == [(m, fold) for fold in (0, 2) for m in ("independent", "pairwise", "rbm-2")]
    np.testing.assert_array_equal(again.table["value"], comparison.table["value"])


def test_a_machine_fitted_to_words_learns_more_than_their_rates(words):
    """Log-likelihood of the training words above that of the independent model, which has their rates."""
    words = words[:800]
    machine = fit_machine(words, KEY, n_hidden=2, settings=BRIEF.model_copy(update={"n_epochs": 150}))
    assert machine.layer_sizes == (6, 2)
    independent = fit_independent(words)
    reference = fitting.log_probability(independent, words, likelihood.log_partition(independent)).mean()
    log_z = fitting.log_partition(machine, KEY, words.mean(axis=0))
    assert log_z.standard_error == 0
    assert fitting.log_probability(machine, words, log_z).mean() > reference + 0.02


def test_deep_machines_are_pretrained_layer_by_layer(words, monkeypatch):
    called = []

    def recorded(name):
        def stand_in(machine, rows, settings, key, **options):
            called.append((name, machine.layer_sizes, rows.shape, settings))
            return machine, None

        return stand_in

    for name in ("pretrain", "train"):
        monkeypatch.setattr(fitting, name, recorded(name))
    assert fit_machine(words, KEY, n_hidden=(3, 2), settings=BRIEF).layer_sizes == (6, 3, 2)
    assert called == [(name, (6, 3, 2), (1000, 6), BRIEF) for name in ("pretrain", "train")]


def test_number_of_hidden_units_by_cross_validation(words):
    told = []
    chosen, table = choose_n_hidden(
        words, EPOCHS, KEY, candidates=(2, 1), settings=BRIEF, on_fit=lambda *fit: told.append(fit)
    )
    assert list(table["n_hidden"]) == [1, 2] and table["chosen"].sum() == 1
    assert chosen == table.loc[table["chosen"], "n_hidden"].item()
    assert table["difference"].max() == 0 and told[0] == ("rbm-1", 0) and len(told) == 10
    within = table[table["difference"] >= -table["standard_error"]]
    assert chosen == within["n_hidden"].min()


@pytest.mark.parametrize(("n_bins", "n_epochs", "batch"), [(181_875, 17, 500), (1000, 600, 100), (5, 1200, 1)])
def test_default_settings_make_about_equally_many_updates(n_bins, n_epochs, batch):
    found = default_settings(n_bins)
    assert (found.n_epochs, found.batch_size) == (n_epochs, batch)


def test_bad_input_is_refused(words):
    cases = [
        (
            lambda: compare(words, EPOCHS[:-1], KEY),
            r"epochs must hold one number per bin, \(1000,\), got shape \(999,\)",
        ),
        (lambda: compare(words, EPOCHS, KEY, held_out=(5,)), r"held_out must name folds from 0 to 4, got \(5,\)"),
        (lambda: compare(words * 2, EPOCHS, KEY), "states must be 0 or 1, got 2; clip counts to 1 first"),
        (
            lambda: choose_n_hidden(words, EPOCHS, KEY, candidates=(0, 3)),
            r"positive numbers of hidden units, got \(0, 3\)",
        ),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
