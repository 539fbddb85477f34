"""The one door: what comes in, what is refused and in which words, and that nothing shares memory with the caller."""

from __future__ import annotations

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from conftest import small_machine
from secateur.model import checked

TABLE = np.array([[0, 1, 1], [1, 0, 0]])
KEY = jax.random.key(0)
MACHINE = small_machine("rbm", masked=False)
TYPES = [bool, np.int8, np.uint8, np.int64, np.uint64, np.float16, np.float32, np.float64]

# Everything here is about arguments of wrong types and shapes, which the run-time checks of the tests would refuse.
pytestmark = pytest.mark.usefixtures("unchecked")


def _refused(call, message: str, kind: type[Exception] = ValueError) -> None:
    with pytest.raises(kind) as error:
        call()
    assert str(error.value) == message


@given(hnp.arrays(st.sampled_from(TYPES), hnp.array_shapes(min_dims=2, max_dims=2), elements=st.integers(0, 1)))
def test_rows_of_every_type_come_in_as_float32(table):
    for given_as in (table, table.tolist(), np.asfortranarray(table), pd.DataFrame(table)):
        for found in (checked.rows(given_as, table.shape[1]), checked.host_rows(given_as)):
            assert found.dtype == np.float32
            np.testing.assert_array_equal(found, table)
    assert isinstance(checked.rows(table), jax.Array) and isinstance(checked.host_rows(table), np.ndarray)


@pytest.mark.parametrize("kind", [bool, jnp.int8, jnp.uint32, jnp.float16, jnp.bfloat16, jnp.float32])
def test_rows_come_in_from_jax(kind):
    found = checked.rows(jnp.asarray(TABLE, kind))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, TABLE)


def test_rows_stay_float32_where_64_bit_jax_is_on():
    with jax.enable_x64(True):
        assert checked.rows(jnp.asarray(TABLE, float)).dtype == np.float32
        assert {s.dtype for s in checked.states((TABLE, TABLE), (3, 3))} == {np.dtype(np.float32)}


def test_nothing_that_comes_in_shares_memory_with_the_caller():
    """Tables of many sizes: JAX takes an array as it is only where its memory starts at a multiple of 64 bytes."""
    for n_rows in range(1, 40):
        table = np.ones((n_rows, 16), np.float32)
        mask = np.ones((n_rows, 16), bool)
        found = [
            checked.rows(table),
            checked.host_rows(table),
            *checked.states((table,), (16,)),
            checked.finite(table, "weights"),
            *checked.masks([mask], [table]),
        ]
        table[...] = 0
        mask[...] = False
        for array in found:
            assert np.asarray(array).all()


def test_probabilities_come_in_where_they_are_allowed():
    np.testing.assert_array_equal(checked.rows([[0.25, 1.0]], probabilities=True), [[0.25, 1.0]])
    _refused(
        lambda: checked.rows([[0.25, 1.5]], probabilities=True),
        "visible must hold numbers from 0 to 1 only, got 1.5 in row 0, column 1; write np.array(visible) > THRESHOLD "
        "with a threshold that suits the data",
    )


def test_stacked_machines_take_a_table_each():
    np.testing.assert_array_equal(checked.rows([TABLE, 1 - TABLE], 3, n_trials=2), [TABLE, 1 - TABLE])
    found = checked.states(([TABLE, TABLE], [TABLE[:, :1]] * 2), (3, 1), n_trials=2)
    assert [layer.shape for layer in found] == [(2, 2, 3), (2, 2, 1)]


PIXELS, SPINS = TABLE * 255, 2 * TABLE - 1


