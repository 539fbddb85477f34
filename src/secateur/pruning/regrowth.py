"""Synapses that come back: at random, or where the likelihood would gain most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from secateur.fisher import Source, moments_from
from secateur.model import checked, mean_field
from secateur.model.arrays import AnyArray
from secateur.model.machine import Machine
from secateur.model.moments import mean_statistics


def regrow(
    machine: Machine,
    allowed: Sequence[AnyArray],
    n_synapses: Sequence[int],
    key: PRNGKeyArray,
    gain: Sequence[AnyArray] | None = None,
) -> Machine:
    """Give a machine new synapses of weight 0 until every weight matrix has so many.

    The distribution does not change until they learn (Mocanu et al. 2018 choose at random; Evci et al. 2020 by the
    magnitude of the gradient).

    Parameters
    ----------
    machine
        A single machine.
    allowed
        Where synapses may be, one boolean array in the shape of each weight matrix.
    n_synapses
        Synapses of each weight matrix afterwards; where fewer are allowed, all of them.
    key
        Random key: of the choice, or of ties.
    gain
        Those of the largest ``|gain|`` come back, one array per weight matrix (:func:`weight_gradient`). ``None``: at
        random.

    Raises
    ------
    ValueError
        If an array does not fit.
    """
    machine = checked.model(machine, single=True, hidden=True)
    places = checked.masks(allowed, machine.weights)
    masks = []
    for matrix, (there, may) in enumerate(zip(machine.masks, places, strict=True)):
        mask = np.array(there)
        absent = np.flatnonzero(np.asarray(may) & ~mask)
        order = np.asarray(jax.random.permutation(jax.random.fold_in(key, matrix), len(absent)))
        if gain is not None:
            order = order[np.argsort(-np.abs(np.asarray(gain[matrix])).ravel()[absent[order]], kind="stable")]
        mask.ravel()[absent[order[: max(0, n_synapses[matrix] - int(mask.sum()))]]] = True
        masks.append(jax.device_put(mask))
    return eqx.tree_at(lambda m: m.masks, machine, tuple(masks))


def weight_gradient(machine: Machine, visible: Any, source: Source) -> tuple[np.ndarray, ...]:
    """Gradient of the mean log-likelihood of rows by every weight, absent synapses included (nats per weight).

    ``<s_i s_j>`` given the rows less that of the model; hidden units by mean-field inference, which is exact for one
    hidden layer.

    Parameters
    ----------
    machine
        A single machine.
    visible
        Rows ``(rows, n_0)``, 0/1 or probabilities.
    source
        Where the averages of the model come from (:data:`secateur.fisher.Source`).
    """
    rows = checked.rows(visible, machine.layer_sizes[0], probabilities=True)
    of_rows = mean_statistics(mean_field.infer(machine, rows)).coincidences
    of_model = moments_from(machine, source).coincidences
    return tuple(
        np.asarray(data, float) - np.asarray(model, float) for data, model in zip(of_rows, of_model, strict=True)
    )
