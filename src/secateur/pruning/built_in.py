"""The rules that come with the package: one line for each."""

from __future__ import annotations

from secateur.pruning import synapse_rules, unit_rules
from secateur.pruning.rules import RULES

BUILT_IN = (
    synapse_rules.variance_fi,
    synapse_rules.heuristic_fi,
    synapse_rules.weight_magnitude,
    synapse_rules.random,
    synapse_rules.anti_fi,
    synapse_rules.fi_times_weight_squared,
    synapse_rules.decimation_kl,
    synapse_rules.likelihood_loss,
    synapse_rules.greedy_likelihood,
    synapse_rules.optimal_brain_surgeon,
    synapse_rules.eigenvector_fi,
    unit_rules.random_units,
    unit_rules.weakest_units,
    unit_rules.least_fi_units,
    unit_rules.unit_kl,
    unit_rules.unit_information,
)

RULES.update({rule.name: rule for rule in BUILT_IN})
