"""The commands on the user's own arrays and saved machines: fit, info, sample, fisher.

Thin over the Python functions; heavy imports wait until a command needs them.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from secateur.commands.examples import examples
from secateur.commands.options import (
    MACHINE_SUFFIX,
    beside_independent,
    check_out,
    importance_from,
    in_words,
    numbers_from,
    parted,
    quietly,
    write_npy,
)
from secateur.commands.parameters import (
    AveragesSampler,
    Binarize,
    BurnIn,
    Chains,
    Change,
    Draws,
    Drop,
    Labels,
    MachineArgument,
    Overwrite,
    SamplerOption,
    Seed,
    SourceOption,
    Sweeps,
)
from secateur.commands.printing import say
from secateur.commands.prune import prune
from secateur.commands.recordings import fit_words
from secateur.commands.scores import score


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (fit, info, prune, sample, fisher, score):
        app.command(epilog=examples(command.__name__))(command)


_OF_PYTHON = ("verbose", "warm_start")
"""Parameters of the estimator that say how often it is called, or talks."""


def fit(
    rows: Annotated[
        Path,
        typer.Argument(exists=True, dir_okay=False, help="Words, or 0/1 rows (.npy, .npz, .csv, .txt)."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for a fitted recording; file for a machine (.safetensors).")],
    hidden: Annotated[
        str | None, typer.Option(help="Units of each hidden layer, separated by commas. [default: words 20, rows 100]")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes through the rows. [default: chosen from the data]")
    ] = None,
    choose_hidden: Annotated[
        str | None,
        typer.Option(help="Words: numbers of hidden units to choose from, e.g. 5,10,20."),
    ] = None,
    folds: Annotated[
        int | None, typer.Option(min=2, help="Words: folds, each held out once. [default: 5; beyond 200 units 2]")
    ] = None,
    hold_out: Annotated[str | None, typer.Option(help="Words: epochs to hold out in place of folds, e.g. 3,4.")] = None,
    of: Annotated[
        Literal["joint", "visible"], typer.Option("--fisher", help="Words: whose Fisher information matrix.")
    ] = "joint",
    convention: Annotated[
        Literal["0/1", "+-1", "theta-scaled"], typer.Option(help="Words: parameters of 0/1 or +-1 states, or relative.")
    ] = "0/1",
    binarize: Binarize = None,
    drop: Drop = None,
    labels: Labels = None,
    change: Change = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Fit models to the words of a recording, into a folder; or train one machine on rows of 0 and 1, into a file.

    --set takes parameters of BoltzmannMachine for rows, e.g. learning_rate=[0.1,0.01], settings of training for words.
    """
    from secateur.reading.words import is_words_file

    if is_words_file(rows) and out.suffix != MACHINE_SUFFIX:
        if binarize is not None:
            raise ValueError("--binarize is for rows; words are 0 and 1 already")
        if drop or labels is not None:
            raise ValueError("--drop and --labels are for tables (.csv, .txt); leave them out for words")
        fit_words(rows, out, hidden, choose_hidden, epochs, folds, hold_out, of, convention, change, seed, overwrite)
        return
    if choose_hidden is not None or folds is not None or hold_out is not None:
        raise ValueError(
            "--choose-hidden, --folds and --hold-out need a file of words ('secateur words') and a folder as --out"
        )
    hidden = hidden or "100"
    check_out(out, overwrite, MACHINE_SUFFIX)
    from secateur.data.rows import read_rows
    from secateur.estimator import BoltzmannMachine
    from secateur.model.trust import PoorFit
    from secateur.storage.machines import save_machine
    from secateur.storage.progress import told_once
    from secateur.storage.watching import watch
    from secateur.studies.config import parse_change

    settings: dict[str, Any] = {
        "hidden": numbers_from("--hidden", hidden, int),
        "n_epochs": epochs,
        "random_state": seed,
    }
    changes = dict(parse_change(text) for text in change or [])
    if taken := sorted({*settings, "binarize"} & set(changes)):
        raise ValueError(f"--set must not change {taken[0]!r}; use --hidden, --epochs, --seed or --binarize")
    known = sorted(set(BoltzmannMachine().get_params()) - {*settings, "binarize", *_OF_PYTHON})
    if unknown := [name for name in changes if name not in known]:
        raise ValueError(f"--set knows no setting {unknown[0]!r} of a fit; it takes {', '.join(known)}")
    model = BoltzmannMachine().set_params(**settings | changes)
    values = read_rows(rows, binarize=binarize, drop=drop or (), labels=labels)
    trained_on, held_out = parted(values, seed)
    with watch() as progress:
        told = told_once(progress, "training", lambda: model._epochs_in_all)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PoorFit)  # the closing line says so, of held-out rows
            model.fit(trained_on, callback=told)
    lineage = {
        "fitted_to": rows.name,
        "rows": len(trained_on),
        "hidden": settings["hidden"],
        "epochs": model.settings_.n_epochs,
        "seed": seed,
    }
    save_machine(model.machine_, out, lineage | changes)
    share = f"{values.mean():.2%} of the values are 1"
    say(f"{len(values):,} rows of {values.shape[1]:,} units from {rows}; {share}")
    say(beside_independent(model, trained_on, held_out))
    say(f"machine: {out}")


