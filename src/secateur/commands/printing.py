"""The one way in which commands write to the terminal: names and texts of files cannot steer it."""

from __future__ import annotations

import typer

from secateur.storage.text import plain


def say(text: object, *, err: bool = False) -> None:
    """Print a text on standard output, or on standard error."""
    typer.echo(plain(text), err=err)
