"""Studies as data: a TOML file, validated on load and resolved to every setting it runs with."""

from __future__ import annotations

import difflib
import tomllib
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from secateur.model import checked
from secateur.pruning import ImportanceSampling, rule_named, schedule_named
from secateur.pruning.removal import Zeros
from secateur.pruning.rules import NAME
from secateur.storage import limits
from secateur.training import TrainingSettings


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelSettings(_Settings):
    """The machine before training."""

    hidden: tuple[int, ...] = Field(description="units of each hidden layer")
    receptive_field: int | None = Field(
        None, ge=1, le=limits.MAX_HIDDEN, description="side of the first layer's receptive fields; none: all pixels"
    )
    weight_scale: float = Field(0.1, ge=0, description="standard deviation of the first weights")
    hidden_bias: float = Field(0.0, description="first bias of hidden units, in nats")

    @field_validator("hidden")
    @classmethod
    def _at_least_one_unit(cls, hidden: tuple[int, ...]) -> tuple[int, ...]:
        if not hidden or min(hidden) < 1:
            raise ValueError("must name at least one hidden layer with at least one unit each")
        if len(hidden) > limits.MAX_HIDDEN_LAYERS or max(hidden) > limits.MAX_HIDDEN:
            raise ValueError(f"must name at most {limits.MAX_HIDDEN_LAYERS} layers of {limits.MAX_HIDDEN:,} units")
        if any(lower * upper > limits.MAX_SYNAPSES for lower, upper in pairwise(hidden)):
            raise ValueError(f"must have at most {limits.MAX_SYNAPSES:,} synapses between two layers")
        return hidden


class PruningSettings(_Settings):
    """What one round removes."""

    fraction: float | tuple[float, ...] = Field(description="share of each weight matrix's remaining synapses")
    zeros: Zeros = Field("fraction", description="zero rule")
    schedule: str = Field("rounds", description="when synapses go: rounds, or a schedule of one's own")
    shrink_at: float = Field(
        1.0, gt=0, le=1, description="share of the work that must go before arrays shrink to the living units; 1: never"
    )

    @field_validator("schedule")
    @classmethod
    def _known_schedule(cls, schedule: str, info: Any) -> str:
        if not (info.context and info.context["finished"] and NAME.fullmatch(schedule)):
            schedule_named(schedule)
        return schedule


class StudyConfig(_Settings):
    """What every study has: a name, trials, rounds and rules, a machine, how it is trained, pruned and retrained."""

    name: str = Field(min_length=1, description="name of the study")
    kind: str = Field(description="which built-in procedure runs")
    title: str = Field(description="one line for the report")
    size: str = Field(description="which of the file's sizes this is")
    seed: int = Field(0, ge=0, le=limits.MAX_SEED)
    trials: int = Field(3, ge=1, le=limits.MAX_TRIALS)
    trials_at_once: int | None = Field(None, ge=1, description="trials that run as one batch; none: all of them")
    rounds: int = Field(5, ge=1, le=limits.MAX_ROUNDS)
    criteria: tuple[str, ...] = Field(min_length=1, max_length=limits.MAX_CRITERIA)
    threads: int = Field(2, ge=1, le=limits.MAX_THREADS, description="rules that run at the same time")
    model: ModelSettings
    training: TrainingSettings
    retraining: TrainingSettings
    pruning: PruningSettings
    # Gibbs sampling, because tempering in every round would cost ten times as much; the results hold R-hat.
    importance: ImportanceSampling | Literal["exact"] = ImportanceSampling(sampler="gibbs")

    @field_validator("criteria")
    @classmethod
    def _known_criteria(cls, criteria: tuple[str, ...], info: Any) -> tuple[str, ...]:
        for criterion in criteria:
            # The report of a study with somebody's own rule must not need that rule.
            if not (info.context and info.context["finished"] and NAME.fullmatch(criterion)):
                rule_named(criterion)
        if len(set(criteria)) < len(criteria):
            raise ValueError("must not name a criterion twice")
        return criteria

    def model_post_init(self, _: Any) -> None:
        """Check what concerns several settings at once."""
        checked.fraction(self.pruning.fraction, len(self.model.hidden))


class DigitsData(_Settings):
    """Which digits, and how they are split."""

    dataset: Literal["handwritten-digits", "mnist"] = Field(
        "handwritten-digits", description="scikit-learn's 8 x 8 digits, which are always there, or MNIST"
    )
    data_dir: str | None = Field(None, description="folder with the data sets (MNIST)")
    side: Literal[20, 28] = Field(20, description="pixels per side that are kept around the centre (MNIST)")
    test_share: float = Field(
        0.28, gt=0, lt=1, description="share kept for testing, split by seed and trial (handwritten digits)"
    )


