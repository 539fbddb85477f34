"""Schedules that need a study and its trained machines, regrowth and refits to a target; and the register of all that
need a study.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import numpy as np
from jaxtyping import Array

from secateur.likelihood.rows import pseudo_likelihood_of
from secateur.model.machine import Machine
from secateur.model.randomness import child_key
from secateur.model.trials import stack, unstack
from secateur.pruning import model_moments, number_to_remove, regrow, weight_gradient
from secateur.studies.learning_schedules import Learning, Pruned, fisher_plateau, trial_by_trial, while_learning

OVERSHOOT = 0.3
"""Share of the synapses left by a round that go as well and are regrown elsewhere (zeta of Mocanu et al. 2018)."""
MOST_REFITS = 4
"""Retrainings of one round to a target, before a smaller removal is tried."""
_MOST_HALVINGS = 2
_ESTIMATES = 8


def regrowth(at: Learning, machine: Machine, number: int, n_rounds: int, spent: list[float]) -> Pruned:
    """A round removes more than its share, and as many as are beyond it come back at random, before it retrains."""
    return _regrown(at, machine, number, spent, by_gradient=False)


def gradient_regrowth(at: Learning, machine: Machine, number: int, n_rounds: int, spent: list[float]) -> Pruned:
    """As :func:`regrowth`, but those come back by which the likelihood would gain most."""
    return _regrown(at, machine, number, spent, by_gradient=True)


def _regrown(at: Learning, machine: Machine, number: int, spent: list[float], by_gradient: bool) -> Pruned:
    config, trials = at.study.config, unstack(machine)
    shares = np.broadcast_to(config.pruning.fraction, len(machine.weights))
    wanted = [
        [n - number_to_remove(n, float(s)) for n, s in zip(one.synapse_counts, shares, strict=True)] for one in trials
    ]
    removal = at.remove(machine, number, tuple(float(s + OVERSHOOT * (1 - s)) for s in shares))
    pruned, keys = unstack(removal.pruned), child_key(at.keys, "regrowth", number)
    gains: list[tuple[np.ndarray, ...] | None] = [None] * len(pruned)
    if by_gradient:
        moments = model_moments(removal.pruned, config.importance, child_key(keys, "moments"), at.study.trials.visible)
        rows = at.study.visible[at.trials]
        gains = [weight_gradient(*each) for each in zip(pruned, rows, moments, strict=True)]
    regrown = []
    for place, one in enumerate(pruned):
        allowed = [mask[place] for mask in at.study.machine.masks]
        regrown.append(regrow(one, allowed, wanted[place], keys[place], gains[place]))
    removal = removal._replace(pruned=stack(regrown))
    learnt = at.retrain(removal.pruned, number, at.checkpoint.part(f"round {number}"))
    return Pruned(machine, removal, learnt, [epochs + config.retraining.n_epochs for epochs in spent])


def refit_to_target(at: Learning, machine: Machine, number: int, n_rounds: int, spent: list[float]) -> Pruned:
    """Rounds that retrain until the score of the unpruned machine is back, as large as four retrainings allow.

    The score is the pseudo-likelihood of training rows. A round whose score does not come back is tried again with
    half the share, and once more; the last is kept as it is. Every trial for itself.
    """
    return trial_by_trial(at, machine, spent, partial(_refitted, number=number))


def _refitted(at: Learning, machine: Machine, spent: float, number: int) -> Pruned:
    config = at.study.config
    share = np.broadcast_to(np.asarray(config.pruning.fraction, float), len(machine.weights))
    part = at.checkpoint.part(f"round {number}, trial {at.trials.start}")
    target = _scores(at, jax.tree.map(lambda a: a[at.trials], at.trained()))
    for halving in range(_MOST_HALVINGS + 1):
        removal = at.remove(machine, number, tuple((share / 2**halving).tolist()))
        learnt = removal.pruned
        for again in range(1, MOST_REFITS + 1):
            learnt = at.retrain(learnt, again, part.part(f"attempt {halving + 1}"))
            spent += config.retraining.n_epochs
            if _is_back(_scores(at, learnt) - target):
                return Pruned(machine, removal, learnt, [spent])
    return Pruned(machine, removal, learnt, [spent])


def _scores(at: Learning, machine: Machine) -> np.ndarray:
    """Several estimates of the pseudo-likelihood of the training rows, each of the same random units every time."""
    (one,), rows = unstack(machine), at.study.trials.visible[at.trials][0]
    keys: Array = jax.random.split(child_key(at.keys[0], "score"), _ESTIMATES)
    return np.array([pseudo_likelihood_of(one, rows, key) for key in keys], float)


def _is_back(differences: np.ndarray) -> bool:
    """Whether a score is not clearly below the target: by less than two standard errors of the estimates."""
    return bool(differences.mean() + 2 * differences.std(ddof=1) / len(differences) ** 0.5 >= 0)


SCHEDULES: dict[str, Callable[[Learning, Machine, int, int, list[float]], Pruned]] = {
    "while-learning": while_learning,
    "fisher-plateau": fisher_plateau,
    "regrowth": regrowth,
    "gradient-regrowth": gradient_regrowth,
    "refit-to-target": refit_to_target,
}
"""By name: the round of a number, of so many, given the machines after the round before it (of the first round: those
with which the schedule begins) and how many epochs each has been trained."""
