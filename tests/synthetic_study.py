"""A finished study with made numbers, so that figures and reports can be judged by what must stand in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from secateur.model.machine import Machine
from secateur.studies import StudyConfig, StudyFolder, load_config
from secateur.studies.measures import MEASURES, Shown
from secateur.studies.schema import COMMON, STAGES, Variable, empty_results
from secateur.studies.study import HISTORY

SHAPE = (4, 5)
N_PIXELS = 20
ROUNDS = 4
KEPT = 1 - 0.2 * np.arange(ROUNDS + 1)
"""Share of the synapses left after each round; half of them lies midway between rounds 2 and 3."""
UNPRUNED_ERROR = 0.08
RISE = {"variance-fi": 0.04, "heuristic-fi": 0.05, "weight-magnitude": 0.02, "random": 0.1, "anti-fi": 0.5}
"""Rise of the test error when all synapses would be gone, mean over trials; 0.1 for other rules."""
UNITS_LOST = {"variance-fi": 0.5, "heuristic-fi": 0.4, "weight-magnitude": 0.1, "random": 0.0, "anti-fi": 0.2}
"""Share of hidden units lost with all synapses; 0.3 for other rules."""
MEASURED = (
    "encoding",
    "annealed-likelihood",
    "anatomy",
    "receptive-fields",
    "lost-pixels",
    "size",
    "sweep-time",
    "sample-statistics",
    "sample-scores",
    "conditional-samples",
    "example-samples",
    "training-history",
)
FACTS: dict[str, Any] = {
    "secateur": "0.1.0",
    "commit": "0123abc",
    "python": "3.11.7",
    "packages": {"jax": "0.10.2"},
    "machine": {"system": "Linux", "cpus": 2},
    "finished": "2026-11-22T15:53:54+00:00",
    "total_seconds": 80.2,
    "compile_seconds": 20.1,
    "compile_share": 0.251,
    "n_compilations": 123,
    "seconds_by_trials": {"trial 1": {"first training": 70.2, "variance-fi": 271.4}},
    "gibbs_sweeps": [
        {"criterion": "unpruned", "layer_sizes": [20, 12, 8], "milliseconds": 3.0},
        {"criterion": "variance-fi", "layer_sizes": [20, 9, 8], "milliseconds": 1.5},
        {"criterion": "random", "layer_sizes": [20, 12, 8], "milliseconds": 3.0},
    ],
}


def synthetic_config(criteria: tuple[str, ...], trials: int, hidden: tuple[int, ...], **changes: Any) -> StudyConfig:
    """Settings of a digits study with these rules, trials and hidden layers."""
    fixed = {"criteria": list(criteria), "trials": trials, "rounds": ROUNDS, "model.hidden": list(hidden)}
    settings = {"pruning.fraction": 0.2, "evaluation.n_examples": 3, "seed": 7, **fixed, **changes}
    return load_config("digits", "quick", settings)


def variables_of(names: tuple[str, ...]) -> tuple[dict[str, Variable], dict[str, str]]:
    """What measures store, and the meaning of their dimensions."""
    measures = [MEASURES[name] for name in names]
    variables = {name: variable for measure in measures for name, variable in measure.variables.items()}
    return variables, {name: text for measure in measures for name, text in measure.dimensions.items()}


def synthetic_results(config: StudyConfig) -> xr.Dataset:
    """Results whose test errors rise and whose units fall in proportion to the synapses lost, by rule."""
    sizes = (N_PIXELS, *config.model.hidden)
    coords = {
        "trial": np.arange(config.trials),
        "criterion": list(config.criteria),
        "round": np.arange(ROUNDS + 1),
        "stage": list(STAGES),
        "matrix": np.arange(len(sizes) - 1),
        "layer": np.arange(len(sizes)),
        "pixel": np.arange(N_PIXELS),
        "unit": np.arange(sizes[1]),
        "epoch": np.arange(1, 6),
        "example": np.arange(3),
        "reference": ["test digits", "random patterns"],
    }
    attrs = {
        "image_shape": SHAPE,
        "title": config.title,
        "nouns": ["digit", "digits"],
        "dataset": config.data.dataset,
        "layer_sizes": sizes,
        "pruning_fraction": np.broadcast_to(config.pruning.fraction, len(sizes) - 1),
        "measures": MEASURED,
    }
    variables, meanings = variables_of(MEASURED)
    results = empty_results(COMMON | HISTORY | variables, coords, attrs, meanings)
    rng = np.random.default_rng(0)
    for variable in results.data_vars.values():
        variable[:] = rng.uniform(0.2, 0.9, variable.shape)
    synapses = np.array([lower * upper for lower, upper in zip(sizes[:-1], sizes[1:], strict=True)])
    results["n_synapses"][:] = KEPT[:, None] * synapses[None, :]
    trial = np.arange(config.trials) - (config.trials - 1) / 2
    lost = 1 - KEPT
    for place, criterion in enumerate(config.criteria):
        rise = RISE.get(criterion, 0.1) * (1 + 0.1 * trial)
        errors = UNPRUNED_ERROR + 0.01 * trial[:, None] + rise[:, None] * lost[None, :]
        results["test_error"][:, place] = errors[:, :, None]
        units = 1 - UNITS_LOST.get(criterion, 0.3) * lost[:, None] * np.array([0.0] + [1.0] * len(config.model.hidden))
        results["n_units"][:, place] = units * np.array(sizes)
    results["pixel_error"][:] = UNPRUNED_ERROR - 0.01
    results["lost_pixel"][:] = results["lost_pixel"] > 0.5
    results["test_log_likelihood_trusted"][:] = 1
    results["test_log_likelihood"][:] -= 10
    results["independent_log_likelihood"][:] = -20
    results["split_r_hat"][:] = 1.01
    results["effective_sample_size"][:] = 1234
    return results


def paper_study(criteria: tuple[str, ...], trials: int, **changes: Any) -> tuple[StudyConfig, xr.Dataset]:
    """Settings and results of the published machine (with few pixels, as they do not matter here); 278,400 synapses."""
    settings = {"criteria": list(criteria), "trials": trials, "rounds": ROUNDS, **changes}
    config = load_config("digits", "paper", settings)
    results = synthetic_results(config)
    return config, results.assign_attrs(image_shape=(20, 20), layer_sizes=(400, *config.model.hidden))


def synthetic_machine(hidden: tuple[int, ...], seed: int = 0, first_units: int | None = None) -> Machine:
    """A machine of which ``first_units`` units of the first hidden layer are left; half of the synapses are there."""
    rng = np.random.default_rng(seed)
    left = hidden[0] if first_units is None else first_units
    sizes = (N_PIXELS, left, *hidden[1:])
    shapes = list(zip(sizes[:-1], sizes[1:], strict=True))
    indices = [np.arange(N_PIXELS), np.sort(rng.permutation(hidden[0])[:left]), *(np.arange(n) for n in hidden[1:])]
    return Machine(
        [rng.normal(size=shape) for shape in shapes],
        [np.zeros(n) for n in sizes],
        [rng.random(shape) < 0.5 for shape in shapes],
        indices,
        (N_PIXELS, *hidden),
    )


def told(config: StudyConfig, results: xr.Dataset) -> Shown:
    """What sentences are made of; no machine is loaded for them."""

    def load(trial: int, criterion: str, number: int) -> Machine:
        raise AssertionError("sentences need no machines")

    return Shown(results, config, FACTS, load)


def write_study(path: Path, config: StudyConfig, results: xr.Dataset, first_units: int | None = None) -> StudyFolder:
    """The folder of a finished study with these results and, for its first trial, the first and last machines."""
    folder = StudyFolder.create(path, config)
    folder.write_results(results)
    folder.write_provenance(FACTS)
    hidden = config.model.hidden
    folder.save_machine(synthetic_machine(hidden), 0, config.criteria[0], 0)
    for seed, criterion in enumerate(config.criteria, start=1):
        folder.save_machine(synthetic_machine(hidden, seed, first_units), 0, criterion, ROUNDS)
    return folder
