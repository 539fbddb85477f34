"""The Fisher information matrix of the visible marginal, ``Cov_v[E(T | v)]``: what visible units alone tell."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp

from secateur.fisher import total_covariance
from secateur.fisher.matrix_type import FisherMatrix, Of
from secateur.fisher.total_covariance import Layout
from secateur.model import enumeration
from secateur.model.machine import Machine, Parameters
from secateur.model.moments import N_GROUPS
from secateur.sampling.diagnostics import MixingDiagnostics


class VisibleFisherMatrix(FisherMatrix):
    """Fisher information matrix of the visible marginal, ``Cov_v[E(T | v)]`` (made by :func:`matrix`).

    Exact over all visible states, or an average over visible rows drawn from the model; ``E(T | v)`` is exact.
    """

    of: Of = "visible"

    def __init__(self, machine: Machine, rows: np.ndarray | None = None, diagnostics: MixingDiagnostics | None = None):
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
            self.diagnostics = diagnostics
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


def _check_visible_size(layer_sizes: tuple[int, ...]) -> None:
    hidden = layer_sizes[1:]
    n_units = layer_sizes[0] + min(sum(hidden[0::2]), sum(hidden[1::2]))
    if n_units > enumeration.MAX_UNITS:
        raise ValueError(
            f"of='visible' needs a machine with at most {enumeration.MAX_UNITS} units in the visible layer and the "
            f"smaller block of the hidden layers together, this one has {n_units} (layer sizes {layer_sizes}); "
            "use states in place of 'exact', or of='joint'"
        )
