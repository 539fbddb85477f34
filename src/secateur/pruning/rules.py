"""What a rule is, what it declares, and how a name becomes one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from secateur.pruning import user_rules

Correct = Callable[[Any, Any], Any]
"""How a rule changes the parameters that stay when others go (see :class:`Rule`)."""

Ranks = Literal["synapses", "units"]
"""What a rule gives an importance to: every synapse, or every hidden unit."""

Need = Literal["rates", "coincidences", "states", "rows"]
"""What a rule may ask for beside the weights: rates, coincidences or whole states of the model, or rows of data."""

LOCAL_AVERAGES = frozenset({"rates", "coincidences"})
"""What a function that declares nothing is given: all that a synapse or a unit can see of the model."""


@dataclass(frozen=True)
class Rule:
    """A function that says how important synapses or hidden units are, and what it must be given; the lowest go first.

    What the function receives and returns depends on what is declared. A rule with ``"states"`` or ``"rows"`` among its
    needs is called once, with a :class:`secateur.pruning.WholeMachine`, and returns one array per weight matrix or per
    hidden layer. Other rules for synapses are called once per weight matrix with :class:`secateur.pruning.Synapses` and
    return ``(n_l, n_{l+1})`` numbers; other rules for units once per hidden layer with :class:`secateur.pruning.Units`,
    and return ``(n_l,)`` numbers.

    Attributes
    ----------
    name
        What a user types, and what messages say.
    function
        The function. A rule can be called like it.
    ranks
        ``"synapses"`` or ``"units"``.
    needs
        Averages that it must be given, any of :data:`Need`; weights and masks are always given. A rule that needs
        nothing costs no enumeration and no sampling.
    correct
        ``None``: what stays keeps its parameters. Else a function of a :class:`secateur.pruning.WholeMachine`, the
        machine before anything goes, and of the masks of what stays, one array per weight matrix; it returns the
        parameters after the removal (:class:`secateur.model.machine.Parameters`). What it says of absent synapses is
        not looked at.

    Raises
    ------
    ValueError
        If ``ranks`` or ``needs`` hold another word than those.
    """

    name: str
    function: Callable[[Any], Any]
    ranks: Ranks = "synapses"
    needs: Collection[str] = LOCAL_AVERAGES
    correct: Correct | None = None

    def __post_init__(self) -> None:
        needs = frozenset([self.needs] if isinstance(self.needs, str) else self.needs)
        object.__setattr__(self, "needs", needs)
        if self.ranks not in get_args(Ranks):
            raise ValueError(f"ranks of rule {self.name!r} must be 'synapses' or 'units', got {self.ranks!r}")
        for need in sorted(needs - set(get_args(Need))):
            near = difflib.get_close_matches(need, get_args(Need), n=1)
            hint = f"did you mean {near[0]!r}?" if near else "weights are given without being asked for"
            known = ", ".join(map(repr, get_args(Need)))
            raise ValueError(f"needs of rule {self.name!r} must be among {known}, got {need!r}; {hint}")

    def __call__(self, given: Any) -> Any:
        """What the function returns."""
        return self.function(given)


Criterion = str | Rule | Callable[..., Any]
"""How a user says which rule is meant: by its name, by the rule itself, or by a function (see :func:`rule_of`)."""

RULES: dict[str, Rule] = {}
"""Every rule that is built in or registered, by its name."""

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]*")
"""What the name of a criterion may look like."""


def rule(
    name: str,
    *,
    ranks: Ranks = "synapses",
    needs: Collection[str] = LOCAL_AVERAGES,
    correct: Correct | None = None,
) -> Callable[[Callable[[Any], Any]], Rule]:
    """Decorator that makes a function a :class:`Rule`; :func:`register` then makes it known by its name."""

    def make(function: Callable[[Any], Any]) -> Rule:
        return Rule(name, function, ranks, needs, correct)

    return make


def register(
    rule: Rule | str,
    function: Callable[[Any], Any] | None = None,
    *,
    ranks: Ranks = "synapses",
    needs: Collection[str] = LOCAL_AVERAGES,
    correct: Correct | None = None,
) -> Rule:
    """Make a rule known, so that its name works wherever a built-in one does.

    Parameters
    ----------
    rule
        The rule, or the name that a function gets.
    function
        With a name: the function, or a rule that is to have this name.
    ranks, needs, correct
        With a name and a function: what :class:`Rule` says of them.

    Raises
    ------
    ValueError
        If the name is taken, or is not made of letters, digits and ``_ . : -`` (names become folder names).
    TypeError
        If there is a name without a function, or a rule with one.
    """
    if isinstance(rule, Rule) != (function is None):
        raise TypeError(f"register takes a rule, or a name and a function, got {rule!r} and {function!r}")
    made = rule if isinstance(rule, Rule) else _named(rule, function, ranks, needs, correct)
    if not NAME.fullmatch(made.name):
        raise ValueError(
            f"criterion name must be letters, digits and _ . : - (the first a letter, digit or _), got {made.name!r}"
        )
    if made.name in criterion_names():
        raise ValueError(f"criterion {made.name!r} is already registered; choose another name")
    RULES[made.name] = made
    return made


def criterion_names() -> list[str]:
    """Every name that can be given as a criterion, but for the endless ones of the kind ``module:function``."""
    packages = [name for name in user_rules.installed() if NAME.fullmatch(name)]
    return list(dict.fromkeys([*RULES, *packages]))


def rule_named(name: str) -> Rule:
    """The rule of a name: built in or registered, else of an installed package, else ``module:function``.

    A name of the last two kinds imports its module. A function found there is taken as a rule for synapses that needs
    rates and coincidences.

    Raises
    ------
    ValueError
        If the name is unknown (the message suggests the nearest one), or its module or function cannot be had.
    """
    if isinstance(name, str) and name in RULES:
        return RULES[name]
    found = user_rules.find(name) if isinstance(name, str) and NAME.fullmatch(name) else None
    if found is None:
        known = criterion_names()
        near = difflib.get_close_matches(str(name), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "choose one of them, or your own as module:function"
        raise ValueError(f"unknown criterion {name!r}; known are {', '.join(known)}; {hint}")
    return _named(name, found)


def rule_of(criterion: Criterion) -> Rule:
    """The rule that a user means: a rule as it is, a function as one for synapses, anything else by :func:`rule_named`.

    Raises
    ------
    ValueError
        As :func:`rule_named`.
    """
    if isinstance(criterion, Rule):
        return criterion
    if callable(criterion):
        return Rule(getattr(criterion, "__name__", repr(criterion)), criterion)
    return rule_named(criterion)


def _named(name: str, function: Any, *declared: Any) -> Rule:
    """A rule or a function as the rule of a name; a rule keeps what it declares."""
    return replace(function, name=name) if isinstance(function, Rule) else Rule(name, function, *declared)


def ranks_units(name: str) -> bool:
    """Whether a name is that of a built-in or registered rule for units; imports nothing, so reports can ask it."""
    return name in RULES and RULES[name].ranks == "units"
