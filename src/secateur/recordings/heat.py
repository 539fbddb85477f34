"""The specific heat of a model at several temperatures: exact where it can be, else tempered, with a verdict."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, PRNGKeyArray

from secateur import sampling
from secateur.model import enumeration, pairwise_enumeration
from secateur.model.machine import Machine, Parameters
from secateur.model.moments import N_GROUPS
from secateur.model.pairwise import PairwiseModel
from secateur.model.randomness import child_key
from secateur.model.trust import TRUSTED, NotToBeTrusted, Verdict
from secateur.recordings.fitting import Model
from secateur.recordings.folds import MANY_UNITS

_SCHEDULE, _SCHEDULE_OF_MANY, _N_SWEEPS = (64, 100, 500), (32, 50, 250), 5  # chains, draws, sweeps of burn-in
_MOST_SUMMED = 3e7  # states of the smaller side times units of the other: seconds for all temperatures
_CHUNK = 2**14


class SpecificHeat(NamedTuple):
    """Specific heat at each temperature, its standard error, and whether to trust it.

    Values whose chains had not mixed are NaN: states that chains do not cross between look like a small heat, and
    chains that fell into different states like a peak.
    """

    values: Float[np.ndarray, " temperatures"]
    errors: Float[np.ndarray, " temperatures"]
    verdicts: tuple[Verdict, ...]


def specific_heat(model: Model, temperatures: Float[np.ndarray, " temperatures"], key: PRNGKeyArray) -> SpecificHeat:
    """``Var(E) / T^2`` per unit at temperatures ``T``, where all parameters are divided by ``T`` (dimensionless).

    ``E`` is the energy of the model at ``T = 1``, in nats; of a machine with hidden units that of all its units, and
    then per unit of all layers (Tkacik et al. 2015). Exact for independent units, pairwise models of up to 20 units,
    and RBMs with a small side; else from the cold chains of parallel tempering, one run for each temperature.
    """
    variance = _exact_variance(model)
    if variance is not None:
        values = [variance(t) / (t**2 * model.n_units) for t in temperatures.astype(float)]
        return SpecificHeat(np.array(values), np.zeros(len(values)), (TRUSTED,) * len(values))
    keys = [child_key(key, number) for number in range(len(temperatures))]
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:  # chains this few keep one core busy
        warnings.simplefilter("ignore", NotToBeTrusted)  # the verdicts are returned
        first = _tempered(model, float(temperatures[0]), keys[0])  # compiles
        found = [first, *pool.map(partial(_tempered, model), temperatures[1:].astype(float), keys[1:])]
    return SpecificHeat(
        np.array([value for value, _, _ in found]),
        np.array([error for _, error, _ in found]),
        tuple(v for *_, v in found),
    )


def _exact_variance(model: Model) -> Callable[[float], float] | None:
    """The variance of the energy as a function of temperature, if it can be summed."""
    if isinstance(model, PairwiseModel):
        biases, couplings = (np.asarray(a, float) for a in (model.biases, model.couplings))
        if not couplings.any():
            return lambda t: float((biases**2 * _slope(biases / t)).sum())
        if model.n_units > enumeration.MAX_UNITS:
            return None
        states = pairwise_enumeration.all_states(model.n_units).astype(float)
        minus_energies = states @ biases + 0.5 * ((states @ couplings) * states).sum(axis=1)
        return lambda t: _variance(minus_energies / t, minus_energies, 0.0)
    if model.n_layers != 2:
        return None
    small = int(np.argmin(model.layer_sizes))
    size, other = sorted(model.layer_sizes)
    if size > enumeration.MAX_UNITS or 2.0**size * other > _MOST_SUMMED:
        return None
    return lambda t: _rbm_variance(model, small, t)


def _rbm_variance(machine: Machine, small: int, temperature: float) -> float:
    """Of an RBM: the states of one side are summed over, the energies of the other given them vary independently."""
    weights = np.asarray(machine.weights[0], float) * np.asarray(machine.masks[0])
    weights = weights if small == 0 else weights.T
    own, others = (np.asarray(machine.biases[side], float) for side in (small, 1 - small))
    states = pairwise_enumeration.all_states(len(own))
    parts = []
    for start in range(0, len(states), _CHUNK):
        rows = states[start : start + _CHUNK].astype(float)
        inputs, fields = rows @ own, others + rows @ weights
        log_weight = inputs / temperature + np.logaddexp(0, fields / temperature).sum(axis=1)
        mean = inputs + (fields / (1 + np.exp(-fields / temperature))).sum(axis=1)
        parts.append((log_weight, mean, (fields**2 * _slope(fields / temperature)).sum(axis=1)))
    return _variance(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _variance(log_weights: np.ndarray, means: np.ndarray, within: np.ndarray | float) -> float:
    """Variance over states with these log weights, of quantities with a mean and a variance in each."""
    p = np.exp(log_weights - log_weights.max())
    p /= p.sum()
    mean = p @ means
    return float(p @ ((means - mean) ** 2 + within))


def _slope(x: np.ndarray) -> np.ndarray:
    """Variance of a unit with log odds ``x``."""
    p = 1 / (1 + np.exp(-np.abs(x)))
    return p * (1 - p)


def _tempered(model: Model, temperature: float, key: PRNGKeyArray) -> tuple[float, float, Verdict]:
    """Value, error by the jackknife over groups of chains, and verdict, at one temperature."""
    sampler = sampling.Tempering(n_sweeps=_N_SWEEPS)
    n_chains, n_draws, n_burn_in = _SCHEDULE if model.n_units <= MANY_UNITS else _SCHEDULE_OF_MANY
    schedule: dict[str, Any] = {"n_draws": n_draws, "n_chains": n_chains, "n_sweeps": _N_SWEEPS, "n_burn_in": n_burn_in}
    draws = sampling.sample(_divided(model, temperature), key, sampler=sampler, **schedule)
    energies = np.asarray(draws.energies, float).T * temperature
    groups = energies.reshape(N_GROUPS, -1)
    scale = temperature**2 * model.n_units
    left_out = np.array([np.delete(groups, g, axis=0).var() for g in range(N_GROUPS)]) / scale
    error = math.sqrt((N_GROUPS - 1) / N_GROUPS * ((left_out - left_out.mean()) ** 2).sum())
    return (groups.var() / scale if draws.verdict.trusted else math.nan), error, draws.verdict


def _divided(model: Model, temperature: float) -> Model:
    """The model with all parameters divided."""
    if isinstance(model, PairwiseModel):
        return PairwiseModel(np.asarray(model.biases) / temperature, np.asarray(model.couplings) / temperature)
    weights, biases = (tuple(a / np.float32(temperature) for a in part) for part in model.parameters)
    return model.with_parameters(Parameters(weights, biases))
