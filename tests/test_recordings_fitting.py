"""Machines fitted to words, and the comparison of models on held-out epochs."""

from __future__ import annotations

import jax
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pairwise_brute_force import PairwiseBruteForce, small_model
from secateur import likelihood
from secateur.likelihood import LogPartition
from secateur.model.machine import Machine
from secateur.model.trust import Verdict
from secateur.recordings import choose_n_hidden, compare, default_settings, fit_machine, fitting
from secateur.recordings import comparison as comparison_module
from secateur.recordings.comparison import ratio_interval, summarise
from secateur.training import TrainingSettings, fit_independent

KEY = jax.random.key(0)
EPOCHS = np.repeat(np.arange(10), 100)
BRIEF = TrainingSettings(n_epochs=8, batch_size=50, n_chains=50, optimizer="adam", learning_rate=0.02)


@pytest.fixture(scope="module")
def words() -> np.ndarray:
    return PairwiseBruteForce(small_model()).words(1000)


@pytest.fixture(scope="module")
def comparison(words):
    return compare(words, EPOCHS, KEY, n_hidden=2, settings=BRIEF, n_folds=3)


def _value(table, model, quantity, unit="nats/bin"):
    rows = table[(table["model"] == model) & (table["quantity"] == quantity) & (table["unit"] == unit)]
    return rows.iloc[0]


def test_held_out_likelihood_of_the_independent_model_by_hand(words, comparison):
    split = comparison.folds
    total = 0.0
    for fold in range(3):
        test = split.held_out(fold)
        rates = (words[~test].sum(axis=0) + 0.5) / ((~test).sum() + 1)
        total += (words[test] * np.log(rates) + (1 - words[test]) * np.log(1 - rates)).sum()
    found = _value(comparison.table, "independent", "log-likelihood")
    assert found["value"] == pytest.approx(total / len(words), abs=1e-5)
    per_spike = _value(comparison.table, "independent", "log-likelihood", "nats/spike")
    assert per_spike["value"] == pytest.approx(total / words.sum(), abs=1e-5)
    assert comparison.per_epoch["bins"].sum() == 3 * len(words)  # every bin is held out once, from three models


def test_models_stand_beside_each_other_with_intervals(comparison):
    table = comparison.table
    assert list(dict.fromkeys(table["model"])) == ["independent", "pairwise", "rbm-2"]
    assert ((table["low"] < table["value"]) & (table["value"] < table["high"])).all()
    for other in ("independent", "pairwise"):
        gain = _value(table, "rbm-2", f"gain over {other}")["value"]
        difference = [_value(table, model, "log-likelihood")["value"] for model in ("rbm-2", other)]
        assert gain == pytest.approx(difference[0] - difference[1], abs=1e-9)
    # The words come from a pairwise model, whose gain is known.
    assert _value(table, "pairwise", "gain over independent")["verdict"] == "better"
    assert comparison.sentences[0].startswith("3 folds of 40 blocks of 25 bins or more, cut from 10 epochs")
    assert any("pairwise predicts better than independent on held-out bins: +" in s for s in comparison.sentences)
    assert (table["log_z_error"] == 0).all()


def test_the_interval_of_a_gain_by_hand(comparison):
    """Residuals of block sums from their share of the gain, Student's quantile, and the factor of three folds."""
    sums = comparison.per_epoch.pivot(index="block", columns="model", values="log_likelihood")
    bins = comparison.per_epoch.query("model == 'pairwise'").set_index("block")["bins"]
    gain = sums["pairwise"] - sums["independent"]
    mean, n = gain.sum() / bins.sum(), len(gain)
    error = np.sqrt(n / (n - 1) * ((gain - mean * bins) ** 2).sum() * (1 + 3 / 2)) / bins.sum()
    found = _value(comparison.table, "pairwise", "gain over independent")
    assert found["high"] - found["value"] == pytest.approx(stats.t.ppf(0.975, n - 1) * error)
    assert found["value"] - found["low"] == pytest.approx(found["high"] - found["value"])