@pytest.mark.parametrize(
    ("values", "found", "remedy", "mend"),
    [
        (PIXELS, "255 in row 0, column 1", "write visible > 127 for pixels from 0 to 255", lambda v: v > 127),
        (SPINS, "-1 in row 0, column 0", "write (visible + 1) / 2 for data of -1 and 1", lambda v: (v + 1) / 2),
        (TABLE * 3, "3 in row 0, column 1", "write visible > 0 for counts", lambda v: v > 0),
        (
            TABLE * 0.75,
            "0.75 in row 0, column 1",
            "write visible > 0.5 for grey values or probabilities",
            lambda v: v > 0.5,
        ),
        (
            TABLE * 2.5 - 1,
            "-1.0 in row 0, column 0",
            "write visible > THRESHOLD with a threshold that suits the data",
            lambda v: v > 0,
        ),
        (
            np.array([[0, 1], [1, np.nan]]),
            "nan in row 1, column 1",
            "leave such rows out, e.g. by visible[~np.isnan(visible).any(axis=-1)]",
            lambda v: v[~np.isnan(v).any(axis=-1)],
        ),
    ],
)
def test_values_other_than_0_and_1_are_refused_with_a_remedy_that_works(values, found, remedy, mend):
    _refused(lambda: checked.rows(values), f"visible must hold 0 and 1 only, got {found}; {remedy}")
    checked.rows(mend(values))


@given(
    hnp.arrays(np.float64, (3, 4), elements=st.sampled_from([0.0, 1.0, 2.0, -1.0, 0.5, np.nan, np.inf, -np.inf, 1e-8]))
)
def test_the_first_wrong_value_is_named(table):
    wrong = [(r, c) for r, c in np.ndindex(3, 4) if table[r, c] not in (0, 1)]
    if not wrong:
        np.testing.assert_array_equal(checked.rows(table), table)
        return
    with pytest.raises(ValueError) as error:
        checked.rows(table)
    row, column = wrong[0]
    assert str(error.value).startswith(
        f"visible must hold 0 and 1 only, got {table[row, column]} in row {row}, column {column}; "
    )


@pytest.mark.parametrize(
    ("values", "arguments", "message"),
    [
        (
            TABLE,
            {"n_units": 4},
            "visible must have 4 columns, one per unit, got 3 (shape (2, 3)); give the data that the machine was "
            "made for",
        ),
        (
            TABLE,
            {"n_units": 2},
            "visible must have 2 columns, one per unit, got 3 (shape (2, 3)); write np.transpose(visible)",
        ),
        (
            TABLE[0],
            {"n_units": 3},
            "visible must be an array (rows, units), got shape (3,); write np.reshape(visible, (1, -1)) for a "
            "single row",
        ),
        (
            TABLE[0],
            {"n_units": 1},
            "visible must be an array (rows, units), got shape (3,); write np.reshape(visible, (-1, 1)) for one unit",
        ),
        (
            [TABLE],
            {"n_units": 3},
            "visible must be an array (rows, units), got shape (1, 2, 3); write np.reshape(visible, (-1, 3)) to "
            "put all "
            "rows below one another",
        ),
        (
            [TABLE],
            {"n_units": 6},
            "visible must be an array (rows, units), got shape (1, 2, 3); write np.reshape(visible, (1, -1)) to "
            "make one "
            "row of each of its 1 entries",
        ),
        (
            1,
            {},
            "visible must be an array (rows, units), got shape (); give one row per state and one column per unit",
        ),
        (
            np.zeros((0, 3)),
            {},
            "visible must hold at least one row and one unit, got shape (0, 3); give more rows",
        ),
        (
            TABLE,
            {"n_trials": 4},
            "visible must be an array (4 trials, rows, units), got shape (2, 3); write np.stack([visible] * 4) to give "
            "every machine the same rows",
        ),
        (
            [TABLE],
            {"n_trials": 4},
            "visible must be an array (4 trials, rows, units), got shape (1, 2, 3); give one table per stacked machine",
        ),
        (
            [TABLE, 2 * TABLE],
            {"n_trials": 2},
            "visible must hold 0 and 1 only, got 2 in trial 1, row 0, column 1; write np.array(visible) > 0 for counts",
        ),
        (
            np.ma.masked_equal(TABLE, 0),
            {},
            "visible must be rows of 0 and 1, an array (rows, units), got a masked array with missing values; "
            "leave those "
            "rows out",
        ),
    ],
)
def test_tables_of_the_wrong_shape_are_refused(values, arguments, message):
    _refused(lambda: checked.rows(values, **arguments), message)


