"""What is measured, each case in a process of its own: ``python benchmarks/cases.py CASE PEER`` prints JSON."""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import peers

REPEATS = 7
SWEEP_SIZES = {
    "sweeps 13 x 70, 90,000 chains": (13, 70, 90_000, 10),
    "sweeps 784 x 500, 1,000 chains": (784, 500, 1_000, 20),
    "sweeps 4,096 x 4,096, 256 chains": (4_096, 4_096, 256, 5),
}


def timed(run: peers.Run, repeats: int = REPEATS) -> dict[str, float]:
    """Median and shortest seconds of a few runs after one that warms up."""
    run()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return {"median_s": statistics.median(seconds), "shortest_s": min(seconds)}


def sweeps(case: str, peer: str) -> dict[str, Any]:
    """Seconds per Gibbs sweep, with the floating-point operations and bytes of its products."""
    n_visible, n_hidden, n_chains, n_sweeps = SWEEP_SIZES[case]
    found = timed(peers.SWEEPS[peer](n_visible, n_hidden, n_chains, n_sweeps))
    flop = 4 * n_visible * n_hidden * n_chains
    n_bytes = 4 * (2 * n_visible * n_hidden + 2 * n_chains * (n_visible + n_hidden))
    return {name: value / n_sweeps for name, value in found.items()} | {"flop": flop, "bytes": n_bytes}


def digits(n_rows: int = 60_000, n_pixels: int = 784) -> np.ndarray:
    """Rows of 0 and 1 with the statistics that time depends on: none but their number and width."""
    return (np.random.default_rng(0).random((n_rows, n_pixels), dtype=np.float32) < 0.13).astype(np.float32)


def training(peer: str, **changes: Any) -> peers.Run:
    """One epoch of PCD-1 on 60,000 rows of 784 pixels, 500 hidden units, batches and chains of 100."""
    if peer.startswith("secateur"):
        import jax

        from secateur.machine import Machine
        from secateur.training import TrainingSettings, train

        precision = "bfloat16" if "bfloat16" in peer else "float32"
        settings = TrainingSettings(**{"n_epochs": 1, "precision": precision, "learning_rate": 0.05} | changes)
        data = jax.numpy.asarray(digits())
        machine = Machine.random((784, 500), jax.random.key(0))
        return lambda: jax.block_until_ready(train(machine, data, settings, jax.random.key(1), record_history=False)[0])
    rows = digits()
    if peer == "scikit-learn":
        from sklearn.neural_network import BernoulliRBM

        return lambda: BernoulliRBM(500, learning_rate=0.05, batch_size=100, n_iter=1, random_state=0).fit(rows)
    import torch
    from rbms.bernoulli_bernoulli.classes import BBRBM
    from rbms.training.pcd import fit_batch_pcd

    images = torch.from_numpy(rows)
    weights, visible_bias, hidden_bias = (torch.from_numpy(a) for a in peers.parameters(784, 500))

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


def epochs(case: str, peer: str) -> dict[str, Any]:
    """Seconds per epoch."""
    return timed(training(peer), repeats=3)


def single_rows(case: str, peer: str) -> dict[str, Any]:
    """One epoch of single rows of 13 pixels, 70 hidden units, CD-1: seconds per update and trial."""
    if peer == "scikit-learn":  # persistent chains, not CD-1; as much work
        from sklearn.neural_network import BernoulliRBM

        rows = digits(9_000, 13)
        found = timed(lambda: BernoulliRBM(70, batch_size=1, n_iter=1, random_state=0).fit(rows), repeats=1)
        return {name: seconds / len(rows) for name, seconds in found.items()}
    import jax

    from secateur.machine import Machine
    from secateur.training import TrainingSettings, train
    from secateur.trials import stack

    n_trials = 10 if "ten trials" in peer else 1
    machine = stack([Machine.random((13, 70), jax.random.key(trial)) for trial in range(n_trials)])
    data = jax.numpy.asarray(np.stack([digits(90_000, 13)] * n_trials))
    settings = TrainingSettings(method="cd", n_epochs=1, batch_size=1, learning_rate=0.05)

    def run() -> object:
        return jax.block_until_ready(train(machine, data, settings, jax.random.key(0), record_history=False)[0])

    return {name: seconds / (90_000 * n_trials) for name, seconds in timed(run, repeats=3).items()}


def deep_machine(left: int = 676) -> Any:
    """The digits study's machine, with random weights, and its top layer cut down to some units."""
    import jax

    from secateur.machine import Machine, receptive_field_masks

    sizes = (400, 400, left)
    masks = receptive_field_masks(sizes, (20, 20), 5)
    return Machine.random(sizes, jax.random.key(0), weight_scale=0.1, hidden_bias=-1.0, masks=masks)


