"""The scikit-learn facade: scikit-learn's own checks, agreement with the exact answers, and refusals."""

from __future__ import annotations

import copy
import doctest
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from brute_force import BruteForce
from secateur import fisher, receptive_field_mask
from secateur.estimator import BoltzmannMachine, boltzmann_machine
from secateur.likelihood import LogPartition, beside_independent_units, rates_of
from secateur.model import enumeration
from secateur.model.trust import NotToBeTrusted, PoorFit, Verdict
from secateur.pruning import ImportanceSampling
from secateur.training import TrainingSettings, settings_for
from statistical import FAULTS, GROUPED, assert_within_errors, judged, with_twins

pytestmark = pytest.mark.filterwarnings("ignore::secateur.model.trust.PoorFit")  # what is fitted here is fitted briefly

N_ROWS, N_VISIBLE = 40, 6
QUICK: dict[str, Any] = {
    **{"n_epochs": 100, "batch_size": 10, "n_chains": 10},
    **{"optimizer": "sgd", "learning_rate": 0.3, "random_state": 5},
}
"""Many epochs of few updates: strong, asymmetric couplings in no time."""


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    """Binary rows of two kinds, which differ in the rates of all columns."""
    rng = np.random.default_rng(0)
    rates = np.array([[0.9, 0.8, 0.9, 0.2, 0.1, 0.3], [0.1, 0.2, 0.3, 0.8, 0.7, 0.9]])
    return (rng.random((N_ROWS, N_VISIBLE)) < rates[rng.integers(0, 2, N_ROWS)]).astype(float)


@pytest.fixture(scope="module", params=[(4,), (4, 3)], ids=["rbm", "dbm"])
def fitted(request, rows) -> BoltzmannMachine:
    return BoltzmannMachine(hidden=request.param, **QUICK).fit(rows)


@pytest.fixture
def too_large(fitted, monkeypatch) -> BoltzmannMachine:
    """The same machine while every machine counts as too large to be enumerated, with no log Z kept from before."""
    monkeypatch.setattr(enumeration, "MAX_UNITS", 0)
    fresh = copy.copy(fitted)
    fresh._log_partition = None
    return fresh


def _few(**parameters: Any) -> BoltzmannMachine:
    """The defaults but for the time they take."""
    return BoltzmannMachine(n_epochs=1, **parameters)


@pytest.mark.filterwarnings("ignore:X holds values")
@parametrize_with_checks([_few(), _few(hidden=(3, 2), binarize=0.0)])
def test_scikit_learn_finds_no_fault(estimator, check):
    """All of scikit-learn's checks; none is expected to fail."""
    check(estimator)


def test_the_example_of_the_docstring_runs():
    failed, attempted = doctest.testmod(boltzmann_machine)
    assert failed == 0 < attempted


def test_constructor_leaves_to_the_data_what_settings_for_chooses():
    parameters = BoltzmannMachine().get_params()
    shared = set(parameters) & set(TrainingSettings.model_fields)
    left = {name for name in shared if parameters[name] is None} - {"max_norm", "sparsity_target"}
    assert left == {"n_epochs", "batch_size", "learning_rate", "n_chains"}
    kept = shared - left - {"optimizer"}
    assert {name: parameters[name] for name in kept} == TrainingSettings().model_dump(include=kept)


