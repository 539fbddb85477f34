"""Settings that explain themselves: what a field's description says stands in the docstring too, for ``help()``."""

from __future__ import annotations

import inspect
import json
import textwrap
from typing import Any, get_args

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

_WIDTH = 100


class DescribedSettings(BaseModel):
    """Settings whose docstring lists every field with its default, its bounds and what it means."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Write the fields into the docstring."""
        super().__pydantic_init_subclass__(**kwargs)
        if cls.model_fields and "__doc__" in vars(cls):
            cls.__doc__ = f"{inspect.cleandoc(cls.__doc__ or '')}\n\nAttributes\n----------\n{_fields(cls)}"


def summary_of(settings: type[BaseModel]) -> str:
    """The docstring of settings without the list of their fields."""
    return (settings.__doc__ or "").partition("\n\nAttributes\n")[0]


def written(value: Any) -> str:
    """A value as a file would have it; ``none`` where it is not set."""
    if value is None:
        return "none"
    if isinstance(value, BaseModel):
        return "a table"
    return json.dumps(value, default=str)


def default_of(field: FieldInfo) -> str:
    """What holds where nothing is said; empty where a value must be given."""
    return "" if field.is_required() else written(field.get_default(call_default_factory=True))


def bounds_of(field: FieldInfo) -> str:
    """Numbers between which a value must lie, or the words it may be."""
    words: list[str] = []
    for kind in (field.annotation, *get_args(field.annotation)):
        words += [json.dumps(choice) for choice in get_args(kind) if isinstance(choice, str | int)]
    said = [", ".join(dict.fromkeys(words))] if words else []
    lowest = highest = ""
    for rule in field.metadata:
        if isinstance(rule, annotated_types.Ge):
            lowest = f"from {rule.ge:,}"
        elif isinstance(rule, annotated_types.Gt):
            lowest = f"above {rule.gt:,}"
        elif isinstance(rule, annotated_types.Le):
            highest = f"to {rule.le:,}"
        elif isinstance(rule, annotated_types.Lt):
            highest = f"below {rule.lt:,}"
    return "; ".join([*said, *filter(None, [" ".join(filter(None, [lowest, highest]))])])


def _fields(settings: type[BaseModel]) -> str:
    lines = []
    for name, field in settings.model_fields.items():
        default, bounds = default_of(field), bounds_of(field)
        known = [f"default {default}" if default else "must be given", *filter(None, [bounds])]
        meaning = field.description or _of_table(field.annotation) or name
        lines += [name, textwrap.indent(textwrap.fill(f"{meaning} ({'; '.join(known)})", _WIDTH), "    ")]
    return "\n".join(lines)


def _of_table(kind: Any) -> str:
    """What a field says that is itself settings: their first line."""
    is_table = inspect.isclass(kind) and issubclass(kind, BaseModel)
    return summary_of(kind).partition("\n")[0].rstrip(".") if is_table else ""
