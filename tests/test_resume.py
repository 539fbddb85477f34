"""Studies that are interrupted: nothing is lost, and the numbers are those of an unbroken run."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
import xarray as xr

import secateur as sc
from command_line import call
from conftest import small_machine
from secateur.storage import arrays as array_files
from secateur.storage.progress import Silent
from secateur.studies import StudyFolder, load_config
from secateur.training import TrainingCheckpoint, TrainingSettings, train
from study_settings import TINY

SETTINGS = TINY | {"trials_at_once": 1, "retraining.n_epochs": 2}


EPOCHS = ("training", "retraining")


class StopsAfter(Silent):
    """Interrupts the study after some epochs."""

    def __init__(self, epochs):
        self.left, self.began = epochs, (0, 0)

    def start(self, plan, done=None):
        self.began = tuple(sum(n for kind, n in (steps or {}).items() if kind in EPOCHS) for steps in (plan, done))

    def advance(self, kind, seconds):
        self.left -= kind in EPOCHS
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def config():
    return load_config("digits", "quick", SETTINGS)


@pytest.fixture(scope="module")
def unbroken(config, tmp_path_factory):
    return sc.studies.run(config, tmp_path_factory.mktemp("unbroken") / "study")


def test_a_study_stopped_again_and_again_gives_the_same_numbers(config, unbroken, tmp_path):
    """Every epoch is kept. Every session ends after some epochs, those included that the session before has left in an
    unfinished training; so each gets more than the one before, or none would come further.
    """
    out = tmp_path / "study"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("secateur.training.checkpoint.INTERVAL_S", 0.0)
        sessions, done = 1, []
        with pytest.raises(KeyboardInterrupt):
            sc.studies.run(config, out, progress=StopsAfter(3))
        while not StudyFolder(out).is_finished:
            sessions += 1
            watcher = StopsAfter(3 * sessions)
            try:
                results = sc.studies.resume(out, progress=watcher)
            except KeyboardInterrupt:
                assert StudyFolder(out).provenance["sessions"][-1]["ended"] == "interrupted"
            done.append(watcher.began[1])
    xr.testing.assert_identical(results, unbroken)
    xr.testing.assert_identical(StudyFolder.open(out).results, unbroken)
    assert done == sorted(done) and done[-1] > 0  # what was done before counts
    facts = StudyFolder.open(out).provenance
    assert [s["ended"] for s in facts["sessions"]] == ["interrupted"] * (sessions - 1) + ["finished"]


@pytest.mark.long
def test_a_finished_study_has_nothing_to_resume(config, unbroken, tmp_path):
    out = tmp_path / "study"
    with pytest.raises(KeyboardInterrupt):
        sc.studies.run(config, out, progress=StopsAfter(20))
    sc.studies.resume(out)
    before = (out / "provenance.json").read_text()
    xr.testing.assert_identical(sc.studies.resume(out, progress=StopsAfter(1)), unbroken)
    assert (out / "provenance.json").read_text() == before


@pytest.fixture(scope="module")
def stopped(config, tmp_path_factory):
    """A study that stopped in the rounds of the first trial."""
    out = tmp_path_factory.mktemp("stopped") / "study"
    with pytest.raises(KeyboardInterrupt):
        sc.studies.run(config, out, progress=StopsAfter(2 * 2 + 2 + 6))
    return out


@pytest.fixture
def broken(stopped, tmp_path):
    """A copy of the stopped study, which a test may damage or continue."""
    return Path(shutil.copytree(stopped, tmp_path / "study"))


def test_a_damaged_record_is_named(broken):
    record = broken / "tasks" / "trials-00-00" / "first-training.safetensors"
    content = bytearray(record.read_bytes())
    content[-1] ^= 1
    record.write_bytes(content)
    with pytest.raises(ValueError, match=r"first-training.safetensors is damaged \(its checksum does not match\)"):
        sc.studies.resume(broken)


def test_other_data_are_refused(broken, monkeypatch):
    monkeypatch.setattr("secateur.studies.study.Study.data_sha256", "0" * 64)
    with pytest.raises(ValueError, match=r"the data are not those that this study began with"):
        sc.studies.resume(broken)


def test_other_settings_are_refused(broken):
    settings = (broken / "study.toml").read_text()
    (broken / "study.toml").write_text(settings.replace("n_examples = 3", "n_examples = 4"))
    with pytest.raises(
        ValueError, match=r"setting 'evaluation.n_examples' of study.toml is 4, but .* was made with 3; set it back"
    ):
        sc.studies.resume(broken)


def test_an_unfinished_study_has_no_report_but_says_how_to_go_on(broken, monkeypatch, capsys):
    code, _, stderr = call(monkeypatch, capsys, "report", broken)
    assert code == 2 and f"continue it with 'secateur resume {broken}'" in stderr
    code, _, stderr = call(monkeypatch, capsys, "run", "digits", "--out", broken)
    assert code == 2 and f"exists already; continue it with 'secateur resume {broken}'" in stderr
    code, _, stderr = call(monkeypatch, capsys, "resume", broken.parent)
    assert code == 2 and "holds no study (study.toml is missing)" in stderr and stderr.count("\n") == 1


def test_two_runs_never_write_to_one_folder(config, broken):
    with StudyFolder(broken).locked():
        for again in (lambda: sc.studies.resume(broken), lambda: sc.studies.run(config, broken, overwrite=True)):
            with pytest.raises(ValueError, match=rf"another run \(process {os.getpid()} on .*\) is writing to"):
                again()
    assert (broken / "tasks").is_dir()


def test_the_lock_of_a_killed_process_holds_nobody_up(broken):
    holds = f"""
