"""The command line: thin over the Python functions; heavy imports wait until a command needs them.

Exit codes: 0 done, 1 failed while running, 2 wrong use. Errors are one line on standard error.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secateur.commands import machines as cli_machines
from secateur.commands import recordings as cli_recordings
from secateur.commands.examples import examples
from secateur.commands.options import numbers_from
from secateur.commands.printing import say
from secateur.commands.wording import in_words_of_options
from secateur.storage.limits import MAX_THREADS

if TYPE_CHECKING:
    from secateur.data.fetch import FileCheck
    from secateur.studies import Progress, StudyFolder

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog=examples("secateur"),
    help="Train Boltzmann machines, measure the Fisher information of every synapse and neuron, prune, retrain.",
)


Workers = Annotated[
    int | None,
    typer.Option(
        min=1, max=MAX_THREADS, help="Worker processes, each with its share of the cores. [default: this process alone]"
    ),
]
Scheduler = Annotated[
    str | None, typer.Option(help="Address of a Dask scheduler whose workers do the tasks, e.g. tcp://host:8786.")
]


def _show_version(wanted: bool) -> bool:
    if wanted:
        from secateur import __version__

        say(f"secateur {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    del version  # handled by its callback


@app.command("run", epilog=examples("run"))
def run_study(
    study: Annotated[
        str | None, typer.Argument(help="A built-in study (see 'secateur studies') or a .toml file. [default: --data]")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Data of your own: rows (.npy, .npz, .csv, .txt, IDX), a words file, or a folder of them."),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="Labels of --data: a file, a column of a .csv, or an array of an .npz.")
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN", help="A column of --data's .csv to leave out; may come again."),
    ] = None,
    image_shape: Annotated[str | None, typer.Option(help="Height and width of --data's images, e.g. 28x28.")] = None,
    binarize: Annotated[
        str | None, typer.Option(help="How grey levels become 0 and 1: mean, redraw (every epoch), or a threshold.")
    ] = None,
    hidden: Annotated[
        str | None, typer.Option(help="Units of each hidden layer, e.g. 100,50. [default: chosen from --data]")
    ] = None,
    size: Annotated[str | None, typer.Option(help="Size of the study, e.g. quick or paper.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the results. [default: STUDY-SIZE]")] = None,
    trials: Annotated[int | None, typer.Option(help="Number of trials.")] = None,
    criteria: Annotated[str | None, typer.Option(help="Pruning rules, separated by commas.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds of pruning.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of all random numbers.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder with the data sets.")] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, e.g. training.n_epochs=3.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in the folder.")] = False,
    workers: Workers = None,
    scheduler: Scheduler = None,
) -> None:
    """Run a study: train, then prune and retrain by every rule; results, figures and a report."""
    from secateur import studies
    from secateur.commands.studies import chosen_config
    from secateur.studies.config import parse_change

    given = {
        "trials": trials,
        "criteria": _names(criteria),
        "rounds": rounds,
        "seed": seed,
        "data.data_dir": None if data_dir is None else str(data_dir),
        "model.hidden": None if hidden is None else list(numbers_from("--hidden", hidden, int)),
    }
    changes = {name: value for name, value in given.items() if value is not None}
    changes |= dict(parse_change(text) for text in change or [])
    own = {"labels": labels, "drop": drop, "image_shape": image_shape, "binarize": binarize}
    config = chosen_config(study, size, data, own, changes)
    folder = out or Path(f"{config.name}-{config.size}")
    with _watched(folder) as progress:
        how = {"progress": progress, "workers": workers, "scheduler": scheduler, "then": _report}
        studies.run(config, folder, overwrite=overwrite, **how)


@app.command(epilog=examples("resume"))
def resume(
    folder: Annotated[Path, typer.Argument(help="Folder of a study that was interrupted.")],
    workers: Workers = None,
    scheduler: Scheduler = None,
) -> None:
    """Continue an interrupted study, with the numbers of an unbroken run; results, figures and a report."""
    from secateur import studies

    with _watched(folder) as progress:
        studies.resume(folder, progress=progress, workers=workers, scheduler=scheduler, then=_report)


@app.command(epilog=examples("extend"))
def extend(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished study.")],
    trials: Annotated[int | None, typer.Option(help="How many trials there shall be in all.")] = None,
    criteria: Annotated[str | None, typer.Option(help="Rules to add, e.g. +random,+mine:rule.")] = None,
    rounds: Annotated[int | None, typer.Option(help="How many rounds of pruning there shall be in all.")] = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
) -> None:
    """Add trials, rules or rounds to a finished study, as if it had had them from the start."""
    from secateur import studies

    added = [name.lstrip("+") for name in _names(criteria) or []]
    with _watched(folder) as progress:
        studies.extend(
            folder,
            trials=trials,
            criteria=added,
            rounds=rounds,
            progress=progress,
            workers=workers,
            scheduler=scheduler,
            then=_report,
        )


@app.command(epilog=examples("report"))
def report(folder: Annotated[Path, typer.Argument(help="Folder of a finished study or a fitted recording.")]) -> None:
    """Draw the figures and write the report of a finished study or a fitted recording."""
    if not (folder / "recording.toml").is_file():
        from secateur.studies import StudyFolder

        study = StudyFolder.open(folder)
        with study.locked():
            _report(study)
        return
    from secateur.recordings.folder import RecordingFolder
    from secateur.recordings.pruned import pruned_results
    from secateur.report.recordings import write_recording_report

    found = RecordingFolder.open(folder)
    drawn = found.path, found.results, found.provenance, found.settings, pruned_results(found.path)
    say(f"report: {write_recording_report(*drawn)}")


@app.command(epilog=examples("studies"))
def studies(
    name: Annotated[str | None, typer.Argument(help="A study, or a .toml file, whose settings are listed.")] = None,
    size: Annotated[str | None, typer.Option(help="Which of its sizes.")] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of study files, for editors.")
    ] = False,
) -> None:
    """List the built-in studies; of one, every setting with its value, meaning, default and bounds."""
    from secateur.commands.studies import list_studies

    for line in list_studies(name, size, schema):
        say(line)


app.command(epilog=examples("words"))(cli_recordings.words)
cli_machines.register(app)

data_commands = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog=examples("data"),
    help="Find, fetch and check the data sets.",
)
app.add_typer(data_commands, name="data")
DataDir = Annotated[
    Path | None, typer.Option(help="Folder with the data sets. [default: SECATEUR_DATA_DIR, else the user's cache]")
]


@data_commands.command("list", epilog=examples("data list"))
def list_data(data_dir: DataDir = None) -> None:
    """List the data sets, where they come from and where they were found."""
    from secateur.data import list_datasets

    for row in list_datasets(data_dir):
        say(f"{row.name:10} {row.description}; from {row.url}; {row.place or 'not found here'}")


@data_commands.command("fetch", epilog=examples("data fetch"))
def fetch_data(name: Annotated[str, typer.Argument(help="Name of a data set.")], data_dir: DataDir = None) -> None:
    """Download a data set and verify it; what an interrupted download left is used."""
    from secateur import data
    from secateur.storage.watching import watch_download

    with watch_download(name) as progress:
        rows = data.fetch(name, data_dir, progress)
    _show_checks(rows)


@data_commands.command("check", epilog=examples("data check"))
def check_data(name: Annotated[str, typer.Argument(help="Name of a data set.")], data_dir: DataDir = None) -> None:
    """Verify the files of a data set by their content."""
    from secateur import data

    _show_checks(data.check(name, data_dir))


def _show_checks(rows: list[FileCheck]) -> None:
    for row in rows:
        say(f"{row.state:12} {row.path or row.file}: {row.detail}")
    name = rows[0].dataset
    if any(row.state == "damaged" for row in rows) or not any(row.ok for row in rows):
        raise OSError(f"{name} is missing or damaged; get it with 'secateur data fetch {name}' or say --data-dir")


def main() -> None:
    """Run the command line; every foreseen failure ends with one line and an exit code."""
    _keep_compiled_programs()
    sys.exit(_exit_code())


def _keep_compiled_programs() -> None:
    """Tell JAX, by its own environment variables, to keep compiled programs for later runs and for worker processes."""
    from platformdirs import user_cache_path

    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(user_cache_path("secateur") / "compiled"))
    os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(2**30))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")


def _exit_code() -> int:
    try:
        code = app(standalone_mode=False) or 0
        # The parser turns Ctrl-C into a code of its own.
        return _fail("interrupted", 1) if code == _INTERRUPTED else code
    except (ValueError, TypeError) as error:
        return _fail(in_words_of_options(str(error)), 2)
    except OSError as error:
        return _fail(str(error) + _REMEDIES.get(error.errno or 0, ""), 1)
    except (ArithmeticError, MemoryError) as error:
        return _fail(str(error) or type(error).__name__, 1)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", 1)
    except Exception as error:
        # Usage errors of the command-line parser bring their message; anything else is a bug and keeps its traceback.
        if not hasattr(error, "format_message"):
            raise
        if type(error).__name__ == "NoArgsIsHelpError":
            say(error.format_message(), err=True)
            return 2
        return _fail(in_words_of_options(error.format_message()), 2)


_INTERRUPTED = 130

_REMEDIES = {
    errno.ENOSPC: "; the disk is full: make room",
    errno.EDQUOT: "; your share of the disk is full: make room",
    errno.EROFS: "; the file system is read-only: choose another folder, or make it writable",
    errno.EACCES: "; the folder is not yours to write: choose another, or change its permissions",
}
"""What to do about errors that the system names."""


def _fail(message: str, code: int) -> int:
    say("secateur: " + " ".join(message.split()), err=True)
    return code


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


@contextmanager
def _watched(folder: Path) -> Iterator[Progress]:
    """Progress on the terminal while a study runs; then how long it took, or how to go on."""
    from secateur.storage.watching import watch
    from secateur.studies import StudyFolder

    try:
        with watch() as progress:
            yield progress
    except (OSError, MemoryError, KeyboardInterrupt):
        if StudyFolder.is_unfinished(folder):
            say(f"what is finished is kept; continue with 'secateur resume {folder}'", err=True)
        raise
    facts = StudyFolder.open(folder).provenance
    share = facts["compile_share"]
    say(
        f"{facts['total_seconds']:.0f} s in all, {share:.0%} of it compiling ({facts['n_compilations']} programs)",
        err=True,
    )


def _report(folder: StudyFolder) -> None:
    from secateur.report import write_report

    say(f"report: {folder.shown / write_report(folder).name}")
