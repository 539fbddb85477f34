"""Files of 0/1 rows: what is read, and what is refused before anything computes with it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from secateur.data import rows
from secateur.data.rows import read_rows

TABLE = np.array([[0, 1, 1], [1, 0, 0]])
TABLES = hnp.arrays(
    st.sampled_from([bool, np.uint8, np.int64, np.float32]),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    elements=st.integers(0, 1),
)


@given(TABLES, st.sampled_from(["npy", "npz", "csv", "txt"]), st.booleans())
def test_rows_come_back_from_every_kind_of_file(tmp_path_factory, table, kind, header):
    path = tmp_path_factory.getbasetemp() / f"any-rows.{kind}"
    if kind == "npy":
        np.save(path, table)
    elif kind == "npz":
        np.savez_compressed(path, states=table, unit_ids=np.array(["a"] * table.shape[1]))
    else:
        delimiter = "," if kind == "csv" else " "
        names = delimiter.join(f"unit{i}" for i in range(table.shape[1])) if header else ""
        np.savetxt(path, table.astype(float), "%g", delimiter, header=names, comments="")
    found = read_rows(path)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, table)


def test_a_single_array_of_an_archive_needs_no_name_and_a_byte_order_mark_is_no_name(tmp_path):
    np.savez(tmp_path / "one.npz", any=TABLE)
    (tmp_path / "mark.csv").write_text("0,1,1\n1,0,0\n\n", "utf-8-sig")
    for name in ("one.npz", "mark.csv"):
        np.testing.assert_array_equal(read_rows(tmp_path / name), TABLE)


def test_a_threshold_makes_rows_of_any_numbers(tmp_path):
    np.save(tmp_path / "grey.npy", np.array([[0.2, 7.5], [7.0, 16.0]]))
    np.testing.assert_array_equal(read_rows(tmp_path / "grey.npy", binarize=7), [[0, 1], [0, 1]])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "rows.npy",
            np.array([[0, 1], [1, 2]]),
            "must hold 0 and 1 only, got 2 in row 1, column 1; give the threshold",
        ),
        ("rows.npy", np.array([[0, np.nan]]), "must hold numbers only, got nan in row 0, column 1, which no threshold"),
        ("rows.npy", np.zeros(4), r"must hold a table \(rows, units\), got an array of shape \(4,\)"),
        ("rows.npy", np.zeros((0, 4)), r"must hold a table \(rows, units\), got an array of shape \(0, 4\)"),
        ("rows.npy", np.array([["0"]]), "must hold numbers, got an array of type <U1"),
        (
            "rows.npy",
            np.array([[None]]),
            "rows.npy cannot be read as rows of 0 and 1: it holds objects, which only unpickling",
        ),
        ("rows.npy", np.zeros((30, 10), bool), "it holds about 300 values, more than 100; give fewer rows"),
        ("rows.npy", b"noise", "it is not an .npy file"),
        ("rows.npz", b"noise", "rows.npz cannot be read as rows of 0 and 1: File is not a zip file"),
        (
            "rows.npz",
            {"a": TABLE, "b": TABLE},
            "it holds the arrays a, b; expected a single one, or one named 'states'",
        ),
        ("rows.npz", {"states": np.zeros((30, 40))}, "more than 800; give fewer values"),
        (
            "rows.npz",
            {"states": np.array([[None]])},
            "rows.npz cannot be read as rows of 0 and 1: it holds objects, which only unpickling",
        ),
        ("rows.csv", b"", "it holds no numbers"),
        ("rows.csv", b"a,b\n", "it holds no numbers"),
        (
            "rows.csv",
            b"0,1\n1\n",
            "rows.csv cannot be read as rows of 0 and 1: line 2 has 1 columns, line 1 has 2; give every line as "
            "many values",
        ),
        ("rows.txt", bytes(range(128, 160)), "rows.txt cannot be read as rows of 0 and 1: 'utf-8'"),
        ("rows.csv", b"0," * 150 + b"1\n", "more than 100; give fewer rows"),
        ("rows.mat", b"", r"rows.mat must end in \.npy, \.npz, \.csv, \.txt to be read as rows of 0 and 1"),
    ],
)
def test_what_is_no_table_of_0_and_1_is_refused(tmp_path, monkeypatch, name, content, message):
    monkeypatch.setattr(rows, "MAX_VALUES", 100)
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, dict):
        np.savez(path, **content)
    else:
        np.save(path, content)
    with pytest.raises(ValueError, match=message):
        read_rows(path)


def test_a_threshold_does_not_hide_values_that_are_no_numbers(tmp_path):
    np.save(tmp_path / "rows.npy", np.array([[0.5, np.nan]]))
    with pytest.raises(
        ValueError, match="got nan in row 0, column 1, which no threshold makes 0 or 1; leave such rows"
    ):
        read_rows(tmp_path / "rows.npy", binarize=0.1)


MISSING = ["", "NA", "n/a", "null", "None", "-", "?", "."]


@given(TABLES, st.sampled_from([*MISSING, "x"]), st.data(), st.booleans())
def test_a_missing_value_is_refused_in_any_line(tmp_path_factory, table, cell, data, header):
    """The first line as well: it is not taken for names, and no line is dropped."""
    if table.shape[1] == 1:
        table = np.hstack([table, table])  # a single column has no empty cells: its line is blank
    row, column = (data.draw(st.integers(0, n - 1)) for n in table.shape)
    cells = [[str(int(value)) for value in line] for line in table]
    cells[row][column] = cell
    names = [[f"unit{i}" for i in range(table.shape[1])]] if header else []
    path = tmp_path_factory.getbasetemp() / "missing.csv"
    path.write_text("".join(",".join(line) + "\n" for line in names + cells))
    with pytest.raises(ValueError) as error:
        read_rows(path)
    assert str(error.value) == (
        f"{path} cannot be read as rows of 0 and 1: line {row + 1 + header}, column {column + 1} holds {cell!r}, which "
        "is no number; leave such lines out, and columns of names; one line of names may stand at the top"
    )


@pytest.mark.parametrize(
    ("first", "message"),
    [
        ("a,1,b", "line 1, column 1 holds 'a'"),
        ("a,b", "line 2 has 3 columns, line 1 has 2"),
        ("nan,1,0", "got nan in row 0, column 0"),
    ],
)
@pytest.mark.parametrize("binarize", [None, 0.5])
def test_a_first_line_that_is_neither_names_nor_numbers_is_refused(tmp_path, first, message, binarize):
    path = tmp_path / "rows.csv"
    path.write_text(f"{first}\n0,1,1\n1,0,0\n")
    with pytest.raises(ValueError, match=message):
        read_rows(path, binarize=binarize)


def test_comments_stand_anywhere(tmp_path):
    path = tmp_path / "rows.txt"
    path.write_text("# recorded in 2021\na b c\n0 1 1\n# a pause\n1 0 0\n")
    np.testing.assert_array_equal(read_rows(path), TABLE)


FRAME = pd.DataFrame((np.random.default_rng(0).random((20, 6)) < 0.4).astype(int), columns=list("abcdef"))


@pytest.mark.parametrize(
    ("frame", "how"),
    [
        (FRAME, {}),  # an unnamed index is left out
        (FRAME.astype(bool), {"index": False}),
        (FRAME.astype(bool), {}),
        (FRAME.astype(float), {"sep": ";", "decimal": ","}),
        (FRAME, {"sep": ";", "index": False}),
        (FRAME.set_axis(range(6), axis=1), {"index": False}),
        (FRAME.set_axis(range(6), axis=1), {}),
        (FRAME.set_axis(range(2012, 2018), axis=1), {"index": False}),
        (FRAME.set_axis([f"unit, {name}" for name in FRAME], axis=1), {"index": False}),
        (FRAME.rename_axis(index="Unnamed: 0"), {}),
        (FRAME, {"index": False, "quoting": 1}),
    ],
)
@pytest.mark.parametrize("binarize", [None, 0.5])
def test_tables_are_read_as_data_frames_write_them(tmp_path, frame, how, binarize):
    frame.to_csv(tmp_path / "rows.csv", **how)
    np.testing.assert_array_equal(read_rows(tmp_path / "rows.csv", binarize=binarize), FRAME.to_numpy())


@pytest.mark.parametrize("binarize", [None, 0.5])
@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        (
            "label",
            np.arange(20) % 7,
            "column 'label' holds 2 where all others hold 0 and 1 only; say --labels label if",
        ),
        ("cell id", np.arange(20), "column 'cell id' numbers the rows; leave it out with --drop 'cell id'"),
        (
            "kind",
            np.array(["cat", "dog"] * 10),
            "line 2, column 1 holds 'cat', which is no number; column 'kind' is no unit: say",
        ),
    ],
)
def test_a_column_that_is_no_unit_is_named_and_the_remedy_works(tmp_path, column, values, message, binarize):
    path = tmp_path / "rows.csv"
    FRAME.assign(**{column: values})[[column, *FRAME]].to_csv(path, index=False)
    with pytest.raises(ValueError, match=message):
        read_rows(path, binarize=binarize)
    for remedy in ({"drop": [column]}, {"labels": column}):
        np.testing.assert_array_equal(read_rows(path, binarize=binarize, **remedy), FRAME.to_numpy())
    fewer = read_rows(path, binarize=binarize, drop=[column, "a"])
    np.testing.assert_array_equal(fewer, FRAME.to_numpy()[:, 1:])


def test_columns_that_are_not_there_cannot_be_left_out(tmp_path):
    FRAME.to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(
        ValueError, match="it has no column 'x'; its columns are 'a', 'b', 'c', 'd', 'e', 'f'; give one"
    ):
        read_rows(tmp_path / "rows.csv", drop=["x"])
    (tmp_path / "plain.csv").write_text("0,1\n1,1\n")
    with pytest.raises(ValueError, match="it has no line of names, so no column 'a'; put names above the columns"):
        read_rows(tmp_path / "plain.csv", labels="a")
    np.save(tmp_path / "rows.npy", TABLE)
    with pytest.raises(ValueError, match=r"name columns of \.csv and \.txt, which .* is not; leave them out"):
        read_rows(tmp_path / "rows.npy", drop=["a"])