import os, signal
from secateur.studies import StudyFolder
with StudyFolder({str(broken)!r}).locked():
    print("locked", flush=True)
    signal.pause()
"""
    with subprocess.Popen([sys.executable, "-c", holds], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout and holder.stdout.readline() == "locked\n"
        with pytest.raises(ValueError, match="another run"), StudyFolder(broken).locked():
            pass
        holder.kill()
    assert (broken / ".lock").exists()
    with StudyFolder(broken).locked():
        pass


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only the superuser can mount")
@pytest.mark.parametrize(
    ("options", "message"),
    [("size=160k", "No space left on device.*the disk is full: make room"), ("ro", "Read-only file system")],
)
def test_a_full_disk_and_a_read_only_one_end_with_advice_and_lose_nothing(
    broken, unbroken, tmp_path, monkeypatch, capsys, options, message
):
    """On a file system of its own, first too small or read-only, then of use."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", disk], check=False).returncode:
        pytest.skip("this system lets nobody mount")
    try:
        shutil.copytree(broken, disk / "study")
        used = sum(f.stat().st_blocks * 512 for f in disk.rglob("*"))
        limit = options if options == "ro" else f"size={used // 1024 + 60}k"
        subprocess.run(["mount", "-o", f"remount,{limit}", disk], check=True)
        code, _, stderr = call(monkeypatch, capsys, "resume", disk / "study")
        assert code == 1
        assert f"what is finished is kept; continue with 'secateur resume {disk / 'study'}'" in stderr
        line = stderr.splitlines()[-1]
        assert line.startswith("secateur: ") and re.search(message, line), line
        subprocess.run(["mount", "-o", "remount,rw,size=100m", disk], check=True)
        xr.testing.assert_identical(sc.studies.resume(disk / "study"), unbroken)
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_folder_that_cannot_be_made_is_told_in_one_line(monkeypatch, capsys, tmp_path):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "study"))

    monkeypatch.setattr(Path, "mkdir", refuse)
    code, _, stderr = call(monkeypatch, capsys, "run", "digits", "--out", tmp_path / "study")
    assert code == 1 and stderr.count("\n") == 1
    assert "Permission denied" in stderr and "the folder is not yours to write: choose another" in stderr


@pytest.mark.parametrize("method", ["cd", "pcd", "exact"])
def test_a_training_continues_to_the_bit_from_every_epoch(tmp_path, monkeypatch, method):
    """Momentum and persistent chains included; a twin that forgets them ends elsewhere."""
    monkeypatch.setattr("secateur.training.exact._ITERATIONS_PER_CALL", 1)
    machine = small_machine("rbm", masked=True)
    rows = np.asarray(jax.random.bernoulli(jax.random.key(1), 0.4, (60, 5)), np.float32)
    settings = TrainingSettings(method=method, n_epochs=4, batch_size=10, n_chains=20, momentum=0.9, learning_rate=0.1)
    key = jax.random.key(2)
    whole, history = train(machine, rows, settings, key)

    class Stop(Exception):
        pass

    def stop(at, epoch, *_):
        if epoch == at:
            raise Stop

    for at in (1, 2, 3):
        path = tmp_path / f"{at}.safetensors"
        with pytest.raises(Stop):
            part = TrainingCheckpoint(path, 0).part("all")
            train(machine, rows, settings, key, checkpoint=part, callback=partial(stop, at))
        told: list[int] = []
        again, measured = train(
            machine,
            rows,
            settings,
            key,
            checkpoint=TrainingCheckpoint(path).part("all"),
            callback=lambda n, *_, told=told: told.append(n),
        )
        assert told == [1, 2, 3, 4]
        jax.tree.map(np.testing.assert_array_equal, (again, vars(measured)), (whole, vars(history)))
        arrays, header = array_files.read_arrays(path, "training checkpoint", "secateur-training", 1)
        n_parameters, n_arrays = len(jax.tree.leaves(machine)), sum("history" not in name for name in arrays)
        for place in range(n_parameters, n_arrays - 1):  # all but the step, which stands last
            arrays[f"all/{place}"] = np.zeros_like(arrays[f"all/{place}"])
        array_files.write_arrays(path, arrays, header)
        forgetful, _ = train(machine, rows, settings, key, checkpoint=TrainingCheckpoint(path).part("all"))
        assert np.abs(np.asarray(forgetful.weights[0]) - np.asarray(whole.weights[0])).max() > 1e-4


def test_a_checkpoint_of_another_training_is_refused(tmp_path, rbm, dbm):
    rows = np.zeros((20, 5), np.float32)
    settings = TrainingSettings(n_epochs=1, batch_size=10, n_chains=4)
    train(rbm, rows, settings, jax.random.key(0), checkpoint=TrainingCheckpoint(tmp_path / "c", 0).part("a"))
    with pytest.raises(ValueError, match="c does not fit this training; delete it, and the training begins again"):
        train(dbm, rows[:, :4], settings, jax.random.key(0), checkpoint=TrainingCheckpoint(tmp_path / "c").part("a"))
