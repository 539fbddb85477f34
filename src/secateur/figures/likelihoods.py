"""How well pruned machines tell the frequencies of patterns: exact divergences, likelihoods, log-frequency errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from secateur.figures.panels import (
    Drawing,
    legend,
    note,
    plain_numbers,
    plot_rules,
    powers_of_ten,
    reference,
    rule_line,
    say_when_empty,
    stacked_panels,
    synapse_axis,
)
from secateur.figures.style import REFERENCE_COLOUR, rule_styles
from secateur.figures.summary import error_bar_note, mean_and_error, rule_groups, total_synapses
from secateur.figures.wording import nouns_of

STAGES = {"pruned": "right after pruning", "retrained": "after retraining"}
"""What the stages of a round are called."""


def divergence(results: xr.Dataset) -> Drawing:
    """Exact KL divergence over synapses, right after pruning and after retraining."""
    figure, panels = stacked_panels(results, 2, 2.2)
    values = results["kl_divergence"]
    for axes, stage in zip(panels, STAGES, strict=True):
        _over_synapses(axes, results, values.sel(stage=stage), stage)
        reference(axes, _unpruned(values), "--", "unpruned")
        axes.set_ylabel("KL (nats, log scale)")
        axes.set_yscale("log", nonpositive="clip")
        plain_numbers(axes.yaxis)
    synapse_axis(panels[-1], results)
    legend(figure, results)
    caption = (
        "Exact Kullback-Leibler divergence of the model from the training data (0 would be a perfect fit), right "
        "after each pruning step (top) and after the retraining that follows it (bottom; other scale). Dashed: the "
        f"unpruned machine. {note(results)}"
    )
    return Drawing(figure, "Divergence from the data", caption)


def trusted(results: xr.Dataset, name: str, verdict: str = "test_log_likelihood_trusted") -> xr.DataArray:
    """Values of a variable, NaN where their own verdict rejects them; all where there is no verdict: they are exact."""
    return results[name].where(results[verdict] != 0) if verdict in results else results[name]


def test_likelihood(results: xr.Dataset) -> Drawing:
    """Mean log-likelihood of test rows over synapses, right after pruning and after retraining; without what is not to
    be trusted.
    """
    values = trusted(results, "test_log_likelihood")
    alone = results.get("independent_log_likelihood")
    stages = _measured_stages(results, "test_log_likelihood")
    figure, panels = stacked_panels(results, len(stages), 2.2 if len(stages) > 1 else 2.9)
    for axes, stage in zip(panels, stages, strict=True):
        _over_synapses(axes, results, values.sel(stage=stage), stage)
        reference(axes, _unpruned(values), "--", "unpruned")
        if alone is not None:
            reference(axes, float(mean_and_error(alone)[0]), ":", "independent units")
        axes.set_ylabel(f"nats per {nouns_of(results)[0]}")
    synapse_axis(panels[-1], results)
    legend(figure, results)
    caption = (
        f"{_how_found(results)} of test {nouns_of(results)[1]}, which were not trained on (higher is better), "
        f"{_where(stages)}. Dashed: the unpruned machine; dotted: independent units. "
        f"{_withheld(results, values)}{note(results)}"
    )
    return Drawing(figure, f"Likelihood of unseen {nouns_of(results)[1]}", caption)


def gain_per_spike(results: xr.Dataset) -> Drawing:
    """Held-out log-likelihood per spike above independent units, over synapses; without what is not to be trusted."""
    values = trusted(results, "gain_per_spike", "gain_trusted")
    stages = _measured_stages(results, "gain_per_spike")
    figure, panels = stacked_panels(results, len(stages), 2.2 if len(stages) > 1 else 2.9)
    for axes, stage in zip(panels, stages, strict=True):
        _over_synapses(axes, results, values.sel(stage=stage), stage)
        reference(axes, _unpruned(values), "--", "unpruned")
        reference(axes, 0.0, ":", "independent units")
        axes.set_ylabel("nats per spike")
    synapse_axis(panels[-1], results)
    legend(figure, results)
    caption = (
        "Log-likelihood of held-out epochs above that of independent units, per spike, "
        f"{_where(stages)}. Dashed: the unpruned machine. "
        f"{_withheld(results, values)}{note(results)}"
    )
    return Drawing(figure, "Gain per spike", caption)


def _measured_stages(results: xr.Dataset, name: str) -> list[str]:
    """Stages at which a variable was measured after a round of pruning."""
    after = results[name].isel(round=slice(1, None))
    return [stage for stage in STAGES if bool(after.sel(stage=stage).notnull().any())] or ["retrained"]


def _where(stages: list[str]) -> str:
    if len(stages) == 1:
        return STAGES[stages[0]]
    return "right after each pruning step (top) and after retraining (bottom; other scale)"


def _how_found(results: xr.Dataset) -> str:
    if "test_log_likelihood_trusted" not in results:
        return "Exact mean log-likelihood"
    what = "Mean log-likelihood" if results.sizes["layer"] == 2 else "Variational bound on the mean log-likelihood"
    return f"{what} (log Z annealed both ways)"


def _withheld(results: xr.Dataset, values: xr.DataArray) -> str:
    """How many values are not drawn because they are not to be trusted."""
    measured = int(results[str(values.name)].notnull().sum())
    n_bad = measured - int(values.notnull().sum())
    return f"{n_bad} of {measured} estimates are not to be trusted and not drawn. " if n_bad else ""


def log_frequency_error(results: xr.Dataset) -> Drawing:
    """Mean log-frequency error over synapses, right after pruning and after retraining."""
    figure, panels = stacked_panels(results, 2, 2.2)
    values = results["log_frequency_error"].sel(estimate="exact")
    for axes, stage in zip(panels, STAGES, strict=True):
        _over_synapses(axes, results, values.sel(stage=stage), stage)
        reference(axes, _unpruned(values), "--", "unpruned")
        axes.set_ylabel("error (nats)")
    panels[0].set_yscale("log", nonpositive="clip")
    plain_numbers(panels[0].yaxis)
    synapse_axis(panels[-1], results)
    legend(figure, results)
    caption = (
        "Log-frequency error, the paper's measure with exact model frequencies: mean distance between the logarithms "
        "of model and data frequency over the different training patterns, each counted once, right after each pruning "
        f"step (top, logarithmic) and after retraining (bottom). Dashed: the unpruned machine. {note(results)}"
    )
    return Drawing(figure, "Log-frequency error", caption)


def log_frequency_by_frequency(results: xr.Dataset, stage: str, number: int) -> Drawing:
    """Log of model by data frequency over the data frequency of patterns: exact curves and sampled points."""
    groups = rule_groups(results)
    figure, panels = stacked_panels(results, len(groups), 1.8)
    differences = results["log_frequency_difference"].sel(stage=stage).isel(round=number)
    styles = rule_styles([str(name) for name in results["criterion"].values])
    frequency = results["frequency"].values
    for axes, (title, names) in zip(panels, groups.items(), strict=True):
        axes.axhline(0, color=REFERENCE_COLOUR, linewidth=0.8, zorder=1)
        for name in names:
            mean, error = mean_and_error(differences.sel(criterion=name))
            exact, sampled = ((mean.sel(estimate=e).values, error.sel(estimate=e).values) for e in ("exact", "sampled"))
            known = np.isfinite(exact[0])
            rule_line(axes, styles[name], frequency[known], exact[0][known], exact[1][known], marker="", label=None)
            look: dict[str, Any] = {"linestyle": "none", "markerfacecolor": "white", "label": None}
            rule_line(axes, styles[name], frequency, sampled[0], sampled[1], **look)
            rule_line(axes, styles[name], *np.full((3, 1), np.nan), markerfacecolor="white")  # for the legend
        axes.set_xscale("log")
        axes.set_title(title, loc="left")
        axes.set_ylabel("log ratio (nats)")
        say_when_empty(axes, differences.sel(criterion=names).values)
    # One scale for all panels, so that rules of different groups can be compared.
    limits = np.array([axes.get_ylim() for axes in panels])
    for axes in panels:
        axes.set_ylim(limits[:, 0].min(), limits[:, 1].max())
    powers_of_ten(panels[-1].xaxis)
    panels[-1].set_xlabel("frequency in the training data (log scale)")
    legend(figure, results)
    caption = (
        f"Mean of log model frequency minus log data frequency over the training patterns of about equal frequency, "
        f"{STAGES[stage]} in round {number}: 0 is a perfect fit, below it the model makes a pattern too rare. Lines: "
        "exact model frequencies; open markers: frequencies in samples, over the patterns that occur in them, which "
        f"makes rare patterns look too frequent. {error_bar_note(results)}"
    )
    return Drawing(figure, f"Log-frequencies {STAGES[stage]}, round {number}", caption)


def _over_synapses(axes: Axes, results: xr.Dataset, values: xr.DataArray, stage: str) -> None:
    plot_rules(axes, results, values, total_synapses(results))
    if axes.texts and bool(results[str(values.name)].notnull().any()):
        axes.texts[0].set_text("none to be trusted")
    synapse_axis(axes, results, label=False)
    axes.set_title(STAGES[stage], loc="left")


def _unpruned(values: xr.DataArray) -> float:
    return float(mean_and_error(values.isel(criterion=0, round=0, stage=-1))[0])
