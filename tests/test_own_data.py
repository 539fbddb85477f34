"""Studies of the user's own data: files of every kind, arrays from Python, words; their splits, and what is refused."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pandas as pd
import pytest
import tomli_w
import xarray as xr

import secateur as sc
from command_line import call, refused
from secateur.data.tables import Tables, read_tables
from secateur.storage.progress import Silent
from secateur.studies import StudyFolder, load_config
from secateur.studies.config import resolved
from secateur.studies.defaults import config_for_files
from secateur.studies.describe import settings_of, study_schema
from secateur.studies.own_rows import OwnRows, OwnWords, given_from, read_own_rows
from secateur.studies.settings import DataSettings
from secateur.studies.sources import read_rows_of

SMALL = {
    "trials": 1,
    "rounds": 1,
    "criteria": ["variance-fi"],
    "model.hidden": [4],
    "training.n_epochs": 2,
    "retraining.n_epochs": 1,
    "evaluation.n_samples": 20,
    "evaluation.n_sweeps": 3,
    "evaluation.n_examples": 2,
    "evaluation.n_conditional_samples": 20,
    "evaluation.n_frequency_samples": 1000,
}
SETTINGS = [argument for name, value in SMALL.items() for argument in ("--set", f"{name}={json.dumps(value)}")]
FEW = ["--set", 'measures=["exact-likelihood", "anatomy", "size"]']
"""Few figures: drawing takes longer than everything else."""


def tables_of(data):
    kind, tables = given_from(data)
    assert isinstance(tables, Tables) and kind == "rows"
    return tables


@pytest.fixture(scope="module")
def images():
    """120 grey images of 3 x 3 pixels and their labels: bright above or below."""
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=120)
    grey = rng.integers(0, 120, (120, 3, 3)) + 130 * (labels[:, None, None] == (np.arange(3) > 1)[None, :, None])
    return grey.astype(np.uint8), np.array(["above", "below"])[labels]


@pytest.fixture(scope="module")
def recording():
    """Words of nine units in six epochs of unequal length."""
    rng = np.random.default_rng(1)
    epochs = np.repeat(np.arange(6), [30, 40, 50, 40, 60, 30])
    shared = rng.random((len(epochs), 3)) < 0.3
    states = np.repeat(shared, 3, axis=1) & (rng.random((len(epochs), 9)) < 0.8)
    parts = [states[epochs == epoch].astype(np.uint8) for epoch in range(6)]
    found = sc.words(states.astype(np.uint8), bin_size=0.02)
    assert found.states.shape == states.shape and len(parts) == 6
    return type(found)(found.states, found.unit_ids, found.bin_starts, epochs, 0.02, found.notes)


def test_images_with_labels_from_python_and_their_folder(images, tmp_path):
    out = tmp_path / "study"
    results = sc.studies.run(SMALL, out, data=images)
    for name in ("test_error", "sample_quality", "conditional_accuracy", "kl_divergence", "test_log_likelihood"):
        assert np.isfinite(results[name]).all(), name
    assert results.attrs["image_shape"].tolist() if hasattr(results.attrs["image_shape"], "tolist") else True
    assert "9 units, labels of 2 classes. Values above" in results.attrs["source"]
    config = StudyFolder.open(out).config
    assert config.data.rows == "data/rows.npy" and config.data.binarize == "mean" and config.importance == "exact"
    np.testing.assert_array_equal(np.load(out / "data" / "rows.npy"), images[0])
    # The folder moves with its data, and gives the same numbers again.
    again = sc.studies.run(out / "study.toml", tmp_path / "again")
    xr.testing.assert_identical(again.drop_attrs(), results.drop_attrs())


def test_words_hold_out_whole_epochs(recording, tmp_path):
    recording.save(tmp_path / "words.npz")
    results = sc.studies.run(SMALL | {"data.test_share": 0.25}, tmp_path / "study", data=recording)
    gain, spikes = results.gain_per_bin.isel(round=0, stage=0), results.spikes_per_bin
    np.testing.assert_allclose(results.gain_per_spike.isel(round=0, stage=0), gain / spikes, rtol=1e-5)
    assert results.attrs["n_test"] == 62 and "whole epochs" in results.attrs["source"]
    own = OwnWords(DataSettings(dataset="words", test_share=0.25), [recording], "words")
    seen = set()
    for seed in range(5):
        split = own.split(seed)
        assert (len(split.test), len(split.train)) == (62, 250 - 62 - 60)
        rows = {row.tobytes() for row in split.test}
        seen.add(hash(frozenset(rows)))
    assert len(seen) > 1
    # Two files are one recording with twice as many epochs.
    two = OwnWords(DataSettings(dataset="words"), [recording, recording], "words")
    assert two.n_epochs == 12 and two.n_bins == 500


def test_rows_of_held_out_epochs_are_never_trained_on(recording):
    """Every bin carries the number of its epoch; a twin that splits bins at random mixes them."""
    numbered = np.zeros((250, 9), np.uint8)
    numbered[np.arange(250), recording.epochs] = 1
    made = type(recording)(numbered, recording.unit_ids, recording.bin_starts, recording.epochs, 0.02, recording.notes)
    own = OwnWords(DataSettings(dataset="words", test_share=0.25), [made], "words")
    split = own.split(3)
    assert not set(split.train.argmax(axis=1)) & set(split.test.argmax(axis=1))
    own.blocks = np.arange(250)
    split = own.split(3)
    assert set(split.train.argmax(axis=1)) & set(split.test.argmax(axis=1))


def test_one_command_from_a_csv_without_labels(tmp_path, monkeypatch, capsys):
    rows = (np.random.default_rng(0).random((60, 9)) < 0.4).astype(int)
    pd.DataFrame(rows).to_csv(tmp_path / "cells.csv", index=False, header=[f"cell{n}" for n in range(9)])
    monkeypatch.chdir(tmp_path)
    code, stdout, stderr = call(monkeypatch, capsys, "run", "--data", "cells.csv", "--out", "out", *SETTINGS, *FEW)
    assert code == 0, stderr
    assert "training.n_epochs" not in stderr and "importance = exact" in stderr
    assert "report: out/report.html" in stdout
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "cells.csv: 60 rows of 9 units." in page and "independent units" in page
    assert StudyFolder.open(tmp_path / "out").config.data.rows == str(tmp_path / "cells.csv")


def test_the_patches_study_runs(tmp_path):
    settings = {name: value for name, value in SMALL.items() if "conditional" not in name} | {
        "data.dataset": "photographs",
        "data.radius": 1.5,
        "data.n_train": 200,
        "data.n_validation": 100,
        "training.batch_size": 20,
        "retraining.batch_size": 20,
    }
    results = sc.studies.run(load_config("patches", "quick", settings), tmp_path / "patches")
    assert results.sizes["pixel"] == 9 and np.isfinite(results.log_frequency_error).all()
    assert np.isfinite(results.eigenvalue).all() and np.isfinite(results.rank_correlation).all()


def write_idx(path, array):
    head = bytes([0, 0, 8, array.ndim]) + b"".join(int(n).to_bytes(4, "big") for n in array.shape)
    path.write_bytes(gzip.compress(head + array.tobytes()))


def test_every_kind_of_file_holds_the_same_rows(images, tmp_path):
    grey, labels = images
    flat = grey.reshape(120, 9)
    np.save(tmp_path / "rows.npy", flat)
    np.savez(tmp_path / "rows.npz", x_train=grey, y_train=labels)
    pd.DataFrame(flat).assign(kind=labels).to_csv(tmp_path / "rows.csv", index=False)
    write_idx(tmp_path / "rows-idx3-ubyte.gz", grey)
    (tmp_path / "labels.txt").write_text("kind\n" + "\n".join(labels))
    found = [
        read_tables(tmp_path / "rows.npy", tmp_path / "labels.txt"),
        read_tables(tmp_path / "rows.npz"),
        read_tables(tmp_path / "rows.csv", "kind"),
        read_tables(tmp_path / "rows-idx3-ubyte.gz", tmp_path / "labels.txt"),
    ]
    for tables in found:
        np.testing.assert_array_equal(tables.rows.reshape(120, 9), flat)
        assert tables.labels is not None and tables.labels.tolist() == labels.tolist()
    assert isinstance(found[0].rows, np.memmap)
    config, reasons = config_for_files(tmp_path / "rows.npz")
    assert config.data.binarize == "mean" and any("data.binarize = mean" in reason for reason in reasons)


def test_a_common_mean_that_silences_columns_is_told(tmp_path):
    """Columns in units of their own: of one in thousands all others lie below the mean of all."""
    rng = np.random.default_rng(0)
    for scales, told in (([1, 1, 1, 1000], "3 of 4 columns 0 or 1 throughout"), ([1, 1, 1, 1], None)):
        np.save(tmp_path / "rows.npy", rng.normal(3.0, 1.0, (50, 4)) * scales)
        reasons = config_for_files(tmp_path / "rows.npy").reasons
        assert any("throughout" in reason for reason in reasons) == bool(told), reasons
        assert told is None or any(told in reason for reason in reasons)


@pytest.mark.parametrize(("rule", "share"), [(100.0, None), ("mean", None), ("redraw", None)])
def test_grey_levels_become_0_and_1_by_the_stated_rule(images, rule, share):
    own = OwnRows(DataSettings(binarize=rule), tables_of(images), "data")
    split = own.split(0)
    order = np.random.default_rng(0).permutation(120)
    n_test = round(0.28 * 120)
    train = images[0].reshape(120, 9)[np.sort(order[n_test:])].astype(float)
    assert set(np.unique(split.train)) == {0, 1}
    if rule == "redraw":
        assert split.grey is not None
        np.testing.assert_allclose(split.grey, train / 255, rtol=1e-6)
        z = (split.train.sum() - split.grey.sum()) / np.sqrt((split.grey * (1 - split.grey)).sum())
        assert abs(z) < 4.9 and (split.train != split.grey.round()).any()
    else:
        threshold = 100 if rule == 100.0 else train.mean()
        np.testing.assert_array_equal(split.train, train > threshold)


def test_rows_are_drawn_afresh_in_every_epoch(monkeypatch):
    """Twin: without redraw an epoch sees the levels themselves."""
    from secateur.training import TrainingSettings, loop, train
    from secateur.training.trainer import Trainer

    machine = sc.Machine.random((4, 2), sc.model.randomness.jax.random.key(0))
    grey, seen = np.full((20, 4), 0.5, np.float32), []
    original = loop._epoch

    def watched(given, state):
        seen.append(np.asarray(given[1]))
        return original(given, state)

    monkeypatch.setattr(loop, "_epoch", watched)
    for redraw in (True, False):
        settings = TrainingSettings(n_epochs=2, batch_size=10, n_chains=4, redraw=redraw)
        train(machine, grey, settings, sc.model.randomness.jax.random.key(1), record_history=False)
    assert all(set(np.unique(rows)) == {0, 1} for rows in seen[:2]) and (seen[0] != seen[1]).any()
    assert all((rows == 0.5).all() for rows in seen[2:]) and issubclass(Trainer, object)
    config = resolved(load_config("digits").model_dump(mode="json", exclude_none=True), {"data.binarize": "redraw"})
    assert config.training.redraw and config.retraining.redraw and config.pretraining and config.pretraining.redraw


def test_large_tables_are_read_in_pieces_and_at_random(tmp_path, monkeypatch):
    rows = (np.arange(3000)[:, None] >> np.arange(12)[None, :]) & 1
    np.save(tmp_path / "rows.npy", rows.astype(np.uint8))
    monkeypatch.setattr("secateur.studies.own_rows._PIECE", 7)
    data = DataSettings(rows="rows.npy", most_rows=100)
    data.below(tmp_path)
    (one,), (other,) = read_rows_of(data, 0, [0]), read_rows_of(data, 0, [1])
    assert (len(one.train), len(one.test)) == (72, 28)
    numbers = {int(n) for part in (one.train, one.test) for n in part @ (1 << np.arange(12))}
    assert len(numbers) == 100 and max(numbers) > 2000
    assert (one.train != other.train).any()
    monkeypatch.setattr("secateur.studies.own_rows.MAX_VALUES", 1000)
    whole = DataSettings(rows="rows.npy")
    whole.below(tmp_path)
    with pytest.raises(ValueError, match=r"more than fit into memory; set data\.most_rows to 83 or less"):
        read_rows_of(whole, 0, [0])


def test_given_test_rows_are_those_that_judge(images):
    grey, labels = images
    given = {"rows": grey[:100], "labels": labels[:100], "test_rows": grey[100:], "test_labels": labels[100:]}
    own = OwnRows(DataSettings(binarize=127), tables_of(given), "data")
    for seed in (0, 1):
        split = own.split(seed)
        np.testing.assert_array_equal(split.test, grey[100:].reshape(20, 9) > 127)
        assert split.test_labels is not None
        assert [own.classes[n] for n in split.test_labels] == labels[100:].tolist()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"row": np.zeros((20, 3))}, r"data must be a dict of rows, labels, test_rows, test_labels, got row"),
        ((np.zeros((20, 3)), np.zeros(19)), r"labels of rows must be one per row, 20, got shape \(19,\)"),
        (np.zeros(20), r"rows must be numbers \(rows, units\) or images .* got an array of shape \(20,\)"),
        (np.zeros((5, 3)), r"data holds 5 rows; a study needs at least 10"),
        ((np.zeros((20, 3)), np.zeros(20)), r"labels must be of 2 to 1,000 classes, got 1"),
        (np.full((20, 3), np.nan), r"data must hold finite numbers, got nan in column 0"),
        ({"rows": np.zeros((20, 3)), "test_rows": np.zeros((5, 4))}, r"rows have shape \(3,\), test rows \(4,\)"),
    ],
)
def test_data_that_do_not_fit_are_refused(data, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        sc.studies.run(SMALL, tmp_path / "out", data=data)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "run needs a study or --data, got neither"),
        (["run", "digits", "--data", "rows.csv"], "run needs a study or --data, got both"),
        (["run", "digits", "--labels", "x"], "--labels goes with --data; leave it out"),
        (["run", "--data", "rows.csv", "--image-shape", "3"], "--image-shape must be height and width, e.g. 28x28"),
        (["run", "--data", "rows.csv", "--image-shape", "2x2"], "data.image_shape 2 x 2 does not fit rows.csv"),
        (["run", "--data", "rows.csv", "--binarize", "often"], "--binarize must be mean, redraw or a threshold"),
        (["run", "--data", "rows.csv", "--labels", "kind"], "labels must be a file or a column of"),
        (["run", "--data", "rows.csv", "--set", "epochs=3"], "unknown setting 'epochs'; did you mean"),
        (["run", "--data", "noise.npy"], "noise.npy cannot be read as a table"),
        (["run", "--data", "noise.npy", "--drop", "a"], "--drop names columns of .csv and .txt, which"),
        (["run", "digits", "--drop", "a"], "--drop goes with --data; leave it out"),
        (["run", "--data", "rows.csv", "--drop", "z"], "it has no column 'z'; its columns are 'a', 'b', 'c'"),
        (["run", "--data", "rows.csv", "--labels", "kind"], "--labels must be a file or a column of"),
        (["studies", "digitz"], "did you mean 'digits'?"),
    ],
)
def test_wrong_use_is_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("\n".join(["a,b,c", *["0,1,0", "1,0,1"] * 10]))
    (tmp_path / "noise.npy").write_bytes(bytes(range(200)))
    assert message in refused(monkeypatch, capsys, *arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["noise.npy", "rows.csv"]


@pytest.mark.parametrize("suffix", ["csv", "txt"])
def test_columns_that_are_no_units_are_named_and_the_remedies_work(tmp_path, suffix):
    """An index, a column of words and one of labels, in rows and test rows; what is left are the units, to the bit."""
    rows = (np.random.default_rng(0).random((60, 4)) < 0.4).astype(int)
    frame = pd.DataFrame(rows, columns=list("abcd"))
    frame.insert(0, "number", np.arange(60))
    frame.insert(2, "subject", np.where(rows[:, 0] == 1, "rat", "mouse"))
    frame["kind"] = np.arange(60) % 3
    frame[:40].to_csv(tmp_path / f"rows.{suffix}", index=False)
    frame[40:].to_csv(tmp_path / f"test_rows.{suffix}", index=False)
    drop: list[str] = []
    for message, more in (("column 'subject' is no unit", "subject"), ("column 'number' numbers the rows", "number")):
        with pytest.raises(ValueError, match=f"{message}.* --drop {more}"):
            config_for_files(tmp_path, {}, {"labels": "kind", "drop": drop} if drop else {"labels": "kind"})
        drop.append(more)
    config = config_for_files(tmp_path, {}, {"labels": "kind", "drop": drop}).config
    own = read_own_rows(config.data)
    np.testing.assert_array_equal(own.rows, rows[:40])
    np.testing.assert_array_equal(own.test, rows[40:])
    assert own.classes == ["0", "1", "2"]
    np.testing.assert_array_equal(own.test_labels, np.arange(40, 60) % 3)
    named = config.data.model_copy(update={"drop": ("number",)})  # from a study's file, settings are named
    with pytest.raises(ValueError, match=r"data\.labels = 'subject' .* or data\.drop = \['subject'\]"):
        read_own_rows(named)


def test_options_for_rows_are_refused_beside_words(tmp_path, recording, monkeypatch, capsys):
    recording.save(tmp_path / "words.npz")
    line = refused(monkeypatch, capsys, "run", "--data", tmp_path / "words.npz", "--binarize", "0.5")
    assert "--binarize is for rows, but" in line and "leave it out" in line


def test_settings_chosen_from_the_data_bound_the_work(tmp_path):
    """Many units, many rows, few: the numbers a user sees, and that they are what runs."""
    for shape, hidden, told in (
        ((400, 4096), (200,), "training.n_epochs = 33, batch_size = 10"),
        ((30_000, 784), (400,), "training.n_epochs = 4, batch_size = 100"),
        ((200, 12), (24,), "training.n_epochs = 100, batch_size = 10"),
    ):
        np.save(tmp_path / "rows.npy", np.eye(*shape, dtype=np.uint8))
        config, reasons = config_for_files(tmp_path / "rows.npy")
        assert config.model.hidden == hidden and any(told in reason for reason in reasons), reasons
        assert (config.importance == "exact") == (shape[1] == 12)
        assert f"n_epochs = {config.training.n_epochs}," in " ".join(reasons)
    config, reasons = config_for_files(tmp_path / "rows.npy", {"model.hidden": [8, 4], "training.n_epochs": 2})
    assert config.model.hidden == (8, 4) and config.pretraining is not None and not reasons
    with pytest.raises(ValueError, match=r"model\.hidden: "):
        config_for_files(tmp_path / "rows.npy", {"model.hidden": 5})


def test_every_setting_is_listed_with_meaning_default_and_bounds(monkeypatch, capsys):
    listed = {setting.name: setting for setting in settings_of(load_config("digits"))}
    assert all(setting.meaning for setting in listed.values()), [n for n, s in listed.items() if not s.meaning]
    epochs = listed["training.n_epochs"]
    assert epochs.default == "10" and epochs.bounds == "from 1 to 1,000,000"
    assert '"all"' in listed["pruning.zeros"].bounds
    code, stdout, _ = call(monkeypatch, capsys, "studies", "digits")
    assert code == 0 and str(epochs) in stdout.splitlines()


def test_the_schema_of_study_files_knows_every_setting(monkeypatch, capsys):
    code, stdout, _ = call(monkeypatch, capsys, "studies", "--schema")
    schema = json.loads(stdout)
    assert code == 0 and schema == json.loads(json.dumps(study_schema()))
    sizes = schema["properties"]["sizes"]["additionalProperties"]["properties"]
    assert set(load_config("digits").model_dump()) <= set(sizes) and "like" in sizes
    assert "required" not in schema and schema["$defs"]["DataSettings"]["additionalProperties"] is False


def test_files_are_named_whole_where_a_study_leaves_its_folder(images, tmp_path, monkeypatch):
    """A study file names its rows as they lie beside it; the folder of the run lies elsewhere."""
    rows = (images[0].reshape(len(images[0]), -1) > 128).astype(np.uint8)
    (tmp_path / "mine").mkdir()
    np.save(tmp_path / "mine" / "rows.npy", rows)
    chosen = config_for_files(tmp_path / "mine" / "rows.npy", SMALL, {}).config
    settings = chosen.model_dump(mode="json", exclude_none=True)
    settings["data"] |= {"rows": "rows.npy", "data_dir": "sets"}
    (tmp_path / "mine" / "study.toml").write_text(tomli_w.dumps(settings), "utf-8")
    monkeypatch.chdir(tmp_path)
    found = load_config(tmp_path / "mine" / "study.toml").data.with_absolute_paths()
    assert found.rows == str(tmp_path / "mine" / "rows.npy") and found.data_dir == str(tmp_path / "sets")
    labelled = found.model_copy(update={"labels": "a-column"}).with_absolute_paths()
    assert labelled.labels == "a-column" and labelled.rows == found.rows
    stopped = StopsAtOnce()
    with pytest.raises(KeyboardInterrupt):
        sc.studies.run(load_config(tmp_path / "mine" / "study.toml"), tmp_path / "out", progress=stopped)
    assert StudyFolder(tmp_path / "out").config.data.rows == found.rows


class StopsAtOnce(Silent):
    """Interrupts a study when it starts."""

    def start(self, plan, done=None):
        raise KeyboardInterrupt
