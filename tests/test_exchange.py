"""Machines in other libraries and conventions have the same probabilities, and come back to the bit."""

import itertools

import h5py
import numpy as np
import pytest
from sklearn.neural_network import BernoulliRBM

import secateur as sc
from conftest import LAYER_SIZES, small_machine
from secateur.storage import exchange


def probabilities(weights, biases, values):
    """Of all states of all layers, by direct sums in float64."""
    layers = [np.array(list(itertools.product(values, repeat=len(b))), float) for b in biases]
    logs = []
    for chosen in itertools.product(*layers):
        total = sum(b @ s for b, s in zip(biases, chosen, strict=True))
        total += sum(low @ w @ up for low, w, up in zip(chosen[:-1], weights, chosen[1:], strict=True))
        logs.append(total)
    unnormalised = np.exp(np.array(logs) - max(logs))
    return unnormalised / unnormalised.sum()


def parameters(sizes, seed=0):
    rng = np.random.default_rng([seed, *sizes])
    weights = [rng.normal(0.3, 1, shape) for shape in zip(sizes[:-1], sizes[1:], strict=True)]
    return weights, [rng.normal(-0.2, 1, n) for n in sizes]


@pytest.mark.parametrize("sizes", [(3, 2), (2, 3, 2), (2, 2, 1, 2)], ids=str)
def test_units_of_minus_one_have_the_same_probabilities(sizes):
    weights, biases = parameters(sizes)
    expected = probabilities(weights, biases, (0, 1))
    couplings, fields = exchange.spins_from_bits(weights, biases)
    np.testing.assert_allclose(probabilities(couplings, fields, (-1, 1)), expected, rtol=1e-10)
    # Planted fault: fields without the couplings' share.
    assert abs(probabilities(couplings, [b / 2 for b in biases], (-1, 1)) - expected).max() > 1e-3
    again, biases_again = exchange.bits_from_spins(couplings, fields)
    for one, other in zip([*again, *biases_again], [*weights, *biases], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)


def test_pairwise_models_have_the_same_probabilities():
    rng = np.random.default_rng(1)
    couplings = np.round(rng.normal(0, 1, (4, 4)) * 64) / 64  # exact in float32
    couplings = np.triu(couplings, 1) + np.triu(couplings, 1).T
    model = sc.PairwiseModel(np.round(rng.normal(0, 1, 4) * 64) / 64, couplings)
    fields, spin_couplings = exchange.pairwise_to_spins(model)

    def found(linear, pairs, values):
        states = np.array(list(itertools.product(values, repeat=4)), float)
        weights = np.exp(states @ linear + 0.5 * ((states @ pairs) * states).sum(1))
        return weights / weights.sum()

    expected = found(np.asarray(model.biases, float), couplings, (0, 1))
    np.testing.assert_allclose(found(fields, spin_couplings, (-1, 1)), expected, rtol=1e-10)
    again = exchange.pairwise_from_spins(fields, spin_couplings)
    np.testing.assert_array_equal(again.biases, model.biases)
    np.testing.assert_array_equal(again.couplings, model.couplings)


