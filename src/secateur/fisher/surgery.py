"""Optimal Brain Surgeon: what removing a synapse costs to second order, and how the other parameters make up for it.

Near a machine the divergence from it is ``dtheta^T F dtheta / 2`` with the Fisher information matrix ``F`` of the joint
model, which is also the Hessian of its negative log-likelihood. Least of it with ``dtheta_q = -w_q`` is ``w_q^2 / (2
[F^-1]_qq)``, at ``dtheta = -w_q F^-1 e_q / [F^-1]_qq`` (Hassibi & Stork 1993, "Second order derivatives for network
pruning: Optimal Brain Surgeon", equation 5). Of several synapses that go at once, the least has ``dtheta_kept = F_kk^-1
F_kr w_removed``. ``F`` of a machine with hidden units is near singular, so ``damping`` times its mean eigenvalue is
added to its diagonal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, PRNGKeyArray
from scipy.sparse.linalg import LinearOperator, cg

from secateur.fisher.full_matrix import Source, matrix
from secateur.fisher.matrix_type import FisherMatrix
from secateur.model import checked
from secateur.model.arrays import AnyArray
from secateur.model.machine import Machine, Parameters
from secateur.model.trust import Verdict

DAMPING = 0.01
"""Share of the mean eigenvalue that is added: of 1e-6 to 0.1, tried on an RBM of image patches, the one with the least
loss of likelihood at half of the synapses."""

MAX_DENSE = 4096
"""Most parameters for which the matrix is inverted as it is, which takes seconds; beyond that nothing of its size is
made."""

N_PROBES = 16
"""Random vectors from which the diagonal of the inverse is estimated; the error falls with the root of their number."""

_PROBE_TOLERANCE, _REPAIR_TOLERANCE = 0.1, 1e-3
_MAX_ITERATIONS = 5000


class RemovalSaliency(NamedTuple):
    """What the removal of single synapses costs to second order, the other parameters making up for it.

    Attributes
    ----------
    values
        Nats, ``(n_l, n_{l+1})`` per weight matrix; zero for absent synapses.
    standard_errors
        Of the estimate of the inverse's diagonal, in the same shapes; zero where the matrix was inverted. What comes
        from few states of the model is not contained.
    """

    values: tuple[AnyArray, ...]
    standard_errors: tuple[AnyArray, ...]


def removal_saliency(
    machine: Machine,
    source: Source,
    key: PRNGKeyArray,
    *,
    damping: float = DAMPING,
    max_dense: int = MAX_DENSE,
    n_probes: int = N_PROBES,
) -> RemovalSaliency:
    """Saliency ``w_q^2 / (2 [F^-1]_qq)`` of every synapse in nats (Hassibi & Stork 1993).

    Parameters
    ----------
    machine
        The machine.
    source
        ``"exact"`` or states of the model, as in :func:`secateur.fisher.matrix`.
    key
        Random key of the estimate for large machines.
    damping
        Share of the mean eigenvalue of ``F`` that is added to its diagonal; positive.
    max_dense
        Up to so many parameters the matrix is inverted. Beyond that the diagonal of its inverse is estimated from
        random signs ``z`` as the mean of ``z (F^-1 z)`` (Bekas, Kokiopoulou & Saad 2007), each by 20 to 230 products
        with the matrix (conjugate gradients to a residual of 0.1), and never below ``1 / F_qq``, its least possible
        value. On machines of 993 and of 4,714 parameters 8 vectors ordered synapses like the inverse (rank correlation
        0.99), where low rank and a diagonal (0.95), or a block for each unit (0.96, 0.94), were no match.
    n_probes
        Such vectors, at least two.

    Raises
    ------
    ValueError
        If ``damping`` is not positive, a number is too small, or as :func:`secateur.fisher.matrix`.

    Warns
    -----
    NotToBeTrusted
        If conjugate gradients did not converge.
    """
    information = matrix(checked.model(machine, single=True, hidden=True), source)
    operator = _Damped(information, damping)
    n_probes = checked.count("n_probes", n_probes, 2)
    if information.shape[0] <= max_dense:
        inverse = np.linalg.inv(operator.dense()).diagonal()
        errors = np.zeros_like(inverse)
    else:
        inverse, errors = operator.estimated_inverse_diagonal(checked.key(key), n_probes)
    values = information.flatten(machine.parameters).astype(float) ** 2 / (2 * inverse)
    return RemovalSaliency(information.split(values).weights, information.split(values * errors / inverse).weights)


def compensated(
    machine: Machine,
    source: Source,
    masks: Sequence[AnyArray],
    *,
    damping: float = DAMPING,
    max_dense: int = MAX_DENSE,
) -> Parameters:
    """Parameters of the machine without some synapses, the others moved so that the model changes least.

    The change ``dtheta`` of weights and biases has the least ``dtheta^T (F + damping) dtheta / 2`` of all that bring
    the removed weights to zero together. Synapses that the machine does not have stay absent.

    Parameters
    ----------
    machine
        The machine with all synapses that are to go.
    source
        As in :func:`removal_saliency`.
    masks
        Synapses that stay, one array per weight matrix.
    damping
        As in :func:`removal_saliency`.
    max_dense
        Up to so many parameters by a dense solution; else by conjugate gradients to a residual of 1e-3, some hundred
        products with the matrix.

    Float64 NumPy arrays in the machine's shapes come back.

    Raises
    ------
    ValueError
        If ``damping`` is not positive, the masks do not fit, or as :func:`secateur.fisher.matrix`.

    Warns
    -----
    NotToBeTrusted
        If conjugate gradients did not converge.
    """
    information = matrix(checked.model(machine, single=True, hidden=True), source)
    stays = checked.masks(masks, machine.weights)
    everywhere = tuple(np.ones(bias.shape) for bias in machine.biases)
    kept = information.flatten(Parameters(tuple(mask.astype(float) for mask in stays), everywhere)) > 0
    parameters = information.flatten(machine.parameters).astype(float)
    operator = _Damped(information, damping)
    if information.shape[0] <= max_dense:
        dense = operator.dense()
        change = np.linalg.solve(dense[np.ix_(kept, kept)], dense[np.ix_(kept, ~kept)] @ parameters[~kept])
    else:
        change = operator.change_of_kept(kept, parameters)[kept]
    moved = np.zeros_like(parameters)
    moved[kept] = parameters[kept] + change
    return information.split(moved)


class _Damped:
    """The Fisher information matrix and its damping, dense or as products alone."""

    def __init__(self, information: FisherMatrix, damping: float):
        checked.finite(damping, "damping")  # which comes back in single precision
        if damping <= 0:
            raise ValueError(
                f"damping must be a positive share of the mean eigenvalue, got {damping!r}; the matrix is near "
                f"singular without it, {DAMPING} suits most machines"
            )
        self._information = information
        fisher = information.diagonal().astype(float)
        self._added = damping * fisher.mean()
        self._diagonal = fisher + self._added

    def dense(self) -> Float[np.ndarray, "parameters parameters"]:
        damped = self._information.dense().astype(float)
        damped[np.diag_indices_from(damped)] += self._added
        return damped

    def times(self, vector: np.ndarray) -> np.ndarray:
        return self._information.matvec(vector).astype(float) + self._added * vector

    def estimated_inverse_diagonal(self, key: PRNGKeyArray, n_probes: int) -> tuple[np.ndarray, np.ndarray]:
        """Diagonal of the inverse and its standard errors, from random signs."""
        total = squares = np.zeros(len(self._diagonal))
        for own_key in jax.random.split(key, n_probes):
            signs = np.asarray(jax.random.rademacher(own_key, total.shape, jnp.int32)).astype(float)
            product = signs * self._solved(self.times, signs, _PROBE_TOLERANCE)
            total, squares = total + product, squares + product**2
        mean = total / n_probes
        variance = np.maximum(squares / n_probes - mean**2, 0) / (n_probes - 1)
        return np.maximum(mean, 1 / self._diagonal), np.sqrt(variance)

    def change_of_kept(self, kept: Bool[np.ndarray, " parameters"], parameters: np.ndarray) -> np.ndarray:
        """``dtheta`` of the parameters that stay, zero at those that go."""

        def among_kept(vector: np.ndarray) -> np.ndarray:
            return np.where(kept, self.times(np.where(kept, vector, 0)), vector)

        wanted = np.where(kept, self.times(np.where(kept, 0, parameters)), 0)
        return self._solved(among_kept, wanted, _REPAIR_TOLERANCE)

    def _solved(self, times: Callable[[np.ndarray], np.ndarray], right: np.ndarray, tolerance: float) -> np.ndarray:
        """By conjugate gradients; the diagonal, which spans orders of magnitude, preconditions them."""
        shape = self._information.shape
        operator = LinearOperator(shape, matvec=times, dtype=float)
        scaled = LinearOperator(shape, matvec=lambda vector: vector / self._diagonal, dtype=float)
        found, info = cg(operator, right, rtol=tolerance, M=scaled, maxiter=_MAX_ITERATIONS)
        reason = f"no convergence in {_MAX_ITERATIONS:,} products with the matrix; take more damping"
        Verdict((reason,) if info else ()).warn("the inverse of the Fisher information matrix", stacklevel=4)
        return found
