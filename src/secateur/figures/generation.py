"""What a machine generates: quality, diversity and activity of samples, samples for a label; how annealing went."""

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
from secateur.figures.wording import nouns_of

_SCORES = {"quality": "mean winning probability", "diversity": "entropy of classes (nats)"}
_DIRECTIONS = ("", "_reverse")
"""Ends from which log Z is annealed, independent units and samples, by the suffix of the variables."""


def sample_quality(results: xr.Dataset) -> Drawing:
    """Quality of model samples over synapses, with test rows, random patterns and published values."""
    figure, (axes,) = stacked_panels(results, 1, 2.9)
    _scores(axes, results, "quality", over_rounds=False)
    published = in_study(results, DIGITS_END) if is_published_digits(results) else {}
    styles = rule_styles(list(published))
    for name, end in published.items():
        axes.plot(end.synapses, end.sample_quality, color=styles[name].colour, **PUBLISHED_MARKER)
    if published:
        name_published(axes)
    synapse_axis(axes, results, also=[end.synapses for end in published.values()])
    legend(figure, results)
    beside = f" Open circles: the single runs of {CITATION} after ten rounds." if published else ""
    caption = (
        "How clearly a classifier of raw rows recognises samples of the retrained machine: its winning probability, "
        "averaged over the classes it sees, against the number of synapses left. Dashed: real test rows; dotted: "
        f"random patterns.{beside} {note(results)}"
    )
    return Drawing(figure, "Sample quality", caption)


def sample_diversity(results: xr.Dataset) -> Drawing:
    """Diversity of model samples over synapses, with test rows and random patterns."""
    figure, (axes,) = stacked_panels(results, 1, 2.9)
    _scores(axes, results, "diversity", over_rounds=False)
    synapse_axis(axes, results)
    legend(figure, results)
    caption = (
        "Entropy of the classes that the classifier sees in samples of the retrained machine (the logarithm of their "
        "number when all are equally frequent), against the number of synapses left. Dashed: real test rows; "
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
        "machine. At the same round rules may differ in the number of synapses left. Dashed: real test rows; dotted: "
        f"random patterns. {note(results)}"
    )
    return Drawing(figure, "Samples over rounds", caption)


def conditional_accuracy(results: xr.Dataset) -> Drawing:
    """Share of samples drawn for a labelled row that are read as it, over synapses."""
    figure, (axes,) = stacked_panels(results, 1, 2.9)
    plot_rules(axes, results, results["conditional_accuracy"].sel(stage="retrained"), total_synapses(results))
    if "pixel_error" in results:
        reference(axes, float(mean_and_error(1 - results["pixel_error"])[0]), "--", f"test {nouns_of(results)[1]}")
    axes.set_ylim(0, 1.03)
    axes.set_ylabel("read as the label")
    synapse_axis(axes, results)
    legend(figure, results)
    caption = (
        "Share of samples that a classifier of raw rows reads as the label they were drawn for: the top layer is held "
        "at a state inferred from a labelled test row while the retrained machine draws the visible units. Dashed: the "
        f"same classifier on the test rows themselves. {note(results)}"
    )
    return Drawing(figure, "Samples drawn for a label", caption)


def sample_statistics(results: xr.Dataset) -> Drawing:
    """Distances of samples from test rows in rates, covariances and numbers of active units, over synapses."""
    titles = {
        "rate_error": ("rates", "difference"),
        "covariance_error": ("covariances of pairs", "difference"),
        "count_distance": ("number of active units", "distance"),
    }
    figure, panels = stacked_panels(results, len(titles), 2.0)
    for axes, (name, (title, label)) in zip(panels, titles.items(), strict=True):
        plot_rules(axes, results, results[name].sel(stage="retrained"), total_synapses(results))
        chance = float(mean_and_error(results[f"reference_{name}"])[0])
        reference(axes, chance, ":", f"training {nouns_of(results)[1]}")
        axes.set_title(title, loc="left")
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
        synapse_axis(axes, results, label=axes is panels[-1])
    legend(figure, results)
    caption = (
        "How far samples of the retrained machine are from test rows: root mean square difference of rates and of "
        "covariances of pairs, and total variation distance of the number of active units (0 to 1). Dotted: as many "
        f"training rows in place of samples, so what chance alone makes. {note(results)}"
    )
    return Drawing(figure, "Activity of samples", caption)


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
    if "test_log_likelihood_trusted" in results:
        trusted = retrained["test_log_likelihood_trusted"].values[once].ravel()
        trusted = trusted[np.isfinite(trusted)]
        n_bad = int((trusted == 0).sum())
        if n_bad:
            sentences.append(
                f"{n_bad} of {trusted.size} likelihoods are withheld, because their own diagnostics reject log Z: too "
                "few effective annealing runs, or two directions that disagree. More chains and temperatures "
                "(evaluation.n_annealing_chains, evaluation.n_temperatures) help."
            )
    return " ".join(sentences)


def _scores(axes: Axes, results: xr.Dataset, name: str, over_rounds: bool) -> None:
    values = results[f"sample_{name}"].sel(stage="retrained")
    plot_rules(axes, results, values, None if over_rounds else total_synapses(results))
    references = mean_and_error(results[f"reference_{name}"])[0]
    for value, linestyle in zip(references, ("--", ":"), strict=True):
        reference(axes, float(value), linestyle, str(value["reference"].values))
    axes.set_ylabel(_SCORES[name])
