"""Where chains start. By default dispersed: a share each from the data, the biases, silence and a burst of all units.

Chains that start alike can agree with each other and be wrong together; chains that start apart agree only once they
have forgotten where they came from (Gelman & Rubin 1992).
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from secateur.model import checked, mean_field, units
from secateur.model.arrays import AnyArray
from secateur.model.machine import Machine, States
from secateur.sampling.sweep import Model

Start = Literal["dispersed", "data", "biases", "silence", "burst"]
"""Where chains start, by name."""

STARTS = get_args(Start)


def start_states(model: Model, key: Any, n_chains: Any, how: str = "dispersed", visible: Any = None) -> States:
    """Starting states ``(n_chains, n_l)`` of every layer.

    Parameters
    ----------
    model
        A machine or a pairwise model.
    key
        Random key.
    n_chains
        Number of chains.
    how
        ``"dispersed"``: a share each from data (if there are any), from the biases, from silence and from a burst, in
        random order. ``"data"``: rows drawn at random, hidden layers from one upward pass. ``"biases"``: independent
        units. ``"silence"``: every unit 0. ``"burst"``: every unit 1.
    visible
        0/1 rows of data; needed for ``"data"``.

    Raises
    ------
    ValueError
        If there is no such start, rows are missing or do not fit the model, or are not 0/1.
    TypeError
        If the key is no random key.
    """
    checked.model(model, "model", single=True)
    if how not in STARTS:
        raise ValueError(f"start must be one of {', '.join(map(repr, STARTS))} or states of the chains, got {how!r}")
    if how == "data" and visible is None:
        raise ValueError("start='data' needs visible rows, got none; give them, or leave start at 'dispersed'")
    rows = None if visible is None else checked.rows(visible, model.layer_sizes[0])
    return started(model, checked.key(key), checked.count("n_chains", n_chains), how, rows)


def random_states(model: Model, key: Any, n_chains: Any) -> States:
    """Independent states of every layer from the model's biases alone (see :func:`start_states`)."""
    return start_states(model, key, n_chains, "biases")


def data_states(model: Model, visible: Any, key: Any, n_chains: Any) -> States:
    """States at rows of data drawn at random, hidden layers from one upward pass (see :func:`start_states`)."""
    return start_states(model, key, n_chains, "data", visible)


@partial(jax.jit, static_argnames=("n_chains", "how"))
def started(
    model: Model,
    key: PRNGKeyArray,
    n_chains: int,
    how: Start = "dispersed",
    visible: Float[AnyArray, "rows visible"] | None = None,
) -> States:
    """:func:`start_states` of what has been checked; pure."""
    if how != "dispersed":
        return _starts(model, key, n_chains, how, visible)
    kinds: list[Start] = ["biases", "silence", "burst"] if visible is None else ["data", "biases", "silence", "burst"]
    key_order, *keys = jax.random.split(key, len(kinds) + 1)
    kind_of = jax.random.permutation(key_order, jnp.arange(n_chains) % len(kinds))
    states = _starts(model, keys[0], n_chains, kinds[0], visible)
    for number, (kind, kind_key) in enumerate(zip(kinds[1:], keys[1:], strict=True), start=1):
        others = _starts(model, kind_key, n_chains, kind, visible)
        chosen = (kind_of == number)[:, None]
        states = tuple(jnp.where(chosen, new, old) for new, old in zip(others, states, strict=True))
    return states


def _starts(model: Model, key: PRNGKeyArray, n_chains: int, how: Start, visible: AnyArray | None) -> States:
    if how in ("silence", "burst"):
        value = float(how == "burst")
        return tuple(jnp.full((n_chains, n), value, jnp.float32) for n in model.layer_sizes)
    key_rows, *layer_keys = jax.random.split(key, len(model.layer_sizes) + 1)
    if how == "biases" or visible is None:
        means = tuple(jnp.broadcast_to(units.mean(b), (n_chains, b.shape[0])) for b in model.bias_terms)
    else:
        chosen = jax.random.randint(key_rows, (n_chains,), 0, visible.shape[0])
        means = _means_given(model, jnp.asarray(visible)[chosen].astype(jnp.float32))
    return tuple(units.sample(m, k) for m, k in zip(means, layer_keys, strict=True))


def _means_given(model: Model, rows: Float[Array, "chains visible"]) -> States:
    """Probabilities of every unit given visible rows, hidden layers from one upward pass."""
    return mean_field.bottom_up(model, rows) if isinstance(model, Machine) else (rows,)
