"""Importance of synapses: the built-in rules, and how a user adds one.

A rule is a function of what a synapse can see locally. It is called once per weight matrix with a :class:`Synapses` and
returns an array ``(n_l, n_{l+1})`` of importances; the synapses with the lowest importance go first. A synapse whose
importance is exactly zero carries nothing (see the zero rule in :mod:`secateur.pruning.removal`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from secateur import fisher
from secateur.fisher.diagonal import Source
from secateur.model import units
from secateur.model.arrays import AnyArray
from secateur.model.machine import Machine
from secateur.model.moments import Moments
from secateur.pruning import user_rules
from secateur.pruning.unit_rules import UNIT_RULES


class Synapses(NamedTuple):
    """What the synapses of one weight matrix see; presynaptic is the lower layer.

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


Rule = Callable[[Synapses], Float[AnyArray, "lower upper"]]


def variance_fi(synapses: Synapses) -> Float[AnyArray, "lower upper"]:
    """Variance Fisher information ``p (1 - p)``, ``p`` the coincidence rate (Scholl, Rule & Hennig 2021, eq. 6)."""
    return units.variance(synapses.coincidences)


def heuristic_fi(synapses: Synapses) -> Float[AnyArray, "lower upper"]:
    """Fisher information from firing rates and the weight alone (Scholl, Rule & Hennig 2021, eq. 10)."""
    return fisher.heuristic_information(synapses.weights, synapses.rates_pre, synapses.rates_post)


def weight_magnitude(synapses: Synapses) -> Float[AnyArray, "lower upper"]:
    """Absolute weight."""
    return jnp.abs(synapses.weights)


def random(synapses: Synapses) -> Float[AnyArray, "lower upper"]:
    """Uniformly random importance: the control that removes synapses blindly."""
    return jax.random.uniform(synapses.key, synapses.weights.shape)


def anti_fi(synapses: Synapses) -> Float[AnyArray, "lower upper"]:
    """Minus the variance Fisher information: removes the *most* informative synapses first."""
    return -variance_fi(synapses)


def fi_times_weight_squared(synapses: Synapses) -> Float[AnyArray, "lower upper"]:
    """Saliency ``w^2 F`` of Optimal Brain Damage (LeCun, Denker & Solla 1990), with the variance Fisher information."""
    return synapses.weights**2 * variance_fi(synapses)


RULES: dict[str, Rule] = {
    "variance-fi": variance_fi,
    "heuristic-fi": heuristic_fi,
    "weight-magnitude": weight_magnitude,
    "random": random,
    "anti-fi": anti_fi,
    "fi-times-weight-squared": fi_times_weight_squared,
}
"""Local rules by the name a user types."""


WHOLE_MACHINE_RULES: dict[str, Callable[..., tuple[AnyArray, ...]]] = {
    "eigenvector-fi": fisher.leading_eigenvector_importance,
}
"""Rules that need more than a synapse can see: functions of machine, source and key."""


NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]*")
"""What the name of a criterion may look like."""


def register(name: str, rule: Rule) -> None:
    """Make a rule known under a name, so that it works wherever a built-in does.

    Raises
    ------
    ValueError
        If the name is taken, or is not made of letters, digits and ``_ . : -`` (names become folder names).
    """
    if not NAME.fullmatch(name):
        raise ValueError(
            f"criterion name must be letters, digits and _ . : - (the first a letter, digit or _), got {name!r}"
        )
    if name in criterion_names():
        raise ValueError(f"criterion {name!r} is already registered; choose another name")
    RULES[name] = rule


def criterion_names() -> list[str]:
    """Every name that can be given as a criterion, but for the endless ones of the kind ``module:function``."""
    packages = [name for name in user_rules.installed() if NAME.fullmatch(name)]
    return list(dict.fromkeys([*RULES, *WHOLE_MACHINE_RULES, *UNIT_RULES, *packages]))


def check_criterion(criterion: str | Rule) -> None:
    """Accept a function or a known name; a name of the user's own is looked up, which imports its module.

    Raises
    ------
    ValueError
        As :func:`rule_named`.
    """
    if not callable(criterion) and criterion not in (*WHOLE_MACHINE_RULES, *UNIT_RULES):
        rule_named(criterion)


def rule_named(name: str) -> Rule:
    """The rule for synapses of a name: built in or registered, else of an installed package, else ``module:function``.

    Raises
    ------
    ValueError
        If the name is unknown (the message suggests the nearest one), or its module or function cannot be had.
    """
    if isinstance(name, str) and name in RULES:
        return RULES[name]
    rule = user_rules.find(name) if isinstance(name, str) and NAME.fullmatch(name) else None
    if rule is None:
        known = criterion_names()
        near = difflib.get_close_matches(str(name), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "choose one of them, or your own as module:function"
        raise ValueError(f"unknown criterion {name!r}; known are {', '.join(known)}; {hint}")
    return rule


def importance(
    machine: Machine, source: Source, criterion: str | Rule, key: PRNGKeyArray
) -> tuple[Float[AnyArray, "lower upper"], ...]:
    """Importance of every synapse by a rule, one array per weight matrix.

    Given moments, a local rule is a pure function (``jit`` and ``vmap`` apply); exact moments are used in float64.

    Parameters
    ----------
    machine
        The machine.
    source
        Where rates and coincidences come from (:data:`secateur.fisher.Source`); ``eigenvector-fi`` needs ``"exact"`` or
        states.
    criterion
        Name of a rule for synapses (:func:`rule_named`), or a function of :class:`Synapses`.
    key
        Random key for rules that draw.

    Raises
    ------
    ValueError
        If the name is unknown or that of a rule for units, or the rule raises or returns anything but one real number
        per synapse.
    """
    check_criterion(criterion)
    if isinstance(criterion, str) and criterion in UNIT_RULES:
        raise ValueError(f"criterion {criterion!r} ranks units, not synapses; use secateur.pruning.prune")
    if isinstance(criterion, str) and criterion in WHOLE_MACHINE_RULES:
        return WHOLE_MACHINE_RULES[criterion](machine, source, key)
    rule = rule_named(criterion) if isinstance(criterion, str) else criterion
    moments = fisher.moments_from(machine, source)
    with moments.precision():
        scores = [
            _score(rule, criterion, layer, machine.weights[layer], moments, matrix_key)
            for layer, matrix_key in enumerate(jax.random.split(key, len(machine.weights)))
        ]
    return tuple(scores)


def _score(
    rule: Rule, criterion: str | Rule, layer: int, weight: AnyArray, moments: Moments, key: PRNGKeyArray
) -> Float[AnyArray, "lower upper"]:
    rates = moments.rates[layer], moments.rates[layer + 1]
    synapses = Synapses(weight.astype(rates[0].dtype), *rates, moments.coincidences[layer], key)
    try:
        returned: Any = rule(synapses)
        score = returned if hasattr(returned, "dtype") else np.asarray(returned)
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(
            f"criterion {criterion!r} raised {type(error).__name__}: {error}{user_rules.place_of(error, rule)} "
            f"for weight matrix {layer}, shape {weight.shape}; mend the rule"
        ) from error
    if jnp.shape(score) != weight.shape:
        raise ValueError(
            f"criterion {criterion!r} must return one importance per synapse, shape {weight.shape} for weight matrix "
            f"{layer}, got {'None' if returned is None else f'shape {jnp.shape(score)}'}"
        )
    if not any(jnp.issubdtype(score.dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_)):
        raise ValueError(f"criterion {criterion!r} must return real numbers, got an array of {score.dtype}")
    return score if jnp.issubdtype(score.dtype, jnp.floating) else jnp.asarray(score, dtype=float)