def info(
    path: Annotated[
        Path, typer.Argument(exists=True, help="A saved machine, words, a fitted recording, a study, or a folder.")
    ],
) -> None:
    """Show what a file or folder is: a machine's layers, synapses, dead units and lineage; what words, a fitted
    recording or a study hold and how far it is; of any other folder one line for each machine.
    """
    from secateur.commands.contents import described
    from secateur.commands.summary import describe_file, describe_folder

    if (found := described(path)) is not None:
        say(found)
        return
    if path.is_file() and path.suffix != MACHINE_SUFFIX:
        raise ValueError(
            f"{path} holds no machine ({MACHINE_SUFFIX}) and no words (.npz of 'secateur words'); give one"
        )
    if path.is_file():
        say(describe_file(path))
        return
    n_damaged = 0
    for line, sound in describe_folder(path):
        say(line)
        n_damaged += not sound
    if n_damaged:
        raise OSError(f"{n_damaged} of the files in {path} are no sound machines (see above)")


def sample(
    machine: MachineArgument,
    out: Annotated[Path, typer.Option(help="File for the visible states (.npy), one row per state.")],
    n: Annotated[int, typer.Option("--n", min=1, help="States to draw.")] = 1000,
    sampler: SamplerOption = "auto",
    chains: Annotated[int, typer.Option(min=1, help="Independent chains.")] = 10,
    sweeps: Annotated[int, typer.Option(min=1, help="Sweeps from one draw of a chain to its next.")] = 10,
    burn_in: Annotated[int, typer.Option(min=0, help="Sweeps before the first draw.")] = 200,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Draw visible states (0/1) from a saved machine."""
    check_out(out, overwrite, ".npy")
    import jax
    import numpy as np

    from secateur import sampling
    from secateur.data.rows import MAX_VALUES
    from secateur.storage.machines import load_machine

    model = load_machine(machine)
    if n * model.n_units > MAX_VALUES:
        raise ValueError(f"--n must be at most {MAX_VALUES // model.n_units:,} for this machine; draw in several parts")
    n_chains = min(chains, n)
    # Four draws of each chain or more, so that the chains can be seen to have mixed.
    n_draws = max(4, -(-n // n_chains))
    schedule = {"n_draws": n_draws, "n_chains": n_chains, "n_sweeps": sweeps, "n_burn_in": burn_in}
    drawn = quietly(sampling.sample, model, jax.random.key(seed), sampler=sampler, **schedule)
    visible = np.asarray(drawn[0]).reshape(-1, model.layer_sizes[0])[:n].astype(np.uint8)
    write_npy(out, visible)
    say(f"samples: {out}, {n:,} states; {in_words(drawn.diagnostics, drawn.verdict)}")


def fisher(
    machine: MachineArgument,
    out: Annotated[Path, typer.Option(help="File for the table (.csv).")],
    source: SourceOption = None,
    chains: Chains = None,
    draws: Draws = None,
    sweeps: Sweeps = None,
    burn_in: BurnIn = None,
    sampler: AveragesSampler = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Write the Fisher information of every synapse and unit of a saved machine as a table."""
    check_out(out, overwrite, ".csv")
    import jax

    from secateur.fisher.table import fisher_table
    from secateur.pruning import model_moments
    from secateur.storage.arrays import write_atomically
    from secateur.storage.machines import load_machine

    model = load_machine(machine)
    (moments,) = model_moments(
        model, importance_from(model, source, chains, draws, sweeps, burn_in, sampler), jax.random.key(seed)
    )
    table = fisher_table(model, moments)
    write_atomically(out, lambda temporary: table.to_csv(temporary, index=False))
    say(f"joint Fisher information of 0/1 units, per nat^2; {in_words(moments.diagnostics)}")
    say(f"table: {out}, {model.n_synapses:,} synapses and {model.n_units:,} units")
