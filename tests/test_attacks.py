"""What a hostile or careless hand does to a study's folder or to the terminal, and what stops it."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from command_line import call, refused
from secateur.commands import app as cli
from secateur.model.machine import Machine
from secateur.reading.words import words
from secateur.recordings.folds import blocks
from secateur.storage.machines import save_machine
from secateur.storage.text import plain
from secateur.studies import StudyFolder, record
from secateur.studies.settings import DataSettings
from synthetic_study import synthetic_config, synthetic_results, write_study


@pytest.fixture
def study(tmp_path):
    """A finished study whose results know their settings."""
    config = synthetic_config(("random",), 1, (4,))
    results = synthetic_results(config).assign_attrs(settings=json.dumps(config.deciding()))
    return write_study(tmp_path / "study", config, results)


@pytest.mark.parametrize("command", ["report", "resume"])
def test_changed_settings_of_a_finished_study_are_refused_by_name(monkeypatch, capsys, study, command):
    _ = study.config  # whole, it is read
    settings = study.path / "study.toml"
    settings.write_text(settings.read_text("utf-8").replace("seed = 7", "seed = 8"), "utf-8")
    line = refused(monkeypatch, capsys, command, study.path)
    assert "setting 'seed' of study.toml is 8, but results.nc was made with 7; set it back" in line


def test_settings_that_change_no_number_may_change(study):
    settings = study.path / "study.toml"
    text = settings.read_text("utf-8")
    settings.write_text(text.replace("threads = 2", "threads = 1"), "utf-8")
    assert settings.read_text("utf-8") != text and StudyFolder(study.path).config.threads == 1


class TestOverwriting:
    """An earlier study stays whole until the new one is finished."""

    @staticmethod
    def _seen(folder):
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def test_it_is_whole_while_the_new_one_is_made_and_after_it_failed(self, study):
        before = self._seen(study.path)
        with pytest.raises(KeyboardInterrupt), StudyFolder.begun(study.path, study.config, overwrite=True) as new:
            assert new.path != study.path == new.shown
            (new.path / "tasks").mkdir()
            (new.path / "tasks" / "record").write_text("half")
            assert self._seen(study.path).items() >= before.items()
            for again in (StudyFolder.begun(study.path, study.config, overwrite=True), study.locked()):
                with pytest.raises(ValueError, match="another run"), again:
                    pass
            raise KeyboardInterrupt
        assert self._seen(study.path).items() >= before.items() and StudyFolder.is_unfinished(study.path)
        with StudyFolder.continued(study.path) as new:  # goes on where the new one stopped
            assert (new.path / "tasks" / "record").read_text() == "half"
            (new.path / "results.nc").write_bytes(b"new")
        assert (study.path / "results.nc").read_bytes() == b"new" and not (study.path / "provenance.json").exists()
        assert [path.name for path in study.path.parent.iterdir()] == [study.path.name]

    def test_a_kill_between_the_two_renames_loses_nothing(self, study):
        with pytest.raises(OSError, match="stop"), StudyFolder.begun(study.path, study.config, overwrite=True):
            raise OSError("stop")
        study.path.rename(study.path.with_name(f".{study.path.name}.old"))
        with pytest.raises(OSError, match="stop"), StudyFolder.continued(study.path):
            assert StudyFolder(study.path).is_finished
            raise OSError("stop")
        assert StudyFolder(study.path).is_finished

    def test_links_are_not_followed(self, study, tmp_path):
        before = self._seen(study.path)
        (tmp_path / "link").symlink_to(study.path)
        new = StudyFolder.begun(tmp_path / "link", study.config, overwrite=True)
        with pytest.raises(ValueError, match="is a link, which is not replaced; remove it"), new:
            pass
        precious = tmp_path / "precious"
        precious.mkdir()
        (precious / "file").write_text("mine")
        (study.path / "figures").symlink_to(precious)
        with StudyFolder.begun(study.path, study.config, overwrite=True):
            pass
        assert (precious / "file").read_text() == "mine" and len(self._seen(study.path)) < len(before)

    def test_data_in_the_folder_are_not_removed(self, study):
        np.save(study.path / "rows.npy", np.eye(20, 4, dtype=np.uint8))
        config = study.config
        config = config.model_copy(update={"data": DataSettings(rows=str(study.path / "rows.npy"))})
        new = StudyFolder.begun(study.path, config, overwrite=True)
        with pytest.raises(ValueError, match=r"rows.npy' lie in the folder that would be replaced; copy them"), new:
            pass
        assert (study.path / "rows.npy").exists() and study.is_finished


def test_a_report_waits_for_no_run_that_writes(monkeypatch, capsys, study):
    with study.locked():
        assert "another run" in refused(monkeypatch, capsys, "report", study.path)


def test_control_characters_do_not_reach_the_terminal(monkeypatch, capsys):
    line = refused(monkeypatch, capsys, "report", "\x1b]0;taken\x07\x9b31m\u202e")
    assert not set(line) & set("\x1b\x07\x9b\u202e") and "taken" in line
    assert plain("a\x1b[2J\nb\u2066\ud800") == "a\\x1b[2J\nb\\u2066\\ud800"


def test_ctrl_c_ends_with_the_documented_code(monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("secateur.commands.studies.list_studies", interrupt)
    code, _, stderr = call(monkeypatch, capsys, "studies")
    assert (code, stderr) == (1, "secateur: interrupted\n")
    assert "0 done, 1 failed while running" in (cli.__doc__ or "")


SPECIAL = [
    ["run", "TOML"],
    ["resume", "TOML"],
    ["report", "TOML"],
    ["info", "SAFETENSORS"],
    ["fisher", "SAFETENSORS", "--out", "out.csv"],
    ["sample", "SAFETENSORS", "--out", "out.npy"],
    ["prune", "SAFETENSORS", "--dry-run"],
    ["score", "SAFETENSORS", "rows.npy"],
    ["score", "machine.safetensors", "NPY"],
    ["fit", "NPY", "--out", "out.safetensors"],
    ["fit", "CSV", "--out", "out.safetensors"],
    ["fit", "NPZ", "--out", "out"],
    ["run", "--data", "NPY", "--out", "out"],
    ["run", "--data", "rows.npy", "--labels", "NPY", "--out", "out"],
    ["extend", "TOML", "--trials", "3"],
]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder with a machine, rows, and pipes and devices under every ending."""
    np.save(tmp_path / "rows.npy", np.eye(40, 6, dtype=np.uint8))
    save_machine(Machine.random((6, 4), jax.random.key(0)), tmp_path / "machine.safetensors")
    for ending in ("toml", "safetensors", "npy", "npz", "csv"):
        os.mkfifo(tmp_path / f"pipe.{ending}")
        (tmp_path / f"device.{ending}").symlink_to("/dev/zero")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes have names on POSIX systems only")
