"""Docstrings as the manual shows them: a griffe extension that mkdocstrings loads (``mkdocs.yml``).

Settings write the list of their fields when they are defined, so theirs are read from the imported class; names in
Sphinx's roles (``:func:`secateur.fisher.variance```) become links where the reference has them, and plain names
elsewhere.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import griffe

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"
_ROLE = re.compile(r":(?:func|class|meth|mod|data|attr|exc):`~?([\w.]+)`")


def documented_names(folder: Path = REFERENCE) -> list[str]:
    """Every name that a page of the reference documents, as it stands there."""
    pages = (page.read_text("utf-8") for page in sorted(folder.glob("*.md")))
    return [name for page in pages for name in re.findall(r"^::: ([\w.]+)$", page, flags=re.MULTILINE)]


class ReferenceDocstrings(griffe.Extension):
    """Docstrings with links and with the fields of settings."""

    def __init__(self) -> None:
        self._names = set(documented_names())

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Change the docstring of one object."""
        if obj.is_class and any("Settings" in str(base) for base in obj.bases) and "Error" not in obj.name:
            documented = importlib.import_module(obj.module.path)
            text = getattr(documented, obj.name).__doc__ or ""
            obj.docstring = griffe.Docstring(text, parent=obj)
            for name in [name for name in obj.members if obj.members[name].is_attribute]:
                obj.del_member(name)  # they stand in the list already, with defaults and bounds
        if obj.docstring:
            obj.docstring.value = _ROLE.sub(self._linked, obj.docstring.value)

    def _linked(self, role: re.Match[str]) -> str:
        name = role[1]
        return f"[`{name}`][{name}]" if name in self._names else f"`{name}`"
