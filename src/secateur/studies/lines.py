"""Lines of a study: rules, and what stands beside each of them, controls and further schedules, as ``rule/name``."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import NamedTuple

CONTROLS: dict[str, tuple[str, str]] = {
    "scratch-mask": ("same mask from scratch", "new weights under the mask that the rule left, trained as long"),
    "scratch-sizes": (
        "same sizes from scratch",
        "new weights on all synapses between the units that the rule left, trained as long",
    ),
    "shuffled-mask": (
        "shuffled mask",
        "new weights under a mask in which every unit has as many synapses as the rule left it, with other partners",
    ),
    "prune-first": (
        "pruned before training",
        "the rule chooses as many synapses in the untrained machine, which is then trained as long",
    ),
    "rewind": (
        "rewound",
        "the mask that the rule left on the weights from early in training, trained as long (Frankle et al. 2020)",
    ),
    "equal-training": ("never pruned", "the trained machine, trained on as long as the pruned ones are retrained"),
}
"""What a control is called, and what it is, by the name a user types."""

ALONE = "equal-training"
"""The control that is the same for all rules."""

LEARNING = ("while-learning", "fisher-plateau")
"""Schedules that begin with untrained machines."""

SCHEDULES: dict[str, tuple[str, str]] = {
    "one-shot": ("in one shot", "everything goes in the first round, later rounds retrain"),
    "cubic": ("cubic schedule", "most synapses go in the first rounds (Zhu & Gupta 2017)"),
    "while-learning": ("while learning", "a removal after every equal share of the first training, none after it"),
    "fisher-plateau": (
        "at plateaus of the Fisher trace",
        "a removal whenever the trace of the Fisher matrix has stopped to rise during the first training",
    ),
    "regrowth": (
        "regrowth at random",
        "three tenths of what a round leaves go as well and come back elsewhere, at random (Mocanu et al. 2018)",
    ),
    "gradient-regrowth": (
        "regrowth by gradient",
        "the same, but synapses come back where the likelihood would gain most (Evci et al. 2020)",
    ),
    "refit-to-target": (
        "refitted to target",
        "rounds retrain until the pseudo-likelihood of the unpruned machine is back, and are as large as that allows",
    ),
}
"""What a further schedule is called, and what it is, by the name a user types."""

OF_STUDIES = tuple(name for name in SCHEDULES if name not in ("one-shot", "cubic"))
"""Schedules that need a study: its untrained machines, or the score of the trained ones."""


class Line(NamedTuple):
    """One line of a study.

    Attributes
    ----------
    criterion
        The rule; ``None`` for a control without one.
    variant
        The control or schedule; ``None`` for the rule as the study prunes by it.
    """

    criterion: str | None
    variant: str | None

    @classmethod
    def named(cls, name: str) -> Line:
        """The line of a name."""
        if name == ALONE:
            return cls(None, name)
        criterion, slash, variant = name.partition("/")
        return cls(criterion, variant if slash else None)

    @property
    def is_control(self) -> bool:
        """Whether it is a control."""
        return self.variant in CONTROLS

    @property
    def builds_on(self) -> str | None:
        """The rule whose machines must be there first; ``None``: those of the first training are enough."""
        return self.criterion if self.is_control and self.criterion is not None else None

    @property
    def from_scratch(self) -> bool:
        """Whether every round begins with an untrained machine, or one from early in training."""
        return self.is_control and self.variant != ALONE


def lines(criteria: tuple[str, ...], schedules: tuple[str, ...], controls: tuple[str, ...]) -> tuple[str, ...]:
    """Names of all lines: rules first."""
    beside = [f"{rule}/{name}" for name in (*schedules, *(c for c in controls if c != ALONE)) for rule in criteria]
    return (*criteria, *beside, *([ALONE] if ALONE in controls else []))


def rules_of(names: Sequence[str]) -> list[str]:
    """Those of the names of lines that are rules; the name of somebody's rule may hold a slash."""
    return [name for name in names if name != ALONE and name.partition("/")[0] not in set(names) - {name}]


def check_controls(names: tuple[str, ...]) -> None:
    """Refuse names that are no controls.

    Raises
    ------
    ValueError
        If one is unknown; the message names the nearest.
    """
    for name in names:
        if name not in CONTROLS:
            near = difflib.get_close_matches(name, CONTROLS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(CONTROLS)}"
            raise ValueError(f"unknown control {name!r}; {hint}")
