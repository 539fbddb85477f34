"""Blocks and folds: whole epochs, every bin once, balanced, the same for the same key."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.recordings import blocks, folds

KEY = jax.random.key(0)


@given(st.lists(st.integers(1, 40), min_size=2, max_size=12), st.integers(2, 6), st.integers(0, 3))
def test_folds_are_whole_epochs_of_about_equal_length(lengths, n_folds, seed):
    epochs = np.repeat(np.arange(len(lengths)) * 3, lengths)  # epoch numbers may have gaps
    found = folds(epochs, jax.random.key(seed), n_folds=n_folds)
    assert found.n_folds == min(n_folds, len(lengths))
    sizes = np.bincount(found.numbers, minlength=found.n_folds)
    assert sizes.sum() == len(epochs) and sizes.min() > 0
    assert sizes.max() - sizes.min() <= max(lengths)
    for epoch in np.unique(epochs):
        assert len(set(found.numbers[epochs == epoch])) == 1
    again = folds(epochs, jax.random.key(seed), n_folds=n_folds)
    np.testing.assert_array_equal(found.numbers, again.numbers)
    np.testing.assert_array_equal(found.held_out(0), found.numbers == 0)


def test_another_key_gives_other_folds():
    epochs = np.repeat(np.arange(20), 5)
    first, second = (folds(epochs, jax.random.key(seed)).numbers for seed in (0, 1))
    assert (first != second).any()


@given(st.integers(150, 3000), st.sampled_from([0.005, 0.02, 0.05]))
def test_a_single_epoch_is_cut_into_contiguous_blocks_of_a_second_or_more(n_bins, bin_size):
    epochs = np.zeros(n_bins, int)
    if n_bins * bin_size < 2:
        with pytest.raises(ValueError, match="too short for two blocks of 1 s"):
            blocks(epochs, bin_size)
        return
    found = blocks(epochs, bin_size)
    assert (np.diff(found.numbers) >= 0).all() and found.numbers[0] == 0
    assert found.sizes.min() * bin_size > 1 - 1e-9 and found.sizes.max() - found.sizes.min() <= 1
    assert 2 <= found.n_blocks <= 100
    np.testing.assert_array_equal(found.numbers[found.starts], np.arange(found.n_blocks))


def test_the_sentences_say_what_the_folds_are():
    several = folds(np.repeat([0, 1, 2], 10), KEY)
    assert several.sentence == "3 folds, fewer than the 5 asked for, of 3 blocks: whole epochs"
    single = folds(np.zeros(1000, int), KEY, bin_size=0.02)
    assert single.sentence == "5 folds, of 20 contiguous blocks of 1 s (the recording has one epoch)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": np.array([0, 1, 0])}, r"epochs must be non-decreasing .* with decreasing numbers; sort the bins"),
        ({"epochs": np.zeros((2, 2), int)}, r"epochs must be non-decreasing epoch numbers .* got shape \(2, 2\)"),
        ({"epochs": np.zeros(9, int)}, "bin_size must be given in seconds for a recording of one epoch, .* got nan"),
        ({"epochs": np.repeat([0, 1], 5), "n_folds": 1}, "n_folds must be at least 2, got 1; one fold would leave"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        folds(key=KEY, **arguments)