@pytest.mark.parametrize("arguments", SPECIAL, ids=lambda a: " ".join(a[:2]))
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_pipes_and_devices_are_not_read(monkeypatch, capsys, here, kind, arguments):
    before = sorted(here.iterdir())
    named = [f"{kind}.{argument.lower()}" if argument.isupper() else argument for argument in arguments]
    refused(monkeypatch, capsys, *named)
    assert sorted(here.iterdir()) == before


@pytest.mark.parametrize("number", [10**400, -5, 10**7], ids=["a number of 400 digits", "-5", "10 million"])
def test_forged_rounds_of_a_lineage_name_no_file(monkeypatch, capsys, here, number):
    save_machine(Machine.random((6, 4), jax.random.key(0)), here / "forged.safetensors", {"round": number})
    line = refused(monkeypatch, capsys, "prune", "forged.safetensors", "--rounds", 2, "--out", "out")
    assert "lineage says that it has been through" in line and len(line) < 300
    assert not (here / "out").exists()


DIGITS = "9" * 40


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", "rows.npy", "--hidden", DIGITS],
        ["fit", "rows.npy", "--hidden", "99999999"],
        ["fit", "words.npz", "--hidden", "99999999"],
        ["fit", "words.npz", "--hidden", "3," * 20 + "3"],
        ["fit", "words.npz", "--choose-hidden", "3,99999999"],
        ["fit", "rows.npy", "--epochs", "1000000000000"],
        ["fit", "rows.npy", "--seed", DIGITS],
        ["fit", "rows.npy", "--set", "learning_rate=1e999"],
        ["fit", "rows.npy", "--set", "batch_size=" + "9" * 5000],
        ["fit", "rows.npy", "--set", "n_chains=99999999999"],
        ["prune", "machine.safetensors", "--rounds", "1000000000"],
        ["prune", "machine.safetensors", "--fraction", "9" * 5000],
        ["prune", "machine.safetensors", "--fraction", "1e-400"],
        ["prune", "machine.safetensors", "--chains", "99999999999"],
        ["prune", "machine.safetensors", "--draws", DIGITS],
        ["prune", "machine.safetensors", "--sweeps", "999999999999"],
        ["prune", "machine.safetensors", "--seed", DIGITS],
        ["prune", "machine.safetensors", "--seed", "-1"],
        ["prune", "machine.safetensors", "--rounds", "-1"],
        ["prune", "machine.safetensors", "--fraction", "-0.5"],
        ["prune", "machine.safetensors", "--fraction", "nan"],
        ["prune", "machine.safetensors", "--chains", "-1"],
        ["prune", "machine.safetensors", "--draws", "0"],
        ["prune", "machine.safetensors", "--burn-in", "-" + DIGITS],
        ["prune", "machine.safetensors", "--data", "rows.npy", "--retrain-epochs", "1000000000000"],
        ["prune", "machine.safetensors", "--data", "rows.npy", "--retrain-epochs", "-1"],
        ["prune", "machine.safetensors", "--data", "rows.npy", "--retrain-epochs", "1", "--set", f"n_chains={DIGITS}"],
        ["prune", "machine.safetensors", "--data", "rows.npy", "--retrain-epochs", "1", "--set", "batch_size=-1"],
        ["prune", "machine.safetensors", "--data", "rows.npy", "--binarize", "nan"],
        ["sample", "machine.safetensors", "--n", "10000000000"],
        ["sample", "machine.safetensors", "--sweeps", DIGITS],
        ["sample", "machine.safetensors", "--burn-in", DIGITS],
        ["score", "machine.safetensors", "rows.npy", "--seed", DIGITS],
        ["run", "digits", "--trials", DIGITS],
        ["run", "digits", "--rounds", "10000000"],
        ["run", "digits", "--seed", DIGITS],
        ["run", "digits", "--workers", "99999999"],
        ["run", "digits", "--set", "model.hidden=[999999999]"],
        ["run", "digits", "--set", "training.n_epochs=" + "9" * 5000],
    ],
    ids=lambda a: " ".join(a[:1] + a[-2:])[:40],
)
def test_huge_numbers_are_refused_at_once(monkeypatch, capsys, here, recorded, arguments):
    recorded.save(here / "words.npz")
    ending = "" if "words.npz" in arguments else "npy" if arguments[0] in ("sample", "score") else "safetensors"
    line = refused(monkeypatch, capsys, *arguments, "--out", out := f"out.{ending}".rstrip("."))
    option, value = arguments[-2:]
    asked = value.partition("=")[0] if option == "--set" else option.lstrip("-").replace("-", "_")
    assert asked in line.replace("-", "_"), line  # and not for another reason
    assert not (here / out).exists()


