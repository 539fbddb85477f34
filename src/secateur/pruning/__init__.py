"""Pruning: importance rules, removal, and the prune-retrain loop."""

from secateur.pruning.criteria import (
    RULES,
    WHOLE_MACHINE_RULES,
    Rule,
    Synapses,
    check_criterion,
    criterion_names,
    importance,
    register,
    rule_named,
)
from secateur.pruning.prune import prune, pruned_masks
from secateur.pruning.removal import (
    compact,
    living_units,
    number_to_remove,
    remove_dead_units,
    remove_lowest,
    shrink,
    silent_visible_units,
)
from secateur.pruning.removed import Removed, removed
from secateur.pruning.rounds import ImportanceSampling, Round, model_moments, model_states, prune_and_retrain

__all__ = [
    "RULES",
    "ImportanceSampling",
    "Removed",
    "Round",
    "Rule",
    "Synapses",
    "WHOLE_MACHINE_RULES",
    "check_criterion",
    "compact",
    "criterion_names",
    "importance",
    "living_units",
    "model_moments",
    "model_states",
    "number_to_remove",
    "prune",
    "prune_and_retrain",
    "pruned_masks",
    "register",
    "remove_dead_units",
    "remove_lowest",
    "removed",
    "rule_named",
    "shrink",
    "silent_visible_units",
]
