"""What a machine of digits generates: quality and diversity of samples, conditional samples, likelihood bounds."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from secateur.figures.panels import (
    PUBLISHED_MARKER,
    Drawing,
    legend,
    name_published,
    note,
    plot_rules,
    reference,
    round_axis,
    stacked_panels,
    synapse_axis,
)
from secateur.figures.published import CITATION, DIGITS_END, in_study, is_published_digits
from secateur.figures.style import rule_styles
from secateur.figures.summary import mean_and_error, total_synapses
from secateur.studies.config import StudyConfig

SMALLEST_SAMPLE_SIZE = 10.0
"""Fewer effective annealing runs than this, and log Z rests on a few lucky ones."""
_SCORES = {"quality": "mean winning probability", "diversity": "entropy of classes (nats)"}
_DIRECTIONS = {
    "": "annealed from independent pixels (too high)",
    "_reverse": "annealed from samples (too low)",
}
"""Ends from which log Z is annealed, by the suffix of the variables, and on which side the bound errs on average."""


def sample_quality(results: xr.Dataset, config: StudyConfig | None = None) -> Drawing:
    """Quality of model samples over synapses, with test digits, random patterns and published values."""
    figure, (axes,) = stacked_panels(results, 1, 2.9)
    _scores(axes, results, "quality", over_rounds=False)
    published = in_study(results, DIGITS_END) if config and is_published_digits(results, config) else {}
    styles = rule_styles(list(published))
    for name, end in published.items():
        axes.plot(end.synapses, end.sample_quality, color=styles[name].colour, **PUBLISHED_MARKER)
    if published:
        name_published(axes)
    synapse_axis(axes, results, also=[end.synapses for end in published.values()])
    legend(figure, results)
    beside = f" Open circles: the single runs of {CITATION} after ten rounds." if published else ""
    caption = (
        "How clearly a digit classifier recognises samples of the retrained machine: its winning probability, averaged "
        "over the classes it sees, against the number of synapses left. Dashed: real test digits; dotted: random "
        f"patterns.{beside} {note(results)}"
    )
    return Drawing(figure, "Sample quality", caption)


def sample_diversity(results: xr.Dataset) -> Drawing:
    """Diversity of model samples over synapses, with test digits and random patterns."""
    figure, (axes,) = stacked_panels(results, 1, 2.9)
    _scores(axes, results, "diversity", over_rounds=False)
    synapse_axis(axes, results)
    legend(figure, results)
    caption = (
        "Entropy of the classes that the digit classifier sees in samples of the retrained machine (ln 10 = 2.30 nats "
        "when all ten digits are equally frequent), against the number of synapses left. Dashed: real test digits; "
        f"dotted: random patterns. {note(results)}"
    )
    return Drawing(figure, "Sample diversity", caption)


def samples_over_rounds(results: xr.Dataset) -> Drawing:
    """Quality and diversity of model samples over rounds of pruning."""
    figure, panels = stacked_panels(results, 2, 2.2)
    for axes, (name, label) in zip(panels, _SCORES.items(), strict=True):
        _scores(axes, results, name, over_rounds=True)
        axes.set_ylabel(label if name == "diversity" else "winning probability")
        axes.set_title(name, loc="left")
    round_axis(panels[-1], results)
    legend(figure, results)
    caption = (
        "Quality (top) and diversity (bottom) of samples, as above, over rounds of pruning; round 0 is the trained "
        "machine. At the same round rules may differ in the number of synapses left. Dashed: real test digits; dotted: "
        f"random patterns. {note(results)}"
    )
    return Drawing(figure, "Samples over rounds", caption)


def conditional_accuracy(results: xr.Dataset) -> Drawing:
    """Share of samples drawn for a labelled digit that are read as it, over synapses."""
    figure, (axes,) = stacked_panels(results, 1, 2.9)
    plot_rules(axes, results, results["conditional_accuracy"].sel(stage="retrained"), total_synapses(results))
    reference(axes, float(mean_and_error(1 - results["pixel_error"])[0]), "--", "test digits")
    reference(axes, 0.1, ":", "guessing")
    axes.set_ylim(0, 1.03)
    axes.set_ylabel("read as the digit")
    synapse_axis(axes, results)
    legend(figure, results)
    caption = (
        "Share of samples that a digit classifier reads as the digit they were drawn for: the top layer is held at a "
        "state inferred from a labelled test digit while the retrained machine draws the pixels. Dashed: the same "
        f"classifier on the test digits themselves; dotted: guessing. {note(results)}"
    )
    return Drawing(figure, "Samples drawn for a digit", caption)


def log_likelihood_bound(results: xr.Dataset) -> Drawing:
    """Variational bound on the log-likelihood of test digits over synapses, with log Z annealed from either end."""
    figure, panels = stacked_panels(results, 2, 2.3)
    for axes, (suffix, title) in zip(panels, _DIRECTIONS.items(), strict=True):
        bounds = results[f"log_likelihood_bound{suffix}"].sel(stage="retrained")
        plot_rules(axes, results, bounds, total_synapses(results))
        reference(axes, float(mean_and_error(bounds.isel(criterion=0, round=0))[0]), "--", "unpruned machine")
        synapse_axis(axes, results, label=axes is panels[-1])
        axes.set_ylabel("nats per digit")
        axes.set_title(title, loc="left")
    limits = np.array([axes.get_ylim() for axes in panels])
    for axes in panels:
        axes.set_ylim(limits[:, 0].min(), limits[:, 1].max())
    legend(figure, results)
    caption = (
        "Variational bound on the mean log-likelihood of a test digit after retraining (higher is better). The "
        "partition function is annealed from independent pixels (top; on average the bound comes out too high) and "
        "from samples of the machine (bottom; too low), on equal axes: read them together. "
        f"{annealing_note(results)} Dashed: the unpruned machine. {note(results)}"
    )
    return Drawing(figure, "Likelihood of unseen digits", caption)


def annealing_note(results: xr.Dataset) -> str:
    """How far annealed likelihood bounds after retraining can be trusted, in sentences."""
    retrained = results.sel(stage="retrained").transpose("criterion", "round", ...)
    # Before pruning all rules share one machine, which counts once.
    once = np.ones((results.sizes["criterion"], results.sizes["round"]), bool)
    once[1:, 0] = False
    errors = np.concatenate(
        [retrained[f"log_likelihood_bound{suffix}_error"].values[once].ravel() for suffix in _DIRECTIONS]
    )
    sizes = np.concatenate([retrained[f"annealing{suffix}_sample_size"].values[once].ravel() for suffix in _DIRECTIONS])
    gaps = (retrained["log_likelihood_bound"] - retrained["log_likelihood_bound_reverse"]).values[once].ravel()
    errors, sizes, gaps = (values[np.isfinite(values)] for values in (errors, sizes, gaps))
    if not (errors.size and sizes.size and gaps.size):
        return "How far annealing can be trusted was not measured."
    sentences = [
        f"Annealing itself adds a standard error of {np.median(errors):.2g} nats (median; at most {errors.max():.2g}), "
        f"from an effective number of runs of {np.median(sizes):.0f} (median; at least {sizes.min():.1f}); its two "
        f"ends differ by {np.median(abs(gaps)):.2g} nats (median; at most {abs(gaps).max():.2g})."
    ]
    n_few = int((sizes < SMALLEST_SAMPLE_SIZE).sum())
    if n_few:
        sentences.append(
            f"In {n_few} of {sizes.size} estimates fewer than {SMALLEST_SAMPLE_SIZE:.0f} runs count: these cannot be "
            "trusted."
        )
    return " ".join(sentences)


def _scores(axes: Axes, results: xr.Dataset, name: str, over_rounds: bool) -> None:
    values = results[f"sample_{name}"].sel(stage="retrained")
    plot_rules(axes, results, values, None if over_rounds else total_synapses(results))
    references = mean_and_error(results[f"reference_{name}"])[0]
    reference(axes, float(references.sel(reference="test digits")), "--", "test digits")
    reference(axes, float(references.sel(reference="random patterns")), ":", "random patterns")
    axes.set_ylabel(_SCORES[name])
