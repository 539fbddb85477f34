"""What the published study of image patches leads to expect of a machine of its size, judged by the data."""

from __future__ import annotations

import numpy as np
import xarray as xr

from secateur.figures.comparisons import divergences, hidden_units_left, synapses_left
from secateur.figures.fisher_maps import eigenvalue_ratio
from secateur.figures.published import CITATION, PUBLISHED_SYNAPSES, is_published_machine, published_units
from secateur.figures.summary import FI_RULES
from secateur.figures.wording import (
    UNTESTED,
    Expectation,
    count,
    labels_of,
    mean_of,
    nats,
    verdict,
    written,
)
from secateur.pruning.rules import ranks_units
from secateur.studies.config import StudyConfig

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


def expectations(results: xr.Dataset, config: StudyConfig) -> list[Expectation]:
    """What the published study of patches leads to expect, judged by the data; none for other machines."""
    if not (is_published_machine(results) and "eigenvalue" in results):
        return []
    found = [_exact_counts(results, config), _units_left(results, config), _leading_eigenvalue(results)]
    found = [expectation._replace(because=f"{CITATION}, Figures 1 and 2, one run per rule") for expectation in found]
    if config.training.method == "exact":
        because = "it is what L-BFGS reached on all ten draws of patches when the size 'exact' was chosen"
        found.append(_exact_training(results)._replace(because=because))
    return found


def _exact_counts(results: xr.Dataset, config: StudyConfig) -> Expectation:
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


def _units_left(results: xr.Dataset, config: StudyConfig) -> Expectation:
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
    left = {name: hidden_units_left(results, name)[:, 3] for name in labels}
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


def _as_published(results: xr.Dataset, config: StudyConfig) -> bool:
    return is_published_machine(results) and set(np.atleast_1d(config.pruning.fraction)) == {_HALF}


def _unit_rules(results: xr.Dataset) -> list[tuple[str, str]]:
    return [(name, label) for name, label in labels_of(results).items() if ranks_units(name)]
