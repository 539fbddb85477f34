"""The judge of the exact and sampled answers: plain NumPy sums over *all* joint states, in float64.

Written from the definition ``log p(s) = sum_l b_l . s_l + sum_l s_l^T (W_l * M_l) s_{l+1} - log Z`` alone and without
secateur's own enumeration, energy or units. For machines of up to about 14 units.
"""

from __future__ import annotations

import itertools

import numpy as np
from scipy.special import logsumexp


class BruteForce:
    """Every joint state of a machine with its probability.

    ``states``: one 0/1 array ``(2^n, n_l)`` per layer. ``log_weights``: unnormalised log-probabilities in nats.
    """

    def __init__(self, machine, inverse_temperature: float = 1.0):
        weights = [
            np.asarray(w, float) * np.asarray(m, float) for w, m in zip(machine.weights, machine.masks, strict=True)
        ]
        biases = [np.asarray(b, float) for b in machine.biases]
        self.masks = [np.asarray(m) for m in machine.masks]
        joint = np.array(list(itertools.product((0.0, 1.0), repeat=sum(b.size for b in biases))))
        self.states = np.split(joint, np.cumsum([b.size for b in biases])[:-1], axis=1)
        self.log_weights = np.zeros(len(joint))
        for state, bias in zip(self.states, biases, strict=True):
            self.log_weights += (state * bias).sum(axis=1)
        for lower, weight, upper in zip(self.states[:-1], weights, self.states[1:], strict=True):
            self.log_weights += np.einsum("si,ij,sj->s", lower, weight, upper)
        self.log_weights *= inverse_temperature
        self.log_z = float(logsumexp(self.log_weights))
        self.probabilities = np.exp(self.log_weights - self.log_z)

    def statistics(self, probabilities: np.ndarray | None = None) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Rates per layer and coincidences per weight matrix under the model, or under other state probabilities."""
        p = self.probabilities if probabilities is None else probabilities
        rates = [p @ s for s in self.states]
        pairs = zip(self.states[:-1], self.states[1:], strict=True)
        return rates, [np.einsum("s,si,sj->ij", p, lower, upper) for lower, upper in pairs]

    def draws(self, shape: int | tuple[int, ...], rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Independent draws of the joint distribution: one 0/1 float32 array ``(*shape, n_l)`` per layer."""
        chosen = rng.choice(len(self.probabilities), shape, p=self.probabilities)
        return tuple(layer[chosen].astype(np.float32) for layer in self.states)

    def _rows_of(self, row: np.ndarray) -> np.ndarray:
        return (self.states[0] == np.asarray(row)[None, :]).all(axis=1)

    def log_probability(self, visible: np.ndarray) -> np.ndarray:
        """``log p(v)`` of each row in nats."""
        return np.array([logsumexp(self.log_weights[self._rows_of(v)]) for v in np.asarray(visible)]) - self.log_z

    def posterior(self, row: np.ndarray) -> np.ndarray:
        """Probability of every joint state given one visible row."""
        p = np.where(self._rows_of(row), self.probabilities, 0.0)
        return p / p.sum()

    def gradient(self, visible: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Gradient of the mean log-likelihood of the rows: for weights (zero where no synapse is) and for biases."""
        data = np.mean([self.posterior(v) for v in np.asarray(visible)], axis=0)
        data_rates, data_coincidences = self.statistics(data)
        rates, coincidences = self.statistics()
        weights = [(d - c) * m for d, c, m in zip(data_coincidences, coincidences, self.masks, strict=True)]
        return weights, [d - r for d, r in zip(data_rates, rates, strict=True)]

    def distribution(self, layer: int, units: np.ndarray | None = None) -> np.ndarray:
        """Marginal probabilities of all states of some units of a layer, in the order of their binary numbers."""
        chosen = self.states[layer] if units is None else self.states[layer][:, units]
        numbers = chosen @ (2.0 ** np.arange(chosen.shape[1])[::-1])
        return np.bincount(numbers.astype(int), weights=self.probabilities, minlength=2 ** chosen.shape[1])
