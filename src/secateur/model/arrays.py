"""The kinds of array that functions accept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Array, Key

if TYPE_CHECKING:
    # Static checkers do not know that NumPy and JAX arrays together make a JAX array.
    AnyArray = Any
else:
    AnyArray = Array | np.ndarray
"""A JAX array or a NumPy array; exact results in float64 are NumPy arrays, so that they need no JAX settings."""

Keys = Key[Array, "..."]
"""One typed random key, or one per stacked trial."""
