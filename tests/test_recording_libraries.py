"""The real libraries of the extra recordings-test: what the stand-ins of test_recording_objects.py stand for."""

import datetime

import numpy as np
import pytest

from secateur.reading.words import words
from test_recording_objects import EXPECTED, RANGES, TIMES, check

pytestmark = [pytest.mark.recordings, pytest.mark.filterwarnings("default")]


def test_pynapple():
    nap = pytest.importorskip("pynapple")
    support = nap.IntervalSet(RANGES[:, 0], RANGES[:, 1])
    trains = {3: nap.Ts(np.array(TIMES[0])), 7: nap.Ts(np.array(TIMES[1]))}
    group = nap.TsGroup(trains, time_support=support, metadata={"area": ["A1", "V1"]})
    check(words(group, 0.1))
    check(words(group.count(0.1)))
    check(words({3: TIMES[0], 7: TIMES[1]}, 0.1, ep=support))
    assert words(group, 0.1, units="area=V1").unit_ids == ("7",)


def spike_trains():
    neo, units = pytest.importorskip("neo"), pytest.importorskip("quantities")
    return [
        neo.SpikeTrain(np.array(times) * 1e3 * units.ms, t_start=10 * units.s, t_stop=16.3 * units.s, name=name)
        for times, name in zip(TIMES, ("3", "7"), strict=True)
    ]


def test_neo():
    neo = pytest.importorskip("neo")
    trains = spike_trains()
    check(words(trains, 0.1, ep=RANGES))
    segment = neo.Segment()
    segment.spiketrains.extend(trains)
    found = words(segment.spiketrains, 0.1)
    assert found.states.shape == (63, 2) and found.states.sum() == 5
    check(words({train.name: train for train in trains}, 0.1, ep=RANGES))


def test_elephant():
    conversion, units = pytest.importorskip("elephant.conversion"), pytest.importorskip("quantities")
    trains = spike_trains()
    binned = words(conversion.BinnedSpikeTrain(trains, bin_size=100 * units.ms))
    again = words(trains, 0.1)
    np.testing.assert_array_equal(binned.states, again.states)
    np.testing.assert_allclose(binned.bin_starts, again.bin_starts)


def test_spikeinterface():
    core = pytest.importorskip("spikeinterface.core")
    recording, sorting = core.generate_ground_truth_recording(num_units=3, durations=[2.0, 1.0], seed=0)
    assert any("no time range is stated" in remark for remark in words(sorting, 0.02).notes.remarks)
    sorting.register_recording(recording)
    found = words(sorting, 0.02)
    assert len(found.states) == 150 and found.epochs.tolist() == [0] * 100 + [1] * 50
    for segment, first in ((0, 0), (1, 100)):
        for column, unit in enumerate(sorting.unit_ids):
            frames = sorting.get_unit_spike_train(unit, segment_index=segment)
            bins = np.unique(frames // round(0.02 * sorting.sampling_frequency)) + first
            own = np.flatnonzero(found.states[:, column])
            np.testing.assert_array_equal(own[np.isin(own, np.flatnonzero(found.epochs == segment))], bins)


def test_pynwb(tmp_path):
    pynwb = pytest.importorskip("pynwb")
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    path, empty = tmp_path / "session.nwb", tmp_path / "empty.nwb"
    with pynwb.NWBHDF5IO(empty, "w") as io:
        io.write(pynwb.NWBFile("a session", "id", start))
    file = pynwb.NWBFile("a session", "id", start)
    file.add_unit_column("quality", "by eye")
    for unit, times, quality in ((3, TIMES[0], "good"), (5, [], "good"), (7, TIMES[1], "mua")):
        file.add_unit(spike_times=times, obs_intervals=RANGES, quality=quality, id=unit)
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(file)
    check(words(path, 0.1))
    assert words(path, 0.1, units="quality=mua").unit_ids == ("7",)
    with pynwb.NWBHDF5IO(path, "r") as io:
        read = io.read()
        check(words(read, 0.1))
        check(words(read.units, 0.1))
        assert words(read, 0.1, units="quality=good").states.sum() == EXPECTED[:, 0].sum()
    with pytest.raises(ValueError, match="is an NWB file without units"):
        words(empty, 0.1)
