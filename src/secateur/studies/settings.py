"""Every setting of a study: meaning, default and bounds, as data that are checked when they are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, PrivateAttr, ValidationError, field_validator

from secateur.model import checked
from secateur.pruning import ImportanceSampling, rule_named, schedule_named
from secateur.pruning.removal import Zeros
from secateur.pruning.rules import NAME
from secateur.storage import limits
from secateur.storage.described import DescribedSettings
from secateur.studies import lines
from secateur.training import TrainingSettings

HOW_MUCH = ("trials", "criteria", "rounds")
"""Settings that say how much is done; ``secateur extend`` adds to them."""


class _Settings(DescribedSettings):
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


class DataSettings(_Settings):
    """What the machines learn, and how it is split. Paths are relative to the folder of the study's file."""

    dataset: Literal[
        "rows", "words", "handwritten-digits", "mnist", "cifar-10-or-photographs", "cifar-10", "photographs"
    ] = Field(
        "rows",
        description="rows: a file of one's own; words: files of binary words; handwritten-digits: scikit-learn's 8 x 8 "
        "digits; mnist; patches of cifar-10, of scikit-learn's two photographs, or of the first that is there",
    )
    rows: str | tuple[str, ...] | None = Field(
        None, description="file of rows (.npy, .npz, .csv, .txt, IDX), or files of words (rows, words)"
    )
    labels: str | None = Field(
        None, description="file with a label for every row, a column of a .csv, or the array of an .npz (rows)"
    )
    drop: tuple[str, ...] | None = Field(None, description="columns of a .csv or .txt to leave out, by name (rows)")
    test_rows: str | None = Field(None, description="file of rows that are kept for testing (rows)")
    test_labels: str | None = Field(None, description="their labels (rows)")
    image_shape: tuple[int, int] | None = Field(None, description="height and width where rows are images (rows)")
    binarize: float | Literal["mean", "redraw"] | None = Field(
        None,
        description="how grey levels become 0 and 1 (rows): a threshold above which they are 1; mean: the mean of all "
        "training values; redraw: drawn afresh every epoch, with the level as probability; none: they are 0 and 1",
    )
    most_rows: int | None = Field(
        None, ge=10, le=limits.MAX_SAMPLES, description="rows taken at random where there are more (rows, words)"
    )
    data_dir: str | None = Field(None, description="folder with the data sets (mnist, cifar-10)")
    side: Literal[20, 28] = Field(20, description="pixels per side that are kept around the centre (mnist)")
    test_share: float = Field(
        0.28,
        gt=0,
        lt=1,
        description="share kept for testing, split by seed and trial (rows, words, handwritten-digits)",
    )
    n_train: int = Field(90_000, ge=100, le=limits.MAX_SAMPLES, description="training patches of each trial (patches)")
    n_validation: int = Field(
        20_000, ge=100, le=limits.MAX_SAMPLES, description="validation patches, from other images (patches)"
    )
    radius: float = Field(2.1, gt=0, le=100, description="radius of a patch in pixels; 2.1 gives 13 pixels (patches)")

    _folder: Path = PrivateAttr(default=Path())
    _given: Any = PrivateAttr(default=None)

    @property
    def given(self) -> Any:
        """Tables or words that were given from Python; ``None`` where they are in files."""
        return self._given

    def give(self, given: Any) -> None:
        """Take tables or words from Python in place of the files that the settings name."""
        self._given = given

    def path(self, name: str) -> Path:
        """Where a file lies that the settings name."""
        return self._folder / name

    def files(self) -> list[Path]:
        """Files of the user's own that the settings name."""
        rows = () if self.rows is None else (self.rows,) if isinstance(self.rows, str) else self.rows
        names = () if self.given is not None else (*rows, self.labels, self.test_rows, self.test_labels)
        return [path for name in names if name is not None and (path := self.path(name)).exists()]

    def below(self, folder: Path) -> None:
        """Say which folder relative paths start from."""
        self._folder = folder

    def with_absolute_paths(self) -> DataSettings:
        """These settings with whole paths of the user's own files, for a folder elsewhere."""
        if self.given is not None:  # these files are written into the folder as well
            return self

        def absolute(name: str) -> str:
            path = self.path(name).absolute()
            return str(path) if path.exists() else name  # labels may be a column

        changes: dict[str, Any] = {}
        for setting in ("rows", "labels", "test_rows", "test_labels"):
            value = getattr(self, setting)
            if value is not None:
                changes[setting] = absolute(value) if isinstance(value, str) else tuple(map(absolute, value))
        if self.data_dir is not None:
            changes["data_dir"] = str(Path(self.data_dir).absolute())
        return self.model_copy(update=changes)


