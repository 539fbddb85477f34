"""The full Fisher information matrix and its leading eigenpairs, exact or from states, at any size without storing it.

The matrix of the *joint* model is the covariance of its sufficient statistics, ``Cov[T]``; that of the *visible
marginal* is ``Cov_v[E(T | v)]``, what observations of the visible units alone tell about the parameters. Their
difference, ``E_v[Cov(T | v)]``, is positive semi-definite: the information lost with the hidden states (Amari, Kurata &
Nagaoka 1992, "Information geometry of Boltzmann machines").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, PRNGKeyArray

from secateur.fisher import total_covariance
from secateur.fisher.joint_matrix import JointFisherMatrix
from secateur.fisher.matrix_type import FisherMatrix, Of
from secateur.fisher.pairwise_matrix import PairwiseFisherMatrix
from secateur.fisher.visible_matrix import VisibleFisherMatrix
from secateur.model import checked, enumeration
from secateur.model.arrays import AnyArray
from secateur.model.enumeration import Blocks
from secateur.model.machine import Machine
from secateur.model.moments import Moments
from secateur.model.pairwise import PairwiseModel
from secateur.sampling.draws import Draws
from secateur.sampling.stored import moments_of_rows, rows_and_diagnostics
from secateur.sampling.sweep import Model

Source = Literal["exact"] | Draws | Sequence[AnyArray] | AnyArray
"""Where the matrix comes from: ``"exact"`` (enumeration), or states, as draws or one array per layer."""


def matrix(model: Model, source: Source, *, of: Of = "joint") -> FisherMatrix:
    """Full Fisher information matrix of the existing synapses and the biases.

    Parameters
    ----------
    model
        A machine of any depth, or a pairwise model, whose two matrices are one, because all its units are visible.
    source
        ``"exact"``: at most 20 units in the smaller block of layers, float64. Or states, float32: draws as
        :func:`secateur.sampling.sample` returns them, or one 0/1 array per layer, ``(draws, chains, n_l)`` or
        ``(rows, n_l)`` with at least two rows. Of a machine only the smaller block's states are used, the other block
        enters by its probabilities given them, which has the same mean and less variance. Of a pairwise model recorded
        words will do as well: a fitted model has their rates and coincidence rates, so the diagonals agree; other
        entries are moments of third and fourth order, in which model and recording may differ.
    of
        ``"joint"``: of the model over all layers, ``Cov[T]``. ``"visible"``: of its visible marginal,
        ``Cov_v[E(T | v)]``. Exact: at most 20 units in the visible layer and the smaller block of the hidden layers
        together. From states: their visible rows are used, the hidden layers are summed out of each (any RBM; deeper
        machines up to 20 units in the smaller block of the hidden layers), float64.

    Returns
    -------
    FisherMatrix
        With ``.dense()``, ``.matvec(x)``, ``.top(k)``, ``.diagonal()`` and ``.trace()``. Nothing larger than the
        states and the parameters is stored unless ``dense()`` is called.

    Raises
    ------
    ValueError
        If the machine is too large for ``"exact"``, the states do not fit it or are not 0/1, or ``of`` is unknown.
    """
    checked.model(model, "model", single=True)
    if of not in ("joint", "visible"):
        raise ValueError(f"of must be 'joint' or 'visible', got {of!r}")
    if isinstance(source, str) and source == "exact":
        return _exact(model, of)
    rows, diagnostics = rows_and_diagnostics(model, _states_only(source))
    if isinstance(model, PairwiseModel):
        moments = moments_of_rows(model, rows, rows, (True,), diagnostics)
        uniform = np.full(len(rows[0]), 1 / len(rows[0]), np.float32)
        return PairwiseFisherMatrix(np.asarray(rows[0]).astype(np.uint8), uniform, moments)
    if of == "visible":
        return VisibleFisherMatrix(model, np.asarray(rows[0]), diagnostics)
    given = total_covariance.drawn_states(model, tuple(np.asarray(s) for s in rows))
    joined = given.states.reshape(-1, given.states.shape[-1])[: len(rows[0])]
    means = total_covariance.conditional_means(given.parameters, joined)
    enumerated = Blocks(model.parameters).enumerated
    sampled = tuple(layer in enumerated for layer in range(model.n_layers))
    return JointFisherMatrix(model, given, moments_of_rows(model, rows, means, sampled, diagnostics))


def _exact(model: Model, of: Of) -> FisherMatrix:
    if isinstance(model, PairwiseModel):
        return PairwiseFisherMatrix.exact(model)
    if of == "visible":
        return VisibleFisherMatrix(model)
    return JointFisherMatrix(model, total_covariance.every_state(model), enumeration.moments(model))


def leading_eigenvector_importance(
    machine: Machine, source: Source, key: PRNGKeyArray
) -> tuple[Float[np.ndarray, "lower upper"], ...]:
    """Importance of every synapse by its entry in the leading eigenvector of the joint Fisher information matrix.

    Absolute values, because the sign of an eigenvector is arbitrary; zero for absent synapses. Matrix-free, so for
    machines of any size (Scholl, Rule & Hennig 2021, Methods: first eigenvector of the Fisher information matrix).

    Parameters and errors as in :func:`matrix`; ``key`` starts the iteration.
    """
    vectors = matrix(machine, source).top(1, key=key).vectors
    return tuple(abs(weights[0]) for weights in vectors.weights)


def _states_only(source: Any) -> Any:
    if isinstance(source, str | Moments):
        found = repr(source) if isinstance(source, str) else "Moments"
        raise ValueError(
            f"source must be 'exact' or states of the model, got {found}; moments do not tell how pairs of synapses "
            "vary together"
        )
    return source
