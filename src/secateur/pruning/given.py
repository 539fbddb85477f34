"""What a rule is given: the synapses of one weight matrix, the units of one hidden layer, or the whole machine."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, PRNGKeyArray

from secateur.likelihood.removal_loss import RowAverages, row_averages
from secateur.model.arrays import AnyArray
from secateur.model.machine import Machine, States
from secateur.model.moments import Moments
from secateur.pruning.rules import Rule

_NEED_OF = dict.fromkeys(("rates", "rates_pre", "rates_post"), "rates") | dict.fromkeys(
    ("coincidences", "coincidences_below", "coincidences_above"), "coincidences"
)
"""What a rule must declare to be given a field."""


class NotDeclared(ValueError):
    """A rule looked at an average that it does not declare."""

    def __init__(self, field: str) -> None:
        self.field, self.need = field, _NEED_OF[field]
        super().__init__(f"{field} was not asked for; declare {self.need!r} among the needs of the rule")


class Synapses(NamedTuple):
    """What the synapses of one weight matrix see; presynaptic is the lower layer.

    Averages that the rule does not declare are absent; reading one raises :class:`NotDeclared`.

    Attributes
    ----------
    weights
        ``(lower, upper)``; zero for absent synapses.
    rates_pre, rates_post
        Firing rates (probability of being 1) of the lower ``(lower,)`` and of the upper layer ``(upper,)``.
    coincidences
        Probability that both units are 1, ``(lower, upper)``.
    key
        Random key for rules that draw; different for every weight matrix, round and trial.
    """

    weights: Float[AnyArray, "lower upper"]
    rates_pre: Float[AnyArray, " lower"]
    rates_post: Float[AnyArray, " upper"]
    coincidences: Float[AnyArray, "lower upper"]
    key: PRNGKeyArray

    def __getattribute__(self, name: str) -> Any:
        return _declared(self, name)


class Units(NamedTuple):
    """What the units of one hidden layer see: themselves, and their synapses on both sides.

    Averages that the rule does not declare are absent; reading one raises :class:`NotDeclared`. The top layer has no
    synapses above: those arrays are then ``(units, 0)``.

    Attributes
    ----------
    layer
        Number of the layer; 1 is the first hidden layer.
    biases
        ``(units,)``, nats.
    weights_below, weights_above
        ``(lower, units)`` and ``(units, upper)``; zero for absent synapses.
    masks_below, masks_above
        Which synapses exist, in the same shapes. Dead units have none.
    rates
        Probability that each unit is 1, ``(units,)``.
    coincidences_below, coincidences_above
        Probability that both units of a synapse are 1, in the shapes of the weights.
    key
        Random key for rules that draw; different for every layer, round and trial.
    """

    layer: int
    biases: Float[AnyArray, " units"]
    weights_below: Float[AnyArray, "lower units"]
    weights_above: Float[AnyArray, "units upper"]
    masks_below: Bool[AnyArray, "lower units"]
    masks_above: Bool[AnyArray, "units upper"]
    rates: Float[AnyArray, " units"]
    coincidences_below: Float[AnyArray, "lower units"]
    coincidences_above: Float[AnyArray, "units upper"]
    key: PRNGKeyArray

    def __getattribute__(self, name: str) -> Any:
        return _declared(self, name)


class WholeMachine(NamedTuple):
    """What a rule is given that needs whole states of the model, or rows of the data.

    Attributes
    ----------
    machine
        The machine.
    source
        States drawn from it, or ``"exact"``; for a rule that needs no states but other averages, their moments.
    key
        Random key; different for every round and trial.
    rows
        Rows of the data ``(rows, visible)``, 0/1; ``None`` for a rule that does not ask for them.
    """

    machine: Machine
    source: Literal["exact"] | States | Moments | None
    key: PRNGKeyArray
    rows: Float[AnyArray, "rows visible"] | None = None


def moments_of_whole(whole: WholeMachine) -> Moments:
    """The averages over the model that a rule was given which looks at rows of the data as well."""
    assert isinstance(whole.source, Moments)
    return whole.source


def row_averages_of(whole: WholeMachine) -> RowAverages:
    """Averages over the rows of data, in float64 beside exact averages over the model."""
    assert whole.rows is not None
    return row_averages(whole.machine, whole.rows, double=moments_of_whole(whole).is_exact)


def synapses_of(machine: Machine, rule: Rule, moments: Moments | None, key: PRNGKeyArray) -> list[Synapses]:
    """What a rule sees of every weight matrix; ``moments`` may be missing where it needs none."""
    keys = jax.random.split(key, len(machine.weights))
    rates, coincidences = _averages(machine, rule, moments)
    return [
        Synapses(_like(weight, moments), rates[matrix], rates[matrix + 1], coincidences[matrix], keys[matrix])
        for matrix, weight in enumerate(machine.weights)
    ]


def units_of(machine: Machine, rule: Rule, moments: Moments | None, key: PRNGKeyArray) -> list[Units]:
    """What a rule sees of every hidden layer; ``moments`` may be missing where it needs none."""
    keys = jax.random.split(key, len(machine.weights))
    rates, coincidences = _averages(machine, rule, moments)
    weights = [_like(weight, moments) for weight in machine.weights]
    no_synapses = np.zeros((machine.layer_sizes[-1], 0), weights[-1].dtype)
    weights, masks = [*weights, no_synapses], [*machine.masks, no_synapses.astype(bool)]
    coincidences = [*coincidences, None if coincidences[-1] is None else no_synapses]
    return [
        Units(
            layer,
            _like(machine.biases[layer], moments),
            weights[layer - 1],
            weights[layer],
            masks[layer - 1],
            masks[layer],
            rates[layer],
            coincidences[layer - 1],
            coincidences[layer],
            keys[layer - 1],
        )
        for layer in range(1, machine.n_layers)
    ]


def _averages(machine: Machine, rule: Rule, moments: Moments | None) -> tuple[list[Any], list[Any]]:
    """Rates of every layer and coincidences of every weight matrix, ``None`` where they are not declared."""
    rates: list[Any] = [None] * machine.n_layers
    coincidences: list[Any] = [None] * len(machine.weights)
    if moments is not None and "rates" in rule.needs:
        rates = list(moments.rates)
    if moments is not None and "coincidences" in rule.needs:
        coincidences = list(moments.coincidences)
    return rates, coincidences


def _like(parameter: AnyArray, moments: Moments | None) -> AnyArray:
    """Weights or biases in the precision of the averages that they meet."""
    return parameter if moments is None else parameter.astype(moments.rates[0].dtype)


def _declared(given: Any, name: str) -> Any:
    value = object.__getattribute__(given, name)
    if value is None and name in _NEED_OF:
        raise NotDeclared(name)
    return value
