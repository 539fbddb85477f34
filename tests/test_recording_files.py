"""Recordings in files: arrays, text tables, MATLAB of both kinds, NWB and plain HDF5, as their programs write them."""

from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io

from secateur.reading.words import words

TIMES = {"a": [0.05, 0.25, 0.95], "b": [0.15, 0.55]}
EXPECTED = np.zeros((10, 2), np.uint8)
EXPECTED[[0, 2, 9], 0] = 1
EXPECTED[[1, 5], 1] = 1
ROWS = [(0.05, 1, 1), (0.15, 2, 0), (0.25, 1, 1), (0.55, 2, 0), (0.95, 1, 1)]
RANGE: dict[str, Any] = {"bin_size": 0.1, "ep": (0, 1)}


def refusal(path, **options):
    with pytest.raises(ValueError) as error:
        words(path, **{"bin_size": 0.1} | options)
    assert "\n" not in str(error.value)
    return str(error.value)


def as_text(delimiter, header=None, rows=ROWS, before=""):
    lines = [delimiter.join(map(str, row)) for row in rows]
    return before + "\n".join([*([] if header is None else [header]), *lines]) + "\n"


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        (as_text(","), "time,unit,single"),
        (as_text("  ", before="# by a program\n% of MATLAB\n\n"), ["time", "unit", "_"]),
        (as_text("\t", "t\tneuron\tsingle"), None),
        (as_text("; ", "spike;cell no;kind"), "time=spike,unit=cell no"),
        ("\ufeff" + as_text(",", '"Time","Unit","single"'), None),
        (as_text(",", None, [row[:2] for row in ROWS]), None),
    ],
)
def test_text_tables(tmp_path, content, columns):
    path = tmp_path / "spikes.csv"
    path.write_text(content, "utf-8")
    found = words(path, columns=columns, **RANGE)
    np.testing.assert_array_equal(found.states, EXPECTED)
    assert found.unit_ids == ("1", "2")


def test_text_tables_select_units_and_know_placeholders(tmp_path):
    path = tmp_path / "spikes.txt"
    path.write_text(as_text(" ", rows=[*ROWS, ("NaN", 3, 1)]))
    found = words(path, columns="time,unit,single", units="single", **RANGE)
    np.testing.assert_array_equal(found.states, EXPECTED[:, :1])
    assert found.notes.dropped_units == {"2": "not in units='single'", "3": "silent in every bin"}


def test_text_of_words_and_of_unit_names(tmp_path):
    path = tmp_path / "words.txt"
    np.savetxt(path, EXPECTED, "%d")
    np.testing.assert_array_equal(words(path, 0.1).states, EXPECTED)
    path.write_text("time,unit\n0.05,left 1\n0.15,right 2\n")
    assert words(path, **RANGE).unit_ids == ("left 1", "right 2")


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("0,05 1\n0,15 2\n", {}, "has commas for decimals (such as 0,05); write decimals with points"),
        ("0,05;1\n0,15;2\n", {}, "has commas for decimals (such as 0,05)"),
        ("time,unit\n0,05,1\n0,15,2\n", {}, "rows have 3 cells; if commas stand for decimals"),
        ("0.05,1\n0.15,2,3\n", {}, "is not a table: "),
        ("when,who\n0.05,1\n", {}, "has columns when, who; say which hold times and units (columns='time,unit,epoch'"),
        ("unit,single\n1,1\n", {}, "ids without times: no column of unit, single is known to hold times"),
        ("time,single\n0.5,1\n", {}, "times without ids: no column of time, single is known to hold units"),
        ("0.05\n0.15\n", {}, "has 1 columns without names; say what they are"),
        ("0.05 1 2\n0.15 2 2\n", {}, "has 3 columns without names; say what they are"),
        ("0.05 1 2\n0.15 2 2\n", {"columns": "time,unit"}, "columns names 2 columns, "),
        ("0.05 1\n0.15 2\n", {"columns": "time,unit=2"}, "columns mixes names and NAME=NAME pairs"),
        ("0.05 1\n0.15 2\n", {"columns": "time=1,cell=2"}, "columns: unknown cell; expected time, unit, epoch, trial"),
        ("0.05 1\n0.15 2\n", {"columns": "time=3,unit=2"}, "columns: there is no '3'; there are 1, 2"),
        ("time,unit\n0.05,1\nO.15,2\n", {}, "times must be numbers (decimals with points), got 'O.15'"),
        ("time,unit\n0.05,1\n0.15,\n", {}, "unit ids are missing or infinite in 1 rows; give every row one"),
        ("time,unit\n", {}, "has a line of names and no rows"),
        ("time,time\n1,2\n", {}, "names a column twice: time, time"),
        ("# nothing\n", {}, "holds no rows"),
    ],
)
def test_bad_text_is_refused_with_a_remedy(tmp_path, content, options, message):
    path = tmp_path / "spikes.csv"
    path.write_text(content, "utf-8")
    assert message in refusal(path, **options)


