"""Trainers: pure pairs of init and update, loops written by hand, going on from a state, removal while learning."""

from __future__ import annotations

import inspect
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brute_force import BruteForce
from conftest import small_machine
from secateur import sampling
from secateur.model import enumeration
from secateur.model.machine import Machine
from secateur.model.trials import stack, unstack
from secateur.pruning import compact
from secateur.training import (
    ExactTrainer,
    Trainer,
    TrainingCheckpoint,
    TrainingDiverged,
    TrainingSettings,
    TrainingState,
    continue_training,
    pretrain,
    shuffled_batches,
    train,
)
from statistical import assert_within_errors

KEY = jax.random.key(7)
N_ROWS = 40
SMALL: dict[str, Any] = {"n_epochs": 5, "batch_size": 10, "n_chains": 8, "learning_rate": 0.1, "momentum": 0.9}
TEMPERING = sampling.Tempering(n_temperatures=3, n_adaptation=4)
NAMES = ["contrastive divergence", "persistent Gibbs chains", "persistent chains of tempering", "exact gradient"]


def _trainer(name: str, **changes: Any) -> Any:
    settings = TrainingSettings(**SMALL | changes)
    if name == "exact gradient":
        return ExactTrainer(settings.model_copy(update={"method": "exact"}))
    if name == "persistent chains of tempering":
        return Trainer(settings.model_copy(update={"optimizer": "adam"}), TEMPERING)
    return Trainer(settings.model_copy(update={"method": "cd" if name == "contrastive divergence" else "pcd"}))


def _rows(machine: Machine, n_rows: int = N_ROWS) -> np.ndarray:
    rng = np.random.default_rng(3)
    return (rng.random((n_rows, machine.layer_sizes[0])) < rng.random(machine.layer_sizes[0])).astype(np.float32)


def _machine(seed: int = 0) -> Machine:
    return small_machine("rbm", masked=True, seed=seed)


def _same(found: Any, expected: Any, tolerance: float = 0.0) -> None:
    structures: list[Any] = [jax.tree.structure(one) for one in (found, expected)]
    assert structures[0] == structures[1]
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=tolerance, atol=tolerance)


def _updated(trainer: Trainer | ExactTrainer, machine: Machine, key: jax.Array, n_updates: int = 3) -> Any:
    state = trainer.init(machine, key)
    for _ in range(n_updates):
        state, info = trainer.update(state, _rows(machine))
    return state, info


