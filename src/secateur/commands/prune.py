"""``secateur prune``: the command, and what it does with a saved machine; of recordings see ``recordings.py``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from secateur.commands.options import (
    MACHINE_SUFFIX,
    averages_in_words,
    check_out,
    fractions_from,
    importance_from,
    parted,
    retraining_from,
    rounds_after,
    rows_for,
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
    Overwrite,
    Rounds,
    Seed,
    SourceOption,
    Sweeps,
)
from secateur.commands.printing import say
from secateur.commands.recordings import prune_fitted
from secateur.commands.rounds import LikelihoodOfRows, round_of, save_round, watched
from secateur.storage.limits import MAX_EPOCHS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from secateur.pruning import Round


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
    averages = (source, chains, draws, sweeps, burn_in, sampler)
    table = (data, binarize, tuple(drop or ()), labels)
    criterion, fraction = criterion or "variance-fi", fraction or "0.5"
    _prune_machine(
        machine, _Asked(criterion, fraction, zeros, rounds, seed, out, dry_run, overwrite), table, averages,
        retrain_epochs, change,
    )  # fmt: skip


@dataclass(frozen=True)
class _Asked:
    """What the options say is to be removed, and where it goes."""

    criterion: str
    fraction: str
    zeros: Literal["all", "fraction"]
    rounds: int | None
    seed: int
    out: Path | None
    dry_run: bool
    overwrite: bool

    def check(self) -> None:
        """Refuse what cannot be written, before anything is computed."""
        if self.out is None and not self.dry_run:
            raise ValueError("--out is missing; give a file for the pruned machine, or say --dry-run")
        if self.place is not None and self.rounds is None:
            check_out(self.place, self.overwrite, MACHINE_SUFFIX)

    @property
    def place(self) -> Path | None:
        """Where machines are written, if they are."""
        return None if self.dry_run else self.out

    def file(self, number: int) -> Path | None:
        """The file of a round."""
        if self.place is None or self.rounds is None:
            return self.place
        return self.place / f"round-{number:02d}{MACHINE_SUFFIX}"


def _prune_machine(
    machine: Path,
    asked: _Asked,
    table: tuple[Path | None, float | None, tuple[str, ...], str | None],
    averages: tuple[Any, ...],
    retrain_epochs: int,
    change: list[str] | None,
) -> None:
    """Prune a saved machine: ``table`` holds --data, --binarize, --drop and --labels, ``averages`` what is sampled."""
    asked.check()
    import jax

    from secateur.pruning import prune_and_retrain, rule_named
    from secateur.storage.machines import read_machine

    rule = rule_named(asked.criterion)
    parent = read_machine(machine)
    shares = fractions_from(asked.fraction, parent.machine)
    data, binarize, drop, labels = table
    if data is None and (drop or labels is not None):
        raise ValueError("--drop and --labels name columns of --data; give it, or leave them out")
    retraining = retraining_from(data, retrain_epochs, change)
    rows = None if data is None else rows_for(parent.machine, data, binarize, drop, labels)
    how = importance_from(parent.machine, *averages)
    n_rounds, trained_on, judged_on = asked.rounds or 1, rows, rows
    if asked.dry_run and retraining is not None:
        say("what later rounds would take depends on retraining, which a dry run leaves out; the first round:")
        n_rounds, retraining = 1, None
    elif retraining is not None and rows is not None:
        trained_on, judged_on = parted(rows, asked.seed)
    taken_from = "none" if not rule.needs else "exact" if how == "exact" else how.model_dump()
    facts = {"fraction": shares, "zeros": asked.zeros, "seed": asked.seed, "averages": taken_from}
    if retraining is not None and data is not None:
        facts |= {"retrained_on": data.name, "retraining": retraining.model_dump(mode="json")}
    first = round_of(parent)
    earlier = [] if asked.place is None or asked.rounds is None else rounds_after(first, asked.place, asked.overwrite)
    loop = prune_and_retrain(
        parent.machine,
        trained_on if retraining is not None or "rows" in rule.needs else None,
        asked.criterion,
        n_rounds=n_rounds,
        fraction=shares,
        retraining=retraining,
        key=jax.random.key(asked.seed),
        importance=how,
        zeros=asked.zeros,
    )
    told = None
    if not asked.dry_run and trained_on is not None and judged_on is not None:
        told = LikelihoodOfRows(trained_on, judged_on, retraining is not None, asked.seed)
        say(f"before: {told(parent.machine)}")
    rounds = loop if retraining is None else watched(loop, asked.criterion, n_rounds)
    _tell_and_save(rounds, asked, parent.machine, machine, first, facts, told, earlier)
    if asked.place is not None:
        say(f"{'machine' if asked.rounds is None else 'machines'}: {asked.place}")


def _tell_and_save(
    rounds: Iterator[Round],
    asked: _Asked,
    before: Any,
    parent: Path,
    first: int,
    facts: dict[str, Any],
    told: LikelihoodOfRows | None,
    earlier: list[Path],
) -> None:
    """Say what every round took and how good its machine is, and write it where that is asked for."""
    from secateur.pruning import removed

    for done in rounds:
        number = first + done.number
        say(f"round {number} by {asked.criterion}, {averages_in_words(done.sources[0])}")
        say(removed(before, done.pruned, done.counts[0]))
        if told is not None:
            say(told(done.retrained))
        before = done.retrained
        if (file := asked.file(number)) is not None:
            while earlier:  # they descend from what is replaced now
                earlier.pop().unlink()
            save_round(file, done.retrained, parent, facts | {"criterion": asked.criterion, "round": number})
            parent = file
