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
from secateur.storage.arrays import Arrays, read_arrays, read_header, write_arrays
from secateur.storage.limits import MAX_ROUNDS
from secateur.studies.settings import refuse_changed

FORMAT = "secateur-task"
FORMAT_VERSION = 1
_FILE = ("task record", FORMAT, FORMAT_VERSION)
_RESULT, _LEAF = "results/", "machine/"


@dataclass
class Record:
    """Measurements of a batch of trials under one rule, and the machines after its last finished round.

    It stays when the study is finished, for ``secateur extend``.

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
    seconds
        Time spent per phase.
    took
        Time spent in all, in seconds.
    """

    results: xr.Dataset
    data_sha256: str
    machine: Machine | None = None
    n_rounds: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    took: float = 0.0

    def is_done(self, rounds: int) -> bool:
        """Whether the machines have been trained, and pruned so many times."""
        return self.machine is not None and self.n_rounds >= rounds

    def for_criterion(self, criterion: str) -> Record:
        """The record of a rule that starts from the machines of this first training."""
        results = self.results.assign_coords(criterion=[criterion]).copy(deep=True)
        return Record(results, self.data_sha256, self.machine)

    def write(self, path: Path) -> None:
        """Replace the file in one step."""
        arrays = {_RESULT + str(name): np.asarray(variable.values) for name, variable in self.results.items()}
        leaves = [] if self.machine is None else jax.tree.leaves(self.machine)
        arrays |= {f"{_LEAF}{place}": np.asarray(leaf) for place, leaf in enumerate(leaves)}
        header = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "data_sha256": self.data_sha256,
            "n_rounds": self.n_rounds,
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
            Results of the task with every value missing; what is read must fit, but may have fewer rounds.
        like
            Machines with as many layers, of any sizes and number of trials.

        Raises
        ------
        ValueError
            If the file is damaged or belongs to a study with other settings.
        """
        arrays, header = _read(path)
        refuse_changed(header["settings"], json.loads(empty.attrs["settings"]), path)
        for name, variable in empty.items():
            values = arrays.get(_RESULT + str(name))
            if values is None or not _fits(values, variable):
                raise ValueError(
                    f"{path} does not fit the study's settings ({name} differs); restore study.toml, "
                    "or run the study into another folder"
                )
            variable.values[tuple(map(slice, values.shape))] = values
        known, structure = jax.tree.flatten(like)
        leaves = [arrays.get(f"{_LEAF}{place}") for place in range(len(known))]
        machine = None
        if all(leaf is not None for leaf in leaves):
            if not _fit(jax.tree.unflatten(structure, leaves), like, empty.sizes["trial"]):
                raise ValueError(f"{path} does not hold whole machines; delete it, and the task begins again")
            machine = jax.tree.unflatten(structure, jax.device_put(leaves))
        return cls(
            empty,
            header["data_sha256"],
            machine,
            header["n_rounds"],
            dict(header["seconds"]),
            header["took"],
        )


def _fits(values: np.ndarray, variable: xr.DataArray) -> bool:
    """Whether values are of a variable, perhaps of fewer rounds."""
    expected = tuple(
        min(there, size) if dim == "round" and there > 0 else size
        for dim, size, there in zip(variable.dims, variable.shape, values.shape, strict=False)
    )
    return values.ndim == variable.ndim and values.shape == expected and values.dtype == variable.dtype


def peek(path: Path) -> int | None:
    """Finished rounds of the task whose record a file is, 0 after a first training; ``None`` without a file.

    Like the two functions below this looks at the header alone: records of large machines have a gigabyte.
    :meth:`Record.read` compares the checksum before any array is used.
    """
    return _header(path)["n_rounds"] if path.is_file() else None


def data_sha256_of(path: Path) -> str:
    """Checksum of the rows that the record in a file belongs to."""
    return str(_header(path)["data_sha256"])


def check_settings(path: Path, settings: dict[str, Any]) -> None:
    """Refuse settings (:meth:`StudyConfig.deciding`) other than those of the record in a file."""
    refuse_changed(_header(path)["settings"], settings, path)


def _header(path: Path) -> dict[str, Any]:
    return _checked(read_header(path, *_FILE), path)


def _read(path: Path) -> tuple[Arrays, dict[str, Any]]:
    """Arrays and header of a record."""
    arrays, header = read_arrays(path, *_FILE)
    return arrays, _checked(header, path)


def _checked(header: dict[str, Any], path: Path) -> dict[str, Any]:
    """The header of a record, which must be complete."""
    kinds: dict[str, Any] = {"data_sha256": str, "seconds": dict, "settings": dict}
    if not all(isinstance(header.get(name), kind) for name, kind in kinds.items()) or not (
        type(header.get("n_rounds")) is int
        and 0 <= header["n_rounds"] <= MAX_ROUNDS
        and all(map(_is_duration, (header.get("took"), *header["seconds"].values())))
    ):
        raise ValueError(f"{path} has a damaged header; delete it, and the task begins again")
    return header


def _is_duration(value: Any) -> bool:
    """Whether something is a time in seconds that a study may have taken."""
    return type(value) in (int, float) and 0 <= value < 1e12


def _fit(machine: Machine, like: Machine, trials: int) -> bool:
    """Whether the arrays of stacked machines are of the right kinds and fit each other."""
    sizes = [leaf.shape[-1:] for leaf in machine.biases]
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
