"""Coverage of stated errors: how often the exact value lies within 1.96 standard errors, over many repeats.

Machines: *fast* (independent draws within a few sweeps), *slow* (unit rates hang together over 104 sweeps while the
energy forgets within two), *two modes* (chains stay where they fell; Gibbs sampling must not be trusted).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial
from typing import NamedTuple

import jax
import numpy as np
from scipy.stats import binom

from secateur import fisher
from secateur.model import exact
from secateur.model.machine import Machine
from secateur.model.trials import unstack
from secateur.sampling import Gibbs, Tempering
from secateur.sampling.draws import kept_draws
from secateur.sampling.runner import streamed_moments
from secateur.sampling.stored import moments_of
from two_modes import equal_modes_machine

NOMINAL = 0.95
LOWEST, HIGHEST = 0.90, 0.98
"""Coverage that a nominal 95 % may have."""

FALSE_ALARM = 1e-4
"""Probability that a case with coverage on the edge of what is allowed fails."""


def scaled(machine: Machine, factor: float) -> Machine:
    """The machine with all parameters multiplied."""
    return machine.with_parameters(jax.tree.map(lambda a: np.float32(factor) * a, machine.parameters))


def machines() -> dict[str, Machine]:
    """The three machines, asymmetric and small enough for exact answers."""
    return {
        "fast": scaled(equal_modes_machine(), 0.4),
        "slow": scaled(equal_modes_machine(), 0.85),
        "two modes": scaled(equal_modes_machine(tilt=0.15), 1.4),
    }


class Coverage(NamedTuple):
    """What came out of a case.

    Attributes
    ----------
    covered
        Of every trusted repeat the share of its numbers that lie within 1.96 of their standard errors.
    one_each
        Of every trusted repeat whether one of its numbers, chosen at random, does.
    n_repeats
        Repeats in all.
    """

    covered: np.ndarray
    one_each: np.ndarray
    n_repeats: int

    @property
    def n_trusted(self) -> int:
        """Repeats whose verdict was good."""
        return len(self.covered)

    @property
    def mean(self) -> float:
        """Mean coverage over trusted repeats."""
        return float(self.covered.mean()) if len(self.covered) else math.nan

    def holds(self) -> bool:
        """Whether coverage lies in the allowed range, as far as so many repeats can tell; or nothing is trusted."""
        if self.n_trusted < 0.02 * self.n_repeats:
            return True
        hits, n = int(self.one_each.sum()), self.n_trusted
        return binom.sf(hits - 1, n, HIGHEST) > FALSE_ALARM and binom.cdf(hits, n, LOWEST) > FALSE_ALARM


class Repeat(NamedTuple):
    """Estimates of one repeat, their standard errors, and whether it says that it can be trusted."""

    estimates: list[np.ndarray]
    errors: list[np.ndarray]
    trusted: bool


def coverage(repeats: list[Repeat], truth: list[np.ndarray], fault: str = "right") -> Coverage:
    """Coverage from estimates, standard errors and verdict of every repeat, with a fault planted or none."""
    scale, ignored = FAULTS[fault]
    rng = np.random.default_rng(0)
    flat = np.concatenate([np.ravel(t) for t in truth])
    covered, one_each = [], []
    for estimates, errors, trusted in repeats:
        if trusted or ignored:
            found, error = (
                np.concatenate([np.ravel(np.asarray(a, float)) for a in part]) for part in (estimates, errors)
            )
            inside = abs(found - flat) <= 1.96 * scale * error
            covered.append(inside.mean())
            one_each.append(inside[rng.integers(len(inside))])
    return Coverage(np.array(covered), np.array(one_each, bool), len(repeats))


SCHEDULES = {
    ("fast", "gibbs"): (60, 2, 100),
    ("slow", "gibbs"): (120, 30, 1500),
    ("two modes", "gibbs"): (60, 5, 200),
    ("two modes", "tempering"): (120, 3, 500),
}
"""Draws per chain, sweeps between them, and burn-in; 64 chains."""

FAULTS: dict[str, tuple[float, bool]] = {
    "right": (1.0, False),
    "errors halved": (0.5, False),
    "verdict ignored": (1.0, True),
}
"""Factor of the errors, and whether estimates are taken that are not to be trusted."""


@cache
def _runs(kind: str, sampler: str, n_repeats: int, kept: bool) -> list:
    machine = machines()[kind]
    n_draws, n_sweeps, n_burn_in = SCHEDULES[kind, sampler]
    chosen = Gibbs(n_sweeps) if sampler == "gibbs" else Tempering(n_sweeps=n_sweeps)
    run = kept_draws if kept else streamed_moments

    def one(key: jax.Array):
        key_start, key_run = jax.random.split(key)
        state = chosen.init(machine, key_start, 64)
        return run(machine, chosen, state, key_run, n_draws=n_draws, n_burn_in=n_burn_in)

    found = []
    for keys in jax.random.split(jax.random.key(1), n_repeats).reshape(-1, 50):  # 50 at a time: little memory
        found += unstack(jax.jit(jax.vmap(one))(keys))
    return found


Estimate = tuple[list[Repeat], list[np.ndarray]]
"""Repeats, and the exact answer."""


def _of_moments(kind: str, sampler: str, n_repeats: int, kept: bool = False) -> Estimate:
    machine = machines()[kind]
    repeats = []
    for found in _runs(kind, sampler, n_repeats, kept):
        moments = moments_of(machine, found) if kept else found
        leaves = (jax.tree.leaves(moments.values), jax.tree.leaves(moments.standard_errors))
        repeats.append(Repeat(*leaves, moments.verdict.trusted))
    return repeats, jax.tree.leaves(exact.moments(machine).values)


def _of_information(which: Callable) -> Callable[..., Estimate]:
    def of(kind: str, sampler: str, n_repeats: int) -> Estimate:
        machine = machines()[kind]
        repeats = []
        for moments in _runs(kind, sampler, n_repeats, kept=False):
            found = which(machine, moments)
            repeats.append(Repeat(list(found.weights), list(found.weight_errors), found.verdict.trusted))
        return repeats, list(which(machine, "exact").weights)

    return of


def _of_matrix(part: str) -> Callable[..., Estimate]:
    def of(kind: str, sampler: str, n_repeats: int) -> Estimate:
        machine = machines()[kind]
        truth = fisher.matrix(machine, "exact")
        repeats = []
        for draws in _runs(kind, sampler, n_repeats, kept=True):
            found = fisher.matrix(machine, draws)
            if part == "diagonal":
                repeats.append(Repeat([found.diagonal()], [found.diagonal_errors()], found.verdict.trusted))
            else:
                values, vectors = found.top(3)
                repeats.append(Repeat([values], [found.eigenvalue_errors(vectors)], found.verdict.trusted))
        return repeats, [truth.diagonal() if part == "diagonal" else truth.top(3).values]

    return of


ESTIMATES: dict[str, Callable[..., Estimate]] = {
    "rates and coincidences": _of_moments,
    "rates and coincidences of stored draws": partial(_of_moments, kept=True),
    "variance Fisher information": _of_information(fisher.variance),
    "heuristic Fisher information": _of_information(fisher.heuristic),
    "diagonal of the Fisher matrix": _of_matrix("diagonal"),
    "three leading eigenvalues": _of_matrix("eigenvalues"),
}
"""Every kind of stated error of what is sampled."""
