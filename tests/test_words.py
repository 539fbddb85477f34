"""Words from spikes: which bin, which epoch, what is left out, and what a conversion says."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import secateur as sc
from secateur.reading import binning
from secateur.reading.words import Words, load_words, words

UNCHECKED: dict[str, Any] = {"check_rates": False}


def exact_words(ticks, units, n_units, start, stop, bin_ticks):
    """Words by integer arithmetic: nothing to round."""
    n_bins = (stop - start) // bin_ticks
    states = np.zeros((n_bins, n_units), np.uint8)
    bins = (ticks - start) // bin_ticks
    bins[(ticks == stop) & ((stop - start) % bin_ticks == 0)] -= 1
    kept = (bins >= 0) & (bins < n_bins) & (ticks <= stop)
    states[bins[kept], units[kept]] = 1
    return states


@st.composite
def recordings(draw):
    """Ticks of a clock that starts late, most of them on edges of bins."""
    rate, bin_ticks = draw(st.sampled_from([(1000, 20), (20000, 400), (30000, 600), (24414, 244), (30000, 1)]))
    start = draw(st.integers(0, 10**4)) * bin_ticks + draw(st.integers(0, bin_ticks - 1))
    stop = start + bin_ticks * draw(st.integers(1, 200)) + draw(st.integers(0, bin_ticks - 1))
    offsets = draw(st.lists(st.integers(0, 200), min_size=1, max_size=20))
    odd = draw(st.lists(st.integers(start, stop), max_size=5))
    ticks = np.sort([start, stop, *(start + bin_ticks * k for k in offsets), *odd])
    units = np.array(draw(st.lists(st.integers(0, 2), min_size=len(ticks), max_size=len(ticks))))
    return rate, bin_ticks, start, stop, ticks, units


def assert_exact(recording):
    rate, bin_ticks, start, stop, ticks, units = recording
    expected = exact_words(ticks, units, 3, start, stop, bin_ticks)
    trains = {unit: ticks[units == unit] / rate for unit in range(3)}
    options: dict[str, Any] = {"ep": (start / rate, stop / rate), "check_rates": False}
    found = words(trains, bin_ticks / rate, **options)
    np.testing.assert_array_equal(found.states, expected[:, expected.any(axis=0)])
    in_ticks = words((ticks, units), bin_ticks / rate, time_units=rate, **options)
    np.testing.assert_array_equal(in_ticks.states, found.states)


@given(recordings())
def test_every_spike_falls_into_the_bin_that_integers_say(recording):
    assert_exact(recording)


def test_bins_by_plain_division_are_seen_to_be_wrong(monkeypatch):
    """Planted fault for the property above: 0.58 / 0.02 falls short of 29 in floating point."""
    on_edges = (1000, 20, 0, 700, np.array([0, 580, 690]), np.array([0, 1, 2]))
    assert_exact(on_edges)
    monkeypatch.setattr(binning, "_tolerance", lambda bin_size, epochs: 0.0)
    with pytest.raises(AssertionError):
        assert_exact(on_edges)


def test_bins_are_half_open_and_the_last_edge_belongs_to_the_last_bin():
    found = words({"a": [0.0, 0.06], "b": [0.02]}, 0.02, ep=(0, 0.06), **UNCHECKED)
    assert found.states.tolist() == [[1, 0], [0, 1], [1, 0]]
    assert found.unit_ids == ("a", "b")
    np.testing.assert_allclose(found.bin_starts, [0, 0.02, 0.04])
    assert found.notes.remarks == ()


def test_bins_never_cross_an_epochs_end_and_what_is_left_out_is_told():
    trains = {"a": [10.05, 10.29, 20.01, 20.5], "b": [10.15, 15.0, 20.21]}
    found = words(trains, 0.1, ep=[(10, 10.25), (20, 20.3)])
    assert found.states.tolist() == [[1, 0], [0, 1], [1, 0], [0, 0], [0, 1]]
    assert found.epochs.tolist() == [0, 0, 1, 1, 1]
    np.testing.assert_allclose(found.bin_starts, [10, 10.1, 20, 20.1, 20.2])
    assert "0.05 s with 0 spikes left out where epochs end within a bin" in found.notes.remarks
    assert "3 spikes outside every epoch left out" in found.notes.remarks


def test_touching_epochs_share_no_spike():
    found = words({"a": [0.5, 1.0], "b": [1.5]}, 0.5, ep=[(0, 1), (1, 2)])
    assert found.states.tolist() == [[0, 0], [1, 0], [1, 0], [0, 1]]
    assert found.epochs.tolist() == [0, 0, 1, 1]


def test_silence_at_the_ends_counts_where_the_time_range_is_known():
    trains = {"a": [4.05, 5.0], "b": [4.5]}
    assert len(words(trains, 0.1, ep=(0, 10)).states) == 100
    guessed = words(trains, 0.1)
    assert len(guessed.states) == 9 and guessed.bin_starts[0] == 4.05
    assert any("no time range is stated: every epoch taken from its first spike" in r for r in guessed.notes.remarks)


def test_windows_restart_bins_and_epochs_have_clocks_of_their_own():
    """As in tables of windows strung together: 0.5-s windows, 0.2-s bins, so 0.1 s of each window are left out."""
    times = [0.05, 0.45, 0.55, 1.2, np.nan, 0.95, 0.6]
    ids = [1, 2, 1, 2, 1, 2, 1]
    epochs = [1, 1, 1, 1, 2, 7, 7]
    found = words((times, ids, epochs), 0.2, window=0.5, sort=True)
    assert found.epochs.tolist() == [0] * 6 + [1] * 2
    np.testing.assert_allclose(found.bin_starts, [0, 0.2, 0.5, 0.7, 1.0, 1.2, 0.5, 0.7])
    assert found.states.tolist() == [[1, 0], [0, 0], [1, 0], [0, 0], [0, 0], [0, 1], [1, 0], [0, 0]]
    remarks = "\n".join(found.notes.remarks)
    assert "1 row with NaN for a time taken as placeholders" in remarks
    assert "1 epoch without a spike taken as not recorded: 2" in remarks
    assert "every epoch taken from the window of its first spike to that of its last" in remarks
    assert "0.4 s with 2 spikes left out where epochs end within a bin" in remarks


def test_epochs_with_placeholders_only_were_not_recorded_whatever_ep_says():
    found = words(([0.1, np.nan, 0.3, 0.1], [1, 2, 2, 1], [1, 2, 3, 3]), 0.2, ep=(0, 0.4), sort=True)
    assert found.epochs.tolist() == [0, 0, 1, 1]
    assert "1 epoch without a spike taken as not recorded: 2" in found.notes.remarks


def test_trials_within_epochs_are_epochs():
    table = np.array([[0.1, 1, 1, 1], [0.3, 2, 1, 1], [0.1, 2, 1, 2], [0.1, 1, 2, 1], [0.3, 1, 2, 1]])
    found = words(table, 0.2, ep=(0, 0.4), columns="time,unit,epoch,trial")
    assert found.states.tolist() == [[1, 0], [0, 1], [0, 1], [0, 0], [1, 0], [1, 0]]
    assert found.epochs.tolist() == [0, 0, 1, 1, 2, 2]
    with pytest.raises(ValueError, match="columns names a column twice: time, unit, time, _"):
        words(table, 0.2, columns=["time", "unit", "time", "_"])


def test_units_that_are_left_out_still_show_when_the_recording_ran():
    trains = {"a": [1.0, 2.0], "b": [1.5], "c": [0.0, 3.0]}
    found = words(trains, 0.5, units=["a", "b"])
    assert len(found.states) == 6
    assert found.notes.dropped_units == {"c": "not in units=['a', 'b']"}


@pytest.mark.parametrize(
    ("units", "kept"), [("good", ["1", "3"]), ("area=A1", ["1", "2"]), ("2,3", ["2", "3"]), ([2, 1], ["1", "2"])]
)
def test_units_are_chosen_by_id_or_property(units, kept):
    table = {
        "time": [0.1, 0.2, 0.3, 0.9],
        "unit": [1, 2, 3, 1],
        "good": [1, 0, 1, 1],
        "area": np.array(["A1", "A1", "V1", "A1"]),
    }
    assert list(words(table, 0.2, units=units, ep=(0, 1)).unit_ids) == kept


def test_pandas_tables():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"time": [0.1, 0.3], "unit": ["b", "a"]})
    assert words(table, 0.2, ep=(0, 0.4)).states.tolist() == [[0, 1], [1, 0]]
    assert words(table["time"].to_frame().assign(cell=[1, 1]), 0.2, ep=(0, 0.4)).states.tolist() == [[1], [1]]


def test_marks_of_units_may_name_units_without_spikes():
    table = {"time": [0.1, 0.2, 0.9], "unit": [0, 2, 0], "single": np.array([True, True, False, True])}
    found = words(table, 0.1, units="single", ep=(0, 1))
    assert found.unit_ids == ("0",)
    assert found.notes.dropped_units == {
        "2": "not in units='single'",
        "1": "silent in every bin",
        "3": "silent in every bin",
    }


def test_a_conversion_says_what_it_did():
    trains = {"a": [0.05, 0.06, 0.95], "b": [0.07, 0.55], "silent": [np.nan]}
    found = words(trains, 0.1, ep=(0, 1))
    notes = found.notes
    assert (notes.n_bins, notes.n_units, notes.n_epochs, notes.bin_size) == (10, 2, 1, 0.1)
    assert notes.seconds == pytest.approx(1.0)
    assert notes.mean_rates == pytest.approx((3.0, 2.0))  # before clipping
    assert notes.silent_share == pytest.approx(0.7)
    assert notes.clipped_share == pytest.approx(0.1)
    assert notes.lost_spike_share == pytest.approx(1 / 5)
    assert notes.words_per_parameter == pytest.approx(10 / 3)
    assert str(found).splitlines() == [
        "2 units, 10 bins of 0.1 s = 1 s, in 1 epoch",
        "mean rates: 2.5 spikes/s (lowest 2, median 2.5, highest 3)",
        "silent bins: 70 %; bins in which a count was clipped to 1: 10 % (20 % of the spikes)",
        "words per parameter of the pairwise model: 3.333 (3 parameters); below 10, expect unreliable parameters",
        "1 unit left out (silent in every bin): silent",
        "1 NaN time taken as placeholders",
    ]


def test_one_unit_makes_words_and_is_told():
    found = words([[0.1, 0.5]], 0.1)
    assert found.states.shape == (4, 1)
    assert "one unit: there are no pairs, so nothing pairwise can be fitted" in str(found)


def test_times_that_go_back_are_sorted_on_request():
    found = words([[0.3, 0.1], [0.4, 0.2]], 0.1, ep=(0.1, 0.5), sort=True)
    assert found.states.tolist() == [[1, 0], [0, 1], [1, 0], [0, 1]]
    assert "2 times out of order sorted" in found.notes.remarks


def test_negative_times_are_fine_where_ep_says_so():
    assert words([[-0.5, 0.5], [0.1]], 0.5, ep=(-1, 1)).states.tolist() == [[0, 0], [1, 0], [0, 1], [1, 0]]


TIMES = np.arange(1, 41) / 8.0


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ([TIMES], {}, "bin_size is missing: spike times need bins, for example bin_size=0.02 (seconds)"),
        ([TIMES], {"bin_size": -1.0}, "bin_size must be a positive number of seconds, got -1.0"),
        ([TIMES], {"bin_size": 9.0}, "bin_size is 9 s but no epoch holds one bin (the shortest lasts 4.875 s"),
        ([TIMES], {"bin_size": 0.5, "ep": [(0, 1), (1, 1.2)]}, "but an epoch of ep is shorter than a bin"),
        ([TIMES], {"bin_size": 0.5, "window": 0.2}, "bin_size is 0.5 s but a window lasts 0.2 s"),
        ([TIMES], {"bin_size": 0.5, "binary": "sum"}, "binary must be 'clip' or 'refuse', got 'sum'"),
        ([TIMES], {"bin_size": 0.5, "binary": "refuse"}, "counts are above 1 (the largest is 4); take smaller bins"),
        ([TIMES], {"bin_size": 0.5, "time_units": "min"}, "time_units must be one of s, ms, us, or a sampling rate"),
        ([TIMES], {"bin_size": 0.5, "ep": (3, 2)}, "ep must have start < stop, got (3, 2)"),
        ([TIMES], {"bin_size": 0.5, "ep": [(0, 2), (1, 3)]}, "ep must be in order of time and must not overlap"),
        ([TIMES], {"bin_size": 0.5, "ep": [1, 2, 3]}, "ep must be pairs (start, stop) in seconds, got shape (3,)"),
        ([TIMES], {"bin_size": 0.5, "orientation": "units x bins"}, "words must be whole numbers of spikes, got 0.125"),
        ([TIMES], {"bin_size": 0.5, "units": "7"}, "units: unknown 7; expected ids (0) or a property (this recording"),
        ([TIMES, [np.inf]], {"bin_size": 0.5}, "unit 1: times must be finite (NaN marks a placeholder)"),
        ([TIMES, ["a"]], {"bin_size": 0.5}, "unit 1: times must be numbers (decimals with points), got 'a'"),
        ([TIMES, [0.2, 0.1]], {"bin_size": 0.5}, "unit 1 goes back in time (1 times in all units); if the clock"),
        ([TIMES, [-0.2, 0.1]], {"bin_size": 0.5}, "1 times are negative (the first: -0.2 s of unit 1); say with ep"),
        ([[], []], {"bin_size": 0.5}, "there are no spikes: every unit is silent"),
        ([TIMES], {"bin_size": 0.5, "ep": (10, 20)}, "no unit fires inside the bins: all are silent there"),
        ([1.0, 2.0], {"bin_size": 0.5}, "an array of shape (2,) is times without ids, or ids without times"),
        (np.array(1.0), {"bin_size": 0.5}, "an array of shape () is times without ids"),
        (TIMES, {"bin_size": 0.5}, "an array of shape (40,) is times without ids, or ids without times"),
        ((None, [1, 2]), {"bin_size": 0.5}, "ids without times: no column of unit is known to hold times"),
        ((TIMES, None), {"bin_size": 0.5}, "times without ids: no column of time is known to hold units"),
        ((TIMES, [1, 2]), {"bin_size": 0.5}, "40 times but 2 entries of unit; every spike needs one"),
        (
            ([1, 2], [0.5, 0.7]),
            {"bin_size": 0.5},
            "unit ids must be whole numbers or texts, got 0.5; are times and ids",
        ),
        (([0.5, 0.7], [1, np.nan]), {"bin_size": 0.5}, "unit ids are missing or infinite in 1 rows"),
        ((TIMES, TIMES // 4), {"bin_size": 0.5, "columns": "time,unit"}, "columns: data is no table; leave it out, or"),
        (TIMES, {"bin_size": 0.5, "variable": "a"}, "variable: data has no names; leave it out"),
        ((1, 2, 3, 4), {"bin_size": 0.5}, "a tuple must be (times, ids) or (times, ids, epochs), got 4 entries"),
        ({"unit": [1, 2]}, {"bin_size": 0.5}, "ids without times: no column of unit is known to hold times"),
        ([TIMES * 1e5], {"bin_size": 0.5}, "all 40 times are whole numbers of seconds; are they milliseconds"),
        ([TIMES * 1e3 + 0.1], {"bin_size": 0.5}, "too slow to be likely; are times milliseconds or samples given as"),
        ([TIMES], {"bin_size": 1e-3, "time_units": "ms"}, "too fast to be likely; are times seconds given as milli"),
        ([TIMES, TIMES * 1e3], {"bin_size": 0.5}, "units of time look mixed: the times of units 1 reach 1,000 times"),
    ],
)
def test_bad_trains_are_refused_with_a_remedy(data, options, message):
    with pytest.raises(ValueError) as error:
        words(data, **options)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (object(), {}, "data of type object are not understood; expected a file's path, (times, ids), a dict or list"),
        ([TIMES], {"bin_size": "0.1"}, "bin_size must be a number of seconds, got '0.1'"),
        ([TIMES], {"ep": "0:1"}, "ep must be pairs (start, stop) in seconds, got '0:1'"),
        ([TIMES], {"units": 3}, "units must be ids, the name of a property or 'NAME=VALUE', got 3"),
    ],
)
def test_wrong_types_are_refused(unchecked, data, options, message):
    with pytest.raises(TypeError) as error:
        words(data, **{"bin_size": 0.1} | options)
    assert message in str(error.value)


STATES = np.array([[1, 0], [0, 1], [0, 0], [1, 1]])


@pytest.mark.parametrize(
    ("data", "orientation"),
    [
        (STATES, None),
        (STATES.T, "units x bins"),
        (STATES.T.astype(float), "neurons, time"),
        (STATES * 3, "bins x units"),
        (STATES > 0, "bins units"),
    ],
)
def test_ready_words_by_orientation(data, orientation):
    found = words(data, 0.5, orientation=orientation)
    np.testing.assert_array_equal(found.states, STATES)
    assert found.bin_starts.tolist() == [0, 0.5, 1, 1.5]
    assert found.notes.clipped_share == (0.75 if np.max(data) == 3 else 0)


def test_repeats_are_epochs():
    repeats = np.stack([STATES, STATES[::-1], STATES])  # repeats x bins x units
    found = words(repeats.transpose(0, 2, 1), 0.1, orientation="repeats x units x bins")
    np.testing.assert_array_equal(found.states, repeats.reshape(12, 2))
    assert found.epochs.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    np.testing.assert_allclose(found.bin_starts, np.tile([0, 0.1, 0.2, 0.3], 3))


def test_words_without_a_bin_size_know_no_seconds():
    found = words(STATES)
    assert np.isnan(found.bin_size) and np.isnan(found.notes.seconds)
    assert str(found).startswith("2 units, 4 bins, in 1 epoch\nmean rates: 0.5 spikes/bin")


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (STATES.T, {}, "would be 4 units in only 2 bins; if it is, say orientation='bins x units', else"),
        (STATES[None], {}, "an array of shape (1, 4, 2) needs orientation"),
        (
            STATES,
            {"orientation": "bins x places"},
            "orientation must be 'bins x units', 'units x bins' or, with repeats",
        ),
        (STATES, {"orientation": "repeats x units x bins"}, "names 3 axes, the array has shape (4, 2)"),
        (2 * STATES - 1, {}, "words must be 0/1 or counts of spikes, got -1; turn -1/+1 into (x + 1) // 2"),
        (STATES / 2, {}, "a table of shape (4, 2) with broken numbers holds no words; say what its columns are"),
        (STATES * 0, {}, "no unit fires inside the bins"),
        (STATES, {"window": 1.0}, "window has no meaning for ready-made words; leave it out"),
        (STATES, {"units": ["5"]}, "units: unknown 5"),
        ({"a": STATES, "b": STATES}, {}, "data holds a (4, 2), b (4, 2); say which variable holds the words"),
        ({"a": STATES, "b": STATES}, {"variable": "c"}, "variable: data has no 'c'; it has a, b"),
    ],
)
def test_bad_ready_words_are_refused_with_a_remedy(data, options, message):
    with pytest.raises(ValueError) as error:
        words(data, **options)
    assert message in str(error.value)


@pytest.fixture(scope="module")
def some_words():
    rng = np.random.default_rng(3)
    return words(
        {"é 1": np.sort(rng.uniform(0, 20, 99)), 2: np.sort(rng.uniform(0, 20, 50))}, 0.1, ep=[(0, 9), (10, 20)]
    )


def assert_same_words(found, expected):
    for name in ("states", "bin_starts", "epochs"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
        assert getattr(found, name).dtype == getattr(expected, name).dtype
    assert (found.unit_ids, found.bin_size, found.notes) == (expected.unit_ids, expected.bin_size, expected.notes)


def test_words_come_back_from_their_file(some_words, tmp_path):
    some_words.save(tmp_path / "words.npz")
    assert_same_words(load_words(tmp_path / "words.npz"), some_words)
    assert_same_words(sc.load_words(tmp_path / "words.npz"), some_words)
    with np.load(tmp_path / "words.npz", allow_pickle=False) as file:
        assert set(file["states"].ravel()) == {0, 1}


def test_words_of_some_epochs(some_words):
    part = some_words.of_epochs([1])
    np.testing.assert_array_equal(part.states, some_words.states[90:])
    assert set(part.epochs) == {1} and part.bin_starts[0] == 10
    assert part.notes.remarks[-1] == "these words are 100 bins of 1 of the epochs above"
    with pytest.raises(ValueError, match="epochs 5 have no bins; there are 0, 1"):
        some_words.of_epochs([1, 5])


def test_files_that_hold_no_words_are_refused(some_words, tmp_path):
    path = tmp_path / "words.npz"
    with pytest.raises(ValueError, match=r"words are written to .npz files, got '.*words.h5'; name it words.npz"):
        some_words.save(tmp_path / "words.h5")
    np.savez(path, states=STATES)
    with pytest.raises(ValueError, match="holds no words of secateur; make them with 'secateur words'"):
        load_words(path)
    np.savez(path, format="secateur-words", format_version=9)
    with pytest.raises(ValueError, match="has words of format version 9, this secateur reads version 1"):
        load_words(path)
    some_words.save(path)
    arrays = dict(np.load(path))
    for name, value in {
        "states": arrays["states"] * 2,
        "epochs": arrays["epochs"][1:],
        "notes": np.array("{}"),
    }.items():
        np.savez(path, **arrays | {name: value})
        with pytest.raises(ValueError, match="does not hold whole words"):
            load_words(path)
    some_words.save(path)
    content = bytearray(path.read_bytes())
    content[200] ^= 255
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged or not an .npz file"):
        load_words(path)
    with pytest.raises(FileNotFoundError):
        load_words(tmp_path / "nothing.npz")


def test_words_check_themselves(some_words):
    with pytest.raises(ValueError, match="states must be 0/1 and epochs numbers from 0 on that never decrease"):
        Words(np.full((2, 1), 2, np.uint8), ("a",), np.zeros(2), np.zeros(2, np.int64), 0.1, some_words.notes)
