"""Trace, log-determinant and spectrum of the Fisher information matrix, to be followed while a machine learns."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, PRNGKeyArray

from secateur.fisher.full_matrix import Source, matrix
from secateur.fisher.matrix_type import Of
from secateur.fisher.surgery import DAMPING, MAX_DENSE
from secateur.model import checked
from secateur.model.trust import Verdict
from secateur.sampling.sweep import Model


class Spectrum(NamedTuple):
    """Sums over the eigenvalues of the Fisher information matrix, and the largest of them.

    Attributes
    ----------
    n_parameters
        Existing synapses and units.
    trace
        Sum of all eigenvalues, of a joint matrix that of the variance Fisher information, per nat^2.
    trace_error
        Its standard error; 0 where exact. Errors of single parameters are added, as if they all went together, which
        is the most that they can make.
    log_determinant
        Sum of the logarithms of all eigenvalues, a share of their mean added to each; NaN for a matrix too large to be
        made.
    eigenvalues
        The largest, in falling order, ``(k,)``.
    verdict
        Whether what was estimated from states can be trusted.
    """

    n_parameters: int
    trace: float
    trace_error: float
    log_determinant: float
    eigenvalues: Float[np.ndarray, " k"]
    verdict: Verdict


def spectrum(
    model: Model,
    source: Source,
    *,
    n_eigenvalues: int = 10,
    damping: float = DAMPING,
    of: Of = "joint",
    key: PRNGKeyArray | None = None,
) -> Spectrum:
    """Trace, log-determinant and largest eigenvalues of the Fisher information matrix at one moment of learning.

    A loop of training calls it as often as it likes, ``train`` by its ``callback``; nothing is kept between calls.
    Up to 4,096 parameters all eigenvalues are found, in seconds at most; beyond that the largest by some ten products
    with the matrix for each, and no log-determinant.

    Parameters
    ----------
    model, source, of
        As of :func:`secateur.fisher.matrix`; of a trainer with persistent chains ``source`` may be their states.
    n_eigenvalues
        Eigenvalues to return; fewer where there are fewer parameters. 0: none, and beyond 4,096 parameters no more work
        than the trace takes.
    damping
        Share of the mean eigenvalue that is added to every eigenvalue for the log-determinant, without which noise or a
        direction that changes nothing decides; 0 or more.
    key
        Random key, needed beyond 4,096 parameters.

    Raises
    ------
    ValueError
        If a number is negative, ``key`` is missing, or as :func:`secateur.fisher.matrix`.
    """
    information = matrix(model, source, of=of)
    n = information.shape[0]
    n_wanted = min(checked.count("n_eigenvalues", n_eigenvalues, 0), n)
    checked.finite(damping, "damping")  # which comes back in single precision
    if damping < 0:
        raise ValueError(f"damping must be a share of the mean eigenvalue, 0 or more, got {damping!r}; try {DAMPING}")
    trace, error = information.trace(), float(information.diagonal_errors().sum(dtype=np.float64))
    log_determinant = math.nan
    if n <= MAX_DENSE:
        # Rounding makes eigenvalues of directions that change nothing a little less than zero.
        every = np.maximum(np.linalg.eigvalsh(information.dense().astype(float))[::-1], 0)
        with np.errstate(divide="ignore"):
            log_determinant = float(np.log(every + damping * every.mean()).sum())
        largest = every[:n_wanted]
    elif n_wanted:
        largest = np.asarray(information.top(n_wanted, key=key).values, float)
    else:
        largest = np.zeros(0)
    return Spectrum(n, trace, error, log_determinant, largest.copy(), information.verdict)
