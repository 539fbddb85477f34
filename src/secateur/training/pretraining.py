"""Greedy layer-wise pretraining of deep machines (Salakhutdinov & Hinton 2009, section 3.1)."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from secateur.model import checked, units
from secateur.model.arrays import AnyArray, Keys
from secateur.model.machine import Machine, Parameters
from secateur.model.randomness import child_key
from secateur.model.trials import keys_for, n_trials
from secateur.training.checkpoint import TrainingPart
from secateur.training.history import Callback, History
from secateur.training.loop import check_machine, trained
from secateur.training.settings import TrainingSettings


def pretrain(
    machine: Machine,
    visible: AnyArray,
    settings: TrainingSettings,
    key: AnyArray,
    *,
    record_history: bool = True,
    callback: Callback | None = None,
    checkpoint: TrainingPart | None = None,
) -> tuple[Machine, list[History]]:
    """Train each weight matrix in turn as a machine with one hidden layer, by contrastive divergence.

    Input that will come from the layer missing on the other side is made up for by doubling: the first matrix sees
    doubled input from below, the last doubled input from above, those between doubled input both ways, which is
    a machine whose weights are halved afterwards. A hidden layer's bias is the mean of what its two machines learnt.

    Parameters as of :func:`secateur.training.train`; a machine with one hidden layer is simply trained by 'cd'. The
    callback is called with the machine of the two layers that are being trained.

    Returns
    -------
    machine, histories
        The pretrained machine and one history per weight matrix.

    Raises
    ------
    ValueError, TypeError, TrainingDiverged
        As :func:`secateur.training.train`.
    """
    check_machine(machine)
    trials = n_trials(machine)
    key = checked.key(key, trials)
    rows = checked.rows(visible, machine.layer_sizes[0], n_trials=trials, probabilities=True)
    return pretrained(
        machine, rows, settings, key, record_history=record_history, callback=callback, checkpoint=checkpoint
    )


def pretrained(
    machine: Machine,
    visible: Float[AnyArray, "*trials rows visible"],
    settings: TrainingSettings,
    key: Keys,
    *,
    checkpoint: TrainingPart | None = None,
    **how: Any,
) -> tuple[Machine, list[History]]:
    """:func:`pretrain` on float32 rows that have been checked; ``how`` as of :func:`secateur.training.loop.run`."""
    settings = settings.model_copy(update={"method": "cd", "sampler": "gibbs"})
    n_matrices = len(machine.weights)
    keys = keys_for(machine, key)
    weights, histories = [], []
    biases: list[list[Array]] = [[] for _ in range(n_matrices + 1)]
    data, lower_bias = visible, machine.biases[0]
    for matrix in range(n_matrices):
        up = 2.0 if matrix < n_matrices - 1 else 1.0
        down = 2.0 if matrix > 0 else 1.0
        state, history = trained(
            machine.pair(matrix, lower_bias),
            data,
            settings if matrix == 0 else settings.model_copy(update={"redraw": False}),
            child_key(keys, matrix),
            input_scales=(up, down),
            checkpoint=None if checkpoint is None else checkpoint.part(f"matrix {matrix}"),
            **how,
        )
        pair = state.machine
        histories.append(history)
        weights.append(pair.weights[0])
        biases[matrix].append(pair.biases[0])
        biases[matrix + 1].append(pair.biases[1])
        data = units.mean(jnp.expand_dims(pair.biases[1], -2) + up * (data @ pair.weights[0]))
        lower_bias = pair.biases[1]
    merged = tuple(sum(found) / len(found) for found in biases)
    return machine.with_parameters(Parameters(tuple(weights), merged)), histories
