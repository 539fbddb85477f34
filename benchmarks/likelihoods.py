"""Likelihood on MNIST (28 x 28, binarised at half intensity): after equal time, and of a machine summed out exactly."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from secateur import likelihood, sampling
from secateur.datasets import data_folder
from secateur.datasets.mnist import find_file, parse_idx, unpack
from secateur.machine import Machine
from secateur.training import TrainingSettings, train
from secateur.trials import stack, unstack

MINUTES = 10.0
N_HIDDEN = 500
BATCH = 100
N_CHAINS, N_TEMPERATURES, N_BURN_IN = 250, 15_000, 5_000
"""Annealing runs in each direction and their temperatures; sweeps from the data to the start of the reversed runs."""
N_SEEDS = 10
SMALL = TrainingSettings(
    n_epochs=50, learning_rate=(0.1, 0.001), schedule="linear", centred=True, batch_size=100, n_chains=100
)
"""How the machine with 16 hidden units is trained."""


class Trained(NamedTuple):
    """What a library reached in the time it was given."""

    machine: Machine
    n_updates: int
    seconds: float


def mnist() -> tuple[np.ndarray, np.ndarray]:
    """Training and test images, 0 and 1, float32."""
    folder = data_folder("mnist")
    parts = []
    for name in ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte"):
        path = find_file(folder, name)
        images = parse_idx(unpack(path), "images", path)
        parts.append((images > 127).reshape(len(images), -1).astype(np.float32))
    return parts[0], parts[1]


def start_biases(rows: np.ndarray) -> np.ndarray:
    """Visible biases with which independent pixels have the rates of the data; the start of every library."""
    rates = np.clip(rows.mean(axis=0), 1e-3, 1 - 1e-3)
    return np.log(rates / (1 - rates)).astype(np.float32)


def by_secateur(rows: np.ndarray, seconds: float, rate: float, seed: int, **changes: Any) -> Trained:
    """As many epochs of PCD-1 as fit after one that compiles and ten that are timed."""
    began = time.perf_counter()
    key = jax.random.key(seed)
    start = Machine.random((784, N_HIDDEN), key, visible_bias=start_biases(rows))
    data = jax.device_put(rows)

    def run(n_epochs: int) -> Machine:
        settings = TrainingSettings(
            **{"n_epochs": n_epochs, "batch_size": BATCH, "learning_rate": (rate, rate / 100), "schedule": "linear"}
            | {"centred": True}
            | changes
        )
        return jax.block_until_ready(train(start, data, settings, key, record_history=False)[0])

    run(1)
    compiled = time.perf_counter()
    run(10)
    now = time.perf_counter()
    n_epochs = max(1, int(10 * (seconds - (now - began)) / (now - compiled)))
    machine = run(n_epochs)
    return Trained(machine, n_epochs * (len(rows) // BATCH), time.perf_counter() - began)


def by_scikit_learn(rows: np.ndarray, seconds: float, rate: float, seed: int) -> Trained:
    """Its own update in float32; ``fit`` would keep the learning rate and the order of the rows."""
    from sklearn.neural_network import BernoulliRBM

    rng = np.random.RandomState(seed)
    model = BernoulliRBM(N_HIDDEN, batch_size=BATCH, random_state=rng)
    model.components_ = np.asarray(rng.normal(0, 0.01, (N_HIDDEN, 784)), np.float32, order="F")
    model.intercept_visible_, model.intercept_hidden_ = start_biases(rows), np.zeros(N_HIDDEN, np.float32)
    model.h_samples_ = np.zeros((BATCH, N_HIDDEN), np.float32)

    def update(batch: np.ndarray, rate: float) -> None:
        model.learning_rate = rate
        model._fit(rows[batch], rng)

    n_updates, spent = _for_seconds(update, len(rows), seconds, rate, seed)
    arrays = (model.components_.T, model.intercept_visible_, model.intercept_hidden_)
    return Trained(Machine([arrays[0]], arrays[1:]), n_updates, spent)


def by_rbms(rows: np.ndarray, seconds: float, rate: float, seed: int) -> Trained:
    """Its own update with the centred gradient, its default."""
    import torch
    from rbms.bernoulli_bernoulli.classes import BBRBM
    from rbms.training.pcd import fit_batch_pcd

    torch.manual_seed(seed)
    model = BBRBM(0.01 * torch.randn(784, N_HIDDEN), torch.from_numpy(start_biases(rows)), torch.zeros(N_HIDDEN))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, maximize=True)
    images, ones = torch.from_numpy(rows), torch.ones(BATCH)
    with torch.no_grad():
        chains = model.init_chains(BATCH)

        def update(batch: np.ndarray, rate: float) -> None:
            nonlocal chains
            optimizer.param_groups[0]["lr"] = rate
            chosen = (images[torch.from_numpy(batch)], ones)
            chains, _ = fit_batch_pcd(chosen, chains, model, gibbs_steps=1, beta=1.0)
            optimizer.step()

        n_updates, spent = _for_seconds(update, len(rows), seconds, rate, seed)
    weights, visible_bias, hidden_bias = (p.detach().numpy() for p in (model.weight_matrix, model.vbias, model.hbias))
    return Trained(Machine([weights], [visible_bias, hidden_bias]), n_updates, spent)


def _for_seconds(
    update: Callable[[np.ndarray, float], None], n_rows: int, seconds: float, rate: float, seed: int
) -> tuple[int, float]:
    """Updates on batches in random order while time is left, the rate falling to zero as time goes by."""
    rng, n_updates = np.random.default_rng(seed), 0
    began = time.perf_counter()
    while True:
        for batch in rng.permutation(n_rows).reshape(-1, BATCH):
            spent = time.perf_counter() - began
            if spent >= seconds:
                return n_updates, spent
            update(batch, rate * max(1 - spent / seconds, 0.01))
            n_updates += 1


TRAINERS: dict[str, tuple[Callable[..., Trained], float, dict[str, Any]]] = {
    "secateur": (by_secateur, 0.05, {}),
    "rbms, rate 1": (by_rbms, 1.0, {}),
    "scikit-learn, rate 0.1": (by_scikit_learn, 0.1, {}),
    "secateur, bfloat16": (by_secateur, 0.05, {"precision": "bfloat16"}),
    "rbms, rate 2": (by_rbms, 2.0, {}),
    "scikit-learn, rate 0.05": (by_scikit_learn, 0.05, {}),
}
"""How each library is trained, its learning rate at the start and further settings. The rates are not tuned with equal
effort: docs/speed.md tells what was tried.
"""


def measured(machine: Machine, train_rows: np.ndarray, test_rows: np.ndarray) -> dict[str, float]:
    """Mean test log-likelihood in nats, log Z from annealing in both directions.

    ``log_likelihood`` takes log Z from annealing upwards, on average too small; ``downwards`` from annealing downwards,
    on average too large. The truth is expected between. Standard errors: of log Z, and of the mean over test images.
    """
    base = likelihood.base_bias_of(train_rows.mean(axis=0))
    keys = jax.random.split(jax.random.key(0), 4)
    size = {"n_chains": N_CHAINS, "n_temperatures": N_TEMPERATURES}
    weights = likelihood.annealed_log_weights(machine, base, keys[0], **size)
    up = likelihood.combine_log_weights(np.asarray(weights), N_TEMPERATURES)
    states = sampling.data_states(machine, train_rows, keys[1], N_CHAINS)
    states = sampling.gibbs(machine, states, keys[2], N_BURN_IN)
    weights = likelihood.reverse_log_weights(machine, base, states, keys[3], n_temperatures=N_TEMPERATURES)
    down = likelihood.combine_reverse_log_weights(np.asarray(weights), N_TEMPERATURES)
    each = likelihood.log_probability(machine, test_rows, up)
    return {
        "log_likelihood": float(each.mean()),
        "log_z_standard_error": up.standard_error,
        "effective_sample_size": up.effective_sample_size,
        "rows_standard_error": float(each.std(ddof=1) / math.sqrt(len(each))),
        "downwards": float(each.mean()) - (down.estimate - up.estimate),
        "downwards_standard_error": down.standard_error,
        "train_log_likelihood": float(likelihood.log_probability(machine, train_rows[:10_000], up).mean()),
    }


def equal_time(case: str, peer: str) -> dict[str, Any]:
    """Ten minutes of PCD-1 with 500 hidden units, batches and chains of 100, the learning rate falling to zero."""
    train_rows, test_rows = mnist()
    trainer, rate, changes = TRAINERS[peer]
    found = trainer(train_rows, 60 * MINUTES, rate, 0, **changes)
    return {
        "seconds": found.seconds,
        "n_updates": found.n_updates,
        "learning_rate": rate,
    } | measured(found.machine, train_rows, test_rows)


def small_machine(case: str, library: str) -> dict[str, Any]:
    """Fifty epochs of PCD-1 with the centred gradient, ten seeds at once: exact test log-likelihood in nats.

    A published run of as many epochs ends at -142.6; how its images were binarised is not known.
    """
    train_rows, test_rows = mnist()
    keys = jax.random.split(jax.random.key(0), N_SEEDS)
    start = stack([Machine.random((784, 16), key, visible_bias=start_biases(train_rows)) for key in keys])
    data = np.broadcast_to(train_rows, (N_SEEDS, *train_rows.shape))
    began = time.perf_counter()
    trained, _ = train(start, jax.device_put(data), SMALL, keys, record_history=False)
    machines = unstack(jax.block_until_ready(trained))
    seconds = time.perf_counter() - began
    means = [
        float(likelihood.log_probability(machine, test_rows, likelihood.log_partition(machine)).mean())
        for machine in machines
    ]
    spread = float(np.std(means, ddof=1) / math.sqrt(N_SEEDS))
    return {"log_likelihood": float(np.mean(means)), "seeds_standard_error": spread, "seconds": seconds, "each": means}