@pytest.mark.parametrize("name", NAMES)
def test_every_trainer_is_a_pure_pair(name):
    """Same signature, pytrees throughout, the same machine within jit and without, nothing given is used up."""
    trainer, machine = _trainer(name), _machine()
    assert list(inspect.signature(trainer.init).parameters) == ["machine", "key", "visible"]
    assert list(inspect.signature(trainer.update).parameters)[:2] == ["state", "rows"]
    begun = trainer.init(machine, KEY)
    first, again = (trainer.update(begun, _rows(machine)) for _ in range(2))
    _same(first, again)
    state, info = first
    assert isinstance(state, TrainingState) and int(state.step) == 1 and int(begun.step) == 0
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves((state, info)))
    structures: list[Any] = [jax.tree.structure(one) for one in (state, begun)]
    assert structures[0] == structures[1]
    leaves, structure = jax.tree.flatten(state)
    _same(jax.tree.unflatten(structure, leaves), state)
    inside = eqx.filter_jit(_updated)(trainer, machine, KEY)
    _same(inside, _updated(trainer, machine, KEY), 2e-5)
    if name in ("contrastive divergence", "persistent Gibbs chains"):  # the others take long without compilation
        with jax.disable_jit():
            by_steps = _updated(trainer, machine, KEY, 1)
        _same(by_steps, _updated(trainer, machine, KEY, 1), 2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_stacked_machines_update_as_single_ones(name):
    trainer, machines, keys = _trainer(name), [_machine(0), _machine(1)], jax.random.split(KEY)
    states = jax.vmap(trainer.init)(stack(machines), keys)
    states, _ = jax.vmap(trainer.update, in_axes=(0, None))(states, _rows(machines[0]))
    for machine, key, found in zip(machines, keys, unstack(states), strict=True):
        single = trainer.update(trainer.init(machine, key), _rows(machine))[0]
        _same(found, single, 2e-4 if name == "exact gradient" else 2e-5)


@pytest.mark.parametrize("name", ["contrastive divergence", "persistent Gibbs chains"])
def test_a_loop_written_by_hand_is_train_to_the_bit(name):
    trainer, machine = _trainer(name), _machine()
    rows = _rows(machine)
    state = trainer.init(machine, KEY, rows)
    for _ in range(5):
        for batch in shuffled_batches(state, N_ROWS, 10):
            state, _ = trainer.update(state, rows[batch])
    assert int(state.step) == 20
    _same(state.machine, train(machine, rows, trainer.settings, KEY, record_history=False)[0])
    other = trainer.update(state, rows[batch])[0]  # twin: one update more is another machine
    assert np.abs(other.machine.weights[0] - state.machine.weights[0]).max() > 1e-4


def test_a_loop_over_exact_updates_is_train():
    trainer, machine = _trainer("exact gradient"), _machine()
    rows = _rows(machine)
    state, reached = trainer.init(machine, KEY), []
    for _ in range(5):
        state, info = trainer.update(state, rows)
        reached.append(float(info.log_likelihood))
    assert reached[0] == pytest.approx(enumeration.log_probability(machine, rows).mean(), abs=1e-5)
    assert reached == sorted(reached)
    _same(state.machine, train(machine, rows, trainer.settings, KEY)[0], 1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_two_epochs_and_three_more_are_five(name):
    trainer, machine = _trainer(name), _machine()
    rows = _rows(machine)
    each = {n: _trainer(name, n_epochs=n) for n in (2, 3, 5)}
    start = trainer.init(machine, KEY, rows)
    whole, measured = continue_training(each[5], start, rows)
    part, first = continue_training(each[2], start, rows)
    both, last = continue_training(each[3], part, rows)
    _same(both, whole)
    joined = np.append(first.reconstruction_error, last.reconstruction_error)
    np.testing.assert_array_equal(joined, measured.reconstruction_error)
    again = continue_training(each[3], part, rows)[0]  # the state given was not used up
    _same(again, whole)
    restarted = train(part.machine, rows, each[3].settings, KEY)[0]  # twin: chains, momentum and keys of its own
    assert np.abs(restarted.weights[0] - whole.machine.weights[0]).max() > 1e-5


@pytest.mark.parametrize("name", ["persistent Gibbs chains", "persistent chains of tempering"])
def test_a_schedule_that_prunes_while_learning_is_a_loop(name):
    """A tenth of the synapses goes after every epoch; likelihood rises, and what went stays away."""
    trainer, machine = _trainer(name), small_machine("dbm-2-hidden", masked=False)
    rows, counts = _rows(machine, 200), [machine.n_synapses]
    state = trainer.init(machine, KEY, rows)
    for _ in range(4):
        for batch in shuffled_batches(state, len(rows), 10):
            state, _ = trainer.update(state, rows[batch], 0.02)
        weakest = [np.quantile(abs(np.asarray(w))[np.asarray(m)], 0.1) for w, m in _pairs(state.machine)]
        masks = [abs(np.asarray(w)) > least for (w, _), least in zip(_pairs(state.machine), weakest, strict=True)]
        before, state = state, trainer.with_machine(state, state.machine.with_masks(masks))
        _same((state.chains, state.key, state.step), (before.chains, before.key, before.step))
        for weight, mask in _pairs(state.machine):
            assert (np.asarray(weight)[~np.asarray(mask)] == 0).all()
        for carried in jax.tree.leaves(state.optimizer):
            absent = [~np.asarray(m) for m in state.machine.masks if m.shape == carried.shape]
            assert all((np.asarray(carried)[gone] == 0).all() for gone in absent)
        counts.append(state.machine.n_synapses)
    assert all(before > after for before, after in zip(counts[:-1], counts[1:], strict=True))
    untrained = machine.with_masks(state.machine.masks)
    gain = enumeration.log_probability(state.machine, rows) - enumeration.log_probability(untrained, rows)
    assert gain.mean() > 0.05


def _pairs(machine: Machine) -> list[tuple[Any, Any]]:
    return list(zip(machine.weights, machine.masks, strict=True))


@pytest.mark.parametrize("stacked", [False, True])
def test_training_goes_on_after_units_left_the_arrays(stacked):
    """Chains, momentum and parameters are those of the units that stay, found by their original index."""
    trainer, machine = _trainer("persistent Gibbs chains"), small_machine("dbm-2-hidden", masked=False)
    rows = _rows(machine)
    state = _updated(trainer, machine, KEY)[0]
    masks = [np.array(m) for m in machine.masks]
    masks[0][:, 1] = masks[1][:, 3] = False  # one unit of each hidden layer dies
    smaller = compact(state.machine.with_masks(masks))
    assert smaller.layer_sizes == (4, 2, 4)
    if stacked:
        both = jax.tree.map(lambda *a: jnp.stack(a), state, state)
        went_on = unstack(trainer.with_machine(both, stack([smaller, smaller])))[1]
    else:
        went_on = trainer.with_machine(state, smaller)
    kept = [np.arange(4), np.array([0, 2]), np.array([0, 1, 2, 4])]
    for layer, (chains, old) in enumerate(zip(went_on.chains.states, state.chains.states, strict=True)):
        np.testing.assert_array_equal(chains, np.asarray(old)[:, kept[layer]])
    velocity, old = went_on.optimizer.trace, state.optimizer.trace
    for layer, weight in enumerate(velocity.weights):
        np.testing.assert_array_equal(weight, np.asarray(old.weights[layer])[np.ix_(kept[layer], kept[layer + 1])])
    for bias, its_old, units in zip(velocity.biases, old.biases, kept, strict=True):
        np.testing.assert_array_equal(bias, np.asarray(its_old)[units])
    after = trainer.update(went_on, rows)[0]
    assert int(after.step) == 4 and after.machine.layer_sizes == (4, 2, 4)
    with pytest.raises(ValueError) as error:
        trainer.with_machine(went_on, machine)
    assert str(error.value) == (
        "machine must be that of the state with fewer synapses or units, got one with other units (layer sizes "
        "(4, 3, 5) after (4, 2, 4)); prune state.machine"
    )


def test_exact_training_goes_on_after_a_removal():
    trainer, machine = _trainer("exact gradient"), small_machine("rbm", masked=False)
    rows = _rows(machine)
    state = _updated(trainer, machine, KEY, 2)[0]
    masks = [np.array(m) for m in machine.masks]
    masks[0][:, 1] = False
    state = trainer.with_machine(state, compact(state.machine.with_masks(masks)))
    reached = []
    for _ in range(5):
        state, info = trainer.update(state, rows)
        reached.append(float(info.log_likelihood))
    assert reached == sorted(reached) and reached[-1] > reached[0] + 0.01
    assert int(state.step) == 7 and state.machine.layer_sizes == (5, 3)


N_GROUPS = 32
SAMPLERS: dict[str, sampling.Sampler] = {"tempering": sampling.Tempering(n_temperatures=8), "gibbs": sampling.Gibbs()}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_chains_of_tempering_give_the_exact_gradient_of_a_machine_with_two_modes(sampler):
    """All chains start in one mode, silence; Gibbs sampling, the twin, does not leave it."""
    weight = np.random.default_rng(1).normal(2.0, 0.1, (6, 6))
    machine = Machine([weight], [-weight.sum(axis=1) / 2, -weight.sum(axis=0) / 2 + 0.1])
    rows = np.zeros((4, 6), np.float32)
    rows[2:] = 1
    exact = BruteForce(machine)
    silent = exact.probabilities[np.concatenate(exact.states, axis=1).sum(axis=1) < 6].sum()
    assert 0.2 < silent < 0.8
    trainer = Trainer(TrainingSettings(n_chains=16), SAMPLERS[sampler])

    @jax.jit
    @jax.vmap
    def estimate(key):
        """Mean gradient over 100 updates of no length, after 100 others."""
        state = trainer.init(machine, key, np.zeros((1, 6), np.float32))
        gradients = jax.lax.scan(lambda s, _: _gradient(*trainer.update(s, rows, 0.0)), state, length=200)[1]
        return jax.tree.map(lambda g: g[100:].mean(axis=0), gradients)

    def _gradient(state, info):
        return state, info.gradient

    groups = jax.tree.map(lambda g: np.asarray(g, float), estimate(jax.random.split(KEY, N_GROUPS)))
    found = jax.tree.map(lambda g: g.mean(axis=0), groups)
    errors = jax.tree.map(lambda g: g.std(axis=0, ddof=1) / np.sqrt(N_GROUPS), groups)
    truth = enumeration.gradient(machine, rows.astype(float))
    if sampler == "tempering":
        assert max(e.max() for e in jax.tree.leaves(errors)) < 0.05
        assert_within_errors(found, errors, truth, N_GROUPS - 1)
    else:
        with pytest.raises(AssertionError, match="standard errors away"):
            assert_within_errors(found, errors, truth, N_GROUPS - 1)


def test_the_settings_name_the_sampler_of_the_negative_phase():
    machine, rows = _machine(), _rows(_machine())
    named = TrainingSettings(**SMALL | {"sampler": "tempering", "n_epochs": 1})
    state = Trainer(named).init(machine, KEY)
    assert isinstance(state.chains, sampling.TemperingState)
    tempered = train(machine, rows, named, KEY, record_history=False)[0]
    gibbs = train(machine, rows, named.model_copy(update={"sampler": "gibbs"}), KEY, record_history=False)[0]
    assert np.abs(tempered.weights[0] - gibbs.weights[0]).max() > 1e-4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Trainer(TrainingSettings(method="cd", sampler="tempering")),
            "sampler must be 'gibbs' with method='cd', whose chains start at the data in every update, got "
            "'tempering'; use method='pcd' with other samplers",
        ),
        (
            lambda: Trainer(TrainingSettings(method="exact")),
            "Trainer needs method='cd' or 'pcd', got method='exact'; use ExactTrainer instead",
        ),
        (
            lambda: TrainingSettings(sampler="temperring"),
            "sampler must be one of 'gibbs', 'tempering' or an object with init and step, got 'temperring'; did you "
            "mean 'tempering'?",
        ),
    ],
)
def test_trainers_that_cannot_be_are_refused(make, message):
    with pytest.raises(ValueError) as error:
        make()
    assert message in str(error.value)


