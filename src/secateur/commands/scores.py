"""``secateur score``: the likelihood that a saved machine gives rows, beside independent units."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from secateur.commands.options import check_out, likelihood_beside_independent, rows_for, write_npy
from secateur.commands.parameters import Binarize, Drop, Labels
from secateur.commands.printing import say
from secateur.storage.limits import MAX_SEED


def score(
    machine: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A saved machine (.safetensors).")],
    rows: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="0/1 rows (.npy, .npz, .csv, .txt, IDX).")],
    train: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Rows whose rates independent units have. [ROWS]")
    ] = None,
    binarize: Binarize = None,
    drop: Drop = None,
    labels: Labels = None,
    out: Annotated[Path | None, typer.Option(help="File for log p(v) of every row, in nats (.npy).")] = None,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of all random numbers.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """The likelihood that a saved machine gives rows, in nats per row, beside independent units."""
    if out is not None:
        check_out(out, overwrite, ".npy")
    import numpy as np

    from secateur.commands.options import quietly
    from secateur.estimator import BoltzmannMachine
    from secateur.storage.machines import load_machine

    model = BoltzmannMachine.from_machine(load_machine(machine), random_state=seed)
    columns = (tuple(drop or ()), labels)
    values = rows_for(model.machine_, rows, binarize, *columns)
    rates_from = values if train is None else rows_for(model.machine_, train, binarize, *columns)
    say(f"{len(values):,} rows of {rows}: {likelihood_beside_independent(model, rates_from, values)}")
    if out is not None:
        each = np.asarray(quietly(model.score_samples, values), np.float64)
        write_npy(out, each)
        say(f"log p(v) of every row: {out}")