class EvaluationSettings(_Settings):
    """How measures are taken at every stage."""

    n_mean_field: int = Field(
        50, ge=1, le=limits.MAX_SWEEPS, description="most mean-field updates of the hidden layers"
    )
    mean_field_tolerance: float = Field(1e-3, gt=0, description="largest change of a probability at which to stop")
    n_samples: int = Field(
        250, ge=10, le=limits.MAX_SAMPLES, description="samples, of chains of their own, that are judged"
    )
    n_conditional_samples: int = Field(
        250, ge=10, le=limits.MAX_SAMPLES, description="samples with the top layer held, for labelled rows"
    )
    n_sweeps: int = Field(100, ge=1, le=limits.MAX_SWEEPS, description="Gibbs sweeps from a training row to a sample")
    n_examples: int = Field(10, ge=1, le=limits.MAX_EXAMPLES, description="samples kept as examples")
    annealing: Literal["every stage", "retrained"] = Field(
        "every stage", description="where log Z is annealed; it is most of the time of measuring"
    )
    n_annealing_chains: int = Field(100, ge=2, le=limits.MAX_CHAINS, description="annealing runs for log Z, each way")
    n_temperatures: int = Field(
        300, ge=2, le=limits.MAX_SAMPLES, description="inverse temperatures of each annealing run"
    )
    n_frequency_samples: int = Field(
        90_000, ge=100, le=limits.MAX_SAMPLES, description="independent samples for the sampled log-frequency error"
    )


