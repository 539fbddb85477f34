"""Provenance of a study that may run in several sessions: each tells its versions, its computer and how it ended."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from secateur.storage.progress import Stopwatch
from secateur.storage.provenance import describe_versions
from secateur.studies.config import StudyConfig
from secateur.studies.record import Record
from secateur.studies.store import StudyFolder
from secateur.studies.task import Task

RUNNING, FINISHED = "running", "finished"


class Sessions:
    """The sessions of a study, the last of which is now; ``provenance.json`` is kept up to date."""

    def __init__(self, folder: StudyFolder, config: StudyConfig, where: str):
        self.folder, self.config = folder, config
        path = folder.path / "provenance.json"
        earlier = folder.provenance.get("sessions", []) if path.is_file() else []
        for session in earlier:
            if session.get("ended") == RUNNING:
                session["ended"] = "without a word: killed, or the computer went down"
        self.facts: dict[str, Any] = {
            "started": _now(),
            **describe_versions(),
            "host": platform.node(),
            "process": os.getpid(),
            "where": where,
            "ended": RUNNING,
        }
        self.all = [*earlier, self.facts]

    @contextmanager
    def recorded(self, clock: Stopwatch) -> Iterator[None]:
        """Write how the session began and how it ended, around a ``with`` block."""
        self._write({})
        try:
            yield
        except BaseException as error:
            kind = "interrupted" if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}"
            self.facts["ended"] = kind
            raise
        else:
            self.facts["ended"] = FINISHED
        finally:
            self._count(clock)
            if self.facts["ended"] != FINISHED:
                # A full disk must not hide what went wrong.
                with suppress(OSError):
                    self._write({})

    def finish(
        self,
        clock: Stopwatch,
        records: dict[Task, Record],
        sweeps: Sequence[dict[str, Any]],
        workers: Sequence[dict[str, Any]],
    ) -> None:
        """Write everything that is known at the end; ``workers`` tell their versions."""
        if workers:
            self.facts["workers"] = list(workers)
        seconds: dict[str, float] = dict(clock.seconds)
        by_trials: dict[str, dict[str, float]] = {}
        for task, record in records.items():
            for phase, spent in record.seconds.items():
                seconds[phase] = seconds.get(phase, 0.0) + spent
            batch, _, what = str(task).partition(": ")
            by_trials.setdefault(batch, {})[what] = round(record.took, 1)
        total, compiling = (sum(s.get(name, 0.0) for s in self.all) for name in ("total_seconds", "compile_seconds"))
        self._write(
            {
                "finished": _now(),
                "data_sha256": {str(task): r.data_sha256 for task, r in records.items() if task.criterion is None},
                "seconds": {name: round(spent, 2) for name, spent in seconds.items()},
                "seconds_by_trials": by_trials,
                "total_seconds": round(total, 2),
                "compile_seconds": round(compiling, 2),
                "compile_share": round(compiling / total, 3),
                "n_compilations": sum(s.get("n_compilations", 0) for s in self.all),
                "gibbs_sweeps": list(sweeps),
            }
        )

    def _count(self, clock: Stopwatch) -> None:
        self.facts["total_seconds"] = round(clock.total, 2)
        self.facts["compile_seconds"] = round(clock.compile_seconds, 2)
        self.facts["n_compilations"] = clock.n_compilations

    def _write(self, more: dict[str, Any]) -> None:
        config = self.config
        study = {"study": config.name, "size": config.size, "seed": config.seed}
        self.folder.write_provenance(
            study | describe_versions() | {"started": self.all[0]["started"]} | more | {"sessions": self.all}
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def mixed_versions(provenance: dict[str, Any]) -> list[str]:
    """Names of what differed between the sessions of a study: versions, commit, computer; empty for one of a kind."""
    sessions = provenance.get("sessions", [])
    sessions = [described for session in sessions for described in session.get("workers", [session])]
    packages = [s["packages"] for s in sessions]
    names = [name for name in ("secateur", "commit", "python", "machine") if len({str(s[name]) for s in sessions}) > 1]
    return names + [name for name in (packages[0] if packages else {}) if len({p[name] for p in packages}) > 1]
