"""Run by test_devices.py in a process of its own, with eight simulated devices: compares them with one."""

from typing import Any

import jax
import numpy as np

from secateur import sampling
from secateur.model.machine import Machine
from secateur.training import TrainingSettings, train

jax.config.update("jax_disable_most_optimizations", True)
KEY = jax.random.key(3)
mesh = jax.make_mesh((4, 2), ("hosts", "cores"))
machine = Machine.random((24, 16, 8), KEY, weight_scale=0.3, hidden_bias=-0.5, visible_bias=np.linspace(-1, 1, 24))
rows = np.asarray(jax.random.bernoulli(KEY, np.linspace(0.1, 0.8, 24), (160, 24)), np.float32)
states = sampling.random_states(machine, KEY, 64)

one, split = (sampling.gibbs(machine, states, KEY, 3, mesh=m) for m in (None, mesh))
assert len(split[0].sharding.device_set) == 8
for a, b in zip(one, split, strict=True):
    np.testing.assert_array_equal(a, b)

schedule: dict[str, Any] = {"n_draws": 8, "start": states}
means = [sampling.moments(machine, KEY, **schedule, mesh=m).values for m in (None, mesh)]
jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6), *means)
for sampler in ("gibbs", "tempering"):
    drawn, apart = (sampling.sample(machine, KEY, **schedule, sampler=sampler, mesh=m).states for m in (None, mesh))
    assert len(apart[0].sharding.device_set) == 8
    jax.tree.map(np.testing.assert_array_equal, drawn, apart)

for method, start in (("pcd", machine), ("cd", machine.pair(0))):
    settings = TrainingSettings(method=method, n_epochs=2, batch_size=32, n_chains=16, momentum=0.5, max_norm=6.0)
    alone, together = (train(start, rows, settings, KEY, mesh=m)[0] for m in (None, mesh))
    assert len(together.weights[0].sharding.device_set) == 8 and together.weights[0].sharding.is_fully_replicated
    moved = np.abs(np.asarray(alone.weights[0]) - np.asarray(start.weights[0])).max()
    far = max(np.abs(np.asarray(a) - np.asarray(b)).max() for a, b in zip(alone.weights, together.weights, strict=True))
    assert far < 1e-5 < moved, (method, far, moved)
    other = train(start, rows, settings, jax.random.key(4), mesh=mesh)[0]  # the tolerance tells keys apart
    assert np.abs(np.asarray(other.weights[0]) - np.asarray(alone.weights[0])).max() > 1e-3

for name, change in (("n_chains", {"n_chains": 12}), ("batch_size", {"batch_size": 20}), ("rows", {})):
    few = rows[:150] if name == "rows" else rows
    try:
        train(machine, few, TrainingSettings(**{"batch_size": 32, "n_chains": 16} | change), KEY, mesh=mesh)
    except ValueError as error:
        assert str(error).startswith(f"{name} must be a multiple of the 8 devices of the mesh"), error
    else:
        raise AssertionError(name)
print("equal")
