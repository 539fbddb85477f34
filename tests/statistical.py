"""Tolerances of statistical tests from a written false-alarm rate, and the planted faults that such tests must find."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import jax
import numpy as np
import pytest
from scipy import stats

from conftest import LAYER_SIZES
from secateur import sampling
from secateur.model.machine import Machine
from secateur.model.moments import N_GROUPS, Moments

FALSE_ALARMS = 1e-6
"""Probability that any statistical test of the suite fails on right code, had the seeds not been fixed."""

N_TESTS = 200
"""More statistical comparisons of arrays than the suite makes; they share the false-alarm rate."""

GROUPED = N_GROUPS - 1
"""Degrees of freedom of standard errors that come from the spread between groups of chains."""


def quantile(n_comparisons: int, degrees_of_freedom: float = math.inf) -> float:
    """Two-sided Student quantile for so many comparisons (Bonferroni); normal without degrees of freedom."""
    return float(stats.t.isf(FALSE_ALARMS / N_TESTS / n_comparisons / 2, degrees_of_freedom))


def assert_within_errors(estimates, standard_errors, exact, degrees_of_freedom: float = math.inf) -> None:
    """Every number of a pytree lies within its standard errors of the exact one; where the error is 0 it is equal."""
    z_scores = []
    for estimate, error, truth in zip(*map(jax.tree.leaves, (estimates, standard_errors, exact)), strict=True):
        estimate, error, truth = (np.asarray(a, dtype=float) for a in (estimate, error, truth))
        assert estimate.shape == error.shape == truth.shape
        distance = abs(estimate - truth)
        without_error = np.where(distance < 1e-6, 0.0, np.inf)
        z_scores.append(np.divide(distance, error, out=without_error, where=error > 0).ravel())
    z = np.concatenate(z_scores)
    limit = quantile(z.size, degrees_of_freedom)
    if not (z <= limit).all():
        raise AssertionError(f"{z.max():.1f} standard errors away from the exact value, {limit:.1f} allowed")


def _wrong_temperature(machine: Machine) -> Machine:
    return machine.with_parameters(jax.tree.map(lambda a: 1.1 * a, machine.parameters))


def _swapped_bias(machine: Machine) -> Machine:
    parameters = machine.parameters
    return machine.with_parameters(parameters._replace(biases=(parameters.biases[0][::-1], *parameters.biases[1:])))


def _wrong_sign(machine: Machine) -> Machine:
    parameters = machine.parameters
    return machine.with_parameters(parameters._replace(weights=(*parameters.weights[:-1], -parameters.weights[-1])))


FAULTS: dict[str, Callable[[Machine], Machine]] = {
    "right": lambda machine: machine,
    "wrong temperature": _wrong_temperature,
    "swapped bias": _swapped_bias,
    "wrong sign": _wrong_sign,
}
"""What a sampler may do wrong, planted by handing it a distorted machine; "right" plants nothing."""

with_twins = pytest.mark.parametrize("fault", FAULTS)
"""Runs a statistical test on right code and on its twins with a planted fault."""


def every_machine_and_twins(faults: Iterable[str] = FAULTS) -> pytest.MarkDecorator:
    """Runs a statistical test with right code on every small machine, and its twins on one of two hidden layers."""
    right = [((name, masked), "right") for name in LAYER_SIZES for masked in (False, True)]
    twins = [(("dbm-2-hidden", True), fault) for fault in faults if fault != "right"]
    cases = [
        pytest.param(*case, id=f"{case[0][0]}-{'masked' if case[0][1] else 'full'}-{case[1]}") for case in right + twins
    ]
    return pytest.mark.parametrize(("machine", "fault"), cases, indirect=["machine"])


@contextmanager
def judged(fault: str) -> Iterator[None]:
    """A check that must hold on right code and must fail on a planted fault."""
    if fault == "right":
        yield
    else:
        with pytest.raises(AssertionError, match="standard errors away"):
            yield


def sampled_moments(machine: Machine, seed: int = 0) -> Moments:
    """Model moments from 512 chains with 200 draws each; one size for all tests, which share its compilation."""
    return sampling.moments(machine, jax.random.key(seed), n_chains=512, n_draws=200, n_burn_in=50)
