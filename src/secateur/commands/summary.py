"""What a saved machine is, in a few lines: layers, synapses, dead and silent units, lineage."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from secateur.model.machine import Machine
from secateur.pruning import living_units, silent_visible_units
from secateur.storage.machines import MachineFile, read_machine

_LINEAGE = ("criterion", "trial", "round", "parent")


def summary(machine: Machine) -> str:
    """Layers, synapses and units of a single machine, one fact per line.

    A synapse is *possible* between any two units of adjacent layers that the machine still holds. A hidden unit is
    *dead* when it has no synapse on one of its sides; compact machines hold no dead units.
    """
    dead = [int((~alive).sum()) for alive in living_units(machine.masks)]
    gone = [old - new for old, new in zip(machine.original_layer_sizes, machine.layer_sizes, strict=True)]
    sizes = f"{_joined(machine.layer_sizes)} units"
    lines = [f"layers: {sizes}" + (f" (first {_joined(machine.original_layer_sizes)})" if any(gone) else "")]
    for matrix, (mask, weight) in enumerate(zip(machine.masks, machine.weights, strict=True)):
        largest = f", largest |weight| {np.abs(weight).max():.3g}" if mask.size else ""
        share = f" ({float(mask.mean()):.1%})" if mask.size else ""
        lines.append(f"synapses {matrix}-{matrix + 1}: {int(mask.sum()):,} of {mask.size:,} possible{share}{largest}")
    lines += [
        f"dead hidden units: {sum(dead)} in the arrays, {sum(gone)} taken out of them",
        f"visible units without a synapse: {int(silent_visible_units(machine.masks).sum())}",
    ]
    return "\n".join(lines)


def describe_file(path: str | os.PathLike[str]) -> str:
    """:func:`summary` of a machine's file with its size, checksum and lineage; errors as in ``load_machine``."""
    found = read_machine(path)
    return "\n".join(
        [
            f"{path}: {found.n_bytes:,} bytes, checksum ok ({found.sha256[:12]})",
            summary(found.machine),
            f"lineage: {_lineage(found)}",
            *_further(found),
        ]
    )


def describe_folder(path: str | os.PathLike[str]) -> Iterator[tuple[str, bool]]:
    """One line for every machine's file in a folder and the folders in it, and whether the file is sound.

    Raises
    ------
    ValueError
        If the folder holds no ``.safetensors`` file.
    """
    files = sorted(file for file in Path(path).rglob("*.safetensors") if not _is_record(file.relative_to(path)))
    if not files:
        raise ValueError(f"{str(path)!r} holds no machine (.safetensors); give a file or the folder of a study")
    for file in files:
        name = file.relative_to(path).as_posix()
        try:
            found = read_machine(file)
        except ValueError as error:
            yield f"{name}: {error}", False
            continue
        machine = found.machine
        yield f"{name}: {_joined(machine.layer_sizes)} units, {machine.n_synapses:,} synapses; {_lineage(found)}", True


def _is_record(place: Path) -> bool:
    """Whether a file is that of a study's task, not of a machine: ``tasks/trials-00-02/random.safetensors``."""
    return any(first == "tasks" and second.startswith("trials-") for first, second in pairwise(place.parts))


def _lineage(found: MachineFile) -> str:
    """Rule, round and parent in a few words."""
    known = found.lineage
    words = [known.get("criterion"), *(f"{name} {known[name]}" for name in ("trial", "round") if name in known)]
    words.append(f"from {known['parent']}" if "parent" in known else None)
    return ", ".join(str(word) for word in words if word) or "first of its line"


def _further(found: MachineFile) -> list[str]:
    """Everything else that the lineage tells, one line per fact."""
    facts = {name: value for name, value in found.lineage.items() if name not in _LINEAGE}
    return [f"  {name}: {_plain(value)}" for name, value in facts.items()]


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(part)}" for name, part in value.items())
    return ", ".join(map(_plain, value)) if isinstance(value, list) else str(value)


def _joined(sizes: tuple[int, ...]) -> str:
    return " - ".join(f"{n:,}" for n in sizes)
