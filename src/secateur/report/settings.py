"""Settings that all studies share, in words."""

from __future__ import annotations

import numpy as np
import xarray as xr

from secateur.figures.style import rule_styles
from secateur.figures.summary import total_synapses
from secateur.report.wording import count, share, written
from secateur.studies.config import StudyConfig


def machine_in_words(results: xr.Dataset, config: StudyConfig) -> str:
    """Layers and synapses of the unpruned machine."""
    model = config.model
    layers = " – ".join(map(str, (results.sizes["pixel"], *model.hidden)))
    synapses = written(total_synapses(results).isel(trial=[0], criterion=0, round=0).values, digits=0)
    fields = f" with {model.receptive_field} × {model.receptive_field} receptive fields in the first matrix"
    return (
        f"{'deep ' if len(model.hidden) > 1 else ''}Boltzmann machine with {layers} units (pixels first) and "
        f"{synapses} synapses{fields if model.receptive_field else ''}"
    )


def pruning_in_words(results: xr.Dataset, config: StudyConfig) -> str:
    """Rounds, what each removes, and the zero rule."""
    fractions = np.broadcast_to(config.pruning.fraction, results.sizes["matrix"])
    removed = " and ".join(f"{share(part)} of matrix {place}" for place, part in enumerate(fractions, start=1))
    zeros = {
        "all": "all synapses of zero importance go, also where there are more",
        "fraction": "of synapses of zero importance only as many go",
    }
    return f"{count(config.rounds, 'round')}, each removing {removed} (of what is left); {zeros[config.pruning.zeros]}"


def rules_in_words(config: StudyConfig) -> str:
    """Labels of the rules."""
    return ", ".join(style.label for style in rule_styles(config.criteria).values())
