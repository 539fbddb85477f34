"""How far the model is from the training rows: the exact Kullback-Leibler divergence."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import xarray as xr

from secateur.figures import likelihoods
from secateur.figures.comparisons import clearly_positive, divergences
from secateur.figures.panels import Drawing
from secateur.figures.wording import labels_of, mean_of, nats, nouns_of, written
from secateur.model import enumeration
from secateur.studies.measures.exact_likelihood import SECTION
from secateur.studies.measures.measure import Cell, Measure, Measured, Shown, Stage, Trials
from secateur.studies.schema import STAGE, Variable


def seen_patterns(trials: Trials) -> list[tuple[np.ndarray, np.ndarray]]:
    """The different training rows of every trial and their frequencies, rising in the numbers whose bits they are."""

    def find(trials: Trials) -> list[tuple[np.ndarray, np.ndarray]]:
        found = []
        for data in trials.data:
            # The last unit is the highest bit.
            different, counts = np.unique(data.train[:, ::-1], axis=0, return_counts=True)
            found.append((np.ascontiguousarray(different[:, ::-1]), counts / len(data.train)))
        return found

    return trials.once("seen patterns", find)


class Divergence(Measure):
    """``sum p_data (log p_data - log p_model)`` over the different training rows, exact."""

    name = "divergence"
    needs = ("summable",)
    section = SECTION
    variables = {
        "kl_divergence": Variable(STAGE, "nat", "exact KL divergence of the model from the training rows"),
        "data_entropy": Variable(("trial",), "nat", "entropy of the training rows' frequencies"),
    }

    def prepare(self, trials: Trials) -> None:
        """The different training rows."""
        seen_patterns(trials)

    def once(self, at: Stage) -> Measured:
        """Entropy of the data."""
        return {"data_entropy": np.array([-(p * np.log(p)).sum() for _, p in seen_patterns(at.trials)])}

    def stage(self, at: Stage) -> Measured:
        """The divergence."""
        found = []
        for machine, (rows, data) in zip(at.machines, seen_patterns(at.trials), strict=True):
            log_model = enumeration.log_probability(machine, rows)
            found.append((data * (np.log(data) - log_model)).sum())
        return {"kl_divergence": np.array(found)}

    def figures(self, shown: Shown) -> dict[str, Callable[[], Drawing]]:
        """The divergence over synapses."""
        return {"kl-divergence": partial(likelihoods.divergence, shown.results)}

    def columns(self, shown: Shown) -> dict[str, Cell]:
        """The divergence right after pruning and after retraining."""
        return {
            "KL, pruned (nats)": lambda last: written(last["kl_divergence"].sel(stage="pruned").values, digits=2),
            "KL (nats)": lambda last: written(last["kl_divergence"].sel(stage="retrained").values, digits=3),
        }

    def clause(self, shown: Shown, criterion: str) -> str | None:
        """The divergence at the end."""
        pruned, retrained = (divergences(shown.results, criterion, stage) for stage in likelihoods.STAGES)
        if not np.isfinite(mean_of(pruned[:, -1] + retrained[:, -1])):
            return None
        return (
            f"the KL divergence from the data is {nats(pruned[:, -1])} right after the last pruning and "
            f"{nats(retrained[:, -1])} after retraining (unpruned {nats(retrained[:, 0])})"
        )

    def findings(self, shown: Shown) -> list[str]:
        """Which rule loses least."""
        found = least_loss(shown.results)
        if not found:
            return []
        what = nouns_of(shown.results)[1]
        return [
            *found,
            f"The Kullback-Leibler (KL) divergence of the model from the training {what} is exact; it says how far "
            f"the mean log-likelihood of training {what} stays behind that of a perfect model (0).",
        ]


def least_loss(results: xr.Dataset) -> list[str]:
    """Which rule loses least likelihood after each round, one sentence per stage; none for a single rule."""
    if results.sizes["criterion"] < 2:
        return []
    sentences = []
    for stage, words in likelihoods.STAGES.items():
        found = [_least(results, stage, number) for number in range(1, results.sizes["round"])]
        if any(found):
            start = f"{words[0].upper()}{words[1:]}, the least likelihood is lost by "
            sentences.append(start + "; ".join(filter(None, found)) + ".")
    return sentences


def _least(results: xr.Dataset, stage: str, number: int) -> str | None:
    """The rule with the smallest mean divergence after a round, and how clearly it is ahead of the next."""
    labels = labels_of(results)
    known = {name: divergences(results, name, stage)[:, number] for name in labels}
    known = {name: values for name, values in known.items() if np.isfinite(mean_of(values))}
    if len(known) < 2:
        return None
    best, second = sorted(known, key=lambda name: mean_of(known[name]))[:2]
    ahead = known[second] - known[best]
    clear = "clearly ahead of" if clearly_positive(ahead) and len(ahead) > 1 else "not clearly ahead of"
    if len(ahead) == 1:
        clear = "ahead, in one trial, of"
    return (
        f"{labels[best]} in round {number} (KL {nats(known[best])}; {clear} {labels[second]} with "
        f"{nats(known[second])})"
    )
