"""Progress that people see: a bar on a terminal, lines elsewhere, both with an estimate of the time left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from secateur.storage.progress import Progress, Silent, TimeLeft, in_words
from secateur.storage.text import plain

_MOST_SILENT_S = 5
"""Seconds after which a log gets a line even if nothing new happened."""

_LIKE = {"retraining": "training", "round": "measuring"}
_GUESSES = {"timing": 3.0, "report": 15.0}
"""Seconds on two cores, of steps that come once at the end."""


@contextmanager
def watch(progress: Progress | bool | None = True) -> Iterator[Progress]:
    """Progress on standard error while a ``with`` block runs; ``None`` or false: none; a :class:`Progress`: that."""
    if progress is None or progress is False:
        yield Silent()
        return
    if progress is not True:
        yield progress
        return
    console = Console(stderr=True)
    if not console.is_terminal or console.is_jupyter:
        lines = _Lines(console)
        with lines.kept_alive():
            yield lines
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Bar(*columns, TextColumn("{task.fields[left]}", markup=False), console=console) as bar:
        watched = _Bar(bar)
        with watched.kept_alive():
            yield watched


@contextmanager
def watch_download(name: str) -> Iterator[Callable[[str, int, int | None], None] | None]:
    """Progress of downloads on a terminal while a ``with`` block runs; nothing when output is not a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    with Bar(TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), console=console) as bar:
        task = bar.add_task(name, total=None)
        yield lambda file, done, total: bar.update(task, description=file, completed=done, total=total)


class _Watched:
    """What both kinds of display keep; ``_show`` is called after every event and when nothing happened for a while."""

    interval = 1.0

    def __init__(self) -> None:
        self.what = "preparing"
        self.left: TimeLeft | None = None
        self.share: float | None = None
        self.lock = threading.RLock()

    def start(self, plan: Mapping[str, int], done: Mapping[str, int] | None = None) -> None:
        self.left = TimeLeft(plan, done, like=_LIKE, guesses=_GUESSES)
        self._update(said=False)

    def describe(self, what: str) -> None:
        self.what = plain(what)
        self._update(said=True)

    def advance(self, kind: str, seconds: float | None) -> None:
        with self.lock:
            if self.left is not None:
                self.left.advance(kind, seconds)
        self._update(said=False)

    def _update(self, *, said: bool) -> None:
        with self.lock:
            if self.left is not None and (share := self.left.share()) is not None:
                self.share = max(self.share or 0.0, share)  # better estimates do not take it back
            self._show(said)

    def _show(self, said: bool) -> None:
        raise NotImplementedError

    @contextmanager
    def kept_alive(self) -> Iterator[None]:
        """Show the time left anew while nothing happens."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(self.interval):
                self._update(said=False)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


class _Bar(_Watched):
    def __init__(self, bar: Bar):
        super().__init__()
        self.bar = bar
        self.task = bar.add_task("preparing", total=None, left="")

    def _show(self, said: bool) -> None:
        if self.left is not None:
            total = None if self.share is None else 1.0
            self.bar.update(
                self.task, description=self.what, total=total, completed=self.share or 0, left=str(self.left)
            )


class _Lines(_Watched):
    def __init__(self, console: Console):
        super().__init__()
        self.console = console
        self.began = self.last = time.monotonic()

    def _show(self, said: bool) -> None:
        now = time.monotonic()
        if not said and now - self.last < _MOST_SILENT_S - self.interval:
            return
        self.last = now
        left = "time left unknown" if self.left is None else str(self.left)
        share = "  ?%" if self.share is None else f"{self.share:4.0%}"
        line = f"{share} {self.what} ({in_words(now - self.began)}, {left})"
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)
