"""Schedules: when synapses go. The built-in one prunes in rounds; further ones become known by a line of registration.

A schedule is a generator function with the parameters of :func:`secateur.pruning.prune_and_retrain` that yields one
:class:`secateur.pruning.Round` after another, for one machine or for stacked trials. It is made of
:func:`secateur.pruning.remove` and of a trainer's ``update`` and ``with_machine``.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from typing import Any

from secateur.pruning import user_rules
from secateur.pruning.rounds import Round, prune_and_retrain

Schedule = Callable[..., Iterator[Round]]


def one_shot(*given: Any, n_rounds: int, **how: Any) -> Iterator[Round]:
    """All that the rounds of :func:`prune_and_retrain` would remove goes in the first; later ones only retrain."""

    def share(fraction: float, number: int) -> float:
        return 1 - (1 - fraction) ** n_rounds if number == 1 else 0.0

    return prune_and_retrain(*given, n_rounds=n_rounds, share=share, **how)


def cubic(*given: Any, n_rounds: int, **how: Any) -> Iterator[Round]:
    """As many synapses in the end as by :func:`prune_and_retrain`, most of them in the first rounds.

    After round ``r`` of ``n`` the share ``s (1 - (1 - r / n)^3)`` is gone, of which ``s`` goes in all (Zhu & Gupta
    2017, equation 1). The geometric schedule is that of rounds of equal shares, :func:`prune_and_retrain`.
    """

    def share(fraction: float, number: int) -> float:
        final = 1 - (1 - fraction) ** n_rounds
        before, after = (1 - final * (1 - (1 - r / n_rounds) ** 3) for r in (number - 1, number))
        return 1 - after / before

    return prune_and_retrain(*given, n_rounds=n_rounds, share=share, **how)


_SCHEDULES: dict[str, Schedule] = {"rounds": prune_and_retrain, "one-shot": one_shot, "cubic": cubic}


def register_schedule(name: str, schedule: Schedule) -> None:
    """Make a schedule known under a name, for the setting ``pruning.schedule`` of studies among others.

    Raises
    ------
    ValueError
        If the name is taken.
    """
    if name in _SCHEDULES:
        raise ValueError(f"schedule {name!r} is registered already; choose another name")
    _SCHEDULES[name] = schedule


def schedule_named(name: str) -> Schedule:
    """The schedule of a name: built in or registered, else ``module:function``.

    Raises
    ------
    ValueError
        If there is none; the message names the nearest, or says why its module cannot be had.
    """
    if name in _SCHEDULES:
        return _SCHEDULES[name]
    try:
        found = user_rules.find(name)
    except ValueError as error:
        raise ValueError(str(error).replace("criterion", "schedule", 1)) from error
    if found is None:
        near = difflib.get_close_matches(name, _SCHEDULES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "choose one of them, or your own as module:function"
        raise ValueError(f"unknown schedule {name!r}; known are {', '.join(_SCHEDULES)}; {hint}")
    return found
