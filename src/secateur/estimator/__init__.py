"""The scikit-learn estimator: a facade that validates, packs, calls the functions of the package, and unpacks."""

from secateur.estimator.boltzmann_machine import BoltzmannMachine

__all__ = ["BoltzmannMachine"]
