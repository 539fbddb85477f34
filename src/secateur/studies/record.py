"""What one task of a study has finished so far, in one file: written after every round, read when the study resumes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

from secateur.model.machine import Machine
from secateur.storage.arrays import Arrays, read_arrays, write_arrays
from secateur.storage.limits import MAX_ROUNDS
from secateur.studies.settings import refuse_changed

FORMAT = "secateur-task"
FORMAT_VERSION = 1
_RESULT, _LEAF = "results/", "machine/"


@dataclass
class Record:
    """Measurements of a batch of trials under one rule, and the machines after its last finished round.

    Attributes
    ----------
    results
        The task's part of the study's results; values of rounds ahead are missing.
    data_sha256
        Checksum of the rows that the trials learn and are judged by.
    machine
        The stacked machines, in the arrays in which the work goes on; ``None`` before the first training.
    n_rounds
        Finished rounds; 0 after the first training.
    finished
        Whether nothing is left to do.
    seconds
        Time spent per phase.
    took
        Time spent in all, in seconds.
    """

    results: xr.Dataset
    data_sha256: str
    machine: Machine | None = None
    n_rounds: int = 0
    finished: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    took: float = 0.0

    def for_criterion(self, criterion: str) -> Record:
        """The record of a rule that starts from the machines of this first training."""
        results = self.results.assign_coords(criterion=[criterion]).copy(deep=True)
        return Record(results, self.data_sha256, self.machine)

    def write(self, path: Path) -> None:
        """Replace the file in one step."""
        arrays = {_RESULT + str(name): np.asarray(variable.values) for name, variable in self.results.items()}
        # A finished rule needs its machines no more; they are in the study's folder of machines.
        leaves = [] if self.machine is None or (self.finished and self.n_rounds) else jax.tree.leaves(self.machine)
        arrays |= {f"{_LEAF}{place}": np.asarray(leaf) for place, leaf in enumerate(leaves)}
        header = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "data_sha256": self.data_sha256,
            "n_rounds": self.n_rounds,
            "finished": self.finished,
            "seconds": self.seconds,
            "took": self.took,
            "settings": json.loads(self.results.attrs["settings"]),
        }
        write_arrays(path, arrays, header)

    @classmethod
    def read(cls, path: Path, empty: xr.Dataset, like: Machine) -> Record:
        """The record in a file.

        Parameters
        ----------
        path
            File of :meth:`write`.
        empty
            Results of the task with every value missing; what is read must fit.
        like
            Machines with as many layers and trials, of any sizes.

        Raises
        ------
        ValueError
            If the file is damaged or belongs to a study with other settings.
        """
        arrays, header = _read(path)
        refuse_changed(header["settings"], json.loads(empty.attrs["settings"]), path)
        for name, variable in empty.items():
            values = arrays.get(_RESULT + str(name))
            if values is None or values.shape != variable.shape or values.dtype != variable.dtype:
                raise ValueError(
                    f"{path} does not fit the study's settings ({name} differs); restore study.toml, "
                    "or run the study into another folder"
                )
            variable.values[...] = values
        known, structure = jax.tree.flatten(like)
        leaves = [arrays.get(f"{_LEAF}{place}") for place in range(len(known))]
        machine = None
        if all(leaf is not None for leaf in leaves):
            if not _fit(jax.tree.unflatten(structure, leaves), like):
                raise ValueError(f"{path} does not hold whole machines; delete it, and the task begins again")
            machine = jax.tree.unflatten(structure, jax.device_put(leaves))
        return cls(
            empty,
            header["data_sha256"],
            machine,
            header["n_rounds"],
            header["finished"],
            dict(header["seconds"]),
            header["took"],
        )


def peek(path: Path) -> tuple[int, bool]:
    """Finished rounds of the task whose record a file is, and whether it is finished; ``(0, False)`` without a file."""
    if not path.is_file():
        return 0, False
    _, header = _read(path)
    return header["n_rounds"], header["finished"]


def check_settings(path: Path, settings: dict[str, Any]) -> None:
    """Refuse settings (:meth:`StudyConfig.deciding`) other than those of the record in a file."""
    refuse_changed(_read(path)[1]["settings"], settings, path)


def _read(path: Path) -> tuple[Arrays, dict[str, Any]]:
    """Arrays and header of a record, the header complete."""
    arrays, header = read_arrays(path, "task record", FORMAT, FORMAT_VERSION)
    kinds: dict[str, Any] = {
        "data_sha256": str,
        "n_rounds": int,
        "finished": bool,
        "seconds": dict,
        "took": int | float,
        "settings": dict,
    }
    if not all(isinstance(header.get(name), kind) for name, kind in kinds.items()) or not (
        0 <= header["n_rounds"] <= MAX_ROUNDS
        and all(isinstance(seconds, int | float) for seconds in header["seconds"].values())
    ):
        raise ValueError(f"{path} has a damaged header; delete it, and the task begins again")
    return arrays, header


def _fit(machine: Machine, like: Machine) -> bool:
    """Whether the arrays of stacked machines are of the right kinds and fit each other."""
    trials, sizes = like.biases[0].shape[0], [leaf.shape[-1:] for leaf in machine.biases]
    vectors = [(trials, *size) for size in sizes]
    matrices = [(trials, *lower, *upper) for lower, upper in pairwise(sizes)]
    return all(
        leaf.dtype == known.dtype for leaf, known in zip(jax.tree.leaves(machine), jax.tree.leaves(like), strict=True)
    ) and all(
        [leaf.shape for leaf in leaves] == shapes
        for leaves, shapes in (
            (machine.weights, matrices),
            (machine.biases, vectors),
            (machine.masks, matrices),
            (machine.unit_indices, vectors),
        )
    )
