"""secateur words: exit codes, one-line errors, files."""

import numpy as np
import pytest

from secateur.reading.words import load_words
from test_cli import call


@pytest.fixture
def spikes(tmp_path):
    path = tmp_path / "spikes.txt"
    path.write_text("5 1 1\n150 2 0\n250 1 1\n990 1 1\n1500 2 0\n")
    return path


def test_words_are_written_and_told(monkeypatch, capsys, tmp_path, spikes):
    out = tmp_path / "folder" / "words.npz"
    options = ["--bin-size", 0.1, "--time-units", "ms", "--columns", "time,unit,single", "--out", out]
    epochs = ["--ep", "0:1", "--ep", "1:2"]
    code, stdout, stderr = call(monkeypatch, capsys, "words", spikes, *options, *epochs)
    assert code == 0, stderr
    assert stdout.startswith("2 units, 20 bins of 0.1 s = 2 s, in 2 epochs\n")
    assert stdout.endswith(f"words: {out}\n")
    found = load_words(out)
    assert np.argwhere(found.states).tolist() == [[0, 0], [1, 1], [2, 0], [9, 0], [15, 1]]
    code, _, stderr = call(monkeypatch, capsys, "words", spikes, *options)
    assert code == 2 and "words.npz' exists already; choose another file or say --overwrite" in stderr
    more = ["--units", "single", "--window", 0.5, "--overwrite"]
    code, stdout, stderr = call(monkeypatch, capsys, "words", spikes, *options, *more)
    assert code == 0, stderr
    assert "1 unit left out (not in units='single'): 2" in stdout
    assert len(load_words(out).states) == 20


def test_ready_words(monkeypatch, capsys, tmp_path):
    np.savez(tmp_path / "counts.npz", counts=np.eye(3, 5, dtype=int), other=np.eye(3))
    options = ["--variable", "counts", "--orientation", "units x bins", "--bin-size", 0.02, "--out", tmp_path / "w.npz"]
    code, stdout, stderr = call(monkeypatch, capsys, "words", tmp_path / "counts.npz", *options)
    assert code == 0, stderr
    assert load_words(tmp_path / "w.npz").states.tolist() == np.eye(5, 3).tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "an array of size 5 x 3 with numbers up to 1500 may hold counts or a table"),
        (["--columns", "time,unit,_"], "too fast to be likely"),
        (["--columns", "time,unit,_", "--ep", "0-2"], "--ep must be START:STOP in seconds, got '0-2'"),
        (["--columns", "time,unit,_", "--out", "words.txt"], "words are written to .npz files, got 'words.txt'"),
        (["--columns", "time,unit,_", "--time-units", "min"], "--time-units must be one of s, ms, us"),
    ],
)
def test_wrong_use_ends_with_code_2_and_one_line(monkeypatch, capsys, tmp_path, spikes, options, message):
    if "too fast" in message:
        spikes.write_text("0.5 1 1\n0.5004 2 0\n0.5009 1 1\n")
    monkeypatch.chdir(tmp_path)
    code, stdout, stderr = call(monkeypatch, capsys, "words", spikes, "--bin-size", 0.0001, "--out", "w.npz", *options)
    assert code == 2 and stdout == ""
    assert message in stderr and stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["spikes.txt"]


def test_a_file_that_is_not_there_ends_with_code_1(monkeypatch, capsys, tmp_path):
    code, _, stderr = call(monkeypatch, capsys, "words", tmp_path / "none.txt", "--out", tmp_path / "w.npz")
    assert code == 1 and "there is no file" in stderr and stderr.count("\n") == 1
