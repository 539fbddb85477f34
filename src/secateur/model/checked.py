"""The one door: whatever a user gives is copied, checked and made what the inside works with, or refused in a sentence.

Every public function calls the door in its first lines; behind it nothing checks again. A refusal names the argument,
what was expected, what was found, and a remedy. What comes back is a copy, or a JAX array, which nobody can change.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Bool, Float

from secateur.model.arrays import Keys
from secateur.model.refusals import found as described
from secateur.model.refusals import is_key, refuse, refuse_traced, remedy_for_type


def rows(
    values: Any,
    n_units: int | None = None,
    what: str = "visible",
    *,
    n_trials: int | None = None,
    probabilities: bool = False,
) -> Float[Array, "*trials rows units"]:
    """Rows of 0 and 1 as a float32 JAX array ``(rows, units)``, or ``(trials, rows, units)`` for stacked machines.

    Parameters
    ----------
    values
        An array of any type that holds 0 and 1, a nested list, or a table that NumPy takes as an array.
    n_units
        Units that every row must have; ``None``: any number.
    what
        The argument's name, for messages.
    n_trials
        Stacked machines that the rows are for, one table each; ``None``: a single machine.
    probabilities
        Whether every number from 0 to 1 is allowed.

    Raises
    ------
    TypeError
        If there are no numbers in it, as where two arguments were swapped.
    ValueError
        If the shape does not fit or a value is not allowed.
    """
    ready = isinstance(values, jax.Array) and not isinstance(values, jax.core.Tracer) and values.dtype == np.float32
    if ready and values.ndim in (2, 3) and values.size and bool(_all_allowed(values, probabilities)):
        _check_axes(values, n_units, n_trials, what)
        return values  # nobody can change it, so it stays where it is
    return jax.device_put(host_rows(values, n_units, what, n_trials=n_trials, probabilities=probabilities))


def host_rows(
    values: Any,
    n_units: int | None = None,
    what: str = "visible",
    *,
    n_trials: int | None = None,
    probabilities: bool = False,
    remedy: str | None = None,
) -> Float[np.ndarray, "*trials rows units"]:
    """The same as a NumPy array; ``remedy`` replaces what a message advises against values other than 0 and 1."""
    table = _numbers(values, what, "rows of 0 and 1, an array (rows, units)")
    _check_axes(table, n_units, n_trials, what)
    _check_zero_one(table, what, probabilities, remedy, what if hasattr(values, "shape") else f"np.array({what})")
    return np.array(table, np.float32, order="C")


def states(
    values: Any, layer_sizes: Sequence[int], what: str = "states", *, n_trials: int | None = None
) -> tuple[Float[Array, "*trials chains _"], ...]:
    """0/1 states of every layer, visible first: float32 JAX arrays ``(chains, n_l)``, with trials first if stacked.

    Raises
    ------
    TypeError
        If this is not one array per layer, as where two arguments were swapped.
    ValueError
        If the number of layers, a shape or a value does not fit, or the layers have different numbers of chains.
    """
    sizes = tuple(layer_sizes)
    wanted = f"one array (chains, units) per layer, {len(sizes)} for layers of {sizes} units, visible layer first"
    if isinstance(values, jax.core.Tracer):
        refuse_traced(what)
    if not isinstance(values, Sequence) or isinstance(values, str):
        general = f"write ({what},)" if len(sizes) == 1 else "give a tuple of arrays"
        refuse(TypeError, what, wanted, values, remedy_for_type(values, what, general))
    if len(values) != len(sizes):
        raise ValueError(f"{what} must be {wanted}, got {len(values)}; give every layer, the hidden ones too")
    layers = [
        rows(layer, size, f"{what}[{number}]", n_trials=n_trials)
        for number, (layer, size) in enumerate(zip(values, sizes, strict=True))
    ]
    chains = [layer.shape[-2] for layer in layers]
    if len(set(chains)) > 1:
        raise ValueError(f"{what} must have as many chains (rows) in every layer, got {chains}; leave the surplus out")
    return tuple(layers)


def key(value: Any, n_trials: int | None = None, what: str = "key") -> Keys:
    """One typed random key; for stacked machines one key, or one key per trial.

    Keys of the older kind, made by ``jax.random.PRNGKey``, are taken as well.

    Raises
    ------
    TypeError
        If it is no key.
    ValueError
        If these are several keys where one is wanted, or another number than there are trials.
    """
    if isinstance(value, jax.core.Tracer):
        refuse_traced(what)
    found = value
    if isinstance(value, jax.Array | np.ndarray) and value.dtype == np.uint32 and value.ndim:
        n_words = jax.random.key_data(jax.random.key(0)).shape[-1]
        found = jax.random.wrap_key_data(jax.device_put(np.array(value))) if value.shape[-1] == n_words else value
    if not is_key(found):
        seed = value if isinstance(value, int | np.integer) and type(value) is not bool and value > 0 else 0
        remedy = remedy_for_type(value, what, f"write jax.random.key({seed})")
        refuse(TypeError, what, "a JAX random key", value, remedy)
    if found.ndim == 0 or (n_trials is not None and found.shape == (n_trials,)):
        return found
    if n_trials is None:
        raise ValueError(
            f"{what} must be one JAX random key, got an array of keys of shape {found.shape}; take one of them, "
            f"{what}{[0] * found.ndim}"
        )
    raise ValueError(
        f"{what} must be one JAX random key or one per trial, got shape {found.shape} for {n_trials} stacked machines; "
        f"write jax.random.split({what}, {n_trials}) with a single key"
    )


def fraction(value: Any, n_matrices: int, what: str = "fraction") -> tuple[float, ...]:
    """Shares of the synapses of each weight matrix, between 0 and 1: one number for all, or one per matrix.

    A number counts as the shortest decimal that its own type prints for it: a float32 0.1 is the decimal 0.1.

    Raises
    ------
    TypeError
        If it is no number.
    ValueError
        If a number lies outside (0, 1), or there is not one per weight matrix.
    """
    several = isinstance(value, list | tuple) or getattr(value, "ndim", 0) == 1
    decimals = tuple(_decimal(one, what) for one in value) if several else (_decimal(value, what),) * n_matrices
    if len(decimals) != n_matrices:
        raise ValueError(
            f"{what} must be one number or {n_matrices} (one per weight matrix), got {len(decimals)}; a single number "
            "holds for every weight matrix"
        )
    for decimal in decimals:
        if not 0 < decimal < 1:
            raise ValueError(f"{what} must lie between 0 and 1 (both excluded), got {decimal}; 0.1 removes a tenth")
    return decimals


def exact_share(n: int, share: float) -> int:
    """``share`` of ``n`` things as a whole number, halves rounded down: 0.55 of 50 is 27.5, which gives 27.

    Computed with the decimal that the number prints as, since in binary 50 * 0.55 is 27.500000000000004.
    """
    return math.ceil(n * Fraction(str(float(share))) - Fraction(1, 2))


def masks(values: Any, like: Sequence[Any], what: str = "masks") -> tuple[Bool[np.ndarray, "*trials lower upper"], ...]:
    """One boolean NumPy array per weight matrix, true where a synapse exists, in the shapes of the arrays ``like``.

    Integers are true where they are not 0; other numbers must be 0 or 1.

    Raises
    ------
    TypeError
        If this is not one array of numbers per weight matrix.
    ValueError
        If the number of masks, a shape or a value does not fit.
    """
    shapes = [np.shape(one) for one in like]
    if isinstance(values, jax.core.Tracer):
        refuse_traced(what)
    if isinstance(values, str) or not (isinstance(values, Sequence) or getattr(values, "ndim", 0) > 0):
        wanted = f"one array (lower, upper) per weight matrix, {len(shapes)} in all"
        refuse(TypeError, what, wanted, values, remedy_for_type(values, what, "give a list of arrays"))
    found = [_numbers(mask, f"{what}[{number}]", "an array of true and false") for number, mask in enumerate(values)]
    if [mask.shape for mask in found] != shapes:
        raise ValueError(
            f"{what} must have shapes {shapes}, those of the weights, got {[mask.shape for mask in found]}; give one "
            "mask per weight matrix, with axes (lower, upper)"
        )
    for number, mask in enumerate(found):
        if mask.dtype.kind == "f":
            _check_zero_one(mask, f"{what}[{number}]", False, "give booleans, true where a synapse exists")
    return tuple(np.array(mask != 0) for mask in found)


def finite(values: Any, what: str) -> Float[np.ndarray, ...]:
    """A copy of an array of numbers in float32, none of them NaN or infinite."""
    with np.errstate(over="ignore"):
        numbers = np.array(_numbers(values, what, "an array of numbers"), np.float32, order="C")
    if not np.isfinite(numbers).all():
        place = np.argwhere(~np.isfinite(numbers))[0].tolist()
        raise ValueError(
            f"{what} must be finite, got {numbers[tuple(place)]} at {place}; retrain the machine or repair the file it "
            "came from"
        )
    return numbers


def count(what: str, value: Any, least: int = 1) -> int:
    """A whole number of at least ``least``.

    Raises
    ------
    TypeError
        If it is no number.
    ValueError
        If it is no whole number, or too small.
    """
    wanted = f"a whole number of at least {least}"
    number = _numbers(value, what, wanted)
    if number.dtype == bool or number.ndim:
        refuse(TypeError, what, wanted, value, f"write {what}={max(least, 1)}, for example")
    if not np.isfinite(number) or number != np.floor(number) or number < least:
        raise ValueError(f"{what} must be {wanted}, got {number}; write {what}={_nearest(float(number), least)}")
    return int(number)


def model(value: Any, what: str = "machine", *, single: bool = False, hidden: bool = False) -> Any:
    """The same object, if it is a machine or a pairwise model; ``single``: not stacked, ``hidden``: no pairwise model.

    Raises
    ------
    TypeError
        If it is something else, as where two arguments were swapped.
    ValueError
        If it is stacked machines where a single one is wanted.
    """
    if not (isinstance(value, eqx.Module) and hasattr(value, "layer_sizes") and hasattr(value, "biases")):
        refuse(TypeError, what, "a machine", value, "look whether two arguments are swapped")
    if hidden and not hasattr(value, "weights"):
        refuse(TypeError, what, "a machine with hidden layers", value, "fit that to data with training.fit_pairwise")
    first = jax.tree.leaves(value.biases)[0]
    if single and first.ndim > 1:
        raise ValueError(
            f"{what} must be a single one, got {first.shape[0]} stacked ones; take them apart with "
            "secateur.model.trials.unstack"
        )
    return value


def _decimal(value: Any, what: str) -> float:
    """The shortest decimal that a number's own type prints."""
    wanted = "one number, or one per weight matrix, between 0 and 1"
    number = _numbers(value, what, wanted)
    if number.dtype == bool or number.ndim:
        refuse(TypeError, what, wanted, value, "0.1 removes a tenth")
    return float(str(np.asarray(value)[()]))


