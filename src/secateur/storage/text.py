"""Texts that come from files and users, made safe to print."""

from __future__ import annotations

import unicodedata

_STEERING = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode's control, format (direction of writing among them) and surrogate characters, separators of lines."""


def plain(text: object) -> str:
    """A text whose control characters, all but line breaks and tabs, are written out as Python's escapes."""
    return "".join(
        c if c in "\n\t" or unicodedata.category(c) not in _STEERING else c.encode("unicode_escape").decode("ascii")
        for c in str(text)
    )
