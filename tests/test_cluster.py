"""Tasks on worker processes: the numbers of one process, whoever dies on the way."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import xarray as xr
from distributed import Client

import secateur as sc
from command_line import call
from secateur.studies import StudyFolder, load_config
from secateur.studies.cluster import connect
from study_settings import TINY

SETTINGS = (
    TINY
    | {"trials_at_once": 1, "rounds": 3, "model.hidden": [64]}
    | {
        "pruning.fraction": 0.3,
        "pretraining.learning_rate": 0.1,
        "training.learning_rate": 0.02,
        "retraining.learning_rate": 0.003,
    }
)
"""One hidden layer: three workers start one after another, and each traces every program for itself."""


@pytest.fixture(scope="module")
def environment(pytestconfig):
    """Workers compile as this process does (conftest.py), and share what is compiled."""
    compiler = {
        "JAX_COMPILATION_CACHE_DIR": str(pytestconfig.cache.mkdir("jax")),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in compiler.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def scheduler(environment):
    """Address of a scheduler with two workers, all started from the command line."""
    dask = [sys.executable, "-m", "dask"]
    starts = [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    processes = [subprocess.Popen(starts, stderr=subprocess.PIPE, text=True)]
    log = processes[0].stderr
    assert log is not None
    reader = threading.Thread(target=log.read, daemon=True)  # a full pipe would stop the scheduler
    try:
        found = next(match for line in log if (match := re.search(r"tcp://127\.0\.0\.1:\d+", line)))
        reader.start()
        worker = [
            sys.executable,
            "-m",
            "dask",
            "worker",
            found[0],
            "--nworkers",
            "2",
            "--nthreads",
            "1",
            "--no-dashboard",
        ]
        processes.append(subprocess.Popen([*worker, "--host", "127.0.0.1"], stderr=subprocess.DEVNULL, text=True))
        yield found[0]
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(30)
        reader.join()
        log.close()


@pytest.mark.long
def test_a_killed_worker_costs_only_its_own_task(scheduler, tmp_path):
    """The first worker that is seen in a round of a rule is killed; the numbers are those of one process."""
    config = load_config("digits", "quick", SETTINGS)
    killed: list[int] = []

    def kill_one():
        first_round = tmp_path / "out" / "machines" / "trial-00" / "random" / "round-01.safetensors"
        while not first_round.exists():
            time.sleep(0.05)
        with Client(scheduler, set_as_default=False) as client:
            busy = [worker for worker, tasks in client.processing().items() if any("random" in str(t) for t in tasks)]
            pids = client.run(os.getpid)
            killed.append(pids[(busy or list(pids))[0]])
            os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    results = sc.studies.run(config, tmp_path / "out", scheduler=scheduler)
    killer.join(10)
    assert killed
    facts = StudyFolder.open(tmp_path / "out").provenance
    assert len(facts["sessions"]) == 1 and facts["sessions"][0]["where"] == "workers of a Dask scheduler"
    assert facts["sessions"][0]["workers"][0]["secateur"] == sc.__version__
    xr.testing.assert_identical(results, sc.studies.run(config, tmp_path / "alone"))


@pytest.mark.long
def test_an_interrupted_study_leaves_its_workers_idle(scheduler, tmp_path):
    """Whoever resumes at once must not meet a worker that still writes."""

    class Interrupts(sc.studies.Progress):
        def start(self, plan, done=None):
            pass

        def describe(self, what):
            if "round 1 of" in what:
                (tmp_path / "round").touch()

        def advance(self, kind, seconds):
            pass

    def interrupt():
        while not (tmp_path / "round").exists():
            time.sleep(0.02)
        signal.raise_signal(signal.SIGINT)

    long = load_config(
        "digits", "quick", SETTINGS | {"trials": 1, "retraining.n_epochs": 4000, "retraining.batch_size": 2}
    )
    threading.Thread(target=interrupt, daemon=True).start()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # workers of pytest-xdist ignore interrupts
    try:
        with pytest.raises(KeyboardInterrupt):
            sc.studies.run(long, tmp_path / "out", scheduler=scheduler, progress=Interrupts())
    finally:
        signal.signal(signal.SIGINT, before)
    with Client(scheduler, set_as_default=False) as client:
        # Not a function of this module, which workers do not know.
        executing = lambda: any(client.run(lambda dask_worker: len(dask_worker.state.executing)).values())  # noqa: E731
        until = time.monotonic() + 60
        while executing() and time.monotonic() < until:
            time.sleep(0.2)
        assert not executing()


@pytest.mark.long
def test_local_workers_have_cores_of_their_own_and_listen_to_this_computer_only(environment):
    here = psutil.Process()
    others = here.children(recursive=True)  # of other tests
    with connect(2, None) as crew:
        client = crew.client
        cores = list(client.run(lambda: sorted(os.sched_getaffinity(0))).values())
        processes = [here, *(p for p in here.children(recursive=True) if p not in others)]
        sockets = [s for process in processes for s in process.net_connections()]
    listening = {s.laddr.ip for s in sockets if s.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}
    if len(os.sched_getaffinity(0)) >= 2:
        assert not set(cores[0]) & set(cores[1])


def test_schedulers_that_do_not_answer_are_told_in_one_line(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("secateur.studies.cluster._ANSWER_S", 0.5)
    out = ["--out", tmp_path / "out"]
    code, _, stderr = call(monkeypatch, capsys, "run", "digits", "--scheduler", "tcp://127.0.0.1:9", *out)
    assert code == 1 and "no Dask scheduler answers at 'tcp://127.0.0.1:9'" in stderr
    code, _, stderr = call(monkeypatch, capsys, "run", "digits", "--scheduler", "x", "--workers", 2, *out)
    assert code == 2 and "workers and scheduler exclude each other" in stderr and stderr.count("\n") == 1
    code, _, stderr = call(monkeypatch, capsys, "run", "digits", "--workers", 0, *out)
    assert code == 2 and "--workers" in stderr and stderr.count("\n") == 1
    assert not Path(tmp_path / "out").exists()
