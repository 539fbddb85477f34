"""Data for studies."""

from secateur.datasets.images import LabelledImages, handwritten_digits

__all__ = ["LabelledImages", "handwritten_digits"]