def _nearest(number: float, least: int) -> int:
    return max(least, round(number)) if math.isfinite(number) else max(least, 1)


def _numbers(values: Any, what: str, wanted: str) -> np.ndarray:
    """Numbers or booleans as a NumPy array, which may be the caller's own."""
    if isinstance(values, jax.core.Tracer):
        refuse_traced(what)
    if is_key(values) or isinstance(values, eqx.Module):
        refuse(TypeError, what, wanted, values, remedy_for_type(values, what, ""))
    if np.ma.is_masked(values):
        raise ValueError(f"{what} must be {wanted}, got a masked array with missing values; leave those rows out")
    try:
        array = np.asarray(values)
    except jax.errors.TracerArrayConversionError:
        refuse_traced(what)
    except (ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{what} must be {wanted}, got {described(values)} that is no array ({reason}); give rows of equal length"
        ) from error
    if array.dtype.kind in "biuf":
        return array
    if jax.dtypes.issubdtype(array.dtype, np.floating) or jax.dtypes.issubdtype(array.dtype, np.integer):
        return array.astype(np.float32)  # the short types of machine learning, such as bfloat16
    general = f"write np.asarray({what}, float) where all of them are numbers" if array.ndim else f"give {wanted}"
    return refuse(TypeError, what, wanted, values, remedy_for_type(values, what, general))


