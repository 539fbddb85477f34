"""What is measured, each case of each library in a process of its own: ``python benchmarks/cases.py CASE LIBRARY``."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

import commands
import numpy as np
import peers
from timing import median_seconds

SWEEP_SIZES = {
    "sweeps 13 x 70, 90,000 chains": (13, 70, 90_000, 10),
    "sweeps 784 x 500, 1,000 chains": (784, 500, 1_000, 20),
    "sweeps 4,096 x 4,096, 256 chains": (4_096, 4_096, 256, 5),
}
PRUNED_SIZES = {
    "secateur, a quarter of the top units": (400, 293, 158),
    "secateur, after ten rounds": (400, 194, 100),
}
"""Units of the digits study's machine as variance FI leaves them (docs/digits/results.nc, means of three trials)."""
CURVES = {
    "chains": ("784 x 500",),
    "units": ("n x n, 256 chains",),
    "synapses left": ("units removed", "synapses removed"),
    "trials": ("one row 13 x 70",),
}
"""What grows, and the curves that are measured."""

Measure = Callable[[str, str], dict[str, Any]]
"""A function of case and library that gives measured numbers."""


class Case(NamedTuple):
    """How it is measured, and the libraries that it is asked for."""

    measure: Measure
    libraries: tuple[str, ...]


def _of(module: str, name: str) -> Measure:
    """A function of a module that is imported when it is called: JAX has no place in the memory of other libraries."""
    return lambda case, library: getattr(import_module(module), name)(case, library)


def sweeps(case: str, library: str) -> dict[str, Any]:
    """Seconds per Gibbs sweep; bytes are those of weights and states, each read and written once per half-sweep."""
    n_visible, n_hidden, n_chains, n_sweeps = SWEEP_SIZES[case]
    run = peers.SWEEPS[library](*SWEEP_SIZES[case])
    counts = {
        "flop": 4 * n_visible * n_hidden * n_chains,
        "bytes": 4 * (2 * n_visible * n_hidden + 2 * n_chains * (n_visible + n_hidden)),
    }
    if not library.startswith("secateur"):
        return {"seconds": median_seconds(run)[0] / n_sweeps} | counts
    floor, seconds = median_seconds(peers.sweep_products(*SWEEP_SIZES[case]), run)
    return {"seconds": seconds / n_sweeps, "floor": floor / n_sweeps} | counts


def epochs(case: str, library: str) -> dict[str, Any]:
    """Seconds per epoch of 600 updates: five products each, of batches or chains with the weights or the states."""
    run, counts = peers.epoch(library), {"flop": 600 * 5 * 2 * 100 * 784 * 500}
    if not library.startswith("secateur"):
        return {"seconds": median_seconds(run, repeats=3)[0]} | counts
    floor, seconds = median_seconds(peers.update_products((784, 500), 600, 100, 1, 0), run, repeats=3)
    return {"seconds": seconds, "floor": floor} | counts


def single_rows(case: str, library: str) -> dict[str, Any]:
    """One epoch of single rows of 13 pixels, 70 hidden units, CD-1: seconds per update and trial."""
    if library == "scikit-learn":  # persistent chains, not CD-1; as much work
        from sklearn.neural_network import BernoulliRBM

        rows = peers.digits(9_000, 13)
        model = BernoulliRBM(70, batch_size=1, n_iter=1, random_state=0)
        return {"seconds": median_seconds(partial(model.fit, rows), repeats=1)[0] / len(rows)}
    import scaling

    n_trials = 10 if "ten trials" in library else 1
    return {"seconds": median_seconds(scaling.single_row_epoch(n_trials), repeats=3)[0] / (90_000 * n_trials)}


def deep_epochs(case: str, library: str) -> dict[str, Any]:
    """One epoch of joint training of the digits study's machine: batches and chains of 100, five sweeps per update."""
    import jax
    import scaling

    from secateur.training import TrainingSettings, train

    sizes = PRUNED_SIZES.get(library, (400, 400, 676))
    machine = scaling.deep_machine(sizes)
    precision: Any = "bfloat16" if "bfloat16" in library else "float32"
    settings = TrainingSettings(
        n_epochs=1, learning_rate=(0.005, 0.005), max_norm=6.0, precision=precision, n_sweeps=5, n_mean_field=5
    )
    rows = jax.numpy.asarray(peers.digits(60_000, 400))

    def run() -> object:
        return jax.block_until_ready(train(machine, rows, settings, jax.random.key(1), record_history=False)[0])

    floor, seconds = median_seconds(peers.update_products(sizes, 600, 100, 5, 5), run, repeats=3)
    lower, upper = sizes[0] * sizes[1], sizes[1] * sizes[2]
    per_row = (lower + upper) + lower + 5 * 2 * upper + 5 * 2 * (lower + upper) + 2 * (lower + upper)
    return {"seconds": seconds, "floor": floor, "flop": 2 * 60_000 * per_row}


