"""Settings of studies in words, and as a JSON schema for editors."""

from __future__ import annotations

from typing import Any, NamedTuple

from pydantic import BaseModel

from secateur.storage.described import bounds_of, default_of, written
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
            told = (written(value), default_of(field), bounds_of(field), field.description or "")
            found.append(Setting(f"{prefix}{name}", *told))
    return found


def study_schema() -> dict[str, Any]:
    """JSON schema of study files, for editors (``secateur studies --schema``).

    Nothing is required, because a file may leave to its sizes what differs between them.
    """
    schema = StudyConfig.model_json_schema()
    schema.pop("required", None)
    for table in schema["$defs"].values():
        table.pop("required", None)
        _shorten(table)
    _shorten(schema)
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


def _shorten(table: dict[str, Any]) -> None:
    """Editors show the first lines of a description; what follows lists fields that have their own."""
    if "description" in table:
        table["description"] = table["description"].partition("\n\nAttributes\n")[0]
