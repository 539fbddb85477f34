"""What holds for every sampler, estimate, trainer and criterion: pytrees, jit, vmap, files, no second compilation."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from conftest import small_machine
from pairwise_brute_force import small_model
from secateur import fisher, likelihood, sampling
from secateur.likelihood import rows
from secateur.model import enumeration, mean_field
from secateur.model.machine import Machine
from secateur.model.pairwise import PairwiseModel
from secateur.model.trials import keys_for, n_trials, stack, unstack
from secateur.model.trust import NotToBeTrusted
from secateur.pruning import criterion_names, importance, prune
from secateur.pruning.rules import RULES
from secateur.sampling import Gibbs, GibbsState, Sampler, Tempering
from secateur.sampling.draws import kept_draws, swept
from secateur.sampling.runner import streamed_moments
from secateur.sampling.starts import started
from secateur.sampling.stored import moments_of
from secateur.storage.machines import load_machine, save_machine
from secateur.training import TrainingSettings, gradients, pretrain, train

ROWS = np.random.default_rng(0).integers(0, 2, (8, 4)).astype(np.float32)
KEYS = jax.random.split(jax.random.key(5), 2)
Case = Callable[[Machine, jax.Array], Any]


STATES = tuple(np.random.default_rng(n).integers(0, 2, (8, n)).astype(np.float32) for n in (4, 3, 5))


SCHEDULE: dict[str, Any] = {"n_draws": 4, "n_burn_in": 1}

SAMPLERS: dict[str, Case] = {
    "random states": lambda m, k: started(m, k, 8, "biases"),
    "dispersed states": lambda m, k: started(m, k, 8),
    "gibbs": lambda m, k: swept(m, STATES, k, 2),
    "clamped gibbs": lambda m, k: swept(m, STATES, k, 2, sampling.clamp_visible(m)),
    "sample": lambda m, k: kept_draws(m, Gibbs(2), GibbsState(STATES), k, **SCHEDULE),
    "moments": lambda m, k: streamed_moments(m, Gibbs(2), GibbsState(STATES), k, **SCHEDULE),
    "annealing": lambda m, k: likelihood.annealed_log_weights(m, m.biases[0], k, n_chains=8, n_temperatures=5),
}

_CHAINS = sampling.GibbsState(STATES)
_persistent = jax.jit(gradients.persistent, static_argnames="n_mean_field")
ESTIMATES: dict[str, Case] = {
    "mean field": lambda m, k: mean_field.infer(m, ROWS),
    "free energy": lambda m, k: rows.free_energy_of(m, ROWS),
    "pseudo-likelihood": lambda m, k: rows.pseudo_likelihood_of(m, ROWS, k),
    "persistent chains": lambda m, k: _persistent(m, ROWS, sampling.Gibbs(2), _CHAINS, k, n_mean_field=5),
    "variance information": lambda m, k: fisher.variance(m, moments_of(m, STATES)),
    "heuristic information": lambda m, k: fisher.heuristic(m, moments_of(m, STATES)),
}

CRITERIA: dict[str, Case] = {
    name: lambda m, k, name=name: importance(m, moments_of(m, STATES), name, k)  # type: ignore[misc]
    for name, rule in RULES.items()
    if rule.ranks == "synapses" and not {"states", "rows"} & set(rule.needs)
}

PURE = SAMPLERS | ESTIMATES | CRITERIA


SMALL_BATCHES: dict[str, Any] = {"n_epochs": 2, "batch_size": 4, "n_chains": 8}


def _data(machine: Machine) -> np.ndarray:
    trials = n_trials(machine)
    return ROWS if trials is None else np.stack([ROWS] * trials)


def _train(machine: Machine, key: jax.Array, **changes: Any) -> Machine:
    settings = TrainingSettings(**SMALL_BATCHES | changes)
    return train(machine, _data(machine), settings, key, record_history=False)[0]


def _pretrain(machine: Machine, key: jax.Array, **changes: Any) -> Machine:
    settings = TrainingSettings(**SMALL_BATCHES | changes)
    return pretrain(machine, _data(machine), settings, key, record_history=False)[0]


TRAINERS: dict[str, Callable[..., Machine]] = {
    "contrastive divergence": lambda m, k, **changes: _train(m, k, method="cd", **changes),
    "persistent chains": lambda m, k, **changes: _train(m, k, method="pcd", momentum=0.5, max_norm=2.0, **changes),
    "exact gradient": lambda m, k, **changes: _train(m, k, method="exact", **changes),
    "greedy pretraining": _pretrain,
}


def _machines(case: str) -> list[Machine]:
    """Two machines of one shape with different parameters and masks: DBMs, or RBMs where depth is not possible."""
    deep = [small_machine("dbm-2-hidden", masked=True, seed=seed) for seed in (0, 1)]
    return [machine.pair(0) for machine in deep] if case in ("contrastive divergence", "exact gradient") else deep


def _assert_same(found: Any, expected: Any, tolerance: float = 0.0) -> None:
    structures: list[Any] = [jax.tree.structure(result) for result in (found, expected)]
    assert structures[0] == structures[1]
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert jnp.shape(a) == jnp.shape(b)
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=tolerance, atol=tolerance)


@contextmanager
def _counted_compilations() -> Iterator[list[str]]:
    """Programs compiled (or fetched from the cache on disk) within the block."""
    found: list[str] = []

    def listen(event: str, duration_secs: float, **about: str | int) -> None:
        if event.endswith("backend_compile_duration"):
            found.append(str(about))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield found
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize("case", PURE)
def test_jit_and_vmap_over_stacked_machines_are_the_loop_without(case):
    function, machines = PURE[case], _machines(case)
    singles = [function(machine, key) for machine, key in zip(machines, KEYS, strict=True)]
    together = jax.jit(jax.vmap(function))(stack(machines), KEYS)
    for single, found in zip(singles, unstack(together), strict=True):
        # Sums may be taken in another order; a draw that lay on the edge would show as a difference of one.
        _assert_same(found, single, 2e-5)


@pytest.mark.parametrize("case", TRAINERS)
def test_stacked_trials_train_as_single_ones(case):
    function, machines = TRAINERS[case], _machines(case)
    together = unstack(function(stack(machines), KEYS))
    for machine, key, found in zip(machines, KEYS, together, strict=True):
        single = function(machine, key)
        _assert_same(found, single, 2e-4 if case == "exact gradient" else 2e-5)
        assert not np.allclose(single.weights[0], machine.weights[0], atol=1e-4)


def test_one_key_for_stacked_trials_is_one_key_per_trial():
    machines = stack(_machines("persistent chains"))
    keys = keys_for(machines, KEYS[0])
    assert len({tuple(np.asarray(jax.random.key_data(key))) for key in keys}) == 2
    one_key, many_keys = (TRAINERS["persistent chains"](machines, key) for key in (KEYS[0], keys))
    _assert_same(one_key, many_keys)


@pytest.mark.parametrize("case", ["gibbs", "mean field", "persistent chains", "heuristic-fi"])
def test_compiled_functions_compute_what_their_python_says(case):
    """The same function step by step, without compiling; where numbers are drawn, with the same draws."""
    machine = _machines(case)[0]
    compiled = PURE[case](machine, KEYS[0])
    with jax.disable_jit():
        _assert_same(PURE[case](machine, KEYS[0]), compiled, 2e-5)


@pytest.mark.parametrize("case", [*PURE, *TRAINERS])
def test_results_are_pytrees_and_a_saved_machine_gives_the_same(case, tmp_path):
    function, machine = (PURE | TRAINERS)[case], _machines(case)[0]
    found = function(machine, KEYS[0])
    leaves, structure = jax.tree.flatten(found)
    assert leaves and all(isinstance(leaf, jax.Array) for leaf in leaves)
    _assert_same(jax.tree.unflatten(structure, leaves), found)
    assert type(jax.tree.unflatten(structure, leaves)) is type(found)
    save_machine(machine, tmp_path / "machine.safetensors")
    _assert_same(function(load_machine(tmp_path / "machine.safetensors"), KEYS[0]), found)


@pytest.mark.parametrize("case", TRAINERS)
def test_trained_machines_come_back_from_their_files(case, tmp_path):
    trained = TRAINERS[case](_machines(case)[0], KEYS[0])
    save_machine(trained, tmp_path / "trained.safetensors")
    assert eqx.tree_equal(load_machine(tmp_path / "trained.safetensors"), trained)


@pytest.mark.parametrize("criterion", criterion_names())
def test_pruning_by_every_criterion(criterion, tmp_path):
    """Deterministic given the key; the machine given stays; the pruned one comes back from its file."""
    machine = _machines(criterion)[0]
    before = jax.tree.map(np.array, machine)
    pruned, again = (prune(machine, criterion, 0.3, key=KEYS[0], source=STATES, visible=ROWS) for _ in range(2))
    _assert_same(pruned, again)
    _assert_same(machine, before)
    assert pruned.n_synapses < machine.n_synapses
    save_machine(pruned, tmp_path / "pruned.safetensors")
    assert eqx.tree_equal(load_machine(tmp_path / "pruned.safetensors"), pruned)


@pytest.mark.parametrize("case", [*PURE, "exact moments", "exact gradient of rows"])
def test_a_second_call_with_equal_shapes_compiles_nothing(case):
    exact: dict[str, Case] = {
        "exact moments": lambda m, k: enumeration.moments(m),
        "exact gradient of rows": lambda m, k: enumeration.gradient(m, ROWS.astype(float)),
    }
    function, (first, second) = (PURE | exact)[case], _machines(case)
    function(first, KEYS[0])
    with _counted_compilations() as compiled:
        function(second, KEYS[1])
    assert compiled == []


@pytest.mark.parametrize("case", TRAINERS)
def test_training_again_with_other_rates_and_epochs_compiles_nothing(case):
    function, (first, second) = TRAINERS[case], _machines(case)
    function(first, KEYS[0])
    with _counted_compilations() as compiled:
        function(second, KEYS[1], n_epochs=3, learning_rate=(0.02, 0.01), schedule="cosine")
    assert compiled == []


def test_the_count_of_compilations_sees_a_new_shape():
    """Twin of the two tests above: another number of chains has to be compiled."""
    machine = _machines("gibbs")[0]
    with _counted_compilations() as compiled:
        sampling.gibbs(machine, sampling.random_states(machine, KEYS[0], 9), KEYS[0], 2)
    assert len(compiled) >= 2


N_CHAINS = 8
SAMPLER_OBJECTS: dict[str, Sampler] = {
    "gibbs": Gibbs(n_sweeps=2),
    "tempering": Tempering(n_temperatures=3, n_sweeps=2, n_adaptation=8),
}
MODELS: dict[str, list[Machine | PairwiseModel]] = {
    "machine": [small_machine("dbm-2-hidden", masked=True, seed=seed) for seed in (0, 1)],
    "pairwise model": [small_model(5, seed) for seed in (0, 1)],
}
every_sampler_and_model = pytest.mark.parametrize(
    ("sampler", "models"),
    [(sampler, models) for sampler in SAMPLER_OBJECTS.values() for models in MODELS.values()],
    ids=[f"{sampler}, {models}" for sampler in SAMPLER_OBJECTS for models in MODELS],
)


def _step(sampler: Sampler, model: Machine | PairwiseModel, state: Any, key: jax.Array) -> tuple[Any, Any]:
    return sampler.step(model, state, key)


@eqx.filter_jit
def _stepped(sampler: Sampler, model: Machine | PairwiseModel, key: jax.Array) -> tuple[Any, Any]:
    """State at a dispersed start, and state and info two steps later."""
    key_init, first, second = jax.random.split(key, 3)
    begun = sampler.init(model, key_init, N_CHAINS)
    return begun, _step(sampler, model, _step(sampler, model, begun, first)[0], second)


@every_sampler_and_model
def test_samplers_keep_the_shapes_of_their_chains(sampler, models):
    """``init`` and ``step`` return pytrees of arrays; a step changes no shape, type or structure of the state."""
    model = models[0]
    state, (after, info) = _stepped(sampler, model, KEYS[0])
    assert isinstance(sampler, Sampler) and hash(sampler) == hash(type(sampler)(**vars(sampler)))
    structures: list[Any] = [jax.tree.structure(each) for each in (state, after)]
    assert structures[0] == structures[1]
    for old, new in zip(jax.tree.leaves(state), jax.tree.leaves(after), strict=True):
        assert isinstance(new, jax.Array) and (new.shape, new.dtype) == (old.shape, old.dtype)
    shapes = [(N_CHAINS, n) for n in model.layer_sizes]
    for layers in (state.states, after.states, info.means):
        assert [layer.shape for layer in layers] == shapes and all(layer.dtype == np.float32 for layer in layers)
    for layer in (*state.states, *after.states):
        assert set(np.unique(layer)) <= {0.0, 1.0}
    assert info.energy.shape == (N_CHAINS,)


@every_sampler_and_model
def test_info_of_a_step_is_that_of_its_states(sampler, models):
    """The energy in nats; even layers as they are, odd ones as probabilities given the even ones."""
    model = models[0]
    begun, (state, info) = _stepped(sampler, model, KEYS[0])

    def check(states: Any) -> None:
        np.testing.assert_allclose(info.energy, model.energy(states), atol=1e-5)
        for layer, means in enumerate(info.means):
            odd = isinstance(model, Machine) and layer % 2
            expected = jax.nn.sigmoid(model.total_input(states, layer)) if odd else states[layer]
            np.testing.assert_allclose(means, expected, atol=1e-6)

    check(state.states)
    with pytest.raises(AssertionError):  # a planted fault: the info of other states
        check(begun.states)


@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("name", SAMPLER_OBJECTS)
def test_samplers_start_where_they_are_told(name, kind, value):
    """Silence and a burst weigh the same and no unit leaves either alone; hot replicas may bring a few chains over."""
    sampler, model = SAMPLER_OBJECTS[name], _two_states(kind)
    start = tuple(jnp.full((N_CHAINS, n), value, jnp.float32) for n in model.layer_sizes)
    state, again = (eqx.filter_jit(sampler.init)(model, KEYS[0], N_CHAINS, start) for _ in range(2))
    if name == "gibbs":
        _assert_same(state.states, start)
    assert all(abs(float(layer.mean()) - value) < 0.3 for layer in state.states)
    _assert_same(again, state)


def _two_states(kind: str) -> Machine | PairwiseModel:
    """Strong positive weights, and biases of minus half of what each unit gets from all others."""
    if kind == "pairwise model":
        return PairwiseModel(np.full(5, -200.0), 100 * (1 - np.eye(5)))
    return Machine([np.full((4, 3), 100.0), np.full((3, 5), 100.0)], [np.full(n, -50.0 * k) for n, k in _NEIGHBOURS])


_NEIGHBOURS = ((4, 3), (3, 9), (5, 3))
"""Units of each layer of the machine above, and of the layers beside it."""


@every_sampler_and_model
def test_samplers_of_stacked_models_are_the_loop_over_single_ones(sampler, models):
    singles = [_stepped(sampler, model, key) for model, key in zip(models, KEYS, strict=True)]

    def both_steps(model: Machine | PairwiseModel, key: jax.Array) -> tuple[Any, Any]:
        return _stepped(sampler, model, key)

    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)
    together = jax.jit(jax.vmap(both_steps))(stacked, KEYS)
    for single, found in zip(singles, unstack(together), strict=True):
        _assert_same(found, single, 2e-5)


@every_sampler_and_model
def test_samplers_compute_what_their_python_says(sampler, models):
    """One step, without compiling."""
    state, _ = _stepped(sampler, models[0], KEYS[0])
    compiled = eqx.filter_jit(_step)(sampler, models[0], state, KEYS[1])
    with jax.disable_jit():
        _assert_same(_step(sampler, models[0], state, KEYS[1]), compiled, 2e-5)


@every_sampler_and_model
def test_a_second_model_of_equal_shape_compiles_no_sampler_anew(sampler, models):
    """Draws and averages; an equal sampler made anew counts as the same."""
    again = type(sampler)(**vars(sampler))
    schedule: dict[str, Any] = {"n_draws": 4, "n_chains": N_CHAINS, "n_burn_in": 2, "start": "biases"}
    for number, (model, one) in enumerate(zip(models, (sampler, again), strict=True)):
        with _counted_compilations() as compiled, warnings.catch_warnings():
            warnings.simplefilter("ignore", NotToBeTrusted)  # four draws are too few, whatever the sampler
            sampling.sample(model, KEYS[number], sampler=one, **schedule)
            sampling.moments(model, KEYS[number], sampler=one, **schedule)
        assert number == 0 or compiled == []


@every_sampler_and_model
def test_samplers_draw_in_single_precision_where_64_bit_is_switched_on(sampler, models):
    """The same draws as where it is not."""
    expected = _stepped(sampler, models[0], KEYS[0])
    with jax.enable_x64(True):
        found = _stepped(sampler, models[0], KEYS[0])
    _assert_same(found, expected, 2e-5)
    assert all(layer.dtype == np.float32 for layer in found[0].states)
    assert [leaf.dtype for leaf in jax.tree.leaves(found)] == [leaf.dtype for leaf in jax.tree.leaves(expected)]
