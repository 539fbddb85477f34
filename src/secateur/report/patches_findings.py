"""What a patches study found, in sentences: what each rule costs, and whether each expectation holds."""

from __future__ import annotations

import numpy as np
import xarray as xr

from secateur.figures.fisher_maps import eigenvalue_ratio
from secateur.figures.likelihoods import STAGES
from secateur.figures.published import PUBLISHED_SYNAPSES, is_published_machine, published_units
from secateur.figures.style import rule_styles
from secateur.figures.summary import FI_RULES, hidden_units, total_synapses
from secateur.pruning.rules import ranks_units
from secateur.report.wording import (
    UNTESTED,
    Expectation,
    Headline,
    clearly_positive,
    count,
    labels_of,
    mean_of,
    verdict,
    written,
)
from secateur.studies.config import PatchesConfig

UNITS_EXPECTED = (8, 14)
"""Hidden units that Fisher information rules leave after round 3, on average."""
RANDOM_UNITS = 50
"""Random removal keeps more hidden units than this after round 3, on average."""
RATIO_EXPECTED = (10, 25)
"""Leading by second eigenvalue of the trained machine."""
DIVERGENCE_REACHED = 0.06
"""KL divergence in nats that training on the exact gradient must reach in every trial."""

_HALF = 0.5
_OTHER_MACHINE = "The study does not prune half of 13 × 70 synapses in every round, so the numbers do not apply."


def headlines(results: xr.Dataset) -> list[Headline]:
    """What pruning by each rule leaves of the hidden units and of the fit, one sentence per rule."""
    criteria = [str(name) for name in results["criterion"].values]
    return [Headline(name, style, _headline(results, name)) for name, style in rule_styles(criteria).items()]


def least_loss(results: xr.Dataset) -> list[str]:
    """Which rule loses least likelihood after each round, one sentence per stage; none for a single rule."""
    if results.sizes["criterion"] < 2:
        return []
    sentences = []
    for stage, words in STAGES.items():
        found = [_least(results, stage, number) for number in range(1, results.sizes["round"])]
        if any(found):
            start = f"{words[0].upper()}{words[1:]}, the least likelihood is lost by "
            sentences.append(start + "; ".join(filter(None, found)) + ".")
    return sentences


def expectations(results: xr.Dataset, config: PatchesConfig) -> list[Expectation]:
    """What the published study leads to expect, judged by the data."""
    found = [_exact_counts(results, config), _units_left(results, config), _leading_eigenvalue(results)]
    return [*found, _exact_training(results)] if config.training.method == "exact" else found


def divergences(results: xr.Dataset, criterion: str, stage: str) -> np.ndarray:
    """Exact KL divergence from the training patches, ``(trials, rounds)``, in nats."""
    return results["kl_divergence"].sel(criterion=criterion, stage=stage).transpose("trial", "round").values


def units_left(results: xr.Dataset, criterion: str) -> np.ndarray:
    """Living hidden units, ``(trials, rounds)``."""
    return hidden_units(results).sel(criterion=criterion).transpose("trial", "round").values


def synapses_left(results: xr.Dataset, criterion: str) -> np.ndarray:
    """Synapses, ``(trials, rounds)``."""
    return total_synapses(results).sel(criterion=criterion).transpose("trial", "round").values


def nats(values: np.ndarray) -> str:
    """A number of nats (see :func:`secateur.report.wording.written`), finer where it is small."""
    return written(values, digits=3 if abs(mean_of(values)) < 1 else 2, unit=" nats")


def _headline(results: xr.Dataset, criterion: str) -> str:
    units, synapses = units_left(results, criterion), synapses_left(results, criterion)
    pruned, retrained = (divergences(results, criterion, stage) for stage in STAGES)
    rounds = count(int(results["round"].values[-1]), "round").replace("1 round", "one round")
    if not np.isfinite(mean_of(units[:, -1] + synapses[:, -1] + pruned[:, -1] + retrained[:, -1])):
        return f"after {rounds} nothing was measured."
    return (
        f"after {rounds}, with {written(synapses[:, -1], digits=0)} of {mean_of(synapses[:, 0]):,.0f} synapses, "
        f"{written(units[:, -1])} of {mean_of(units[:, 0]):.0f} hidden units are left. The KL divergence from the data "
        f"is {nats(pruned[:, -1])} right after the last pruning and {nats(retrained[:, -1])} after retraining "
        f"(unpruned {nats(retrained[:, 0])})."
    )


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


