"""Fisher information of every synapse and unit: the diagonal, the local heuristic, the full matrix."""

from secateur.fisher.diagonal import FisherInformation, Source, heuristic, heuristic_information, moments_from, variance
from secateur.fisher.full_matrix import FisherMatrix, leading_eigenvector_importance, matrix

__all__ = [
    "FisherInformation",
    "FisherMatrix",
    "Source",
    "heuristic",
    "heuristic_information",
    "leading_eigenvector_importance",
    "matrix",
    "moments_from",
    "variance",
]
