"""Settings that all studies share, in words."""

from __future__ import annotations

import numpy as np
import xarray as xr

from secateur.figures.style import rule_styles
from secateur.figures.summary import total_synapses
from secateur.figures.wording import count, share, written
from secateur.studies.config import StudyConfig
from secateur.training import TrainingSettings


def machine_in_words(results: xr.Dataset, config: StudyConfig) -> str:
    """Layers and synapses of the unpruned machine."""
    model = config.model
    layers = " – ".join(map(str, (results.sizes["pixel"], *model.hidden)))
    synapses = written(total_synapses(results).isel(trial=[0], criterion=0, round=0).values, digits=0)
    fields = f" with {model.receptive_field} × {model.receptive_field} receptive fields in the first matrix"
    return (
        f"{'deep ' if len(model.hidden) > 1 else ''}Boltzmann machine with {layers} units (visible first) and "
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


_METHODS = {"cd": "contrastive divergence", "pcd": "persistent chains", "exact": "the exact gradient"}


def what_ran(results: xr.Dataset, config: StudyConfig) -> list[tuple[str, str]]:
    """Data, machine, training, rules, rounds and measures in words."""
    source = str(results.attrs.get("source", config.data.dataset))
    measures = [str(name) for name in np.atleast_1d(results.attrs.get("measures", []))]
    named = ", ".join(measures) if config.measures is None else f"{', '.join(measures)} (chosen by the settings)"
    return [
        ("Data", source),
        ("Machine", machine_in_words(results, config)),
        ("Training", f"{_trained_in_words(config)}; after every pruning {training_in_words(config.retraining)}"),
        ("Rules", rules_in_words(config)),
        ("Pruning", pruning_in_words(results, config)),
        ("Trials", f"{count(config.trials, 'trial')} from seed {config.seed}"),
        *([("Measures", named)] if measures else []),
    ]


def _trained_in_words(config: StudyConfig) -> str:
    if config.pretraining is None:
        return training_in_words(config.training)
    each = "every matrix by itself" if len(config.model.hidden) > 1 else "first"
    before = training_in_words(config.pretraining.model_copy(update={"method": "cd"}))
    return f"{each} {before}, then all layers together {training_in_words(config.training)}"


def training_in_words(training: TrainingSettings) -> str:
    """Epochs, method, batches and rates."""
    method = _METHODS[training.method]
    if training.method == "exact":
        return f"{count(training.n_epochs, 'iteration')} on {method}"
    first, *_, last = np.atleast_1d(training.learning_rate)
    return (
        f"{count(training.n_epochs, 'epoch')} of {method} ({count(training.n_sweeps, 'sweep')}), batches of "
        f"{training.batch_size}, learning rate {first:g} to {last:g}"
    )