def _exact_counts(results: xr.Dataset, config: PatchesConfig) -> Expectation:
    claim = "Rules for synapses leave exactly 455, 228 (or 227) and 114 (or 113) synapses after rounds 1, 2 and 3"
    if not _as_published(results, config):
        return Expectation(claim, UNTESTED, [_OTHER_MACHINE])
    found, evidence = [], []
    for name, label in labels_of(results).items():
        left = synapses_left(results, name)[:, 1 : 1 + len(PUBLISHED_SYNAPSES)]
        if ranks_units(name) or not np.isfinite(left).any():
            continue
        wanted = np.array(PUBLISHED_SYNAPSES[: left.shape[1]])
        lowest = wanted - np.array([0, 1, 1])[: left.shape[1]]
        known = np.isfinite(left)
        right = ((left <= wanted) & (left >= lowest)) | ~known
        found.append(bool(right.all()))
        if not found[-1]:
            means = ", ".join(written(column, digits=0) for column in left.T)
            evidence.append(f"{label}: {means}.")
    if not found:
        return Expectation(claim, UNTESTED, ["The study ran no rule for synapses."])
    right = f"In every trial and round of {sum(found)} of {count(len(found), 'rule')} for synapses"
    wholes = [
        f"{label} {written(synapses_left(results, name)[:, -1], digits=0)}" for name, label in _unit_rules(results)
    ]
    note = [f"Rules for whole units remove as many synapses as whole units allow: at the end {', '.join(wholes)}."]
    return Expectation(claim, verdict(found), [f"{right}.", *evidence, *(note if wholes else [])])


def _units_left(results: xr.Dataset, config: PatchesConfig) -> Expectation:
    low, high = UNITS_EXPECTED
    claim = (
        f"After round 3, Fisher information rules leave {low} to {high} hidden units on average, random removal more "
        f"than {RANDOM_UNITS}, and |w| a number between"
    )
    if not _as_published(results, config):
        return Expectation(claim, UNTESTED, [_OTHER_MACHINE])
    if results.sizes["round"] <= 3:
        return Expectation(claim, UNTESTED, ["The study has fewer than three rounds."])
    labels, published = labels_of(results), published_units(results)
    left = {name: units_left(results, name)[:, 3] for name in labels}
    means = {name: mean_of(values) for name, values in left.items() if np.isfinite(mean_of(values))}
    found = {name: low <= means[name] <= high for name in FI_RULES if name in means}
    if "random" in means:
        found["random"] = means["random"] > RANDOM_UNITS
    others = [means[name] for name in found]
    if "weight-magnitude" in means and len(others) > 1 and "random" in means:
        found["weight-magnitude"] = max(others[:-1]) < means["weight-magnitude"] < means["random"]
    evidence = []
    for name, right in found.items():
        beside = f", published {published[name][2]}" if len(published.get(name, ())) > 2 else ""
        evidence.append(
            f"{labels[name]}: {written(left[name])} ({'as expected' if right else 'not as expected'}{beside})."
        )
    if not found:
        evidence.append("The study ran none of these rules.")
    return Expectation(claim, verdict(list(found.values())), evidence)


def _leading_eigenvalue(results: xr.Dataset) -> Expectation:
    low, high = RATIO_EXPECTED
    claim = (
        "On average over trials the leading eigenvalue of the trained machine's Fisher information matrix is "
        f"{low} to {high} times the second"
    )
    ratio = eigenvalue_ratio(results)
    ratio = ratio[np.isfinite(ratio)]
    if not ratio.size:
        return Expectation(claim, UNTESTED, ["Eigenvalues are missing."])
    inside = int(((ratio >= low) & (ratio <= high)).sum())
    spread = f" (from {ratio.min():.1f} to {ratio.max():.1f}; inside in {inside} of {ratio.size} trials)"
    evidence = [f"The ratio is {written(ratio)}{spread if ratio.size > 1 else ''}; published: about 15."]
    return Expectation(claim, verdict([low <= mean_of(ratio) <= high]), evidence)


def _exact_training(results: xr.Dataset) -> Expectation:
    claim = (
        f"Trained on the exact gradient, the unpruned machine reaches a KL divergence of at most {DIVERGENCE_REACHED} "
        "nats in every trial"
    )
    reached = divergences(results, str(results["criterion"].values[0]), "retrained")[:, 0]
    reached = reached[np.isfinite(reached)]
    if not reached.size:
        return Expectation(claim, UNTESTED, ["The divergence before pruning is missing."])
    found = [bool(value <= DIVERGENCE_REACHED) for value in reached]
    evidence = [
        f"KL {nats(reached)}, largest {reached.max():.3f}; reached in {sum(found)} of {count(len(found), 'trial')}."
    ]
    return Expectation(claim, verdict(found), evidence)


def agreement(results: xr.Dataset) -> str | None:
    """How the importances of the unpruned machine's synapses agree, in a sentence."""
    before = results["rank_correlation"].isel(criterion=0, round=0)
    values = {str(pair): before.sel(pair=pair).values for pair in before["pair"].values}
    if not all(np.isfinite(mean_of(of_pair)) for of_pair in values.values()):
        return None
    return (
        "In the unpruned machine heuristic and variance FI rank synapses with a correlation of "
        f"{written(values['heuristic-variance'], digits=2)}, variance FI and the leading eigenvector with "
        f"{written(values['variance-eigenvector'], digits=2)}, heuristic FI and the leading eigenvector with "
        f"{written(values['heuristic-eigenvector'], digits=2)} (Spearman)."
    )


def _as_published(results: xr.Dataset, config: PatchesConfig) -> bool:
    return is_published_machine(results) and set(np.atleast_1d(config.pruning.fraction)) == {_HALF}


def _unit_rules(results: xr.Dataset) -> list[tuple[str, str]]:
    return [(name, label) for name, label in labels_of(results).items() if ranks_units(name)]