@partial(jax.jit, static_argnames="probabilities")
def _all_allowed(values: Float[Array, "*shape"], probabilities: bool) -> Array:
    return (((values >= 0) & (values <= 1)) if probabilities else ((values == 0) | (values == 1))).all()


def _check_axes(table: np.ndarray | Array, n_units: int | None, n_trials: int | None, what: str) -> None:
    """Refuse tables of another shape than ``(rows, n_units)``, or ``(n_trials, rows, n_units)``, and empty ones."""
    axes = "(rows, units)" if n_trials is None else f"({n_trials} trials, rows, units)"
    shape = table.shape
    if len(shape) != (2 if n_trials is None else 3):
        raise ValueError(
            f"{what} must be an array {axes}, got shape {shape}; {_reshaped(shape, n_units, n_trials, what)}"
        )
    # A machine whose pruning left a layer without units has states of no columns there.
    if shape[-2] == 0 or (shape[-1] == 0 and n_units != 0):
        raise ValueError(f"{what} must hold at least one row and one unit, got shape {shape}; give more rows")
    if n_trials is not None and shape[0] != n_trials:
        raise ValueError(f"{what} must be an array {axes}, got shape {shape}; give one table per stacked machine")
    if n_units is not None and shape[-1] != n_units:
        turned = n_trials is None and shape[0] == n_units
        remedy = f"write np.transpose({what})" if turned else "give the data that the machine was made for"
        raise ValueError(f"{what} must have {n_units} columns, one per unit, got {shape[-1]} (shape {shape}); {remedy}")