def deep_epochs(case: str, peer: str) -> dict[str, Any]:
    """One epoch of joint training of the digits study's machine: batches and chains of 100, five sweeps per update."""
    import jax

    from secateur.training import TrainingSettings, train

    machine = deep_machine(169 if "quarter" in peer else 676)
    precision = "bfloat16" if "bfloat16" in peer else "float32"
    settings = TrainingSettings(
        n_epochs=1, n_sweeps=5, n_mean_field=5, learning_rate=0.005, max_norm=6.0, precision=precision
    )
    rows = jax.numpy.asarray(digits(60_000, 400))

    def run() -> object:
        return jax.block_until_ready(train(machine, rows, settings, jax.random.key(1), record_history=False)[0])

    return timed(run, repeats=3)


def variance(case: str, peer: str) -> dict[str, Any]:
    """Variance Fisher information of the digits study's machine from 60,000 states, streamed over 500 chains."""
    import jax

    from secateur import fisher, sampling

    machine = deep_machine()
    states = sampling.random_states(machine, jax.random.key(0), 500)

    def run() -> object:
        moments = sampling.moments(machine, states, jax.random.key(1), n_draws=120, n_sweeps=2)
        return jax.block_until_ready(list(fisher.variance(machine, moments)))

    return timed(run, repeats=3)


def eigenpairs(case: str, peer: str) -> dict[str, Any]:
    """All eigenpairs of the exact matrix of a 13 x 70 machine, or ten leading ones of the digits study's machine."""
    import jax

    from secateur import fisher, sampling
    from secateur.machine import Machine

    if "13 x 70" in case:
        machine = Machine.random((13, 70), jax.random.key(0), weight_scale=0.5)
        return timed(lambda: np.linalg.eigh(fisher.matrix(machine, "exact").dense()), repeats=3)
    machine = deep_machine()
    states = sampling.gibbs(machine, sampling.random_states(machine, jax.random.key(0), 10_000), jax.random.key(1), 50)
    return timed(lambda: fisher.matrix(machine, states).top(10, key=jax.random.key(2)), repeats=1)


def log_partitions(case: str, peer: str) -> dict[str, Any]:
    """Exact log Z of a machine of 784 visible and 16 hidden units."""
    weights, visible_bias, hidden_bias = peers.parameters(784, 16)
    if peer == "rbms":
        import torch
        from rbms.bernoulli_bernoulli.classes import BBRBM
        from rbms.partition_function.exact import compute_partition_function

        model = BBRBM(*(torch.from_numpy(a) for a in (weights, visible_bias, hidden_bias)))
        states = (torch.arange(2**16)[:, None] >> torch.arange(16)[None, :] & 1).float()
        return timed(lambda: compute_partition_function(model, states)) | {
            "log_z": compute_partition_function(model, states)
        }
    from secateur import likelihood
    from secateur.machine import Machine

    machine = Machine([weights], [visible_bias, hidden_bias])
    return timed(lambda: likelihood.log_partition(machine)) | {"log_z": likelihood.log_partition(machine).estimate}


CASES: dict[str, tuple[Callable[[str, str], dict[str, Any]], tuple[str, ...]]] = {
    # thrml holds every edge as an object: sixteen million of them are out of reach.
    **{
        name: (sweeps, tuple(p for p in peers.SWEEPS if p != "thrml" or size[0] < 1_000))
        for name, size in SWEEP_SIZES.items()
    },
    "PCD epoch 784 x 500": (epochs, ("secateur", "secateur, bfloat16", "scikit-learn", "rbms")),
    "update of one row 13 x 70": (single_rows, ("secateur", "secateur, ten trials", "scikit-learn")),
    "deep epoch 400-400-676": (deep_epochs, ("secateur", "secateur, bfloat16", "secateur, a quarter of the top units")),
    "variance information 400-400-676": (variance, ("secateur",)),
    "eigenpairs, all, 13 x 70": (eigenpairs, ("secateur",)),
    "eigenpairs, ten, 400-400-676": (eigenpairs, ("secateur",)),
    "exact log Z 784 x 16": (log_partitions, ("secateur", "rbms")),
}
"""What is measured, and for whom."""


def main() -> None:
    """Measure one case of one peer."""
    case, peer = sys.argv[1:]
    found = CASES[case][0](case, peer)
    found["peak_bytes"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"case": case, "peer": peer} | found))


if __name__ == "__main__":
    main()
