"""Rules of the user's own by name: entry points of installed packages, and functions of a module.

Other things that lie in a module of the user's are found in the same way (:func:`find_in_module`).
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

GROUP = "secateur.criteria"
"""Entry points of this group are criteria, known by the entry point's name."""


def installed() -> dict[str, EntryPoint]:
    """Criteria that installed packages offer, by name; nothing is imported."""
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=GROUP):
        # The first on the path, as for modules; a class of our own choice, because other packages bring theirs.
        found.setdefault(entry.name, EntryPoint(entry.name, entry.value, entry.group))
    return found


def find(name: str) -> Callable[..., Any] | None:
    """The function or rule that an installed package or ``module:function`` names; ``None`` for a name of neither kind.

    Imports the module, which may lie in the current folder: the folder is then put at the end of the module search
    path, where it hides no installed module.

    Raises
    ------
    ValueError
        If the module cannot be imported or holds no such function; the message says which and why.
    """
    entry = installed().get(name)
    module_name, colon, function = (entry.value if entry else name).partition(":")
    if not entry and not colon:
        return None
    found = find_in_module("criterion", name, module_name, function)
    if not callable(found):
        raise ValueError(f"criterion {name!r} must name a function or a rule, got a {type(found).__name__}")
    return found


def find_in_module(what: str, name: str, module: str, attribute: str) -> Any:
    """An attribute of a module; ``what`` and ``name`` say in messages what was asked for. Errors as of :func:`find`."""
    found: Any = _imported(f"{what} {name!r}", module.strip())
    for part in attribute.strip().split("."):
        found = _attribute(f"{what} {name!r}", found, part)
    return found


def place_of(error: BaseException, rule: Callable[..., Any]) -> str:
    """File and line of a rule at which it raised, for messages; empty if it is not in the rule's own file."""
    code = getattr(inspect.unwrap(rule), "__code__", None)
    frames = traceback.extract_tb(error.__traceback__) if code else []
    lines = [frame.lineno for frame in frames if code and frame.filename == code.co_filename]
    return f" ({Path(code.co_filename).name}, line {lines[-1]})" if code and lines else ""


def _imported(asked: str, module: str) -> ModuleType:
    if not {"", os.getcwd()} & set(sys.path):
        sys.path.append(os.getcwd())
    importlib.invalidate_caches()  # the file may have been written a moment ago
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            hint = "leave the ending .py out" if module.endswith(".py") else "go to its folder or install it"
            raise ValueError(f"{asked}: there is no module {module!r}; {hint}") from error
        raise ValueError(
            f"{asked}: importing {module!r} raised {type(error).__name__}: {error}; mend the module"
        ) from error


def _attribute(asked: str, owner: Any, attribute: str) -> Any:
    try:
        return getattr(owner, attribute)
    except AttributeError as error:
        near = difflib.get_close_matches(attribute, [n for n in dir(owner) if callable(getattr(owner, n, None))], n=1)
        hint = f"did you mean {near[0]!r}?" if near else "write module:name"
        place = getattr(owner, "__file__", None) or "built into Python"
        raise ValueError(
            f"{asked}: {getattr(owner, '__name__', owner)!r} ({place}) has no {attribute!r}; {hint}"
        ) from error
