"""secateur: Boltzmann machines, the Fisher information of their synapses, and pruning by local rules.

``import secateur as sc`` is light: submodules are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from secateur import data, figures, fisher, likelihood, model, pruning, recordings, sampling, studies, training
    from secateur.estimator import BoltzmannMachine
    from secateur.model.machine import Machine, receptive_field_mask
    from secateur.model.pairwise import PairwiseModel
    from secateur.model.trust import NotToBeTrusted, PoorFit, Verdict
    from secateur.reading.words import load_words, words
    from secateur.storage import exchange
    from secateur.storage.machines import load_machine, save_machine

_ATTRIBUTES = {
    "BoltzmannMachine": "secateur.estimator",
    "Machine": "secateur.model.machine",
    "NotToBeTrusted": "secateur.model.trust",
    "PairwiseModel": "secateur.model.pairwise",
    "PoorFit": "secateur.model.trust",
    "Verdict": "secateur.model.trust",
    "load_machine": "secateur.storage.machines",
    "load_words": "secateur.reading.words",
    "receptive_field_mask": "secateur.model.machine",
    "save_machine": "secateur.storage.machines",
    "words": "secateur.reading.words",
}
_MODULES = (
    "data",
    "figures",
    "fisher",
    "likelihood",
    "model",
    "pruning",
    "recordings",
    "sampling",
    "studies",
    "training",
)

__all__ = [
    "BoltzmannMachine",
    "Machine",
    "NotToBeTrusted",
    "PairwiseModel",
    "PoorFit",
    "Verdict",
    "data",
    "exchange",
    "figures",
    "fisher",
    "likelihood",
    "load_machine",
    "load_words",
    "model",
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
    if name == "exchange":
        return importlib.import_module("secateur.storage.exchange")
    if name in _ATTRIBUTES:
        return getattr(importlib.import_module(_ATTRIBUTES[name]), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("secateur")
    raise AttributeError(f"module 'secateur' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
