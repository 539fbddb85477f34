"""Options that several commands on machines have, each written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from secateur.storage.limits import MAX_ROUNDS, MAX_SEED

MachineArgument = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A saved machine (.safetensors).")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
Seed = Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of all random numbers.")]
Rounds = Annotated[
    int | None, typer.Option(min=1, max=MAX_ROUNDS, help="Rounds of pruning; all machines go into a folder.")
]
SourceOption = Annotated[
    Literal["exact", "sampled"] | None,
    typer.Option("--source", help="Where averages come from. [default: exact where possible, else sampled]"),
]
SamplerOption = Annotated[
    str, typer.Option("--sampler", help="gibbs, tempering, or auto: gibbs, and tempering where gibbs does not mix.")
]
AveragesSampler = Annotated[
    str | None,
    typer.Option("--sampler", help="Where averages are sampled: gibbs, tempering or auto. [default: auto]"),
]
Chains = Annotated[int | None, typer.Option(help="Independent chains, where averages are sampled.")]
Draws = Annotated[int | None, typer.Option(help="Draws per chain.")]
Sweeps = Annotated[int | None, typer.Option(help="Gibbs sweeps from one draw to the next.")]
BurnIn = Annotated[int | None, typer.Option(help="Sweeps before the first draw.")]
Binarize = Annotated[float | None, typer.Option(help="Values above this become 1, all others 0.")]
Drop = Annotated[
    list[str] | None, typer.Option("--drop", metavar="COLUMN", help="A column of a .csv to leave out; may come again.")
]
Labels = Annotated[
    str | None, typer.Option("--labels", metavar="COLUMN", help="The column of a .csv that holds labels: no unit.")
]
Change = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of training.")]
