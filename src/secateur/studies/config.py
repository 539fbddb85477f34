"""Studies as data: a TOML file, validated on load and resolved to every setting it runs with."""

from __future__ import annotations

import difflib
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError

from secateur.storage.toml import parse_toml, read_toml
from secateur.studies.settings import StudyConfig

__all__ = [
    "BuiltInStudy",
    "StudyConfig",
    "built_in_studies",
    "known_names",
    "load_config",
    "one_line",
    "parse_change",
    "resolved",
]


class BuiltInStudy(NamedTuple):
    """A study that comes with the package."""

    title: str
    sizes: tuple[str, ...]


def built_in_studies() -> dict[str, BuiltInStudy]:
    """The studies that come with the package, by name."""
    files = [f for f in resources.files("secateur.studies").iterdir() if f.name.endswith(".toml")]
    contents = {f.name.removesuffix(".toml"): tomllib.loads(f.read_text("utf-8")) for f in files}
    return {name: BuiltInStudy(found["title"], tuple(found["sizes"])) for name, found in sorted(contents.items())}


def load_config(
    study: str | Path, size: str | None = None, changes: dict[str, Any] | None = None, *, finished: bool = False
) -> StudyConfig:
    """The resolved configuration of a built-in study or of a TOML file.

    Parameters
    ----------
    study
        Name of a built-in study, or path of a ``.toml`` file (also the ``study.toml`` of an earlier run).
    size
        One of the file's sizes, e.g. ``"quick"``; ``None`` takes the first.
    changes
        Settings to change, by dotted name, e.g. ``{"training.n_epochs": 3}``.
    finished
        Whether the study has run already: then rules need not be known here.

    Raises
    ------
    ValueError
        If there is no such study or size, the file is not valid TOML, or a setting is unknown or out of range.
    """
    content = _read(study)
    sizes = content.pop("sizes", {})
    if not isinstance(sizes, dict) or not all(isinstance(settings, dict) for settings in sizes.values()):
        raise ValueError(f"study {str(study)!r}: sizes must be tables of settings, [sizes.NAME], got {_short(sizes)}")
    if sizes:
        chosen = size or next(iter(sizes))
        if chosen not in sizes:
            raise ValueError(f"study {str(study)!r} has no size {chosen!r}; choose one of {', '.join(sizes)}")
        content = _merge(content, _size(study, sizes, chosen)) | {"size": chosen}
    elif size not in (None, content.get("size")):
        raise ValueError(f"study {str(study)!r} has no sizes; leave size out")
    path = Path(study)
    folder = path.parent if path.suffix == ".toml" and str(study) not in built_in_studies() else Path()
    return resolved(_upgraded(content), changes, what=f"study {str(study)!r}", folder=folder, finished=finished)


def resolved(
    content: dict[str, Any],
    changes: dict[str, Any] | None = None,
    *,
    what: str = "settings",
    folder: Path | None = None,
    finished: bool = False,
) -> StudyConfig:
    """The settings of a study from a table of them; parameters and errors as of :func:`load_config`.

    ``folder``: where relative paths of data start; ``what``: how messages call the table.
    """
    for name, value in (changes or {}).items():
        _set(StudyConfig, content, name, value)
    _redraw_where_asked(content)
    try:
        config = StudyConfig.model_validate(content, context={"finished": finished})
    except ValidationError as error:
        raise ValueError(f"{what}: {one_line(StudyConfig, error)}") from error
    config.data.below(folder or Path())
    return config


def _redraw_where_asked(content: dict[str, Any]) -> None:
    """Say to every training that rows are drawn afresh, where the data are to be."""
    data = content.get("data")
    if isinstance(data, dict) and data.get("binarize") == "redraw":
        for name in ("pretraining", "training", "retraining"):
            if isinstance(content.get(name), dict):
                content[name] = content[name] | {"redraw": True}


def _upgraded(content: dict[str, Any]) -> dict[str, Any]:
    """Settings of files that named a kind of study, in today's words."""
    kind = content.pop("kind", None)
    evaluation = content.get("evaluation")
    if kind == "patches" and isinstance(evaluation, dict) and "n_samples" in evaluation:
        evaluation["n_frequency_samples"] = evaluation.pop("n_samples")
    return content