def test_files_of_other_kinds_are_refused(tmp_path):
    path = tmp_path / "rest.videoPositionTracking"
    path.write_bytes(b"<Start settings>\nclockrate: 30000\n<End settings>\n\x00\x01\xff")
    assert "is a file of a tracking or acquisition program" in refusal(path)
    path.write_bytes(b"\xff\xfe\x00spikes")
    assert "is a binary file of an unknown kind; expected .npz, .npy, .mat, .nwb, HDF5, or a table" in refusal(path)
    path.write_bytes(b"\x1f\x8b rest")
    assert "is compressed (gzip); unpack it first" in refusal(path)
    path.write_bytes(b"PK rest")
    assert "is a damaged .npz file" in refusal(path)
    with pytest.raises(FileNotFoundError, match="there is no file .*nothing.txt"):
        words(tmp_path / "nothing.txt", 0.1)


def test_npz_tables_in_samples(tmp_path):
    path = tmp_path / "spikes.npz"
    ticks = np.array([round(row[0] * 20000) for row in ROWS], np.int32)
    units = np.array([row[1] - 1 for row in ROWS], np.int16)
    np.savez(path, spike_tick=ticks, unit=units, single=np.array([True, False]), tick_rate_hz=20000.0)
    found = words(path, columns="time=spike_tick", time_units=20000, **RANGE)
    np.testing.assert_array_equal(found.states, EXPECTED)
    assert words(path, columns={"time": "spike_tick"}, time_units=2e4, units="single", **RANGE).unit_ids == ("0",)
    assert "ids without times: no column of spike_tick, unit, single, tick_rate_hz is known" in refusal(path)


def test_npz_and_npy_of_trains_and_words(tmp_path):
    path = tmp_path / "data.npz"
    trains: dict[str, Any] = {name: np.array(times) for name, times in TIMES.items()}
    np.savez(path, **trains)
    np.testing.assert_array_equal(words(path, **RANGE).states, EXPECTED)
    np.savez(path, counts=2 * EXPECTED, rate=3.0)
    np.testing.assert_array_equal(words(path, 0.1, orientation="bins x units").states, EXPECTED)
    assert "may hold counts or a table of spikes; say orientation='bins x units', or what its columns" in refusal(path)
    np.savez(path, counts=EXPECTED, stimulus=EXPECTED, allow_pickle=False)
    assert "say which variable holds the words or trains (variable=NAME)" in refusal(path)
    np.testing.assert_array_equal(words(path, 0.1, variable="counts").states, EXPECTED)
    np.save(tmp_path / "words.npy", EXPECTED.T)
    found = words(tmp_path / "words.npy", 0.1, orientation="units x bins")
    np.testing.assert_array_equal(found.states, EXPECTED)
    np.save(path.with_suffix(".npy"), np.array([{}], dtype=object))
    assert "cannot be read" in refusal(path.with_suffix(".npy"))
    found.save(path)
    assert "holds words already; read them with sc.load_words" in refusal(path)


