"""The quick study, killed at twenty random moments: twenty minutes, so only with -m slow."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest
import xarray as xr

from secateur.studies import StudyFolder

SECATEUR = [sys.executable, "-c", "from secateur.commands.app import main; main()"]


@pytest.mark.slow
def test_twenty_kills_change_no_bit(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    began = time.monotonic()
    subprocess.run([*SECATEUR, "run", "digits", "--size", "quick", "--out", whole], check=True)
    took = time.monotonic() - began
    moments = random.Random(0)
    kills = 0
    while not StudyFolder(killed).is_finished:
        started = (killed / "study.toml").is_file()
        command = ["resume", killed] if started else ["run", "digits", "--size", "quick", "--out", killed]
        with subprocess.Popen([*SECATEUR, *command], start_new_session=True) as process:
            # Later kills wait longer, so that each lets some of the work pass; the last session is left alone.
            wait = moments.uniform(0, 0.25 * took) if kills < 20 else None
            try:
                process.wait(wait)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                kills += 1
    xr.testing.assert_identical(StudyFolder.open(whole).results, StudyFolder.open(killed).results)
    print(f"{kills} kills; {took:.0f} s unbroken, {time.monotonic() - began - took:.0f} s in pieces")
    assert kills >= 20
