"""Which synapses and units go: properties that hold for every mask, by hypothesis."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from secateur.model.machine import Machine
from secateur.model.trials import stack, unstack
from secateur.pruning import (
    RemovalCount,
    compact,
    living_units,
    number_to_remove,
    remove_dead_units,
    remove_lowest,
    shrink,
    silent_visible_units,
)

KEYS = [jax.random.key(seed) for seed in range(4)]

some_key = st.sampled_from(KEYS)
some_fraction = st.floats(0.01, 0.99)


@st.composite
def some_masks(draw, min_units: int = 1) -> list[np.ndarray]:
    """Masks of two to four layers of a few units."""
    sizes = draw(st.lists(st.integers(min_units, 5), min_size=2, max_size=4))
    shapes = zip(sizes[:-1], sizes[1:], strict=True)
    return [draw(hnp.arrays(bool, shape)) for shape in shapes]


@st.composite
def some_scores(draw) -> tuple[np.ndarray, np.ndarray]:
    """Importances with many ties and zeros, of both signs, and the mask of the synapses that exist."""
    shape = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    scores = draw(hnp.arrays(np.float32, shape, elements=st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0])))
    return scores, draw(hnp.arrays(bool, shape))


def _machine(masks: list[np.ndarray]) -> Machine:
    rng = np.random.default_rng(0)
    sizes = [masks[0].shape[0], *(m.shape[1] for m in masks)]
    return Machine([rng.normal(size=m.shape) for m in masks], [rng.normal(size=n) for n in sizes], masks)


@given(some_masks())
def test_units_that_live_lie_on_a_path_from_the_visible_to_the_top_layer(masks):
    """The fixpoint of removing dead units, by another way: what is reached from both ends."""
    from_below = [np.ones(masks[0].shape[0], bool)]
    for mask in masks:
        from_below.append((from_below[-1][:, None] & mask).any(axis=0))
    from_above = [np.ones(masks[-1].shape[1], bool)]
    for mask in reversed(masks):
        from_above.insert(0, (mask & from_above[0][None, :]).any(axis=1))
    found = remove_dead_units(masks)
    on_path = [below & above for below, above in zip(from_below, from_above, strict=True)]
    for layer, mask in enumerate(masks):
        expected = mask & on_path[layer][:, None] & on_path[layer + 1][None, :]
        np.testing.assert_array_equal(found[layer], expected)
    for layer, alive in enumerate(living_units(found)):
        np.testing.assert_array_equal(alive, on_path[layer] if layer else np.ones_like(alive))
    np.testing.assert_array_equal(silent_visible_units(found), ~found[0].any(axis=1))


@given(some_masks())
def test_removing_dead_units_changes_nothing_twice_and_leaves_its_argument(masks):
    before = [m.copy() for m in masks]
    once = remove_dead_units(masks)
    for a, b, original, now in zip(once, remove_dead_units(once), before, masks, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(original, now)


@given(st.integers(0, 300_000), st.integers(1, 9_999))
def test_number_to_remove_is_exactly_the_decimal_fraction_halves_down(n_synapses, ten_thousandths):
    """In whole numbers: twice what goes is the nearest to twice the fraction, from below where it is half."""
    n_remove = number_to_remove(n_synapses, ten_thousandths / 10_000)
    twice = 2 * n_synapses * ten_thousandths
    assert 10_000 * (2 * n_remove - 1) < twice <= 10_000 * (2 * n_remove + 1)


def test_half_a_synapse_stays_whatever_the_binary_fraction():
    """27.5 of 50 in decimals; as binary numbers 50 * 0.55 is more than that."""
    assert 50 * 0.55 > 27.5
    assert number_to_remove(50, 0.55) == 27 and number_to_remove(50, 0.07) == 3


@pytest.mark.parametrize(("n_synapses", "left"), [(910, 455), (455, 228), (228, 114), (114, 57)])
def test_halving_counts_of_the_paper(n_synapses, left):
    assert n_synapses - number_to_remove(n_synapses, 0.5) == left


@given(some_scores(), some_fraction, some_key)
def test_exactly_the_lowest_go(case, fraction, key):
    scores, mask = case
    kept, count = remove_lowest(scores, mask, fraction, key, "fraction")
    assert not (kept & ~mask).any()
    removed = mask & ~kept
    assert removed.sum() == number_to_remove(int(mask.sum()), fraction) == count.asked == count.gone
    if removed.any() and kept.any():
        assert scores[removed].max() <= scores[kept].min()


@given(some_scores(), some_fraction, some_key)
def test_zero_rule_removes_all_zeros_or_a_choice_of_them(case, fraction, key):
    scores, mask = case
    n_remove = number_to_remove(int(mask.sum()), fraction)
    zero = mask & (scores == 0)
    kept, count = remove_lowest(scores, mask, fraction, key, "all")
    lowest = mask.any() and scores[mask].min() == 0
    if lowest and zero.sum() > n_remove:
        np.testing.assert_array_equal(kept, mask & ~zero)
        choice, _ = remove_lowest(scores, mask, fraction, key, "fraction")
        assert (mask & ~choice).sum() == n_remove
        assert (scores[mask & ~choice] == 0).all()
        assert count == (n_remove, zero.sum(), zero.sum(), True, False)
    else:
        assert (mask & ~kept).sum() == n_remove
        assert count.beyond == 0


def test_negative_importance_is_below_zero_and_does_not_trigger_the_zero_rule():
    """Anti-FI: most synapses carry nothing, the few informative ones must go first."""
    scores = np.array([[-0.25, -0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
    kept, count = remove_lowest(scores, np.ones_like(scores, bool), 0.25, KEYS[0], "all")
    np.testing.assert_array_equal(kept, scores == 0)
    assert (count.asked, count.gone, count.n_zero, str(count)) == (2, 2, 0, "")


@given(some_scores(), some_fraction, some_key, st.sampled_from(["all", "fraction"]))
def test_the_order_of_a_mask_in_memory_changes_nothing(case, fraction, key, zeros):
    scores, mask = case
    expected, count = remove_lowest(scores, mask, fraction, key, zeros)
    for order in (np.asfortranarray(mask), np.asfortranarray(np.repeat(mask, 2, axis=0))[::2]):
        kept, again = remove_lowest(np.asfortranarray(scores), order, fraction, key, zeros)
        np.testing.assert_array_equal(kept, expected)
        assert again == count and (mask & ~kept).sum() == count.gone


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (RemovalCount(75, 75, 10), ""),
        (RemovalCount(75, 75, 325), "chosen at random from the 325 whose importance is exactly zero"),
        (
            RemovalCount(75, 75, 1325, exact=False),
            "chosen at random from the 1,325 whose importance cannot be told from zero in the draws",
        ),
        (RemovalCount(75, 325, 325), "250 beyond the fraction, whose importance is exactly zero"),
        (
            RemovalCount(75, 325, 325, exact=False),
            "250 beyond the fraction, whose importance cannot be told from zero in the draws",
        ),
        (RemovalCount(75, 80, 0, by_units=True), "5 beyond the fraction, in whole units"),
        (RemovalCount(75, 70, 0, by_units=True), ""),
    ],
)
def test_a_count_says_what_went_and_why(count, words):
    assert str(count) == words
    assert count.beyond == max(count.gone - 75, 0)


def test_ties_are_broken_by_the_key():
    scores, mask = np.ones((10, 10)), np.ones((10, 10), bool)
    first, again, other = (remove_lowest(scores, mask, 0.5, key)[0] for key in (KEYS[0], KEYS[0], KEYS[1]))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    # Every synapse is as likely to stay: 100 of 200 keys, give or take seven standard deviations.
    keys = jax.random.split(jax.random.key(9), 200)
    stayed = np.sum([remove_lowest(scores, mask, 0.5, key)[0] for key in keys], axis=0)
    assert stayed.min() > 50 and stayed.max() < 150


def test_importance_that_is_not_a_number_is_refused():
    scores = np.array([[1.0, np.nan], [np.nan, 2.0]])
    with pytest.raises(ValueError) as error:
        remove_lowest(scores, np.ones((2, 2), bool), 0.5, KEYS[0])
    assert str(error.value) == "importance is NaN for 2 synapses; mend the criterion"
    kept, _ = remove_lowest(scores, ~np.isnan(scores), 0.5, KEYS[0])  # absent synapses may have any importance
    np.testing.assert_array_equal(kept, [[False, False], [False, True]])


@given(some_masks(min_units=2), some_masks(min_units=2))
def test_unit_indices_are_right_after_repeated_compaction(masks, further):
    """Compact, remove more, compact again: every surviving weight and bias is the one of its original units."""
    original = _machine(masks)
    machine = compact(original)
    for extra in further:
        fewer = [np.resize(extra, m.shape) if m.size else np.asarray(m) for m in machine.masks]
        machine = compact(machine.with_masks(fewer))
    assert machine.original_layer_sizes == original.layer_sizes
    np.testing.assert_array_equal(machine.unit_indices[0], np.arange(original.layer_sizes[0]))
    for layer, (weight, mask) in enumerate(zip(machine.weights, machine.masks, strict=True)):
        ends = np.ix_(np.asarray(machine.unit_indices[layer]), np.asarray(machine.unit_indices[layer + 1]))
        np.testing.assert_array_equal(weight, np.where(mask, np.asarray(original.weights[layer])[ends], 0))
        assert not (np.asarray(mask) & ~masks[layer][ends]).any()
    for layer, bias in enumerate(machine.biases):
        np.testing.assert_array_equal(bias, np.asarray(original.biases[layer])[np.asarray(machine.unit_indices[layer])])
    for alive in living_units([np.asarray(m) for m in machine.masks])[1:]:
        assert alive.all()


@given(some_masks(), st.integers(1, 4))
def test_shrinking_keeps_living_units_and_fills_up_with_dead_ones(masks, multiple):
    whole = _machine([m.copy() for m in remove_dead_units(masks)])
    small = shrink(whole, multiple)
    alive = living_units(whole.masks)
    for layer, living in enumerate(alive):
        kept = np.asarray(small.unit_indices[layer])
        assert (np.diff(kept) > 0).all() and set(np.flatnonzero(living)) <= set(kept)
        if layer > 0:
            filled = multiple * max(1, -(-int(living.sum()) // multiple))
            assert len(kept) == min(filled, living.size)
    assert small.synapse_counts == whole.synapse_counts
    _assert_same_after_compaction(small, whole)


def test_shrunk_trials_keep_equal_shapes():
    rng = np.random.default_rng(3)
    trials = []
    for n_alive in (1, 3):
        mask = np.zeros((4, 6), bool)
        mask[:, rng.permutation(6)[:n_alive]] = True
        trials.append(_machine([mask]))
    small = shrink(stack(trials), 2)
    assert small.layer_sizes == (4, 4)
    for one, whole in zip(unstack(small), trials, strict=True):
        _assert_same_after_compaction(one, whole)


def _assert_same_after_compaction(small: Machine, whole: Machine) -> None:
    for one, other in zip(jax.tree.leaves(compact(small)), jax.tree.leaves(compact(whole)), strict=True):
        np.testing.assert_array_equal(one, other)