def parse_change(text: str) -> tuple[str, Any]:
    """Name and value of a ``key=value`` text; the value is read as TOML, or else as plain text.

    Raises
    ------
    ValueError
        If there is no ``=``, or a number is too long or nested too deeply to be read.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ValueError(f"expected key=value, e.g. training.n_epochs=3, got {text!r}")
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.strip(), value.strip()
    except (ValueError, RecursionError):  # numbers of thousands of digits, tables within tables
        raise ValueError(
            f"the value of {name.strip()} cannot be read: {value[:20]}... has {len(value):,} characters; shorten it"
        ) from None


def one_line(model: type[BaseModel], error: ValidationError) -> str:
    """All complaints of a validation error in one line, with the names of unknown settings completed to the nearest
    known.
    """
    complaints = []
    for found in error.errors():
        if found["type"] == "literal_error" and isinstance(found["input"], dict):
            continue  # a table in place of a word is judged as a table
        # Without the class to which a table belongs where a word is possible as well.
        name = ".".join(str(part) for part in found["loc"] if not str(part)[:1].isupper())
        if found["type"] == "extra_forbidden":
            complaints.append(f"unknown setting {name!r}{_nearest(model, name)}")
        elif found["type"] == "missing":
            complaints.append(f"setting {name!r} is missing")
        else:
            message = found["msg"].removeprefix("Value error, ")
            complaints.append(f"{name}: {message} (got {_short(found['input'])})" if name else message)
    return " ".join("; ".join(complaints).split())


def _short(value: Any) -> str:
    """A value in at most 200 characters; numbers of thousands of digits have no decimal form."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        text = f"a {type(value).__name__} beyond writing"
    return text if len(text) <= 200 else f"{text[:200]}..."


def _read(study: str | Path) -> dict[str, Any]:
    path = Path(study)
    if str(study) in built_in_studies():
        return parse_toml((resources.files("secateur.studies") / f"{study}.toml").read_text("utf-8"), str(study))
    if path.suffix == ".toml":
        if not path.is_file():
            raise ValueError(f"there is no study file {str(path)!r}; give the path of a .toml file or a built-in study")
        return read_toml(path)
    near = difflib.get_close_matches(str(study), built_in_studies(), n=1)
    hint = f"did you mean {near[0]!r}?" if near else "or give the path of a .toml file"
    raise ValueError(f"unknown study {str(study)!r}; known are {', '.join(built_in_studies())}; {hint}")


def _size(study: str | Path, sizes: dict[str, Any], name: str) -> dict[str, Any]:
    """Settings of a size; one that is ``like`` another changes only what it names."""
    settings = dict(sizes[name])
    like = settings.pop("like", None)
    if like is None:
        return settings
    if not isinstance(like, str) or like not in sizes or "like" in sizes[like]:
        raise ValueError(
            f"study {str(study)!r}: size {name!r} must be like a size that stands for itself, got {_short(like)}"
        )
    return _merge(sizes[like], settings)


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in changes.items():
        both_tables = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = _merge(merged[name], value) if both_tables else value
    return merged


def _set(model: type[BaseModel], content: dict[str, Any], name: str, value: Any) -> None:
    if name not in known_names(model):
        raise ValueError(f"unknown setting {name!r}{_nearest(model, name)}")
    *tables, last = name.split(".")
    for table in tables:
        if not isinstance(content.get(table), dict):
            content[table] = {}
        content = content[table]
    content[last] = value


def known_names(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Dotted names of all settings; a setting that may be a table or a word is known both ways."""
    names = []
    for name, field in model.model_fields.items():
        kinds = get_args(field.annotation) or (field.annotation,)
        tables = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        for table in tables:
            names += known_names(table, f"{prefix}{name}.")
        if len(tables) < len(kinds):
            names.append(f"{prefix}{name}")
    return names


def _nearest(model: type[BaseModel], name: str) -> str:
    known = known_names(model)
    near = difflib.get_close_matches(name, known, n=1)
    if not near:  # the table may be missing
        lasts = {setting.rpartition(".")[2]: setting for setting in reversed(known)}
        last = difflib.get_close_matches(name.rpartition(".")[2], lasts, n=1, cutoff=0.7)
        near = [lasts[found] for found in last]
    return f"; did you mean {near[0]!r}?" if near else "; 'secateur studies NAME' lists all settings of a study"
