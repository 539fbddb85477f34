"""Likelihoods in nats: partition function, log-probability of visible states, bounds, cheap training-time measures."""

from secateur.likelihood.partition import (
    TRUSTED_SAMPLE_SIZE,
    LogPartition,
    annealed_log_weights,
    base_bias_of,
    combine_both_directions,
    combine_log_weights,
    combine_reverse_log_weights,
    free_energy,
    log_partition,
    log_probability,
    log_probability_bound,
    pseudo_likelihood,
    reverse_log_weights,
)

__all__ = [
    "TRUSTED_SAMPLE_SIZE",
    "LogPartition",
    "annealed_log_weights",
    "base_bias_of",
    "combine_both_directions",
    "combine_log_weights",
    "combine_reverse_log_weights",
    "free_energy",
    "log_partition",
    "log_probability",
    "log_probability_bound",
    "pseudo_likelihood",
    "reverse_log_weights",
]
