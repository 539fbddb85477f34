"""Rounds of ``secateur prune``: watched, judged by rows, and saved with their lineage."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.commands.options import likelihood_beside_independent

if TYPE_CHECKING:
    import numpy as np

    from secateur.model.machine import Machine
    from secateur.pruning import Round
    from secateur.storage.machines import MachineFile

MOST_ROUNDS = 10**6
"""Most rounds that a machine may have been through, in all commands together."""


class LikelihoodOfRows:
    """Says, in words, what likelihood machines give rows.

    Parameters
    ----------
    trained_on, judged_on
        0/1 rows: whose rates independent units have, and of which the likelihood is taken (all, if there are none).
    held_out
        Whether the second were kept from training.
    seed
        Of annealing.
    """

    def __init__(self, trained_on: np.ndarray, judged_on: np.ndarray, held_out: bool, seed: int):
        self.trained_on, self.seed = trained_on, seed
        self.rows = judged_on if len(judged_on) else trained_on
        self.which = "held-out rows" if held_out and len(judged_on) else "rows"

    def __call__(self, machine: Machine) -> str:
        """The likelihood beside that of independent units, with error and verdict."""
        from secateur.estimator import BoltzmannMachine

        model = BoltzmannMachine.from_machine(machine, random_state=self.seed)
        return f"{len(self.rows):,} {self.which}: {likelihood_beside_independent(model, self.trained_on, self.rows)}"


def watched(loop: Iterator[Round], criterion: str, n_rounds: int) -> Iterator[Round]:
    """The rounds of pruning with progress, for retraining takes time."""
    from secateur.storage.progress import Steps
    from secateur.storage.watching import watch

    with watch() as progress:
        progress.start({"round": n_rounds})
        steps = Steps(progress)
        for number in range(1, n_rounds + 1):
            progress.describe(f"{criterion}, round {number} of {n_rounds}")
            found = next(loop)
            steps.done("round")
            yield found


def save_round(path: Path, machine: Machine, parent: Path, facts: dict[str, Any]) -> None:
    """Write the machine of a round, compacted, with its lineage."""
    from secateur.pruning import compact
    from secateur.storage.machines import save_machine

    place = os.path.relpath(parent, path.parent) if parent.anchor == path.anchor else parent.name
    save_machine(compact(machine), path, {"parent": Path(place).as_posix()} | facts)


def round_of(parent: MachineFile) -> int:
    """Rounds that a machine has been through, by its lineage.

    Raises
    ------
    ValueError
        If they are more than there can be; their number becomes part of a file's name.
    """
    from secateur.reading.notes import shortened

    number = parent.lineage.get("round", 0)
    if not isinstance(number, int) or isinstance(number, bool):
        return 0
    if not 0 <= number <= MOST_ROUNDS:
        raise ValueError(
            f"the machine's lineage says that it has been through {shortened(number)} rounds, expected 0 to "
            f"{MOST_ROUNDS:,}; save it anew, with save_machine(machine, path, lineage)"
        )
    return number
