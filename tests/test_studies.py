import json
from collections import Counter

import numpy as np
import pytest
import xarray as xr

import secateur as sc
from secateur.data import handwritten_digits
from secateur.pruning import number_to_remove, rules
from secateur.storage.progress import Silent
from secateur.studies import StudyFolder, load_config, sources
from secateur.studies.measures.synapse_fate import SynapseFate
from study_settings import TINY


class Watcher(Silent):
    def __init__(self):
        self.plan, self.said = {}, []
        self.steps: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()

    def start(self, plan, done=None):
        self.plan = {kind: n for kind, n in plan.items() if n}
        assert not any(done.values())

    def describe(self, what):
        self.said.append(what)

    def advance(self, kind, seconds):
        self.steps[kind] += 1
        self.seconds[kind] += seconds


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("studies") / "tiny"
    watcher = Watcher()
    results = sc.studies.run(load_config("digits", "quick", TINY), out, progress=watcher)
    return StudyFolder.open(out), results, watcher


def test_every_measurement_is_there_and_finite(finished):
    folder, results, _ = finished
    assert results.sizes["trial"] == 2 and results.sizes["criterion"] == 2 and results.sizes["round"] == 3
    for name in set(results.data_vars) - {"unit_information"}:  # NaN where a unit is dead
        of_removal = name in SynapseFate.variables  # of which there is none in round 0
        values = results[name].isel(round=slice(1, None)).values if of_removal else results[name].values
        if name == "split_r_hat":  # infinite where a unit changed between the short chains of this study only
            assert (values >= 0.8).all()
        else:
            assert np.isfinite(values).all(), name
    xr.testing.assert_identical(results, folder.results)
    xr.testing.assert_identical(results, sc.studies.open(folder.path))
    for name, variable in results.variables.items():
        assert variable.attrs["long_name"], name
        assert variable.attrs.get("units") or variable.dtype.kind not in "iufb", name


def test_rules_start_from_the_same_machine_and_remove_exact_numbers(finished):
    _, results, _ = finished
    unpruned = results.sel(round=0)
    assert (unpruned.test_error == unpruned.test_error.isel(criterion=0, stage=0)).all()
    n_synapses = results.n_synapses.sel(criterion="random")
    for matrix, fraction in enumerate((0.2, 0.3)):
        for number in (1, 2):
            before = n_synapses.sel(round=number - 1, matrix=matrix)
            at_most = before - [number_to_remove(int(n), fraction) for n in before]
            assert (n_synapses.sel(round=number, matrix=matrix) <= at_most).all()  # dead units may take more
            assert (n_synapses.sel(round=number, matrix=matrix) >= at_most - 64).all()


def test_saved_machines_are_compact_and_agree_with_the_results(finished):
    folder, results, _ = finished
    for trial in range(2):
        for criterion in ("variance-fi", "random"):
            for number in range(3):
                machine = folder.load_machine(trial, criterion, number)
                here = results.sel(trial=trial, criterion=criterion, round=number)
                assert machine.layer_sizes == tuple(here.n_units.values.astype(int))
                assert machine.synapse_counts == tuple(here.n_synapses.values.astype(int))
                alive = np.isfinite(here.unit_information.values)
                np.testing.assert_array_equal(np.flatnonzero(alive), machine.unit_indices[1])


def test_progress_counts_all_steps_and_names_rule_trials_and_round(finished):
    folder, _, watcher = finished
    epochs = {"training": 2 * 2 + 2, "retraining": 2 * 2 * 1}
    assert watcher.steps == watcher.plan == epochs | {"measuring": 1, "round": 2 * 2, "timing": 1}
    assert "trials 1-2: variance-fi, round 2 of 2" in watcher.said
    spent = folder.provenance["seconds"]
    of_tasks = sum(seconds for name, seconds in spent.items() if name != "prepare")
    assert sum(n for kind, n in watcher.seconds.items() if kind != "timing") == pytest.approx(of_tasks, rel=0.1)


def test_provenance_tells_versions_times_and_compilations(finished):
    folder, _, _ = finished
    facts = folder.provenance
    assert facts["seed"] == 0 and facts["packages"]["jax"]
    assert 0 < facts["compile_seconds"] and facts["n_compilations"] > 0
    assert facts["total_seconds"] * folder.config.threads >= sum(facts["seconds"].values()) * 0.99
    assert json.loads((folder.path / "provenance.json").read_text())["secateur"] == sc.__version__


def test_the_resolved_settings_run_again_with_the_same_numbers(finished, tmp_path):
    folder, results, _ = finished
    again = sc.studies.run(load_config(folder.path / "study.toml"), tmp_path / "again")
    xr.testing.assert_identical(results, again)
    # Programs belong to shapes: their number is that of the kinds of work, and a second study needs no new one.
    assert folder.provenance["n_compilations"] < 200
    assert StudyFolder.open(tmp_path / "again").provenance["n_compilations"] == 0


