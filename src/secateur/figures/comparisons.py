"""Rules compared at equal numbers of synapses, and whether a difference is more than chance."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy.stats import t as student

from secateur.figures.summary import hidden_units, total_synapses
from secateur.figures.wording import CHANCE, labels_of, mean_error, mean_of, points

CONFIDENCE = 0.95
"""Two-sided confidence at which a difference is called clear."""


def synapses_left(results: xr.Dataset, criterion: str) -> np.ndarray:
    """Synapses left, ``(trials, rounds)``."""
    return total_synapses(results).sel(criterion=criterion).transpose("trial", "round").values


def hidden_units_left(results: xr.Dataset, criterion: str) -> np.ndarray:
    """Living hidden units, ``(trials, rounds)``."""
    return hidden_units(results).sel(criterion=criterion).transpose("trial", "round").values


def errors_left(results: xr.Dataset, criterion: str) -> np.ndarray:
    """Test error after retraining, ``(trials, rounds)``."""
    errors = results["test_error"].sel(criterion=criterion, stage="retrained")
    return errors.transpose("trial", "round").values


def divergences(results: xr.Dataset, criterion: str, stage: str) -> np.ndarray:
    """Exact KL divergence from the training rows, ``(trials, rounds)``, in nats."""
    return results["kl_divergence"].sel(criterion=criterion, stage=stage).transpose("trial", "round").values


def at_synapses(synapses: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Values of every trial at a number of synapses, interpolated linearly between rounds.

    Parameters
    ----------
    synapses, values
        ``(trials, rounds)``.
    wanted
        Number of synapses for each trial.

    Returns
    -------
    numpy.ndarray
        One value per trial; NaN where pruning never went that far or a value is missing.
    """
    found = np.full(len(wanted), np.nan)
    for trial, number in enumerate(wanted):
        known = np.isfinite(synapses[trial])
        if known.any() and synapses[trial][known].min() <= number:
            order = np.argsort(synapses[trial][known], kind="stable")
            found[trial] = np.interp(number, synapses[trial][known][order], values[trial][known][order])
    return found


def quantile(values: np.ndarray) -> float:
    """Standard errors beyond which a mean over these trials is not chance: Student's t at 95 %, two-sided.

    4.30 for three trials, 2.26 for ten; infinite with fewer than two.
    """
    n_known = int(np.isfinite(values).sum())
    return float(student.ppf((1 + CONFIDENCE) / 2, n_known - 1)) if n_known > 1 else np.inf


def clearly_positive(differences: np.ndarray) -> bool:
    """Whether a difference exceeds zero beyond chance (:func:`quantile`); with one trial, whether it exceeds zero."""
    mean, error = mean_error(differences)
    return bool(mean > (quantile(differences) * error if np.isfinite(error) else 0))


def compared_at_equal_synapses(results: xr.Dataset, loser: str, rivals: list[str]) -> tuple[list[bool], str]:
    """Whether a rule is clearly worse than others after retraining: one comparison per rival and round.

    They are compared at the larger of the two numbers of synapses that the rules have left after the round; with one
    trial any difference counts.

    Returns
    -------
    tuple
        The comparisons that could be made, and the smallest difference in a sentence.
    """
    labels = labels_of(results)
    found, smallest = [], (np.inf, "")
    for number in range(1, results.sizes["round"]):
        for other in rivals:
            left = np.maximum(synapses_left(results, loser)[:, number], synapses_left(results, other)[:, number])
            worse, rival = (
                at_synapses(synapses_left(results, n), errors_left(results, n), left) for n in (loser, other)
            )
            if not np.isfinite(mean_of(worse - rival)):
                continue
            found.append(clearly_positive(worse - rival))
            if mean_of(worse - rival) < smallest[0]:
                where = f"{points(worse - rival)} against {labels[other]} at {mean_of(left):,.0f} synapses"
                smallest = (mean_of(worse - rival), f"The smallest difference is {where} (round {number}).")
    return found, smallest[1]


def worse_in_words(results: xr.Dataset) -> str:
    """What is called worse in :func:`compared_at_equal_synapses`."""
    single = results.sizes["trial"] == 1
    return "worse (one trial, so chance cannot be told apart)" if single else f"worse {CHANCE}"
