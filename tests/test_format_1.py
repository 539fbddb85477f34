"""Files of format version 1 are read for ever; see tests/data/format-1/README.md."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from secateur.model.machine import receptive_field_mask
from secateur.storage.machines import read_machine
from secateur.studies import StudyFolder

FOLDER = Path(__file__).parent / "data" / "format-1"


def test_a_restricted_machine_with_a_mask():
    machine, lineage, sha256, n_bytes = read_machine(FOLDER / "rbm.safetensors")
    np.testing.assert_array_equal(machine.weights[0], [[0.5, -1.25], [0.0, 2.0], [-0.125, 0.0]])
    np.testing.assert_array_equal(machine.masks[0], [[True, True], [False, True], [True, False]])
    np.testing.assert_array_equal(machine.biases[0], [0.0, -0.5, 1.0])
    np.testing.assert_array_equal(machine.biases[1], [0.25, -2.0])
    assert [np.asarray(i).tolist() for i in machine.unit_indices] == [[0, 1, 2], [0, 1]]
    assert machine.original_layer_sizes == (3, 2) and lineage == {}
    assert sha256 == "348ed80b5a2797016959c33af5645dbbacf83a3e476d71083516ca131a198703"
    assert n_bytes == (FOLDER / "rbm.safetensors").stat().st_size


def test_a_compacted_deep_machine_with_its_lineage():
    machine, lineage, sha256, _ = read_machine(FOLDER / "dbm.safetensors")
    np.testing.assert_array_equal(machine.weights[0], [[1.5], [-2.5]])
    np.testing.assert_array_equal(machine.weights[1], [[0.75, 0.0, -0.0625]])
    assert [np.asarray(m).tolist() for m in machine.masks] == [[[True], [True]], [[True, False, True]]]
    assert [np.asarray(b).tolist() for b in machine.biases] == [[0.5, -0.5], [1.0], [0.0, 2.0, -4.0]]
    assert [np.asarray(i).tolist() for i in machine.unit_indices] == [[0, 1], [3], [0, 2, 4]]
    assert machine.layer_sizes == (2, 1, 3) and machine.original_layer_sizes == (2, 4, 5)
    parent = "trial-01/variance-fi/round-02.safetensors"
    assert lineage == {"trial": 1, "round": 3, "criterion": "variance-fi", "parent": parent}
    assert sha256 == "d5991205398ca4fc204e19070d5ef59e783e8977e7812ec9a3da35d87d847812"


def test_the_folder_of_a_study():
    study = StudyFolder.open(FOLDER / "study")
    config, results, facts = study.config, study.results, study.provenance
    assert (config.name, config.size, config.data.dataset, config.seed) == ("digits", "quick", "handwritten-digits", 0)
    assert (config.trials, config.rounds, config.criteria) == (1, 2, ("variance-fi", "random"))
    assert config.model.hidden == (64, 20) and config.model.receptive_field == 5
    assert config.retraining.n_epochs == 1 and config.pruning.fraction == (0.2, 0.3)
    assert facts["finished"].startswith("2026-11-24T13:") and facts["sessions"][0]["ended"] == "finished"

    sizes = {"trial": 1, "criterion": 2, "round": 3, "stage": 2, "pixel": 64, "unit": 64, "example": 3, "epoch": 2}
    assert sizes.items() <= dict(results.sizes).items()
    assert results["criterion"].values.tolist() == ["variance-fi", "random"]
    assert results.attrs["image_shape"].tolist() == [8, 8]
    assert results["test_error"].dims == ("trial", "criterion", "round", "stage")
    assert results["test_error"].attrs["units"] == "1" and results["test_error"].dtype == np.float32
    assert results["n_synapses"].values[0].tolist() == [
        [[1156, 1280], [899, 896], [714, 627]],
        [[1156, 1280], [925, 896], [740, 627]],
    ]
    errors = [[110, 110], [107, 110], [107, 105]], [[110, 110], [117, 118], [140, 136]]
    np.testing.assert_array_equal(np.rint(results["test_error"].values[0] * 503), errors)
    np.testing.assert_allclose(results["example_sample"].values.ravel()[:3], [2 / 255, 3 / 255, 205 / 255], rtol=1e-6)

    machine = study.load_machine(0, "variance-fi", 0)
    assert machine.layer_sizes == (64, 64, 20)
    np.testing.assert_array_equal(machine.masks[0], receptive_field_mask((8, 8), 5))
    assert machine.synapse_counts == (1156, 1280)
