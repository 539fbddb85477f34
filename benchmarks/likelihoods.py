"""Likelihood on MNIST (28 x 28, binarised at half intensity): after equal time, and of a machine summed out exactly.

``python benchmarks/likelihoods.py --help`` trains one library for a number of updates and measures what it reached, on
held-out training images (how settings were chosen) or on test images.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from secateur import likelihood, sampling
from secateur.data import data_folder
from secateur.data.mnist import find_file, parse_idx, unpack
from secateur.model.machine import Machine
from secateur.model.trials import stack, unstack
from secateur.sampling.draws import swept
from secateur.storage.machines import save_machine
from secateur.training import TrainingSettings, train

MINUTES = 10.0
PROBE_UPDATES = 4_800
"""Eight epochs, from whose time the number that fits into ``MINUTES`` is computed."""
N_HELD_OUT = 10_000
"""Last training images, on which settings are chosen."""
N_HIDDEN = 500
BATCH = 100
N_CHAINS, N_TEMPERATURES, N_BURN_IN = 250, 15_000, 5_000
"""Annealing runs in each direction and their temperatures; sweeps from the data to the start of the reversed runs."""
N_SEEDS = 10
SMALL = TrainingSettings(
    n_epochs=50, learning_rate=(0.1, 0.001), schedule="linear", centred=True, batch_size=100, n_chains=100
)
"""How the machine with 16 hidden units is trained."""


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


def by_secateur(
    rows: np.ndarray, n_updates: int, seed: int, *, rate: float, l2: float = 0.0, precision: Any = "float32"
) -> Machine:
    """PCD-1 with the centred gradient, in whole epochs."""
    key = jax.random.key(seed)
    start = Machine.random((784, N_HIDDEN), key, visible_bias=start_biases(rows))
    settings = TrainingSettings(
        n_epochs=max(1, round(n_updates * BATCH / len(rows))),
        batch_size=BATCH,
        learning_rate=(rate, rate / 100),
        schedule="linear",
        centred=True,
        l2=l2,
        precision=precision,
    )
    return jax.block_until_ready(train(start, jax.device_put(rows), settings, key, record_history=False)[0])


def by_scikit_learn(rows: np.ndarray, n_updates: int, seed: int, *, rate: float) -> Machine:
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

    _run(update, len(rows), n_updates, rate, seed)
    return Machine([model.components_.T], [model.intercept_visible_, model.intercept_hidden_])


def by_rbms(rows: np.ndarray, n_updates: int, seed: int, *, rate: float, l2: float = 0.0) -> Machine:
    """Its own update with the centred gradient, its default; it takes ``l2`` twice and normalises the gradient."""
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
            chains, _ = fit_batch_pcd(chosen, chains, model, gibbs_steps=1, beta=1.0, lambda_l2=l2)
            optimizer.step()

        _run(update, len(rows), n_updates, rate, seed)
    weights, visible_bias, hidden_bias = (p.detach().numpy() for p in (model.weight_matrix, model.vbias, model.hbias))
    return Machine([weights], [visible_bias, hidden_bias])


def _run(update: Callable[[np.ndarray, float], None], n_rows: int, n_updates: int, rate: float, seed: int) -> None:
    """Updates on batches of rows in random order, the rate falling linearly to a hundredth."""
    rng = np.random.default_rng(seed)
    batches: list[np.ndarray] = []
    for number in range(n_updates):
        if not batches:
            batches = list(rng.permutation(n_rows).reshape(-1, BATCH))
        update(batches.pop(), rate * (1 - 0.99 * number / n_updates))


TRAINERS: dict[str, Callable[..., Machine]] = {
    "secateur": by_secateur,
    "rbms": by_rbms,
    "scikit-learn": by_scikit_learn,
}
"""What trains a machine on rows with a number of updates and a seed."""
CHOSEN: dict[str, dict[str, float]] = {
    "secateur": {"rate": 0.05, "l2": 2e-4},
    "rbms": {"rate": 1.0},
    "scikit-learn": {"rate": 0.1},
}
"""The settings of each library that did best on held-out images after half the updates (docs/speed/tuning.jsonl)."""


def measured(
    machine: Machine, train_rows: np.ndarray, rows: np.ndarray, n_temperatures: int = N_TEMPERATURES
) -> dict[str, float]:
    """Mean log-likelihood of rows in nats, with log Z from annealing in both directions.

    ``log_likelihood`` combines both directions (Bennett 1976). ``upwards`` takes log Z from annealing towards the
    model, on average too small, ``downwards`` the other way, on average too large: the truth is expected between.
    Standard errors: of log Z, and of the mean over rows.
    """
    base = likelihood.base_bias_of(train_rows.mean(axis=0))
    keys = jax.random.split(jax.random.key(0), 4)
    size = {"n_temperatures": n_temperatures}
    forward = np.asarray(likelihood.annealed_log_weights(machine, base, keys[0], n_chains=N_CHAINS, **size))
    states = sampling.data_states(machine, train_rows, keys[1], N_CHAINS)
    states = swept(machine, states, keys[2], N_BURN_IN)
    reverse = np.asarray(likelihood.reverse_log_weights(machine, base, states, keys[3], **size))
    up = likelihood.combine_log_weights(forward, n_temperatures)
    down = likelihood.combine_reverse_log_weights(reverse, n_temperatures)
    both = likelihood.combine_both_directions(forward, reverse, n_temperatures)
    each = likelihood.log_probability(machine, rows, both)
    mean = float(each.mean())
    return {
        "log_likelihood": mean,
        "log_z_standard_error": both.standard_error,
        "rows_standard_error": float(each.std(ddof=1) / math.sqrt(len(each))),
        "upwards": mean + both.estimate - up.estimate,
        "upwards_standard_error": up.standard_error,
        "upwards_effective_sample_size": up.effective_sample_size,
        "downwards": mean + both.estimate - down.estimate,
        "downwards_standard_error": down.standard_error,
        "downwards_effective_sample_size": down.effective_sample_size,
        "train_log_likelihood": float(likelihood.log_probability(machine, train_rows[:10_000], both).mean()),
    }


def equal_time(case: str, library: str) -> dict[str, Any]:
    """As many whole epochs as fit into ten minutes, compiling included, by the time that a probe takes."""
    train_rows, test_rows = mnist()

    def run(n_updates: int) -> tuple[Machine, float]:
        began = time.perf_counter()
        return TRAINERS[library](train_rows, n_updates, 0, **CHOSEN[library]), time.perf_counter() - began

    (_, first), (_, probe) = run(PROBE_UPDATES), run(PROBE_UPDATES)
    start = max(first - probe, 0.0)
    n_updates = int(PROBE_UPDATES * (60 * MINUTES - start) / probe)
    n_updates -= n_updates % (len(train_rows) // BATCH)
    machine, seconds = run(n_updates)
    found = {"seconds": start + seconds, "n_updates": n_updates, "settings": CHOSEN[library]}
    return found | measured(machine, train_rows, test_rows)


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


def main() -> None:
    """Train one library for a number of updates; print what it reached."""
    parser = argparse.ArgumentParser(description="Train one library on MNIST and measure the likelihood it reached.")
    parser.add_argument("library", choices=TRAINERS)
    parser.add_argument("--updates", type=int, required=True)
    parser.add_argument("--settings", type=json.loads, default={}, help='as JSON, for example {"rate": 0.05}')
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--held-out", action="store_true", help="leave out and measure the last 10,000 training images")
    parser.add_argument("--temperatures", type=int, default=N_TEMPERATURES, help="of the annealing runs that follow")
    parser.add_argument("--machine", type=Path, help="file to save the machine in")
    arguments = parser.parse_args()
    train_rows, rows = mnist()
    if arguments.held_out:
        train_rows, rows = train_rows[:-N_HELD_OUT], train_rows[-N_HELD_OUT:]
    began = time.perf_counter()
    machine = TRAINERS[arguments.library](train_rows, arguments.updates, arguments.seed, **arguments.settings)
    seconds = time.perf_counter() - began
    if arguments.machine:
        save_machine(machine, arguments.machine)
    asked = {name: value for name, value in vars(arguments).items() if name != "machine"}
    print(
        json.dumps(asked | {"seconds": seconds} | measured(machine, train_rows, rows, arguments.temperatures)),
        flush=True,
    )


if __name__ == "__main__":
    main()
