"""The fused random numbers: known answers of the cipher, and statistics of what is drawn from it."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry2x32_p
from scipy import stats

from secateur.model import units
from secateur.model.randomness import threefry, uniforms
from statistical import assert_within_errors, quantile

SHAPE = (1024, 256)
N_KEYS = 16


def test_the_cipher_is_that_of_jax_at_its_number_of_rounds():
    key = jax.random.key_data(jax.random.key(5))
    first = jnp.arange(50, dtype=jnp.uint32) * np.uint32(2654435761)
    second = jnp.arange(50, dtype=jnp.uint32)
    expected, _ = threefry2x32_p.bind(key[0], key[1], first, second)
    np.testing.assert_array_equal(threefry(key, first, second, n_rounds=20), expected)


def test_a_number_depends_on_nothing_but_key_and_place():
    key = jax.random.key(1)
    whole = uniforms(key, (7, 5))
    np.testing.assert_array_equal(uniforms(key, (3, 4)), whole[:3, :4])
    np.testing.assert_array_equal(uniforms(key, (7, 1, 5)), whole[:, None])
    np.testing.assert_array_equal(uniforms(key, (5,)), whole[0])
    assert uniforms(key, ()) == whole[0, 0]
    keys = jax.random.split(key, 3)
    for one, expected in zip(jax.vmap(lambda k: uniforms(k, (7, 5)))(keys), keys, strict=True):
        np.testing.assert_array_equal(one, uniforms(expected, (7, 5)))


def _short(numbers: np.ndarray) -> np.ndarray:
    """A planted fault: every row repeats the row above, shifted by one."""
    return np.stack([numbers[row - row % 2].copy() if row % 2 else numbers[row] for row in range(len(numbers))])


FAULTS = {"right": lambda u: u, "repeated rows": _short, "power": lambda u: u**1.01}


@pytest.fixture(scope="module")
def drawn():
    """Two arrays of uniform numbers from the two children of each of N_KEYS keys."""
    keys = jax.vmap(jax.random.split)(jax.vmap(jax.random.key)(jnp.arange(N_KEYS)))
    return np.asarray(jax.vmap(jax.vmap(lambda key: uniforms(key, SHAPE)))(keys))


@pytest.mark.parametrize("fault", FAULTS)
def test_moments_and_correlations_of_neighbours(drawn, fault):
    """Mean, variance, and correlations along rows, along columns, and between two keys: 5 numbers per key."""
    standardised = []
    for pair in drawn:
        u, w = (FAULTS[fault](one.astype(float)) - 0.5 for one in pair)
        n = u.size
        standardised += [
            u.mean() * math.sqrt(12 * n),
            ((u**2).mean() - 1 / 12) * math.sqrt(180 * n),
            *((a * b).mean() * 12 * math.sqrt(a.size) for a, b in ((u[1:], u[:-1]), (u[:, 1:], u[:, :-1]), (u, w))),
        ]
    z = np.array(standardised).reshape(N_KEYS, 5)
    summed = z.sum(axis=0) / math.sqrt(N_KEYS)  # a small fault of every key adds up
    alarm = abs(z).max() > quantile(z.size) or abs(summed).max() > quantile(5)
    assert alarm == (fault != "right")


@pytest.mark.parametrize("shift", [0, 1])
def test_bytes_are_equally_frequent(shift):
    """Chi-square over the values of each of the highest 8 and the next 8 bits, 2^22 numbers; ``shift`` names them."""
    numbers = np.asarray(uniforms(jax.random.key(2), (2048, 2048)), float)
    values = (numbers * 256 ** (shift + 1)).astype(np.int64) % 256
    counts = np.bincount(values.ravel(), minlength=256)
    assert stats.chisquare(counts).pvalue > 1e-8


@pytest.mark.parametrize(("probability", "blocks"), [(1e-6, 64), (3e-4, 16), (0.2, 16), (1 - 1e-5, 32)])
def test_probabilities_are_honoured(probability, blocks):
    """2^20 draws a block, counted in one compiled loop; the rarer, the more."""

    def count(key):
        return units.sample(jnp.full((1024, 1024), probability, jnp.float32), key).sum()

    keys = jax.random.split(jax.random.key(3), blocks)
    found = np.asarray(jax.jit(lambda keys: jax.lax.map(count, keys))(keys), float).sum()
    n = blocks * 1024**2
    p = float(np.float32(probability))
    assert_within_errors(found / n, math.sqrt(p * (1 - p) / n), p)


def test_certain_units_are_certain():
    sure = jnp.broadcast_to(jnp.asarray([0.0, 1.0], jnp.float32), (100_000, 2))
    drawn = np.asarray(units.sample(sure, jax.random.key(0)))
    assert not drawn[:, 0].any() and drawn[:, 1].all()
