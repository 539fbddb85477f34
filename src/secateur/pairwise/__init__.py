"""The pairwise maximum-entropy model: a fully visible Boltzmann machine, and the independent model as its special case.

States are 0/1. With biases ``b`` and couplings ``J`` (symmetric, zero diagonal)

``log p(s) = sum_i b_i s_i + sum_{i<j} J_ij s_i s_j - log Z``

in nats: of all distributions with given rates and coincidence rates the one of largest entropy (Schneidman, Berry,
Segev & Bialek 2006, "Weak pairwise correlations imply strongly correlated network states in a neural population",
equation 1). Functions have the names they have for layered machines: sampling as in :mod:`secateur.sampling`,
likelihood as in :mod:`secateur.likelihood`, Fisher information as in :mod:`secateur.fisher`.
"""

from secateur.pairwise.enumeration import moments
from secateur.pairwise.fisher import matrix, variance
from secateur.pairwise.fitting import FitSummary, fit, independent
from secateur.pairwise.likelihood import log_partition, log_probability
from secateur.pairwise.model import PairwiseModel
from secateur.pairwise.sampling import gibbs, random_states, sample

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
