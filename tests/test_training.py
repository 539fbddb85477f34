"""Training: the likelihood rises, updates follow their formulas, masks and bounds hold, divergence is told."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from brute_force import BruteForce
from conftest import small_machine
from secateur import likelihood
from secateur.model import enumeration
from secateur.model.machine import Machine, Parameters
from secateur.model.trials import stack
from secateur.training import TrainingDiverged, TrainingSettings, train
from secateur.training.history import measure

N_ROWS = 40
KEY = jax.random.key(11)


def _rows(name: str, n_rows: int = N_ROWS) -> np.ndarray:
    """Rows drawn from another small machine with the same number of visible units."""
    teacher = BruteForce(small_machine(name, masked=False, seed=1))
    chosen = np.random.default_rng(5).choice(len(teacher.probabilities), n_rows, p=teacher.probabilities)
    return teacher.states[0][chosen].astype(np.float32)


def _settings(**changes) -> TrainingSettings:
    """One update per epoch with all rows, constant learning rate."""
    return TrainingSettings(**{"method": "cd", "n_epochs": 1, "batch_size": N_ROWS, "learning_rate": 0.1} | changes)


def _trained(machine: Machine, settings: TrainingSettings, rows: np.ndarray) -> Machine:
    return train(machine, rows, settings, KEY, record_history=False)[0]


def _arrays(machine: Machine) -> list[np.ndarray]:
    return [np.asarray(a) for a in jax.tree.leaves(machine.parameters)]


METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "CD-1 of an RBM": ("rbm", {"method": "cd"}),
    "persistent chains of an RBM": ("rbm", {"method": "pcd", "momentum": 0.5}),
    "joint training of a DBM": ("dbm-2-hidden", {"method": "pcd", "n_sweeps": 2, "optimizer": "adam"}),
    "centred gradient of a DBM": ("dbm-3-hidden", {"method": "pcd", "centred": True}),
}


@pytest.mark.parametrize("direction", ["up the gradient", "down the gradient"])
@pytest.mark.parametrize("method", METHODS)
def test_training_raises_the_exact_log_likelihood(method, direction):
    """The twin goes down the same estimates of the gradient and must lose likelihood."""
    name, changes = METHODS[method]
    rows = _rows(name, 200)
    rate = 0.01 if changes.get("optimizer") == "adam" else 0.1
    settings = _settings(n_epochs=20, batch_size=10, learning_rate=rate, **changes)
    if direction == "down the gradient":
        settings = settings.model_copy(update={"learning_rate": (-rate, -rate)})
    start = small_machine(name, masked=True)
    start = start.with_parameters(jax.tree.map(lambda a: 0.3 * a, start.parameters))
    trained = _trained(start, settings, rows)
    gain = np.mean(enumeration.log_probability(trained, rows) - enumeration.log_probability(start, rows))
    assert gain > 0.05 if direction == "up the gradient" else gain < -0.05


MASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "momentum, weight decay and max-norm": ("rbm", {"momentum": 0.9, "l2": 0.01, "max_norm": 1.3}),
    "adam, sparsity and centring": (
        "dbm-2-hidden",
        {"method": "pcd", "optimizer": "adam", "centred": True, "sparsity_target": 0.1, "l2": 0.01},
    ),
}


@pytest.mark.parametrize("case", MASKED)
def test_masks_hold_at_every_update(case):
    """Runs of one to five epochs with one update each are the same run seen after every update."""
    name, changes = MASKED[case]
    machine = small_machine(name, masked=True)
    before = machine
    for n_updates in range(1, 6):
        after = _trained(machine, _settings(n_epochs=n_updates, **changes), _rows(name))
        for weight, last, mask in zip(after.weights, before.weights, machine.masks, strict=True):
            absent = ~np.asarray(mask)
            assert absent.any()
            np.testing.assert_array_equal(np.asarray(weight)[absent], 0)
            assert (np.asarray(weight) != np.asarray(last))[~absent].all()
        before = after


def test_max_norm_bounds_every_units_weights_from_below():
    name, changes = MASKED["momentum, weight decay and max-norm"]
    machine, rows = small_machine(name, masked=True), _rows(name)
    free = np.linalg.norm(machine.weights[0], axis=0)
    assert (free > 1.4).any() and (free < 1.2).any()
    for n_updates in range(1, 6):
        weight = np.asarray(_trained(machine, _settings(n_epochs=n_updates, **changes), rows).weights[0])
        norms = np.linalg.norm(weight, axis=0)
        assert (norms <= 1.3 * (1 + 1e-6)).all()
        if n_updates == 1:  # units beyond the bound come to lie on it, the others move freely
            np.testing.assert_allclose(norms[free > 1.4], 1.3, rtol=1e-5)
            assert (norms[free < 1.2] < 1.29).all()


def test_one_update_moves_along_the_gradient_times_the_learning_rate(rbm):
    """The same key gives the same chains, so that two learning rates differ in the length of the step alone."""
    rows = _rows("rbm")
    steps = [
        [after - before for after, before in zip(_arrays(_trained(rbm, settings, rows)), _arrays(rbm), strict=True)]
        for settings in (_settings(learning_rate=0.1), _settings(learning_rate=0.05))
    ]
    for long, short in zip(*steps, strict=True):
        assert abs(long).max() > 1e-3
        np.testing.assert_allclose(long, 2 * short, atol=1e-6)


def test_weight_decay_takes_its_share_of_the_weights_and_no_bias(rbm):
    rows = _rows("rbm")
    plain, decayed = (_trained(rbm, _settings(l2=l2), rows) for l2 in (0.0, 0.2))
    np.testing.assert_allclose(decayed.weights[0], plain.weights[0] - 0.1 * 0.2 * rbm.weights[0], atol=1e-6)
    for a, b in zip(decayed.biases, plain.biases, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_momentum_carries_the_first_step_on():
    """Second update ``w2 = w1 + rate (g2 + 0.9 g1)``, and ``rate g1 = w1 - w0``; not multiplied by the rate again."""
    machine, rows = small_machine("rbm", masked=False), _rows("rbm")
    once, twice = (_arrays(_trained(machine, _settings(n_epochs=n), rows)) for n in (1, 2))
    carried = _arrays(_trained(machine, _settings(n_epochs=2, momentum=0.9), rows))
    for w0, w1, w2, found in zip(_arrays(machine), once, twice, carried, strict=True):
        np.testing.assert_allclose(found, w2 + 0.9 * (w1 - w0), atol=1e-6)


def test_sparsity_pulls_hidden_rates_towards_the_target(rbm):
    """First update against the formula (Hinton 2012, section 11), then the rates after many updates."""
    rows = _rows("rbm")
    sparse = {"sparsity_target": 0.1, "sparsity_strength": 2.0}
    plain, pulled = (_trained(rbm, _settings(**changes), rows) for changes in ({}, sparse))
    rates = 1 / (1 + np.exp(-(rows @ np.asarray(rbm.weights[0]) + np.asarray(rbm.biases[1]))))
    shortfall = 0.1 - rates.mean(axis=0)
    np.testing.assert_allclose(pulled.biases[0], plain.biases[0], atol=1e-6)
    np.testing.assert_allclose(pulled.biases[1] - plain.biases[1], 0.1 * 2.0 * shortfall, atol=1e-5)
    expected = 0.1 * 2.0 * np.outer(rows.mean(axis=0), shortfall)
    np.testing.assert_allclose(pulled.weights[0] - plain.weights[0], expected, atol=1e-5)

    def distance(changes):
        machine = _trained(rbm, _settings(n_epochs=100, **changes), rows)
        hidden = jax.nn.sigmoid(machine.total_input((jnp.asarray(rows), jnp.asarray(rows)), 1))
        return abs(np.asarray(hidden).mean(axis=0) - 0.1).mean()

    assert distance(sparse) < 0.5 * distance({})


def test_history_measures_the_machine_after_every_epoch(rbm):
    rows, held_out = _rows("rbm"), _rows("rbm", 60)[N_ROWS:]
    trained, history = train(rbm, rows, _settings(n_epochs=3), KEY, validation=held_out)
    assert history.reconstruction_error.shape == history.pseudo_likelihood.shape == (3,)
    hidden = 1 / (1 + np.exp(-(rows @ np.asarray(trained.weights[0]) + np.asarray(trained.biases[1]))))
    visible = 1 / (1 + np.exp(-(hidden @ np.asarray(trained.weights[0]).T + np.asarray(trained.biases[0]))))
    assert history.reconstruction_error[-1] == pytest.approx(abs(rows - visible).mean(), rel=1e-5)
    exact = BruteForce(trained)
    gap = exact.log_probability(rows).mean() - exact.log_probability(held_out).mean()
    assert history.free_energy_gap[-1] == pytest.approx(gap, abs=1e-5)
    assert (history.pseudo_likelihood < 0).all()
    found = measure(trained, jnp.asarray(rows), None, KEY, (1.0, 1.0))
    assert found["pseudo_likelihood"] == likelihood.pseudo_likelihood(trained, jnp.asarray(rows), KEY)
    assert np.isnan(found["free_energy_gap"])


def test_epochs_are_reported_and_history_can_be_left_out(rbm):
    finished: list[int] = []
    settings = _settings(n_epochs=3)
    told = lambda epoch, *_: finished.append(epoch)  # noqa: E731
    _, history = train(rbm, _rows("rbm"), settings, KEY, record_history=False, callback=told)
    assert finished == [1, 2, 3]
    assert history.pseudo_likelihood.size == 0


def test_same_key_same_machine_and_another_key_another(rbm):
    rows = _rows("rbm")
    machines = [train(rbm, rows, _settings(), key, record_history=False)[0] for key in (KEY, KEY, jax.random.key(12))]
    first, again, other = map(_arrays, machines)
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a != c).any()


def test_fewer_rows_than_a_batch_make_one_batch(rbm):
    rows = _rows("rbm")
    large = _trained(rbm, _settings(batch_size=1000), rows)
    for a, b in zip(_arrays(large), _arrays(_trained(rbm, _settings(), rows)), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("n_trials", [None, 2])
def test_divergence_is_told_and_the_machine_given_stays_usable(rbm, n_trials):
    rows = _rows("rbm")
    machine, where, epoch, settings = rbm, "", 2, _settings(n_epochs=3, l2=0.2, learning_rate=1e30)
    if n_trials:
        # The second trial alone diverges: inputs of its units overflow.
        huge = rbm.with_parameters(Parameters((jnp.sign(rbm.weights[0]) * 3e38,), rbm.biases))
        machine, rows = stack([rbm, huge]), np.stack([rows, rows])
        where, epoch, settings = " of trial 1", 1, _settings(n_epochs=3)
    with pytest.raises(TrainingDiverged) as error:
        train(machine, rows, settings, KEY, record_history=False)
    assert str(error.value) == (
        f"parameters{where} became NaN or infinite in epoch {epoch}; the likely cause is a learning rate too large for "
        f"this machine ({settings.learning_rate[0]:g} at the start): lower it or set max_norm (6 is usual)"
    )
    assert all(np.isfinite(a).all() for a in _arrays(machine))


def test_contrastive_divergence_of_a_deep_machine_is_refused(dbm):
    with pytest.raises(ValueError) as error:
        train(dbm, _rows("dbm-2-hidden"), _settings(), KEY)
    assert str(error.value) == "method='cd' needs one hidden layer, this machine has 2; use method='pcd'"


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("geometric", [0.1, 0.1 * 10**-0.5, 0.01]),
        ("linear", [0.1, 0.055, 0.01]),
        ("cosine", [0.1, 0.055, 0.01]),
    ],
)
def test_learning_rates_go_from_the_first_to_the_last_value(schedule, expected):
    settings = TrainingSettings(learning_rate=(0.1, 0.01), schedule=schedule)
    np.testing.assert_allclose(settings.learning_rates(3), expected, rtol=1e-5)
    np.testing.assert_allclose(settings.learning_rates(1), [0.1], rtol=1e-6)
    np.testing.assert_allclose(TrainingSettings(learning_rate=0.2).learning_rates(2), [0.2, 0.2], rtol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 0}, "Input should be greater than 0"),
        ({"learning_rate": float("inf")}, "Input should be a finite number"),
        ({"momentum": 1.0}, "Input should be less than 1"),
        ({"n_epochs": 0}, "Input should be greater than or equal to 1"),
        ({"method": "sgd"}, "Input should be 'cd', 'pcd' or 'exact'"),
        ({"learning_rat": 0.1}, "Extra inputs are not permitted"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        TrainingSettings(**changes)


@pytest.mark.parametrize("name", ["rbm", "dbm-2-hidden"])
def test_exact_training_ends_where_the_exact_gradient_is_zero(name):
    machine, rows = small_machine(name, masked=True), _rows(name, 200)
    finished: list[int] = []
    settings = _settings(method="exact", n_epochs=60)
    trained, history = train(machine, rows, settings, KEY, callback=lambda epoch, *_: finished.append(epoch))
    slopes = [abs(np.asarray(g)).max() for g in jax.tree.leaves(enumeration.gradient(trained, rows))]
    assert max(slopes) < 5e-3  # as near as a float32 likelihood lets L-BFGS come
    assert max(abs(np.asarray(g)).max() for g in jax.tree.leaves(enumeration.gradient(machine, rows))) > 0.1
    for weight, mask in zip(trained.weights, machine.masks, strict=True):
        np.testing.assert_array_equal(np.asarray(weight)[~np.asarray(mask)], 0)
    assert finished == list(range(1, 61)) and history.pseudo_likelihood.size == 0


def test_exact_training_of_trials_with_different_numbers_of_patterns(rbm):
    """Rows are counted once per pattern and padded to equal numbers; the padding must not weigh."""
    rows = [_rows("rbm", 40), np.tile(_rows("rbm", 4), (10, 1))]
    stacked = jax.tree.map(lambda a: jnp.stack([a, a]), rbm)
    together, _ = train(stacked, np.stack(rows), _settings(method="exact", n_epochs=3), KEY)
    for trial, its_rows in enumerate(rows):
        single = _trained(rbm, _settings(method="exact", n_epochs=3), its_rows)
        for found, expected in zip(_arrays(together), _arrays(single), strict=True):
            np.testing.assert_allclose(found[trial], expected, atol=1e-4)


def test_exact_training_of_a_large_machine_is_refused():
    machine = Machine([np.zeros((25, 30))], [np.zeros(25), np.zeros(30)])
    with pytest.raises(ValueError) as error:
        _trained(machine, _settings(method="exact"), np.zeros((4, 25), np.float32))
    assert str(error.value) == (
        "exact training needs a machine whose smaller block of layers has at most 20 units, this one has 25 "
        "(layer sizes (25, 30)); train with method='cd' or 'pcd' instead"
    )


def test_bfloat16_products_cost_little_likelihood():
    """Exact likelihood of machines trained either way; a twin with coarsely rounded weights leaves the tolerance."""
    rng = np.random.default_rng(0)
    prototypes = rng.random((6, 8)) < 0.5
    rows = (prototypes[rng.integers(0, 6, 4000)] ^ (rng.random((4000, 8)) < 0.08)).astype(np.float32)
    start = Machine.random((8, 6), jax.random.key(0), weight_scale=0.1)

    def trained(precision: Any) -> list[Machine]:
        settings = TrainingSettings(
            n_epochs=15, batch_size=20, n_chains=100, learning_rate=(0.1, 0.01), precision=precision
        )
        return [train(start, rows, settings, jax.random.key(seed), record_history=False)[0] for seed in range(4)]

    def reached(machines: list[Machine]) -> np.ndarray:
        return np.array([enumeration.log_probability(machine, rows).mean() for machine in machines])

    whole, short = trained("float32"), trained("bfloat16")
    assert all(w.dtype == np.float32 for machine in short for w in machine.weights)
    assert reached(whole).min() > reached([start])[0] + 0.5
    # Three standard errors of the difference between two times four keys: below it in 999 of 1,000 runs.
    tolerance = 3 * np.sqrt((reached(whole).var(ddof=1) + reached(short).var(ddof=1)) / 4)
    assert tolerance < 0.05
    assert reached(whole).mean() - reached(short).mean() < tolerance
    coarse = [
        one.with_parameters(Parameters(tuple(2 * jnp.round(w / 2) for w in one.weights), one.biases)) for one in whole
    ]
    assert reached(whole).mean() - reached(coarse).mean() > tolerance


def test_products_of_states_and_rounded_weights_are_exact_sums():
    """0 and 1 lose nothing: a bfloat16 product equals the float32 product of the rounded weights."""
    machine = small_machine("dbm-2-hidden", masked=True)
    rounded = machine.with_parameters(
        Parameters(tuple(w.astype(jnp.bfloat16).astype(np.float32) for w in machine.weights), machine.biases)
    )
    states = tuple(np.random.default_rng(n).integers(0, 2, (50, n)).astype(np.float32) for n in machine.layer_sizes)
    for layer in range(3):
        short = machine.in_precision("bfloat16").total_input(states, layer)
        assert short.dtype == np.float32
        np.testing.assert_allclose(short, rounded.total_input(states, layer), rtol=1e-6)


@pytest.mark.parametrize(("mantissa", "small"), [(8, True), (3, False)])
def test_rounded_weights_stay_close_to_the_distribution(machine, mantissa, small):
    """Exact Kullback-Leibler divergence, in nats, of the model whose weights are rounded to 8 bits; twin: to 3 bits."""
    exact = BruteForce(machine)
    weights = [np.asarray(w) for w in machine.weights]
    if mantissa == 8:
        rounded = [np.asarray(w, np.float32) for w in machine.in_precision("bfloat16").weights]
    else:
        scale = [2.0 ** (np.floor(np.log2(np.abs(w) + 1e-9)) - mantissa + 1) for w in weights]
        rounded = [np.round(w / s) * s for w, s in zip(weights, scale, strict=True)]
    other = BruteForce(machine.with_parameters(Parameters(tuple(map(jnp.float32, rounded)), machine.biases)))
    divergence = exact.probabilities @ (np.log(exact.probabilities) - np.log(other.probabilities))
    assert (divergence < 2e-5) == small, divergence
