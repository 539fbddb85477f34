"""Samples to look at."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from secateur.figures import images
from secateur.figures.panels import Drawing
from secateur.studies.measures.measure import Measure, Measured, Shown, Stage, Trials
from secateur.studies.measures.sample_scores import SECTION
from secateur.studies.schema import ROUND, Variable


class ExampleSamples(Measure):
    """Probabilities of visible units given the hidden states of chains of their own."""

    name = "example-samples"
    needs = ("image",)
    section = SECTION
    variables = {
        "example_sample": Variable(
            (*ROUND, "example", "pixel"), "1", "samples of the retrained machine (pixel probabilities)"
        ),
    }
    dimensions = {"example": "number of an example"}

    def coords(self, trials: Trials) -> dict[str, Any]:
        """Numbers of the examples."""
        return {"example": np.arange(trials.config.evaluation.n_examples)}

    def stage(self, at: Stage) -> Measured:
        """In 255 steps, as images are shown, so that they take little room in the file."""
        return {"example_sample": np.round(np.asarray(at.drawn[1])[:, : at.how.n_examples] * 255) / 255}

    def figures(self, shown: Shown) -> dict[str, Callable[[], Drawing]]:
        """Those of trial 1."""
        return {"example-samples": partial(images.example_samples, shown.results)}