def pruned_sweeps(case: str, library: str) -> dict[str, Any]:
    """Seconds per sweep of 1,000 chains of the digits study's machine, in turns with the unpruned one."""
    import scaling

    runs = [scaling.deep_sweeps(sizes, n_sweeps=10) for sizes in ((400, 400, 676), PRUNED_SIZES[library])]
    unpruned, seconds = median_seconds(*runs)
    lower, middle, upper = PRUNED_SIZES[library]
    flop = 4 * 1_000 * (lower * middle + middle * upper)
    return {"seconds": seconds / 10, "unpruned": unpruned / 10, "flop": flop}


def variance(case: str, library: str) -> dict[str, Any]:
    """Variance Fisher information of the digits study's machine from 60,000 states, streamed over 500 chains."""
    import equinox as eqx
    import jax
    import scaling

    from secateur import fisher, sampling
    from secateur.sampling import GibbsState
    from secateur.sampling.runner import streamed_moments

    machine = scaling.deep_machine()
    states, sampler = sampling.random_states(machine, jax.random.key(0), 500), sampling.Gibbs(n_sweeps=2)
    average = eqx.filter_jit(streamed_moments)

    def run() -> object:
        moments = average(machine, sampler, GibbsState(states), jax.random.key(1), n_draws=120)
        return jax.block_until_ready(list(fisher.variance(machine, moments)))

    n_synapses = 400 * 400 + 400 * 676
    return {"seconds": median_seconds(run, repeats=3)[0], "flop": 60_000 * n_synapses * (2 * 4 + 2 + 2)}


def eigenpairs(case: str, library: str) -> dict[str, Any]:
    """All eigenpairs of the exact matrix of a 13 x 70 machine, or ten leading ones of the digits study's machine."""
    import jax
    import scaling

    from secateur import fisher, sampling
    from secateur.model.machine import Machine
    from secateur.sampling.draws import swept

    if "13 x 70" in case:
        machine = Machine.random((13, 70), jax.random.key(0), weight_scale=0.5)
        return {
            "seconds": median_seconds(lambda: np.linalg.eigh(fisher.matrix(machine, "exact").dense()), repeats=3)[0]
        }
    machine = scaling.deep_machine()
    states = swept(machine, sampling.random_states(machine, jax.random.key(0), 10_000), jax.random.key(1), 50)
    run = partial(fisher.matrix(machine, states).top, 10, key=jax.random.key(2))
    return {"seconds": median_seconds(run, repeats=1)[0]}


def log_partitions(case: str, library: str) -> dict[str, Any]:
    """Exact log Z of a machine of 784 visible and 16 hidden units."""
    weights, visible_bias, hidden_bias = peers.parameters(784, 16)
    if library == "rbms":
        import torch
        from rbms.bernoulli_bernoulli.classes import BBRBM
        from rbms.partition_function.exact import compute_partition_function

        model = BBRBM(*(torch.from_numpy(a) for a in (weights, visible_bias, hidden_bias)))
        states = (torch.arange(2**16)[:, None] >> torch.arange(16)[None, :] & 1).float()
        run = partial(compute_partition_function, model, states)
        return {"seconds": median_seconds(run)[0], "log_z": float(run())}
    from secateur import likelihood
    from secateur.model.machine import Machine

    run = partial(likelihood.log_partition, Machine([weights], [visible_bias, hidden_bias]))
    return {"seconds": median_seconds(run)[0], "log_z": run().estimate}


ALL = ("secateur", "secateur, bfloat16", "scikit-learn", "rbms")
CASES: dict[str, Case] = {
    # thrml holds every edge as an object: sixteen million of them are out of reach.
    **{n: Case(sweeps, (*ALL, "thrml") if size[0] < 1_000 else ALL) for n, size in SWEEP_SIZES.items()},
    "PCD epoch 784 x 500": Case(epochs, ALL),
    "update of one row 13 x 70": Case(single_rows, ("secateur", "secateur, ten trials", "scikit-learn")),
    "deep epoch 400-400-676": Case(
        deep_epochs, ("secateur", "secateur, bfloat16", "secateur, a quarter of the top units")
    ),
    "deep sweeps, 1,000 chains": Case(pruned_sweeps, tuple(PRUNED_SIZES)),
    "deep sweeps by blocks": Case(_of("receptive_fields", "measure"), ("100 chains", "1,000 chains")),
    "variance information 400-400-676": Case(variance, ("secateur",)),
    "eigenpairs, all, 13 x 70": Case(eigenpairs, ("secateur",)),
    "eigenpairs, ten, 400-400-676": Case(eigenpairs, ("secateur",)),
    "exact log Z 784 x 16": Case(log_partitions, ("secateur", "rbms")),
    **{f"command: {name}": Case(commands.measure, ("secateur",)) for name in commands.COMMANDS},
    **{f"scaling: {name}": Case(_of("scaling", "measure"), curves) for name, curves in CURVES.items()},
    "exact likelihood, MNIST, 16 hidden units": Case(_of("likelihoods", "small_machine"), ("secateur",)),
    "likelihood after ten minutes, MNIST": Case(_of("likelihoods", "equal_time"), ("secateur", "scikit-learn", "rbms")),
}
"""What is measured, and for whom."""


def main() -> None:
    """Measure one case of one library."""
    case, library = sys.argv[1:]
    found = CASES[case].measure(case, library)
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps({"case": case, "library": library} | found | {"peak_bytes": 1024 * peak}))


if __name__ == "__main__":
    main()