class TestDefaults:
    @pytest.mark.parametrize("hidden", [12, (8, 5)], ids=["rbm", "dbm"])
    def test_they_learn_without_a_warning(self, rows, hidden):
        with warnings.catch_warnings():
            warnings.simplefilter("error", PoorFit)
            model = BoltzmannMachine(hidden=hidden, random_state=0).fit(np.tile(rows, (2, 1)))
        found = beside_independent_units(model.machine_, rows, rates_of(rows), model.log_partition_)
        assert found.better and found.gain > 0.2
        assert model.settings_ == settings_for(2 * N_ROWS, model.machine_.layer_sizes)

    def test_what_has_learnt_nothing_warns(self, rows, monkeypatch):
        idle = BoltzmannMachine(hidden=(4,), **(QUICK | {"n_epochs": 1, "learning_rate": 1e-6}))
        for limit in (enumeration.MAX_UNITS, 0):  # exact, annealed
            monkeypatch.setattr(enumeration, "MAX_UNITS", limit)
            with pytest.warns(PoorFit, match="no better than independent units on the rows it was trained on .*gain"):
                clone(idle).fit(rows)

    def test_features_that_are_the_same_for_all_rows_warn(self, rows):
        wild = BoltzmannMachine(hidden=(4,), **(QUICK | {"n_epochs": 1, "learning_rate": 1e4}))
        with pytest.warns(PoorFit, match="of the features are the same for all rows; lower the learning rate"):
            wild.fit(rows)

    def test_the_rate_fits_the_width_of_the_rows(self):
        narrow, wide = (settings_for(1000, (n, 10)).learning_rate for n in (64, 4096))
        assert narrow == (0.02, 0.0005) and wide == (0.0013, 0.000031)
        assert settings_for(1000, (64, 10), optimizer="sgd").learning_rate == TrainingSettings().learning_rate
        assert settings_for(1000, (64, 10), n_epochs=3, batch_size=None).n_epochs == 3

    def test_beside_independent_units_is_exact(self, rows, fitted):
        rates = rates_of(rows)
        found = beside_independent_units(fitted.machine_, rows, rates, fitted.log_partition_)
        alone = np.log(np.where(rows == 1, rates, 1 - rates)).sum(axis=1)
        gains = BruteForce(fitted.machine_).log_probability(rows) - alone
        assert found.gain == pytest.approx(gains.mean(), abs=1e-4)
        assert found.standard_error == pytest.approx(gains.std(ddof=1) / np.sqrt(N_ROWS), abs=1e-4)
        assert found.quantity == "exact log p(v)" and found.better
        with pytest.raises(ValueError, match="^rates must be 6 numbers between 0 and 1, got shape"):
            beside_independent_units(fitted.machine_, rows, np.zeros(6), fitted.log_partition_)

    def test_chains_can_start_at_rows(self, rows, too_large):
        at_data = ImportanceSampling(start="data", n_chains=4, n_draws=4, n_burn_in=5)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotToBeTrusted)
            assert too_large.fisher(X=rows, importance=at_data).diagnostics is not None
            pruned = too_large.prune("variance-fi", 0.5, X=rows, retrain_epochs=1, importance=at_data)
        assert pruned.machine_.n_synapses < too_large.machine_.n_synapses


