"""The commands on the user's own arrays and saved machines: fit, info, prune, sample, fisher.

Thin over the Python functions; heavy imports wait until a command needs them.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from secateur.commands.options import (
    MACHINE_SUFFIX,
    averages_in_words,
    beside_independent,
    check_out,
    fractions_from,
    importance_from,
    in_words,
    numbers_from,
    parted,
    quietly,
    retraining_from,
    rounds_after,
    rows_for,
    write_npy,
)
from secateur.commands.printing import say
from secateur.commands.recordings import fit_words, prune_fitted
from secateur.commands.rounds import Judge, round_of, save_round, watched
from secateur.commands.scores import score
from secateur.storage.limits import MAX_EPOCHS, MAX_ROUNDS, MAX_SEED

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


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (fit, info, prune, sample, fisher, score):
        app.command()(command)


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
    path: Annotated[Path, typer.Argument(exists=True, help="A saved machine, or a folder with machines in it.")],
) -> None:
    """Show layers, synapses, dead units and lineage of a saved machine, or one line for each machine in a folder."""
    from secateur.commands.summary import describe_file, describe_folder

    if path.is_file():
        say(describe_file(path))
        return
    n_damaged = 0
    for line, sound in describe_folder(path):
        say(line)
        n_damaged += not sound
    if n_damaged:
        raise OSError(f"{n_damaged} of the files in {path} are no sound machines (see above)")


def prune(
    machine: Annotated[
        Path, typer.Argument(exists=True, help="A saved machine (.safetensors), or the folder of a fitted recording.")
    ],
    criterion: Annotated[
        str | None,
        typer.Option(
            help="A rule's name, or your own as module:function; of a recording several, separated by commas. "
            "[default: variance-fi; of a recording that, fi-times-weight-squared, weight-magnitude and random]"
        ),
    ] = None,
    fraction: Annotated[
        str | None,
        typer.Option(
            help="Share of each weight matrix's synapses; one or one per matrix. [default: 0.5; of a recording 0.3]"
        ),
    ] = None,
    what: Annotated[
        Literal["couplings", "machine"] | None,
        typer.Option(help="Of a recording: couplings of the pairwise model, or the machine. [default: couplings]"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File for the pruned machine; a folder with --rounds. Not needed for --dry-run.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would go; write nothing.")] = False,
    rounds: Rounds = None,
    data: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="0/1 rows, for judging, rules and retraining."),
    ] = None,
    retrain_epochs: Annotated[
        int, typer.Option(min=0, max=MAX_EPOCHS, help="Passes through the rows after every round.")
    ] = 0,
    binarize: Binarize = None,
    drop: Drop = None,
    labels: Labels = None,
    change: Change = None,
    zeros: Annotated[
        Literal["all", "fraction"], typer.Option(help="Of too many synapses of zero importance: which go.")
    ] = "fraction",
    source: SourceOption = None,
    chains: Chains = None,
    draws: Draws = None,
    sweeps: Sweeps = None,
    burn_in: BurnIn = None,
    sampler: AveragesSampler = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
) -> None:
    """Remove the least important synapses and the units that die with them; --set takes settings of retraining.

    With --data every round says what likelihood the machine gives the rows, beside independent units.

    Of a fitted recording: how many couplings can go before held-out prediction suffers, by several rules.
    """
    if machine.is_dir():
        others = {
            "--out": out, "--data": data, "--retrain-epochs": retrain_epochs, "--binarize": binarize, "--drop": drop,
            "--labels": labels, "--set": change,
            "--source": source, "--chains": chains, "--draws": draws, "--sweeps": sweeps, "--burn-in": burn_in,
            "--sampler": sampler, "--dry-run": dry_run, "--zeros": zeros == "all",
        }  # fmt: skip
        if given := [name for name, value in others.items() if value]:
            raise ValueError(f"{given[0]} is for saved machines; a recording is pruned in its own folder, leave it out")
        prune_fitted(machine, what, criterion, fraction, rounds, seed, overwrite)
        return
    if what is not None:
        raise ValueError("--what is for the folder of a fitted recording; leave it out for a saved machine")
    criterion, fraction = criterion or "variance-fi", fraction or "0.5"
    if out is None and not dry_run:
        raise ValueError("--out is missing; give a file for the pruned machine, or say --dry-run")
    if out is not None and not dry_run and rounds is None:
        check_out(out, overwrite, MACHINE_SUFFIX)
    import jax

    from secateur.pruning import prune_and_retrain, removed, rule_named
    from secateur.storage.machines import read_machine

    rule = rule_named(criterion)
    parent = read_machine(machine)
    shares = fractions_from(fraction, parent.machine)
    if data is None and (drop or labels is not None):
        raise ValueError("--drop and --labels name columns of --data; give it, or leave them out")
    retraining = retraining_from(data, retrain_epochs, change)
    rows = None if data is None else rows_for(parent.machine, data, binarize, drop or (), labels)
    how = importance_from(parent.machine, source, chains, draws, sweeps, burn_in, sampler)
    trained_on, judged_on = (None, None) if rows is None else (rows, rows)
    if dry_run and retraining is not None:
        say("what later rounds would take depends on retraining, which a dry run leaves out; the first round:")
        rounds, retraining = 1, None
    elif retraining is not None and rows is not None:
        trained_on, judged_on = parted(rows, seed)
    averages = "none" if not rule.needs else "exact" if how == "exact" else how.model_dump()
    n_rounds, first = rounds or 1, round_of(parent)
    earlier = [] if out is None or dry_run or rounds is None else rounds_after(first, out, overwrite)
    facts = {
        "fraction": shares,
        "zeros": zeros,
        "seed": seed,
        "averages": averages,
    }
    if retraining is not None and data is not None:
        facts |= {"retrained_on": data.name, "retraining": retraining.model_dump(mode="json")}
    before, place = parent.machine, machine
    loop = prune_and_retrain(
        before,
        trained_on if retraining is not None or "rows" in rule.needs else None,
        criterion,
        n_rounds=n_rounds,
        fraction=shares,
        retraining=retraining,
        key=jax.random.key(seed),
        importance=how,
        zeros=zeros,
    )
    judge = None
    if not dry_run and trained_on is not None and judged_on is not None:
        judge = Judge(trained_on, judged_on, retraining is not None, seed)
        say(f"before: {judge(before)}")
    for done in loop if retraining is None else watched(loop, criterion, n_rounds):
        number = first + done.number
        say(f"round {number} by {criterion}, {averages_in_words(done.sources[0])}")
        say(removed(before, done.pruned, done.counts[0]))
        if judge is not None:
            say(judge(done.retrained))
        before = done.retrained
        if out is not None and not dry_run:
            file = out if rounds is None else out / f"round-{number:02d}{MACHINE_SUFFIX}"
            while earlier:  # they descend from what is replaced now
                earlier.pop().unlink()
            save_round(file, done.retrained, place, facts | {"criterion": criterion, "round": number})
            place = file
    if out is not None and not dry_run:
        say(f"{'machine' if rounds is None else 'machines'}: {out}")


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
