"""Whether samples have the activity of test rows: rates, correlations of pairs, number of active units."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import xarray as xr
from jaxtyping import Float

from secateur.figures import generation
from secateur.figures.comparisons import clearly_positive
from secateur.figures.panels import Drawing
from secateur.figures.wording import labels_of, mean_of, nouns_of, written
from secateur.studies.measures.measure import Cell, Measure, Measured, Shown, Stage
from secateur.studies.measures.sample_scores import SECTION
from secateur.studies.schema import STAGE, Variable

STATISTICS = ("rate_error", "covariance_error", "count_distance")
_TRIAL = ("trial",)


def distances(
    ours: Float[np.ndarray, "samples units"], data: Float[np.ndarray, "rows units"]
) -> tuple[float, float, float]:
    """How far the activity of 0/1 rows is from that of others.

    Returns
    -------
    tuple
        Root mean square difference of rates over units; of covariances over pairs of units; and half the summed
        difference of the probabilities of every number of active units (total variation, 0 to 1).
    """
    rates = ours.mean(axis=0) - data.mean(axis=0)
    covariances = np.cov(ours.T, bias=True) - np.cov(data.T, bias=True)
    pairs = np.atleast_2d(covariances)[np.triu_indices(ours.shape[1], 1)]
    counts = [
        np.bincount(rows.sum(axis=1).astype(int), minlength=ours.shape[1] + 1) / len(rows) for rows in (ours, data)
    ]
    return (
        float(np.sqrt((rates**2).mean())),
        float(np.sqrt((pairs**2).mean())) if pairs.size else 0.0,
        float(abs(counts[0] - counts[1]).sum() / 2),
    )


class SampleStatistics(Measure):
    """Distances of samples from test rows, beside that of as many training rows: what chance alone makes."""

    name = "sample-statistics"
    section = SECTION
    variables = {
        "rate_error": Variable(STAGE, "1", "root mean square difference of rates between samples and test rows"),
        "covariance_error": Variable(STAGE, "1", "the same of covariances of pairs of units"),
        "count_distance": Variable(STAGE, "1", "total variation distance of the numbers of active units"),
        "reference_rate_error": Variable(_TRIAL, "1", "rate_error of as many training rows in place of samples"),
        "reference_covariance_error": Variable(_TRIAL, "1", "covariance_error of as many training rows"),
        "reference_count_distance": Variable(_TRIAL, "1", "count_distance of as many training rows"),
    }

    def once(self, at: Stage) -> Measured:
        """Distances of training rows."""
        found = []
        for data in at.trials.data:
            rows = np.random.default_rng(at.config.seed).permutation(len(data.train))[: at.how.n_samples]
            found.append(distances(data.train[rows], data.test))
        return {f"reference_{name}": np.array(f) for name, f in zip(STATISTICS, np.transpose(found), strict=True)}

    def stage(self, at: Stage) -> Measured:
        """Distances of samples."""
        found = [distances(samples, data.test) for samples, data in zip(at.samples, at.trials.data, strict=True)]
        return {name: np.array(f) for name, f in zip(STATISTICS, np.transpose(found), strict=True)}

    def figures(self, shown: Shown) -> dict[str, Callable[[], Drawing]]:
        """All three over synapses."""
        return {"sample-statistics": partial(generation.sample_statistics, shown.results)}

    def columns(self, shown: Shown) -> dict[str, Cell]:
        """Errors after retraining."""

        def cell(name: str) -> Cell:
            return lambda last: written(last[name].sel(stage="retrained").values, digits=3)

        return {"rate error": cell("rate_error"), "covariance error": cell("covariance_error")}

    def reference_rows(self, shown: Shown) -> dict[str, dict[str, str]]:
        """Training rows."""
        values = [shown.results[f"reference_{name}"].values for name in STATISTICS[:2]]
        cells = dict(zip(self.columns(shown), (written(v, digits=3) for v in values), strict=True))
        return {f"training {nouns_of(shown.results)[1]}": cells}

    def remarks(self, shown: Shown) -> list[str]:
        """Whether the unpruned machine's samples are as active as the data."""
        return _off(shown.results)


def _off(results: xr.Dataset) -> list[str]:
    """Rules after which samples tell the activity of the data better than the unpruned machine does."""
    values = results["covariance_error"].sel(stage="retrained")
    whole = values.isel(criterion=0, round=0).values
    better = [
        label
        for name, label in labels_of(results).items()
        if clearly_positive(whole - values.sel(criterion=name).isel(round=-1).values) and len(whole) > 1
    ]
    if not better or not np.isfinite(mean_of(whole)):
        return []
    return [
        f"After pruning by {', '.join(better)} samples have the covariances of the test {nouns_of(results)[1]} more "
        "nearly than those of the unpruned machine: it was trained too briefly, or too long on too few rows."
    ]