class DigitsEvaluation(_Settings):
    """What is measured at every stage of a digits study."""

    n_mean_field: int = Field(
        50, ge=1, le=limits.MAX_SWEEPS, description="most mean-field updates of the hidden layers"
    )
    mean_field_tolerance: float = Field(1e-3, gt=0, description="largest change of a probability at which to stop")
    n_samples: int = Field(
        250,
        ge=10,
        le=limits.MAX_SAMPLES,
        description="samples, of chains of their own, that the digit classifier judges",
    )
    n_conditional_samples: int = Field(
        250, ge=10, le=limits.MAX_SAMPLES, description="samples with the top layer held, for labelled digits"
    )
    n_sweeps: int = Field(100, ge=1, le=limits.MAX_SWEEPS, description="Gibbs sweeps from a training digit to a sample")
    n_examples: int = Field(10, ge=1, le=limits.MAX_EXAMPLES, description="samples kept as examples")
    n_annealing_chains: int = Field(100, ge=2, le=limits.MAX_CHAINS, description="annealing runs for log Z")
    n_temperatures: int = Field(
        300, ge=2, le=limits.MAX_SAMPLES, description="inverse temperatures of each annealing run"
    )


class DigitsConfig(StudyConfig):
    """A digits study with every setting it runs with."""

    kind: Literal["digits"] = "digits"
    data: DigitsData = DigitsData()
    pretraining: TrainingSettings
    evaluation: DigitsEvaluation = DigitsEvaluation()


class PatchesData(_Settings):
    """Which images the patches are cut from, and how many."""

    dataset: Literal["cifar-10-or-photographs", "cifar-10", "photographs"] = Field(
        "cifar-10-or-photographs", description="CIFAR-10, scikit-learn's two photographs, or the first that is there"
    )
    data_dir: str | None = Field(None, description="folder with the data sets")
    n_train: int = Field(90_000, ge=100, le=limits.MAX_SAMPLES, description="training patches of each trial")
    n_validation: int = Field(
        20_000, ge=100, le=limits.MAX_SAMPLES, description="validation patches of each trial, from other images"
    )
    radius: float = Field(2.1, gt=0, le=100, description="radius of a patch in pixels; 2.1 gives 13 pixels")


class PatchesEvaluation(_Settings):
    """What is measured at every stage of a patches study."""

    n_samples: int = Field(
        90_000, ge=100, le=limits.MAX_SAMPLES, description="independent samples for the sampled log-frequency error"
    )


class PatchesConfig(StudyConfig):
    """A patches study with every setting it runs with."""

    kind: Literal["patches"] = "patches"
    data: PatchesData = PatchesData()
    importance: ImportanceSampling | Literal["exact"] = "exact"
    evaluation: PatchesEvaluation = PatchesEvaluation()


_CONFIGS: dict[str, type[StudyConfig]] = {"digits": DigitsConfig, "patches": PatchesConfig}


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
    kind = content.get("kind")
    if not isinstance(kind, str) or kind not in _CONFIGS:
        raise ValueError(f"study {str(study)!r}: kind must be one of {', '.join(_CONFIGS)}, got {_short(kind)}")
    model = _CONFIGS[kind]
    for name, value in (changes or {}).items():
        _set(model, content, name, value)
    try:
        return model.model_validate(content, context={"finished": finished})
    except ValidationError as error:
        raise ValueError(f"study {str(study)!r}: {one_line(model, error)}") from error


def parse_change(text: str) -> tuple[str, Any]:
    """Name and value of a ``key=value`` text; the value is read as TOML, or else as plain text.

    Raises
    ------
    ValueError
        If there is no ``=``.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ValueError(f"expected key=value, e.g. training.n_epochs=3, got {text!r}")
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.strip(), value.strip()


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
        text = (resources.files("secateur.studies") / f"{study}.toml").read_text("utf-8")
    elif path.suffix == ".toml":
        if not path.is_file():
            raise ValueError(f"there is no study file {str(path)!r}; give the path of a .toml file or a built-in study")
        if path.stat().st_size > limits.MAX_SETTINGS_BYTES:
            raise ValueError(f"study file {str(path)!r} has more than {limits.MAX_SETTINGS_BYTES:,} bytes; give fewer")
        text = path.read_bytes().decode("utf-8", errors="replace")
    else:
        near = difflib.get_close_matches(str(study), built_in_studies(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "or give the path of a .toml file"
        raise ValueError(f"unknown study {str(study)!r}; known are {', '.join(built_in_studies())}; {hint}")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also numbers of too many digits, and tables nested too deeply
        raise ValueError(f"{str(study)!r} is not valid TOML: {error}") from error


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
    if name not in _known_names(model):
        raise ValueError(f"unknown setting {name!r}{_nearest(model, name)}")
    *tables, last = name.split(".")
    for table in tables:
        if not isinstance(content.get(table), dict):
            content[table] = {}
        content = content[table]
    content[last] = value


def _known_names(model: type[BaseModel], prefix: str = "") -> list[str]:
    """Dotted names of all settings; a setting that may be a table or a word is known both ways."""
    names = []
    for name, field in model.model_fields.items():
        kinds = get_args(field.annotation) or (field.annotation,)
        tables = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        for table in tables:
            names += _known_names(table, f"{prefix}{name}.")
        if len(tables) < len(kinds):
            names.append(f"{prefix}{name}")
    return names


def _nearest(model: type[BaseModel], name: str) -> str:
    near = difflib.get_close_matches(name, _known_names(model), n=1)
    return f"; did you mean {near[0]!r}?" if near else "; see the study.toml of any run for all settings"