def test_trials_one_after_another_are_those_of_one_batch(finished, tmp_path):
    """Equal but for the rounding of batched products, which random choices can blow up after the first round."""
    _, together, _ = finished
    settings = TINY | {"trials_at_once": 1, "rounds": 1, "criteria": ["random"]}
    apart = sc.studies.run(load_config("digits", "quick", settings), tmp_path / "apart")
    here = {"criterion": ["random"], "round": [0, 1]}
    for name in ("n_synapses", "n_units", "machine_bytes", "pixel_error"):
        expected = together[name].sel({d: v for d, v in here.items() if d in together[name].dims})
        np.testing.assert_array_equal(apart[name], expected, err_msg=name)
    np.testing.assert_allclose(apart.test_error, together.test_error.sel(here), atol=0.05)
    facts = StudyFolder.open(tmp_path / "apart").provenance
    assert list(facts["seconds_by_trials"]) == ["trial 1", "trial 2"]
    assert facts["seconds_by_trials"]["trial 2"].keys() == {"first training", "random"}


@pytest.mark.long
def test_a_study_of_mnist_shrinks_its_arrays(tmp_path, monkeypatch):
    """The reader is replaced by one that gives the small digits; everything else is the study of MNIST."""
    asked = []

    def small(folder, side):
        asked.append((folder.name, side))
        return handwritten_digits(0, test_share=0.85)

    monkeypatch.setattr(sources, "read_mnist", small)
    monkeypatch.setattr(sources, "data_folder", lambda name, data_dir: tmp_path / name)
    settings = TINY | {"trials": 1, "trials_at_once": 1, "criteria": ["random-units"], "pruning.fraction": [0.1, 0.8]}
    settings |= {"importance.start": "data", "pruning.shrink_at": 0.1, "model.hidden": [64, 130]}
    results = sc.studies.run(load_config("digits", "paper", settings), tmp_path / "out")
    assert asked == [("mnist", 20)]
    left = results.isel(trial=0, criterion=0)
    assert left.n_units.values[-1, 2] < 64 < left.n_units.values[0, 2]
    assert (np.diff(left.machine_bytes) < 0).all()
    assert np.isfinite(left.test_error).all() and np.isfinite(left.log_likelihood_bound_reverse).all()
    sizes = [row["layer_sizes"] for row in StudyFolder.open(tmp_path / "out").provenance["gibbs_sweeps"]]
    assert sizes == [[64, 64, 130], left.n_units.values[-1].astype(int).tolist()]


def test_missing_mnist_is_told_in_one_sentence_and_writes_nothing(tmp_path):
    config = load_config("digits", "paper", {"data.data_dir": str(tmp_path)})
    with pytest.raises(OSError, match=r"(?i)mnist.* fetch mnist"):
        sc.studies.run(config, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_existing_folder_is_not_overwritten_unasked(finished):
    folder, results, _ = finished
    with pytest.raises(ValueError, match=r"tiny' exists already; choose another folder or say --overwrite"):
        sc.studies.run(folder.config, folder.path)
    xr.testing.assert_identical(results, folder.results)


def test_a_folder_that_is_no_study_is_never_overwritten(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"is not the folder of a study, so it is not overwritten"):
        with StudyFolder.begun(tmp_path, load_config("digits", "quick"), overwrite=True):
            raise AssertionError
    assert [p.name for p in tmp_path.iterdir()] == ["precious.txt"]


def test_settings_that_do_not_fit_the_data_write_nothing(tmp_path):
    out = tmp_path / "out"
    config = load_config("digits", "quick", {"model.receptive_field": 9})
    with pytest.raises(ValueError, match=r"receptive field size must be an odd number from 1 to 8 for a 8 x 8 image"):
        sc.studies.run(config, out)
    config = load_config("digits", "quick", {"model.hidden": [60, 20]})
    with pytest.raises(ValueError, match=r"one unit of the first hidden layer per pixel, got 60 units and 64"):
        sc.studies.run(config, out)
    assert not out.exists()


def test_a_users_rule_runs_by_name_and_its_report_needs_no_rule(tmp_path, monkeypatch):
    monkeypatch.setattr(rules, "RULES", dict(rules.RULES))
    sc.pruning.register("strong-and-busy", lambda synapses: abs(synapses.weights) * synapses.rates_post[None, :])
    settings = TINY | {"criteria": ["strong-and-busy"], "rounds": 1}
    results = sc.studies.run(load_config("digits", "quick", settings), tmp_path / "own")
    assert results.n_synapses.sel(round=1).max() < results.n_synapses.sel(round=0).max()
    monkeypatch.undo()
    assert StudyFolder.open(tmp_path / "own").config.criteria == ("strong-and-busy",)


@pytest.mark.parametrize("name", ["../x", "a/b", "", "-x", "a b"])
def test_names_of_rules_cannot_leave_the_folder(name):
    with pytest.raises(ValueError, match=r"criterion name must be letters, digits and _ \. : -"):
        sc.pruning.register(name, lambda synapses: synapses.weights)


def test_opening_a_folder_without_a_study_says_what_is_missing(tmp_path):
    with pytest.raises(ValueError, match=r"holds no finished study \(study\.toml is missing\)"):
        sc.studies.open(tmp_path)
