"""How a classifier of raw rows judges what a machine generates (Scholl, Rule & Hennig 2021, Methods)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

from secateur.figures import generation
from secateur.figures.panels import Drawing
from secateur.figures.wording import written
from secateur.model.randomness import child_key
from secateur.studies import evaluation
from secateur.studies.measures.encoding import judges_of
from secateur.studies.measures.measure import Cell, Measure, Measured, Shown, Stage, Trials
from secateur.studies.schema import STAGE, Variable

SECTION = "Samples: what the machine generates"
_REFERENCE = ("trial", "reference")


class SampleScores(Measure):
    """Quality and diversity of samples, beside those of test rows and of random patterns."""

    name = "sample-scores"
    needs = ("labels",)
    section = SECTION
    variables = {
        "sample_quality": Variable(STAGE, "1", "mean winning probability of a classifier on model samples"),
        "sample_diversity": Variable(STAGE, "nat", "entropy of the classes a classifier sees in model samples"),
        "reference_quality": Variable(_REFERENCE, "1", "mean winning probability on test rows and random patterns"),
        "reference_diversity": Variable(_REFERENCE, "nat", "entropy of classes on test rows and random patterns"),
    }
    dimensions = {"reference": "what samples are compared with"}

    def prepare(self, trials: Trials) -> None:
        """The classifiers of raw rows."""
        judges_of(trials)

    def coords(self, trials: Trials) -> dict[str, Any]:
        """What samples are compared with."""
        return {"reference": [f"test {trials.data[0].nouns[1]}", "random patterns"]}

    def once(self, at: Stage) -> Measured:
        """Scores of test rows and of patterns of fair coins."""
        quality, diversity = [], []
        for data, judge, key in zip(at.trials.data, judges_of(at.trials), at.keys, strict=True):
            noise_key = child_key(key, "random patterns")
            noise = np.asarray(jax.random.bernoulli(noise_key, 0.5, data.test.shape), np.float32)
            scores = [evaluation.sample_scores(judge, rows) for rows in (data.test, noise)]
            quality.append([s.quality for s in scores])
            diversity.append([s.diversity for s in scores])
        return {"reference_quality": np.array(quality), "reference_diversity": np.array(diversity)}

    def stage(self, at: Stage) -> Measured:
        """Scores of samples."""
        pairs = zip(judges_of(at.trials), at.samples, strict=True)
        scores = [evaluation.sample_scores(judge, rows) for judge, rows in pairs]
        return {
            "sample_quality": np.array([s.quality for s in scores]),
            "sample_diversity": np.array([s.diversity for s in scores]),
        }

    def figures(self, shown: Shown) -> dict[str, Callable[[], Drawing]]:
        """Scores over synapses and over rounds."""
        return {
            "sample-quality": partial(generation.sample_quality, shown.results),
            "sample-diversity": partial(generation.sample_diversity, shown.results),
            "samples-over-rounds": partial(generation.samples_over_rounds, shown.results),
        }

    def columns(self, shown: Shown) -> dict[str, Cell]:
        """Both scores after retraining."""

        def cell(name: str) -> Cell:
            return lambda last: written(last[name].sel(stage="retrained").values, digits=2)

        return {"quality": cell("sample_quality"), "diversity (nats)": cell("sample_diversity")}

    def reference_rows(self, shown: Shown) -> dict[str, dict[str, str]]:
        """Test rows and random patterns."""
        scores = dict(zip(self.columns(shown), ("reference_quality", "reference_diversity"), strict=True))
        return {
            str(name): {
                column: written(shown.results[score].sel(reference=name).values, digits=2)
                for column, score in scores.items()
            }
            for name in shown.results["reference"].values
        }
