"""Importance of synapses or units by a rule: the rule is called, and what it returns is checked."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from secateur import fisher
from secateur.fisher.diagonal import Source
from secateur.model import checked
from secateur.model.arrays import AnyArray
from secateur.model.machine import Machine, Parameters
from secateur.pruning import user_rules
from secateur.pruning.averages import sources_for
from secateur.pruning.given import NotDeclared, Synapses, WholeMachine, synapses_of, units_of
from secateur.pruning.removal import Masks
from secateur.pruning.rules import LOCAL_AVERAGES, Criterion, Rule, rule_of


def importance(
    machine: Machine, source: Source | None, criterion: Criterion, key: PRNGKeyArray, rows: Any = None
) -> tuple[AnyArray, ...]:
    """Importance by a rule: of every synapse, one array ``(n_l, n_{l+1})`` per weight matrix, or of every hidden unit.

    A rule for units gives one array ``(n_l,)`` per hidden layer. Given moments, the importance of synapses is a pure
    function (``jit`` and ``vmap`` apply); exact moments are used in float64.

    Parameters
    ----------
    machine
        The machine.
    source
        Where averages come from, as in :func:`secateur.pruning.prune`; not looked at by a rule that needs none.
    criterion
        Name of a rule, a rule, or a function (:func:`secateur.pruning.rule_of`).
    key
        Random key for rules that draw.
    rows
        Rows of the data ``(rows, n_0)``, 0/1, for rules that look at them.

    Raises
    ------
    ValueError
        If the name is unknown, or the rule raises, looks at what it does not declare, or returns anything but one real
        number per synapse or unit; or if it needs rows and there are none.
    """
    rule = rule_of(criterion)
    if source is None:
        (source,) = sources_for(machine, rule, None, key)
    return scores(machine, source, rule, key, rows)


def scores(machine: Machine, source: Any, rule: Rule, key: PRNGKeyArray, rows: Any = None) -> tuple[AnyArray, ...]:
    """Importance by a rule, as :func:`importance`, with the averages that the rule needs."""
    places = _places(machine, rule)
    if "rows" in rule.needs:
        rows = _data(machine, rule, rows)
    if "states" in rule.needs:
        return _of_whole_machine(rule, WholeMachine(machine, source, key, rows), places)
    moments = fisher.moments_from(machine, source) if LOCAL_AVERAGES & set(rule.needs) else None
    if "rows" in rule.needs:
        with nullcontext() if moments is None else moments.precision():
            return _of_whole_machine(rule, WholeMachine(machine, moments, key, rows), places)
    look = synapses_of if rule.ranks == "synapses" else units_of
    with nullcontext() if moments is None else moments.precision():
        each = zip(look(machine, rule, moments, key), places, strict=True)
        return tuple(_checked(rule, _called(rule, rule.function, place, given), place) for given, place in each)


def corrected(
    machine: Machine, source: Any, rule: Rule, key: PRNGKeyArray, masks: Masks, rows: Any = None
) -> Parameters | None:
    """Parameters of what stays by a rule that corrects them, float32; ``None`` for a rule that does not.

    Raises
    ------
    ValueError
        If the rule raises, or returns anything but one finite number per parameter.
    """
    if rule.correct is None:
        return None
    rows = _data(machine, rule, rows) if "rows" in rule.needs else None
    averaged = {"states", *LOCAL_AVERAGES} & set(rule.needs)
    if averaged and "states" not in rule.needs:
        source = fisher.moments_from(machine, source)
    whole = WholeMachine(machine, source if averaged else None, key, rows)
    returned = _called(rule, rule.correct, None, whole, masks)
    try:
        weights, biases = (tuple(np.asarray(a, np.float32) for a in part) for part in returned)
        right = all(np.isfinite(a).all() for a in (*weights, *biases))
        right = right and jax.tree.map(np.shape, (weights, biases)) == jax.tree.map(np.shape, tuple(machine.parameters))
    except (TypeError, ValueError):
        right = False
    if not right:
        raise ValueError(
            f"criterion {rule.name!r} must correct to one finite number per parameter, in arrays like those of "
            "machine.parameters; mend its correct"
        )
    return Parameters(tuple(jnp.asarray(w) for w in weights), tuple(jnp.asarray(b) for b in biases))


def _data(machine: Machine, rule: Rule, rows: Any) -> np.ndarray:
    """The rows of data that a rule looks at."""
    if rows is None:
        raise ValueError(
            f"criterion {rule.name!r} looks at rows of the data, got none; give them as visible (--data FILE)"
        )
    return checked.host_rows(rows, machine.layer_sizes[0])


class _Place:
    """A weight matrix or a hidden layer, and how many numbers a rule must return for it."""

    def __init__(self, what: str, name: str, shape: tuple[int, ...]) -> None:
        self.one, self.name, self.shape = f"one importance per {what}", name, shape


def _places(machine: Machine, rule: Rule) -> list[_Place]:
    if rule.ranks == "synapses":
        return [_Place("synapse", f"weight matrix {i}", w.shape) for i, w in enumerate(machine.weights)]
    return [_Place("unit", f"layer {i}", b.shape) for i, b in enumerate(machine.biases) if i]


def coupling_scores(
    couplings: AnyArray, rates: AnyArray, coincidences: AnyArray, rule: Rule, key: PRNGKeyArray
) -> np.ndarray:
    """Importance ``(units, units)``, symmetric, of the couplings of a pairwise model by a rule for synapses.

    The rule is given the couplings as the weights of one layer of units onto itself, so that both units of a coupling
    are pre- and postsynaptic by turns; its two answers are averaged.

    Raises
    ------
    ValueError
        If the rule ranks units or needs whole states, or as in :func:`importance`.
    """
    if rule.ranks != "synapses" or "states" in rule.needs:
        why = "ranks units" if rule.ranks != "synapses" else "needs whole states of a machine"
        raise ValueError(
            f"criterion {rule.name!r} {why}, which a pairwise model does not offer; choose variance-fi, "
            "fi-times-weight-squared, weight-magnitude, random, or a function of Synapses"
        )
    n = len(rates)
    averages = [rates if "rates" in rule.needs else None, coincidences if "coincidences" in rule.needs else None]
    given = Synapses(couplings, averages[0], averages[0], averages[1], key)
    place = _Place("synapse", "the couplings", (n, n))
    found = np.asarray(_checked(rule, _called(rule, rule.function, place, given), place), float)
    return (found + found.T) / 2


def _of_whole_machine(rule: Rule, whole: WholeMachine, places: list[_Place]) -> tuple[AnyArray, ...]:
    returned = _called(rule, rule.function, None, whole)
    if not isinstance(returned, tuple | list) or len(returned) != len(places):
        found = f"{len(returned)}" if isinstance(returned, tuple | list) else f"a {type(returned).__name__}"
        raise ValueError(
            f"criterion {rule.name!r} must return {len(places)} array(s), {places[0].one}, in a tuple, got {found}"
        )
    return tuple(_checked(rule, one, place) for one, place in zip(returned, places, strict=True))


def _called(rule: Rule, function: Callable[..., Any], place: _Place | None, *given: Any) -> Any:
    """What a function of a rule returns; what it raises is told with the rule's name and line."""
    try:
        return function(*given)
    except MemoryError:
        raise
    except NotDeclared as error:
        declared = ", ".join(f"{need!r}" for need in sorted({*rule.needs, error.need}))
        raise ValueError(
            f"criterion {rule.name!r} looks at {error.field}, which it does not declare; "
            f"make it with needs=({declared},)"
        ) from error
    except Exception as error:
        where = "" if place is None else f" for {place.name}, shape {place.shape}"
        raise ValueError(
            f"criterion {rule.name!r} raised {type(error).__name__}: {error}"
            f"{user_rules.place_of(error, function)}{where}; mend the rule"
        ) from error


def _checked(rule: Rule, returned: Any, place: _Place) -> AnyArray:
    """One real number for every synapse or unit, as floating-point numbers."""
    try:
        score = returned if hasattr(returned, "dtype") else np.asarray(returned)
    except ValueError:  # rows of different lengths
        score = np.empty(0)
    if jnp.shape(score) != place.shape:
        raise ValueError(
            f"criterion {rule.name!r} must return {place.one}, shape {place.shape} for {place.name}, got "
            f"{'None' if returned is None else f'shape {jnp.shape(score)}'}"
        )
    if not any(jnp.issubdtype(score.dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_)):
        raise ValueError(f"criterion {rule.name!r} must return real numbers, got an array of {score.dtype}")
    return score if jnp.issubdtype(score.dtype, jnp.floating) else jnp.asarray(score, dtype=float)
