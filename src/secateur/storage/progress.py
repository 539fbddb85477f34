"""Progress of long work, and the time it spends: interfaces without a terminal in them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import jax


@runtime_checkable
class Progress(Protocol):
    """What long work tells while it runs, counted in steps of several kinds; those of a kind take about as long."""

    def start(self, plan: Mapping[str, int], done: Mapping[str, int] | None = None) -> None:
        """Begin: how many steps of each kind there are in all, and how many were done in earlier sessions."""

    def describe(self, what: str) -> None:
        """Say what runs now, e.g. the rule, trials and round."""

    def advance(self, kind: str, seconds: float | None) -> None:
        """Count a finished step, which took so many seconds; ``None``: it was done in an earlier session."""


class Silent:
    """Progress that nobody watches."""

    def start(self, plan: Mapping[str, int], done: Mapping[str, int] | None = None) -> None:
        """Ignore."""

    def describe(self, what: str) -> None:
        """Ignore."""

    def advance(self, kind: str, seconds: float | None) -> None:
        """Ignore."""


class Steps:
    """Tells the steps of one thread of work as they end."""

    def __init__(self, progress: Progress):
        self.progress = progress
        self._last = time.perf_counter()

    def done(self, kind: str) -> None:
        """A step of this kind has ended, which began when the one before it ended."""
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        self.progress.advance(kind, seconds)

    def epochs(self, kind: str) -> Callable[..., None]:
        """A callback of training that tells every epoch, and those that a checkpoint brought along."""
        last = 0

        def callback(epoch: int, *given: Any) -> None:
            del given
            nonlocal last
            brought = epoch - 1 - (last if epoch > last else 0)  # numbers begin anew with every layer
            for _ in range(brought):
                self.progress.advance(kind, None)
            last = epoch
            self.done(kind)

        return callback


def told_once(progress: Progress, what: str, total: Callable[[], int]) -> Callable[..., None]:
    """A callback that counts epochs; it says what runs, and how many, after the first one, when nothing can be refused
    any more.
    """
    steps, begun = Steps(progress), False

    def callback(*given: Any) -> None:
        nonlocal begun
        del given
        if not begun:
            progress.start({"epoch": total()})
            progress.describe(what)
        steps.done("epoch")
        begun = True

    return callback


@contextmanager
def told_as_they_begin(progress: Progress, kind_of: Callable[[str], str]) -> Iterator[Callable[[str], None]]:
    """A function that is told, in words, what begins, and tells progress that what came before it has ended."""
    steps, begun = Steps(progress), list[str]()

    def say(what: str) -> None:
        if begun:
            steps.done(kind_of(begun[-1]))
        begun.append(what)
        progress.describe(what)

    yield say
    if begun:
        steps.done(kind_of(begun[-1]))


class TimeLeft:
    """Estimates how long work goes on, from how long its steps took so far.

    The first step of a kind compiles its programs, so it counts only until there is another one. Steps of a kind that
    has not been seen are taken to last as long as those of another that is ``like`` it, or as long as a ``guess`` says.

    Parameters
    ----------
    plan, done
        As of :meth:`Progress.start`.
    like
        By kind another one that takes about as long.
    guesses
        By kind, seconds of a step.
    """

    def __init__(
        self,
        plan: Mapping[str, int],
        done: Mapping[str, int] | None = None,
        *,
        like: Mapping[str, str] | None = None,
        guesses: Mapping[str, float] | None = None,
    ):
        self.left = {kind: n - (done or {}).get(kind, 0) for kind, n in plan.items()}
        self._like, self._guesses = like or {}, guesses or {}
        self._earlier = dict(done or {})
        self._seconds: dict[str, tuple[float, float, int]] = {}  # the first, all others, how many these are
        self._began = self._last = time.perf_counter()

    def advance(self, kind: str, seconds: float | None) -> None:
        """Count a finished step (:meth:`Progress.advance`)."""
        self.left[kind] = self.left.get(kind, 0) - 1
        if seconds is None:
            self._earlier[kind] = self._earlier.get(kind, 0) + 1
        elif kind in self._seconds:
            first, rest, n_rest = self._seconds[kind]
            self._seconds[kind] = first, rest + seconds, n_rest + 1
        else:
            self._seconds[kind] = seconds, 0.0, 0
        self._last = time.perf_counter()

    def _step(self, kind: str) -> float | None:
        """Seconds of a step, as far as they are known."""
        for name in (kind, self._like.get(kind, kind)):
            if name in self._seconds:
                first, rest, n_rest = self._seconds[name]
                return rest / n_rest if n_rest else first
        return self._guesses.get(kind)

    @property
    def _at_once(self) -> float:
        """How many steps run at the same time."""
        spent = sum(first + rest for first, rest, _ in self._seconds.values())
        return max(1.0, spent / max(self._last - self._began, 1e-9))

    def seconds(self) -> tuple[float, bool]:
        """Seconds left, and whether that is all: false if steps are to come of which nothing is known yet."""
        steps = {kind: self._step(kind) for kind, n in self.left.items() if n > 0}
        known = sum(self.left[kind] * step for kind, step in steps.items() if step is not None) / self._at_once
        waited = time.perf_counter() - self._last
        # Never zero while something runs, however long it takes.
        return (known * known / (known + waited) if known else 0.0), None not in steps.values()

    def share(self) -> float | None:
        """Share of all time, earlier sessions included, that is over; ``None`` as long as it is not known."""
        left, known = self.seconds()
        if not known:
            return None
        earlier = sum(n * (self._step(kind) or 0.0) for kind, n in self._earlier.items()) / self._at_once
        over = earlier + time.perf_counter() - self._began
        return over / (over + left) if over + left else 0.0

    def __str__(self) -> str:
        seconds, known = self.seconds()
        if not seconds and not known:
            return "time left unknown"
        return f"{'about' if known else 'at least'} {in_words(seconds)} left"


def in_words(seconds: float) -> str:
    """A duration in two figures or so."""
    if seconds < 120:
        return f"{max(seconds, 1):.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


class Stopwatch:
    """Seconds spent per phase, and on compiling by JAX (tracing, lowering and XLA together); summed over threads."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.compile_seconds = 0.0
        self.n_compilations = 0
        self._began = time.perf_counter()

    @property
    def total(self) -> float:
        """Seconds since the stopwatch was made."""
        return time.perf_counter() - self._began

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time of a ``with`` block to a phase."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began

    @contextmanager
    def compilations(self) -> Iterator[None]:
        """Count compilations while a ``with`` block runs."""

        def listen(event: str, duration_secs: float, **_: str | int) -> None:
            if event.startswith("/jax/core/compile/"):
                self.compile_seconds += duration_secs
                self.n_compilations += event.endswith("backend_compile_duration")

        jax.monitoring.register_event_duration_secs_listener(listen)
        try:
            yield
        finally:
            jax.monitoring.unregister_event_duration_listener(listen)