def _reshaped(shape: tuple[int, ...], n_units: int | None, n_trials: int | None, what: str) -> str:
    """How rows of the right shape can be made of an array with another number of axes."""
    if n_trials is not None:
        return f"write np.stack([{what}] * {n_trials}) to give every machine the same rows" * (len(shape) == 2) or (
            "give one table per stacked machine"
        )
    if len(shape) == 1 and n_units == 1:
        return f"write np.reshape({what}, (-1, 1)) for one unit"
    if len(shape) == 1:
        return f"write np.reshape({what}, (1, -1)) for a single row"
    if len(shape) > 2 and shape[-1] == n_units:
        return f"write np.reshape({what}, (-1, {n_units})) to put all rows below one another"
    if len(shape) > 2:
        return f"write np.reshape({what}, ({shape[0]}, -1)) to make one row of each of its {shape[0]} entries"
    return "give one row per state and one column per unit"


def _check_zero_one(table: np.ndarray, what: str, probabilities: bool, remedy: str | None, written: str = "") -> None:
    """Refuse values other than 0 and 1, or outside of 0..1, by naming the first of them, its place and a remedy.

    ``written`` is how Python code calls the table.
    """
    if table.dtype == bool:
        return
    allowed = (table >= 0) & (table <= 1) if probabilities else (table == 0) | (table == 1)
    if allowed.all():
        return
    place = np.unravel_index(np.argmin(allowed), table.shape)
    where = f"in row {place[-2]}, column {place[-1]}"
    if len(place) == 3:
        where = f"in trial {place[0]}, row {place[1]}, column {place[2]}"
    wanted = "numbers from 0 to 1 only" if probabilities else "0 and 1 only"
    raise ValueError(
        f"{what} must hold {wanted}, got {table[place]} {where}; {remedy or _made_zero_one(table, written)}"
    )


def _made_zero_one(table: np.ndarray, written: str) -> str:
    """How 0/1 values are commonly made of values of this kind."""
    if np.isnan(table).any():
        return f"leave such rows out, e.g. by {written}[~np.isnan({written}).any(axis=-1)]"
    low, high = table.min(), table.max()
    if np.isin(table, (-1, 1)).all():
        return f"write ({written} + 1) / 2 for data of -1 and 1"
    if low >= 0 and high <= 1:
        return f"write {written} > 0.5 for grey values or probabilities"
    if low >= 0 and 127 < high <= 255:
        return f"write {written} > 127 for pixels from 0 to 255"
    if low >= 0 and (table == np.floor(table)).all():
        return f"write {written} > 0 for counts"
    return f"write {written} > THRESHOLD with a threshold that suits the data"
