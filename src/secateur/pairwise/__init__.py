"""The pairwise maximum-entropy model: a fully visible Boltzmann machine, and the independent model as its special case.

States are 0/1. With biases ``b`` and couplings ``J`` (symmetric, zero diagonal)

``log p(s) = sum_i b_i s_i + sum_{i<j} J_ij s_i s_j - log Z``

in nats: of all distributions with given rates and coincidence rates the one of largest entropy (Schneidman, Berry,
Segev & Bialek 2006, "Weak pairwise correlations imply strongly correlated network states in a neural population",
equation 1). Functions have the names they have for layered machines: sampling as in :mod:`secateur.sampling`,
likelihood as in :mod:`secateur.likelihood`, Fisher information as in :mod:`secateur.fisher`.
"""

from secateur.fisher.pairwise import matrix, variance
from secateur.likelihood.pairwise import log_partition, log_probability
from secateur.model.pairwise import PairwiseModel
from secateur.model.pairwise_enumeration import moments
from secateur.sampling.pairwise import gibbs, random_states, sample
from secateur.training.pairwise import FitSummary, fit, independent

__all__ = [
    "FitSummary",
    "PairwiseModel",
    "fit",
    "gibbs",
    "independent",
    "log_partition",
    "log_probability",
    "matrix",
    "moments",
    "random_states",
    "sample",
    "variance",
]
