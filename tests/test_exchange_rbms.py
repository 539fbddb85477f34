"""Files of the real library rbms (extra benchmarks); make test-exchange."""

import numpy as np
import pytest

from secateur.storage import exchange

pytestmark = [pytest.mark.exchange, pytest.mark.filterwarnings("default")]


def test_rbms_reads_and_writes_the_same_machine(rbm, tmp_path):
    torch = pytest.importorskip("torch")
    io = pytest.importorskip("rbms.io")
    path = str(tmp_path / "ours.h5")
    exchange.to_rbms(rbm, path)
    model, chains, _, _ = io.load_model(path, 1, torch.device("cpu"), torch.float64)
    assert chains["visible"].shape == (100, 5)
    rows = torch.tensor(np.indices((2,) * 5).reshape(5, -1).T, dtype=torch.float64)
    found = -model.compute_energy_visibles(rows).numpy()
    (weights,), (visible, hidden), _ = exchange.to_arrays(rbm)
    expected = rows.numpy() @ visible + np.logaddexp(0, rows.numpy() @ weights + hidden).sum(axis=1)
    # rbms takes log(1 + e^x) as x from 10 on: less than 1e-4 for each of four units.
    np.testing.assert_allclose(found, expected, rtol=0, atol=4 * np.log1p(np.exp(-10)))

    theirs = str(tmp_path / "theirs.h5")
    io.save_model(theirs, model, chains, 5, 0.0)
    again = exchange.from_rbms(theirs)
    for one, other in zip([*again.weights, *again.biases], [*rbm.weights, *rbm.biases], strict=True):
        np.testing.assert_array_equal(one, other)


def test_tensors_with_a_gradient_are_taken(rbm):
    torch = pytest.importorskip("torch")
    (weights,), biases, _ = exchange.to_arrays(rbm)
    layer = torch.nn.Linear(5, 4).double()
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weights.T))
    again = exchange.from_arrays([layer.weight], biases, axes="upper-lower")
    np.testing.assert_array_equal(again.weights[0], rbm.weights[0])
