"""Commands on recordings: thin over the Python functions; heavy imports wait until a command needs them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def words(
    source: Annotated[Path, typer.Argument(help="Recording: .npz, .npy, text, MATLAB, NWB or HDF5 file.")],
    out: Annotated[Path, typer.Option(help="File for the words (.npz).")],
    bin_size: Annotated[
        float | None, typer.Option(help="Bin size in seconds; needed unless the source holds words already.")
    ] = None,
    time_units: Annotated[str, typer.Option(help="s, ms, us, or a sampling rate in Hz for times in samples.")] = "s",
    columns: Annotated[
        str | None, typer.Option(help="Columns of a table: 'time,unit,epoch', or 'time=NAME,unit=NAME,epoch=NAME'.")
    ] = None,
    units: Annotated[
        str | None, typer.Option(help="Units to keep: ids, a property that is true for them, or NAME=VALUE.")
    ] = None,
    ep: Annotated[
        list[str] | None, typer.Option(metavar="START:STOP", help="An epoch in seconds; several may be given.")
    ] = None,
    window: Annotated[float | None, typer.Option(help="Seconds; bins restart at every multiple of it.")] = None,
    orientation: Annotated[
        str | None, typer.Option(help="Axes of ready words, e.g. 'units x bins' or 'repeats x units x bins'.")
    ] = None,
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
    found = secateur.words(
        source,
        bin_size,
        [_epoch(text) for text in ep] if ep else None,
        time_units,
        binary,
        columns=columns,
        variable=variable,
        units=units,
        window=window,
        orientation=orientation,
        sort=sort,
        check_rates=check_rates,
    )
    found.save(out)
    typer.echo(str(found))
    typer.echo(f"words: {out}")


def _epoch(text: str) -> tuple[float, float]:
    start, _, stop = text.partition(":")
    try:
        return float(start), float(stop)
    except ValueError:
        raise ValueError(f"--ep must be START:STOP in seconds, got {text!r}") from None
