"""How time grows with chains, units, synapses left and trials."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import peers
from timing import Run, median_seconds

from secateur import sampling
from secateur.model.machine import Machine, receptive_field_masks
from secateur.model.trials import stack
from secateur.sampling.draws import swept
from secateur.training import TrainingSettings, train

TOP_UNITS_LEFT = (676, 507, 338, 169, 84, 42)


def measure(case: str, curve: str) -> dict[str, Any]:
    """Points of one curve: what grew, and seconds."""
    points = {
        "784 x 500": _over_chains,
        "n x n, 256 chains": _over_units,
        "units removed": _over_units_left,
        "synapses removed": _over_synapses_left,
        "one row 13 x 70": _over_trials,
    }[curve]()
    return {"numbers": [number for number, _ in points], "each_seconds": [seconds for _, seconds in points]}


def deep_machine(sizes: tuple[int, int, int] = (400, 400, 676)) -> Machine:
    """The digits study's machine with random weights: receptive fields of 5 x 5 pixels where every pixel has a unit."""
    masks = receptive_field_masks(sizes, (20, 20), 5) if sizes[1] == 400 else None
    return Machine.random(sizes, jax.random.key(0), weight_scale=0.1, hidden_bias=-1.0, masks=masks)


def deep_sweeps(sizes: tuple[int, int, int], n_sweeps: int, n_chains: int = 1_000) -> Run:
    """Sweeps of the digits study's machine."""
    return _sweeps(deep_machine(sizes), n_chains, n_sweeps)


def single_row_epoch(n_trials: int, n_rows: int = 90_000) -> Run:
    """One epoch of CD-1 on single rows, 13 x 70 units, of so many trials at once."""
    machine = stack([Machine.random((13, 70), jax.random.key(trial)) for trial in range(n_trials)])
    data = jax.numpy.asarray(np.stack([peers.digits(n_rows, 13)] * n_trials))
    settings = TrainingSettings(method="cd", n_epochs=1, batch_size=1, learning_rate=(0.05, 0.05))
    return lambda: jax.block_until_ready(train(machine, data, settings, jax.random.key(0), record_history=False)[0])


def _sweeps(machine: Machine, n_chains: int, n_sweeps: int) -> Run:
    states = sampling.random_states(machine, jax.random.key(0), n_chains)
    return lambda: jax.block_until_ready(swept(machine, states, jax.random.key(1), n_sweeps))


def _over_chains() -> list[tuple[int, float]]:
    found = []
    for n_chains in (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000):
        n_sweeps = max(3, min(200, 30_000 // n_chains))
        found.append((n_chains, median_seconds(peers.secateur(784, 500, n_chains, n_sweeps))[0] / n_sweeps))
    return found


def _over_units() -> list[tuple[int, float]]:
    found = []
    for n_units in (32, 64, 128, 256, 512, 1_024, 2_048, 4_096):
        n_sweeps = max(3, min(200, 100_000_000 // n_units**2 // 5))
        found.append((n_units, median_seconds(peers.secateur(n_units, n_units, 256, n_sweeps))[0] / n_sweeps))
    return found


def _over_units_left() -> list[tuple[int, float]]:
    """Top units removed, so that arrays shrink."""
    found = []
    for n_top in TOP_UNITS_LEFT:
        machine = deep_machine((400, 400, n_top))
        found.append((machine.n_synapses, median_seconds(_sweeps(machine, 1_000, 10))[0] / 10))
    return found


def _over_synapses_left() -> list[tuple[int, float]]:
    """As many synapses removed at random: no unit loses all of them, and arrays stay as they are."""
    found = []
    machine, places = deep_machine(), jax.random.uniform(jax.random.key(1), (400, 676))
    for n_top in TOP_UNITS_LEFT:
        left = machine.with_masks([machine.masks[0], places < n_top / 676])
        found.append((left.n_synapses, median_seconds(_sweeps(left, 1_000, 10))[0] / 10))
    return found


def _over_trials() -> list[tuple[int, float]]:
    """Seconds of one update of all trials."""
    n_rows = 9_000
    counts = (1, 2, 3, 5, 10, 20, 50)
    return [(n, median_seconds(single_row_epoch(n, n_rows), repeats=3)[0] / n_rows) for n in counts]
