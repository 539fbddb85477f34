"""What every Fisher information matrix offers, however it is held: products, eigenpairs, diagonal, errors, verdict."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray
from scipy.sparse.linalg import LinearOperator, eigsh

from secateur.fisher.total_covariance import Layout
from secateur.model.arrays import AnyArray
from secateur.model.machine import Parameters
from secateur.model.trust import TRUSTED, Verdict
from secateur.sampling.diagnostics import MixingDiagnostics

Of = Literal["joint", "visible"]
"""Whose Fisher information: the model's over all layers, or its visible marginal's."""

MAX_DENSE_BYTES = 2**31
"""Largest matrix that :meth:`FisherMatrix.dense` makes: 2 GiB, 16,384 parameters in float64."""

_MAX_DIRECT = 2000  # up to here a dense eigendecomposition takes about a second and needs no key
_TOLERANCE = {np.dtype(np.float32): 1e-4, np.dtype(np.float64): 1e-10}


class Eigenpairs(NamedTuple):
    """Leading eigenvalues ``(k,)``, largest first, and unit eigenvectors as parameters with a leading axis ``k``.

    Eigenvectors are zero at absent synapses; the sign, which is arbitrary, makes the largest entry positive.
    """

    values: Float[np.ndarray, " k"]
    vectors: Parameters


class FisherMatrix(ABC):
    """Fisher information matrix over the existing synapses and the biases of a machine.

    Entries are in nats per product of the two parameters. The order of parameters is that of
    :class:`secateur.fisher.total_covariance.Layout`: the existing synapses of ``W_0, W_1, ...``, each row by row, then
    the biases ``b_0, ..., b_L``; :meth:`split` and :meth:`flatten` convert.

    Attributes
    ----------
    of
        ``"joint"`` or ``"visible"``.
    diagnostics
        How many states it was estimated from; ``None`` when exact.
    """

    of: Of
    diagnostics: MixingDiagnostics | None = None

    def __init__(self, layout: Layout):
        self._layout = layout

    @property
    def shape(self) -> tuple[int, int]:
        """Number of parameters, twice."""
        return self._layout.n_parameters, self._layout.n_parameters

    def flatten(self, parameters: Parameters) -> Float[np.ndarray, "*rows parameters"]:
        """Vector of parameters in the order of the matrix; entries of absent synapses are left out."""
        return self._layout.flatten(parameters)

    def split(self, vector: Float[np.ndarray, "*rows parameters"]) -> Parameters:
        """Vector back in the machine's shapes, zero at absent synapses; leading axes stay."""
        return self._layout.split(vector)

    def dense(self) -> Float[np.ndarray, "parameters parameters"]:
        """The matrix itself, read-only.

        Raises
        ------
        ValueError
            If it would take more than 2 GiB.
        """
        return self._matrix

    def matvec(self, vector: Float[AnyArray, " parameters"]) -> Float[np.ndarray, " parameters"]:
        """The matrix times a vector.

        Raises
        ------
        ValueError
            If the vector has another length.
        """
        vector = np.asarray(vector)
        if vector.shape != self.shape[:1]:
            raise ValueError(
                f"vector must have shape {self.shape[:1]}, one entry per existing synapse and unit, got "
                f"{vector.shape}; make it from parameters with flatten()"
            )
        return self._times(vector)

    def top(self, k: int, *, key: PRNGKeyArray | None = None) -> Eigenpairs:
        """The ``k`` leading eigenpairs.

        Up to 2,000 parameters, or when more than a tenth of all pairs are wanted, from the dense matrix; otherwise
        by the implicitly restarted Lanczos method on :meth:`matvec` (to a relative error of 1e-10 in float64, of
        1e-4 with states, far below their sampling error).

        Parameters
        ----------
        k
            Number of eigenpairs.
        key
            Random key for the start of the iteration; needed above 2,000 parameters.

        Raises
        ------
        ValueError
            If ``k`` does not lie between 1 and the number of parameters, or ``key`` is missing where needed.
        """
        n = self.shape[0]
        if not 1 <= k <= n:
            raise ValueError(f"k must lie between 1 and the number of parameters, {n}, got {k}")
        if n <= _MAX_DIRECT or k > n // 10:
            values, vectors = np.linalg.eigh(self.dense())
            values, vectors = values[-k:], vectors[:, -k:]
        elif key is None:
            raise ValueError(f"top() of {n} parameters is iterative and needs key, e.g. key=jax.random.key(0)")
        else:
            start = np.asarray(jax.random.normal(key, (n,), jnp.float32)).astype(self._dtype)
            operator = LinearOperator(self.shape, matvec=self._times, dtype=self._dtype)
            values, vectors = eigsh(operator, k, which="LA", v0=start, tol=_TOLERANCE[self._dtype])
        values, vectors = values[::-1], vectors.T[::-1]
        largest = np.take_along_axis(vectors, abs(vectors).argmax(axis=1)[:, None], axis=1)
        return Eigenpairs(values.copy(), self.split(vectors * np.sign(largest)))

    def eigenvalue_errors(self, vectors: Parameters) -> Float[np.ndarray, " k"]:
        """Standard error of each eigenvalue, given eigenvectors with a leading axis ``k``; zero when exact.

        First-order, from the spread between 16 groups of consecutive rows: it holds for eigenvalues that stand
        apart by more than their errors, and does not contain the upward bias of the largest eigenvalue when states
        are few.
        """
        return np.zeros(len(vectors.biases[0]))

    @property
    def verdict(self) -> Verdict:
        """Whether what was estimated from states can be trusted."""
        return TRUSTED if self.diagnostics is None else self.diagnostics.verdict

    def __repr__(self) -> str:
        how = "exact" if self.diagnostics is None else str(self.diagnostics)
        return f"FisherMatrix({self.of}, {self.shape[0]:,} parameters, trace {self.trace():.4g}; {how})"

    def trace(self) -> float:
        """Sum of the diagonal, the sum of all eigenvalues."""
        return float(self.diagonal().sum(dtype=np.float64))

    def diagonal(self) -> Float[np.ndarray, " parameters"]:
        """Fisher information of every single parameter; of a joint matrix the variance Fisher information."""
        return np.diagonal(self.dense()).copy()

    def diagonal_errors(self) -> Float[np.ndarray, " parameters"]:
        """Standard errors of :meth:`diagonal`; zero when exact."""
        return np.zeros(self.shape[0])

    @property
    def _dtype(self) -> np.dtype:
        return np.dtype(np.float64)

    @cached_property
    def _matrix(self) -> np.ndarray:
        n = self.shape[0]
        n_bytes = self._dtype.itemsize * n**2
        if n_bytes > MAX_DENSE_BYTES:
            raise ValueError(
                f"dense() of {n} parameters would take {n_bytes / 2**30:.3g} GiB, more than the limit of "
                f"{MAX_DENSE_BYTES / 2**30:.3g} GiB; use matvec(), top(), diagonal() or trace() of the joint matrix"
            )
        covariance = self._dense()
        covariance.flags.writeable = False
        return covariance

    @abstractmethod
    def _dense(self) -> np.ndarray:
        """The matrix, newly made."""

    @abstractmethod
    def _times(self, vector: np.ndarray) -> np.ndarray:
        """The matrix times a vector of the right length."""
