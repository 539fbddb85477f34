"""Whether a fit has learnt anything, told by a warning of its own class."""

from __future__ import annotations

import math
import warnings

import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from secateur import likelihood
from secateur.estimator.inputs import can_be_enumerated, top_layer
from secateur.likelihood.comparison import beside_independent_units
from secateur.model.arrays import AnyArray
from secateur.model.machine import Machine
from secateur.model.trust import PoorFit

_ROWS, _CHAINS, _TEMPERATURES = 500, 64, 200
_SAME = 1e-3
"""Features whose probabilities differ by less over the rows tell nothing."""


def check_fit(machine: Machine, rows: Float[Array, "rows visible"], rates: AnyArray, key: PRNGKeyArray) -> None:
    """Warn if a machine is no better than independent units on its own rows, or most features are the same for all.

    At most 500 rows are looked at. A machine too large to be summed is annealed briefly and one way,
    which flatters it: what fails even so has learnt nothing.
    """
    few = share(rows)
    log_z = brief_log_partition(machine, rates, key)
    found = beside_independent_units(machine, few, rates, log_z)
    if not found.better:
        warnings.warn(
            f"the machine is no better than independent units on the rows it was trained on ({found}); train for more "
            "epochs or at another learning rate, and if that does not help, the columns may be independent",
            PoorFit,
            stacklevel=3,
        )
    same = float((np.ptp(np.asarray(top_layer(machine, few)), axis=0) < _SAME).mean())
    if len(few) > 1 and same > 0.5:
        warnings.warn(
            f"{same:.0%} of the features are the same for all rows; lower the learning rate, set max_norm (6 is "
            "usual), or take fewer hidden units",
            PoorFit,
            stacklevel=3,
        )


def share(rows: Float[AnyArray, "rows visible"]) -> Float[AnyArray, "share visible"]:
    """At most 500 rows, evenly spread."""
    return rows[:: max(1, len(rows) // _ROWS)][:_ROWS]


def brief_log_partition(machine: Machine, rates: AnyArray, key: PRNGKeyArray) -> likelihood.LogPartition:
    """``log Z``, exact where it can be summed, else annealed briefly and one way; no verdict."""
    if can_be_enumerated(machine):
        return likelihood.log_partition(machine, "exact")
    base = likelihood.base_bias_of(rates)
    weights = likelihood.annealed_log_weights(machine, base, key, n_chains=_CHAINS, n_temperatures=_TEMPERATURES)
    value = float(jax.nn.logsumexp(weights)) - math.log(_CHAINS)
    return likelihood.LogPartition(value, 0.0, n_chains=_CHAINS, n_temperatures=_TEMPERATURES, method="ais")
