"""Objects of other libraries, by stand-ins with the attributes that the real ones have.

``test_recording_libraries.py`` runs the same checks on the real ones.
"""

from types import SimpleNamespace

import numpy as np
import pytest

from secateur.reading.words import words

TIMES = [[10.05, 10.25, 16.05], [10.15, 16.15]]
RANGES = np.array([[10.0, 10.5], [16.0, 16.3]])
EXPECTED = np.array([[1, 0], [0, 1], [1, 0], [0, 0], [0, 0], [1, 0], [0, 1], [0, 0]])
EPOCHS = [0] * 5 + [1] * 3


class Quantity(np.ndarray):
    """Of the library quantities, in milliseconds."""

    def rescale(self, unit):
        assert unit == "s"
        return SimpleNamespace(magnitude=np.asarray(self) / 1e3)


def milliseconds(values):
    return np.asarray(np.multiply(values, 1e3)).view(Quantity)


SUPPORT = SimpleNamespace(start=RANGES[:, 0], end=RANGES[:, 1])


class TsGroup(dict):
    """Of pynapple."""

    time_support = SUPPORT
    index = np.array([3, 7])
    metadata_columns = ["rate", "area"]

    def get_info(self, name):
        return {"rate": np.array([0.3, 0.2]), "area": np.array(["A1", "V1"])}[name]


class TsdFrame:
    """Of pynapple: counts, with the middles of bins as times."""

    time_support = SUPPORT
    columns = np.array([3, 7])
    values = 2 * EXPECTED
    t = np.array([10.05, 10.15, 10.25, 10.35, 10.45, 16.05, 16.15, 16.25])


class BinnedSpikeTrain:
    """Of elephant."""

    bin_size = milliseconds(0.1)
    t_start = milliseconds(10.0)
    sparse_matrix = None

    def to_array(self):
        return 2 * EXPECTED.T


class SpikeTrain(Quantity):
    """Of neo: a quantity with a time range."""

    def __new__(cls, times, name):
        train = milliseconds(times).view(cls)
        train.t_start, train.t_stop, train.name = milliseconds(10.0), milliseconds(16.3), name
        return train


class SpikeTrainList:
    """Of neo: no list, but with length and places."""

    def __init__(self, trains):
        self.trains = trains

    def __len__(self):
        return len(self.trains)

    def __getitem__(self, place):
        return self.trains[place]


class Sorting:
    """Of spikeinterface: two segments, each with a clock of its own."""

    unit_ids = np.array(["u3", "u7"])
    sampling_frequency = 20000.0

    def __init__(self, recorded, time_vector=False):
        self.recorded, self.time_vector = recorded, time_vector

    def get_num_segments(self):
        return 2

    def get_unit_spike_train(self, unit_id, segment_index, return_times):
        assert return_times
        times = np.array(TIMES[list(self.unit_ids).index(unit_id)])
        start, stop = RANGES[segment_index]
        return times[(times >= start) & (times < stop)]

    def has_recording(self):
        return self.recorded

    def has_time_vector(self, segment_index):
        return self.time_vector

    def get_times(self, segment_index):
        start, stop = RANGES[segment_index]
        return start + np.arange(round((stop - start) * 20000)) / 20000

    def get_start_time(self, segment_index):
        return RANGES[segment_index, 0]

    def get_num_samples(self, segment_index):
        return round(np.diff(RANGES[segment_index])[0] * 20000)

    def get_property_keys(self):
        return ["group", "waveforms"]

    def get_property(self, key):
        return np.zeros((2, 5)) if key == "waveforms" else np.array([1, 2])


class Units:
    """A units table of pynwb."""

    id = np.array([3, 7])
    colnames = ("quality", "spike_times", "obs_intervals")

    def __getitem__(self, name):
        return {"quality": ["good", "mua"]}[name]

    def get_unit_spike_times(self, number):
        return np.array(TIMES[number])

    def get_unit_obs_intervals(self, number):
        return RANGES


def group():
    return TsGroup({3: SimpleNamespace(t=np.array(TIMES[0])), 7: SimpleNamespace(t=np.array(TIMES[1]))})


