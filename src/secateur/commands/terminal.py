"""Progress on the terminal: a bar with an estimate of the time left, or plain lines when output is not a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from secateur.commands.printing import plain
from secateur.storage.progress import Progress as StudyProgress


@contextmanager
def watch() -> Iterator[StudyProgress]:
    """Progress on standard error while a ``with`` block runs."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("left"), TimeRemainingColumn(), console=console) as bar:
        yield _Bar(bar)


@contextmanager
def watch_download(name: str) -> Iterator[Callable[[str, int, int | None], None] | None]:
    """Progress of downloads on a terminal while a ``with`` block runs; nothing when output is not a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    with Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), console=console
    ) as bar:
        task = bar.add_task(name, total=None)
        yield lambda file, done, total: bar.update(task, description=file, completed=done, total=total)


class _Bar:
    def __init__(self, bar: Progress):
        self.bar = bar
        self.task = bar.add_task("preparing", total=None)

    def start(self, total: int, done: int = 0) -> None:
        self.bar.update(self.task, total=total, completed=done)

    def describe(self, what: str) -> None:
        self.bar.update(self.task, description=plain(what))

    def advance(self, epochs: int = 1) -> None:
        self.bar.update(self.task, advance=epochs)


class _Lines:
    def __init__(self, console: Console):
        self.console = console
        self.began = time.monotonic()
        self.total = self.done = self.earlier = 0

    def start(self, total: int, done: int = 0) -> None:
        self.total, self.done, self.earlier = total, done, done

    def describe(self, what: str) -> None:
        elapsed = time.monotonic() - self.began
        now = self.done - self.earlier
        left = f"{elapsed * (self.total - self.done) / now:.0f} s left" if now else "time left unknown"
        share = f"{self.done / max(self.total, 1):4.0%}"
        self.console.print(
            f"{share} {plain(what)} ({elapsed:.0f} s, {left})", markup=False, highlight=False, soft_wrap=True
        )

    def advance(self, epochs: int = 1) -> None:
        self.done += epochs
