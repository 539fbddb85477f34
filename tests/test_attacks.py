"""What a hostile or careless hand does to a study's folder or to the terminal, and what stops it."""

from __future__ import annotations

import pytest

from command_line import call, refused
from secateur.commands import app as cli
from secateur.commands.printing import plain
from secateur.studies import StudyFolder
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
