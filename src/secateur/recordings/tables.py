"""The tables that Fisher information is told in (:class:`secateur.recordings.stiffness.Stiffness`)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from secateur.fisher.full_matrix import FisherMatrix
from secateur.recordings.intervals import Intervals
from secateur.recordings.parameters import Convention, ParameterList


def parameter_table(
    parameters: ParameterList,
    convention: Convention,
    information: np.ndarray,
    error: np.ndarray,
    limits: Intervals,
    vectors: np.ndarray,
) -> pd.DataFrame:
    """One row per coupling and bias."""
    names = np.array(parameters.unit_ids, dtype=object)
    is_bias = parameters.first == parameters.second
    table = pd.DataFrame(
        {
            "kind": np.where(is_bias, "bias", "coupling"),
            "first_unit": names[parameters.first],
            "second_unit": np.where(is_bias, "", names[parameters.second]),
            "value": parameters.in_convention(convention),
            "fisher_information": information,
            "sampling_error": error,
            "low": limits.low,
            "high": limits.high,
        }
    )
    table["rank"] = table.groupby("kind")["fisher_information"].rank(ascending=False, method="first").astype(int)
    return table.assign(**{f"direction_{k + 1}": vector for k, vector in enumerate(vectors)})


def unit_table(
    parameters: ParameterList, rates: np.ndarray, information: np.ndarray, limits: Intervals
) -> pd.DataFrame:
    """One row per unit."""
    biases = slice(parameters.n_couplings, None)
    table = pd.DataFrame(
        {
            "unit": np.array(parameters.unit_ids, dtype=object),
            "layer": parameters.layers,
            "rate": rates.astype(np.float64),
            "bias_information": information[biases],
            "bias_information_low": limits.low[biases],
            "bias_information_high": limits.high[biases],
            "information": parameters.shares().ceil() @ information,
            "information_low": limits.unit_low,
            "information_high": limits.unit_high,
        }
    )
    table["rank"] = table["information"].rank(ascending=False, method="first").astype(int)
    return table


def eigenvalue_table(
    matrix: FisherMatrix,
    parameters: ParameterList,
    convention: Convention,
    values: np.ndarray,
    vectors: np.ndarray,
    trace: float,
) -> pd.DataFrame:
    """One row per eigenvalue, the stiffest with standard errors."""
    # The variance along u in the convention is that along A^T u in the matrix of 0/1 states.
    directions = (parameters.change(convention).T @ vectors.T).T
    errors = np.full(len(values), 0.0 if matrix.diagnostics is None else np.nan)
    errors[: len(vectors)] = matrix.eigenvalue_errors(matrix.split(directions))
    return pd.DataFrame(
        {
            "number": np.arange(1, len(values) + 1),
            "eigenvalue": values,
            "standard_error": errors,
            "share": values / trace,
        }
    )


def loading_table(parameters: ParameterList, values: np.ndarray, vectors: np.ndarray) -> pd.DataFrame:
    """One row per stiff direction and unit."""
    loadings = (parameters.shares() @ (vectors**2).T).T
    n = parameters.n_units
    return pd.DataFrame(
        {
            "direction": np.repeat(np.arange(1, len(vectors) + 1), n),
            "eigenvalue": np.repeat(values[: len(vectors)], n),
            "unit": np.tile(np.array(parameters.unit_ids, dtype=object), len(vectors)),
            "layer": np.tile(parameters.layers, len(vectors)),
            "loading": loadings.ravel(),
            "bias_entry": vectors[:, parameters.n_couplings :].ravel(),
        }
    )
