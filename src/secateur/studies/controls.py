"""Controls: machines that were not pruned as the rule says, at as many synapses, to tell what pruning is good for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Bool

from secateur.model.arrays import Keys
from secateur.model.machine import Machine
from secateur.model.randomness import child_key
from secateur.model.trials import stack, unstack
from secateur.pruning import living_units, remove
from secateur.storage.progress import Steps
from secateur.studies.store import StudyFolder
from secateur.studies.study import Study
from secateur.training import TrainingCheckpoint
from secateur.training.checkpoint import TrainingPart

Masks = list[Bool[np.ndarray, "trials lower upper"]]

_NOTHING = 1e-12
"""A share of synapses so small that none goes."""
_TRADES = 5
"""Trades per unit by which a mask is shuffled; Strona et al. (2014) find that as many mix well."""


@dataclass
class Control:
    """What controls of one rule are made of; the trials of a batch are stacked.

    Attributes
    ----------
    study
        Data, untrained machines and settings of training.
    rule
        The rule beside which the control stands.
    trials
        Numbers of the trials.
    folder
        Where the machines are that the rule left.
    keys
        One key per trial, of this control.
    checkpoint
        Where its trainings continue that were interrupted.
    steps
        Told of every epoch.
    """

    study: Study
    rule: str
    trials: Sequence[int]
    folder: StudyFolder
    keys: Keys
    checkpoint: TrainingCheckpoint
    steps: Steps

    def machine(self, name: str, number: int) -> Machine:
        """The trained machine of a control beside what the rule left after a round."""
        keys, part = child_key(self.keys, number), self.checkpoint.part(f"round {number}")
        if name == "rewind":
            early = self.study.early(part.part("early"), self.steps.epochs("training"))
            return self.learnt(early.with_masks(self.masks(number)), number, keys, part, pretrain=False)
        start = _STARTS[name](self, number, child_key(keys, "start"))
        return self.learnt(start, number, keys, part)

    def learnt(
        self, machine: Machine, n_retrainings: int, keys: Keys, part: TrainingPart, pretrain: bool = True
    ) -> Machine:
        """A machine after the first training and so many retrainings: as long as what was pruned so often learns."""
        machine, _ = self.study.learn(
            machine, child_key(keys, "learning"), part, self.steps.epochs("training"), pretrain=pretrain
        )
        for number in range(1, n_retrainings + 1):
            machine = self.retrained(machine, child_key(keys, "retraining", number), part.part(f"retraining {number}"))
        return machine

    def retrained(self, machine: Machine, keys: Keys, part: TrainingPart) -> Machine:
        """A machine after one retraining."""
        rows, settings = self.study.visible, self.study.config.retraining
        return self.study.trained_on(machine, rows, settings, keys, part, self.steps.epochs("retraining"))

    def masks(self, number: int) -> Masks:
        """What the rule left after a round, in arrays of the untrained machines."""
        found = [np.zeros_like(np.asarray(mask)) for mask in self.study.machine.masks]
        for place, trial in enumerate(self.trials):
            left = self.folder.load_machine(trial, self.rule, number)
            indices = [np.asarray(numbers) for numbers in left.unit_indices]
            for matrix, mask in enumerate(left.masks):
                found[matrix][place][np.ix_(indices[matrix], indices[matrix + 1])] = np.asarray(mask)
        return found


def _scratch_mask(at: Control, number: int, keys: Keys) -> Machine:
    return at.study.first_machines(keys).with_masks(at.masks(number))


def _scratch_sizes(at: Control, number: int, keys: Keys) -> Machine:
    masks = at.masks(number)
    for place in range(len(at.trials)):
        alive = living_units([mask[place] for mask in masks])
        for matrix, mask in enumerate(masks):
            there = np.asarray(at.study.machine.masks[matrix][place])
            lower = np.ones(len(there), bool) if matrix == 0 else alive[matrix]
            mask[place] = there & lower[:, None] & alive[matrix + 1][None, :]
    return at.study.first_machines(keys).with_masks(masks)


def _shuffled_mask(at: Control, number: int, keys: Keys) -> Machine:
    masks = at.masks(number)
    for place, key in enumerate(keys):
        rng = np.random.default_rng(np.asarray(jax.random.key_data(child_key(key, "shuffle"))))
        for mask, there in zip(masks, at.study.machine.masks, strict=True):
            mask[place] = shuffled(mask[place], np.asarray(there[place]), rng)
    return at.study.first_machines(keys).with_masks(masks)


def shuffled(mask: np.ndarray, allowed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random mask in which every unit has as many synapses as in this one, all of them allowed.

    The curveball algorithm (Strona et al. 2014): two upper units at a time trade the partners that only one of them
    has and both may have. ``mask`` and ``allowed``: ``(lower, upper)``.
    """
    columns, may = mask.T.copy(), allowed.T
    n_upper = len(columns)
    if n_upper < 2:
        return mask
    for _ in range(_TRADES * n_upper):
        first, second = rng.choice(n_upper, 2, replace=False)
        places = np.flatnonzero((columns[first] != columns[second]) & may[first] & may[second])
        to_first = np.zeros(len(places), bool)
        to_first[rng.permutation(len(places))[: columns[first, places].sum()]] = True
        columns[first, places], columns[second, places] = to_first, ~to_first
    return columns.T


def _prune_first(at: Control, number: int, keys: Keys) -> Machine:
    wanted, importance = at.masks(number), at.study.config.importance
    pruned = []
    for place, one in enumerate(unstack(at.study.first_machines(keys))):
        counts = zip(wanted, one.synapse_counts, strict=True)
        shares = [max(1 - int(mask[place].sum()) / there, _NOTHING) for mask, there in counts]
        rows, key = at.study.trials.visible[place], child_key(keys[place], "removal")
        pruned.append(remove(one, rows, at.rule, shares, key, importance=importance).pruned)
    return stack(pruned)


_STARTS: dict[str, Callable[[Control, int, Keys], Machine]] = {
    "scratch-mask": _scratch_mask,
    "scratch-sizes": _scratch_sizes,
    "shuffled-mask": _shuffled_mask,
    "prune-first": _prune_first,
}
"""The untrained machine that a control starts to learn from."""
