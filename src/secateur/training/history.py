"""Cheap per-epoch measures of how training goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from secateur.likelihood.rows import free_energy_of, pseudo_likelihood_of
from secateur.model import mean_field, units
from secateur.model.arrays import AnyArray
from secateur.model.machine import Machine

N_MEASURED = 500
"""Rows measured after every epoch; few enough to cost little."""


@dataclass(frozen=True)
class History:
    """Measures after every epoch; arrays ``(epochs,)``, or ``(epochs, trials)`` for stacked trials.

    Of more than 500 rows a share of 500 is measured, drawn at random once for the whole training; so of held-out rows.

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


Callback = Callable[[int, Machine, History], None]
"""Called after every epoch with the number of finished epochs, the machine, and the history so far."""


def share_of_rows(rows: Float[AnyArray, "rows visible"], key: PRNGKeyArray) -> Float[Array, "share visible"]:
    """At most ``N_MEASURED`` rows drawn at random without repetition, in their order."""
    if rows.shape[0] <= N_MEASURED:
        return jnp.asarray(rows)
    chosen = jax.random.permutation(key, rows.shape[0])[:N_MEASURED]
    return jnp.asarray(rows)[jnp.sort(chosen)]


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
    gap = jnp.asarray(jnp.nan, jnp.float32)
    if held_out is not None:
        gap = free_energy_of(machine, held_out).mean() - free_energy_of(machine, rows).mean()
    return {
        "reconstruction_error": jnp.abs(rows - reconstruction).mean(),
        "pseudo_likelihood": pseudo_likelihood_of(machine, rows, key),
        "free_energy_gap": gap,
    }