class TestFit:
    def test_types_of_input_do_not_matter(self, rows, fitted):
        for dtype in (np.float32, np.int64, np.uint8, bool):
            again = clone(fitted).fit(rows.astype(dtype))
            jax.tree.map(np.testing.assert_array_equal, again.machine_, fitted.machine_)

    def test_binarize_is_a_threshold_above_which_values_become_1(self, rows, fitted):
        greys = np.where(rows == 1, 0.5 + 1e-9, 0.5)
        again = clone(fitted).set_params(binarize=0.5).fit(greys)
        jax.tree.map(np.testing.assert_array_equal, again.machine_, fitted.machine_)
        np.testing.assert_array_equal(again.transform(greys), fitted.transform(rows))

    def test_random_state_decides_everything(self, rows, fitted):
        def weights(random_state):
            return np.asarray(clone(fitted).set_params(random_state=random_state).fit(rows).machine_.weights[0])

        np.testing.assert_array_equal(weights(np.random.RandomState(5)), weights(5))
        distinct = [weights(0), weights(5), weights(None), weights(None)]
        assert all((a != b).any() for i, a in enumerate(distinct) for b in distinct[:i])

    def test_history_has_one_entry_per_epoch(self, fitted):
        assert fitted.history_.pseudo_likelihood.shape == (QUICK["n_epochs"],)

    def test_training_raises_the_likelihood(self, rows, fitted):
        short = clone(fitted).set_params(n_epochs=1, learning_rate=1e-6).fit(rows)
        assert fitted.score(rows) > short.score(rows) + 0.3

    def test_greedy_pretraining_comes_before_joint_training(self, rows):
        deep = BoltzmannMachine(hidden=(4, 3), **(QUICK | {"n_epochs": 1}))
        largest = [
            max(abs(np.asarray(w)).max() for w in clone(deep).set_params(pretrain_epochs=n).fit(rows).machine_.weights)
            for n in (0, QUICK["n_epochs"])
        ]
        assert largest[0] < 0.2 < 0.5 < largest[1]

    def test_receptive_fields_hold(self, rows):
        quick = QUICK | {"n_epochs": 2}
        model = BoltzmannMachine(hidden=(6, 3), receptive_field=1, image_shape=(2, 3), **quick).fit(rows)
        np.testing.assert_array_equal(model.machine_.masks[0], receptive_field_mask((2, 3), 1))
        assert model.machine_.synapse_counts == (6, 18)
        assert (np.asarray(model.machine_.weights[0])[~np.eye(6, dtype=bool)] == 0).all()

    def test_names_of_columns_are_kept(self, rows):
        frame = pd.DataFrame(rows, columns=[f"cell {i}" for i in range(N_VISIBLE)])
        model = BoltzmannMachine(hidden=(4,), **QUICK).set_output(transform="pandas").fit(frame)
        assert list(model.feature_names_in_) == list(frame.columns)
        encoded = model.transform(frame)
        assert list(encoded.columns) == [f"boltzmannmachine{i}" for i in range(4)]
        assert (encoded.dtypes == np.float64).all()  # like the rows
        assert (model.transform(frame.astype(np.float32)).dtypes == np.float32).all()


class TestTransform:
    def test_is_the_exact_posterior_of_one_hidden_layer(self, rows):
        model = BoltzmannMachine(hidden=(4,), **QUICK).fit(rows)
        judge = BruteForce(model.machine_)
        exact = [judge.posterior(row) @ judge.states[1] for row in rows]
        np.testing.assert_allclose(model.transform(rows), exact, atol=1e-6)

    def test_rows_do_not_depend_on_each_other(self, rows, fitted):
        together = fitted.transform(rows)
        np.testing.assert_allclose(np.vstack([fitted.transform(row[None, :]) for row in rows]), together, atol=1e-6)


class TestScore:
    def test_is_exact_where_log_z_can_be_enumerated(self, rows, fitted):
        assert fitted.score_quantity_ == "exact log p(v) in nats"
        exact = BruteForce(fitted.machine_).log_probability(rows)
        np.testing.assert_allclose(fitted.score_samples(rows), exact, atol=1e-5)
        assert fitted.score(rows) == pytest.approx(exact.mean(), abs=1e-5)
        assert fitted.log_partition_.standard_error == 0

    @pytest.mark.parametrize("fault", ["right", "wrong temperature", "wrong sign"])
    def test_beyond_enumeration_log_z_is_estimated(self, too_large, fault):
        exact = BruteForce(too_large.machine_).log_z
        too_large.machine_ = FAULTS[fault](too_large.machine_)
        found = too_large.log_partition_
        with judged(fault):
            assert_within_errors(found.estimate, found.standard_error, exact)

    def test_beyond_enumeration_it_says_what_it_is(self, rows, too_large):
        exact = BruteForce(too_large.machine_)
        # What is left when the error of log Z, common to all rows, is taken away.
        error = too_large.score_samples(rows) - exact.log_probability(rows) + too_large.log_partition_.estimate
        error -= exact.log_z
        if too_large.machine_.n_layers == 2:
            assert too_large.score_quantity_ == "log p(v) in nats, with an estimated log Z"
            np.testing.assert_allclose(error, 0, atol=1e-5)
        else:
            assert too_large.score_quantity_.startswith("variational lower bound on log p(v) in nats, with an")
            assert error.max() < 1e-5
            assert error.min() < -1e-4

    def test_equal_calls_give_equal_numbers(self, rows, too_large):
        first = too_large.score_samples(rows)
        too_large._log_partition = None
        np.testing.assert_array_equal(too_large.score_samples(rows), first)

    def test_a_failed_estimate_of_log_z_warns(self, rows, too_large):
        verdict = Verdict(("effective sample size 2.5 of the annealing runs; take more chains",))
        too_large._log_partition = LogPartition(3.0, 0.9, 2.5, 256, 2000, "ais", verdict=verdict)
        with pytest.warns(NotToBeTrusted, match="log Z, and so .*, is NOT TO BE TRUSTED: effective sample size 2.5 of"):
            too_large.score_samples(rows)


