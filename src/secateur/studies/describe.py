"""Settings of studies in words, and as a JSON schema for editors."""

from __future__ import annotations

import json
from typing import Any, NamedTuple, get_args

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from secateur.studies.settings import StudyConfig


class Setting(NamedTuple):
    """One setting of a study.

    Attributes
    ----------
    name
        Dotted, as in ``--set``.
    value
        What the study runs with, as TOML would write it; ``none`` where it is not set.
    default
        What holds where no file says anything; empty where it must be given.
    bounds
        Allowed values in words; empty where any value of its kind is.
    meaning
        What it is.
    """

    name: str
    value: str
    default: str
    bounds: str
    meaning: str

    def __str__(self) -> str:
        more = [self.bounds, f"default {self.default}" if self.default and self.default != self.value else ""]
        told = "; ".join(part for part in more if part)
        return f"{self.name} = {self.value}  {self.meaning}{f' ({told})' if told else ''}"


def settings_of(config: StudyConfig) -> list[Setting]:
    """Every setting of a study, in the order of its file."""
    return _settings(config, "")


def _settings(values: BaseModel, prefix: str) -> list[Setting]:
    found = []
    for name, field in type(values).model_fields.items():
        value = getattr(values, name)
        if isinstance(value, BaseModel):
            found += _settings(value, f"{prefix}{name}.")
        else:
            default = "" if field.is_required() else _written(field.get_default(call_default_factory=True))
            found.append(Setting(f"{prefix}{name}", _written(value), default, _bounds(field), field.description or ""))
    return found


def _written(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, BaseModel):
        return "a table"
    return json.dumps(value, default=str)


def _bounds(field: FieldInfo) -> str:
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


def study_schema() -> dict[str, Any]:
    """JSON schema of study files, for editors (``secateur studies --schema``).

    Nothing is required, because a file may leave to its sizes what differs between them.
    """
    schema = StudyConfig.model_json_schema()
    schema.pop("required", None)
    for table in schema["$defs"].values():
        table.pop("required", None)
    settings = dict(schema["properties"])
    size = {
        "type": "object",
        "properties": {"like": {"type": "string", "description": "another size, of which this changes some settings"}}
        | settings,
        "additionalProperties": False,
    }
    sizes = {"type": "object", "additionalProperties": size, "description": "sizes of the study, the first the default"}
    schema["properties"] = settings | {"sizes": sizes}
    schema["title"] = "Study of secateur"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema
