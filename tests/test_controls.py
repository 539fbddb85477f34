"""Controls and schedules of a study: what each leaves, against counts, masks and machines found independently."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import secateur as sc
from secateur import fisher
from secateur.model import enumeration
from secateur.model.randomness import child_key
from secateur.model.trials import unstack
from secateur.pruning import number_to_remove, prune_and_retrain, regrow, schedule_named, weight_gradient
from secateur.report.drawing import shown_of
from secateur.report.page import write_report
from secateur.storage.progress import Silent
from secateur.studies import StudyFolder, load_config
from secateur.studies.config import resolved
from secateur.studies.controls import shuffled
from secateur.studies.further_schedules import OVERSHOOT, _is_back
from secateur.studies.learning_schedules import trace_of
from secateur.studies.lines import CONTROLS, SCHEDULES, Line
from secateur.studies.measures.controls import Controls
from secateur.studies.study import Study
from secateur.training import TrainingSettings

N_ROUNDS, SHARE, N_VISIBLE, N_HIDDEN = 2, 0.4, 9, 5
T, R = 6, 2  # epochs of the first training and of a retraining

SETTINGS = {
    "trials": 2,
    "rounds": N_ROUNDS,
    "criteria": ["weight-magnitude"],
    "model.hidden": [N_HIDDEN],
    "importance": "exact",
    "training.n_epochs": T,
    "training.batch_size": 20,
    "retraining.n_epochs": R,
    "retraining.batch_size": 20,
    "pruning.fraction": SHARE,
    "measures": ["exact-likelihood", "controls"],
}
ALL = SETTINGS | {"controls": list(CONTROLS), "schedules": list(SCHEDULES)}
RULE = "weight-magnitude"
COUNTS = [45, 27, 16]  # 45 less two fifths, rounded as rules round


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    hidden = rng.random((200, 3)) < 0.5
    return {"rows": (rng.random((200, 9)) < 0.15 + 0.7 * np.repeat(hidden, 3, axis=1)).astype(np.uint8)}


@pytest.fixture(scope="module")
def folder(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("controls") / "study"
    sc.studies.run(ALL, out, data=data)
    return StudyFolder(out)


@pytest.fixture(scope="module")
def results(folder):
    return folder.results


def full_mask(machine):
    """The mask in the arrays of the untrained machine, and its weights."""
    mask, weights = np.zeros((N_VISIBLE, N_HIDDEN), bool), np.zeros((N_VISIBLE, N_HIDDEN), np.float32)
    place = np.ix_(*(np.asarray(numbers) for numbers in machine.unit_indices))
    mask[place], weights[place] = np.asarray(machine.masks[0]), np.asarray(machine.weights[0])
    return mask, weights


def of(folder, name, number, trial=0):
    line = name if name in ("equal-training", RULE) else f"{RULE}/{name}"
    return full_mask(folder.load_machine(trial, line, number))


def n_synapses(results, name):
    line = name if name in ("equal-training", RULE) else f"{RULE}/{name}"
    return results["n_synapses"].sel(criterion=line).isel(matrix=0).values


def test_lines_are_rules_then_schedules_then_controls():
    config = load_config("patches", "quick", {"criteria": ["random", "anti-fi"], "schedules": ["cubic"]})
    config = config.model_copy(update={"controls": ("rewind", "equal-training")})
    rest = ("random/cubic", "anti-fi/cubic", "random/rewind", "anti-fi/rewind", "equal-training")
    assert config.lines == ("random", "anti-fi", *rest)
    assert Line.named("random/rewind").builds_on == "random" and Line.named("equal-training").builds_on is None


@pytest.mark.parametrize(
    ("setting", "name", "told"),
    [
        ("controls", "scratch-masks", r"did you mean 'scratch-mask'\?"),
        ("controls", "rewind,rewind", "must not name a control twice"),
        ("schedules", "cubical", r"did you mean 'cubic'\?"),
        ("schedules", "scratch-mask", "unknown schedule"),
    ],
)
def test_unknown_names_are_refused(setting, name, told):
    with pytest.raises(ValueError, match=told):
        load_config("patches", "quick", {setting: name.split(",")})


@pytest.mark.parametrize("number", [1, 2])
def test_masks_of_controls_are_what_their_names_say(folder, number):
    mask, weights = of(folder, RULE, number)
    same, new = of(folder, "scratch-mask", number)
    np.testing.assert_array_equal(same, mask)
    assert abs(new - weights)[mask].min() > 0  # weights of its own
    sizes, _ = of(folder, "scratch-sizes", number)
    np.testing.assert_array_equal(sizes, np.broadcast_to(mask.any(axis=0), mask.shape))
    other, _ = of(folder, "shuffled-mask", number)
    for axis in (0, 1):
        np.testing.assert_array_equal(other.sum(axis=axis), mask.sum(axis=axis))
    assert (other != mask).any()
    back, _ = of(folder, "rewind", number)
    np.testing.assert_array_equal(back, mask)
    never, _ = of(folder, "equal-training", number)
    assert never.all()


def test_controls_have_as_many_synapses_and_as_much_training(results):
    for name in (RULE, "scratch-mask", "shuffled-mask", "rewind"):
        np.testing.assert_array_equal(n_synapses(results, name), [COUNTS] * 2)
    # Units that are left dead take synapses with them.
    first = n_synapses(results, "prune-first")
    assert (first <= COUNTS).all() and (first[:, 1:] >= np.array(COUNTS[1:]) - 4).all()
    expected = [T, T + R, T + 2 * R]
    for name in (RULE, *CONTROLS, "one-shot", "cubic", "regrowth"):
        line = name if name in (RULE, "equal-training") else f"{RULE}/{name}"
        np.testing.assert_array_equal(results["n_epochs"].sel(criterion=line).values, [expected] * 2)


def test_pruned_before_training_takes_the_smallest_of_the_first_weights(folder, data):
    study = Study(folder.config, [0, 1])
    keys = child_key(child_key(study.keys, "pruning", f"{RULE}/prune-first"), 2)
    first = unstack(study.first_machines(child_key(keys, "start")))[1]
    weights = abs(np.asarray(first.weights[0]))
    expected = weights >= np.sort(weights.ravel())[-COUNTS[2]]
    alive = expected.any(axis=0)
    np.testing.assert_array_equal(of(folder, "prune-first", 2, trial=1)[0], expected & alive[None, :])


def test_a_study_without_controls_has_the_same_rules(data, tmp_path, results):
    alone = sc.studies.run(SETTINGS, tmp_path / "alone", data=data)
    for name in alone:
        if "criterion" in alone[name].dims:
            np.testing.assert_array_equal(alone[name].values, results[name].sel(criterion=[RULE]).values)


class _Interrupted(Silent):
    """Stops at a line and round; as a user who presses Ctrl-C."""

    def __init__(self, where):
        self.where = where

    def describe(self, what):
        if self.where in what:
            raise KeyboardInterrupt


@pytest.mark.parametrize("where", ["fisher-plateau, round 2", "rewind, round 2"])
def test_an_interrupted_study_goes_on_with_the_same_numbers(where, data, tmp_path, results):
    # One thread, so that it stops there and nowhere else.
    with pytest.raises(KeyboardInterrupt):
        sc.studies.run(ALL | {"threads": 1}, tmp_path / "study", data=data, progress=_Interrupted(where))
    again = sc.studies.resume(tmp_path / "study")
    for name in results:
        np.testing.assert_array_equal(again[name].values, results[name].values, err_msg=str(name))


def test_controls_of_some_rounds(data, tmp_path, results):
    few = {"controls": ["scratch-mask"], "control_rounds": [2], "criteria": [RULE]}
    found = sc.studies.run(SETTINGS | few, tmp_path / "study", data=data)
    line = f"{RULE}/scratch-mask"
    values = found["test_log_likelihood"].sel(criterion=line, stage="retrained").values
    assert np.isnan(values[:, 1]).all()
    expected = results["test_log_likelihood"].sel(criterion=line, stage="retrained").values
    np.testing.assert_array_equal(values[:, 2], expected[:, 2])


class TestShuffled:
    """Degrees stay, places that are not allowed stay empty, and every mask of these degrees is as likely."""

    def test_all_masks_of_given_degrees_are_as_likely(self):
        mask = np.eye(3, dtype=bool)
        found = [shuffled(mask, np.ones((3, 3), bool), np.random.default_rng(n)) for n in range(600)]
        counts = np.unique([one.ravel() for one in found], axis=0, return_counts=True)[1]
        # Six permutations, 100 each: chi-square of 5 degrees exceeds 25.7 once in ten thousand.
        assert len(counts) == 6 and ((counts - 100) ** 2 / 100).sum() < 25.7

    def test_only_allowed_places(self):
        rng = np.random.default_rng(1)
        allowed = rng.random((20, 12)) < 0.6
        mask = allowed & (rng.random((20, 12)) < 0.5)
        other = shuffled(mask, allowed, rng)
        assert not (other & ~allowed).any() and (other != mask).sum() > 40
        for axis in (0, 1):
            np.testing.assert_array_equal(other.sum(axis=axis), mask.sum(axis=axis))


class TestSchedules:
    """How many synapses go when."""

    def test_one_shot_removes_all_in_the_first_round(self, results, folder):
        final = 45 - number_to_remove(45, 1 - (1 - SHARE) ** 2)
        np.testing.assert_array_equal(n_synapses(results, "one-shot"), [[45, final, final]] * 2)
        first, second = (of(folder, "one-shot", number)[1] for number in (1, 2))
        assert (first != second).any()  # the second round retrains

    def test_cubic(self, results):
        gone = 1 - (1 - SHARE) ** 2
        first = 1 - gone * (1 - 0.5**3)
        expected = 45 - number_to_remove(45, 1 - first)
        counts = n_synapses(results, "cubic")
        np.testing.assert_array_equal(counts[:, 1], expected)
        assert abs(counts[:, 2] - 45 * (1 - gone)).max() <= 1

    def test_shares_of_many_rounds_end_where_rounds_do(self):
        rng = np.random.default_rng(0)
        machine = sc.Machine.random((40, 30), jax.random.key(0))
        rows = (rng.random((20, 40)) < 0.5).astype(np.float32)
        settings = TrainingSettings(method="cd", n_epochs=1, batch_size=20)
        how: dict[str, Any] = {"n_rounds": 5, "fraction": 0.3, "retraining": settings, "key": jax.random.key(1)}
        ends = {}
        for name in ("rounds", "cubic", "one-shot"):
            rounds = list(schedule_named(name)(machine, rows, "weight-magnitude", **how))
            ends[name] = [found.retrained.n_synapses for found in rounds]
        assert abs(ends["cubic"][-1] - ends["rounds"][-1]) <= 3 and abs(ends["one-shot"][-1] - ends["rounds"][-1]) <= 3
        assert ends["cubic"][0] < ends["rounds"][0]
        built_in = [r.retrained.n_synapses for r in prune_and_retrain(machine, rows, "weight-magnitude", **how)]
        assert built_in == ends["rounds"]

    def test_while_learning_prunes_at_thirds_of_the_first_training(self, results):
        line = f"{RULE}/while-learning"
        np.testing.assert_allclose(results["n_epochs"].sel(criterion=line).values[:, 1:], [[4, 6 + 2 * R]] * 2)
        np.testing.assert_array_equal(n_synapses(results, "while-learning"), [COUNTS] * 2)

    def test_at_plateaus_all_training_is_the_same_in_the_end(self, results):
        line = f"{RULE}/fisher-plateau"
        epochs = results["n_epochs"].sel(criterion=line).values
        np.testing.assert_array_equal(epochs[:, 2], T + 2 * R)
        assert (epochs[:, 1] <= T + R).all()
        np.testing.assert_array_equal(n_synapses(results, "fisher-plateau"), [COUNTS] * 2)

    @pytest.mark.parametrize("name", ["regrowth", "gradient-regrowth"])
    def test_regrowth_ends_with_as_many_and_brings_synapses_back(self, name, results, folder):
        np.testing.assert_array_equal(n_synapses(results, name), [COUNTS] * 2)
        (first, _), (second, _) = of(folder, name, 1), of(folder, name, 2)
        assert (second & ~first).any()  # what had gone is there again
        assert OVERSHOOT == 0.3

    def test_refits_take_at_least_one_retraining_and_prune(self, results):
        epochs = results["n_epochs"].sel(criterion=f"{RULE}/refit-to-target").values
        assert (np.diff(epochs, axis=1) >= R).all() and (np.diff(epochs, axis=1) % R == 0).all()
        assert (np.diff(n_synapses(results, "refit-to-target"), axis=1) < 0).all()

    def test_a_score_is_back_within_two_standard_errors(self):
        assert _is_back(np.array([-1.0, 1.0, -1.2, 0.9])) and not _is_back(np.array([-1.0, -1.1, -0.9, -1.0]))


class TestRegrow:
    """Synapses that come back: how many, where, and by which gradient."""

    @pytest.fixture
    def pruned(self):
        machine = sc.Machine.random((6, 4), jax.random.key(0), weight_scale=1.0)
        mask = np.zeros((6, 4), bool)
        mask[:3] = True
        return machine.with_masks([mask])

    def test_where_the_gain_is_largest(self, pruned):
        gain = np.arange(24.0).reshape(6, 4) * np.where(np.arange(24).reshape(6, 4) % 2, -1, 1)
        allowed = np.ones((6, 4), bool)
        allowed[5, 3] = False
        more = regrow(pruned, [allowed], [15], jax.random.key(1), [gain])
        expected = np.array(pruned.masks[0])
        expected.ravel()[[22, 21, 20]] = True
        np.testing.assert_array_equal(more.masks[0], expected)
        assert enumeration.log_partition(more) == pytest.approx(enumeration.log_partition(pruned), abs=1e-12)

    def test_no_more_than_are_allowed(self, pruned):
        assert regrow(pruned, [pruned.masks[0]], [20], jax.random.key(1)).n_synapses == 12

    def test_the_gradient_is_that_of_the_likelihood(self, pruned):
        """By finite differences of the exact mean log-probability, absent synapses included."""
        rows = (np.random.default_rng(0).random((30, 6)) < 0.4).astype(np.float32)
        found = weight_gradient(pruned, rows, "exact")[0]
        whole = regrow(pruned, [np.ones((6, 4), bool)], [24], jax.random.key(0))
        step = 0.25
        for i, j in ((0, 0), (4, 2), (5, 3)):
            change = np.zeros((6, 4), np.float32)
            change[i, j] = step

            def score(sign, change=change):
                moved = whole.with_parameters(type(whole.parameters)((whole.weights[0] + sign * change,), whole.biases))
                return float(enumeration.log_probability(moved, rows).mean())

            # Richardson: exact to the fourth order of the step.
            coarse = (score(1) - score(-1)) / (2 * step)
            change /= 2
            fine = (score(1) - score(-1)) / step
            assert (4 * fine - coarse) / 3 == pytest.approx(found[i, j], abs=2e-4)

    def test_the_trace_is_that_of_the_dense_matrix(self, pruned):
        whole = sc.Machine.random((5, 4), jax.random.key(2), weight_scale=1.0)
        dense = fisher.matrix(whole, "exact").dense()
        assert trace_of(whole, "exact") == pytest.approx(float(np.trace(dense)), rel=1e-5)


def test_the_report_compares_lines_with_their_rule(folder, results, monkeypatch):
    page = write_report(folder).read_text()
    for name in ("controls-likelihood", "schedules-likelihood"):
        assert (folder.path / "figures" / f"{name}.png").is_file()
    values = results["test_log_likelihood"].sel(stage="retrained").isel(round=-1)
    difference = (values.sel(criterion=f"{RULE}/scratch-mask") - values.sel(criterion=RULE)).values
    told = f"{difference.mean():+.2f}".replace("-", "\N{MINUS SIGN}")
    (sentence,) = [s for s in Controls().findings(shown_of(folder)) if s.startswith("Same mask from scratch")]
    assert f"|w| {told}\N{NO-BREAK SPACE}±" in sentence and sentence in page.replace("&#39;", "'")
    # Other figures show rules alone.
    assert list(shown_of(folder).results["criterion"].values) == [RULE]


@pytest.mark.parametrize("name", ["controls", "schedules"])
def test_built_in_studies_name_known_controls_and_schedules(name):
    for size in ("quick", "paper"):
        config = load_config(name, size)
        assert len(config.lines) > len(config.criteria) and resolved(config.model_dump(exclude_none=True))
