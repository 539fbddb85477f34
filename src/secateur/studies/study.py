"""What a study's procedure offers to the runner."""

from __future__ import annotations

import hashlib
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array

from secateur.model.arrays import Keys
from secateur.model.machine import Machine
from secateur.model.moments import Moments
from secateur.studies.schema import Variable
from secateur.training import Callback, TrainingCheckpoint

Measured = dict[str, np.ndarray]
"""Values by name of a variable, trial first."""


@runtime_checkable
class Study(Protocol):
    """Data, first machines and measurements of some trials of one kind of study; these trials are stacked.

    Attributes
    ----------
    variables
        The study's own variables in the results.
    keys
        One key per trial.
    machine
        The untrained machines.
    visible
        Training rows, ``(trials, rows, n_0)``.
    """

    variables: dict[str, Variable]
    keys: Keys
    machine: Machine
    visible: Array

    @property
    def n_epochs(self) -> int:
        """Epochs of the first training."""

    def coords(self) -> dict[str, Any]:
        """Coordinates of the study's own dimensions."""

    def attrs(self) -> dict[str, Any]:
        """Facts about the data, for the results."""

    @property
    def data_sha256(self) -> str:
        """Checksum of the rows that the trials learn and are judged by."""

    def train(self, callback: Callback, checkpoint: TrainingCheckpoint) -> tuple[Machine, Measured]:
        """The trained machines and what was measured during training."""

    def once(self, machine: Machine) -> Measured:
        """What is measured once, of the data and of the trained machine."""

    def evaluate(self, machine: Machine, keys: Keys) -> Measured:
        """What is measured of a machine at every stage; of variables without a stage the last one is kept."""

    def end_of_round(self, machine: Machine, keys: Keys) -> Measured:
        """What is measured of a machine at the end of a round only."""

    def removal(self, before: Machine, moments: list[Moments], after: Machine) -> Measured:
        """What is measured of a removal: the machine before, its moments, the machine after."""


def checksum_of(*rows: np.ndarray) -> str:
    """SHA-256 of 0/1 rows, in hexadecimal digits."""
    found = hashlib.sha256()
    for some in rows:
        found.update(str(some.shape).encode())
        found.update(np.packbits(some.astype(bool)).tobytes())
    return found.hexdigest()
