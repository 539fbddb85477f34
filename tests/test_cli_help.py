"""Every help text: its examples work, and it comes without the heavy libraries."""

from __future__ import annotations

import shlex
import subprocess
import sys

import jax
import numpy as np
import pandas as pd
import pytest
import typer.main

import secateur as sc
from command_line import call, refused
from secateur.commands.app import app
from secateur.model.machine import Machine
from secateur.storage.machines import load_machine, save_machine

COMMANDS = typer.main.get_command(app)
GROUPS = {"": COMMANDS, "data": COMMANDS.commands["data"]}  # type: ignore[attr-defined]
NAMES = [f"{group} {name}".split() for group, found in GROUPS.items() for name in ["", *found.commands]]
HEAVY = ("jax", "scipy", "pandas", "matplotlib", "xarray")
RUN = ("studies", "info", "words", "fisher", "score", "data list")
"""Commands whose examples run here; others train, download or draw."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The files that examples name: a machine of four units, rows, a table with columns that are no units, spikes."""
    rows = np.random.default_rng(0).integers(0, 2, (30, 4)).astype(np.uint8)
    save_machine(Machine.random((4, 3), jax.random.key(0)), tmp_path / "machine.safetensors")
    for name in ("rows.npy", "held-out.npy"):
        np.save(tmp_path / name, rows)
    frame = pd.DataFrame(rows, columns=list("abcd"))
    frame.insert(1, "subject", np.where(rows[:, 0] == 1, "rat", "mouse"))
    frame.assign(kind=np.arange(30) % 3).to_csv(tmp_path / "rows.csv", index=False)
    sc.words(rows, 0.02).save(tmp_path / "words.npz")
    times = np.sort(np.random.default_rng(1).uniform(0, 20, 400))
    pd.DataFrame({"time": times, "unit": np.arange(400) % 4}).to_csv(tmp_path / "spikes.csv", index=False)
    for name in ("folder", "my-recording", "my-run"):
        (tmp_path / name).mkdir()
    (tmp_path / "my-run" / "study.toml").write_text(DIGITS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


DIGITS = """
name = "digits"
title = "A study that was begun"
criteria = ["random"]
model = {hidden = [4]}
training = {}
retraining = {}
pruning = {fraction = 0.5}
"""


def examples_of(monkeypatch, capsys, name):
    code, told, _ = call(monkeypatch, capsys, *name, "--help")
    assert code == 0
    lines = told.partition("Examples:\n")[2].splitlines()
    assert 1 <= len(lines) <= 3 and all(line.strip().startswith("secateur ") for line in lines), told
    return [shlex.split(line)[1:] for line in lines]


def parsed(arguments):
    """The command of some arguments, whose options exist and whose values are of their kind."""
    command, rest = COMMANDS, list(arguments)
    while hasattr(command, "commands"):
        command = command.commands[rest.pop(0)]
    with command.make_context(command.name, rest):
        return command.name


@pytest.mark.parametrize("name", NAMES, ids=" ".join)
def test_the_examples_of_a_help_text_parse_and_the_cheap_ones_run(monkeypatch, capsys, folder, name):
    for arguments in examples_of(monkeypatch, capsys, name):
        assert not name or arguments[: len(name)] == name
        parsed(arguments)
        if " ".join(name) in RUN:
            for made in ("words.npz", "each.npy") if "--out" in arguments else ():
                (folder / made).unlink(missing_ok=True)
            code, _, stderr = call(monkeypatch, capsys, *arguments)
            assert code == 0, (arguments, stderr)


def test_an_example_with_an_option_that_is_not_there_would_be_found(folder):
    with pytest.raises(Exception, match="No such option"):
        parsed(["info", "--all", "machine.safetensors"])


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["studies", "--help"], ["fit", "--help"], ["prune", "--speed"], ["trim"]]
)
def test_help_and_wrong_options_come_without_the_heavy_libraries(arguments):
    code = f"""
import sys
sys.argv = ["secateur", *{arguments!r}]
from secateur.commands.app import main
try:
    main()
except SystemExit as ended:
    assert ended.code == {2 if arguments[-1] in ("--speed", "trim") else 0}, ended.code
heavy = set({HEAVY!r}) & set(sys.modules)
assert not heavy, heavy
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("table", ["rows.csv", "rows.txt"])
def test_columns_that_are_no_units_are_left_out_by_every_command(monkeypatch, capsys, folder, table):
    """fit trains on the units alone, and score and prune say of the table what they say of the units."""
    if table == "rows.txt":
        (folder / "rows.csv").rename(folder / "rows.txt")
    columns = ["--drop", "subject", "--labels", "kind"]
    few = ["--hidden", 2, "--epochs", 1, "--set", "batch_size=27", "--set", "n_chains=5"]
    for rows, more, out in ((table, columns, "one.safetensors"), ("rows.npy", [], "two.safetensors")):
        assert call(monkeypatch, capsys, "fit", rows, *more, *few, "--out", out)[0] == 0
    for one, two in zip(*(jax.tree.leaves(load_machine(f"{n}.safetensors")) for n in ("one", "two")), strict=True):
        np.testing.assert_array_equal(one, two)
    machine = "machine.safetensors"
    told = [call(monkeypatch, capsys, "score", machine, *args)[1] for args in ([table, *columns], ["rows.npy"])]
    assert told[0].partition(": ")[2] == told[1].partition(": ")[2] != ""
    said = []
    for number, data in enumerate(([table, *columns], ["rows.npy"])):
        options = ["--criterion", "random", "--data", *data, "--out", f"p{number}.safetensors"]
        code, stdout, stderr = call(monkeypatch, capsys, "prune", machine, *options)
        assert code == 0, stderr
        said.append(stdout.splitlines()[:-1])
    assert said[0] == said[1]
    for command in (["fit", table, "--out", "x.safetensors"], ["score", machine, table]):
        assert "--drop subject" in refused(monkeypatch, capsys, *command)
    assert "--drop subject" in refused(monkeypatch, capsys, "run", "--data", table, "--labels", "kind")
