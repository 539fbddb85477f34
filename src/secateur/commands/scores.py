"""How good machines are: the likelihood of rows, beside independent units."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secateur.commands.options import check_out, likelihood_beside_independent, rows_for, write_npy
from secateur.commands.printing import say

if TYPE_CHECKING:
    import numpy as np

    from secateur.model.machine import Machine


class Judge:
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


def score(
    machine: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A saved machine (.safetensors).")],
    rows: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="0/1 rows (.npy, .npz, .csv, .txt, IDX).")],
    train: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Rows whose rates independent units have. [ROWS]")
    ] = None,
    binarize: Annotated[float | None, typer.Option(help="Values above this become 1, all others 0.")] = None,
    out: Annotated[Path | None, typer.Option(help="File for log p(v) of every row, in nats (.npy).")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random numbers.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """The likelihood that a saved machine gives rows, in nats per row, beside independent units.

    Example: secateur score machine.safetensors held-out.npy --train rows.npy
    """
    if out is not None:
        check_out(out, overwrite, ".npy")
    import numpy as np

    from secateur.commands.options import quietly
    from secateur.estimator import BoltzmannMachine
    from secateur.storage.machines import load_machine

    model = BoltzmannMachine.from_machine(load_machine(machine), random_state=seed)
    values = rows_for(model.machine_, rows, binarize)
    rates_from = values if train is None else rows_for(model.machine_, train, binarize)
    say(f"{len(values):,} rows of {rows}: {likelihood_beside_independent(model, rates_from, values)}")
    if out is not None:
        each = np.asarray(quietly(model.score_samples, values), np.float64)
        write_npy(out, each)
        say(f"log p(v) of every row: {out}")