def nested_cells():
    """As of a tetrode recording: cells of tetrodes, each of cells of units, some empty, some with a silent unit."""
    unit = {"timerange": [[10.0, 11.0]], "meanrate": 1.0}
    first, second, third = ({"time": np.array([times]).T + 10} | unit for times in (*TIMES.values(), np.zeros(0)))
    tetrode_1, tetrode_3 = np.empty((1, 3), object), np.empty((1, 1), object)
    tetrode_1[0, :] = [first, np.zeros((1, 0)), third]
    tetrode_3[0, 0] = second
    tetrodes = np.empty((1, 3), object)
    tetrodes[0, :] = [tetrode_1, np.zeros((1, 0)), tetrode_3]
    session = np.empty((1, 1), object)
    session[0, 0] = tetrodes
    return session


def test_matlab_5_cells_with_an_offset_of_the_clock(tmp_path):
    path = tmp_path / "spikes.mat"
    scipy.io.savemat(path, {"spikes": nested_cells()})
    found = words(path, 0.1)
    np.testing.assert_array_equal(found.states, EXPECTED)
    assert found.unit_ids == ("1.1", "3.1") and found.bin_starts[0] == 10
    assert found.notes.dropped_units == {"1.3": "silent in every bin"}
    assert found.notes.remarks == ("2 empty cells left out",)


def test_matlab_5_words_and_their_own_bin_size(tmp_path):
    path = tmp_path / "spikes.mat"
    scipy.io.savemat(path, {"spk": EXPECTED.T, "stim": EXPECTED.T, "bin_size": 0.05})
    assert "holds spk (2, 10), stim (2, 10), bin_size (1, 1); say which variable" in refusal(path)
    assert "would be 10 units in only 2 bins; if it is, say" in refusal(path, variable="spk")
    found = words(path, 0.005, variable="spk", orientation="units x bins")
    np.testing.assert_array_equal(found.states, EXPECTED)
    assert found.bin_size == 0.005
    assert found.notes.remarks == ("the source has a bin_size of 0.05, which was not used: 0.005 s was given and used",)
    scipy.io.savemat(path, {"t": [row[:1] for row in ROWS], "id": [row[1:2] for row in ROWS]})
    np.testing.assert_array_equal(words(path, **RANGE).states, EXPECTED)
    path.write_bytes(path.read_bytes()[:300])
    assert "cannot be read" in refusal(path)


def matlab_7_3(path, write):
    """An HDF5 file as MATLAB writes it: a text of 128 bytes in a user block of 512, classes as attributes."""
    with h5py.File(path, "w", userblock_size=512) as file:
        write(file)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(128))


def add(parent, name, values, matlab_class="double"):
    item = parent.create_dataset(name, data=np.asarray(values).T)
    item.attrs["MATLAB_class"] = np.bytes_(matlab_class)
    return item


def test_matlab_7_3_words_have_matlabs_axes(tmp_path):
    path = tmp_path / "words.mat"
    matlab_7_3(path, lambda file: add(file, "spikes", EXPECTED.T, "uint8"))
    assert "would be 10 units in only 2 bins" in refusal(path)
    np.testing.assert_array_equal(words(path, 0.1, orientation="units x bins").states, EXPECTED)


def test_matlab_7_3_cells_and_structs(tmp_path):
    path = tmp_path / "spikes.mat"

    def cell(file):
        parts = [add(file, f"#refs#/{name}", [times]) for name, times in TIMES.items()]
        empty = file.create_dataset("#refs#/c", data=np.zeros(2, np.uint64))
        empty.attrs["MATLAB_empty"] = 1
        item = file.create_dataset("spikes", data=np.array([[part.ref] for part in [*parts, empty]], h5py.ref_dtype))
        item.attrs["MATLAB_class"] = np.bytes_("cell")

    matlab_7_3(path, cell)
    found = words(path, **RANGE)
    np.testing.assert_array_equal(found.states, EXPECTED)
    assert found.unit_ids == ("1", "2") and "1 empty cell left out" in found.notes.remarks

    def struct_array(file):
        group = file.create_group("units")
        group.attrs["MATLAB_class"] = np.bytes_("struct")
        for field, values in {"time": list(TIMES.values()), "timerange": [[0.0, 1.0]] * 2}.items():
            parts = [add(file, f"#refs#/{field}{n}", [value]) for n, value in enumerate(values)]
            group.create_dataset(field, data=np.array([[part.ref for part in parts]], h5py.ref_dtype))

    matlab_7_3(path, struct_array)
    np.testing.assert_array_equal(words(path, 0.1).states, EXPECTED)


