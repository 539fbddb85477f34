"""What a hostile or careless hand does to a study's folder or to the terminal, and what stops it."""

from __future__ import annotations

import os

import jax
import numpy as np
import pytest

from command_line import call, refused
from secateur.commands import app as cli
from secateur.model.machine import Machine
from secateur.storage.machines import save_machine
from secateur.storage.text import plain
from secateur.studies import StudyFolder
from secateur.studies.settings import DataSettings
from synthetic_study import synthetic_config, synthetic_results, write_study


@pytest.fixture
def study(tmp_path):
    """A finished study whose results know their settings."""
    import json

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


DIGITS = "9" * 40


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", "rows.npy", "--hidden", DIGITS],
        ["fit", "rows.npy", "--hidden", "99999999"],
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
def test_huge_numbers_are_refused_at_once(monkeypatch, capsys, here, arguments):
    ending = "npy" if arguments[0] in ("sample", "score") else "safetensors"
    line = refused(monkeypatch, capsys, *arguments, "--out", f"out.{ending}")
    option, value = arguments[-2:]
    asked = value.partition("=")[0] if option == "--set" else option.lstrip("-").replace("-", "_")
    assert asked in line.replace("-", "_"), line  # and not for another reason
    assert not (here / f"out.{ending}").exists()


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
