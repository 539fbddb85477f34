"""Named child keys: every purpose has its own random numbers, whatever else runs and in whatever order."""

from __future__ import annotations

import zlib

import jax
import numpy as np

from secateur.arrays import Keys


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
