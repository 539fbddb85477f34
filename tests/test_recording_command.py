"""A recording from words to report through the command line, and what is refused."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import secateur as sc
from command_line import call, refused
from pages import SCRIPT, Page
from secateur.commands import app as cli
from secateur.figures.recordings import FIGURES, draw_recording
from secateur.reading.words import Words, is_words_file
from secateur.recordings import folder as folders
from secateur.recordings.folder import RecordingFolder, fit_recording

OPTIONS = ["--hidden", "3", "--epochs", "4", "--folds", "3", "--seed", "5"]


def _words_file(path, n_units=4, n_bins=600):
    """Words of units with a shared drive, in six epochs."""
    rng = np.random.default_rng(0)
    shared = rng.random((n_bins, 1)) < 0.2
    states = (rng.random((n_bins, n_units)) < np.where(shared, 0.6, 0.15)).astype(np.uint8)
    names = [SCRIPT, *(f"u{i}" for i in range(1, n_units))]
    words = sc.words(states, 0.02, orientation="bins x units")
    split = np.arange(n_bins) * 6 // n_bins
    Words(states, tuple(names), words.bin_starts, split, 0.02, words.notes).save(path)
    return path


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recording")
    source = _words_file(folder / "words.npz")
    told = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(told):
        patch.setattr(sys, "argv", ["secateur", "fit", str(source), "--out", str(folder / "fit"), *OPTIONS])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    assert ended.value.code == 0
    return RecordingFolder.open(folder / "fit"), told.getvalue(), source


def test_the_command_tells_what_was_found(fitted):
    folder, out, _ = fitted
    findings = list(folder.results.attrs["findings"])
    assert out.splitlines()[: len(findings)] == findings
    assert any(s.startswith("rbm-3 ") and "independent on held-out bins" in s for s in findings)
    assert findings[-1].startswith("The ranking of couplings beyond rates") or "are not named" in findings[-1]


def test_info_of_words_and_of_a_fitted_recording(fitted, monkeypatch, capsys):
    folder, _, source = fitted
    code, told, _ = call(monkeypatch, capsys, "info", source)
    states = sc.load_words(source).states
    assert code == 0
    assert told.startswith(f"{source}: words of a recording, {source.stat().st_size:,} bytes\n")
    assert f"here: 600 bins x 4 units, {states.mean():.2%} of them 1" in told
    assert "epochs: 0 (100 bins), 1 (100 bins), 2 (100 bins)" in told and "bins of 0.02 s" in told
    code, told, _ = call(monkeypatch, capsys, "info", folder.path)
    assert code == 0
    assert told.startswith(f"{folder.path}: fitted recording of words.npz, finished 20")
    said = told.splitlines()
    assert all(sentence in said for sentence in map(str, folder.results.attrs["findings"]))
    stored = np.atleast_1d(folder.results.attrs.get("warnings", []))
    assert [line for line in said if line.startswith("warning: ")] == [f"warning: {text}" for text in stored]
    assert "folds 3" in told and "seed 5" in told
    assert f"machine: {folder.path / 'machines' / 'rbm-3.safetensors'}" in said


def test_the_folder_holds_everything_and_every_variable_says_what_it_is(fitted):
    folder, _, source = fitted
    results = folder.results
    assert results.sizes["unit"] == 4 and results.sizes["hidden"] == 3 and results.sizes["block"] >= 6
    for name, variable in results.data_vars.items():
        assert variable.attrs["units"] and variable.attrs["long_name"], name
    assert results.attrs["n_held_out_bins"] == results.attrs["n_bins"] == 600
    assert results.attrs["held_out_epochs"] == "0-5" and results.attrs["n_folds"] == 3
    np.testing.assert_allclose(results.population_count.sum("count"), 1, atol=1e-6)
    assert np.isfinite(results.specific_heat).all()
    machine = sc.load_machine(folder.path / "machines" / "rbm-3.safetensors")
    np.testing.assert_array_equal(machine.weights[0], results.hidden_weight.astype(np.float32))
    table = pd.read_csv(folder.path / "tables" / "pairwise" / "units.csv")
    np.testing.assert_allclose(table["information"], results.unit_information.sel(interval="value"))
    assert (folder.path / "tables" / "held-out.csv").is_file()
    assert sc.load_words(folder.path / "words.npz").unit_ids == tuple(results.unit.values)
    assert folder.settings["hidden"] == [3] and folder.settings["folds"] == 3
    assert len(folder.provenance["words"]["sha256"]) == 64
    assert is_words_file(source) and not is_words_file(folder.path / "results.nc")


def test_machine_commands_work_on_the_fitted_machine(fitted, monkeypatch, capsys):
    folder, _, _ = fitted
    code, out, _ = call(monkeypatch, capsys, "info", folder.path / "machines" / "rbm-3.safetensors")
    assert code == 0 and "fitted_to" in out


def test_the_report_shows_every_figure_and_escapes_names(fitted, monkeypatch, capsys):
    folder, _, _ = fitted
    code, _, err = call(monkeypatch, capsys, "report", folder.path)
    assert code == 0, err
    page = (folder.path / "report.html").read_text("utf-8")
    assert SCRIPT not in page and "http-equiv" in page
    for name in FIGURES:
        assert f'id="{name}"' in page
        assert (folder.path / "figures" / f"{name}.pdf").is_file()
    read = Page(page)
    assert "script" not in read.tags
    for sentence in folder.results.attrs["findings"]:
        assert " ".join(sentence.split()) in read.text


@pytest.mark.long
def test_figures_without_a_finite_number_say_so(fitted, tmp_path):
    results = fitted[0].results
    empty = results.map(lambda variable: variable * np.nan, keep_attrs=True)
    captions = draw_recording(empty.assign_attrs(results.attrs), tmp_path)
    assert captions.keys() == FIGURES.keys()
    assert not any("nan" in caption.text for caption in captions.values())


def test_equal_seeds_give_equal_results(fitted, tmp_path):
    folder, _, source = fitted
    training = sc.recordings.default_settings(600).model_copy(update={"n_epochs": 4})
    fit_recording(source, tmp_path / "again", seed=5, n_hidden=3, n_folds=3, training=training)
    xr.testing.assert_identical(folder.results, xr.open_dataset(tmp_path / "again" / "results.nc").load())


def test_matrix_and_convention_are_chosen_by_name_and_stand_on_every_table(fitted, tmp_path):
    _, _, source = fitted
    training = sc.recordings.default_settings(600).model_copy(update={"n_epochs": 4})
    options: dict[str, Any] = {"n_hidden": 3, "n_folds": 3, "training": training, "seed": 5}
    found = fit_recording(source, tmp_path / "again", of="visible", convention="+-1", **options)
    assert (found.results.attrs["fisher_matrix"], found.results.attrs["convention"]) == ("visible", "+-1")
    for path in (tmp_path / "again" / "tables").glob("*/*.csv"):
        table = pd.read_csv(path)
        assert set(table["fisher_matrix"]) == {"visible"} and set(table["convention"]) == {"+-1"}, path
    assert RecordingFolder.open(tmp_path / "again").settings["convention"] == "+-1"


def test_an_earlier_fit_is_kept_unless_told_otherwise(fitted, monkeypatch, capsys, tmp_path):
    folder, _, source = fitted
    before = (folder.path / "results.nc").read_bytes()
    line = refused(monkeypatch, capsys, "fit", source, "--out", folder.path, *OPTIONS)
    assert "exists already; choose another folder or say --overwrite" in line
    (tmp_path / "note.txt").write_text("mine")
    line = refused(monkeypatch, capsys, "fit", source, "--out", tmp_path, "--overwrite", *OPTIONS)
    assert "is not the folder of a fitted recording" in line
    assert (folder.path / "results.nc").read_bytes() == before


@pytest.mark.parametrize("begun", [False, True])
def test_a_fit_that_fails_leaves_the_earlier_one_whole(fitted, monkeypatch, capsys, begun):
    folder, _, source = fitted
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}

    def failing(*arguments, **options):
        raise ValueError("something went wrong")

    monkeypatch.setattr(folders, "_write" if begun else "analyse", failing)
    if begun:
        some = SimpleNamespace(machine=SimpleNamespace(layer_sizes=(4, 3)))
        monkeypatch.setattr(folders, "analyse", lambda *arguments, **options: some)
    line = refused(monkeypatch, capsys, "fit", source, "--out", folder.path, "--overwrite", *OPTIONS)
    assert "something went wrong" in line
    after = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    assert after == before and not list(folder.path.parent.glob(f".{folder.path.name}.*"))


@pytest.mark.parametrize(
    ("size", "options", "message"),
    [
        ((1, 600), [], "words must have at least 2 units to be fitted together, got 1"),
        ((4, 60), [], "words must have at least 100 bins to be fitted, got 60"),
        ((4, 600), ["--choose-hidden", "2,3"], "--hidden and --choose-hidden exclude each other"),
        ((4, 600), ["--binarize", "0.5"], "--binarize is for rows; words are 0 and 1 already"),
        ((4, 600), ["--set", "momentum=2"], "momentum"),
    ],
)
def test_what_cannot_be_fitted_is_refused_in_one_line(tmp_path, monkeypatch, capsys, size, options, message):
    source = _words_file(tmp_path / "words.npz", *size)
    assert message in _refused_fit(monkeypatch, capsys, source, tmp_path / "out", options)
    assert not (tmp_path / "out").exists()


def _refused_fit(monkeypatch, capsys, source, out, options):
    """The line of refusal; progress may have been told before it."""
    code, _, err = call(monkeypatch, capsys, "fit", source, "--out", out, *OPTIONS, *options)
    assert code == 2
    return err.rstrip("\n").splitlines()[-1]


def test_named_epochs_are_held_out_and_the_models_are_fitted_to_the_others(tmp_path, monkeypatch, capsys):
    source = _words_file(tmp_path / "words.npz")
    code, out, err = call(
        monkeypatch,
        capsys,
        "fit",
        source,
        "--out",
        tmp_path / "fit",
        "--hidden",
        "3",
        "--epochs",
        "4",
        "--hold-out",
        "3",
    )
    assert code == 0, err
    folder = RecordingFolder.open(tmp_path / "fit")
    assert folder.results.attrs["n_held_out_bins"] == 100 and folder.results.attrs["held_out_epochs"] == "3"
    assert folder.settings["hold_out"] == [3] and "folds" not in folder.settings
    assert "pairwise" in out
    line = refused(monkeypatch, capsys, "fit", source, "--out", tmp_path / "b", "--hold-out", "3", "--folds", "3")
    assert "--folds and --hold-out exclude each other" in line


def test_folds_are_for_words(tmp_path, monkeypatch, capsys):
    rows = tmp_path / "rows.npy"
    np.save(rows, np.random.default_rng(0).integers(0, 2, (20, 3)))
    line = refused(monkeypatch, capsys, "fit", rows, "--out", tmp_path / "m.safetensors", "--folds", "3")
    assert "--choose-hidden, --folds and --hold-out need a file of words" in line


def test_a_damaged_folder_is_told(fitted, tmp_path, monkeypatch, capsys):
    (tmp_path / "recording.toml").write_text("")
    line = refused(monkeypatch, capsys, "report", tmp_path)
    assert "holds no fitted recording (results.nc is missing)" in line
    assert json.loads((fitted[0].path / "provenance.json").read_text())["seed"] == 5