class TestSample:
    def test_rows_are_binary_and_repeatable(self, fitted):
        drawn = fitted.sample(50)
        assert drawn.shape == (50, N_VISIBLE)
        assert set(np.unique(drawn)) == {0, 1}
        np.testing.assert_array_equal(fitted.sample(50), drawn)
        assert (fitted.sample(50, random_state=7) != drawn).any()
        np.testing.assert_array_equal(
            fitted.sample(50, random_state=np.random.RandomState(7)), fitted.sample(50, random_state=7)
        )

    @pytest.mark.parametrize("fault", ["right", "swapped bias"])
    def test_rows_follow_the_model(self, fitted, fault):
        exact = BruteForce(fitted.machine_).statistics()[0][0]
        distorted = copy.copy(fitted)
        distorted.machine_ = FAULTS[fault](fitted.machine_)
        drawn = distorted.sample(4096, n_sweeps=400, sampler="gibbs")
        with judged(fault):
            assert_within_errors(drawn.mean(axis=0), drawn.std(axis=0) / np.sqrt(len(drawn)), exact)


class TestFisher:
    @pytest.mark.parametrize(("kind", "measure"), [("variance", fisher.variance), ("heuristic", fisher.heuristic)])
    def test_small_machines_are_exact(self, fitted, kind, measure):
        found = fitted.fisher(kind)
        assert found.diagnostics is None
        jax.tree.map(np.testing.assert_array_equal, found, measure(fitted.machine_, "exact"))

    @with_twins
    def test_large_machines_are_sampled(self, fitted, too_large, fault):
        rates, coincidences = BruteForce(fitted.machine_).statistics()
        too_large.machine_ = FAULTS[fault](too_large.machine_)
        if fault == "wrong temperature":  # weights of a short fit are small: a tenth too much is near the errors
            too_large.machine_ = FAULTS[fault](FAULTS[fault](too_large.machine_))
        found = too_large.fisher("variance")
        exact = [p * (1 - p) for p in (*coincidences, *rates)]
        with judged(fault):
            errors = (*found.weight_errors, *found.bias_errors)
            assert_within_errors((*found.weights, *found.biases), errors, tuple(exact), GROUPED)


class TestPrune:
    def test_makes_a_new_estimator_and_leaves_the_old(self, rows, fitted):
        before = copy.deepcopy(fitted.machine_)
        score = fitted.score(rows)
        pruned = fitted.prune("variance-fi", 0.5)
        jax.tree.map(np.testing.assert_array_equal, fitted.machine_, before)
        halves = np.array(before.synapse_counts) // 2
        left = np.array(pruned.machine_.synapse_counts)
        # Half of each matrix, and what dead units take with them.
        assert (left <= halves).all() and (pruned.machine_.n_units < before.n_units or (left == halves).all())
        assert pruned.get_params() == fitted.get_params()
        assert fitted.score(rows) == score
        exact = BruteForce(pruned.machine_).log_probability(rows)
        np.testing.assert_allclose(pruned.score_samples(rows), exact, atol=1e-5)

    @pytest.mark.parametrize("criterion", ["heuristic-fi", "eigenvector-fi", "least-fi-units"])
    def test_large_machines_are_measured_by_sampling(self, too_large, criterion):
        pruned = too_large.prune(criterion, 0.5)
        assert pruned.machine_.n_synapses <= too_large.machine_.n_synapses / 2

    def test_goes_on_from_what_is_left(self, fitted):
        rounds = [fitted]
        for _ in range(2):
            rounds.append(rounds[-1].prune("random", 0.25))
        counts = [model.machine_.n_synapses for model in rounds]
        assert counts[0] > counts[1] > counts[2]
        assert (rounds[1].sample(50) != rounds[2].sample(50)).any()

    def test_retraining_keeps_the_masks_and_mends_the_likelihood(self, rows, fitted):
        pruned = fitted.prune("anti-fi", 0.5)
        retrained = fitted.prune("anti-fi", 0.5, X=rows, retrain_epochs=QUICK["n_epochs"] + 1)
        jax.tree.map(np.testing.assert_array_equal, retrained.machine_.masks, pruned.machine_.masks)
        for weight, mask in zip(retrained.machine_.weights, retrained.machine_.masks, strict=True):
            assert (np.asarray(weight)[~np.asarray(mask)] == 0).all()
        assert len(retrained.history_.pseudo_likelihood) == QUICK["n_epochs"] + 1
        assert retrained.score(rows) > pruned.score(rows)

    def test_dead_units_leave_the_output(self, rows, fitted):
        pruned = fitted.prune(lambda synapses: jnp.broadcast_to(synapses.rates_post, synapses.weights.shape), 0.5)
        n_top = pruned.machine_.layer_sizes[-1]
        assert n_top < fitted.machine_.layer_sizes[-1]
        assert pruned.transform(rows).shape == (N_ROWS, n_top)
        assert len(pruned.get_feature_names_out()) == n_top

    def test_what_removed_nothing_is_not_retrained(self, rows, fitted):
        same = fitted.prune("random", 0.01, X=rows, retrain_epochs=1)
        jax.tree.map(np.testing.assert_array_equal, same.machine_, fitted.machine_)

    @pytest.mark.parametrize(
        "arguments", [{"retrain_epochs": 3}, {"X": np.ones((2, N_VISIBLE))}], ids=["no X", "no epochs"]
    )
    def test_half_an_order_to_retrain_is_refused(self, fitted, arguments):
        with pytest.raises(ValueError, match=r"needs X and retrain_epochs, got retrain_epochs=\d with"):
            fitted.prune("random", 0.5, **arguments)


class TestWithinScikitLearn:
    LABELS = np.arange(N_ROWS) % 2

    def test_pipeline(self, rows):
        labels = rows[:, 0]
        model = BoltzmannMachine(hidden=(4,), **QUICK)
        pipeline = make_pipeline(model, LogisticRegression(C=100.0)).fit(rows, labels)
        alone = clone(model).fit(rows).transform(rows)
        np.testing.assert_array_equal(pipeline[:-1].transform(rows), alone)
        assert pipeline.score(rows, labels) > max(labels.mean(), 1 - labels.mean())

    def test_grid_search_chooses_by_score(self, rows):
        grid = {"hidden": [(4,), 4], "learning_rate": [1e-6, np.float32(0.3)], "n_epochs": [np.int64(100)]}
        search = GridSearchCV(BoltzmannMachine(**QUICK), grid, cv=2).fit(rows)
        assert search.best_params_["learning_rate"] == np.float32(0.3)
        assert search.best_score_ == max(search.cv_results_["mean_test_score"])


def _with(row: int, column: int, value: float) -> np.ndarray:
    data = np.zeros((5, N_VISIBLE))
    data[row, column] = value
    return data


