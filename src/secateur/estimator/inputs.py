"""What the estimator makes of parameters and rows, with no state of its own."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray
from pydantic import ValidationError
from sklearn.utils import check_random_state

from secateur import training
from secateur.model import enumeration, mean_field
from secateur.model.machine import Machine, States


def key_from(random_state: int | np.random.RandomState | None) -> PRNGKeyArray:
    """A JAX key from what scikit-learn takes for randomness."""
    return jax.random.key(int(check_random_state(random_state).randint(np.iinfo(np.int32).max)))


def positive_integers(name: str, value: Any, count: int | None = None) -> tuple[int, ...]:
    """One or more positive integers, ``count`` of them if it is given; a ValueError names the parameter otherwise."""
    numbers = np.atleast_1d(value)
    if numbers.dtype.kind not in "iu" or numbers.shape != (count or max(numbers.size, 1),) or numbers.min() < 1:
        raise ValueError(f"{name} must be {count or 'one or more'} positive integer(s), got {value!r}")
    return tuple(numbers.tolist())


def can_be_enumerated(machine: Machine) -> bool:
    """Whether everything about the machine can be summed."""
    return enumeration.can_be_enumerated(machine.layer_sizes)


def inferred(machine: Machine, visible: Float[Array, "rows visible"]) -> States:
    """Probabilities of all hidden layers after the rows; each row stops its own updates, whatever stands beside it."""
    return jax.vmap(lambda row: jax.tree.map(lambda a: a[0], mean_field.infer(machine, row[None, :])))(visible)


@jax.jit
def top_layer(machine: Machine, visible: Float[Array, "rows visible"]) -> Float[Array, "rows top"]:
    """Top-layer probabilities of every row."""
    return inferred(machine, visible)[-1]


def settings_from(
    parameters: dict[str, Any], epochs_argument: str, n_epochs: Any, of: tuple[int, tuple[int, ...]]
) -> training.TrainingSettings:
    """Training settings from parameters of the same names, for so many rows and such layers.

    The user calls ``n_epochs`` ``epochs_argument``.
    """
    fields = training.TrainingSettings.model_fields
    given = {name: value for name, value in parameters.items() if name in fields}
    try:
        return training.settings_for(*of, **(given | {"n_epochs": n_epochs}))
    except ValidationError as error:
        problem = error.errors()[0]
        name = str(problem["loc"][0])
        argument = epochs_argument if name == "n_epochs" else name
        raise ValueError(
            f"{argument} ({fields[name].description}) is refused: {problem['msg']}, got {problem['input']!r}"
        ) from None
