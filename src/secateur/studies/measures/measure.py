"""What a measure is, and what it is given: the data of the trials, a stage of the machines, a finished study."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Array, Float

from secateur import likelihood
from secateur.figures.panels import Drawing
from secateur.figures.wording import Expectation
from secateur.likelihood.bridging import combine_both_directions
from secateur.model import enumeration
from secateur.model.arrays import Keys
from secateur.model.machine import Machine
from secateur.model.moments import Moments
from secateur.model.randomness import child_key
from secateur.model.trials import unstack
from secateur.studies import evaluation
from secateur.studies.schema import Variable
from secateur.studies.settings import StudyConfig
from secateur.studies.sources import Rows

Measured = dict[str, np.ndarray]
"""Values by name of a variable, trial first."""

MOST_PATTERNS = 16
"""Visible units up to which all patterns are listed."""
MOST_PARAMETERS = 2000
"""Parameters up to which the dense Fisher information matrix is made in every study."""

NEEDS = {
    "labels": "labels of the rows",
    "image": "an image shape",
    "summable": "a machine one side of which has at most 20 units",
    "not summable": "a machine both sides of which have more than 20 units",
    "patterns": f"at most {MOST_PATTERNS} visible units, and a side of at most 20",
    "matrix": f"at most {MOST_PARAMETERS:,} parameters, and a side of at most 20 units",
    "one matrix": "one hidden layer",
    "epochs": "epochs of a recording",
}
"""What a measure may need of data and machine, in words."""


def offered(data: Rows, layer_sizes: Sequence[int]) -> set[str]:
    """What of :data:`NEEDS` the data and a machine of these layers offer."""
    sizes = tuple(layer_sizes)
    summable = enumeration.can_be_enumerated(sizes)
    n_parameters = sum(sizes) + sum(lower * upper for lower, upper in zip(sizes[:-1], sizes[1:], strict=True))
    found = {
        "labels": data.train_labels is not None,
        "image": data.has_places,
        "summable": summable,
        "not summable": not summable,
        "patterns": summable and sizes[0] <= MOST_PATTERNS,
        "matrix": summable and n_parameters <= MOST_PARAMETERS,
        "one matrix": len(sizes) == 2,
        "epochs": data.bin_size is not None,
    }
    return {name for name, there in found.items() if there}


@dataclass
class Trials:
    """Data and first machines of the trials of a batch, which are stacked.

    Attributes
    ----------
    config
        Settings of the study.
    keys
        One key per trial.
    data
        Rows of every trial, with labels and places where there are any.
    visible, held_out
        0/1 training and test rows, ``(trials, rows, n_0)``.
    machine
        The untrained machines.
    shared
        What several measures prepare once (:meth:`once`).
    """

    config: StudyConfig
    keys: Keys
    data: list[Rows]
    visible: Float[Array, "trials rows visible"]
    held_out: Float[Array, "trials held_out visible"]
    machine: Machine
    shared: dict[str, Any] = field(default_factory=dict)

    def once(self, name: str, make: Callable[[Trials], Any]) -> Any:
        """What ``make`` makes of the trials, made once; measures call it first where they are prepared."""
        if name not in self.shared:
            self.shared[name] = make(self)
        return self.shared[name]


class Stage:
    """The machines at one stage of the study, with what several measures look at, each found once.

    Attributes
    ----------
    trials
        Data and first machines.
    machine
        The stacked machines.
    keys
        One key per trial, of this stage.
    """

    def __init__(self, trials: Trials, machine: Machine, keys: Keys):
        self.trials, self.machine, self.keys = trials, machine, keys
        self.config, self.how = trials.config, trials.config.evaluation

    @cached_property
    def machines(self) -> list[Machine]:
        """The machine of every trial."""
        return unstack(self.machine)

    @cached_property
    def drawn(self) -> tuple[tuple[Array, ...], Array]:
        """States ``(trials, samples, n_l)`` of independent chains that started at training rows, and the probabilities
        of their visible units given the hidden ones.
        """
        return evaluation.draw(self.machine, self.trials.visible, child_key(self.keys, "samples"), self.how)

    @cached_property
    def samples(self) -> Float[np.ndarray, "trials samples visible"]:
        """0/1 samples of the visible layer."""
        return np.asarray(self.drawn[0][0])

    @cached_property
    def encoded_test(self) -> tuple[Array, Array]:
        """Top-layer probabilities of test rows, and the bounds on their ``log p(v) + log Z``."""
        return self.encode(self.trials.held_out)

    def encode(self, rows: Array) -> tuple[Array, Array]:
        """Top-layer probabilities of rows, and the bounds on their ``log p(v) + log Z``."""
        how = {"max_updates": self.how.n_mean_field, "tolerance": self.how.mean_field_tolerance}
        return evaluation.encode(self.machine, rows, **how)

    @cached_property
    def log_patterns(self) -> list[Float[np.ndarray, " patterns"]]:
        """Exact log-probability of every pattern of the visible layer, for each trial."""
        patterns = patterns_of(self.machine.layer_sizes[0])
        return [enumeration.log_probability(one, patterns) for one in self.machines]

    @cached_property
    def log_weights(self) -> tuple[Float[np.ndarray, "trials chains"], Float[np.ndarray, "trials samples"]]:
        """Log weights of annealing from independent units with the data's rates, and from samples back to those."""
        rates, key = self.trials.visible.mean(axis=1), child_key(self.keys, "annealing")
        forward, reverse = evaluation.anneal(self.machine, rates, self.drawn[0], key, self.how)
        return np.asarray(forward), np.asarray(reverse)

    @cached_property
    def annealed(self) -> list[likelihood.LogPartition]:
        """``log Z`` of every trial's machine from annealing both ways, with its verdict."""
        pairs = zip(*self.log_weights, strict=True)
        return [combine_both_directions(*pair, self.how.n_temperatures) for pair in pairs]


