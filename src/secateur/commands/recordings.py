"""Commands on recordings: thin over the Python functions; heavy imports wait until a command needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from secateur.commands.options import checked_settings, in_options, numbers_from
from secateur.commands.printing import say


def words(
    source: Annotated[
        list[Path],
        typer.Argument(
            help="Recording: .npz, .npy, text, MATLAB, NWB or HDF5 file, or a folder of phy; several are epochs."
        ),
    ],
    out: Annotated[Path, typer.Option(help="File for the words (.npz).")],
    bin_size: Annotated[
        float | None, typer.Option(help="Bin size in seconds; needed unless the source holds words already.")
    ] = None,
    time_units: Annotated[
        str | None, typer.Option(help="s, ms, us, or a sampling rate in Hz for times in samples; else as stated, or s.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="Columns of a table: 'time,unit,epoch', or 'time=NAME,unit=NAME,epoch=NAME'.")
    ] = None,
    units: Annotated[
        str | None, typer.Option(help="Units to keep: ids, a property that is true for them, or NAME=VALUE.")
    ] = None,
    ep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="START:STOP", help="An epoch in seconds; several may be given. Or trials or epochs (NWB)."
        ),
    ] = None,
    window: Annotated[float | None, typer.Option(help="Seconds; bins restart at every multiple of it.")] = None,
    orientation: Annotated[
        str | None, typer.Option(help="Axes of words, e.g. 'units x bins', or of nested trains, e.g. 'units x trials'.")
    ] = None,
    groups: Annotated[str | None, typer.Option(help="Group of units to keep, as in phy: good, mua.")] = None,
    threshold: Annotated[float | None, typer.Option(help="For traces: a unit is active above it.")] = None,
    variable: Annotated[str | None, typer.Option(help="Name of the array in a file with several.")] = None,
    binary: Annotated[str, typer.Option(help="Counts over 1: clip or refuse.")] = "clip",
    sort: Annotated[bool, typer.Option("--sort", help="Sort times that go back within a unit.")] = False,
    check_rates: Annotated[bool, typer.Option(help="Ask back where times look as if in other units.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier file.")] = False,
) -> None:
    """Turn a recording into binary words (bins x units) and tell what was kept, clipped and left out."""
    import secateur

    if out.exists() and not overwrite:
        raise ValueError(f"{str(out)!r} exists already; choose another file or say --overwrite")
    if out.suffix != ".npz":
        raise ValueError(f"words are written to .npz files, got {str(out)!r}")
    named = ep[0] if ep and len(ep) == 1 and ep[0] in ("trials", "epochs") else None
    epochs = named or ([_epoch(text) for text in ep] if ep else None)
    try:
        found = secateur.words(
            source if len(source) > 1 else source[0],
            bin_size,
            epochs,
            time_units,
            binary,
            columns=columns,
            variable=variable,
            units=units,
            window=window,
            groups=groups,
            orientation=orientation,
            threshold=threshold,
            sort=sort,
            check_rates=check_rates,
        )
    except (ValueError, TypeError) as error:
        raise type(error)(in_options(str(error), [str(path) for path in source])) from error
    found.save(out)
    say(str(found))
    say(f"words: {out}")


def fit_words(
    words: Path,
    out: Path,
    hidden: str | None,
    choose_hidden: str | None,
    epochs: int | None,
    folds: int | None,
    hold_out: str | None,
    of: Literal["joint", "visible"],
    convention: Literal["0/1", "+-1", "theta-scaled"],
    change: list[str] | None,
    seed: int,
    overwrite: bool,
) -> None:
    """Fit models to a file of words and tell what came out; the part of ``secateur fit`` that is for recordings."""
    if hidden is not None and choose_hidden is not None:
        raise ValueError("--hidden and --choose-hidden exclude each other; give one of them")
    if folds is not None and hold_out is not None:
        raise ValueError("--folds and --hold-out exclude each other; give one of them")
    from secateur.reading.words import load_words
    from secateur.recordings.fitting import default_settings
    from secateur.recordings.folder import fit_recording
    from secateur.storage.watching import watch
    from secateur.studies.config import parse_change
    from secateur.training import TrainingSettings

    training = None
    if change or epochs is not None:
        given = dict(parse_change(text) for text in change or []) | ({} if epochs is None else {"n_epochs": epochs})
        settings = default_settings(len(load_words(words).states)).model_dump() | given
        training = checked_settings(TrainingSettings, settings)
    layers = None if hidden is None else tuple(numbers_from("--hidden", hidden, int))
    with watch() as progress:
        found = fit_recording(
            words,
            out,
            seed=seed,
            n_hidden=layers[0] if layers and len(layers) == 1 else layers,
            choose_hidden=None if choose_hidden is None else numbers_from("--choose-hidden", choose_hidden, int),
            n_folds=folds,
            hold_out=None if hold_out is None else numbers_from("--hold-out", hold_out, int),
            training=training,
            of=of,
            convention=convention,
            overwrite=overwrite,
            progress=progress,
        )
    for sentence in found.results.attrs["findings"]:
        say(sentence)
    for sentence in found.results.attrs.get("warnings", []):
        say(f"warning: {sentence}", err=True)
    say(f"recording: {out}; 'secateur report {out}' draws it")


def prune_fitted(
    folder: Path,
    what: Literal["couplings", "machine"] | None,
    criteria: str | None,
    fraction: str | None,
    rounds: int | None,
    seed: int,
    overwrite: bool,
) -> None:
    """Prune the models of a fitted recording; the part of ``secateur prune`` that is for recordings."""
    from secateur.recordings.decimation import CRITERIA
    from secateur.recordings.pruned import prune_recording
    from secateur.storage.watching import watch

    shares = numbers_from("--fraction", fraction or "0.3", float)
    if len(shares) != 1:
        raise ValueError(f"--fraction must be one number for a recording, got {fraction!r}")
    with watch() as progress:
        found = prune_recording(
            folder,
            what=what or "couplings",
            criteria=CRITERIA if criteria is None else criteria.split(","),
            fraction=shares[0],
            n_rounds=rounds or 10,
            seed=seed,
            overwrite=overwrite,
            progress=progress,
        )
    for sentence in found.attrs["sentences"]:
        say(sentence)
    say(f"pruned: {folder / 'pruning'}; 'secateur report {folder}' draws it")


def _epoch(text: str) -> tuple[float, float]:
    start, _, stop = text.partition(":")
    try:
        return float(start), float(stop)
    except ValueError:
        raise ValueError(f"--ep must be START:STOP in seconds, got {text!r}") from None
