"""What is done after every epoch: a line is printed, held-out rows are scored, and training is stopped early."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, PRNGKeyArray

from secateur import likelihood, training
from secateur.estimator.checks import brief_log_partition
from secateur.estimator.inputs import can_be_enumerated
from secateur.model.arrays import AnyArray
from secateur.model.machine import Machine


class StoppedEarly(Exception):
    """Held-out rows have not become more likely for so many epochs."""


def all_of(*callbacks: training.Callback | None) -> training.Callback | None:
    """One callback that calls those that are there, in order."""
    given = [one for one in callbacks if one is not None]

    def call(n_epochs: int, machine: Machine, history: training.History) -> None:
        for one in given:
            one(n_epochs, machine, history)

    return call if given else None


def told(name: str) -> training.Callback:
    """A callback that prints a line per epoch, in the words of scikit-learn's ``BernoulliRBM``."""
    began = time.monotonic()

    def tell(n_epochs: int, machine: Machine, history: training.History) -> None:
        nonlocal began
        now, measured = time.monotonic(), history.pseudo_likelihood
        likely = f"pseudo-likelihood = {measured[-1]:.2f}, " if len(measured) else ""
        print(f"[{name}] Iteration {n_epochs}, {likely}time = {now - began:.2f}s", flush=True)
        began = now

    return tell


def scorer(held_out: Float[AnyArray, "rows visible"], rates: AnyArray, key: PRNGKeyArray) -> Callable[[Machine], float]:
    """Mean ``log p(v)`` of held-out 0/1 rows in nats, exact or annealed briefly with the same random numbers each time.

    Of large deep machines its variational lower bound.
    """

    def score(machine: Machine) -> float:
        bound = machine.n_layers > 2 and not can_be_enumerated(machine)
        log_probability = likelihood.log_probability_bound if bound else likelihood.log_probability
        return float(log_probability(machine, held_out, brief_log_partition(machine, rates, key)).mean())

    return score


@dataclass
class EarlyStopping:
    """A callback that keeps the machine under which held-out rows are most likely.

    Attributes
    ----------
    score
        See :func:`scorer`.
    n_iter_no_change
        Epochs without a gain of more than ``tol`` nats per row after which training stops.
    tol
        The least gain that counts.
    scores
        Of every epoch so far.
    best
        The best machine, and the history up to it.
    """

    score: Callable[[Machine], float]
    n_iter_no_change: int
    tol: float
    scores: list[float] = field(default_factory=list)
    best: tuple[Machine, training.History] | None = None
    _least: float = -np.inf
    _waited: int = 0

    def __call__(self, n_epochs: int, machine: Machine, history: training.History) -> None:
        """Score the machine.

        Raises
        ------
        StoppedEarly
            If it is time.
        """
        score = self.score(machine)
        if self.best is None or score > max(self.scores):
            self.best = machine, history
        self.scores.append(score)
        self._waited = 0 if score > self._least + self.tol else self._waited + 1
        self._least = max(self._least, score)
        if self._waited >= self.n_iter_no_change:
            raise StoppedEarly
