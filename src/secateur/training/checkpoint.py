"""Where a long training continues after an interruption: optimiser state, chains and parameters, in one file."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

from secateur.storage.arrays import Arrays, read_arrays, write_arrays
from secateur.storage.limits import MAX_EPOCHS

FORMAT = "secateur-training"
FORMAT_VERSION = 1
INTERVAL_S = 60.0
"""Seconds from one saved state to the next: at most this, or one epoch, is lost."""


class Reached(NamedTuple):
    """How far a training has come: finished epochs, the state after them, measures of every epoch."""

    n_epochs: int
    state: Any
    history: list[dict[str, np.ndarray]]


class TrainingCheckpoint:
    """The last states of the trainings that one task does one after another, each under a name of its own.

    Random keys are no part of it: a training continues with the keys that it is begun with again.

    Parameters
    ----------
    path
        File of the checkpoint; it need not exist.
    interval_s
        Least number of seconds between two writings; ``None``: ``INTERVAL_S``.
    """

    def __init__(self, path: str | os.PathLike[str], interval_s: float | None = None):
        self.path = Path(path)
        self.interval_s = INTERVAL_S if interval_s is None else interval_s
        self._written = time.monotonic()
        self._arrays: Arrays = {}
        self._epochs: dict[str, int] = {}
        if self.path.is_file():
            self._arrays, header = read_arrays(self.path, "training checkpoint", FORMAT, FORMAT_VERSION)
            epochs = header.get("epochs")
            if not isinstance(epochs, dict) or not all(
                type(n) is int and 0 <= n <= MAX_EPOCHS for n in epochs.values()
            ):
                raise ValueError(f"{self.path} has a damaged header; delete it, and the training begins again")
            self._epochs = dict(epochs)

    def part(self, name: str) -> TrainingPart:
        """The checkpoint of one training."""
        return TrainingPart(self, name)

    def remove(self) -> None:
        """Forget everything: what was trained is stored elsewhere now."""
        self._arrays, self._epochs = {}, {}
        self.path.unlink(missing_ok=True)


class TrainingPart:
    """The checkpoint of one training; :func:`secateur.training.train` starts from it and keeps it up to date."""

    def __init__(self, checkpoint: TrainingCheckpoint, name: str):
        self._checkpoint, self._name = checkpoint, name

    def part(self, name: str) -> TrainingPart:
        """The checkpoint of a training within this one."""
        return TrainingPart(self._checkpoint, f"{self._name}, {name}")

    def restore(self, start: Any) -> Reached:
        """How far this training came before; ``start`` is its state before the first epoch.

        Raises
        ------
        ValueError
            If what was saved does not fit this training.
        """
        saved, name = self._checkpoint, self._name
        if name not in saved._epochs:
            return Reached(0, start, [])
        n_epochs = saved._epochs[name]
        stored, keys = _without_keys(start)
        leaves, structure = jax.tree.flatten(stored)
        found = [saved._arrays.get(f"{name}/{place}") for place in range(len(leaves))]
        prefix = f"{name}/history/"
        measures = {key.removeprefix(prefix): a for key, a in saved._arrays.items() if key.startswith(prefix)}
        if any(
            one is None or one.shape != leaf.shape or one.dtype != leaf.dtype
            for one, leaf in zip(found, leaves, strict=True)
        ) or any(values.shape[:1] != (n_epochs,) for values in measures.values()):
            raise ValueError(f"{saved.path} does not fit this training; delete it, and the training begins again")
        history = [
            {key: np.asarray(values[epoch]) for key, values in measures.items()}
            for epoch in range(n_epochs if measures else 0)
        ]
        state = eqx.combine(jax.tree.unflatten(structure, jax.device_put(found)), keys)
        return Reached(n_epochs, state, history)

    def keep(self, reached: Reached, last: bool) -> None:
        """Keep a state, and write all that is kept when it is time; ``last`` says that this training ends with it."""
        saved = self._checkpoint
        due = time.monotonic() - saved._written >= saved.interval_s
        if not (due or last):
            return
        for place, leaf in enumerate(jax.tree.leaves(_without_keys(reached.state)[0])):
            # A copy: the next epoch reuses the buffers of this state.
            saved._arrays[f"{self._name}/{place}"] = np.array(leaf)
        for name in reached.history[0] if reached.history else ():
            measured = np.array([epoch[name] for epoch in reached.history])
            saved._arrays[f"{self._name}/history/{name}"] = measured
        saved._epochs[self._name] = reached.n_epochs
        if due:
            header = {"format": FORMAT, "format_version": FORMAT_VERSION, "epochs": saved._epochs}
            write_arrays(saved.path, saved._arrays, header)
            saved._written = time.monotonic()


def _without_keys(state: Any) -> tuple[Any, Any]:
    """The arrays of a state, and its random keys."""
    return eqx.partition(state, lambda leaf: not jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key))
