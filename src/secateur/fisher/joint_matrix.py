"""The Fisher information matrix of the joint model, ``Cov[T]``, over all states or over drawn ones."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from secateur.fisher import total_covariance
from secateur.fisher.diagonal import error_of_variance
from secateur.fisher.matrix_type import FisherMatrix, Of
from secateur.fisher.total_covariance import GivenStates, Layout
from secateur.model import units
from secateur.model.machine import Machine, Parameters
from secateur.model.moments import N_GROUPS, Moments


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
        return error_of_variance(self.flatten(self._mean), self.flatten(self._moments.standard_errors.as_parameters()))

    def eigenvalue_errors(self, vectors: Parameters) -> Float[np.ndarray, " k"]:
        """Standard error of the variance along each direction (see :meth:`FisherMatrix.eigenvalue_errors`)."""
        if self.diagnostics is None:
            return super().eigenvalue_errors(vectors)
        errors = []
        for index in range(len(vectors.biases[0])):
            direction = jax.tree.map(lambda a, i=index: jnp.asarray(a[i], self._dtype), vectors)
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
