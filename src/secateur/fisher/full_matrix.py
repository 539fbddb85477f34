"""The full Fisher information matrix and its leading eigenpairs, exact or from states, at any size without storing it.

The matrix of the *joint* model is the covariance of its sufficient statistics, ``Cov[T]``; that of the *visible
marginal* is ``Cov_v[E(T | v)]``, what observations of the visible units alone tell about the parameters. Their
difference, ``E_v[Cov(T | v)]``, is positive semi-definite: the information lost with the hidden states (Amari, Kurata &
Nagaoka 1992, "Information geometry of Boltzmann machines").
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray
from scipy.sparse.linalg import LinearOperator, eigsh
from scipy.special import logsumexp

from secateur.fisher import total_covariance
from secateur.fisher.total_covariance import GivenStates, Layout
from secateur.model import enumeration, units
from secateur.model.arrays import AnyArray
from secateur.model.diagnostics import MixingDiagnostics
from secateur.model.machine import Machine, Parameters
from secateur.model.moments import N_GROUPS, Moments

Source = Literal["exact"] | Sequence[Any]
"""Where the matrix comes from: ``"exact"`` (enumeration), or drawn states, one array ``(rows, n_l)`` per layer."""

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


class JointFisherMatrix(FisherMatrix):
    """Fisher information matrix of the joint model, ``Cov[T]`` (made by :func:`matrix`)."""

    of: Of = "joint"

    def __init__(self, machine: Machine, given: GivenStates, moments: Moments):
        super().__init__(Layout(machine))
        self._given, self._moments = given, moments
        self.diagnostics = moments.diagnostics

    @property
    def _dtype(self) -> np.dtype:
        return np.dtype(self._given.probabilities.dtype)

    def diagonal(self) -> Float[np.ndarray, " parameters"]:
        """Variance Fisher information ``p (1 - p)``, ``p`` the coincidence rate or, for a bias, the rate."""
        return self.flatten(jax.tree.map(lambda p: units.variance(np.asarray(p)), self._mean))

    def diagonal_errors(self) -> Float[np.ndarray, " parameters"]:
        """Standard errors of :meth:`diagonal`, from the spread between groups of rows; zero when exact."""
        # Delta method: d(p (1 - p)) = (1 - 2 p) dp.
        errors = self.flatten(self._moments.standard_errors.as_parameters())
        return abs(1 - 2 * self.flatten(self._mean)) * errors

    def eigenvalue_errors(self, vectors: Parameters) -> Float[np.ndarray, " k"]:
        """Standard error of the variance along each direction (see :meth:`FisherMatrix.eigenvalue_errors`)."""
        if self.diagnostics is None:
            return super().eigenvalue_errors(vectors)
        errors = []
        for index in range(len(vectors.biases[0])):
            direction = jax.tree.map(lambda a, i=index: jnp.asarray(a[i]), vectors)
            rows = np.asarray(total_covariance.variance_along(self._given, self._mean, direction))
            drawn = rows[np.asarray(self._given.probabilities).reshape(-1) > 0]
            groups = np.array_split(drawn, N_GROUPS)
            means = [group.mean(dtype=np.float64) for group in groups if group.size]
            errors.append(np.std(means, ddof=1) / math.sqrt(len(means)))
        return np.array(errors)

    @property
    def _mean(self) -> Parameters:
        return self._moments.values.as_parameters()

    def _dense(self) -> np.ndarray:
        return total_covariance.dense(self._given, self._mean, self._layout)

    def _times(self, vector: np.ndarray) -> np.ndarray:
        with jax.enable_x64(self._dtype == np.float64):
            direction = jax.tree.map(jnp.asarray, self.split(vector.astype(self._dtype)))
            return self.flatten(total_covariance.times(self._given, self._mean, direction))


class VisibleFisherMatrix(FisherMatrix):
    """Fisher information matrix of the visible marginal, ``Cov_v[E(T | v)]`` (made by :func:`matrix`).

    Exact over all visible states, or an average over visible rows drawn from the model; ``E(T | v)`` is exact.
    """

    of: Of = "visible"

    def __init__(self, machine: Machine, rows: np.ndarray | None = None):
        super().__init__(Layout(machine))
        self._machine = machine
        if rows is None:
            _check_visible_size(machine.layer_sizes)
            n_visible = machine.layer_sizes[0]
            rows = ((np.arange(2**n_visible)[:, None] >> np.arange(n_visible)[None, :]) & 1).astype(np.float64)
            chunks = np.array_split(rows, max(1, len(rows) // 4096))
            log_weights = [enumeration.unnormalised_log_probability(machine, chunk) for chunk in chunks]
            self._probabilities = np.exp(np.concatenate(log_weights) - logsumexp(np.concatenate(log_weights)))
        else:
            enumeration.check_size(machine.layer_sizes[1:], "moments given visible states", "use of='joint'")
            self._probabilities = np.full(len(rows), 1 / len(rows))
            self.diagnostics = MixingDiagnostics.of_rows(len(rows))
        self._rows = rows

    def diagonal_errors(self) -> Float[np.ndarray, " parameters"]:
        """Standard errors of :meth:`diagonal`, from the spread between groups of rows; zero when exact."""
        return self._errors(np.square)

    def eigenvalue_errors(self, vectors: Parameters) -> Float[np.ndarray, " k"]:
        """Standard error of the variance along each direction (see :meth:`FisherMatrix.eigenvalue_errors`)."""
        directions = self.flatten(vectors)
        return self._errors(lambda deviations: (deviations @ directions.T) ** 2)

    def _errors(self, squares: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Standard errors of the means of squared deviations."""
        if self.diagnostics is None:
            return np.zeros(squares(np.zeros((1, self.shape[0]))).shape[1])
        groups = np.array_split(np.arange(len(self._rows)), min(N_GROUPS, len(self._rows)))
        means = [sum(squares(d).sum(axis=0) for d, _ in self._deviations(group)) / len(group) for group in groups]
        return np.std(means, axis=0, ddof=1) / math.sqrt(len(means))

    def _dense(self) -> np.ndarray:
        covariance = np.zeros(self.shape)
        for deviations, probabilities in self._deviations(np.arange(len(self._rows))):
            total_covariance.add_outer_products(covariance, deviations, probabilities)
        return covariance

    @cached_property
    def _mean(self) -> np.ndarray:
        if self.diagnostics is None:
            return self.flatten(enumeration.moments(self._machine).values.as_parameters())
        return sum(p @ statistics for statistics, p in self._statistics(np.arange(len(self._rows))))

    def _deviations(self, numbers: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return ((statistics - self._mean, p) for statistics, p in self._statistics(numbers))

    def _statistics(self, numbers: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """``E(T | v)`` of rows and their probabilities, in equal chunks but for the last."""
        for chunk in np.array_split(numbers, max(1, len(numbers) // 4096)):
            rows = self._rows[chunk].astype(np.float64)
            posterior = enumeration.posterior_statistics(self._machine, rows)
            yield self.flatten(posterior.as_parameters()), self._probabilities[chunk]

    def _times(self, vector: np.ndarray) -> np.ndarray:
        return self.dense() @ vector


def matrix(machine: Machine, source: Source, *, of: Of = "joint") -> FisherMatrix:
    """Full Fisher information matrix of the existing synapses and the biases.

    Parameters
    ----------
    machine
        The model, of any depth.
    source
        ``"exact"``: at most 20 units in the smaller block of layers, float64. Or states drawn from the model, one
        array ``(rows, n_l)`` of 0 and 1 per layer, at least two rows, float32: only the smaller block's states are
        used, the other block enters by its probabilities given them, which has the same mean and less variance.
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
    if of not in ("joint", "visible"):
        raise ValueError(f"of must be 'joint' or 'visible', got {of!r}")
    if isinstance(source, str) and source == "exact":
        if of == "visible":
            return VisibleFisherMatrix(machine)
        return JointFisherMatrix(machine, total_covariance.every_state(machine), enumeration.moments(machine))
    _check_states(machine, source)
    if of == "visible":
        return VisibleFisherMatrix(machine, np.asarray(source[0]))
    given = total_covariance.drawn_states(machine, tuple(np.asarray(s) for s in source))
    joined = given.states.reshape(-1, given.states.shape[-1])[: len(source[0])]
    moments = Moments.of_states(total_covariance.conditional_means(given.parameters, joined))
    return JointFisherMatrix(machine, given, moments)


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


def _check_visible_size(layer_sizes: tuple[int, ...]) -> None:
    hidden = layer_sizes[1:]
    n_units = layer_sizes[0] + min(sum(hidden[0::2]), sum(hidden[1::2]))
    if n_units > enumeration.MAX_UNITS:
        raise ValueError(
            f"of='visible' needs a machine with at most {enumeration.MAX_UNITS} units in the visible layer and the "
            f"smaller block of the hidden layers together, this one has {n_units} (layer sizes {layer_sizes}); "
            "use states in place of 'exact', or of='joint'"
        )


def _check_states(machine: Machine, source: Any) -> None:
    if not isinstance(source, Sequence) or isinstance(source, str):
        found = repr(source) if isinstance(source, str) else type(source).__name__
        raise ValueError(
            f"source must be 'exact' or states of the model, one array (rows, units) per layer, got {found}; "
            "moments do not tell how pairs of synapses vary together"
        )
    shapes = [np.shape(s) for s in source]
    n_rows = shapes[0][0] if shapes and shapes[0] else 0
    if shapes != [(n_rows, n) for n in machine.layer_sizes] or n_rows < 2:
        raise ValueError(
            f"states must be one array (rows, units) per layer with {machine.layer_sizes} units and the same two or "
            f"more rows, got shapes {shapes}; draw them from this machine, and join draws and chains into rows"
        )
    if not all(((s == 0) | (s == 1)).all() for s in map(np.asarray, source)):
        raise ValueError(
            "states must be 0 or 1, got other values; pass drawn states, the conditional means are taken from them here"
        )
