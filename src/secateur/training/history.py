"""Cheap per-epoch measures of how training goes."""

from __future__ import annotations

from dataclasses import dataclass, fields

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from secateur.likelihood.partition import free_energy, pseudo_likelihood
from secateur.model import mean_field, units
from secateur.model.arrays import AnyArray
from secateur.model.machine import Machine


@dataclass(frozen=True)
class History:
    """Measures after every epoch; arrays ``(epochs,)``, or ``(epochs, trials)`` for stacked trials.

    Attributes
    ----------
    reconstruction_error
        Mean absolute difference between visible states and their probabilities given the inferred hidden layers.
    pseudo_likelihood
        Mean log pseudo-likelihood per row in nats (:func:`secateur.likelihood.pseudo_likelihood`).
    free_energy_gap
        Mean free energy of held-out rows minus that of training rows, in nats; it grows when the machine overfits.
        NaN without held-out rows.
    """

    reconstruction_error: Float[np.ndarray, "epochs ..."]
    pseudo_likelihood: Float[np.ndarray, "epochs ..."]
    free_energy_gap: Float[np.ndarray, "epochs ..."]

    @classmethod
    def of_epochs(cls, epochs: list[dict[str, np.ndarray]]) -> History:
        """History from the measures of each epoch."""
        names = [field.name for field in fields(cls)]
        return cls(**{name: np.array([epoch[name] for epoch in epochs]) for name in names})


def measure(
    machine: Machine,
    rows: Float[AnyArray, "rows visible"],
    held_out: Float[AnyArray, "held_out visible"] | None,
    key: PRNGKeyArray,
    input_scales: tuple[float, float],
) -> dict[str, Array]:
    """The measures of :class:`History` for one machine (inputs scaled as in pretraining enter the reconstruction)."""
    up, down = input_scales
    if machine.n_layers == 2:
        first_hidden = units.mean(machine.biases[1][None, :] + up * machine.input_from_below((rows, rows), 1))
    else:
        first_hidden = mean_field.infer(machine, rows)[1]
    reconstruction = units.mean(machine.biases[0][None, :] + down * machine.input_from_above((rows, first_hidden), 0))
    gap = jnp.asarray(jnp.nan)
    if held_out is not None:
        gap = free_energy(machine, held_out).mean() - free_energy(machine, rows).mean()
    return {
        "reconstruction_error": jnp.abs(rows - reconstruction).mean(),
        "pseudo_likelihood": pseudo_likelihood(machine, rows, key),
        "free_energy_gap": gap,
    }
