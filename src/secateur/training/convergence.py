"""Maximum likelihood to convergence on the exact gradient in float64: what a machine can reach with its synapses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.linalg import solve_triangular
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from secateur import fisher
from secateur.fisher.surgery import DAMPING, MAX_DENSE
from secateur.fisher.total_covariance import Layout
from secateur.model import checked, enumeration
from secateur.model.arrays import AnyArray
from secateur.model.machine import Machine, Parameters
from secateur.model.trust import Verdict
from secateur.training.exact import negative_log_likelihood, patterns

TOLERANCE = 1e-3
"""Nats per row: a maximum counts as reached when a stretch of iterations gains less."""

MAX_ITERATIONS = 2000

STRETCH = 50
"""Iterations from one measurement of the metric to the next."""

_Loss = Callable[[np.ndarray], tuple[float, np.ndarray]]


class Converged(NamedTuple):
    """A machine at a maximum of the likelihood.

    Attributes
    ----------
    machine
        The machine, in float32 like all machines; absent synapses are as absent as before.
    log_likelihood
        Mean log-likelihood of a row at the maximum found in float64, nats.
    gain
        What the last stretch of iterations gained, nats per row.
    n_iterations
        Iterations in all.
    verdict
        Whether the gain is below the tolerance.
    """

    machine: Machine
    log_likelihood: float
    gain: float
    n_iterations: int
    verdict: Verdict


def converge(
    machine: Machine, visible: Any, *, tolerance: float = TOLERANCE, max_iterations: int = MAX_ITERATIONS
) -> Converged:
    """Train a machine on the exact gradient, with its masks held, until next to nothing is to be had nearby.

    Deterministic: L-BFGS (Liu & Nocedal 1989) in float64 from the machine's own parameters, in coordinates in which the
    Fisher information matrix of the joint model is the identity, measured anew after every 50 iterations; on 13 x 70
    units 300 iterations so reach what several thousand would not without them. Machines of more than 4,096 parameters
    go without these coordinates. The likelihood of a machine with hidden units has many maxima; this finds one that
    ascent reaches.

    Parameters
    ----------
    machine
        A single machine that can be enumerated.
    visible
        Rows of the data ``(rows, n_0)``, 0/1.
    tolerance
        Nats per row: it ends when 50 iterations gain less.
    max_iterations
        Iterations at most.

    Raises
    ------
    ValueError
        If the machine is too large to be summed, the rows do not fit, or a number is out of range.
    """
    machine = checked.model(machine, single=True, hidden=True)
    enumeration.check_size(machine.layer_sizes, "training", "train with method='cd' or 'pcd'")
    rows, frequencies = patterns(checked.host_rows(visible, machine.layer_sizes[0]))
    max_iterations = checked.count("max_iterations", max_iterations)
    checked.finite(tolerance, "tolerance")
    if tolerance <= 0:
        raise ValueError(
            f"tolerance must be a positive number of nats, got {tolerance}; {TOLERANCE} suits most machines"
        )
    layout = Layout(machine)
    point, n_iterations, gain = layout.flatten(machine.parameters).astype(float), 0, np.inf
    with jax.enable_x64(True):
        shares = jnp.asarray(frequencies, jnp.float64)
        loss = partial(_loss, machine, layout, jnp.asarray(rows, jnp.float64), shares / shares.sum())
        value = loss(point)[0]
        while n_iterations < max_iterations and gain >= tolerance:
            factor = _metric(_at(machine, layout, point))
            point, now, used = _stretch(loss, point, factor, min(STRETCH, max_iterations - n_iterations))
            gain, value, n_iterations = value - now, now, n_iterations + max(used, 1)
    reason = f"{n_iterations:,} iterations were no end, the last ones gained {gain:.1e} nats; allow more"
    verdict = Verdict(() if gain < tolerance else (reason,))
    return Converged(_at(machine, layout, point), -value, float(gain), n_iterations, verdict)


def _at(machine: Machine, layout: Layout, point: np.ndarray) -> Machine:
    return machine.with_parameters(jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), layout.split(point)))


def _metric(machine: Machine) -> Float[np.ndarray, "parameters parameters"] | None:
    """Cholesky factor of the damped Fisher information matrix; ``None`` where it would be too large."""
    information = fisher.matrix(machine, "exact")
    if information.shape[0] > MAX_DENSE:
        return None
    damped = information.dense().copy()
    damped[np.diag_indices_from(damped)] += DAMPING * damped.diagonal().mean()
    return np.linalg.cholesky(damped)


def _stretch(loss: _Loss, point: np.ndarray, factor: np.ndarray | None, n: int) -> tuple[np.ndarray, float, int]:
    """So many iterations from a point: where they end, the loss there, and how many they were."""
    options = {"maxiter": n, "maxfun": 4 * n, "maxcor": 30, "gtol": 0.0, "ftol": 0.0}

    def in_coordinates(place: np.ndarray) -> tuple[float, np.ndarray]:
        if factor is None:
            return loss(place)
        value, gradient = loss(solve_triangular(factor.T, place))
        return value, solve_triangular(factor, gradient, lower=True)

    begin = point if factor is None else factor.T @ point
    # Threads that wait for each other in its many small systems took fifteen times as long as one.
    with threadpool_limits(1, user_api="blas"):
        found = minimize(in_coordinates, begin, jac=True, method="L-BFGS-B", options=options)
    end = found.x if factor is None else solve_triangular(factor.T, found.x)
    return end, float(found.fun), int(found.nit)


def _loss(
    machine: Machine, layout: Layout, rows: Array, frequencies: Array, point: np.ndarray
) -> tuple[float, np.ndarray]:
    """Minus the mean log-likelihood in nats and its gradient, in the order of the layout."""
    parameters = jax.tree.map(jnp.asarray, layout.split(point))
    value, gradient = _loss_and_gradient(machine, rows, frequencies, parameters)
    return float(value), layout.flatten(gradient)


@jax.jit
def _loss_and_gradient(
    machine: Machine, rows: AnyArray, frequencies: AnyArray, parameters: Parameters
) -> tuple[Array, Parameters]:
    return jax.value_and_grad(partial(negative_log_likelihood, machine, rows, frequencies))(parameters)
