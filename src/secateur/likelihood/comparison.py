"""A machine beside independent units: the same likelihood of the same rows."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from secateur.likelihood.estimates import LogPartition
from secateur.likelihood.rows import log_probability, log_probability_bound
from secateur.model import checked, enumeration
from secateur.model.arrays import AnyArray
from secateur.model.machine import Machine
from secateur.model.trust import Verdict


class Comparison(NamedTuple):
    """Mean log-likelihoods of the same rows, in nats per row.

    Attributes
    ----------
    log_probability
        Of the machine.
    independent
        Of units that do not depend on each other and have the rates given.
    gain
        The first less the second.
    standard_error
        Of the gain: over the rows, and of log Z.
    n_rows
        Rows that were measured.
    quantity
        What the first number is, in words.
    verdict
        Whether log Z can be trusted.
    """

    log_probability: float
    independent: float
    gain: float
    standard_error: float
    n_rows: int
    quantity: str
    verdict: Verdict

    @property
    def better(self) -> bool:
        """Whether the machine is clearly better: by more than two standard errors, and the number can be trusted."""
        return self.verdict.trusted and self.gain > 2 * self.standard_error

    def __str__(self) -> str:
        told = "" if self.verdict.trusted else f"; {self.verdict}"
        return (
            f"{self.quantity} {self.log_probability:.4g}, independent units {self.independent:.4g}: "
            f"gain {self.gain:.3g} +- {self.standard_error:.2g} nats per row{told}"
        )


def rates_of(rows: AnyArray) -> Float[np.ndarray, " visible"]:
    """Mean rate of every column; half an observation more of each state keeps log odds finite."""
    table = np.asarray(rows)
    return (table.sum(axis=0, dtype=np.float64) + 0.5) / (len(table) + 1)


def independent_log_probability(rows: AnyArray, rates: AnyArray) -> Float[np.ndarray, " rows"]:
    """``log p(v)`` of each 0/1 row in nats for independent units that have these rates."""
    table, p = np.asarray(rows, np.float64), np.asarray(rates, np.float64)
    return table @ np.log(p) + (1 - table) @ np.log1p(-p)


def beside_independent_units(machine: Machine, visible: AnyArray, rates: AnyArray, log_z: LogPartition) -> Comparison:
    """The machine's log-likelihood of rows beside that of independent units.

    Parameters
    ----------
    machine
        The machine.
    visible
        0/1 rows ``(rows, n_0)``, best such as the machine was not trained on.
    rates
        Rates of the independent units, ``(n_0,)``, of the rows that the machine was trained on; between 0 and 1.
    log_z
        Result of :func:`secateur.likelihood.log_partition`.

    Raises
    ------
    ValueError, TypeError
        If the rows or rates do not fit the machine.

    Warns
    -----
    NotToBeTrusted
        If ``log_z`` is not to be trusted.
    """
    checked.model(machine, "machine", single=True)
    rows = checked.host_rows(visible, machine.layer_sizes[0])
    p = checked.finite(rates, "rates")
    if p.shape != rows.shape[1:] or not ((p > 0) & (p < 1)).all():
        raise ValueError(
            f"rates must be {rows.shape[1]} numbers between 0 and 1, got shape {p.shape} and values from "
            f"{p.min():.3g} to {p.max():.3g}; give secateur.likelihood.rates_of(rows)"
        )
    bound = machine.n_layers > 2 and not enumeration.can_be_enumerated(machine.layer_sizes)
    of_machine = (log_probability_bound if bound else log_probability)(machine, rows, log_z)
    alone = independent_log_probability(rows, p)
    gains = of_machine - alone
    over_rows = gains.std(ddof=1) / math.sqrt(len(gains)) if len(gains) > 1 else math.inf
    how = "exact" if log_z.method == "exact" else "annealed" if log_z.method == "ais" else "tempered"
    quantity = "lower bound on log p(v)" if bound else f"{how} log p(v)"
    error = math.hypot(over_rows, log_z.standard_error)
    means = float(of_machine.mean()), float(alone.mean()), float(gains.mean())
    return Comparison(*means, float(error), len(rows), quantity, log_z.verdict)
