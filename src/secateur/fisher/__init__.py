"""Fisher information of every synapse and unit: the diagonal, the local heuristic, the full matrix."""

from secateur.fisher.diagonal import FisherInformation, Source, heuristic, heuristic_information, moments_from, variance
from secateur.fisher.full_matrix import FisherMatrix, leading_eigenvector_importance, matrix
from secateur.fisher.spectrum import Spectrum, spectrum
from secateur.fisher.surgery import RemovalSaliency, compensated, removal_saliency

__all__ = [
    "FisherInformation",
    "FisherMatrix",
    "RemovalSaliency",
    "Source",
    "Spectrum",
    "compensated",
    "heuristic",
    "heuristic_information",
    "leading_eigenvector_importance",
    "matrix",
    "moments_from",
    "removal_saliency",
    "spectrum",
    "variance",
]