def test_a_list_of_unequal_rows_is_refused():
    with pytest.raises(ValueError, match="got a list that is no array .* give rows of equal length"):
        checked.rows([[0, 1], [0]])


ROWS = "rows of 0 and 1, an array (rows, units)"


@pytest.mark.parametrize(
    ("values", "found", "remedy"),
    [
        (MACHINE, "a Machine", "look whether two arguments are swapped"),
        (KEY, "a JAX random key", "look whether two arguments are swapped"),
        (None, "None", f"give {ROWS}"),
        ("rows.csv", "the str 'rows.csv'", f"give {ROWS}"),
        (scipy.sparse.csr_matrix(TABLE), "a csr_matrix", "write visible.toarray()"),
        (
            TABLE.astype(object),
            "an array of type object and shape (2, 3)",
            "write np.asarray(visible, float) where all of them are numbers",
        ),
        (
            TABLE.astype("U1"),
            "an array of type <U1 and shape (2, 3)",
            "write np.asarray(visible, float) where all of them are numbers",
        ),
    ],
)
def test_what_is_no_table_of_numbers_is_refused(values, found, remedy):
    _refused(lambda: checked.rows(values), f"visible must be {ROWS}, got {found}; {remedy}", TypeError)


LAYERS = "states must be one array (chains, units) per layer, 2 for layers of (3, 2) units, visible layer first"


@pytest.mark.parametrize(
    ("values", "message", "kind"),
    [
        ((TABLE,), f"{LAYERS}, got 1; give every layer, the hidden ones too", ValueError),
        (TABLE, f"{LAYERS}, got an array of type int64 and shape (2, 3); give a tuple of arrays", TypeError),
        (MACHINE, f"{LAYERS}, got a Machine; look whether two arguments are swapped", TypeError),
        (KEY, f"{LAYERS}, got a JAX random key; look whether two arguments are swapped", TypeError),
        (
            (TABLE, np.ones((3, 4))),
            "states[1] must have 2 columns, one per unit, got 4 (shape (3, 4)); give the data that the machine was "
            "made for",
            ValueError,
        ),
        (
            (TABLE, np.ones((3, 2))),
            "states must have as many chains (rows) in every layer, got [2, 3]; leave the surplus out",
            ValueError,
        ),
        (
            (TABLE, TABLE[:, :2] * 2),
            "states[1] must hold 0 and 1 only, got 2 in row 0, column 1; write states[1] > 0 for counts",
            ValueError,
        ),
    ],
)
def test_states_that_do_not_fit_are_refused(values, message, kind):
    _refused(lambda: checked.states(values, (3, 2)), message, kind)


def test_states_of_layers_without_units_come_in():
    """As of a machine that has lost all units of a layer."""
    assert [s.shape for s in checked.states((TABLE, np.zeros((2, 0))), (3, 0))] == [(2, 3), (2, 0)]


def test_keys_of_both_kinds_come_in():
    for given_as in (KEY, jax.random.PRNGKey(0), np.asarray(jax.random.PRNGKey(0))):
        found = checked.key(given_as)
        assert jax.dtypes.issubdtype(found.dtype, jax.dtypes.prng_key) and found.shape == ()
        np.testing.assert_array_equal(jax.random.key_data(found), jax.random.key_data(KEY))
    assert checked.key(KEY, n_trials=3).shape == ()
    for several in (jax.random.split(KEY, 3), jax.random.split(jax.random.PRNGKey(0), 3)):
        assert checked.key(several, n_trials=3).shape == (3,)


