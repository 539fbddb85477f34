"""Training settings for rows that nobody has chosen settings for: from how many rows there are, and how wide."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from secateur.training.settings import TrainingSettings

N_CHAINS = 50
_UPDATES = 6000
"""Updates, where they do not take too long."""
_WORK = 2e11
"""Multiplications of a training: a quarter of a minute on two cores."""
_MOST_EPOCHS, _FEWEST_EPOCHS = 100, 3
_NARROW = 64
"""Visible units up to which the rate is the same; an update moves a hidden unit's input by the rate times the width."""


def rates_for(n_visible: int, first: float, last: float) -> tuple[float, float]:
    """First and last rate of Adam for rows of this width, given those for narrow rows."""
    scale = min(1.0, (_NARROW / n_visible) ** (2 / 3))
    return float(f"{first * scale:.2g}"), float(f"{last * scale:.2g}")


def chosen_for(n_rows: int, layer_sizes: Sequence[int]) -> dict[str, Any]:
    """Settings by name: persistent chains and Adam, since units differ by orders of magnitude in how often they are on.

    About 6,000 updates, fewer for large machines; from 3 to 100 epochs.
    """
    synapses = sum(lower * upper for lower, upper in pairwise(layer_sizes))
    batch = 10 if n_rows < 2000 else 20 if n_rows < 20_000 else 100
    n_updates = min(_UPDATES, _WORK / (synapses * (4 * N_CHAINS + 6 * batch)))
    return {
        "method": "pcd",
        "n_epochs": min(_MOST_EPOCHS, max(_FEWEST_EPOCHS, round(n_updates * batch / max(n_rows, 1)))),
        "batch_size": batch,
        "optimizer": "adam",
        "learning_rate": rates_for(layer_sizes[0], 0.02, 0.0005),
        "n_chains": N_CHAINS,
    }


def settings_for(n_rows: int, layer_sizes: Sequence[int], **given: Any) -> TrainingSettings:
    """Training settings that learn more than rates from rows of 0 and 1 of most kinds.

    Parameters
    ----------
    n_rows
        Rows of the data.
    layer_sizes
        Units per layer, visible first.
    given
        Settings of :class:`TrainingSettings` by name that are not to be chosen; ``None`` leaves the choice. The rate of
        ``optimizer="sgd"`` is not chosen, since it depends on the data: it is that of :class:`TrainingSettings`.

    Raises
    ------
    pydantic.ValidationError
        If a given setting is refused.
    """
    wanted = {name: value for name, value in given.items() if value is not None}
    chosen = chosen_for(n_rows, layer_sizes)
    if wanted.get("optimizer", "adam") != "adam":
        del chosen["learning_rate"]
    return TrainingSettings(**chosen | wanted)
