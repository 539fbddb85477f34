"""What happens in every round of a line: pruning by a rule under a schedule, or the training of a control."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from secateur.model.arrays import Keys
from secateur.model.machine import Machine
from secateur.model.moments import Moments
from secateur.model.randomness import child_key
from secateur.pruning import Round, schedule_named
from secateur.storage.progress import Steps
from secateur.studies.config import StudyConfig
from secateur.studies.controls import Control
from secateur.studies.further_schedules import SCHEDULES
from secateur.studies.learning_schedules import Learning
from secateur.studies.lines import ALONE, LEARNING, OF_STUDIES, Line
from secateur.studies.store import StudyFolder
from secateur.studies.study import Study
from secateur.training import TrainingCheckpoint


class LineRound(NamedTuple):
    """One round of a line, all trials stacked.

    Attributes
    ----------
    number
        Number of the round.
    before
        The machines from which importance was measured; ``None`` where nothing was removed by importance.
    moments
        What it was measured from, where that was moments.
    pruned
        The machines right after the removal; ``None`` for a control.
    trained
        The machines at the end of the round; ``None`` where a control takes no part in this round.
    n_epochs
        Epochs of training of every trial so far, pretraining apart.
    """

    number: int
    before: Machine | None
    moments: list[Moments] | None
    pruned: Machine | None
    trained: Machine | None
    n_epochs: list[float]


class Place(NamedTuple):
    """Where a line stands when it goes on.

    Attributes
    ----------
    machine
        The machines after its last finished round; of none, those of the first training.
    n_rounds
        Rounds that are finished.
    n_epochs
        Epochs of training of every trial so far.
    """

    machine: Machine
    n_rounds: int
    n_epochs: np.ndarray


class Workplace(NamedTuple):
    """What lines work with: the study, the numbers of its trials, what loads their machines after the first training,
    its folder, checkpoint and progress.
    """

    study: Study
    trials: tuple[int, ...]
    trained: Callable[[], Machine]
    folder: StudyFolder
    checkpoint: TrainingCheckpoint
    steps: Steps

    @property
    def config(self) -> StudyConfig:
        """Settings of the study."""
        return self.study.config


def line_keys(study: Study, line: str) -> Keys:
    """Random keys of a line, one per trial."""
    return child_key(study.keys, "pruning", line)


def rounds_of(at: Workplace, line: str, place: Place) -> Iterator[LineRound]:
    """The rounds of a line that are left."""
    found = Line.named(line)
    if found.is_control:
        return _control(at, line, place)
    if found.variant in OF_STUDIES:
        return _of_study(at, line, place)
    return _scheduled(at, line, place)


def _scheduled(at: Workplace, line: str, place: Place) -> Iterator[LineRound]:
    found, config, machine = Line.named(line), at.config, place.machine
    rounds: Iterator[Round] = schedule_named(found.variant or config.pruning.schedule)(
        machine,
        at.study.visible,
        found.criterion,
        n_rounds=config.rounds,
        fraction=config.pruning.fraction,
        retraining=config.retraining,
        key=line_keys(at.study, line),
        importance=config.importance,
        zeros=config.pruning.zeros,
        shrink_at=config.pruning.shrink_at,
        first_round=place.n_rounds + 1,
        checkpoint=at.checkpoint,
        callback=at.steps.epochs("retraining"),
    )
    for number in range(place.n_rounds + 1, config.rounds + 1):
        done = next(rounds)
        yield LineRound(number, machine, done.moments, done.pruned, done.retrained, _epochs(at, number))
        machine = done.retrained


def _of_study(at: Workplace, line: str, place: Place) -> Iterator[LineRound]:
    found, config = Line.named(line), at.config
    assert found.criterion is not None and found.variant is not None
    keys = line_keys(at.study, line)
    learning = Learning(at.study, found.criterion, keys, at.checkpoint, at.steps, at.trained)
    machine, spent = place.machine, [float(n) for n in place.n_epochs]
    if not place.n_rounds and found.variant in LEARNING:
        study, told = at.study, at.steps.epochs("training")
        machine = study.pretrained(study.machine, study.keys, at.checkpoint.part("round 1"), told)
        spent = [0.0] * len(at.trials)
    for number in range(place.n_rounds + 1, config.rounds + 1):
        before, removal, machine, spent = SCHEDULES[found.variant](learning, machine, number, config.rounds, spent)
        moments = removal.sources if isinstance(removal.sources[0], Moments) else None
        yield LineRound(number, before, moments, removal.pruned, machine, spent)


def _control(at: Workplace, line: str, place: Place) -> Iterator[LineRound]:
    found, config = Line.named(line), at.config
    assert found.variant is not None
    control = Control(
        at.study, found.criterion or "", at.trials, at.folder, line_keys(at.study, line), at.checkpoint, at.steps
    )
    machine: Machine | None = place.machine
    for number in range(place.n_rounds + 1, config.rounds + 1):
        if found.variant == ALONE:
            part = at.checkpoint.part(f"round {number}")
            assert machine is not None
            machine = control.retrained(machine, child_key(control.keys, number), part)
        else:
            machine = control.machine(found.variant, number) if config.takes_part(line, number) else None
        yield LineRound(number, None, None, None, machine, _epochs(at, number))


def _epochs(at: Workplace, n_retrainings: int) -> list[float]:
    config = at.config
    return [float(config.training.n_epochs + n_retrainings * config.retraining.n_epochs)] * len(at.trials)


def planned_epochs(config: StudyConfig, line: str, before: int, number: int) -> dict[str, int]:
    """Epochs of one round of a line by kind; ``before``: of a whole first training, pretraining included."""
    found = Line.named(line)
    if found.from_scratch:
        took = config.takes_part(line, number)
        return {"training": took * before, "retraining": took * number * config.retraining.n_epochs}
    if found.variant in LEARNING:
        share = before // config.rounds + (before % config.rounds if number == 1 else 0)
        return {"training": share, "retraining": config.retraining.n_epochs}
    return {"retraining": config.retraining.n_epochs}
