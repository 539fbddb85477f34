"""Gibbs sweeps of every library behind one interface: a function of sizes gives the function that is timed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from secateur.machine import Precision

Run = Callable[[], object]
"""Does the work once, and waits until it is done."""


def parameters(n_visible: int, n_hidden: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights and biases of a machine that is neither silent nor saturated."""
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 0.5 / np.sqrt(n_visible), (n_visible, n_hidden)).astype(np.float32)
    return weights, rng.normal(-0.5, 0.5, n_visible).astype(np.float32), np.full(n_hidden, -0.5, np.float32)


def products(n_visible: int, n_hidden: int, n_chains: int, n_sweeps: int) -> Run:
    """The floor: nothing but the two matrix products of every sweep."""
    import jax
    import jax.numpy as jnp

    weights = jnp.asarray(parameters(n_visible, n_hidden)[0])

    @jax.jit
    def run(states: jax.Array) -> jax.Array:
        def body(v: jax.Array, _: None) -> tuple[jax.Array, None]:
            return (v @ weights) @ weights.T, None

        return jax.lax.scan(body, states, length=n_sweeps)[0]

    states = jnp.zeros((n_chains, n_visible))
    return lambda: jax.block_until_ready(run(states))


def secateur(n_visible: int, n_hidden: int, n_chains: int, n_sweeps: int, precision: Precision = "float32") -> Run:
    """Block Gibbs sweeps of this package."""
    import jax

    from secateur import sampling
    from secateur.machine import Machine

    weights, visible_bias, hidden_bias = parameters(n_visible, n_hidden)
    machine = Machine([weights], [visible_bias, hidden_bias])
    states = sampling.random_states(machine, jax.random.key(0), n_chains)
    machine = machine.in_precision(precision)
    return lambda: jax.block_until_ready(sampling.gibbs(machine, states, jax.random.key(1), n_sweeps))


def scikit_learn(n_visible: int, n_hidden: int, n_chains: int, n_sweeps: int) -> Run:
    """Sweeps of ``sklearn.neural_network.BernoulliRBM``, in float32."""
    from sklearn.neural_network import BernoulliRBM

    weights, visible_bias, hidden_bias = parameters(n_visible, n_hidden)
    model = BernoulliRBM(n_hidden, random_state=np.random.RandomState(0))
    model.components_ = np.ascontiguousarray(weights.T)
    model.intercept_visible_, model.intercept_hidden_ = visible_bias, hidden_bias
    model.random_state_ = np.random.RandomState(0)
    states = (np.random.default_rng(0).random((n_chains, n_visible)) < 0.5).astype(np.float32)

    def run() -> np.ndarray:
        v, rng = states, model.random_state_
        for _ in range(n_sweeps):
            hidden = model._sample_hiddens(v, rng)
            v = model._sample_visibles(hidden, rng).astype(np.float32)
        return v

    return run


def rbms(n_visible: int, n_hidden: int, n_chains: int, n_sweeps: int) -> Run:
    """Sweeps of rbms (PyTorch)."""
    import torch
    from rbms.bernoulli_bernoulli.classes import BBRBM

    weights, visible_bias, hidden_bias = (torch.from_numpy(a) for a in parameters(n_visible, n_hidden))
    model = BBRBM(weights, visible_bias, hidden_bias)
    with torch.no_grad():
        chains = model.init_chains(n_chains)

    def run() -> object:
        with torch.no_grad():
            return model.sample_state(chains=chains, n_steps=n_sweeps)

    return run


def thrml(n_visible: int, n_hidden: int, n_chains: int, n_sweeps: int) -> Run:
    """Sweeps of thrml (JAX): two blocks of spins and all edges between them."""
    import jax
    import jax.numpy as jnp
    from thrml import Block, SamplingSchedule, SpinNode, sample_states
    from thrml.models import IsingEBM, IsingSamplingProgram

    weights, visible_bias, hidden_bias = parameters(n_visible, n_hidden)
    visible, hidden = ([SpinNode() for _ in range(n)] for n in (n_visible, n_hidden))
    edges = [(v, h) for v in visible for h in hidden]
    biases = jnp.concatenate([visible_bias, hidden_bias]) / 2
    model = IsingEBM([*visible, *hidden], edges, biases, jnp.asarray(weights.ravel()) / 4, jnp.array(1.0))
    program = IsingSamplingProgram(model, [Block(visible), Block(hidden)], clamped_blocks=[])
    schedule = SamplingSchedule(n_warmup=n_sweeps - 1, n_samples=1, steps_per_sample=1)
    start = [jnp.zeros((n_chains, n), bool) for n in (n_visible, n_hidden)]
    keys = jax.random.split(jax.random.key(0), n_chains)

    @jax.jit
    def run(keys: jax.Array) -> list[jax.Array]:
        return jax.vmap(lambda key, state: sample_states(key, program, schedule, state, [], [Block(visible)]))(
            keys, start
        )

    return lambda: jax.block_until_ready(run(keys))


SWEEPS: dict[str, Callable[..., Run]] = {
    "matrix products alone": products,
    "secateur": secateur,
    "secateur, bfloat16": partial(secateur, precision="bfloat16"),
    "scikit-learn": scikit_learn,
    "rbms": rbms,
    "thrml": thrml,
}
