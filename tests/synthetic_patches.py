"""A finished patches study with made numbers: five-pixel patches, or arrays of the published size without machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from secateur.model.machine import Machine
from secateur.pruning.rules import ranks_units
from secateur.studies import StudyConfig, StudyFolder, load_config
from secateur.studies.measures.importances import PAIRS
from secateur.studies.measures.pattern_frequencies import ESTIMATES
from secateur.studies.measures.synapse_fate import N_DECILES, QUANTITIES
from secateur.studies.schema import COMMON, STAGES, empty_results
from synthetic_study import FACTS, variables_of

ROUNDS = 3
ROW, COLUMN = (-1, 0, 0, 0, 1), (0, -1, 0, 1, 0)
"""Places of the five pixels of a patch of radius 1."""
UNITS = {
    "variance-fi": (69, 50, 9),
    "heuristic-fi": (61, 50, 11),
    "eigenvector-fi": (65, 48, 10),
    "weight-magnitude": (70, 62, 35),
    "random": (70, 68, 60),
}
"""Mean hidden units of 70 after each round; (60, 40, 30) for other rules."""
DIVERGENCE = {"variance-fi": 0.5, "heuristic-fi": 0.4, "weight-magnitude": 0.2, "random": 2.0}
"""Mean KL divergence that each round adds right after pruning, a tenth of it after retraining; 1 for other rules."""
UNPRUNED_DIVERGENCE = 0.05
MEASURED = (
    "fisher-spectrum",
    "pattern-frequencies",
    "divergence",
    "exact-likelihood",
    "anatomy",
    "receptive-fields",
    "synapse-fate",
    "importances",
)


def patches_config(criteria: tuple[str, ...], trials: int, **changes: Any) -> StudyConfig:
    """Settings of a patches study with these rules and trials."""
    settings = {"criteria": list(criteria), "trials": trials, "rounds": ROUNDS, "seed": 7, **changes}
    return load_config("patches", "quick", settings)


def patches_results(config: StudyConfig, n_visible: int = 13) -> xr.Dataset:
    """Results in which units and divergences are those above, each trial a little higher than the one before."""
    n_hidden, n_frequencies, n_patterns = config.model.hidden[0], 6, 2**n_visible
    coords = {
        "trial": np.arange(config.trials),
        "criterion": list(config.criteria),
        "round": np.arange(config.rounds + 1),
        "stage": list(STAGES),
        "matrix": np.arange(1),
        "layer": np.arange(2),
        "pixel": np.arange(n_visible),
        "unit": np.arange(n_hidden),
        "estimate": list(ESTIMATES),
        "pair": list(PAIRS),
        "quantity": list(QUANTITIES),
        "decile": np.arange(1, N_DECILES + 1),
        "frequency": np.geomspace(1e-5, 0.3, n_frequencies),
        "index": np.arange(1, 21),
        "distribution": ["data", "model"],
        "count": np.arange(n_visible + 1),
        "rank": np.arange(1, n_patterns + 1),
    }
    attrs: dict[str, Any] = {
        "source": "Five-pixel patches. Patches of one image overlap.",
        "nouns": ["patch", "patches"],
        "pixel_row": ROW,
        "pixel_column": COLUMN,
        "measures": MEASURED,
    }
    variables, meanings = variables_of(MEASURED)
    results = empty_results(COMMON | variables, coords, {"title": config.title, **attrs}, meanings)
    rng = np.random.default_rng(0)
    for variable in results.data_vars.values():
        variable[:] = rng.uniform(0.2, 0.9, variable.shape)
    trial = np.arange(config.trials) - (config.trials - 1) / 2
    rounds = np.arange(config.rounds + 1)
    left = np.array([n_visible * n_hidden * 0.5**number for number in rounds]).round()
    if n_visible * n_hidden == 910:
        left = np.array([910, 455, 228, 114])[: len(rounds)]
    results["n_synapses"][:] = left[:, None]
    results["n_units"][:, :, :, 0] = n_visible
    for place, criterion in enumerate(config.criteria):
        if ranks_units(criterion):
            results["n_synapses"][:, place, 1:] += 3
        units = np.array([70, *UNITS.get(criterion, (60, 40, 30))])[: len(rounds)] / 70 * n_hidden
        results["n_units"][:, place, :, 1] = units[None, :] + trial[:, None] * (rounds > 0)
        added = DIVERGENCE.get(criterion, 1.0) * np.array([1.0, 0.1]) * rounds[:, None]
        results["kl_divergence"][:, place] = UNPRUNED_DIVERGENCE + added + 0.01 * trial[:, None, None]
    results["eigenvalue"][:] = 15 * 0.5 ** np.arange(20)[None, :]
    results["eigenvalue"][:, 1:] = 1 + 0.1 * trial[:, None]
    results["independent_log_likelihood"][:] = -1
    results["split_r_hat"][:] = 1
    results["effective_sample_size"][:] = np.inf
    return results


def patches_machine(n_hidden: int, seed: int = 0, left: int | None = None) -> Machine:
    """A machine of five pixels of which ``left`` hidden units are left; about half of the synapses are there."""
    rng = np.random.default_rng(seed)
    left = n_hidden if left is None else left
    indices = [np.arange(5), np.sort(rng.permutation(n_hidden)[:left])]
    mask = rng.random((5, left)) < (1.0 if seed == 0 else 0.5)
    return Machine([rng.normal(size=(5, left))], [np.zeros(5), rng.normal(size=left)], [mask], indices, (5, n_hidden))


def write_patches_study(path: Path, config: StudyConfig, results: xr.Dataset, left: int | None = None) -> StudyFolder:
    """The folder of a finished study with these results and, for its first trial, the first and last machines."""
    folder = StudyFolder.create(path, config)
    folder.write_results(results)
    folder.write_provenance(FACTS)
    n_hidden = config.model.hidden[0]
    folder.save_machine(patches_machine(n_hidden), 0, config.criteria[0], 0)
    for seed, criterion in enumerate(config.criteria, start=1):
        folder.save_machine(patches_machine(n_hidden, seed, left), 0, criterion, config.rounds)
    return folder