def test_below_eight_blocks_there_is_no_interval_and_no_verdict():
    found = ratio_interval(np.arange(7.0), np.ones(7))
    assert found[0] == 3 and np.isnan(found[1:]).all()
    assert np.isfinite(ratio_interval(np.arange(8.0), np.ones(8))).all()
    words = PairwiseBruteForce(small_model(3)).words(105)
    short = compare(words, np.repeat(np.arange(7), 15), KEY, n_hidden=1, settings=BRIEF, n_folds=2)
    gains = short.table[short.table["verdict"] != ""]
    assert (gains["verdict"] == "none").all() and gains[["low", "high"]].isna().all(axis=None)
    told = [s for s in short.sentences if s.startswith("No verdict on pairwise against independent: ")]
    assert told[0].endswith("on 7 held-out blocks, and fewer than 8 give no interval.")


def test_losing_what_parameters_cost_is_no_verdict_and_losing_more_is():
    """The same held-out loss, once with as large a gain on training bins and once with none."""
    rng = np.random.default_rng(0)
    rows = [
        {"model": model, "fold": fold, "block": 10 * fold + b, "bins": 100, "spikes": 30, "log_likelihood": value}
        for model, loss in (("plain", 0.0), ("rich", 1.0))
        for fold in range(2)
        for b in range(10)
        for value in [-200.0 - loss * (1 + 0.1 * rng.normal())]
    ]
    errors = {(model, fold): 0.0 for model in ("plain", "rich") for fold in range(2)}
    costly = summarise(pd.DataFrame(rows), errors, {"plain": [-2.0, -2.0], "rich": [-1.99, -1.99]})
    empty = summarise(pd.DataFrame(rows), errors, {"plain": [-2.0, -2.0], "rich": [-2.01, -2.01]})
    gains = [_value(table, "rich", "gain over plain") for table in (costly, empty)]
    assert [g["verdict"] for g in gains] == ["not told", "worse"] and all(g["high"] < 0 for g in gains)
    assert gains[0]["cost"] == pytest.approx(0.01, abs=0.001) and gains[1]["cost"] < 0.001


def test_named_epochs_are_held_out_from_one_fit(words):
    fits = []
    found = compare(
        words, EPOCHS, KEY, n_hidden=2, settings=BRIEF, hold_out=[0, 3], on_fit=lambda *fit: fits.append(fit)
    )
    assert fits == [(m, 0) for m in ("independent", "pairwise", "rbm-2")]
    assert found.per_epoch.query("model == 'pairwise'")["bins"].sum() == 200
    assert found.sentences[0].startswith("held out: epochs 0, 3, of ")


def test_gains_are_judged_within_blocks(comparison):
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

    monkeypatch.setattr(comparison_module, "log_partition", uncertain)
    found = compare(words, EPOCHS, KEY, n_hidden=2, settings=BRIEF, hold_out=range(4))
    width = {m: np.ptp(_value(found.table, m, "log-likelihood")[["low", "high"]]) for m in ("pairwise", "rbm-2")}
    # Independent errors add in squares; 0.5 nats are twice Student's quantile wide.
    n_blocks = _value(found.table, "pairwise", "log-likelihood")["n_blocks"]
    assert width["pairwise"] == pytest.approx(
        np.hypot(width["rbm-2"], 2 * stats.t.ppf(0.975, n_blocks - 1) * 0.5), rel=0.05
    )
    assert _value(found.table, "pairwise", "gain over independent")["log_z_error"] == pytest.approx(np.hypot(0.5, 0.5))
    told = "log Z of pairwise (fold 0), and so its likelihood, is NOT TO BE TRUSTED: effective sample size 3"
    assert any(s.startswith(told) for s in found.sentences)


def test_fits_are_announced_and_repeat_with_the_key(words, comparison):
    told = []
    again = compare(words, EPOCHS, KEY, n_hidden=2, settings=BRIEF, n_folds=3, on_fit=lambda *fit: told.append(fit))
    assert told == [(m, fold) for fold in range(3) for m in ("independent", "pairwise", "rbm-2")]
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
        (lambda: compare(words, EPOCHS, KEY, hold_out=(10,)), "hold_out must name epochs from 0 to 9 and leave others"),
        (lambda: compare(words * 2, EPOCHS, KEY), "states must be 0 or 1, got 2; clip counts to 1 first"),
        (
            lambda: choose_n_hidden(words, EPOCHS, KEY, candidates=(0, 3)),
            r"positive numbers of hidden units, got \(0, 3\)",
        ),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
