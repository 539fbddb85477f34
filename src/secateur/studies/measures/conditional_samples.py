"""Whether a machine draws what its top layer stands for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from secateur.figures import generation
from secateur.figures.panels import Drawing
from secateur.figures.wording import nouns_of, percent
from secateur.model.randomness import child_key
from secateur.studies import evaluation
from secateur.studies.measures.encoding import judges_of
from secateur.studies.measures.measure import Cell, Measure, Measured, Shown, Stage, Trials
from secateur.studies.measures.sample_scores import SECTION
from secateur.studies.schema import STAGE, Variable


class ConditionalSamples(Measure):
    """How often samples, drawn with the top layer held at a state inferred from a test row, are read as its label."""

    name = "conditional-samples"
    needs = ("labels",)
    section = SECTION
    variables = {
        "conditional_accuracy": Variable(
            STAGE, "1", "share of samples, drawn with the top layer held for a labelled test row, that are read as it"
        ),
    }

    def prepare(self, trials: Trials) -> None:
        """The classifiers of raw rows."""
        judges_of(trials)

    def stage(self, at: Stage) -> Measured:
        """One sample for each of some test rows."""
        data = at.trials.data
        keys = child_key(at.keys, "labelled digits")
        chosen = [
            np.asarray(jax.random.permutation(key, len(one.test)))[: at.how.n_conditional_samples]
            for one, key in zip(data, keys, strict=True)
        ]
        rows = jnp.asarray(np.stack([one.test[places] for one, places in zip(data, chosen, strict=True)]))
        drawn = evaluation.draw_for(at.machine, rows, child_key(at.keys, "conditional samples"), at.how)
        labels = [one.classes[1][places] for one, places in zip(data, chosen, strict=True)]
        each = zip(judges_of(at.trials), np.asarray(drawn), labels, strict=True)
        return {"conditional_accuracy": np.array([judge.accuracy(*one) for judge, *one in each])}

    def figures(self, shown: Shown) -> dict[str, Callable[[], Drawing]]:
        """The share over synapses."""
        return {"conditional-accuracy": partial(generation.conditional_accuracy, shown.results)}

    def columns(self, shown: Shown) -> dict[str, Cell]:
        """The share after retraining."""
        return {"read as the label": lambda last: percent(last["conditional_accuracy"].sel(stage="retrained").values)}

    def reference_rows(self, shown: Shown) -> dict[str, dict[str, str]]:
        """The classifier on test rows themselves."""
        if "pixel_error" not in shown.results:
            return {}
        read = percent(1 - shown.results["pixel_error"].values)
        return {f"test {nouns_of(shown.results)[1]}": {"read as the label": read}}
