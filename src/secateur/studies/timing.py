"""How long a Gibbs sweep of the saved machines takes: what pruning bought."""

from __future__ import annotations

import time
from typing import Any

import jax

from secateur import sampling
from secateur.model.machine import Machine
from secateur.sampling.draws import swept
from secateur.studies.config import StudyConfig
from secateur.studies.store import StudyFolder

N_CHAINS = 1000
_SWEEPS = 10
_REPEATS = 3


def time_sweeps(folder: StudyFolder, config: StudyConfig) -> list[dict[str, Any]]:
    """Milliseconds per Gibbs sweep of 1,000 chains, of the first trial's compact machines before and after pruning.

    Nothing else may run meanwhile. Every machine compiles a program of its own, so only the trained machine and the
    last of every rule are timed.
    """
    last = [(criterion, config.rounds) for criterion in config.criteria]
    timed = []
    for criterion, number in [(config.criteria[0], 0), *last]:
        machine = folder.load_machine(0, criterion, number)
        name = criterion if number else "unpruned"
        milliseconds = round(1000 * seconds_per_sweep(machine), 4)
        timed.append({"criterion": name, "layer_sizes": machine.layer_sizes, "milliseconds": milliseconds})
    return timed


def seconds_per_sweep(machine: Machine) -> float:
    """Shortest time of a Gibbs sweep of 1,000 chains, in seconds, from a few runs of ten sweeps."""
    states = sampling.random_states(machine, jax.random.key(0), N_CHAINS)
    times = []
    for _ in range(_REPEATS + 1):  # the first compiles
        began = time.perf_counter()
        jax.block_until_ready(swept(machine, states, jax.random.key(1), _SWEEPS))
        times.append(time.perf_counter() - began)
    return min(times[1:]) / _SWEEPS