def test_the_callback_gets_the_machine_of_every_epoch_and_the_history_so_far():
    machine, settings = _machine(), TrainingSettings(**SMALL)
    rows, seen = _rows(machine), []
    _, history = train(machine, rows, settings, KEY, callback=lambda *told: seen.append(told))
    assert [epoch for epoch, *_ in seen] == [1, 2, 3, 4, 5]
    for epoch, its_machine, so_far in seen:
        shorter = settings.model_copy(update={"n_epochs": epoch})
        _same(its_machine, train(machine, rows, shorter, KEY, record_history=False)[0])
        np.testing.assert_array_equal(so_far.pseudo_likelihood, history.pseudo_likelihood[:epoch])


def test_a_finished_training_in_a_checkpoint_can_be_continued_by_another_state(tmp_path):
    """Keys are not stored: the state that comes back has those that training was begun with."""
    machine, settings = _machine(), TrainingSettings(**SMALL)
    trainer, rows = Trainer(settings), _rows(_machine())
    start = trainer.init(machine, KEY, rows)
    part = TrainingCheckpoint(tmp_path / "c", 0).part("all")
    whole, _ = continue_training(trainer, start, rows, checkpoint=part)
    again, _ = continue_training(trainer, start, rows, checkpoint=TrainingCheckpoint(tmp_path / "c", 0).part("all"))
    _same(again, whole)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("call", [train, pretrain])
