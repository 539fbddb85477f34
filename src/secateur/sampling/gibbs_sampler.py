"""Gibbs sampling: sweeps at the model's own temperature, with clamped units."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
from jaxtyping import PRNGKeyArray

from secateur.model import checked
from secateur.model.machine import States
from secateur.sampling.sampler import register
from secateur.sampling.starts import started
from secateur.sampling.sweep import Clamp, Model, StepInfo, sweep


class GibbsState(NamedTuple):
    """Chains of Gibbs sampling: one 0/1 array ``(chains, n_l)`` per layer."""

    states: States


class Gibbs(eqx.Module):
    """Gibbs sampling; block by block for machines, unit after unit for pairwise models.

    Parameters
    ----------
    n_sweeps
        Sweeps per step.
    clamp
        Units that keep their state (:data:`secateur.sampling.sweep.Clamp`), for all chains alike or chain by chain: for
        filling in what is missing, or one label per chain.
    """

    n_sweeps: int = eqx.field(static=True, default=1)
    clamp: Clamp | None = None
    name: ClassVar[str] = "gibbs"

    def __check_init__(self) -> None:
        checked.count("n_sweeps", self.n_sweeps)

    conditional_means: ClassVar[bool] = True
    """Whether the means of a step hold probabilities of the odd layers of a machine."""

    def init(self, model: Model, key: PRNGKeyArray, n_chains: int, start: States | None = None) -> GibbsState:
        """Chains at ``start``, dispersed without."""
        return GibbsState(started(model, key, n_chains) if start is None else start)

    def step(self, model: Model, state: GibbsState, key: PRNGKeyArray) -> tuple[GibbsState, StepInfo]:
        """The chains ``n_sweeps`` sweeps later, with the conditional means and energies of the last one."""
        states, info = sweeps(model, state.states, key, self.n_sweeps, self.clamp)
        return GibbsState(states), info


def sweeps(
    model: Model, states: States, key: PRNGKeyArray, n_sweeps: int, clamp: Clamp | None = None
) -> tuple[States, StepInfo]:
    """States after a number of sweeps, at least one, and the info of the last."""
    keys = jax.random.split(key, n_sweeps)

    def body(states: States, sweep_key: PRNGKeyArray) -> tuple[States, None]:
        return sweep(model, states, sweep_key, clamp)[0], None

    if n_sweeps > 1:
        states, _ = jax.lax.scan(body, states, keys[:-1])
    return sweep(model, states, keys[-1], clamp)


register("gibbs", Gibbs)
