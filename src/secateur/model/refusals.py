"""How what a user gives is refused: one sentence that says what was expected, what was found, and what helps."""

from __future__ import annotations

from typing import Any, NoReturn

import equinox as eqx
import jax
import numpy as np


def is_key(value: Any) -> bool:
    """Whether this is a typed random key, or an array of them."""
    return isinstance(value, jax.Array) and jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key)


def found(value: Any) -> str:
    """What a value is, in words."""
    if value is None:
        return "None"
    if is_key(value):
        return "a JAX random key"
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        return f"an array of type {value.dtype} and shape {value.shape}" if value.ndim else f"the {value.dtype} {value}"
    if isinstance(value, bool | int | float | str):
        return f"the {type(value).__name__} {value!r}"
    name = type(value).__name__
    return f"{'an' if name[0] in 'AEIOaeio' else 'a'} {name}"


def remedy_for_type(value: Any, what: str, general: str) -> str:
    """What to do about a value of another kind."""
    if hasattr(value, "toarray"):
        return f"write {what}.toarray()"
    if hasattr(value, "states"):
        return f"write {what}.states"
    return "look whether two arguments are swapped" if isinstance(value, eqx.Module) or is_key(value) else general


def refuse(kind: type[Exception], what: str, wanted: str, value: Any, remedy: str) -> NoReturn:
    """Raise the sentence that every refusal is."""
    raise kind(f"{what} must be {wanted}, got {found(value)}; {remedy}")


def refuse_traced(what: str) -> NoReturn:
    """Refuse a value that only JAX will know."""
    raise TypeError(
        f"{what} is traced by JAX, but this function checks values, which needs concrete arrays; call it outside of "
        "jax.jit and jax.vmap, or use the pure function beside it, which checks nothing, inside"
    )