@pytest.mark.parametrize(
    "text",
    ["{", "[" * 100_000, "null", '{"sessions": 5}', '{"sessions": [1]}', '{"seed": ' + "9" * 6000 + "}"]
    + ['{"sessions": [{"total_seconds": "x"}]}'],
    ids=lambda text: text[:24],
)
@pytest.mark.parametrize("command", [["report"], ["resume"], ["extend", "--trials", "3"]], ids=lambda c: c[0])
def test_damaged_provenance_is_named(monkeypatch, capsys, study, text, command):
    (study.path / "provenance.json").write_text(text)
    line = refused(monkeypatch, capsys, command[0], study.path, *command[1:])
    assert "provenance.json" in line or "tasks/" in line


@pytest.mark.parametrize("text", ["a=" + "[" * 100_000, "rounds=" + "9" * 5000, "[" + ".".join(["a"] * 2000) + "]"])
def test_deep_and_huge_settings_are_refused(monkeypatch, capsys, tmp_path, text):
    (tmp_path / "study.toml").write_text(text)
    refused(monkeypatch, capsys, "run", tmp_path / "study.toml")


RECORD = {"format": record.FORMAT, "format_version": 1, "data_sha256": "0" * 64, "n_rounds": 2}
RECORD |= {"seconds": {"train": 1.0}, "took": 1.0, "settings": {"seed": 7}}


def _forged_record(path, n_bytes, length=None, offsets=None, **changes):
    """A task record of one array that its header declares, and that takes no room on the disk."""
    metadata = {"secateur": json.dumps(RECORD | changes)}
    about = {"dtype": "U8", "shape": [n_bytes], "data_offsets": offsets or [0, n_bytes]}
    header = json.dumps({"__metadata__": metadata, "results/many": about}).encode()
    path.write_bytes((length or len(header)).to_bytes(8, "little") + header)
    os.truncate(path, 8 + len(header) + n_bytes)
    return path


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="only Linux counts the bytes that a process reads")
def test_looking_at_a_record_reads_its_header_alone(tmp_path):
    """Of a gigabyte at the size of the paper; every task is looked at several times."""

    def read():
        return int(Path("/proc/self/io").read_text().split()[1])  # rchar

    path = _forged_record(tmp_path / "random.safetensors", 2**27)
    before = read()
    assert record.peek(path) == 2 and record.data_sha256_of(path) == "0" * 64
    record.check_settings(path, {"seed": 7})
    assert read() - before < 2**20


