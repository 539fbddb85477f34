"""Pruning: importance rules, removal, and the prune-retrain loop."""

from secateur.pruning.criteria import RULES, Rule, Synapses, importance, register, resolve
from secateur.pruning.prune import prune, pruned_masks
from secateur.pruning.removal import (
    compact,
    living_units,
    number_to_remove,
    remove_dead_units,
    remove_lowest,
    silent_visible_units,
)

__all__ = [
    "RULES",
    "Rule",
    "Synapses",
    "compact",
    "importance",
    "living_units",
    "number_to_remove",
    "prune",
    "pruned_masks",
    "register",
    "remove_dead_units",
    "remove_lowest",
    "resolve",
    "silent_visible_units",
]
