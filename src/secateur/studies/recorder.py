"""Where measurements go in the results of a study."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import xarray as xr

from secateur.fisher.unit_information import mean_synapse_information
from secateur.model.machine import Machine
from secateur.model.moments import Moments
from secateur.model.trials import unstack
from secateur.pruning import living_units, silent_visible_units
from secateur.studies.config import StudyConfig
from secateur.studies.measures.measure import Measured
from secateur.studies.schema import COMMON, STAGES, empty_results
from secateur.studies.study import Study

_BYTES = 4  # of a float32 parameter


def results_of(config: StudyConfig, study: Study, trials: Sequence[int], criteria: Sequence[str]) -> xr.Dataset:
    """Results of some trials and rules of a study of this kind, every value missing yet."""
    layer_sizes = study.machine.layer_sizes
    coords = {
        "trial": np.asarray(trials),
        "criterion": list(criteria),
        "round": np.arange(config.rounds + 1),
        "stage": list(STAGES),
        "matrix": np.arange(len(layer_sizes) - 1),
        "layer": np.arange(len(layer_sizes)),
        "pixel": np.arange(layer_sizes[0]),
        "unit": np.arange(layer_sizes[1]),
    }
    attrs = {
        "title": config.title,
        "study": config.name,
        "size": config.size,
        "seed": config.seed,
        "settings": json.dumps(config.deciding()),
        "Conventions": "CF-1.11",
    }
    return empty_results(COMMON | study.variables, coords | study.coords(), attrs | study.attrs(), study.meanings())


class Recorder:
    """Writes measurements of the trials of a batch, pruned by one rule, into their results."""

    def __init__(self, results: xr.Dataset):
        self.results = results

    def once(self, measured: Measured) -> None:
        """Write what is measured once per trial."""
        for name, values in measured.items():
            self.results[name].values[:] = values

    def stages(self, measured: Measured, number: int, stages: Sequence[str]) -> None:
        """Write what was measured at one stage of a round, or at several where they are equal.

        Of variables without a stage the value of the last stage stays.
        """
        for name, values in measured.items():
            place = self._at(name, number)
            if "stage" not in self.results[name].dims:
                place[:] = values
                continue
            for stage in stages:
                place[:, STAGES.index(stage)] = values

    def epochs(self, n_epochs: Sequence[float], number: int) -> None:
        """Write how long every trial has been trained by the end of a round."""
        self._at("n_epochs", number)[:] = n_epochs

    def structure(self, machine: Machine, number: int) -> None:
        """Write what is left of a machine at the end of a round."""
        singles = unstack(machine)
        masks = [[np.asarray(m) for m in one.masks] for one in singles]
        lost = np.zeros((len(singles), self.results.sizes["pixel"]), bool)
        for trial, one in enumerate(masks):
            lost[trial] = silent_visible_units(one)
        n_units = np.array([[alive.sum() for alive in living_units(one)] for one in masks])
        n_weights = (n_units[:, :-1] * n_units[:, 1:]).sum(axis=1)
        measured = {
            "n_synapses": np.array([[m.sum() for m in one] for one in masks]),
            "n_units": n_units,
            "machine_bytes": _BYTES * (n_weights + n_units.sum(axis=1)),
            "lost_pixel": lost,
        }
        self.stages(measured, number, STAGES)

    def information(self, machine: Machine, moments: list[Moments], number: int) -> None:
        """Write the mean information of every living first-layer unit's synapses, and how well its chains mixed."""
        for trial, (one, its_moments) in enumerate(zip(unstack(machine), moments, strict=True)):
            mixing = its_moments.diagnostics
            sample_size, r_hat = (np.inf, 1.0) if mixing is None else (mixing.effective_sample_size, mixing.split_r_hat)
            self._at("effective_sample_size", number)[trial] = sample_size
            self._at("split_r_hat", number)[trial] = r_hat
            information = mean_synapse_information(one, its_moments)[0]
            alive = living_units([np.asarray(m) for m in one.masks])[1]
            units = np.asarray(one.unit_indices[1])
            self._at("unit_information", number)[trial, units[alive]] = information[alive]

    def _at(self, name: str, number: int) -> np.ndarray:
        """View of a variable at one round, trial first."""
        return self.results[name].values[:, 0, number]