class TestRefusals:
    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({"hidden": ()}, r"^hidden must be one or more positive integer\(s\), got \(\)$"),
            ({"hidden": (3, 0)}, r"^hidden must be one or more positive integer\(s\), got \(3, 0\)$"),
            ({"hidden": None}, r"^hidden must be one or more positive integer\(s\), got None$"),
            ({"hidden": 2.5}, r"^hidden must be one or more positive integer\(s\), got 2.5$"),
            (
                {"n_epochs": 0},
                r"^n_epochs \(passes through the data.*\) is refused: .* greater than or equal to 1, got 0$",
            ),
            ({"pretrain_epochs": -1}, r"^pretrain_epochs \(passes .*\) is refused: .* or equal to 1, got -1$"),
            ({"learning_rate": "a"}, r"^learning_rate \(a step is .*\) is refused: .* valid tuple, got 'a'$"),
            ({"learning_rate": (0.1, 0.1, 0.1)}, r"^learning_rate \(a step is .*\) is refused: .*at most 2 items"),
            ({"method": "bp"}, r"^method \(.*\) is refused: Input should be 'cd'.*, got 'bp'$"),
            (
                {"method": "cd", "hidden": (3, 2)},
                "^method='cd' needs one hidden layer, this machine has 2; use method='p",
            ),
            ({"binarize": "median"}, r"^binarize must be None, a threshold \(a number\), 'redraw' or 'mean', got 'med"),
            (
                {"binarize": float("nan")},
                r"^binarize must be None, a threshold \(.*\), 'redraw' or 'mean', got nan; None",
            ),
            (
                {"receptive_field": 3},
                "^receptive_field=3 needs image_shape, the height and width of the images in pixels$",
            ),
            (
                {"receptive_field": 3, "image_shape": (2, 3), "hidden": (6,)},
                "^receptive field size must be an odd number from 1 to 2 for a 2 x 3 image, got 3; choose a smaller",
            ),
            (
                {"receptive_field": 1, "image_shape": (2, 3), "hidden": (5, 2)},
                r"^receptive_field needs one unit .* per pixel, got 5 units and 6 pixels; set hidden=\(6, ...\)$",
            ),
            ({"receptive_field": (1, 1)}, r"^receptive_field must be 1 positive integer\(s\), got \(1, 1\)$"),
            ({"image_shape": (2, 4)}, "^image_shape must multiply to the 6 columns of X, got 2 x 4$"),
            ({"image_shape": 6}, r"^image_shape must be 2 positive integer\(s\), got 6$"),
        ],
        ids=str,
    )
    def test_parameters(self, rows, parameters, message):
        with pytest.raises(ValueError, match=message):
            BoltzmannMachine(**parameters).fit(rows)

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (
                _with(3, 1, -0.75),
                "(got -0.75 in row 3, column 1; set binarize to the threshold|got values from -0.75 to 0; scale X as)",
            ),
            (_with(0, 2, np.nan), "Input X contains NaN"),
            (_with(0, 2, np.inf), "Input X contains infinity"),
            (np.zeros((0, N_VISIBLE)), r"0 sample\(s\) .* while a minimum of 1 is required by BoltzmannMachine"),
            (np.zeros((5, 0)), r"0 feature\(s\) .* while a minimum of 1 is required by BoltzmannMachine"),
            (np.zeros(N_VISIBLE), "Expected 2D array, got 1D array instead"),
        ],
        ids=["negative", "nan", "infinite", "no rows", "no columns", "one axis"],
    )
    def test_data(self, data, message, fitted):
        for refused in (BoltzmannMachine().fit, fitted.transform, fitted.score_samples):
            with pytest.raises(ValueError, match=message):
                refused(data)

    def test_data_of_another_width(self, rows, fitted):
        for refused in (fitted.transform, fitted.score, lambda X: fitted.prune("random", 0.5, X=X, retrain_epochs=1)):
            with pytest.raises(ValueError, match="X has 5 features, but BoltzmannMachine is expecting 6 features"):
                refused(rows[:, :5])

    def test_arguments(self, fitted):
        with pytest.raises(ValueError, match="^kind must be 'variance' or 'heuristic', got 'variance-fi'$"):
            fitted.fisher("variance-fi")
        with pytest.raises(ValueError, match=r"^n_samples must be 1 positive integer\(s\), got 0$"):
            fitted.sample(0)
        with pytest.raises(ValueError, match="did you mean 'variance-fi'"):
            fitted.prune("variance-f1", 0.5)
        with pytest.raises(ValueError, match="fraction must lie between 0 and 1 .* got 1"):
            fitted.prune("random", 1.0)

    @pytest.mark.parametrize("name", ["score_quantity_", "log_partition_"])
    def test_attributes_wait_for_fit(self, name):
        with pytest.raises(NotFittedError):
            getattr(BoltzmannMachine(), name)