def check(found, ids=("3", "7")):
    np.testing.assert_array_equal(found.states, EXPECTED)
    assert found.unit_ids == ids
    assert found.epochs.tolist() == EPOCHS
    np.testing.assert_allclose(found.bin_starts, TsdFrame.t - 0.05)
    assert found.bin_size == pytest.approx(0.1)


@pytest.mark.parametrize("time_vector", [False, True])
def test_spikeinterface(time_vector):
    check(words(Sorting(True, time_vector), 0.1), ("u3", "u7"))
    assert words(Sorting(True, time_vector), 0.1, units="group=1").unit_ids == ("u3",)


def test_spikeinterface_without_its_recording_says_so():
    found = words(Sorting(False), 0.1)
    assert found.bin_starts[0] == 10.05
    assert any("no time range is stated" in remark for remark in found.notes.remarks)


def test_pynapple():
    check(words(group(), 0.1))
    assert words(group(), 0.1, units="area=V1").unit_ids == ("7",)
    check(words(TsdFrame()))
    check(words(TsdFrame(), 0.1))
    assert words(TsdFrame()).notes.clipped_share == 5 / 8
    check(words({3: TIMES[0], 7: TIMES[1]}, 0.1, ep=SUPPORT))


def test_pynwb():
    check(words(Units(), 0.1))
    check(words(SimpleNamespace(session_start_time=None, units=Units()), 0.1))
    assert words(Units(), 0.1, units="quality=mua").unit_ids == ("7",)
    with pytest.raises(ValueError, match="this pynwb file has no units, so it holds no sorted spikes"):
        words(SimpleNamespace(session_start_time=None, units=None), 0.1)


@pytest.mark.parametrize("container", [list, SpikeTrainList])
def test_neo(container):
    found = words(container([SpikeTrain(TIMES[0], "left"), SpikeTrain(TIMES[1], "right")]), 0.1, ep=RANGES)
    check(found, ("left", "right"))
    whole = words(container([SpikeTrain(TIMES[0], None), SpikeTrain(TIMES[1], None)]), 0.1)
    assert whole.unit_ids == ("0", "1") and len(whole.states) == 63
    assert "units numbered in the order of the list: the trains have no names of their own" in whole.notes.remarks


def test_neo_segments_have_clocks_of_their_own():
    trains = [SpikeTrain(TIMES[0], "left"), SpikeTrain(TIMES[1], "right")]
    segment = SimpleNamespace(spiketrains=trains, annotations={})
    found = words(SimpleNamespace(segments=[segment, segment], annotations={}), 0.1)
    assert found.unit_ids == ("left", "right") and found.notes.n_epochs == 2
    alone = words(segment, 0.1)
    np.testing.assert_array_equal(found.states, np.concatenate([alone.states, alone.states]))


def test_brian():
    times, numbers = np.array([*TIMES[0], *TIMES[1]]), np.repeat([0, 2], [len(TIMES[0]), len(TIMES[1])])
    check(words(SimpleNamespace(t=times, i=numbers, source=range(3), spike_trains=None), 0.1, ep=RANGES), ("0", "2"))


def test_elephant():
    found = words(BinnedSpikeTrain())
    np.testing.assert_array_equal(found.states, EXPECTED)
    np.testing.assert_allclose(found.bin_starts, 10 + np.arange(8) / 10)
    assert found.bin_size == pytest.approx(0.1)


def test_quantities_bring_their_units():
    check(words({3: milliseconds(TIMES[0]), 7: milliseconds(TIMES[1])}, 0.1, ep=RANGES))


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (BinnedSpikeTrain(), {"bin_size": 0.02}, "already made in bins of 0.1 s, got 0.02; leave bin_size out or give"),
        (TsdFrame(), {"bin_size": 0.02}, "bin_size: these counts were already made in bins of 0.1 s, got 0.02"),
        (TsdFrame(), {"ep": (0, 1)}, "ep has no meaning for ready-made words"),
        (group(), {"time_units": "ms"}, "time_units: a TsGroup says itself what it holds; leave it out"),
        (Units(), {"columns": "time,unit"}, "columns: a Units says itself what it holds; leave it out"),
    ],
)
def test_what_an_object_says_itself_is_not_asked_for(data, options, message):
    with pytest.raises(ValueError) as error:
        words(data, **options)
    assert message in str(error.value)
