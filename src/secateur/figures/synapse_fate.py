"""Which synapses a rule removes, and how the importances of synapses agree."""

from __future__ import annotations

import numpy as np
import xarray as xr

from secateur.figures.panels import (
    Drawing,
    legend,
    note,
    plain_numbers,
    plot_rules,
    reference,
    round_axis,
    rule_line,
    say_when_empty,
    stacked_panels,
)
from secateur.figures.style import rule_styles
from secateur.figures.summary import error_bar_note, mean_and_error, rule_groups

QUANTITIES = {
    "weight": ("|weight|", "the magnitude of the weight", "|weight| (nats)"),
    "presynaptic rate": (
        "presynaptic rate",
        "the rate of the visible unit",
        "rate of the visible unit (probability of 1)",
    ),
    "postsynaptic rate": (
        "postsynaptic rate",
        "the rate of the hidden unit",
        "rate of the hidden unit (probability of 1)",
    ),
}
"""Short name, name in a sentence and axis label of each quantity."""


def elimination(results: xr.Dataset, quantity: str) -> Drawing:
    """Probability that the first round removes a synapse, over a quantity in deciles."""
    short, words, label = QUANTITIES[quantity]
    groups = rule_groups(results)
    figure, panels = stacked_panels(results, len(groups), 1.7)
    first = results[["elimination_probability", "quantity_mean"]].isel(round=1).sel(quantity=quantity)
    removed = mean_and_error(first["elimination_probability"])[0]
    styles = rule_styles([str(name) for name in results["criterion"].values])
    for axes, (title, names) in zip(panels, groups.items(), strict=True):
        reference(axes, float(removed.mean()), ":", "all synapses")
        for name in names:
            of_rule = first.sel(criterion=name).transpose("trial", "decile")
            mean, error = mean_and_error(of_rule["elimination_probability"])
            rule_line(axes, styles[name], mean_and_error(of_rule["quantity_mean"])[0].values, mean.values, error.values)
        axes.set_ylim(-0.05, 1.05)
        axes.set_ylabel("removed")
        axes.set_title(title, loc="left")
        say_when_empty(axes, removed.sel(criterion=names).values)
    means = mean_and_error(first["quantity_mean"])[0].values
    means = means[means > 0]
    if means.size and means.max() > 5 * means.min():
        panels[-1].set_xscale("log")
        plain_numbers(panels[-1].xaxis)
    panels[-1].set_xlabel(label)
    legend(figure, results)
    caption = (
        f"Probability that the first round removes a synapse of the first matrix, by {words} before the removal: one "
        "point per decile of the synapses, at the decile's mean. Dotted: the share removed of all. "
        f"{error_bar_note(results)}"
    )
    return Drawing(figure, f"Elimination by {short}", caption)


def rank_correlations(results: xr.Dataset) -> Drawing:
    """Spearman correlations between the importances of synapses over rounds."""
    titles = {
        "heuristic-variance": "heuristic and variance FI",
        "variance-eigenvector": "variance FI and leading eigenvector",
        "heuristic-eigenvector": "heuristic FI and leading eigenvector",
    }
    figure, panels = stacked_panels(results, len(titles), 2.0)
    values = results["rank_correlation"]
    for axes, (pair, title) in zip(panels, titles.items(), strict=True):
        plot_rules(axes, results, values.sel(pair=pair), None)
        axes.set_title(title, loc="left")
        axes.set_ylabel("correlation")
    lowest = np.nanmin([axes.dataLim.y0 for axes in panels] + [0.0])
    for axes in panels:
        axes.set_ylim(lowest - 0.05, 1.05)
        axes.axhline(0, color="#BDBDBD", linewidth=0.8, zorder=0)
    round_axis(panels[-1], results)
    legend(figure, results)
    caption = (
        "Spearman rank correlation, over the synapses that are left, between the importances that three rules would "
        "give them (exact), in the machine pruned and retrained by each rule; round 0 is the unpruned machine. "
        f"{note(results)}"
    )
    return Drawing(figure, "Agreement of importances", caption)
