"""The command line called within the test's own process."""

import sys

import pytest

from secateur.commands import app as cli


def call(monkeypatch, capsys, *arguments):
    """Exit code, standard output and standard error of one command."""
    monkeypatch.setattr(sys, "argv", ["secateur", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    output = capsys.readouterr()
    return exit_.value.code, output.out, output.err


def refused(monkeypatch, capsys, *arguments):
    """The one line that a command ends with, having said nothing else."""
    code, stdout, stderr = call(monkeypatch, capsys, *arguments)
    assert code == 2, stderr
    assert stdout == ""
    assert stderr.startswith("secateur: ") and stderr.count("\n") == 1, stderr
    return stderr.removeprefix("secateur: ").rstrip("\n")
