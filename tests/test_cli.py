"""The command line through its exit codes, its one-line errors and its files."""

import os
import subprocess
import sys

import pytest

from command_line import call
from study_settings import TINY

SETTINGS = [
    argument
    for name, value in TINY.items()
    if name not in ("trials", "rounds", "criteria")
    for argument in ("--set", f"{name}={value}")
]


@pytest.mark.long
def test_run_and_report(monkeypatch, capsys, tmp_path):
    """With a rule of the user's own in the current folder, which the report does without."""
    out = tmp_path / "run"
    own = "rules_of_a_study:strong_and_busy"
    rule = [
        "def strong_and_busy(synapses):",
        "    busy = synapses.rates_post[None, :]",
        "    return busy * synapses.weights**2",
    ]
    (tmp_path / "rules_of_a_study.py").write_text("\n".join(rule))
    settings = ["--trials", 1, "--rounds", 1, "--criteria", f"variance-fi,{own}", *SETTINGS]
    with monkeypatch.context() as there:
        there.setattr(sys, "path", [*sys.path])
        there.chdir(tmp_path)
        code, stdout, stderr = call(there, capsys, "run", "digits", "--out", out, *settings)
        assert code == 0, stderr
        assert f"report: {out / 'report.html'}" in stdout
        assert f"trial 1: {own}, round 1 of 1" in stderr
        assert "of it compiling" in stderr
        expected = {
            "study.toml",
            "provenance.json",
            "results.nc",
            "machines",
            "figures",
            "report.html",
            ".lock",
            "tasks",
        }
        assert {p.name for p in out.iterdir()} == expected
        code, _, stderr = call(there, capsys, "run", "digits", "--out", out, *settings)
        assert code == 2 and "exists already; choose another folder or say --overwrite" in stderr
    code, told, _ = call(monkeypatch, capsys, "info", out)
    assert code == 0
    said = told.splitlines()
    assert said[0].startswith(f"{out}: study digits (size quick): ")
    assert said[1].startswith("finished, ")
    assert (
        "1 trials of 1 rounds that take " in told and "trained: 1 of 1 trials; rounds finished by every trial:" in said
    )
    assert [line.split() for line in said if line.startswith("  ")] == [["variance-fi", "1"], [own, "1"]]
    assert f"'secateur info {out / 'machines'}' lists them" in told and said[-1] == f"report: {out / 'report.html'}"
    (out / "results.nc").rename(tmp_path / "results.nc")
    machine = out / "machines" / "trial-00" / "variance-fi" / "round-01.safetensors"
    machine.rename(tmp_path / "away.safetensors")
    told = call(monkeypatch, capsys, "info", out)[1]  # as after an interruption, and without the rule's file
    assert f"not finished; continue with 'secateur resume {out}'" in told
    assert [line.split() for line in told.splitlines() if line.startswith("  ")] == [["variance-fi", "0"], [own, "1"]]
    (tmp_path / "results.nc").rename(out / "results.nc")
    (tmp_path / "away.safetensors").rename(machine)
    code, listed, _ = call(monkeypatch, capsys, "info", out / "machines")
    machines = sorted(line.partition(": ")[0] for line in listed.splitlines())
    assert code == 0
    assert machines == sorted(
        p.relative_to(out / "machines").as_posix() for p in (out / "machines").rglob("*.safetensors")
    )
    assert [name for name in machines if "round" in name] == [
        f"trial-00/{name}/round-01.safetensors" for name in (own.replace(":", "="), "variance-fi")
    ]

    del sys.modules["rules_of_a_study"]
    (tmp_path / "rules_of_a_study.py").unlink()
    (out / "report.html").unlink()
    assert call(monkeypatch, capsys, "report", out)[0] == 0
    assert "strong_and_busy" in (out / "report.html").read_text("utf-8")


def test_studies_are_listed_with_their_sizes(monkeypatch, capsys):
    code, stdout, _ = call(monkeypatch, capsys, "studies")
    assert code == 0
    assert "digits" in stdout and "quick" in stdout


def test_data_are_listed_and_checked(monkeypatch, capsys, tmp_path):
    code, stdout, _ = call(monkeypatch, capsys, "data", "list", "--data-dir", tmp_path)
    assert code == 0 and "mnist" in stdout and "cifar-10" in stdout and "not found here" in stdout
    code, stdout, stderr = call(monkeypatch, capsys, "data", "check", "mnist", "--data-dir", tmp_path)
    assert code == 1 and "missing" in stdout
    assert "mnist is missing or damaged; get it with 'secateur data fetch mnist' or say --data-dir" in stderr
    code, _, stderr = call(monkeypatch, capsys, "data", "check", "minst", "--data-dir", tmp_path)
    assert code == 2 and "minst" in stderr and stderr.count("\n") == 1


def test_version(monkeypatch, capsys):
    from secateur import __version__

    assert call(monkeypatch, capsys, "--version")[:2] == (0, f"secateur {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "digitz"], "unknown study 'digitz'"),
        (["run", "digits", "--foo"], "No such option: --foo"),
        (["run", "digits", "--trials", "many"], "Invalid value for '--trials'"),
        (["run", "digits", "--trials", "0"], "--trials: must be at least 1 (got 0)"),
        (["run", "digits", "--criteria", "fisher"], "unknown criterion 'fisher'"),
        (["run", "digits", "--set", "epochs=3"], "unknown setting 'epochs'"),
        (
            ["run", "digits", "--set", "pruning.fraction=1.5"],
            "fraction must lie between 0 and 1 (both excluded), got 1.5",
        ),
        (["report", "nowhere"], "'nowhere' holds no finished study (study.toml is missing)"),
        (["trim"], "No such command 'trim'"),
    ],
)
def test_wrong_use_ends_with_code_2_and_one_line_and_writes_nothing(monkeypatch, capsys, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, stdout, stderr = call(monkeypatch, capsys, *arguments)
    assert code == 2
    assert stdout == ""
    assert message in stderr and stderr.startswith("secateur: ") and stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_ends_with_code_1_and_one_line(monkeypatch, capsys, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    code, _, stderr = call(monkeypatch, capsys, "run", "digits", "--out", tmp_path / "file" / "run", "--trials", 1)
    assert code == 1
    assert "Not a directory" in stderr and stderr.count("\n") == 1


def test_diverging_training_ends_with_code_1_and_names_the_remedy(monkeypatch, capsys, tmp_path):
    settings = [*SETTINGS, "--set", "pretraining.learning_rate=1e38", "--trials", 1]
    code, _, stderr = call(monkeypatch, capsys, "run", "digits", "--out", tmp_path / "run", *settings)
    assert code == 1
    assert "learning rate too large" in stderr and "Traceback" not in stderr


def test_help_is_light():
    code = """
import sys
sys.argv = ["secateur", "--help"]
from secateur.commands.app import app
try:
    app()
except SystemExit:
    pass
heavy = {"jax", "numpy", "sklearn", "matplotlib", "xarray", "pydantic"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_shells_complete_commands_and_options():
    """In a process of its own, as shells ask."""
    script = "import sys; sys.argv[0] = 'secateur'; from secateur.commands.app import main; main()"
    asked = {"COMP_WORDS": "secateur prune --cri", "COMP_CWORD": "2", "_SECATEUR_COMPLETE": "complete_bash"}
    found = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | asked, capture_output=True, text=True, check=False
    )
    assert found.stdout.split() == ["--criterion"]
