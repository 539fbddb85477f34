"""The command line: thin over the Python functions; heavy imports wait until a command needs them.

Exit codes: 0 done, 1 failed while running, 2 wrong use. Errors are one line on standard error.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from secateur.studies.config import StudyConfig

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Train Boltzmann machines, measure the Fisher information of every synapse and neuron, prune, retrain.",
)


def _show_version(wanted: bool) -> bool:
    if wanted:
        from secateur import __version__

        typer.echo(f"secateur {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    del version  # handled by its callback


@app.command("run")
def run_study(
    study: Annotated[str, typer.Argument(help="A built-in study (see 'secateur studies') or a .toml file.")],
    size: Annotated[str | None, typer.Option(help="Size of the study, e.g. quick or paper.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the results. [default: STUDY-SIZE]")] = None,
    trials: Annotated[int | None, typer.Option(help="Number of trials.")] = None,
    criteria: Annotated[str | None, typer.Option(help="Pruning rules, separated by commas.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds of pruning.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of all random numbers.")] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, e.g. training.n_epochs=3.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in the folder.")] = False,
) -> None:
    """Run a study: train, then prune and retrain by every rule; results, figures and a report."""
    from secateur.studies.config import load_config, parse_change

    given = {"trials": trials, "criteria": _names(criteria), "rounds": rounds, "seed": seed}
    changes = {name: value for name, value in given.items() if value is not None}
    changes |= dict(parse_change(text) for text in change or [])
    config = load_config(study, size, changes)
    folder = out or Path(f"{config.name}-{config.size}")
    _run(config, folder, overwrite)
    _report(folder)


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="Folder of a finished study.")]) -> None:
    """Draw the figures and write the report of a finished study again."""
    _report(folder)


@app.command()
def studies() -> None:
    """List the built-in studies."""
    from secateur.studies.config import built_in_studies

    for name, study in built_in_studies().items():
        typer.echo(f"{name:10} {study.title} (sizes: {', '.join(study.sizes)})")


def main() -> None:
    """Run the command line; every foreseen failure ends with one line and an exit code."""
    sys.exit(_exit_code())


def _exit_code() -> int:
    try:
        return app(standalone_mode=False) or 0
    except (ValueError, TypeError) as error:
        return _fail(str(error), 2)
    except (OSError, ArithmeticError, MemoryError) as error:
        return _fail(str(error) or type(error).__name__, 1)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", 1)
    except Exception as error:
        if not hasattr(
            error, "format_message"
        ):  # a usage error of the command-line parser has it; anything else is a bug
            raise
        return _fail(error.format_message(), 2)


def _fail(message: str, code: int) -> int:
    print("secateur: " + " ".join(message.split()), file=sys.stderr)
    return code


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _run(config: StudyConfig, folder: Path, overwrite: bool) -> None:
    from secateur import studies
    from secateur.terminal import watch

    with watch() as progress:
        studies.run(config, folder, overwrite=overwrite, progress=progress)
    facts = studies.StudyFolder.open(folder).provenance
    share = facts["compile_share"]
    typer.echo(
        f"{facts['total_seconds']:.0f} s in all, {share:.0%} of it compiling ({facts['n_compilations']} programs)",
        err=True,
    )


def _report(folder: Path) -> None:
    from secateur.report import write_report
    from secateur.studies import StudyFolder

    typer.echo(f"report: {write_report(StudyFolder.open(folder))}")