def patterns_of(n_units: int) -> Float[np.ndarray, "patterns units"]:
    """All patterns of 0 and 1 of some units, in the order of the numbers whose bits they are (lowest first)."""
    return ((np.arange(2**n_units)[:, None] >> np.arange(n_units)[None, :]) & 1).astype(np.float32)


class Shown(NamedTuple):
    """A finished study, of which figures and sentences are made.

    Attributes
    ----------
    results
        The stored measurements of the rules.
    config
        The settings it ran with.
    facts
        ``provenance.json``.
    machines
        ``machines(trial, criterion, round)`` loads a stored machine.
    beside
        The measurements with those of controls and further schedules, if there are any.
    """

    results: xr.Dataset
    config: StudyConfig
    facts: dict[str, Any]
    machines: Callable[[int, str, int], Machine]
    beside: xr.Dataset | None = None

    @property
    def all_lines(self) -> xr.Dataset:
        """The measurements of rules, controls and schedules."""
        return self.results if self.beside is None else self.beside


Cell = Callable[[xr.Dataset], str]
"""Text of a table for one rule after the last round (dimensions trial and stage are left)."""


class Measure:
    """Something that is measured of machines, with everything that belongs to it.

    A measure of one's own is a subclass, and one line: ``secateur.studies.measures.register(Mine())``. Whatever it does
    not measure or say it leaves out. Values are arrays with one entry per trial first.

    Attributes
    ----------
    name
        What a user types.
    needs
        What data and machine must offer (:data:`NEEDS`).
    variables
        What it stores, with dimensions, units and meaning.
    dimensions
        Meaning of dimensions of its own; their coordinates come from :meth:`coords`.
    section
        Heading of its figures in the report; measures of one section stand together.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    variables: ClassVar[dict[str, Variable]] = {}
    dimensions: ClassVar[dict[str, str]] = {}
    section: ClassVar[str] = "Further measures"

    def prepare(self, trials: Trials) -> None:
        """What is made of the data once, before rules run side by side (:meth:`Trials.once`)."""

    def coords(self, trials: Trials) -> dict[str, Any]:
        """Coordinates of the dimensions of its own."""
        return {}

    def once(self, at: Stage) -> Measured:
        """What is measured once, of the data and of the trained machines."""
        return {}

    def stage(self, at: Stage) -> Measured:
        """What is measured right after pruning and after retraining; of variables without a stage the last stays."""
        return {}

    def end_of_round(self, at: Stage) -> Measured:
        """What is measured at the end of a round only."""
        return {}

    def removal(self, before: Machine, moments: list[Moments], after: Machine) -> Measured:
        """What is measured of a removal: the machines before, their moments, the machines after."""
        return {}

    def figures(self, shown: Shown) -> dict[str, Callable[[], Drawing]]:
        """What draws each of its figures, by the file's name."""
        return {}

    def columns(self, shown: Shown) -> dict[str, Cell]:
        """Its columns of the table of final numbers."""
        return {}

    def reference_rows(self, shown: Shown) -> dict[str, dict[str, str]]:
        """Further rows of that table, by name: text by column."""
        return {}

    def clause(self, shown: Shown, criterion: str) -> str | None:
        """What it says of a rule in the report's first lines, as a part of a sentence."""
        return None

    def findings(self, shown: Shown) -> list[str]:
        """Sentences on what was found."""
        return []

    def remarks(self, shown: Shown) -> list[str]:
        """Sentences on what is surprising; none where nothing is."""
        return []

    def expectations(self, shown: Shown) -> list[Expectation]:
        """What was expected of it, judged by the data."""
        return []

    def trust(self, shown: Shown) -> list[str]:
        """Sentences on how far to trust it."""
        return []
