"""The one way in which commands write to the terminal: names and texts of files cannot steer it."""

from __future__ import annotations

import unicodedata

import typer

_STEERING = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode's control, format (direction of writing among them) and surrogate characters, separators of lines."""


def plain(text: object) -> str:
    """A text whose control characters, all but line breaks and tabs, are written out as Python's escapes."""
    return "".join(
        c if c in "\n\t" or unicodedata.category(c) not in _STEERING else c.encode("unicode_escape").decode("ascii")
        for c in str(text)
    )


def say(text: object, *, err: bool = False) -> None:
    """Print a text on standard output, or on standard error."""
    typer.echo(plain(text), err=err)
