"""Likelihoods in nats: partition function, log-probability of visible states, bounds, cheap training-time measures."""

from secateur.likelihood.annealing import annealed_log_weights, base_bias_of, reverse_log_weights
from secateur.likelihood.bridging import combine_both_directions, combine_log_weights, combine_reverse_log_weights
from secateur.likelihood.comparison import (
    Comparison,
    beside_independent_units,
    independent_log_probability,
    rates_of,
)
from secateur.likelihood.estimates import LogPartition
from secateur.likelihood.loss import Loss, MeanLogProbability, loss_of, mean_log_probability
from secateur.likelihood.partition import log_partition
from secateur.likelihood.rows import free_energy, log_probability, log_probability_bound, pseudo_likelihood

__all__ = [
    "Comparison",
    "LogPartition",
    "Loss",
    "MeanLogProbability",
    "annealed_log_weights",
    "base_bias_of",
    "beside_independent_units",
    "combine_both_directions",
    "combine_log_weights",
    "combine_reverse_log_weights",
    "free_energy",
    "independent_log_probability",
    "log_partition",
    "log_probability",
    "log_probability_bound",
    "loss_of",
    "mean_log_probability",
    "pseudo_likelihood",
    "rates_of",
    "reverse_log_weights",
]