@pytest.mark.parametrize(
    "forged",
    [
        {"length": 2**62},
        {"length": 2**23},  # more than the file has
        {"length": 20},
        {"offsets": [0, 2**50]},
        {"offsets": [0, -1]},
        {"offsets": [0]},
        {"offsets": "ab"},
        {"n_rounds": -1},
        {"n_rounds": 10**6},
        {"n_rounds": True},
        {"took": 10**400},
        {"seconds": {"train": -1.0}},
        {"seconds": {"train": "1"}},
        {"settings": [1]},
        {"format_version": 10**30},
    ],
    ids=str,
)
def test_forged_headers_of_records_are_refused(tmp_path, forged):
    path = _forged_record(tmp_path / "random.safetensors", 100, **forged)
    with pytest.raises(ValueError) as error:
        record.peek(path)
    assert str(error.value).startswith(str(path)) and len(str(error.value)) < 600


@pytest.fixture(scope="module")
def recorded():
    """Words of four units in 20 epochs."""
    return words(np.random.default_rng(0).integers(0, 2, (20, 20, 4)), 0.02, orientation="repeats x bins x units")


@pytest.fixture
def recording(tmp_path, recorded):
    """The folder of a fitted recording, as far as ``prune`` looks at it before it computes."""
    for name in ("results.nc", "provenance.json"):
        (tmp_path / name).touch()
    (tmp_path / "recording.toml").write_text('words = "words.npz"\nhidden = [3]\n')
    recorded.save(tmp_path / "words.npz")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("hidden = [3]", "must name a file of 'words'"),
        ('words = "w"', "must name"),
        ('words = "w"\nhidden = 3', "a list"),
        ('words = "w"\nhidden = [true]', "a list"),
        ('words = "w"\nhidden = ["3"]', "a list"),
        ('words = "w"\nhidden = []', "n_hidden must name layers of at least one unit"),
        ('words = "w"\nhidden = [-3]', "n_hidden must name layers of at least one unit"),
        ('words = "w"\nhidden = [99999999999]', "at most 268,435,456 synapses between two"),
        (f'words = "w"\nhidden = [{"3, " * 1000}]', "at most 16 layers"),
        (f'words = "w"\nhidden = [{"9" * 5000}]', "is not valid TOML"),
        ("hidden = " + "[" * 100_000, "is not valid TOML"),
        ("#" * 2**21, "has more than 1,048,576 bytes"),
    ],
    ids=lambda text: text[:30],
)
def test_forged_settings_of_a_recording_are_refused(monkeypatch, capsys, recording, text, reason):
    (recording / "recording.toml").write_text(text)
    line = refused(monkeypatch, capsys, "prune", recording, "--what", "machine", "--rounds", 1)
    assert reason in line and len(line) < 600


@pytest.mark.parametrize(
    "forged",
    [
        {"bin_size": np.array(-1.0)},
        {"bin_size": np.array(0.0)},
        {"bin_size": np.array(np.inf)},
        {"bin_size": np.zeros(3)},
        {"states": np.full((400, 4), 2, np.uint8)},
        {"states": np.zeros((0, 4), np.uint8)},
        {"states": np.zeros(400, np.uint8)},
        {"epochs": np.full(400, -1)},
        {"epochs": np.arange(400)[::-1]},
        {"epochs": np.arange(400.0)},
        {"unit_ids": np.array(["a"])},
        {"notes": np.array("[" * 100_000)},
        {"notes": np.array('{"n_bins": -1}')},
        {"format_version": np.array(2**62)},
    ],
    ids=lambda forged: next(iter(forged)),
)
def test_forged_words_of_a_recording_are_refused(monkeypatch, capsys, recording, forged):
    with np.load(recording / "words.npz") as whole:
        np.savez(recording / "words.npz", **{**whole, **forged})
    assert "words.npz" in refused(monkeypatch, capsys, "prune", recording, "--rounds", 1)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--rounds", 10**9),
        ("--rounds", -1),
        ("--fraction", "1e-400"),
        ("--fraction", "9" * 5000),
        ("--fraction", "nan"),
        ("--seed", DIGITS),
        ("--criterion", ",".join(["random"] * 10_000)),
        ("--criterion", "random,random"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_pruning_a_recording_has_bounds(monkeypatch, capsys, recording, option, value):
    line = refused(monkeypatch, capsys, "prune", recording, option, value)
    assert {"--criterion": "criteria"}.get(option, option.lstrip("-")) in line and len(line) < 600
    assert not (recording / "pruning").exists()


def test_epochs_of_any_number_take_no_memory(recording, recorded):
    """Epoch numbers are names: that of the last one may be larger than any count."""
    far = replace(recorded, epochs=recorded.epochs + 2**62)
    assert blocks(far.states, far.epochs).sentence == blocks(recorded.states, recorded.epochs).sentence
