"""Parameters of a pairwise model, and its energy."""

from __future__ import annotations

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from secateur.model import checked
from secateur.model.arrays import AnyArray
from secateur.model.machine import States


class PairwiseModel(eqx.Module):
    """A fully visible Boltzmann machine of 0/1 units; immutable, and a JAX pytree.

    Parameters
    ----------
    biases
        ``(units,)``, nats.
    couplings
        ``(units, units)``, nats; symmetric with a zero diagonal. The independent model has zeros only.

    Raises
    ------
    ValueError
        If the shapes do not fit, the couplings are not symmetric with a zero diagonal, or a parameter is not finite.
    """

    biases: Float[Array, " units"]
    couplings: Float[Array, "units units"]

    def __init__(self, biases: ArrayLike, couplings: ArrayLike):
        host_biases, host_couplings = checked.finite(biases, "biases"), checked.finite(couplings, "couplings")
        _check(host_biases, host_couplings)
        self.biases, self.couplings = jax.device_put((host_biases, host_couplings))

    @classmethod
    def of_arrays(cls, biases: AnyArray, couplings: AnyArray) -> PairwiseModel:
        """A model past the checks, which need concrete arrays; for traced code."""
        model = object.__new__(cls)
        object.__setattr__(model, "biases", biases)
        object.__setattr__(model, "couplings", couplings)
        return model

    @property
    def n_units(self) -> int:
        """Number of units."""
        return self.biases.shape[0]

    @property
    def n_parameters(self) -> int:
        """Biases and couplings, ``n (n + 1) / 2``."""
        return self.n_units * (self.n_units + 1) // 2

    def total_input(self, states: Float[AnyArray, "rows units"]) -> Float[Array, "rows units"]:
        """Log odds (nats) of each unit being 1 given all others."""
        return self.biases[None, :] + states @ self.couplings

    @property
    def layer_sizes(self) -> tuple[int]:
        """Number of units of the one layer there is."""
        return (self.n_units,)

    @property
    def bias_terms(self) -> tuple[Float[Array, " units"]]:
        """Biases of every layer, as a machine has them."""
        return (self.biases,)

    def energy(self, states: States) -> Float[Array, " rows"]:
        """Energy ``-log p(s) - log Z`` of each row of the one layer of states, in nats."""
        (rows,) = states
        return -(rows @ self.biases) - 0.5 * ((rows @ self.couplings) * rows).sum(axis=1)


def check_states(states: AnyArray, n_units: int | None = None, what: str = "states") -> np.ndarray:
    """0/1 states ``(rows, units)`` as uint8.

    Raises
    ------
    ValueError
        If they are no matrix of at least one row and unit, hold other values than 0 and 1, or have another number of
        units.
    """
    rows = np.asarray(states)
    if rows.ndim != 2 or 0 in rows.shape:
        raise ValueError(
            f"{what} must be a matrix (bins, units) with at least one bin and unit, got shape {rows.shape}"
        )
    if n_units is not None and rows.shape[1] != n_units:
        raise ValueError(
            f"{what} must have the {n_units} units of the model, got {rows.shape[1]}; axes are (bins, units)"
        )
    if rows.dtype != bool and not ((rows == 0) | (rows == 1)).all():
        wrong = rows[(rows != 0) & (rows != 1)][0]
        raise ValueError(f"{what} must be 0 or 1, got {wrong}; clip counts to 1 first")
    return rows.astype(np.uint8)


def _check(biases: np.ndarray, couplings: np.ndarray) -> None:
    n = biases.size
    if biases.ndim != 1 or n == 0 or couplings.shape != (n, n):
        raise ValueError(
            f"biases must have shape (units,) and couplings (units, units), got {biases.shape} and {couplings.shape}; "
            "give one bias per unit and one coupling per pair of units"
        )
    if couplings.diagonal().any() or not np.array_equal(couplings, couplings.T):
        raise ValueError(
            "couplings must be symmetric with a zero diagonal; give J + J.T for an upper triangle J, and put the "
            "diagonal into the biases (s_i^2 = s_i)"
        )
