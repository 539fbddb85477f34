"""Kinds of files of which people keep many: every one gives the right value, or a question whose answer works."""

from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse

from secateur.commands.options import in_options
from secateur.reading.words import words

RNG = np.random.default_rng(0)
TRAINS = {f"sig{k:03d}a": np.sort(RNG.choice(6000, 30 + k, replace=False)) / 100 for k in range(4)}
TIMES = np.concatenate(list(TRAINS.values()))
IDS = np.repeat(np.arange(4), [len(train) for train in TRAINS.values()])
ORDER = np.argsort(TIMES, kind="stable")
TIMES, IDS = TIMES[ORDER], IDS[ORDER]
RASTER = (RNG.random((500, 8)) < 0.1).astype(int)
WHOLE: dict[str, Any] = {"bin_size": 0.1, "ep": (0, 60)}
EXPECTED = words((TIMES, IDS), **WHOLE).states


def refusal(data, **options):
    with pytest.raises(ValueError) as error:
        words(data, **{"bin_size": 0.1} | options)
    assert "\n" not in str(error.value)
    return str(error.value)


def same(data, **options):
    found = words(data, **WHOLE | options)
    np.testing.assert_array_equal(found.states, EXPECTED)
    return found


def frame(path, columns, **options):
    pd.DataFrame(columns).to_csv(path, index=False, **options)
    return path