@pytest.mark.parametrize(
    ("value", "n_trials", "message", "kind"),
    [
        (0, None, "key must be a JAX random key, got the int 0; write jax.random.key(0)", TypeError),
        (np.int64(7), None, "key must be a JAX random key, got the int64 7; write jax.random.key(7)", TypeError),
        (None, None, "key must be a JAX random key, got None; write jax.random.key(0)", TypeError),
        (
            np.random.default_rng(0),
            None,
            "key must be a JAX random key, got a Generator; write jax.random.key(0)",
            TypeError,
        ),
        (
            MACHINE,
            None,
            "key must be a JAX random key, got a Machine; look whether two arguments are swapped",
            TypeError,
        ),
        (
            TABLE.astype(np.float32),
            None,
            "key must be a JAX random key, got an array of type float32 and shape (2, 3); write jax.random.key(0)",
            TypeError,
        ),
        (
            jax.random.split(KEY, 3),
            None,
            "key must be one JAX random key, got an array of keys of shape (3,); take one of them, key[0]",
            ValueError,
        ),
        (
            jax.random.split(KEY, 2),
            3,
            "key must be one JAX random key or one per trial, got shape (2,) for 3 stacked machines; write "
            "jax.random.split(key, 3) with a single key",
            ValueError,
        ),
    ],
)
def test_what_is_no_key_is_refused(value, n_trials, message, kind):
    _refused(lambda: checked.key(value, n_trials), message, kind)


@pytest.mark.parametrize(
    "value",
    [0.1, np.float16(0.1), np.float32(0.1), np.float64(0.1), np.array(0.1), jnp.float32(0.1)],
)
def test_a_fraction_is_the_decimal_that_it_prints_as(value):
    assert checked.fraction(value, 1) == (0.1,)
    assert checked.fraction(value, 2) == (0.1, 0.1)
    assert checked.fraction((value, 0.25), 2) == checked.fraction([value, 0.25], 2) == (0.1, 0.25)


def test_fractions_come_in_as_one_array():
    assert checked.fraction(np.array([0.1, 0.2], np.float32), 2) == (0.1, 0.2)
    assert checked.fraction(jnp.array([0.1, 0.2]), 2) == (0.1, 0.2)


FRACTION = "fraction must be one number, or one per weight matrix, between 0 and 1"


@pytest.mark.parametrize(
    ("value", "message", "kind"),
    [
        (True, f"{FRACTION}, got the bool True; 0.1 removes a tenth", TypeError),
        (
            "0.1",
            f"{FRACTION}, got the str '0.1'; give one number, or one per weight matrix, between 0 and 1",
            TypeError,
        ),
        (None, f"{FRACTION}, got None; give one number, or one per weight matrix, between 0 and 1", TypeError),
        (KEY, f"{FRACTION}, got a JAX random key; look whether two arguments are swapped", TypeError),
        (np.nan, "fraction must lie between 0 and 1 (both excluded), got nan; 0.1 removes a tenth", ValueError),
        (0, "fraction must lie between 0 and 1 (both excluded), got 0.0; 0.1 removes a tenth", ValueError),
        (10, "fraction must lie between 0 and 1 (both excluded), got 10.0; 0.1 removes a tenth", ValueError),
        (
            (0.1, 0.2, 0.3),
            "fraction must be one number or 2 (one per weight matrix), got 3; a single number holds for every "
            "weight matrix",
            ValueError,
        ),
    ],
)
def test_what_is_no_fraction_is_refused(value, message, kind):
    _refused(lambda: checked.fraction(value, 2), message, kind)


def test_shares_are_exact():
    """Whole percents of up to 2,000 synapses against rational arithmetic."""
    pairs = [(n, percent) for n in range(1, 2001) for percent in range(1, 100)]
    for n, percent in pairs:
        assert checked.exact_share(n, percent / 100) == math.ceil(Fraction(n * percent, 100) - Fraction(1, 2))
    in_floats = sum(math.ceil(n * (p / 100) - 0.5) != checked.exact_share(n, p / 100) for n, p in pairs)
    assert in_floats > 0  # the planted fault: the rule as it is usually written


@given(
    hnp.arrays(st.sampled_from([bool, np.int8, np.uint8, np.int32]), (2, 3), elements=st.integers(0, 1)),
    st.sampled_from([1, 2, 127]),
)
def test_masks_of_any_integers_are_true_where_they_are_not_0(mask, factor):
    scaled = mask if mask.dtype == bool else mask * mask.dtype.type(factor)
    for given_as in ([scaled], (jnp.asarray(scaled),), scaled[None], [scaled.tolist()], [(mask != 0).astype(float)]):
        (found,) = checked.masks(given_as, [np.zeros((2, 3))])
        assert found.dtype == bool and isinstance(found, np.ndarray)
        np.testing.assert_array_equal(found, mask != 0)


