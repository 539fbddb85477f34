"""Gibbs sweeps and epochs of every library behind one interface: a function of sizes gives the run that is timed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from timing import Run

if TYPE_CHECKING:
    from secateur.model.machine import Precision


def parameters(n_visible: int, n_hidden: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights and biases of a machine that is neither silent nor saturated."""
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 0.5 / np.sqrt(n_visible), (n_visible, n_hidden)).astype(np.float32)
    return weights, rng.normal(-0.5, 0.5, n_visible).astype(np.float32), np.full(n_hidden, -0.5, np.float32)


def sweep_products(n_visible: int, n_hidden: int, n_chains: int, n_sweeps: int) -> Run:
    """The floor of sweeps: nothing but the two matrix products of each, in float32."""
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
    from secateur.model.machine import Machine
    from secateur.sampling.draws import swept

    weights, visible_bias, hidden_bias = parameters(n_visible, n_hidden)
    machine = Machine([weights], [visible_bias, hidden_bias])
    states = sampling.random_states(machine, jax.random.key(0), n_chains)
    machine = machine.in_precision(precision)
    return lambda: jax.block_until_ready(swept(machine, states, jax.random.key(1), n_sweeps))


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


def update_products(sizes: tuple[int, ...], n_updates: int, batch: int, n_sweeps: int, n_mean_field: int) -> Run:
    """The floor of training: nothing but the matrix products of every update, in float32, for one or two hidden layers.

    Mean-field updates of deep machines are counted at their most; they may stop earlier.
    """
    import jax
    import jax.numpy as jnp

    keys = jax.random.split(jax.random.key(0), len(sizes) - 1)
    weights = [0.01 * jax.random.normal(k, s) for k, s in zip(keys, zip(sizes, sizes[1:], strict=False), strict=True)]
    data = jnp.asarray(digits(60_000, sizes[0]))

    @jax.jit
    def run(weights: list[jax.Array], states: list[jax.Array], rows: jax.Array) -> tuple:
        def body(carry: tuple[list[jax.Array], list[jax.Array]], rows: jax.Array) -> tuple[tuple, None]:
            (first, *rest), states = carry
            means = [data[rows], data[rows] @ first]
            for above in rest:
                means.append(means[1] @ above)
                from_visible = means[0] @ (first + 1e-9)  # one product more, which XLA must not merge with the other
                for _ in range(n_mean_field):
                    means[1] = from_visible + means[2] @ above.T
                    means[2] = means[1] @ above
            for _ in range(n_sweeps):
                states = [states[1] @ first.T, states[1], *(states[1] @ w for w in rest)]
                states[1] = states[0] @ first + sum(s @ w.T for s, w in zip(states[2:], rest, strict=True))
            gradients = [
                means[layer].T @ means[layer + 1] - states[layer].T @ states[layer + 1]
                for layer in range(len(states) - 1)
            ]
            new = [w + 1e-9 * g for w, g in zip((first, *rest), gradients, strict=True)]
            return (new, states), None

        return jax.lax.scan(body, (weights, states), rows)[0]

    states = [data[:batch, :1] + jnp.zeros((batch, n)) for n in sizes]
    rows = jax.random.permutation(jax.random.key(1), 60_000)[: n_updates * batch].reshape(n_updates, batch)
    return lambda: jax.block_until_ready(run(weights, states, rows))


def digits(n_rows: int = 60_000, n_pixels: int = 784) -> np.ndarray:
    """Rows of 0 and 1 with the statistics that time depends on: none but their number and width."""
    return (np.random.default_rng(0).random((n_rows, n_pixels), dtype=np.float32) < 0.13).astype(np.float32)


def epoch(peer: str) -> Run:
    """One epoch of PCD-1 on 60,000 rows of 784 pixels, 500 hidden units, batches and chains of 100."""
    return {"scikit-learn": _epoch_of_scikit_learn, "rbms": _epoch_of_rbms}.get(peer, partial(_epoch, peer))()


def _epoch(peer: str) -> Run:
    import jax

    from secateur.model.machine import Machine
    from secateur.training import TrainingSettings, train

    precision: Any = "bfloat16" if "bfloat16" in peer else "float32"
    settings = TrainingSettings(n_epochs=1, precision=precision, learning_rate=(0.05, 0.05), centred=True)
    data = jax.numpy.asarray(digits())
    machine = Machine.random((784, 500), jax.random.key(0))
    return lambda: jax.block_until_ready(train(machine, data, settings, jax.random.key(1), record_history=False)[0])


def _epoch_of_scikit_learn() -> Run:
    from sklearn.neural_network import BernoulliRBM

    rows = digits()
    return lambda: BernoulliRBM(500, learning_rate=0.05, batch_size=100, n_iter=1, random_state=0).fit(rows)


def _epoch_of_rbms() -> Run:
    import torch
    from rbms.bernoulli_bernoulli.classes import BBRBM
    from rbms.training.pcd import fit_batch_pcd

    images = torch.from_numpy(digits())
    weights, visible_bias, hidden_bias = (torch.from_numpy(a) for a in parameters(784, 500))

    def run() -> None:
        model = BBRBM(weights.clone(), visible_bias.clone(), hidden_bias.clone())
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, maximize=True)
        with torch.no_grad():
            chains = model.init_chains(100)
            for batch in torch.randperm(len(images)).split(100):
                chosen = (images[batch], torch.ones(len(batch)))
                chains, _ = fit_batch_pcd(chosen, chains, model, gibbs_steps=1, beta=1.0)
                optimizer.step()

    return run


SWEEPS: dict[str, Callable[..., Run]] = {
    "secateur": secateur,
    "secateur, bfloat16": partial(secateur, precision="bfloat16"),
    "scikit-learn": scikit_learn,
    "rbms": rbms,
    "thrml": thrml,
}