def test_one_table_in_a_matlab_or_npz_file(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", {"spks": np.c_[IDS, TIMES]})
    np.savez(tmp_path / "a.npz", spks=np.c_[IDS, TIMES])
    for name in ("a.mat", "a.npz"):
        assert "the two columns were taken as units and times" in same(tmp_path / name).notes.remarks
        same(tmp_path / name, columns="unit,time")
        same(tmp_path / name, columns="time=2,unit=1")


def cells(trains, shape):
    made = np.empty(shape, object)
    for place, train in zip(np.ndindex(shape), trains, strict=True):
        made[place] = np.asarray(train)[None]
    return made


@pytest.mark.parametrize("nested", [False, True])
def test_units_in_trials_are_asked_about(tmp_path, nested):
    trains = [[0.05 + unit / 10, 0.55 + trial / 10] for unit in range(2) for trial in range(3)]
    value = cells(trains, (2, 3))
    if nested:
        outer = np.empty((1, 2), object)
        outer[0, :] = [value[:1], value[1:]]
        value = outer
    scipy.io.savemat(tmp_path / "a.mat", {"spikes": value})
    assert "spikes holds 2 cells of up to 3 trains each; say orientation='units x trials'" in refusal(
        tmp_path / "a.mat"
    )
    found = words(tmp_path / "a.mat", 0.1, ep=(0, 1), orientation="units x trials", check_rates=False)
    assert found.states.shape == (30, 2) and found.notes.n_epochs == 3
    assert np.flatnonzero(found.states[:, 0]).tolist() == [0, 5, 10, 16, 20, 27]
    turned = words(tmp_path / "a.mat", 0.1, ep=(0, 1), orientation="trials x units")
    assert turned.states.shape == (20, 3)
    groups = words(tmp_path / "a.mat", 0.1, ep=(0, 1), orientation="groups x units")
    assert groups.unit_ids == ("1.1", "1.2", "1.3", "2.1", "2.2", "2.3")


def test_a_struct_of_cells_of_times(tmp_path):
    times = cells(list(TRAINS.values()), (1, 4))
    scipy.io.savemat(tmp_path / "a.mat", {"spikes": {"times": times, "UID": np.arange(5, 9), "name": "x"}})
    assert same(tmp_path / "a.mat").unit_ids == ("5", "6", "7", "8")


def test_one_vector_per_unit_in_a_matlab_file(tmp_path):
    scipy.io.savemat(tmp_path / "a.mat", TRAINS | {"rate": 3.0}, oned_as="column")
    found = same(tmp_path / "a.mat")
    assert found.unit_ids == tuple(TRAINS) and "rate left out: a single number and no train" in found.notes.remarks


def test_sparse_rasters(tmp_path):
    for kind in (scipy.sparse.csc_array, scipy.sparse.csr_array, scipy.sparse.coo_array):
        scipy.sparse.save_npz(tmp_path / "a.npz", kind(RASTER))
        np.testing.assert_array_equal(words(tmp_path / "a.npz", 0.1).states, RASTER)
        np.testing.assert_array_equal(words(kind(RASTER), 0.1).states, RASTER)
    scipy.io.savemat(tmp_path / "a.mat", {"raster": scipy.sparse.csc_array(RASTER.T * 1.0)})
    np.testing.assert_array_equal(words(tmp_path / "a.mat", 0.1, orientation="units x bins").states, RASTER)
    arrays = dict(np.load(tmp_path / "a.npz")) | {"row": np.array([900]), "col": np.array([0]), "data": np.array([1])}
    np.savez(tmp_path / "a.npz", **arrays)
    assert "a sparse matrix of format 'coo' that is damaged or unknown" in refusal(tmp_path / "a.npz")


def test_unit_numbers_that_restart_on_every_channel(tmp_path):
    path = frame(tmp_path / "a.csv", {"channel": IDS // 2, "unit": IDS % 2, "timestamp": TIMES})
    assert "say columns='time=timestamp,unit=channel+unit' if they restart" in refusal(path)
    assert same(path, columns="time=timestamp,unit=channel+unit").unit_ids == ("0.0", "0.1", "1.0", "1.1")
    assert words(path, columns="time=timestamp,unit=unit", **WHOLE).unit_ids == ("0", "1")


def test_trials_whose_times_overlap_are_asked_about(tmp_path):
    table = {"time": np.arange(40) / 20 + 0.01, "unit": np.arange(40) % 2, "trial": np.arange(40) % 4}
    path = frame(tmp_path / "a.csv", table)
    assert "if the clock restarts in every one, else columns='time=time,unit=unit,trial=_'" in refusal(path)
    options: dict[str, Any] = {"bin_size": 0.1, "ep": (0, 2)}
    assert words(path, columns="time=time,unit=unit,trial=trial", **options).notes.n_epochs == 4
    assert words(path, columns="time=time,unit=unit,trial=_", **options).notes.n_epochs == 1


def test_labels_of_epochs_on_one_running_clock(tmp_path):
    path = frame(tmp_path / "a.csv", {"time": TIMES, "unit": IDS, "epoch": (TIMES // 20).astype(int)})
    assert any("the clock runs on from epoch to epoch" in remark for remark in same(path).notes.remarks)
    assert words(path, 0.1).notes.n_epochs == 3
    assert "epochs share a window; say ep=" in refusal(path, window=7.0)


def test_times_in_single_precision_stay_on_the_edges_of_bins():
    ticks = np.sort(np.random.default_rng(1).choice(100_000, 20_000, replace=False))
    ids = np.arange(20_000) % 4
    options: dict[str, Any] = {"bin_size": 0.02, "ep": (0, 100)}
    exact = words((ticks * 0.001, ids), **options).states
    np.testing.assert_array_equal(words(((ticks * 0.001).astype("f4"), ids), **options).states, exact)


def test_columns_and_attributes_that_name_units_of_time(tmp_path):
    path = frame(tmp_path / "a.csv", {"time_ms": TIMES * 1000, "neuron_id": IDS})
    assert "the times in time_ms are in ms by their name; say time_units='ms', or time_units='s'" in refusal(path)
    same(path, time_units="ms")
    path = frame(tmp_path / "a.csv", {"time (samples)": TIMES * 100, "unit": IDS})
    assert "are samples by their name; say time_units=RATE" in refusal(path)
    same(path, time_units=100)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["stamps"], file["clu"] = TIMES * 1000, IDS
        file["stamps"].attrs["units"] = "ms"
    assert "such as columns='time=stamps,unit=clu'" in refusal(tmp_path / "a.h5")
    same(tmp_path / "a.h5", columns="time=stamps,unit=clu")


def test_an_array_beside_the_spikes_is_no_list_of_units(tmp_path):
    np.savez(tmp_path / "a.npz", time=TIMES, unit=IDS, stimulus=np.zeros(5000))
    assert not same(tmp_path / "a.npz").notes.dropped_units


@pytest.mark.parametrize("code", ["cp1252", "utf-16"])
def test_text_in_other_encodings(tmp_path, code):
    table = {"time": TIMES, "unit": IDS, "amplitude (\u00b5V)": IDS * 0}
    same(frame(tmp_path / "a.csv", table, encoding=code))


def test_footers_and_names_without_a_column(tmp_path):
    path = frame(tmp_path / "a.csv", {"time": TIMES, "unit": IDS})
    rows = path.read_text()
    path.write_text(rows + ",\nA2,well\n")
    assert f"line {len(TIMES) + 3}: times must be numbers (decimals with points), got 'A2'" in refusal(path)
    path.write_text(rows.replace("time,unit", "time,unit,reset"))
    assert "remove the name without a column, or name all columns in their order (columns='time,unit')" in refusal(path)
    same(path, columns="time,unit")


def test_one_column_and_one_column_or_line_per_unit(tmp_path):
    path = tmp_path / "a.txt"
    np.savetxt(path, TIMES)
    assert "say what they are (columns='time' for one unit" in refusal(path)
    assert words(path, columns="time", **WHOLE).notes.n_units == 1
    frame(path, {name: pd.Series(train) for name, train in TRAINS.items()}, sep="\t")
    assert same(path).unit_ids == tuple(TRAINS)
    path.write_text("\n".join(" ".join(map(str, train)) for train in TRAINS.values()))
    assert "or say orientation='units x times' if every line" in refusal(path)
    same(path, orientation="units x times")


@pytest.mark.parametrize("kind", ["names", "index", "times", "comma", "numbers"])
def test_rasters_with_names(tmp_path, kind):
    path, raster = tmp_path / "a.csv", pd.DataFrame(RASTER, columns=[f"n{k}" for k in range(8)])
    if kind == "names":
        raster.to_csv(path, index=False)
    elif kind == "index":
        raster.to_csv(path)
    elif kind == "times":
        raster.set_index(np.arange(500) * 0.02 + 5).to_csv(path, index_label="time")
        assert "the column time says bins of 0.02 s, got 0.1; say bin_size=0.02" in refusal(path)
        assert words(path).bin_starts[0] == 5
    elif kind == "comma":
        path.write_text("".join(",".join(map(str, row)) + ",\n" for row in RASTER))
    else:
        np.savetxt(path, RASTER, "%d", ",", header=",".join(map(str, range(8))), comments="")
    found = words(path, 0.02, orientation="bins x units")
    np.testing.assert_array_equal(found.states, RASTER)
    first = {"comma": "0", "numbers": "0"}.get(kind, "n0")
    assert found.unit_ids[0] == first and found.bin_size == 0.02


def phy_folder(folder):
    folder.mkdir()
    np.save(folder / "spike_times.npy", np.rint(TIMES * 30000).astype(np.uint64)[:, None])
    np.save(folder / "spike_clusters.npy", IDS.astype(np.int32))
    (folder / "cluster_group.tsv").write_text("cluster_id\tgroup\n0\tgood\n1\tnoise\n2\tgood\n")
    return folder


def test_folders_of_phy(tmp_path):
    folder = phy_folder(tmp_path / "phy")
    assert "has no params.py with a sample_rate; say time_units=RATE" in refusal(folder)
    same(folder, time_units=30000)
    (folder / "params.py").write_text("dat_path = 'x'\nsample_rate = 30000.\n")
    assert "groups of the folder: 2 good, 1 noise, 1 unsorted; groups=" in str(same(folder).notes.remarks)
    assert words(folder, groups="good", **WHOLE).unit_ids == ("0", "2")
    assert "groups and units exclude each other" in refusal(folder, groups="good", units="1")
    assert "so none of phy or Kilosort" in refusal(tmp_path)


def test_several_files_are_epochs(tmp_path):
    paths = [tmp_path / "a.npz", tmp_path / "b.npz"]
    np.savez(paths[0], time=TIMES, unit=IDS)
    np.savez(paths[1], time=TIMES[IDS > 0], unit=IDS[IDS > 0])
    found = words(paths, **WHOLE)
    np.testing.assert_array_equal(found.states[:600], EXPECTED)
    np.testing.assert_array_equal(found.states[600:, 1:], EXPECTED[:, 1:])
    assert not found.states[600:, 0].any() and found.epochs.tolist() == [0] * 600 + [1] * 600
    assert "units 0 are missing in some parts and were taken as silent there" in found.notes.remarks
    np.savez(paths[1], raster=RASTER)
    assert "hold spike times and some words; give files of one kind" in refusal(paths)
    found = words([paths[1], paths[1]], 0.1)
    assert found.states.shape == (1000, 8) and found.notes.n_epochs == 2


def test_nwb_in_milliseconds_with_trials(tmp_path):
    with h5py.File(tmp_path / "a.nwb", "w") as file:
        file.attrs["nwb_version"] = "2.6.0"
        file["units/spike_times"] = np.concatenate(list(TRAINS.values())) * 1000
        file["units/spike_times_index"] = np.cumsum([len(train) for train in TRAINS.values()])
        file["intervals/trials/start_time"], file["intervals/trials/stop_time"] = [0.0, 30000], [10000.0, 60000]
    same(tmp_path / "a.nwb", time_units="ms")
    found = words(tmp_path / "a.nwb", 0.1, ep="trials", time_units="ms")
    np.testing.assert_array_equal(found.states, EXPECTED[np.r_[0:100, 300:600]])
    assert found.notes.n_epochs == 2
    with pytest.raises(TypeError, match="named epochs of this source: trials"):
        words(tmp_path / "a.nwb", 0.1, ep="epochs", time_units="ms")


def test_sonata_populations(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["spikes/pop/timestamps"], file["spikes/pop/node_ids"] = TIMES * 1000, IDS
    assert "milliseconds, as is usual in SONATA" in str(same(tmp_path / "a.h5").notes.remarks)
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["spikes/other/timestamps"], file["spikes/other/node_ids"] = TIMES[:3], IDS[:3]
    assert "several populations (other, pop); say variable='other'" in refusal(tmp_path / "a.h5")
    same(tmp_path / "a.h5", variable="pop")


def test_traces_need_a_stated_threshold(tmp_path):
    traces = RASTER + 0.1
    np.save(tmp_path / "a.npy", traces)
    assert "or a threshold for traces" in refusal(tmp_path / "a.npy")
    found = words(tmp_path / "a.npy", 0.1, threshold=0.5, orientation="bins x units")
    np.testing.assert_array_equal(found.states, RASTER)
    assert "words are 1 where the trace exceeds 0.5" in found.notes.remarks
    assert "traces need orientation=" in refusal(tmp_path / "a.npy", threshold=0.5)


def test_nest_writes_senders_and_milliseconds(tmp_path):
    path = tmp_path / "a.dat"
    lines = "".join(f"{unit}\t{time * 1000:.3f}\n" for time, unit in zip(TIMES, IDS, strict=True))
    path.write_text("# NEST version: 3.6\n# RecordingBackendASCII version: 2\nsender\ttime_ms\n" + lines)
    assert "say time_units='ms'" in refusal(path)
    same(path, time_units="ms")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("say columns='time=a,unit=b'", "say --columns 'time=a,unit=b'"),
        ("x.csv: say time_units='ms' or sort", "x.csv: say --time-units 'ms' or sort"),
        ("time_units: leave it out", "--time-units: leave it out"),
        ("say check_rates=False", "say --no-check-rates"),
        ("/ep/columns=/time_units.csv is empty; give ep", "/ep/columns=/time_units.csv is empty; give --ep"),
    ],
)
def test_messages_in_the_words_of_the_command_line(message, expected):
    assert in_options(message, ["/ep/columns=/time_units.csv"]) == expected