class StudyConfig(_Settings):
    """Every setting that a study runs with: data, trials, rounds and rules, machine, training, pruning, measures."""

    name: str = Field(min_length=1, description="name of the study")
    title: str = Field(description="one line for the report")
    size: str = Field("own", description="which of the file's sizes this is")
    seed: int = Field(0, ge=0, le=limits.MAX_SEED, description="seed of all random numbers")
    trials: int = Field(3, ge=1, le=limits.MAX_TRIALS, description="independent repetitions")
    trials_at_once: Annotated[int, Field(ge=1)] | tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        None, description="trials that run as one batch, or of one batch after another; none: all of them"
    )
    rounds: int = Field(5, ge=1, le=limits.MAX_ROUNDS, description="rounds of pruning and retraining")
    criteria: tuple[str, ...] = Field(min_length=1, max_length=limits.MAX_CRITERIA, description="pruning rules")
    controls: tuple[str, ...] = Field(
        (), max_length=len(lines.CONTROLS), description="controls that stand beside every rule"
    )
    schedules: tuple[str, ...] = Field(
        (), max_length=limits.MAX_CRITERIA, description="further schedules by which every rule prunes as well"
    )
    control_rounds: tuple[Annotated[int, Field(ge=1, le=limits.MAX_ROUNDS)], ...] | None = Field(
        None, description="rounds of the rules beside which controls stand; none: all"
    )
    threads: int = Field(2, ge=1, le=limits.MAX_THREADS, description="rules that run at the same time")
    measures: tuple[str, ...] | None = Field(
        None,
        description="what is measured, by name or as module:Class; +module:Class: that and everything that data and "
        "machine allow; none: everything",
    )
    data: DataSettings = Field(default_factory=DataSettings)
    model: ModelSettings
    pretraining: TrainingSettings | None = Field(
        None, description="greedy training of one matrix after the other by 'cd', before all are trained; none: without"
    )
    training: TrainingSettings = Field(description="how all layers are trained together")
    retraining: TrainingSettings = Field(description="how they are trained after every round of pruning")
    pruning: PruningSettings
    # Gibbs sampling, because tempering in every round would cost ten times as much; the results hold R-hat.
    importance: ImportanceSampling | Literal["exact"] = Field(
        ImportanceSampling(sampler="gibbs"), description="how averages over the model are taken; 'exact': by summing"
    )
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings)

    @field_validator("criteria")
    @classmethod
    def _known_criteria(cls, criteria: tuple[str, ...], info: Any) -> tuple[str, ...]:
        for criterion in criteria:
            # The report of a study with somebody's own rule must not need that rule.
            if not (info.context and info.context["finished"] and NAME.fullmatch(criterion)):
                rule_named(criterion)
        return _once_each(criteria, "a criterion")

    @field_validator("controls")
    @classmethod
    def _known_controls(cls, controls: tuple[str, ...]) -> tuple[str, ...]:
        lines.check_controls(controls)
        return _once_each(controls, "a control")

    @field_validator("schedules")
    @classmethod
    def _known_schedules(cls, schedules: tuple[str, ...], info: Any) -> tuple[str, ...]:
        for name in schedules:
            if name not in lines.OF_STUDIES and not (
                info.context and info.context["finished"] and NAME.fullmatch(name)
            ):
                schedule_named(name)
        return _once_each(schedules, "a schedule")

    @property
    def lines(self) -> tuple[str, ...]:
        """What the study follows from round to round: every rule, and beside it ``rule/schedule``, ``rule/control``."""
        return lines.lines(self.criteria, self.schedules, self.controls)

    def takes_part(self, line: str, number: int) -> bool:
        """Whether a line has a machine after this round."""
        chosen = self.control_rounds is None or number in self.control_rounds
        return chosen or not lines.Line.named(line).from_scratch

    def batches(self) -> list[tuple[int, ...]]:
        """Trials that run as one."""
        sizes = self.trials_at_once or self.trials
        sizes = (sizes,) if isinstance(sizes, int) else sizes
        found: list[tuple[int, ...]] = []
        while (first := sum(map(len, found))) < self.trials:
            size = sizes[min(len(found), len(sizes) - 1)]
            found.append(tuple(range(first, min(first + size, self.trials))))
        return found

    def extended(self, *, trials: int | None, criteria: Sequence[str], rounds: int | None) -> StudyConfig:
        """These settings with more trials, rules or rounds; the batches of the trials that are there stay.

        Raises
        ------
        ValueError
            If nothing is asked for, or less than there is, or a rule is there already or not known.
        """
        if trials is None and not criteria and rounds is None:
            raise ValueError("extend needs trials, criteria or rounds, got none; say of what there shall be more")
        for name, given in (("trials", trials), ("rounds", rounds)):
            there, most = getattr(self, name), limits.MAX_TRIALS if name == "trials" else limits.MAX_ROUNDS
            if given is not None and not there < given <= most:
                raise ValueError(
                    f"{name} must be more than the {there} of the study and at most {most:,}, got {given}; it is their "
                    "number in all"
                )
        dividing = [name for name in (self.pruning.schedule, *self.schedules) if name != "rounds"]
        if rounds is not None and dividing:
            raise ValueError(
                f"rounds cannot be added under the schedule {dividing[0]!r}, which may have divided its work by their "
                "number; run the study anew"
            )
        for criterion in criteria:
            if criterion in self.criteria:
                raise ValueError(f"criteria: {criterion!r} is in the study already; name others")
        content = self.model_dump(mode="json", exclude_none=True)
        content["criteria"] = [*self.criteria, *criteria]
        content["rounds"] = rounds or self.rounds
        if trials is not None:
            sizes = list(map(len, self.batches()))
            while (left := trials - sum(sizes)) > 0:
                sizes.append(min(left, sizes[0]))
            content |= {"trials": trials, "trials_at_once": sizes}
        try:
            config = StudyConfig.model_validate(content)
        except ValidationError as error:
            raise ValueError(
                "; ".join(found["msg"].removeprefix("Value error, ") for found in error.errors())
            ) from None
        config.data.below(self.data.path("."))
        return config

    def deciding(self) -> dict[str, Any]:
        """Settings on which the numbers of a trial, a rule and a round depend, by dotted name: all but names, places of
        files, how work is shared, and how much of it there is.
        """
        return {
            name: value for name, value in _flat(self.model_dump(mode="json", exclude_none=True)) if name not in _FREE
        }

    def model_post_init(self, _: Any) -> None:
        """Check what concerns several settings at once."""
        checked.fraction(self.pruning.fraction, len(self.model.hidden))
        trained = [self.training, self.retraining, *([] if self.pretraining is None else [self.pretraining])]
        grey = self.data.binarize == "redraw"
        if any(settings.redraw and not grey for settings in trained):
            raise ValueError(
                "redraw of a training goes with data.binarize = 'redraw', which sets it everywhere; leave it out"
            )


def _once_each(names: tuple[str, ...], what: str) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError(f"must not name {what} twice")
    return names


_FREE = {
    *("name", "title", "size", "threads", "trials_at_once", "controls", "schedules"),
    # Files may move: the checksum of their rows and labels is kept.
    *("data.data_dir", "data.rows", "data.test_rows", "data.labels", "data.test_labels"),
    *HOW_MUCH,
}


def _flat(table: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value


def refuse_changed(known: dict[str, Any], now: dict[str, Any], where: str | Path) -> None:
    """Refuse settings (:meth:`StudyConfig.deciding`) that are not those of numbers that exist already.

    Raises
    ------
    ValueError
        If one differs; the message names it.
    """
    for name in sorted(known.keys() | now.keys()):
        if (was := known.get(name)) != (is_now := now.get(name)):
            raise ValueError(
                f"setting {name!r} of study.toml is {str(is_now)[:100]}, but {where} was made with {str(was)[:100]}; "
                "set it back, or run the study with other settings into another folder"
            )