def write_nwb(path, trains, intervals=None, **columns):
    """The layout of pynwb 4.2: ragged columns with indices of 8 bits, observation intervals, texts of any length."""
    with h5py.File(path, "w") as file:
        file.attrs["nwb_version"] = "2.11.0"
        file.attrs["neurodata_type"] = "NWBFile"
        file.create_group("acquisition")
        if trains is None:
            return
        units = file.create_group("units")
        units.attrs["colnames"] = np.array([*columns, "spike_times"], dtype=h5py.string_dtype())
        units["id"] = np.arange(4, 4 + len(trains))
        units["spike_times"] = np.concatenate([np.zeros(0), *trains])
        units["spike_times_index"] = np.cumsum([len(train) for train in trains]).astype(np.uint8)
        if intervals is not None:
            units["obs_intervals"] = np.concatenate(intervals)
            units["obs_intervals_index"] = np.cumsum([len(part) for part in intervals]).astype(np.uint8)
            units["obs_intervals_index"].attrs["target"] = units["obs_intervals"].ref
        for name, values in columns.items():
            units.create_dataset(name, data=values, dtype=h5py.string_dtype() if isinstance(values[0], str) else None)


def test_nwb_units(tmp_path):
    path = tmp_path / "session.nwb"
    many = np.linspace(5, 5.9, 120)
    write_nwb(path, [many, TIMES["a"], [], TIMES["b"]], None, quality=["mua", "good", "good", "good"])
    found = words(path, units="quality=good", **RANGE)
    np.testing.assert_array_equal(found.states, EXPECTED)
    assert found.unit_ids == ("5", "7")
    assert found.notes.dropped_units == {"4": "not in units='quality=good'", "6": "silent in every bin"}


def test_nwb_observation_intervals_that_units_share(tmp_path):
    path = tmp_path / "session.nwb"
    both, longer, never = [[0.0, 0.3], [0.5, 1.0]], [[0.0, 1.0], [2.0, 3.0]], [[7.0, 9.0]]
    write_nwb(path, [*TIMES.values(), [7.5]], [both, longer, never], depth=[1.0, 2.0, 3.0])
    found = words(path, 0.1, units=[4, 5])
    np.testing.assert_array_equal(found.states, EXPECTED[[0, 1, 2, 5, 6, 7, 8, 9]])
    assert found.epochs.tolist() == [0] * 3 + [1] * 5
    assert "the stated observation intervals of the units have no time in common" in refusal(path)


def test_hdf5_that_is_not_what_it_should_be(tmp_path):
    path = tmp_path / "session.nwb"
    write_nwb(path, None)
    assert refusal(path).endswith("is an NWB file without units (no table /units), so it holds no sorted spikes")
    write_nwb(path, list(TIMES.values()))
    assert "columns: an NWB file says itself what it holds; leave it out" in refusal(path, columns="time,unit")
    with h5py.File(path, "r+") as file:
        file["units/spike_times_index"][...] = [9, 3]
    assert "is damaged: spike_times_index does not fit the 5 rows of spike_times" in refusal(path)
    with h5py.File(path, "r+") as file:
        del file["units/spike_times"]
    assert refusal(path).endswith("is an NWB file whose table /units holds no spike_times")
    with h5py.File(path, "w") as file:
        file["data"] = 1.0
    assert refusal(path).endswith("is an HDF5 file but not NWB (it states no nwb_version)")


def test_plain_hdf5(tmp_path):
    path = tmp_path / "spikes.h5"
    with h5py.File(path, "w") as file:
        file["sorted/t"] = [row[0] for row in ROWS]
        file["sorted/cluster"] = [row[1] for row in ROWS]
        file["raw/trace"] = np.zeros((4, 3))
        file["raw/words"] = EXPECTED
    np.testing.assert_array_equal(words(path, **RANGE).states, EXPECTED)
    np.testing.assert_array_equal(words(path, columns="time=/sorted/t,unit=sorted/cluster", **RANGE).states, EXPECTED)
    np.testing.assert_array_equal(words(path, 0.1, variable="/raw/words").states, EXPECTED)
    assert "variable: " in refusal(path, variable="words")
