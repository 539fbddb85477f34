"""Averages that rules need: by enumeration, or from fresh chains of the model. Nothing else here draws samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import equinox as eqx
import jax
from jaxtyping import Float, PRNGKeyArray
from pydantic import BeforeValidator, ConfigDict, Field, field_validator

from secateur.fisher.diagonal import Source
from secateur.model import enumeration
from secateur.model.arrays import AnyArray, Keys
from secateur.model.machine import Machine
from secateur.model.moments import Moments
from secateur.model.randomness import child_key
from secateur.model.trials import each_trial, keys_for, over_trials
from secateur.model.trust import TRUSTED, Verdict
from secateur.pruning.rules import Rule
from secateur.sampling import Draws, Start
from secateur.sampling.draws import AUTO, FIRST_CHOICE, SECOND_CHOICE, kept_draws
from secateur.sampling.runner import streamed_moments
from secateur.sampling.sampler import Sampler, sampler_named
from secateur.sampling.starts import started
from secateur.sampling.stored import rows_and_diagnostics
from secateur.storage import limits
from secateur.storage.described import DescribedSettings


def _known_start(value: Any) -> Any:
    return "biases" if value == "random" else value  # its name before chains could start dispersed


class ImportanceSampling(DescribedSettings):
    """How many model states importance is measured from: ``n_chains * n_draws`` in all; immutable."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_chains: int = Field(200, ge=2, le=limits.MAX_CHAINS, description="independent chains")
    n_draws: int = Field(50, ge=2, le=limits.MAX_SAMPLES, description="draws per chain")
    n_sweeps: int = Field(2, ge=1, le=limits.MAX_SWEEPS, description="sweeps from one draw to the next")
    n_burn_in: int = Field(100, ge=0, le=limits.MAX_SWEEPS, description="sweeps before the first draw")
    start: Annotated[Start, BeforeValidator(_known_start)] = Field(
        "dispersed",
        description="where chains start: dispersed over data, biases, silence and a burst, or at one of these alone",
    )
    sampler: str = Field(
        "auto", description="gibbs, tempering, or auto: gibbs, and tempering where gibbs is not to be trusted"
    )

    @field_validator("sampler")
    @classmethod
    def _check_sampler(cls, sampler: str) -> str:
        if sampler != AUTO:
            sampler_named(sampler)
        return sampler


How = ImportanceSampling | Literal["exact"]
"""How averages are taken: from model states, or by enumeration."""


def sources_for(
    machine: Machine,
    rule: Rule,
    how: How | None,
    key: Keys,
    visible: Float[AnyArray, "*trials rows visible"] | None = None,
) -> list[Any]:
    """Where a rule's averages come from, one :data:`secateur.fisher.Source` for every trial (one for a single machine).

    ``None`` for a rule that needs none, or rows of the data alone.

    Parameters
    ----------
    machine
        The machine, or stacked trials.
    rule
        The rule.
    how
        How averages are taken; ``None``: exactly where the machine can be enumerated, else from 10,000 states.
    key
        Random key, or one key per trial.
    visible
        Rows of the data, needed where chains start at data.
    """
    if not set(rule.needs) - {"rows"}:
        return [None for _ in each_trial(machine, machine)]
    if how is None:
        how = "exact" if enumeration.can_be_enumerated(machine.layer_sizes) else ImportanceSampling()
    if "states" not in rule.needs:
        return model_moments(machine, how, child_key(key, "importance"), visible)
    if how == "exact":
        return ["exact" for _ in each_trial(machine, machine)]
    return model_states(machine, how, child_key(key, "states"), visible)


def is_exact(source: Source | None) -> bool:
    """Whether nothing was sampled: by enumeration, or no averages at all."""
    return source is None or isinstance(source, str) or (isinstance(source, Moments) and source.is_exact)


def verdict_on(machine: Machine, source: Source | None) -> Verdict:
    """Whether averages over these draws, arrays of states or moments can be trusted."""
    if isinstance(source, Moments):
        return source.verdict
    if source is None or isinstance(source, str):
        return TRUSTED
    return rows_and_diagnostics(machine, source)[1].verdict


def model_moments(
    machine: Machine,
    importance: How,
    key: Keys,
    visible: Float[AnyArray, "*trials rows visible"] | None = None,
) -> list[Moments]:
    """Moments of the model by enumeration or from fresh chains; one for every trial, one for a single machine.

    ``visible`` is needed where chains start at data.
    """
    if importance == "exact":
        return [enumeration.moments(one) for one in each_trial(machine, machine)]
    return _trusted_if_possible(_sampled_moments, machine, importance, keys_for(machine, key), visible)


def model_states(
    machine: Machine,
    importance: ImportanceSampling,
    keys: Keys,
    visible: Float[AnyArray, "*trials rows visible"] | None = None,
) -> list[Draws]:
    """States of the model from fresh chains; for every trial, with a key of its own, or for a single machine.

    ``visible`` is needed where chains start at data.
    """
    return _trusted_if_possible(_sampled_states, machine, importance, keys, visible)


def _trusted_if_possible(
    draw: Callable[..., Any], machine: Machine, how: ImportanceSampling, keys: Keys, visible: AnyArray | None
) -> list[Any]:
    """What is drawn for every trial by the sampler asked for; by "auto" the first that all trials can trust."""
    if how.start == "data" and visible is None:
        raise ValueError("importance.start='data' needs visible rows, got none; give them or say start='dispersed'")
    rows = visible if how.start in ("data", "dispersed") else None
    names = (FIRST_CHOICE, SECOND_CHOICE) if how.sampler == AUTO else (how.sampler,)
    found: list[Any] = []
    for name in names:
        found = each_trial(machine, draw(machine, keys, how, sampler_named(name, how.n_sweeps), rows))
        if all(verdict_on(machine, one).trusted for one in found):
            break
    return found


@eqx.filter_jit
def _sampled_moments(
    machine: Machine, keys: Keys, how: ImportanceSampling, sampler: Sampler, visible: AnyArray | None
) -> Moments:
    def draw(machine: Machine, key: PRNGKeyArray, rows: AnyArray | None) -> Moments:
        state, key_draws = _begun(machine, key, how, sampler, rows)
        return streamed_moments(machine, sampler, state, key_draws, n_draws=how.n_draws, n_burn_in=how.n_burn_in)

    return over_trials(draw, machine)(machine, keys, visible)


@eqx.filter_jit
def _sampled_states(
    machine: Machine, keys: Keys, how: ImportanceSampling, sampler: Sampler, visible: AnyArray | None
) -> Draws:
    def draw(machine: Machine, key: PRNGKeyArray, rows: AnyArray | None) -> Draws:
        state, key_draws = _begun(machine, key, how, sampler, rows)
        return kept_draws(machine, sampler, state, key_draws, n_draws=how.n_draws, n_burn_in=how.n_burn_in)

    return over_trials(draw, machine)(machine, keys, visible)


def _begun(
    machine: Machine, key: PRNGKeyArray, how: ImportanceSampling, sampler: Sampler, rows: AnyArray | None
) -> tuple[Any, PRNGKeyArray]:
    """The sampler's state at its start, and the key of what follows."""
    key_start, key_init, key_draws = jax.random.split(key, 3)
    states = started(machine, key_start, how.n_chains, how.start, rows)
    return sampler.init(machine, key_init, how.n_chains, states), key_draws
