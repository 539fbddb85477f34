"""Data: built-in and downloaded images and patches, and rows from files of the user's own."""

from secateur.data.cifar import Cifar10, read_cifar10
from secateur.data.fetch import DataSet, FileCheck, Listing, check, data_folder, fetch, list_datasets
from secateur.data.images import LabelledImages, handwritten_digits
from secateur.data.mnist import read_mnist
from secateur.data.patches import Patches, cifar_patches, circle_offsets, photograph_patches

__all__ = [
    "Cifar10",
    "DataSet",
    "FileCheck",
    "LabelledImages",
    "Listing",
    "Patches",
    "check",
    "cifar_patches",
    "circle_offsets",
    "data_folder",
    "fetch",
    "handwritten_digits",
    "list_datasets",
    "photograph_patches",
    "read_cifar10",
    "read_mnist",
]
