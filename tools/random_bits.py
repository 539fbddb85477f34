"""Endless random bits as sweeps use them, for a battery of statistical tests.

``python tools/random_bits.py | dieharder -a -g 200``

Arrays of 1,000 rows and 784 columns, row after row, each under the next key of a chain of splits: 32-bit words.
"""

from __future__ import annotations

import sys
from itertools import count

import jax
import jax.numpy as jnp

from secateur.model.randomness import threefry

SHAPE = (1_000, 784)
ARRAYS_PER_CALL = 20


@jax.jit
def bits(keys: jax.Array) -> jax.Array:
    """The words behind :func:`secateur.model.randomness.uniforms` for every key."""
    rows, columns = (jax.lax.broadcasted_iota(jnp.uint32, SHAPE, axis) for axis in (0, 1))
    return jax.vmap(lambda key: threefry(jax.random.key_data(key), rows, columns))(keys)


def main() -> None:
    """Write until nobody reads."""
    seed = jax.random.key(0)
    for number in count():
        keys = jax.random.split(jax.random.fold_in(seed, number), ARRAYS_PER_CALL)
        try:
            sys.stdout.buffer.write(bytes(jax.device_get(bits(keys)).data))
        except BrokenPipeError:
            sys.stderr.close()  # else Python complains once more when it flushes
            return


if __name__ == "__main__":
    main()
