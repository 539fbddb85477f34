"""Random numbers: a named child key for every purpose, and uniforms cheap enough to draw for every unit.

JAX's own generator computes each array of bits in a step of its own; :func:`uniforms` uses the same cipher and the same
keys, but as arithmetic on the place of each number in the array, so that XLA fuses it with the comparison that uses it.
"""

from __future__ import annotations

import math
import zlib

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, UInt32

from secateur.model.arrays import Keys

_ROUNDS = 13
"""JAX uses 20. What was tested with 13 is in tests/test_randomness.py; the last seven are a margin of safety."""
_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
_KEY_PARITY = 0x1BD11BDA


def child_key(key: Keys, *purpose: str | int) -> Keys:
    """Child of a key for a purpose, e.g. ``child_key(key, "variance-fi", 3)``; of every key when given an array of
    keys.
    """
    for part in purpose:
        number = np.uint32(zlib.crc32(part.encode()) if isinstance(part, str) else part)
        key = _fold(key, number)
    return key


def _fold(key: Keys, number: np.uint32) -> Keys:
    if key.ndim:
        return jax.vmap(lambda one: jax.random.fold_in(one, number))(key)
    return jax.random.fold_in(key, number)


def uniforms(key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, ...]:
    """Independent uniform numbers in [0, 1), float32, different for every key and every place in the array.

    The bits at row ``i`` and column ``j`` are the first word of Threefry-2x32 with 13 rounds of the counter ``(i, j)``
    under the key (Salmon, Moraes, Dror & Shaw 2011); leading axes count as rows. So a number depends on nothing but key
    and place: not on threads or devices, nor on how many rows or columns there are beside it.

    Small numbers are multiples of 2^-32: ``uniforms < p`` has probability ``p`` within 2^-32 and a relative error of
    2^-23, which is 3e-4 of ``p`` at ``p = 1e-6``. No number reaches 1.
    """
    n_columns = shape[-1] if shape else 1
    n_rows = math.prod(shape[:-1])
    rows = jax.lax.broadcasted_iota(jnp.uint32, (n_rows, n_columns), 0)
    columns = jax.lax.broadcasted_iota(jnp.uint32, (n_rows, n_columns), 1)
    bits = threefry(jax.random.key_data(key), rows, columns)
    # The largest factor that rounds no number up to 1.
    return (bits.astype(jnp.float32) * np.float32(2.0**-32 * (1 - 2.0**-24))).reshape(shape)


def threefry(
    key: UInt32[Array, 2], first: UInt32[Array, "*shape"], second: UInt32[Array, "*shape"], n_rounds: int = _ROUNDS
) -> UInt32[Array, "*shape"]:
    """First word of the block cipher Threefry-2x32 of every counter ``(first, second)`` (Salmon et al. 2011)."""
    schedule = (key[0], key[1], key[0] ^ key[1] ^ np.uint32(_KEY_PARITY))
    first, second = first + schedule[0], second + schedule[1]
    for number in range(1, n_rounds + 1):
        rotation = _ROTATIONS[(number - 1) % 8]
        first = first + second
        second = ((second << np.uint32(rotation)) | (second >> np.uint32(32 - rotation))) ^ first
        if number % 4 == 0:
            injection = number // 4
            first = first + schedule[injection % 3]
            second = second + schedule[(injection + 1) % 3] + np.uint32(injection)
    return first
