"""What a change of a machine costs: mean log p of the data before it less that after it, exact or annealed."""

from __future__ import annotations

import math
import warnings
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from secateur.likelihood.comparison import rates_of
from secateur.likelihood.partition import log_partition
from secateur.likelihood.rows import log_probability, log_probability_bound
from secateur.model import checked, enumeration
from secateur.model.machine import Machine
from secateur.model.trust import NotToBeTrusted, Verdict


class MeanLogProbability(NamedTuple):
    """Mean ``log p(v)`` of rows, or why there is none.

    Attributes
    ----------
    value
        Nats per row; NaN where log Z is not to be trusted.
    standard_error
        Of log Z, nats; 0 where exact. The rows are taken as they are.
    quantity
        What the value is, in words.
    verdict
        Whether log Z can be trusted.
    """

    value: float
    standard_error: float
    quantity: str
    verdict: Verdict


class Loss(NamedTuple):
    """Loss of mean ``log p(v)`` of the same rows; positive where the data have become less likely.

    Attributes
    ----------
    value
        Nats per row; NaN where it is withheld.
    standard_error
        Nats; 0 where exact.
    quantity
        What was compared, in words.
    verdict
        Whether both sides can be trusted; if not, the value is withheld.
    """

    value: float
    standard_error: float
    quantity: str
    verdict: Verdict

    @classmethod
    def between(cls, before: MeanLogProbability, after: MeanLogProbability) -> Loss:
        """The first less the second."""
        error = math.hypot(before.standard_error, after.standard_error)
        words = before.quantity if before.quantity == after.quantity else f"{before.quantity} less {after.quantity}"
        return cls(before.value - after.value, error, words, before.verdict.joined(after.verdict))


def mean_log_probability(machine: Machine, visible: Any, key: PRNGKeyArray | None = None) -> MeanLogProbability:
    """Mean ``log p(v)`` of rows in nats: exact where the machine can be summed, else with annealed log Z.

    Of deep machines whose hidden layers cannot be summed it is the variational lower bound, and says so.

    Parameters
    ----------
    machine
        The machine.
    visible
        Rows ``(rows, n_0)``, 0/1.
    key
        Random key of annealing; not needed where the sum is exact.

    Raises
    ------
    ValueError
        If the rows do not fit, or ``key`` is missing.
    """
    machine = checked.model(machine, single=True, hidden=True)
    rows = checked.host_rows(visible, machine.layer_sizes[0])
    different, counts = np.unique(rows, axis=0, return_counts=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotToBeTrusted)  # the verdict goes with the value
        log_z = log_partition(machine, key=key, base_rates=rates_of(rows), visible=rows)
    bound = machine.n_layers > 2 and not enumeration.can_be_enumerated(machine.layer_sizes[1:])
    how = {"exact": "exact", "ais": "annealed", "tempering": "tempered"}[log_z.method]
    quantity = "lower bound on log p(v)" if bound else f"{how} log p(v)"
    if not log_z.verdict.trusted:
        return MeanLogProbability(math.nan, math.nan, quantity, log_z.verdict)
    values = (log_probability_bound if bound else log_probability)(machine, different, log_z)
    return MeanLogProbability(float(values @ counts / counts.sum()), log_z.standard_error, quantity, log_z.verdict)


def loss_of(machine: Machine, changed: Machine, visible: Any, key: PRNGKeyArray | None = None) -> Loss:
    """What a change costs, such as the removal of any set of synapses, in nats per row of the data.

    Exact where both machines can be summed. Else log Z is annealed with a key of its own for each; where either is not
    to be trusted the loss is withheld (NaN), and the verdict says why.

    Parameters
    ----------
    machine, changed
        The machine before and after the change (``machine.with_masks(masks)``, a pruned or a retrained machine).
    visible, key
        As of :func:`mean_log_probability`.

    Raises
    ------
    ValueError
        As :func:`mean_log_probability`.
    """
    keys = (None, None) if key is None else tuple(jax.random.split(checked.key(key)))
    before, after = (mean_log_probability(m, visible, k) for m, k in zip((machine, changed), keys, strict=True))
    return Loss.between(before, after)
