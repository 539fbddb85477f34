"""What ``results.nc`` holds: every variable with its dimensions, unit and meaning."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

STAGES = ("pruned", "retrained")


COORDINATES = {
    "trial": "independent repetition of the study",
    "criterion": "pruning rule",
    "round": "round of pruning; 0: the trained machine before any",
    "stage": "right after pruning, and after retraining",
    "matrix": "weight matrix; 0: from the visible layer to the first hidden layer",
    "layer": "layer of units; 0: visible",
    "pixel": "visible unit",
    "unit": "unit of the first hidden layer before any pruning",
    "example": "number of an example",
    "reference": "what samples are compared with",
    "epoch": "epoch of the first training",
    "estimate": "exact, or from as many samples as the settings say",
    "pair": "two measures of a synapse's importance",
    "quantity": "what synapses are sorted by",
    "decile": "tenth of the synapses, in rising order of the quantity",
    "frequency": "frequency of a pattern among the training patches, centre of a bin",
    "index": "place in the order of eigenvalues, largest first",
    "distribution": "training patches, or the trained machine",
    "count": "visible units that are 1 together",
    "rank": "place of a pattern in the order of frequencies, most frequent first",
}
"""Meaning of every dimension."""


class Variable(NamedTuple):
    """Dimensions, unit and meaning of a variable of the results."""

    dims: tuple[str, ...]
    units: str
    long_name: str


_ROUND = ("trial", "criterion", "round")
_STAGE = (*_ROUND, "stage")

COMMON: dict[str, Variable] = {
    "n_synapses": Variable((*_ROUND, "matrix"), "1", "synapses left in each weight matrix"),
    "n_units": Variable((*_ROUND, "layer"), "1", "living units in each layer (all visible units count)"),
    "machine_bytes": Variable(_ROUND, "byte", "float32 weights and biases of the compact machine"),
    "lost_pixel": Variable((*_ROUND, "pixel"), "1", "1 where a visible unit has lost all synapses"),
    "unit_information": Variable(
        (*_ROUND, "unit"), "nat-2", "mean variance Fisher information of a first-hidden-layer unit's synapses"
    ),
    "effective_sample_size": Variable(_ROUND, "1", "effective number of model states behind unit_information"),
    "split_r_hat": Variable(_ROUND, "1", "split R-hat, of what mixes worst, of the chains behind unit_information"),
}
"""Variables of every study. Round 0 is the trained machine before any pruning, equal at both stages."""

DIGITS: dict[str, Variable] = {
    "training_pseudo_likelihood": Variable(
        ("trial", "epoch"), "nat", "log pseudo-likelihood per image, first training"
    ),
    "training_free_energy_gap": Variable(("trial", "epoch"), "nat", "free energy of test minus training images"),
    "training_reconstruction_error": Variable(("trial", "epoch"), "1", "mean absolute reconstruction error"),
    "test_error": Variable(_STAGE, "1", "share of test digits misread from the top layer by logistic regression"),
    "sample_quality": Variable(_STAGE, "1", "mean winning probability of a digit classifier on model samples"),
    "sample_diversity": Variable(_STAGE, "nat", "entropy of the classes a digit classifier sees in model samples"),
    "conditional_accuracy": Variable(
        _STAGE, "1", "share of samples, drawn with the top layer held for a labelled test digit, that are read as it"
    ),
    "log_likelihood_bound": Variable(
        _STAGE,
        "nat",
        "variational bound on the mean log-likelihood of a test digit; log Z annealed from independent pixels",
    ),
    "log_likelihood_bound_error": Variable(_STAGE, "nat", "standard error of log Z in log_likelihood_bound"),
    "annealing_sample_size": Variable(_STAGE, "1", "effective number of annealing runs behind log_likelihood_bound"),
    "log_likelihood_bound_reverse": Variable(
        _STAGE,
        "nat",
        "the same bound with log Z annealed the other way, from samples: on average too low, not too high",
    ),
    "log_likelihood_bound_reverse_error": Variable(
        _STAGE, "nat", "standard error of log Z in log_likelihood_bound_reverse"
    ),
    "annealing_reverse_sample_size": Variable(
        _STAGE, "1", "effective number of annealing runs behind log_likelihood_bound_reverse"
    ),
    "example_sample": Variable(
        (*_ROUND, "example", "pixel"), "1", "samples of the retrained machine (pixel probabilities)"
    ),
    "pixel_error": Variable(("trial",), "1", "share of test digits misread from raw pixels by logistic regression"),
    "reference_quality": Variable(
        ("trial", "reference"), "1", "mean winning probability on test digits and random patterns"
    ),
    "reference_diversity": Variable(
        ("trial", "reference"), "nat", "entropy of classes on test digits and random patterns"
    ),
}
"""Variables of the digits study."""

PATCHES: dict[str, Variable] = {
    "kl_divergence": Variable(_STAGE, "nat", "exact KL divergence of the model from the training patches"),
    "test_log_likelihood": Variable(_STAGE, "nat", "exact mean log-likelihood per validation patch"),
    "log_frequency_error": Variable(
        (*_STAGE, "estimate"),
        "nat",
        "mean |log model frequency - log data frequency| over the different training patches",
    ),
    "log_frequency_difference": Variable(
        (*_STAGE, "estimate", "frequency"), "nat", "mean log model frequency - log data frequency, by data frequency"
    ),
    "unseen_share": Variable(_STAGE, "1", "share of the different training patches that are absent from the samples"),
    "rank_correlation": Variable((*_ROUND, "pair"), "1", "Spearman correlation of two importances over synapses"),
    "elimination_probability": Variable(
        (*_ROUND, "quantity", "decile"), "1", "share of synapses removed, by deciles of a quantity before removal"
    ),
    "quantity_mean": Variable((*_ROUND, "quantity", "decile"), "1", "mean of the quantity in each decile"),
    "patch_entropy": Variable(("trial",), "nat", "entropy of the training patches' frequencies"),
    "eigenvalue": Variable(
        ("trial", "index"), "nat-2", "eigenvalues of the trained machine's Fisher information matrix"
    ),
    "population_count": Variable(("trial", "distribution", "count"), "1", "probability of the number of bright pixels"),
    "rank_frequency": Variable(("trial", "distribution", "rank"), "1", "probabilities of all patterns, largest first"),
}
"""Variables of the patches study; everything exact but what its name calls sampled."""


def empty_results(variables: dict[str, Variable], coords: dict[str, Any], attrs: dict[str, Any]) -> xr.Dataset:
    """A dataset with every variable filled with NaN, units and long names in place."""
    sizes = {name: len(values) for name, values in coords.items()}
    data = {}
    for name, variable in variables.items():
        filled = np.full([sizes[d] for d in variable.dims], np.nan, dtype=np.float32)
        data[name] = (variable.dims, filled, {"units": variable.units, "long_name": variable.long_name})
    results = xr.Dataset(data, coords=coords, attrs=attrs)
    for dimension, values in results.coords.items():
        values.attrs["long_name"] = COORDINATES[str(dimension)]
        if values.dtype.kind in "iuf":
            values.attrs["units"] = "1"
    return results
