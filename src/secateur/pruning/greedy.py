"""Greedy removal by the true loss: one synapse at a time, always the one without which the data lose least."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from jaxtyping import Float, Int
from scipy.special import expit, logsumexp

from secateur.likelihood.removal_loss import log_mean_factor, row_averages, synapse_losses
from secateur.model import checked, enumeration
from secateur.model.machine import Machine
from secateur.pruning.removal import Masks

_MOST_STORED = 2**25
"""Inputs of one hidden layer in all states that are kept in memory: 256 MiB."""


class GreedyPath(NamedTuple):
    """What greedy removal took, in order.

    Attributes
    ----------
    masks
        Synapses that stay after the last step, one array per weight matrix.
    order
        Number of the weight matrix, lower and upper unit of every removed synapse, ``(steps, 3)``.
    losses
        Loss of mean ``log p(v)`` of the rows in nats after every step, against the machine as it was, ``(steps,)``.
    """

    masks: Masks
    order: Int[np.ndarray, "steps 3"]
    losses: Float[np.ndarray, " steps"]


def greedy_removal(machine: Machine, visible: Any, n_removed: int | Sequence[int]) -> GreedyPath:
    """Remove one synapse at a time, the one of least true loss of mean ``log p(v)``, measured anew after every step.

    The loss of every remaining synapse is exact at every step
    (:func:`secateur.likelihood.removal_loss.synapse_losses`). A rule that knows the loss of single synapses can do no
    better without a look ahead, but what goes need not be the best set. Units that lose all synapses on a side stay, so
    that the number is exact. For one hidden layer a step changes the input of one unit: half of the synapses of 13 x 70
    units take seconds. Deeper machines, and those whose smaller side has so many states that inputs do not fit into
    memory, are summed anew for every step.

    Parameters
    ----------
    machine
        A single machine that can be enumerated, whose hidden layers can be summed.
    visible
        Rows of the data ``(rows, n_0)``, 0/1.
    n_removed
        Synapses to remove from every weight matrix, a number for each; one number for a machine with one.

    Raises
    ------
    ValueError
        If the machine is too large, the rows do not fit, or there are not so many synapses.
    """
    machine = checked.model(machine, single=True, hidden=True)
    left = _numbers(machine, n_removed)
    rows = checked.host_rows(visible, machine.layer_sizes[0])
    enumeration.check_size(machine.layer_sizes, "greedy removal", "judge by rules alone (against_greedy=False)")
    rows, counts = np.unique(rows, axis=0, return_counts=True)
    n_other = max(machine.layer_sizes)
    quick = machine.n_layers == 2 and 2 ** min(machine.layer_sizes) * n_other <= _MOST_STORED
    state: _Removable = (_OneHiddenLayer if quick else _Summed)(machine, rows, counts / counts.sum())
    masks = [np.array(mask) for mask in machine.masks]
    order, losses, total = [], [], 0.0
    while any(left):
        found = state.losses()
        candidates = [
            np.where(mask, loss, np.inf) if number else np.full(mask.shape, np.inf)
            for mask, loss, number in zip(masks, found, left, strict=True)
        ]
        matrix = int(np.argmin([loss.min(initial=np.inf) for loss in candidates]))
        i, j = np.unravel_index(int(candidates[matrix].argmin()), candidates[matrix].shape)
        total += float(candidates[matrix][i, j])
        masks[matrix][i, j] = False
        left[matrix] -= 1
        state.remove(matrix, int(i), int(j))
        order.append((matrix, int(i), int(j)))
        losses.append(total)
    return GreedyPath(tuple(masks), np.array(order, int).reshape(-1, 3), np.array(losses, float))


def _numbers(machine: Machine, n_removed: int | Sequence[int]) -> list[int]:
    given = [n_removed] if np.ndim(n_removed) == 0 else list(n_removed)  # type: ignore[arg-type]
    numbers = [checked.count("n_removed", number, 0) for number in given]
    counts = machine.synapse_counts
    if len(numbers) != len(counts) or any(n > there for n, there in zip(numbers, counts, strict=False)):
        raise ValueError(
            f"n_removed must be one number per weight matrix of at most {', '.join(map(str, counts))} synapses, got "
            f"{n_removed!r}; remove fewer"
        )
    return numbers


class _Removable(Protocol):
    """A machine from which single synapses go."""

    def __init__(self, machine: Machine, rows: np.ndarray, frequencies: np.ndarray): ...

    def losses(self) -> Sequence[np.ndarray]:
        """Loss of mean log p in nats by the removal of every single synapse."""

    def remove(self, matrix: int, i: int, j: int) -> None:
        """Remove one."""


class _Summed:
    """Any machine, summed anew at every step."""

    def __init__(self, machine: Machine, rows: np.ndarray, frequencies: np.ndarray):
        self._machine, self._rows, self._frequencies = machine, rows, frequencies

    def losses(self) -> Sequence[np.ndarray]:
        averages = row_averages(self._machine, self._rows, self._frequencies, double=True)
        moments = enumeration.moments(self._machine)
        with moments.precision():
            return [np.asarray(loss) for loss in synapse_losses(self._machine, averages, moments)]

    def remove(self, matrix: int, i: int, j: int) -> None:
        masks = [np.array(mask) for mask in self._machine.masks]
        masks[matrix][i, j] = False
        self._machine = self._machine.with_masks(masks)


class _OneHiddenLayer:
    """One hidden layer: inputs of the larger side in all states of the smaller, of which a removal changes one row.

    ``given``: 0/1 states of the smaller side. ``inputs``, ``means``, ``terms``: total inputs of the units of the other
    side in these states, probabilities that they are active, and their part of the log weight of the states.
    """

    def __init__(self, machine: Machine, rows: np.ndarray, frequencies: np.ndarray):
        self._weights = np.asarray(machine.weights[0], float).copy()
        visible_bias, self._hidden_bias = (np.asarray(bias, float) for bias in machine.biases)
        self._rows, self._frequencies = rows.astype(float), frequencies
        self._visible_given = len(visible_bias) <= len(self._hidden_bias)
        biases = (visible_bias, self._hidden_bias)[:: 1 if self._visible_given else -1]
        n_given = len(biases[0])
        self._given = ((np.arange(2**n_given)[:, None] >> np.arange(n_given)[None, :]) & 1).astype(float)
        from_given = self._weights.T if self._visible_given else self._weights
        self._inputs = biases[1][:, None] + from_given @ self._given.T
        self._means = expit(self._inputs)
        self._log_weights = self._given @ biases[0] + np.logaddexp(0, self._inputs).sum(axis=0)
        self._of_rows = np.zeros(self._weights.shape)
        for unit in range(len(self._hidden_bias)):
            self._average_over_rows(unit)

    def losses(self) -> Sequence[np.ndarray]:
        probabilities = np.exp(self._log_weights - logsumexp(self._log_weights))
        coincidences = self._means @ (self._given * probabilities[:, None])
        if self._visible_given:
            coincidences = coincidences.T
        with jax.enable_x64(True):
            return [np.asarray(log_mean_factor(self._weights, coincidences)) - self._of_rows]

    def remove(self, matrix: int, i: int, j: int) -> None:
        own, other = (i, j) if self._visible_given else (j, i)
        before = np.logaddexp(0, self._inputs[other])
        self._inputs[other] -= self._weights[i, j] * self._given[:, own]
        self._means[other] = expit(self._inputs[other])
        self._log_weights += np.logaddexp(0, self._inputs[other]) - before
        self._weights[i, j] = 0
        self._average_over_rows(j)

    def _average_over_rows(self, unit: int) -> None:
        """``<log(1 - q_row (1 - e^-w))>`` of all synapses of a hidden unit."""
        column = self._weights[:, unit]
        active = expit(self._hidden_bias[unit] + self._rows @ column)
        with jax.enable_x64(True):
            terms = np.asarray(log_mean_factor(column[None, :], self._rows * active[:, None]))
        self._of_rows[:, unit] = self._frequencies @ terms
