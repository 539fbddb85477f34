"""Progress of long work, and the time it spends: interfaces without a terminal in them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import jax


@runtime_checkable
class Progress(Protocol):
    """What a study tells while it runs; work is counted in training epochs."""

    def start(self, total: int, done: int = 0) -> None:
        """Begin: ``total`` epochs in all, of which ``done`` were finished in earlier sessions."""

    def describe(self, what: str) -> None:
        """Say what runs now, e.g. the rule, trials and round."""

    def advance(self, epochs: int = 1) -> None:
        """Count finished epochs."""


class Silent:
    """Progress that nobody watches."""

    def start(self, total: int, done: int = 0) -> None:
        """Ignore."""

    def describe(self, what: str) -> None:
        """Ignore."""

    def advance(self, epochs: int = 1) -> None:
        """Ignore."""


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