def test_rows_of_any_type_are_the_same_rows_and_others_are_refused(call):
    machine, settings = _machine(), TrainingSettings(**SMALL | {"n_epochs": 1})
    rows = _rows(machine)
    expected = call(machine, rows, settings, KEY)[0]
    for same in (rows.astype(np.uint8), rows > 0, rows.tolist(), rows.astype(np.float16), np.asfortranarray(rows)):
        _same(call(machine, same, settings, KEY)[0], expected)
    spoilt = rows.copy()
    spoilt[3, 2] = np.nan
    refusals = [
        (spoilt, "visible must hold numbers from 0 to 1 only, got nan in row 3, column 2; "),
        (255 * rows, "visible must hold numbers from 0 to 1 only, got 255.0 in row "),
        (rows[:, :3], "visible must have 5 columns, one per unit, got 3 (shape (40, 3)); "),
        (rows[0], "visible must be an array (rows, units), got shape (5,); "),
    ]
    for wrong, message in refusals:
        with pytest.raises(ValueError) as error:
            call(machine, wrong, settings, KEY)
        assert str(error.value).startswith(message) and not isinstance(error.value, TrainingDiverged)
    with pytest.raises(TypeError) as swapped:
        call(rows, machine, settings, KEY)
    assert str(swapped.value).startswith("machine must be a machine, got an array of type float32 and shape (40, 5)")
    with pytest.raises(TypeError) as no_key:
        call(machine, rows, settings, 3)
    assert str(no_key.value) == "key must be a JAX random key, got the int 3; write jax.random.key(3)"


def test_history_measures_a_share_of_all_rows():
    """Rows of a quiet and of a busy period, in either order; the first rows alone, the twin, are not like all."""
    rng = np.random.default_rng(1)
    rows = np.concatenate([rng.random((600, 5)) < 0.03, rng.random((1400, 5)) < 0.6]).astype(np.float32)
    machine, settings = _machine(), TrainingSettings(**SMALL | {"batch_size": 200})
    told = []
    for given in (rows, rows[::-1].copy()):
        _, history = train(machine, given, settings, KEY, validation=rows[::-1].copy())
        told.append(float(history.reconstruction_error[-1]))
        trained = train(machine, given, settings, KEY, record_history=False)[0]
        whole, first = (_reconstruction_error(trained, some) for some in (given, given[:500]))
        assert abs(told[-1] - whole) < 0.03 < abs(first - whole)
        assert abs(history.free_energy_gap[-1]) < 0.3  # held-out rows are the same, a share of their own


def _reconstruction_error(machine: Machine, rows: np.ndarray) -> float:
    hidden = jax.nn.sigmoid(rows @ machine.weights[0] + machine.biases[1][None, :])
    visible = jax.nn.sigmoid(hidden @ machine.weights[0].T + machine.biases[0][None, :])
    return float(np.abs(rows - visible).mean())
