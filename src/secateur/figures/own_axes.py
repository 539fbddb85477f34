"""Axes that figures are drawn on: the user's own, or new ones; and colour bars beside them."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar


def axes_of(ax: Any) -> Axes:
    """The axes given, or those of a new figure of pyplot's.

    Raises
    ------
    TypeError
        If something else is given.
    """
    if ax is None:
        from matplotlib import pyplot  # only here: it chooses a backend

        return pyplot.subplots(layout="constrained")[1]
    if not isinstance(ax, Axes):
        raise TypeError(
            f"ax must be matplotlib axes, got {type(ax).__name__}; make some with 'figure, ax = plt.subplots()', or "
            "leave it out"
        )
    return ax


def bar_beside(ax: Axes, colours: ScalarMappable, label: str, **how: Any) -> Colorbar:
    """A colour bar that takes its room from the axes."""
    figure = ax.get_figure()
    assert figure is not None
    return figure.colorbar(colours, ax=ax, label=label, **how)
