"""Messages of the Python functions in the words of the command line: options for arguments, sizes for shapes."""

from __future__ import annotations

import re

_OPTIONS = {
    "fraction": "--fraction",
    "hidden": "--hidden",
    "model.hidden": "--hidden",
    "n_epochs": "--epochs",
    "binarize": "--binarize",
    "sampler": "--sampler",
    "trials": "--trials",
    "rounds": "--rounds",
    "criteria": "--criteria",
    "seed": "--seed",
}
_NAMES = "|".join(map(re.escape, sorted(_OPTIONS, key=len, reverse=True)))
_PHRASES = (
    ("Input should be greater than or equal to", "must be at least"),
    ("Input should be greater than", "must be more than"),
    ("Input should be less than or equal to", "must be at most"),
    ("Input should be less than", "must be less than"),
    ("Input should be a valid integer, got a number with a fractional part", "must be a whole number"),
    ("Input should be a valid tuple", "must be several values in brackets, e.g. [0.1,0.01]"),
    ("Input should be", "must be"),
    ("Tuple should have at least 1 item after validation, not 0", "must name at least one"),
    (" or an object with init and step", ""),
    ("give them as visible (--data FILE)", "give --data FILE"),
    ("sampler: sampler must", "sampler must"),
    ("type <U", "type text of length "),
)


def in_words_of_options(message: str) -> str:
    """A message as somebody reads it who has typed options and no Python.

    The argument that a message begins with, or that a study's settings are refused by, becomes its option.
    """
    for found, said in _PHRASES:
        message = message.replace(found, said)
    message = re.sub(rf"^((?:settings|study '[^']*'): )?({_NAMES})(?=:? )", _option, message)
    return re.sub(r"\b(shape|layer sizes) \((\d+(?:, \d+)*),?\)", _size, message)


def _option(found: re.Match[str]) -> str:
    before = found[1] or ""
    return (before if before.startswith("study") else "") + _OPTIONS[found[2]]


def _size(found: re.Match[str]) -> str:
    if found[1] == "layer sizes":
        return f"layers of {found[2].replace(', ', ' - ')}"
    return f"size {found[2].replace(', ', ' x ')}"