@pytest.mark.parametrize(
    ("values", "message", "kind"),
    [
        (
            [np.ones((1, 3))],
            "masks must have shapes [(2, 3)], those of the weights, got [(1, 3)]; give one mask per weight matrix, "
            "with "
            "axes (lower, upper)",
            ValueError,
        ),
        (
            [np.ones((2, 3))] * 2,
            "masks must have shapes [(2, 3)], those of the weights, got [(2, 3), (2, 3)]; give one mask per weight "
            "matrix, "
            "with axes (lower, upper)",
            ValueError,
        ),
        (
            [np.full((2, 3), 0.5)],
            "masks[0] must hold 0 and 1 only, got 0.5 in row 0, column 0; give booleans, true where a synapse exists",
            ValueError,
        ),
        (
            None,
            "masks must be one array (lower, upper) per weight matrix, 1 in all, got None; give a list of arrays",
            TypeError,
        ),
        (
            MACHINE,
            "masks must be one array (lower, upper) per weight matrix, 1 in all, got a Machine; look whether two "
            "arguments "
            "are swapped",
            TypeError,
        ),
    ],
)
def test_masks_that_do_not_fit_are_refused(values, message, kind):
    _refused(lambda: checked.masks(values, [np.zeros((2, 3))]), message, kind)


@pytest.mark.parametrize("value", [3, np.int32(3), np.uint8(3), 3.0, np.array(3), jnp.int32(3)])
def test_counts_come_in(value):
    found = checked.count("n_draws", value)
    assert found == 3 and type(found) is int


@pytest.mark.parametrize(
    ("value", "message", "kind"),
    [
        (
            True,
            "n_draws must be a whole number of at least 2, got the bool True; write n_draws=2, for example",
            TypeError,
        ),
        (1, "n_draws must be a whole number of at least 2, got 1; write n_draws=2", ValueError),
        (4.6, "n_draws must be a whole number of at least 2, got 4.6; write n_draws=5", ValueError),
        (np.nan, "n_draws must be a whole number of at least 2, got nan; write n_draws=2", ValueError),
        (
            None,
            "n_draws must be a whole number of at least 2, got None; give a whole number of at least 2",
            TypeError,
        ),
        ([3], "n_draws must be a whole number of at least 2, got a list; write n_draws=2, for example", TypeError),
    ],
)
def test_what_is_no_count_is_refused(value, message, kind):
    _refused(lambda: checked.count("n_draws", value, 2), message, kind)


def test_a_model_is_told_from_other_things():
    assert checked.model(MACHINE) is MACHINE
    _refused(
        lambda: checked.model((TABLE,)),
        "machine must be a machine, got a tuple; look whether two arguments are swapped",
        TypeError,
    )


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("visible", checked.rows),
        ("visible", lambda traced: checked.rows([traced])),
        ("states[0]", lambda traced: checked.states((traced,), (3,))),
        ("states", lambda traced: checked.states(traced, (3,))),
        ("masks[0]", lambda traced: checked.masks([traced], [TABLE])),
        ("masks", lambda traced: checked.masks(traced, [TABLE])),
        ("fraction", lambda traced: checked.fraction(traced, 1)),
        ("weights", lambda traced: checked.finite(traced, "weights")),
        ("n_draws", lambda traced: checked.count("n_draws", traced)),
        ("key", checked.key),
    ],
)
def test_traced_values_are_refused_by_name(name, check):
    _refused(
        lambda: jax.jit(check)(TABLE.astype(np.float32)),
        f"{name} is traced by JAX, but this function checks values, which needs concrete arrays; call it outside of "
        "jax.jit and jax.vmap, or use the pure function beside it, which checks nothing, inside",
        TypeError,
    )
