"""Commands on saved machines and the user's own arrays, and the functions under them."""

from __future__ import annotations

import re
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from brute_force import BruteForce
from command_line import call, refused
from conftest import small_machine
from secateur import fisher
from secateur.commands.options import importance_from, in_words
from secateur.commands.summary import summary
from secateur.commands.wording import in_words_of_options
from secateur.fisher.table import COLUMNS, fisher_table
from secateur.likelihood.comparison import independent_log_probability, rates_of
from secateur.model import enumeration
from secateur.model.machine import Machine
from secateur.pruning import ImportanceSampling, RemovalCount, compact, prune, removed
from secateur.sampling.diagnostics import MixingDiagnostics, sums_of_draws
from secateur.storage.machines import load_lineage, load_machine, read_machine, save_machine

ROWS = np.random.default_rng(0).integers(0, 2, (40, 4)).astype(np.uint8)
PYTHON = re.compile(
    r"\bjax\.|\bsc\.\w|\bnp\.|=True|=False|Error\b|\bshape \(|Input should|\bdict\b|object with|n_burn_in|estimator"
)
"""What nobody should read who has typed options."""
FEW = ["--sampler", "gibbs", "--chains", 8, "--draws", 4, "--burn-in", 2]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder with a saved DBM (4 - 3 - 5 units, 22 synapses) and rows for it."""
    save_machine(small_machine("dbm-2-hidden", masked=False), tmp_path / "dbm.safetensors", {"trial": 1, "round": 2})
    np.save(tmp_path / "rows.npy", ROWS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(monkeypatch, capsys, folder):
    """A command that succeeds; gives what it said."""

    def run(*arguments):
        code, stdout, stderr = call(monkeypatch, capsys, *arguments)
        assert code == 0, stderr
        return stdout

    return run


def test_info_tells_layers_synapses_dead_units_and_lineage(run, folder):
    masks = [np.ones((4, 3), bool), np.ones((3, 5), bool)]
    masks[0][2], masks[1][1], masks[1][:, 4] = False, False, False
    machine = small_machine("dbm-2-hidden", masked=False).with_masks(masks)
    lineage = {"criterion": "mine:rule", "round": 3, "parent": "../before.safetensors", "seed": 5}
    save_machine(machine, folder / "odd.safetensors", lineage)
    said = run("info", "odd.safetensors").splitlines()
    largest = [abs(np.asarray(w)).max() for w in machine.weights]
    checksum = read_machine("odd.safetensors").sha256
    assert said == [
        f"odd.safetensors: {(folder / 'odd.safetensors').stat().st_size:,} bytes, checksum ok ({checksum[:12]})",
        "layers: 4 - 3 - 5 units",
        f"synapses 0-1: 9 of 12 possible (75.0%), largest |weight| {largest[0]:.3g}",
        f"synapses 1-2: 8 of 15 possible (53.3%), largest |weight| {largest[1]:.3g}",
        "dead hidden units: 2 in the arrays, 0 taken out of them",
        "visible units without a synapse: 1",
        "lineage: mine:rule, round 3, from ../before.safetensors",
        "  seed: 5",
    ]
    save_machine(compact(machine), folder / "odd.safetensors")
    said = run("info", "odd.safetensors").splitlines()
    assert said[1] == "layers: 4 - 2 - 4 units (first 4 - 3 - 5)"
    assert said[4] == "dead hidden units: 0 in the arrays, 2 taken out of them"


def test_a_machine_without_hidden_units_has_a_summary():
    empty = compact(small_machine("rbm", masked=False).with_masks([np.zeros((5, 4), bool)]))
    assert "synapses 0-1: 0 of 0 possible\n" in summary(empty)


def test_info_of_a_folder_lists_machines_and_fails_on_damage(run, folder, monkeypatch, capsys):
    (folder / "trial-00").mkdir()
    save_machine(small_machine("rbm", masked=True), folder / "trial-00" / "rbm.safetensors")
    assert run("info", ".").splitlines() == [
        "dbm.safetensors: 4 - 3 - 5 units, 27 synapses; trial 1, round 2",
        "trial-00/rbm.safetensors: 5 - 4 units, 14 synapses; first of its line",
    ]
    content = (folder / "dbm.safetensors").read_bytes()
    (folder / "dbm.safetensors").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    code, stdout, stderr = call(monkeypatch, capsys, "info", folder)
    assert code == 1 and stderr.startswith("secateur: 1 of the files") and stderr.count("\n") == 1
    assert "dbm.safetensors is damaged (its checksum does not match)" in stdout.splitlines()[0]
    assert "checksum does not match" in refused(monkeypatch, capsys, "info", "dbm.safetensors")


def test_a_dry_run_shows_what_prune_then_takes(run, folder):
    before = sorted(folder.iterdir())
    arguments = ["prune", "dbm.safetensors", "--criterion", "random", "--fraction", "0.5,0.8", "--seed", 4]
    dry = run(*arguments, "--dry-run")
    assert sorted(folder.iterdir()) == before
    assert run(*arguments, "--out", "pruned.safetensors") == dry + "machine: pruned.safetensors\n"
    machine, pruned = load_machine("dbm.safetensors"), load_machine("pruned.safetensors")
    taken = removed(machine, pruned, (RemovalCount(6, 6, 0), RemovalCount(12, 12, 0)))
    assert dry == f"round 3 by random, no averages needed\n{taken}\n"
    assert [old - new for old, new in zip(taken.before, taken.after, strict=True)] >= [6, 12]
    gone = [set(range(n)) - set(np.asarray(i).tolist()) for n, i in zip((4, 3, 5), pruned.unit_indices, strict=True)]
    assert [set(units) for units in taken.units] == gone and any(gone)
    lineage = load_lineage("pruned.safetensors")
    assert (lineage["parent"], lineage["round"], lineage["criterion"]) == ("dbm.safetensors", 3, "random")
    assert (lineage["fraction"], lineage["averages"]) == ([0.5, 0.8], "none")


def test_what_was_removed_is_told_by_original_units(dbm):
    """A second step on a machine that has lost its second hidden unit already; a visible unit falls silent."""
    masks = [np.array(m) for m in small_machine("dbm-2-hidden", masked=False).masks]
    masks[0][:, 1] = False
    first = compact(small_machine("dbm-2-hidden", masked=False).with_masks(masks))
    assert removed(dbm, dbm).units == ((), (), ())
    masks = [np.array(m) for m in first.masks]
    masks[0][3], masks[0][:, 1] = False, False
    found = removed(first, first.with_masks(masks))
    assert (found.units, found.silent, found.after) == (((), (2,), ()), (3,), (3, 10))
    assert str(found).splitlines()[2:] == [
        "units of layer 1: 1 (2) die",
        "units of layer 2: 0 die",
        "visible units: 1 (3) lose their last synapse",
    ]
    with pytest.raises(ValueError, match=r"after must come from before, got machines that began with \(5, 4\) and"):
        removed(first, small_machine("rbm", masked=False))


def test_score_and_prune_say_the_exact_likelihood_of_the_rows(run, folder):
    machine = load_machine(folder / "dbm.safetensors")
    exact = BruteForce(machine).log_probability(ROWS)
    rates = rates_of(ROWS)
    alone = independent_log_probability(ROWS, rates)
    quality = f"exact log p(v) {exact.mean():.4g}, independent units "
    said = run("score", "dbm.safetensors", "rows.npy", "--out", "each.npy")
    assert said.startswith(f"40 rows of rows.npy: {quality}{alone.mean():.4g}")
    np.testing.assert_allclose(np.load(folder / "each.npy"), exact, atol=1e-4)
    np.save(folder / "other.npy", 1 - ROWS)
    beside = independent_log_probability(ROWS, rates_of(1 - ROWS))
    said = run("score", "dbm.safetensors", "rows.npy", "--train", "other.npy")
    assert f"{quality}{beside.mean():.4g}" in said
    looks_at_rows = ["--data", "rows.npy", "--criterion", "unit-information"]
    said = run("prune", "dbm.safetensors", *looks_at_rows, "--out", "p.safetensors")
    after = BruteForce(load_machine(folder / "p.safetensors")).log_probability(ROWS)
    assert f"before: 40 rows: {quality}" in said
    assert f"\n40 rows: exact log p(v) {after.mean():.4g}," in said and abs(after - exact).max() > 0.01


def test_rounds_with_retraining_go_into_a_folder_and_on_from_there(run, folder):
    retraining = ["--data", "rows.npy", "--retrain-epochs", 1, "--set", "batch_size=20", "--set", "n_chains=10"]
    run("prune", "dbm.safetensors", "--rounds", 2, "--fraction", 0.25, *retraining, *FEW, "--out", "chain")
    assert sorted(p.name for p in (folder / "chain").iterdir()) == ["round-03.safetensors", "round-04.safetensors"]
    machines = [
        load_machine(folder / name)
        for name in ("dbm.safetensors", "chain/round-03.safetensors", "chain/round-04.safetensors")
    ]
    for old, new in zip(machines[:-1], machines[1:], strict=True):
        assert new.n_synapses <= 0.8 * old.n_synapses
        assert not set(np.asarray(new.weights[0]).ravel()) & set(np.asarray(old.weights[0]).ravel()) - {0.0}
    lineages = [load_lineage(folder / "chain" / f"round-{number:02d}.safetensors") for number in (3, 4)]
    assert [one["parent"] for one in lineages] == ["../dbm.safetensors", "round-03.safetensors"]
    assert lineages[0]["retraining"]["batch_size"] == 20 and lineages[0]["averages"]["n_chains"] == 8
    dry = run("prune", "chain/round-03.safetensors", "--rounds", 2, *retraining, *FEW, "--dry-run")
    assert dry.startswith("what later rounds would take depends on retraining") and dry.count("round 4 by") == 1


def test_rounds_overwrite_only_what_would_come_later(run, folder, monkeypatch, capsys):
    arguments = ["prune", "dbm.safetensors", "--criterion", "weight-magnitude", "--fraction", 0.2, "--out", "chain"]
    run(*arguments, "--rounds", 3)
    message = refused(monkeypatch, capsys, *arguments, "--rounds", 1)
    assert message.endswith("round-03.safetensors' exists already; choose another folder or say --overwrite")
    run("prune", "chain/round-04.safetensors", *arguments[2:], "--rounds", 1, "--overwrite")
    assert load_lineage("chain/round-05.safetensors")["parent"] == "round-04.safetensors"
    run(*arguments, "--rounds", 1, "--overwrite")
    assert [p.name for p in (folder / "chain").iterdir()] == ["round-03.safetensors"]


def test_a_rule_of_the_current_folder_prunes(run, folder, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    (folder / "rules_for_prune.py").write_text("def largest_first(synapses):\n    return -abs(synapses.weights)\n")
    said = run(
        "prune", "dbm.safetensors", "--criterion", "rules_for_prune:largest_first", "--out", "pruned.safetensors"
    )
    assert said.startswith("round 3 by rules_for_prune:largest_first, exact averages\n")
    left = load_machine("pruned.safetensors").weights[0]
    assert abs(np.asarray(left)).max() < np.median(abs(np.asarray(load_machine("dbm.safetensors").weights[0]))) + 1e-6


def test_samples_are_draws_of_the_model(run, folder):
    """Rates within 5 standard errors (from the effective sample size) of the exact ones; a false alarm of four units in
    two of a million runs.
    """
    said = run("sample", "dbm.safetensors", "--n", 1990, "--sweeps", 5, "--out", "drawn.npy")
    drawn = np.load("drawn.npy", allow_pickle=False)
    assert drawn.shape == (1990, 4) and drawn.dtype == np.uint8 and set(np.unique(drawn)) == {0, 1}
    assert said.startswith(
        "samples: drawn.npy, 1,990 states; sampled: gibbs, 10 chains x 199 draws, 5 sweeps apart, effective"
    )
    assert said.endswith("; to be trusted\n")
    size = float(said.split("effective sample size ")[1].split(", ")[0].replace(",", ""))
    exact = enumeration.moments(load_machine("dbm.safetensors")).rates
    assert (abs(drawn.mean(axis=0) - exact[0]) < 5 * np.sqrt(exact[0] * (1 - exact[0]) / size)).all()
    assert (abs(drawn.mean(axis=0) - 0.5) > 5 * np.sqrt(0.25 / size)).any()  # the planted fault: coins are told apart
    run("sample", "dbm.safetensors", "--n", 1990, "--sweeps", 5, "--out", "again.npy", "--seed", 0)
    np.testing.assert_array_equal(np.load("again.npy"), drawn)


def test_draws_are_told_with_their_verdict():
    assert in_words(None) == "exact averages"
    draws = np.random.default_rng(0).normal(size=(8, 100, 2 + 1))
    for shift, verdict in (
        (0.0, "; to be trusted"),
        (9.0, "of the energy (limit 1.05): the chains have not mixed; take more sweeps, or sampler='tempering'; effec"),
    ):
        draws[:, :, 0] += shift * (np.arange(8)[:, None] % 2)
        sums = sums_of_draws(jnp.asarray(draws, jnp.float32), 100)
        mixing = MixingDiagnostics(sums, (1,), 8, 100, 2)
        size, r_hat = mixing.effective_sample_size, mixing.split_r_hat
        told = f"effective sample size {size:,.0f}, split R-hat {r_hat:.3f}; "
        assert in_words(mixing).startswith(f"sampled: gibbs, 8 chains x 100 draws, 2 sweeps apart, {told}")
        assert verdict in in_words(mixing)


def test_the_fisher_table_holds_every_synapse_and_unit(run, folder):
    said = run("fisher", "dbm.safetensors", "--out", "fisher.csv")
    assert said.splitlines() == [
        "joint Fisher information of 0/1 units, per nat^2; exact averages",
        "table: fisher.csv, 27 synapses and 12 units",
    ]
    table, machine = pd.read_csv("fisher.csv"), load_machine("dbm.safetensors")
    assert tuple(table.columns) == COLUMNS
    rates, coincidences = BruteForce(machine).statistics()
    synapses, units = table[table.kind == "synapse"], table[table.kind == "unit"]
    expected = np.concatenate([p.ravel() for p in coincidences])
    np.testing.assert_allclose(synapses.probability, expected, rtol=1e-6)
    np.testing.assert_allclose(synapses.variance_fi, expected * (1 - expected), rtol=1e-6)
    heuristic = np.concatenate([np.asarray(f).ravel() for f in fisher.heuristic(machine, "exact")])
    np.testing.assert_allclose(synapses.heuristic_fi, heuristic, rtol=1e-6)
    np.testing.assert_allclose(synapses.parameter, np.concatenate([np.asarray(w).ravel() for w in machine.weights]))
    np.testing.assert_allclose(units.variance_fi, np.concatenate([r * (1 - r) for r in rates]), rtol=1e-6)
    assert (table.variance_fi_error == 0).all()
    row = synapses[(synapses.layer == 1) & (synapses.i == 2) & (synapses.j == 4)].iloc[0]
    assert row.probability == pytest.approx(coincidences[1][2, 4], rel=1e-6)
    of_unit = [p * (1 - p) for p in (*coincidences[0][:, 2], *coincidences[1][2])]
    unit = units[(units.layer == 1) & (units.i == 2)].iloc[0]
    assert unit.mean_synapse_fi == pytest.approx(np.mean(of_unit), rel=1e-6) and np.isnan(unit.j)
    assert units[units.layer == 0].mean_synapse_fi.isna().all()


def test_the_fisher_table_of_a_pruned_machine_names_original_units():
    machine = prune(small_machine("dbm-2-hidden", masked=False), "random", (0.5, 0.8), key=jax.random.key(4))
    assert machine.n_units < 12
    table = fisher_table(machine, "exact")
    synapses = table[table.kind == "synapse"]
    assert len(synapses) == machine.n_synapses
    for layer, (mask, weight) in enumerate(zip(machine.masks, machine.weights, strict=True)):
        here = synapses[synapses.layer == layer]
        i, j = here.i.to_numpy(), here.j.to_numpy(int)
        assert np.asarray(mask)[i, j].all()
        np.testing.assert_array_equal(here.parameter, np.asarray(weight)[i, j])
        np.testing.assert_array_equal(here.original_i, np.asarray(machine.unit_indices[layer])[i])
        np.testing.assert_array_equal(here.original_j, np.asarray(machine.unit_indices[layer + 1])[j])


def test_sampled_fisher_information_comes_with_its_errors(run, folder):
    said = run("fisher", "dbm.safetensors", "--source", "sampled", *FEW, "--out", "fisher.csv")
    assert "sampled: gibbs, 8 chains x 4 draws, 2 sweeps apart, effective sample size" in said
    assert "NOT TO BE TRUSTED: effective sample size" in said
    table = pd.read_csv("fisher.csv")
    assert table.variance_fi_error.notna().all() and (table.variance_fi_error > 0).mean() > 0.8


def test_a_machine_too_large_to_enumerate_is_sampled():
    large, small = Machine.random((22, 21), jax.random.key(0)), small_machine("rbm", masked=False)
    assert importance_from(large, None, None, None, None, None, None) == ImportanceSampling()
    assert importance_from(small, None, None, None, None, None, None) == "exact"
    assert importance_from(small, None, 7, None, 3, None, None) == ImportanceSampling(n_chains=7, n_sweeps=3)


def test_fit_trains_a_machine_on_rows_or_words(run, folder):
    settings = ["--hidden", "3,5", "--epochs", 2, "--set", "batch_size=20", "--set", "n_chains=10"]
    said = run("fit", "rows.npy", *settings, "--out", "fitted.safetensors")
    assert said.startswith(f"40 rows of 4 units from rows.npy; {ROWS.mean():.2%} of the values are 1\n")
    assert re.search(
        r"\n4 held-out rows: exact log p\(v\) -\S+, independent units -\S+: gain \S+ \+- \S+ nats per row\n", said
    )
    assert "no better than independent units: take more --epochs" in said  # after two epochs
    machine = load_machine("fitted.safetensors")
    assert machine.layer_sizes == (4, 3, 5)
    lineage = load_lineage("fitted.safetensors")
    assert (lineage["fitted_to"], lineage["rows"], lineage["hidden"], lineage["batch_size"]) == (
        "rows.npy",
        36,
        [3, 5],
        20,
    )
    np.savez(folder / "words.npz", states=ROWS, unit_ids=np.array(list("abcd")))
    run("fit", "words.npz", *settings, "--out", "again.safetensors")
    assert read_machine("again.safetensors").machine.layer_sizes == (4, 3, 5)
    for one, other in zip(jax.tree.leaves(machine), jax.tree.leaves(load_machine("again.safetensors")), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "nowhere"], "'nowhere' does not exist"),
        (["info", "rows.npy"], "rows.npy holds no machine (.safetensors) and no words"),
        (["info", "empty"], "'empty' holds no machine (.safetensors); give a file or the folder of a study"),
        (["prune", "nowhere.safetensors", "--dry-run"], "'nowhere.safetensors' does not exist"),
        (["prune", "DBM"], "--out is missing; give a file for the pruned machine, or say --dry-run"),
        (["prune", "DBM", "--out", "rows.npy"], "--out must end in .safetensors, got 'rows.npy'"),
        (["prune", "DBM", "--out", "DBM"], "'dbm.safetensors' exists already; choose another name or say --overwrite"),
        (["prune", "DBM", "--out", "x.safetensors", "--rounds", "2"], "--out must be a folder when --rounds is given"),
        (
            ["prune", "DBM", "--dry-run", "--fraction", "1.5"],
            "--fraction must lie between 0 and 1 (both excluded), got 1.5",
        ),
        (
            ["prune", "DBM", "--dry-run", "--fraction", "half"],
            "--fraction must be numbers separated by commas, got 'half'",
        ),
        (["prune", "DBM", "--dry-run", "--fraction", ".1,.2,.3"], "--fraction must be one number or 2"),
        (["prune", "DBM", "--dry-run", "--criterion", "fisher"], "unknown criterion 'fisher'"),
        (["prune", "DBM", "--dry-run", "--criterion", "no_rules:at_all"], "there is no module 'no_rules'"),
        (["prune", "DBM", "--dry-run", "--criterion", "math:sqrt"], "criterion 'math:sqrt' raised TypeError"),
        (["prune", "DBM", "--dry-run", "--source", "guessed"], "Invalid value for '--source'"),
        (
            ["prune", "DBM", "--dry-run", "--source", "exact", "--draws", "9"],
            "go with sampling; leave --source exact out",
        ),
        (
            ["prune", "DBM", "--dry-run", "--chains", "1"],
            "--chains must be at least 2 (got 1)",
        ),
        (
            ["prune", "DBM", "--dry-run", "--retrain-epochs", "1"],
            "--retrain-epochs needs rows to retrain on; give --data",
        ),
        (["prune", "DBM", "--dry-run", "--set", "l2=1"], "--set changes how retraining goes; give --data and"),
        (["prune", "DBM", "--dry-run", "--data", "rows.npy", "--retrain-epochs", "1", "--set", "l3=1"], "setting 'l3'"),
        (
            ["prune", "DBM", "--dry-run", "--data", "wide.npy", "--retrain-epochs", "1"],
            "wide.npy has 9 units per row, the",
        ),
        (["prune", "bare.safetensors", "--dry-run"], "the machine has no synapse left to prune"),
        (["fisher", "large.safetensors", "--source", "exact", "--out", "f.csv"], "at most 20 units, this one has 21"),
        (["prune", "DBM", "--dry-run", "--sampler", "hmc"], "--sampler must be one of 'gibbs', 'tempering', got 'hmc'"),
        (["prune", "DBM", "--dry-run", "--burn-in", "-1"], "--burn-in must be at least 0 (got -1)"),
        (
            ["prune", "DBM", "--dry-run", "--criterion", "unit-kl"],
            "looks at rows of the data, got none; give --data FILE",
        ),
        (
            ["prune", "DBM", "--dry-run", "--data", "cube.npy"],
            "cube.npy must hold a table (rows, units), got an array of",
        ),
        (["sample", "DBM", "--out", "s.npy", "--sampler", "hmc"], "--sampler must be one of 'gibbs', 'tempering', got"),
        (["fit", "rows.npy", "--out", "f.safetensors", "--set", "verbose=3"], "--set knows no setting 'verbose'"),
        (["fit", "rows.npy", "--out", "f.safetensors", "--set", "batch_size=1.5"], "must be a whole number, got 1.5"),
        (
            ["fit", "rows.npy", "--out", "f.safetensors", "--set", "learning_rate=fast"],
            "values in brackets, e.g. [0.1,",
        ),
        (["fit", "rows.npy", "--out", "f.safetensors", "--binarize", "nan"], "--binarize must be a finite number"),
        (["score", "DBM", "cube.npy"], "cube.npy must hold a table (rows, units), got an array of size 3 x 3 x 3"),
        (["run", "--data", "rows.npy", "--rounds", "0"], "--rounds: must be at least 1 (got 0)"),
        (["run", "--data", "rows.npy", "--hidden", "0"], "--hidden: must name at least one hidden layer"),
        (["run", "--data", "rows.npy", "--criteria", ","], "--criteria: must name at least one (got [])"),
        (
            ["run", "--data", "cube.npy", "--labels", "rows.npy"],
            "labels of rows must be one per row, 3, got size 40 x 4",
        ),
        (["fisher", "DBM", "--out", "f.txt"], "--out must end in .csv, got 'f.txt'"),
        (["sample", "DBM", "--out", "rows.npy"], "'rows.npy' exists already; choose another name or say --overwrite"),
        (["sample", "DBM", "--out", "s.npy", "--n", "0"], "Invalid value for '--n'"),
        (["sample", "DBM", "--out", "s.npy", "--n", "999999999"], "--n must be at most 44,739,242 for this machine"),
        (["fit", "wide.npy", "--out", "f.safetensors"], "wide.npy must hold 0 and 1 only, got 2 in row 0, column 0"),
        (
            ["fit", "rows.npy", "--out", "f.safetensors", "--hidden", "a"],
            "--hidden must be numbers separated by commas",
        ),
        (
            ["fit", "rows.npy", "--out", "f.safetensors", "--hidden", "0"],
            "--hidden must be one or more positive integer(s)",
        ),
        (["fit", "rows.npy", "--out", "f.safetensors", "--epochs", "0"], "Invalid value for '--epochs'"),
        (["fit", "rows.npy", "--out", "f.safetensors", "--set", "n_epochs=3"], "--set must not change 'n_epochs'; use"),
        (
            ["fit", "rows.npy", "--out", "f.safetensors", "--set", "speed=3"],
            "--set knows no setting 'speed' of a fit; it takes batch_size, ",
        ),
    ],
)
def test_wrong_use_ends_with_one_line_and_writes_nothing(monkeypatch, capsys, folder, arguments, message):
    save_machine(Machine.random((22, 21), jax.random.key(0)), folder / "large.safetensors")
    bare = small_machine("rbm", masked=False)
    save_machine(bare.with_masks([np.zeros((5, 4), bool)]), folder / "bare.safetensors")
    np.save(folder / "cube.npy", np.zeros((3, 3, 3)))
    np.save(folder / "wide.npy", np.full((3, 9), 1 if "prune" in arguments else 2))
    (folder / "empty").mkdir()
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    given = ["dbm.safetensors" if argument == "DBM" else argument for argument in arguments]
    line = refused(monkeypatch, capsys, *given)
    assert message in line
    # The error of somebody's own rule keeps its name.
    assert not PYTHON.search(line.replace("raised TypeError", "")), line
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_messages_are_told_in_options_and_not_in_python():
    """The filled-in texts of functions, as the command line says them; file names and other words stay."""
    for message, told in {
        "settings: trials: Input should be greater than or equal to 1 (got 0)": "--trials: must be at least 1 (got 0)",
        "study 'digits': rounds: Input should be less than 9": "study 'digits': --rounds: must be less than 9",
        "fraction must be one number": "--fraction must be one number",
        "fractions.npy must hold numbers, got shape (4,)": "fractions.npy must hold numbers, got size 4",
        "this one has 22 (layer sizes (24, 22))": "this one has 22 (layers of 24 - 22)",
        "the seed must be 1": "the seed must be 1",
    }.items():
        assert in_words_of_options(message) == told
        assert not PYTHON.search(told)
    assert PYTHON.search("write key=jax.random.key(0)") and PYTHON.search("got an array of shape (3, 3)")
