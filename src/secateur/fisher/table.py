"""Fisher information as a table with one line per synapse and per unit, for spreadsheets and data frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.fisher.diagonal import Source, heuristic, moments_from, variance
from secateur.fisher.unit_information import mean_synapse_information
from secateur.model.machine import Machine

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "kind",
    "layer",
    "i",
    "j",
    "original_i",
    "original_j",
    "parameter",
    "probability",
    "variance_fi",
    "variance_fi_error",
    "heuristic_fi",
    "heuristic_fi_error",
    "mean_synapse_fi",
)


def fisher_table(machine: Machine, source: Source) -> pd.DataFrame:
    """Diagonal Fisher information of the joint model for 0/1 units, one row per existing synapse and per unit.

    Columns: ``kind`` (``synapse`` or ``unit``), ``layer`` (of the unit; of a synapse's lower unit), ``i`` (the unit; a
    synapse's lower unit) and ``j`` (a synapse's upper unit), counted in the machine's arrays, and ``original_i``,
    ``original_j`` as before any pruning; ``parameter`` (weight or bias, nats); ``probability`` that both units, or the
    unit, are 1; variance and heuristic Fisher information per nat^2 with standard errors, 0 where exact (Scholl, Rule
    & Hennig 2021, eq. 6 and 10); ``mean_synapse_fi``, the mean variance Fisher information of the synapses of a hidden
    unit. What a row does not have is NaN.

    Parameters and errors as in :func:`secateur.fisher.variance`.
    """
    import pandas as pd  # slow to import, and needed here only

    moments = moments_from(machine, source)
    by_variance, by_heuristic = variance(machine, moments), heuristic(machine, moments)
    parts = []
    for layer, mask in enumerate(machine.masks):
        i, j = np.nonzero(np.asarray(mask))
        place = (i, j)
        parts.append(
            {"kind": "synapse", "layer": layer, "i": i, "j": j}
            | {"original_j": np.asarray(machine.unit_indices[layer + 1])[j]}
            | _common(machine, layer, i, machine.weights[layer], moments.coincidences[layer], place)
            | _information("variance", by_variance.weights[layer], by_variance.weight_errors[layer], place)
            | _information("heuristic", by_heuristic.weights[layer], by_heuristic.weight_errors[layer], place)
        )
    mean_information = [np.full(machine.layer_sizes[0], np.nan), *mean_synapse_information(machine, moments)]
    for layer, bias in enumerate(machine.biases):
        i = np.arange(bias.size)
        parts.append(
            {"kind": "unit", "layer": layer, "i": i, "mean_synapse_fi": mean_information[layer]}
            | _common(machine, layer, i, bias, moments.rates[layer], i)
            | _information("variance", by_variance.biases[layer], by_variance.bias_errors[layer], i)
        )
    table = pd.concat([pd.DataFrame(part) for part in parts], ignore_index=True)
    return table.reindex(columns=list(COLUMNS)).astype({"j": "Int64", "original_j": "Int64"})


def _common(
    machine: Machine, layer: int, i: np.ndarray, parameter: Any, probability: Any, place: Any
) -> dict[str, Any]:
    return {
        "original_i": np.asarray(machine.unit_indices[layer])[i],
        "parameter": np.asarray(parameter)[place],
        "probability": np.asarray(probability)[place],
    }


def _information(kind: str, values: Any, errors: Any, place: Any) -> dict[str, np.ndarray]:
    return {f"{kind}_fi": np.asarray(values)[place], f"{kind}_fi_error": np.asarray(errors)[place]}
