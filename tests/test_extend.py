"""More trials, rules and rounds in a finished study: to the bit what a study that had them from the start gives."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import xarray as xr

import secateur as sc
from command_line import call, refused
from secateur.storage.progress import Silent
from secateur.studies import StudyFolder, load_config
from secateur.studies.config import resolved

OWN = "user_rule_for_extend:strong"


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    hidden = rng.random((300, 3)) < 0.5
    rows = rng.random((300, 12)) < 0.15 + 0.7 * np.repeat(hidden, 4, axis=1)
    return {"rows": rows.astype(np.uint8), "labels": hidden[:, 0].astype(int)}


@pytest.fixture(scope="module", autouse=True)
def own_rule(tmp_path_factory):
    """A rule of the user's own, in a module of theirs."""
    place = tmp_path_factory.mktemp("rules")
    (place / "user_rule_for_extend.py").write_text("def strong(synapses):\n    return abs(synapses.weights) ** 3\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(place)
        yield


def settings(**more):
    return {
        "trials": 2,
        "rounds": 1,
        "criteria": ["variance-fi"],
        "model.hidden": [5],
        "training.n_epochs": 2,
        "retraining.n_epochs": 1,
        "pruning.fraction": [0.3],
        "measures": ["exact-likelihood", "encoding", "anatomy", "size"],
    } | {name.replace("__", "."): value for name, value in more.items()}


@pytest.fixture(scope="module")
def short(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("short") / "study"
    sc.studies.run(settings(), out, data=data)
    return out


def copied(folder, to):

    shutil.copytree(folder, to)
    return to


def machines(folder):
    found = {path.relative_to(folder): path.read_bytes() for path in (folder / "machines").rglob("*.safetensors")}
    assert found
    return found


def test_an_extended_study_is_one_that_had_it_from_the_start(short, data, tmp_path):
    longer, whole = copied(short, tmp_path / "study"), tmp_path / "whole"
    results = sc.studies.extend(longer, trials=4, criteria=["weight-magnitude", OWN])
    more = {"trials": 4, "trials_at_once": 2, "criteria": ["variance-fi", "weight-magnitude", OWN]}
    expected = sc.studies.run(settings(**more), whole, data=data)
    xr.testing.assert_equal(results, expected)
    xr.testing.assert_identical(StudyFolder.open(longer).results, StudyFolder.open(whole).results)
    assert machines(longer) == machines(whole)
    assert StudyFolder.open(longer).config.deciding() == StudyFolder.open(whole).config.deciding()
    assert [s["ended"] for s in StudyFolder.open(longer).provenance["sessions"]] == ["finished", "finished"]


class Stops(Silent):
    """Interrupts after the first round."""

    def advance(self, kind, seconds):
        if kind == "round":
            raise KeyboardInterrupt


def test_an_interrupted_extension_goes_on_and_the_study_stays_whole(short, data, tmp_path, monkeypatch, capsys):
    longer = copied(short, tmp_path / "study")
    before = StudyFolder.open(longer).results
    more: dict = {"criteria": ["random", "weight-magnitude"], "rounds": 2}
    with pytest.raises(KeyboardInterrupt):
        sc.studies.extend(longer, **more, progress=Stops())
    xr.testing.assert_identical(StudyFolder.open(longer).results, before)
    assert StudyFolder.open(longer).config.rounds == 1 and StudyFolder.is_unfinished(longer)
    line = refused(monkeypatch, capsys, "extend", longer, "--rounds", 2)
    assert f"was begun already; continue it with 'secateur resume {longer}'" in line
    results = sc.studies.resume(longer)
    expected = sc.studies.run(
        settings(criteria=["variance-fi", "random", "weight-magnitude"], rounds=2), tmp_path / "whole", data=data
    )
    xr.testing.assert_equal(results, expected)
    assert machines(longer) == machines(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study", "whole"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "extend needs trials, criteria or rounds, got none"),
        (
            ["--trials", 2],
            "trials must be more than the 2 of the study and at most 1,000, got 2; it is their",
        ),
        (["--rounds", 0], "rounds must be more than the 1 of the study and at most 1,000, got 0"),
        (["--criteria", "+variance-fi"], "'variance-fi' is in the study already; name others"),
        (["--criteria", "+unheard-of"], "unheard-of"),
        (["--trials", 10**7], "at most 1,000, got 10000000"),
    ],
)
def test_wrong_uses_say_what_is_right_and_write_nothing(short, monkeypatch, capsys, arguments, message):
    before = {path: path.stat().st_mtime_ns for path in short.rglob("*")}
    assert message in refused(monkeypatch, capsys, "extend", short, *arguments)
    assert {path: path.stat().st_mtime_ns for path in short.rglob("*") if path.name != ".lock"} == {
        path: at for path, at in before.items() if path.name != ".lock"
    }
    assert [path.name for path in short.parent.iterdir()] == ["study"]


@pytest.mark.parametrize("file", ["rows", "labels"])
def test_other_data_are_refused(short, tmp_path, monkeypatch, capsys, file):
    longer = copied(short, tmp_path / "study")
    values = np.load(longer / "data" / f"{file}.npy")
    values[0] = 1 - values[0]
    np.save(longer / "data" / f"{file}.npy", values)
    line = refused(monkeypatch, capsys, "extend", longer, "--trials", 3)
    assert "the data are not those that this study began with" in line


def test_what_cannot_be_extended(short, tmp_path, monkeypatch, capsys):

    assert "holds no finished study" in refused(monkeypatch, capsys, "extend", tmp_path, "--trials", 3)
    longer = copied(short, tmp_path / "study")
    shutil.rmtree(longer / "tasks")
    line = refused(monkeypatch, capsys, "extend", longer, "--trials", 3)
    assert "lacks files in tasks/, from which a study goes on; run it anew with the settings you want" in line
    (longer / "results.nc").unlink()
    assert "continue it with 'secateur resume" in refused(monkeypatch, capsys, "extend", longer, "--trials", 3)


def test_batches_of_trials():
    def of(trials, at_once):
        changes = {"trials": trials} | ({} if at_once is None else {"trials_at_once": at_once})
        return list(map(len, load_config("patches", "quick", changes).batches()))

    assert of(5, None) == [5] and of(5, 2) == [2, 2, 1] and of(6, [3, 1]) == [3, 1, 1, 1] and of(2, [3, 3]) == [2]
    longer = load_config("patches", "quick", {"trials": 5, "trials_at_once": 2}).extended(
        trials=9, criteria=(), rounds=None
    )
    assert list(map(len, longer.batches())) == [2, 2, 1, 2, 2]
    with pytest.raises(ValueError, match="trials_at_once"):
        resolved(load_config("patches", "quick").model_dump(exclude_none=True) | {"trials_at_once": [0]})


def test_uneven_batches_run_to_the_end(data, tmp_path):
    results = sc.studies.run(settings(trials=3, trials_at_once=2), tmp_path / "out", data=data)
    assert np.isfinite(results["n_synapses"].values).all() and results.sizes["trial"] == 3


@pytest.mark.long
def test_the_command_extends_and_reports(short, tmp_path, monkeypatch, capsys):
    longer = copied(short, tmp_path / "study")
    code, out, err = call(monkeypatch, capsys, "extend", longer, "--criteria", f"+random,+{OWN}")
    assert code == 0, err
    assert f"report: {longer / 'report.html'}" in out and OWN in (longer / "report.html").read_text("utf-8")
