"""Pruning: rules that rank synapses or units, removal, and the prune-retrain loop."""

from secateur.pruning import built_in as built_in
from secateur.pruning.averages import ImportanceSampling, model_moments, model_states, sources_for
from secateur.pruning.given import NotDeclared, Synapses, Units, WholeMachine
from secateur.pruning.greedy import GreedyPath, greedy_removal
from secateur.pruning.judge import Judgement, judge
from secateur.pruning.prune import prune, pruned_masks
from secateur.pruning.ranking import importance
from secateur.pruning.regrowth import regrow, weight_gradient
from secateur.pruning.removal import (
    MoreRemoved,
    RemovalCount,
    compact,
    living_units,
    number_to_remove,
    remove_dead_units,
    remove_lowest,
    shrink,
    silent_visible_units,
)
from secateur.pruning.removed import Removed, removed
from secateur.pruning.rounds import Removal, Round, importance_keys, prune_and_retrain, remove
from secateur.pruning.rules import Criterion, Rule, criterion_names, ranks_units, register, rule, rule_named, rule_of
from secateur.pruning.schedules import Schedule, register_schedule, schedule_named

__all__ = [
    "Criterion",
    "GreedyPath",
    "ImportanceSampling",
    "Judgement",
    "MoreRemoved",
    "NotDeclared",
    "Removal",
    "RemovalCount",
    "Removed",
    "Round",
    "Rule",
    "Schedule",
    "Synapses",
    "Units",
    "WholeMachine",
    "compact",
    "criterion_names",
    "greedy_removal",
    "importance",
    "importance_keys",
    "judge",
    "living_units",
    "model_moments",
    "model_states",
    "number_to_remove",
    "prune",
    "prune_and_retrain",
    "pruned_masks",
    "ranks_units",
    "register",
    "register_schedule",
    "regrow",
    "remove",
    "remove_dead_units",
    "remove_lowest",
    "removed",
    "rule",
    "rule_named",
    "rule_of",
    "schedule_named",
    "shrink",
    "silent_visible_units",
    "sources_for",
    "weight_gradient",
]
