"""Blocks and folds: whole epochs, every bin once, balanced, the same for the same key."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.recordings import blocks, folds

KEY = jax.random.key(0)


def _noise(n_bins: int, n_units: int = 3) -> np.ndarray:
    return (np.random.default_rng(n_bins).random((n_bins, n_units)) < 0.2).astype(np.uint8)


@given(st.lists(st.integers(30, 60), min_size=20, max_size=26), st.integers(2, 6), st.integers(0, 3))
def test_many_epochs_are_blocks_and_folds_are_of_about_equal_length(lengths, n_folds, seed):
    epochs = np.repeat(np.arange(len(lengths)) * 3, lengths)  # epoch numbers may have gaps
    found = folds(_noise(len(epochs)), epochs, jax.random.key(seed), n_folds=n_folds)
    assert found.n_folds == n_folds and found.blocks.n_blocks <= len(lengths)
    sizes = np.bincount(found.numbers, minlength=found.n_folds)
    assert sizes.sum() == len(epochs) and sizes.min() > 0 and found.ever_held_out.all()
    assert sizes.max() - sizes.min() <= found.blocks.sizes.max()
    for block in range(found.blocks.n_blocks):
        assert len(set(found.numbers[found.blocks.numbers == block])) == 1
    again = folds(_noise(len(epochs)), epochs, jax.random.key(seed), n_folds=n_folds)
    np.testing.assert_array_equal(found.numbers, again.numbers)
    np.testing.assert_array_equal(found.held_out(0), found.numbers == 0)


def test_another_key_gives_other_folds():
    epochs = np.repeat(np.arange(20), 30)
    first, second = (folds(_noise(600), epochs, jax.random.key(seed)).numbers for seed in (0, 1))
    assert (first != second).any()


@pytest.mark.parametrize("n_epochs", [1, 2, 30])
def test_drift_is_told_however_blocks_are_made(n_epochs):
    rng = np.random.default_rng(0)
    drifting = (rng.random((6000, 4)) < np.linspace(0.02, 0.4, 6000)[:, None]).astype(np.uint8)
    epochs = np.arange(6000) * n_epochs // 6000
    assert "for activity drifts" in blocks(drifting, epochs).sentence
    assert "drifts" not in blocks(_noise(6000), epochs).sentence


@pytest.mark.parametrize("n_epochs", [1, 2, 5, 12])
def test_few_long_epochs_are_cut_and_no_block_crosses_one(n_epochs):
    epochs = np.arange(4000) * n_epochs // 4000
    found = blocks(_noise(4000), epochs, 0.02)
    assert 20 <= found.n_blocks <= 40 and found.enough
    assert (np.diff(found.numbers) >= 0).all() and found.numbers[0] == 0
    assert found.sizes.min() >= 10 * found.autocorrelation_time
    np.testing.assert_array_equal(found.numbers[found.starts], np.arange(found.n_blocks))
    assert all(len(set(epochs[found.numbers == block])) == 1 for block in range(found.n_blocks))


def test_the_autocorrelation_time_is_that_of_a_known_process():
    """Bins repeated ten times have the time of ten bins; those of a switching process that of its geometric memory."""
    repeated = np.repeat(_noise(2000), 10, axis=0)
    found = blocks(repeated, np.zeros(20_000, int))
    assert found.autocorrelation_time == pytest.approx(10, rel=0.35)  # batches of 20 know it to about 30 %
    rng = np.random.default_rng(0)
    state = np.cumsum(rng.random(40_000) < 0.05) % 2  # correlation 0.9 per bin: a time of 1.9 / 0.1 = 19 bins
    switching = np.repeat(state[:, None], 2, axis=1).astype(np.uint8)
    found = blocks(switching, np.zeros(40_000, int))
    assert 15 < found.autocorrelation_time < 32
    assert found.sizes.min() >= 150


def test_slow_drift_leaves_too_few_blocks_for_an_interval():
    rng = np.random.default_rng(0)
    drifting = (rng.random((4000, 20)) < np.linspace(0.02, 0.5, 4000)[:, None]).astype(np.uint8)
    found = blocks(drifting, np.zeros(4000, int))
    assert found.n_blocks < 8 and not found.enough


def test_short_trials_are_joined_to_blocks_of_whole_trials():
    state = np.repeat(np.arange(60) % 3 == 0, 100)  # a state that lasts ten trials
    rows = (np.random.default_rng(0).random((6000, 4)) < np.where(state, 0.4, 0.05)[:, None]).astype(np.uint8)
    found = blocks(rows, np.arange(6000) // 10)
    assert 19 <= found.n_blocks <= 30 and "blocks: neighbours of 600 epochs (activity hangs" in found.sentence
    assert set(np.bincount(found.numbers) % 10) == {0}


def test_drift_from_epoch_to_epoch_is_told():
    rates = np.repeat(0.2 + 0.1 * np.sin(np.arange(24) / 4), 100)
    rows = (np.random.default_rng(0).random((2400, 9)) < rates[:, None]).astype(np.uint8)
    found = blocks(rows, np.arange(2400) // 100)
    assert found.neighbours > 0.6 and "neighbouring blocks correlate by 0." in found.sentence
    assert abs(blocks(_noise(2400), np.arange(2400) // 100).neighbours) < 0.5


def test_named_epochs_are_held_out():
    epochs = np.repeat([0, 1, 2, 5], 300)
    found = folds(_noise(1200), epochs, KEY, hold_out=[5, 1])
    np.testing.assert_array_equal(found.held_out(0), np.isin(epochs, [1, 5]))
    assert found.n_folds == 1 and found.sentence.startswith("held out: epochs 1, 5, of 4")
    np.testing.assert_array_equal(found.ever_held_out, found.held_out(0))


def test_the_sentences_say_what_the_folds_are():
    several = folds(_noise(36), np.repeat([0, 1, 2], 12), KEY)
    assert several.sentence.startswith("3 folds, fewer than the 5 asked for, of 3 blocks: whole epochs (activity hangs")
    single = folds(_noise(4000), np.zeros(4000, int), KEY, bin_size=0.02)
    assert single.sentence.startswith("5 folds of 40 blocks of 2 s or more, cut from 1 epoch (activity hangs together")


@pytest.mark.parametrize(
    ("epochs", "options", "message"),
    [
        (np.array([0, 1, 0]), {}, r"epochs must be non-decreasing .* with decreasing numbers; sort the bins"),
        (np.zeros((2, 2), int), {}, r"epochs must be non-decreasing epoch numbers .* got shape \(2, 2\)"),
        (np.repeat([0, 1], 5), {"n_folds": 1}, "n_folds must be at least 2, got 1; one fold would leave"),
        (np.zeros(15, int), {}, "the recording makes only one block .* so nothing can be held out; give"),
        (
            np.repeat([0, 1], 5),
            {"hold_out": [2]},
            "hold_out must name epochs from 0 to 1 .* but epoch 2 does not exist",
        ),
        (np.repeat([0, 1], 5), {"hold_out": [0, 1]}, r"leave others to train on, but got \(0, 1\)"),
    ],
)
def test_bad_input_is_refused(epochs, options, message):
    with pytest.raises(ValueError, match=message):
        folds(_noise(len(epochs)), epochs, KEY, **options)