@pytest.mark.parametrize("name", LAYER_SIZES)
@pytest.mark.parametrize("units", ["0/1", "-1/+1"])
@pytest.mark.parametrize("axes", ["lower-upper", "upper-lower"])
def test_arrays_come_back(name, units, axes):
    machine = small_machine(name, masked=True)
    weights, biases, masks = exchange.to_arrays(machine, units=units, axes=axes)
    again = exchange.from_arrays(weights, biases, masks, units=units, axes=axes)
    for one, other in zip([*again.weights, *again.masks], [*machine.weights, *machine.masks], strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(again.biases, machine.biases, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)  # float32 of the same float64, up to rounding


def test_scikit_learn_has_the_same_free_energy_and_comes_back(rbm):
    model = exchange.to_sklearn(rbm, random_state=0)
    n_visible, n_hidden = rbm.layer_sizes
    rows = np.array(list(itertools.product((0, 1), repeat=n_visible)), float)
    weights, biases = ([np.asarray(a, float) for a in one] for one in rbm.parameters)
    expected = probabilities(weights, biases, (0, 1))
    found = np.exp(-model._free_energy(rows))
    np.testing.assert_allclose(found / found.sum(), expected.reshape(len(rows), -1).sum(1), rtol=1e-10)
    assert model.transform(rows).shape == (len(rows), n_hidden) and model.gibbs(rows).shape == rows.shape
    again = exchange.from_sklearn(model)
    for one, other in zip([*again.weights, *again.biases], [*rbm.weights, *rbm.biases], strict=True):
        np.testing.assert_array_equal(one, other)
    model.partial_fit(rows)
    assert np.isfinite(model.components_).all()


def test_a_fitted_scikit_learn_model_arrives_transposed():
    rows = (np.random.default_rng(2).random((30, 4)) < 0.4).astype(float)
    model = BernoulliRBM(3, n_iter=2, learning_rate=0.5, random_state=1).fit(rows)
    machine = exchange.from_sklearn(model)
    np.testing.assert_array_equal(machine.weights[0], model.components_.T.astype(np.float32))
    np.testing.assert_array_equal(machine.biases[0], model.intercept_visible_.astype(np.float32))
    np.testing.assert_array_equal(machine.biases[1], model.intercept_hidden_.astype(np.float32))


def test_rbms_files_come_back(rbm, tmp_path):
    """Against the library itself: test_exchange_rbms.py (make test-exchange)."""
    exchange.to_rbms(rbm, tmp_path / "rbm.h5")
    with h5py.File(tmp_path / "rbm.h5", "a") as file:
        for name, array in file["update_1/params"].items():
            file[f"update_12/params/{name}"] = array[()] + 1
        assert set(np.unique(file["parallel_chains"])) == {0, 1}
    first, last = exchange.from_rbms(tmp_path / "rbm.h5", 1), exchange.from_rbms(tmp_path / "rbm.h5")
    arrays = ([*machine.weights, *machine.biases] for machine in (first, last, rbm))
    for one, other, old in zip(*arrays, strict=True):
        np.testing.assert_array_equal(one, old)
        np.testing.assert_array_equal(other, np.asarray(old) + np.float32(1))


def _rewritten(path, change):
    with h5py.File(path, "a") as file:
        change(file)


def _of_type(name):
    def change(file):
        del file["model_type"]
        file["model_type"] = name

    return change


def _linked(file):
    del file["update_1/params/vbias"]
    file["update_1/params/vbias"] = h5py.ExternalLink("other.h5", "/x")


def _huge(file):
    del file["update_1/params/vbias"]
    file["update_1/params"].create_dataset("vbias", (2**40,), "f4", chunks=(2**20,))


def _short(file):
    del file["update_1/params/vbias"]
    file["update_1/params/vbias"] = np.zeros(2, np.float32)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_of_type("PBRBM"), r"its model_type is 'PBRBM', and only 'BBRBM' has 0/1 units"),
        (_of_type(3), "its model_type is no text"),
        (lambda file: file.pop("update_1"), "it holds no group update_N"),
        (_linked, "it holds no vbias of its own"),
        (_huge, "vbias is not stored in one piece"),
        (_short, r"biases of shapes \(2,\) and \(4,\), which do not fit"),
    ],
)
def test_other_files_are_refused(rbm, tmp_path, change, said):
    path = tmp_path / "rbm.h5"
    exchange.to_rbms(rbm, path)
    _rewritten(path, change)
    with pytest.raises(ValueError, match=said):
        exchange.from_rbms(path)


def test_damaged_and_missing_files_and_updates_are_refused(rbm, tmp_path):
    path = tmp_path / "rbm.h5"
    exchange.to_rbms(rbm, path)
    with pytest.raises(ValueError, match=r"it holds no update 7 but \[1\]"):
        exchange.from_rbms(path, 7)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="cannot be read as a file of rbms"):
        exchange.from_rbms(path)
    with pytest.raises(FileNotFoundError):
        exchange.from_rbms(tmp_path / "none.h5")


def test_what_does_not_fit_is_refused(rbm, dbm, unchecked, tmp_path):
    for peer, write in (("BernoulliRBM", exchange.to_sklearn), ("rbms", lambda m: exchange.to_rbms(m, tmp_path / "x"))):
        with pytest.raises(ValueError, match=rf"one hidden layer for {peer}, got layers of \(4, 3, 5\) units"):
            write(dbm)
    with pytest.raises(ValueError, match="units must be '0/1' or '-1/.1', got 'spins'"):
        exchange.to_arrays(rbm, units="spins")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"weights\[0\] must be a matrix, got shape \(4,\)"):
        exchange.from_arrays([np.ones(4)], [np.ones(3), np.ones(4)])
    with pytest.raises(ValueError, match="got one without components_; call fit first"):
        exchange.from_sklearn(BernoulliRBM())
    with pytest.raises(TypeError, match="got a BoltzmannMachine; give its machine_"):
        exchange.to_sklearn(sc.BoltzmannMachine.from_machine(rbm))
    with pytest.raises(ValueError, match="chains must have 5 columns"):
        exchange.to_rbms(rbm, tmp_path / "x", np.zeros((2, 3)))


class Tensor:
    """What is used of a PyTorch tensor that lies on a GPU and has a gradient."""

    def __init__(self, array):
        self.array = array

    detach = cpu = double = lambda self: self

    def numpy(self):
        return self.array

    def __array__(self, *_, **__):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad")


def test_tensors_are_taken(rbm):
    weights, biases, _ = exchange.to_arrays(rbm, axes="upper-lower")
    again = exchange.from_arrays([Tensor(w) for w in weights], [Tensor(b) for b in biases], axes="upper-lower")
    np.testing.assert_array_equal(again.weights[0], rbm.weights[0])
