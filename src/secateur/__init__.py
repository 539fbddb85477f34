"""secateur: Boltzmann machines, the Fisher information of their synapses, and pruning by local rules.

``import secateur as sc`` is light: submodules are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from secateur import (
        datasets,
        evaluation,
        files,
        fisher,
        likelihood,
        pairwise,
        pruning,
        recordings,
        sampling,
        studies,
        training,
    )
    from secateur.estimator import BoltzmannMachine
    from secateur.files import load_machine, save_machine
    from secateur.machine import Machine, receptive_field_mask
    from secateur.recordings.words import load_words, words

_ATTRIBUTES = {
    "BoltzmannMachine": "secateur.estimator",
    "Machine": "secateur.machine",
    "load_machine": "secateur.files",
    "load_words": "secateur.recordings.words",
    "receptive_field_mask": "secateur.machine",
    "save_machine": "secateur.files",
    "words": "secateur.recordings.words",
}
_MODULES = (
    "datasets",
    "evaluation",
    "files",
    "fisher",
    "likelihood",
    "pairwise",
    "pruning",
    "recordings",
    "sampling",
    "studies",
    "training",
)

__all__ = [
    "BoltzmannMachine",
    "Machine",
    "datasets",
    "evaluation",
    "files",
    "fisher",
    "likelihood",
    "load_machine",
    "load_words",
    "pairwise",
    "pruning",
    "receptive_field_mask",
    "recordings",
    "sampling",
    "save_machine",
    "studies",
    "training",
    "words",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"secateur.{name}")
    if name in _ATTRIBUTES:
        return getattr(importlib.import_module(_ATTRIBUTES[name]), name)
    raise AttributeError(f"module 'secateur' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES, *_ATTRIBUTES])
