"""Samplers: what they are, the built-in ones by name, and how a further one becomes known.

A sampler is a pair of pure functions, ``init`` and ``step``, as in BlackJAX: its state is what the next step needs, its
info what may be thrown away. Whatever draws in this package takes a sampler by name or as an object.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from jaxtyping import PRNGKeyArray

from secateur.model.machine import States
from secateur.sampling.sweep import Model


@runtime_checkable
class ChainState(Protocol):
    """State of a sampler: a pytree with the ``states`` of its chains, at the temperature of the model itself."""

    @property
    def states(self) -> States:
        """One 0/1 array ``(chains, n_l)`` per layer."""


@runtime_checkable
class Sampler(Protocol):
    """How states are drawn; frozen configuration, or a pytree.

    ``step`` returns the new state and an info with ``means`` and ``energy``
    (:class:`secateur.sampling.sweep.StepInfo`; :func:`secateur.sampling.sweep.info_of` makes one from states alone).
    """

    def init(self, model: Model, key: PRNGKeyArray, n_chains: int, start: States | None = None) -> Any:
        """State of ``n_chains`` chains that start at ``start``, dispersed without."""

    def step(self, model: Model, state: Any, key: PRNGKeyArray) -> tuple[Any, Any]:
        """The chains one step later, and what the step tells."""


_FACTORIES: dict[str, Callable[[int], Sampler]] = {}


def register(name: str, factory: Callable[[int], Sampler]) -> None:
    """Make a sampler known under a name, so that it works wherever a built-in one does.

    Parameters
    ----------
    name
        What a user types.
    factory
        Makes the sampler from its number of sweeps per step.

    Raises
    ------
    ValueError
        If the name is taken.
    """
    if name in _FACTORIES:
        raise ValueError(f"sampler {name!r} is registered already; choose another name")
    _FACTORIES[name] = factory


def sampler_names() -> tuple[str, ...]:
    """Names of all samplers."""
    return tuple(_FACTORIES)


def sampler_named(sampler: str | Sampler, n_sweeps: int = 1) -> Sampler:
    """The sampler of a name, with so many sweeps per step; an object is taken as it is.

    Raises
    ------
    ValueError
        If there is no sampler of this name; the message names the nearest.
    TypeError
        If an object has no ``init`` and ``step``.
    """
    if isinstance(sampler, str):
        if sampler not in _FACTORIES:
            near = difflib.get_close_matches(sampler, _FACTORIES, n=1) or list(_FACTORIES)[:1]
            raise ValueError(
                f"sampler must be one of {', '.join(map(repr, _FACTORIES))} or an object with init and step, got "
                f"{sampler!r}; did you mean {near[0]!r}?"
            )
        return _FACTORIES[sampler](n_sweeps)
    if not isinstance(sampler, Sampler) or isinstance(sampler, type):
        raise TypeError(
            f"sampler must be a name or an object with init and step, got {sampler!r}; "
            "make one, e.g. secateur.sampling.Gibbs(n_sweeps=2)"
        )
    return sampler


def name_of(sampler: Sampler) -> str:
    """Name of a sampler in diagnostics and messages."""
    return str(getattr(sampler, "name", type(sampler).__name__.lower()))


def sweeps_per_step(sampler: Sampler) -> int:
    """Sweeps of the model in one step of a sampler; 1 where it does not say."""
    return int(getattr(sampler, "n_sweeps", 1))
