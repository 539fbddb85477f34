"""What the estimator makes of grey levels, sparse rows and parts of them, and what it draws given some columns."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.neural_network import BernoulliRBM

from brute_force import BruteForce
from secateur.estimator import BoltzmannMachine, base
from secateur.estimator.levels import Levels, drawn_once, levels_for
from secateur.model import enumeration
from secateur.model.machine import Machine
from secateur.model.trust import Verdict
from secateur.training import TrainingSettings
from statistical import assert_within_errors

pytestmark = pytest.mark.filterwarnings("ignore::secateur.model.trust.PoorFit")

QUICK: dict[str, Any] = {
    **{"hidden": (4,), "n_epochs": 20, "batch_size": 10, "n_chains": 10},
    **{"optimizer": "sgd", "learning_rate": 0.3, "random_state": 5},
}


@pytest.fixture(scope="module")
def grey() -> np.ndarray:
    """Grey levels of two kinds of rows."""
    rng = np.random.default_rng(0)
    rates = np.array([[0.9, 0.8, 0.9, 0.2, 0.1, 0.3], [0.1, 0.2, 0.3, 0.8, 0.7, 0.9]])
    return np.clip(rates[rng.integers(0, 2, 60)] + rng.normal(0, 0.1, (60, 6)), 0, 1)


@pytest.fixture(scope="module")
def rows(grey) -> np.ndarray:
    return (grey > 0.5).astype(float)


@pytest.fixture(scope="module")
def fitted(rows) -> BoltzmannMachine:
    return BoltzmannMachine(**QUICK).fit(rows)


@pytest.fixture(scope="module")
def on_grey(grey) -> BoltzmannMachine:
    return BoltzmannMachine(**QUICK).fit(grey)


@pytest.fixture(scope="module", params=[(4,), (3, 2)], ids=["rbm", "dbm"])
def strong(request) -> BoltzmannMachine:
    """A machine of six visible units with strong couplings of both signs."""
    rng = np.random.default_rng(3)
    sizes = (6, *request.param)
    weights = [rng.normal(0, 1.2, shape) for shape in zip(sizes[:-1], sizes[1:], strict=True)]
    return BoltzmannMachine.from_machine(Machine(weights, [rng.normal(-0.3, 0.5, n) for n in sizes]), random_state=1)


def _equal(one: BoltzmannMachine, other: BoltzmannMachine) -> None:
    jax.tree.map(np.testing.assert_array_equal, one.machine_, other.machine_)


class TestGreyLevels:
    def test_are_drawn_afresh_every_epoch(self, grey, on_grey):
        assert on_grey.settings_.redraw
        assert on_grey.binarized_ == (
            "grey levels are probabilities, drawn as 0 and 1 afresh every epoch, for likelihoods once"
        )
        assert on_grey.score_quantity_ == f"exact log p(v) in nats ({on_grey.binarized_})"
        _equal(clone(on_grey).set_params(binarize="redraw").fit(grey), on_grey)

    def test_rows_of_0_and_1_are_not_drawn(self, fitted, rows):
        assert not fitted.settings_.redraw and fitted.binarized_ == "0 and 1 as they stand"
        assert fitted.score_quantity_ == "exact log p(v) in nats"
        np.testing.assert_array_equal(drawn_once(rows.astype(np.float32), 3), rows)

    def test_of_a_larger_range_are_divided_by_the_largest(self, grey, on_grey):
        pixels = 200 * grey / grey.max()
        with pytest.warns(
            UserWarning, match="^X holds values up to 200: they are taken as grey levels, divided by 200"
        ):
            scaled = clone(on_grey).fit(pixels)
        _equal(scaled, clone(on_grey).fit(grey / grey.max()))
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            clone(on_grey).set_params(binarize="redraw").fit(pixels)

    def test_mean_is_a_threshold_of_the_training_rows(self, grey, on_grey):
        model = clone(on_grey).set_params(binarize="mean").fit(grey)
        _equal(model, clone(model).set_params(binarize=float(grey.mean())).fit(grey))
        assert model.score_quantity_.endswith(f"(values above {grey.mean():.4g} are 1, all others 0)")
        np.testing.assert_array_equal(model.transform(grey), model.transform((grey > grey.mean()).astype(float)))

    def test_features_are_those_of_scikit_learn(self, grey, on_grey):
        other = BernoulliRBM()
        other.components_, other.n_features_in_ = on_grey.components_, 6
        other.intercept_hidden_, other.intercept_visible_ = on_grey.intercept_hidden_, on_grey.intercept_visible_
        np.testing.assert_allclose(on_grey.transform(grey), other.transform(grey), atol=1e-6)

    def test_likelihood_is_that_of_one_draw(self, grey, on_grey):
        levels = grey.astype(np.float32)
        found = on_grey.score_samples(grey)
        np.testing.assert_array_equal(found, on_grey.score_samples(grey))
        drawn = on_grey._drawn(levels)
        np.testing.assert_allclose(found, BruteForce(on_grey.machine_).log_probability(drawn), atol=1e-5)

    def test_draws_have_their_probabilities_and_depend_on_nothing_else(self):
        levels = np.random.default_rng(1).random((4000, 7)).astype(np.float32)
        drawn = drawn_once(levels, 9)
        # 7 columns and neighbours among them; 5.5 standard errors are crossed by chance once in 10^6.
        excess = drawn - levels
        error = np.sqrt((levels * (1 - levels)).mean() / len(levels))
        assert abs(excess.mean(axis=0)).max() < 5.5 * error
        assert abs((excess[:, 1:] * excess[:, :-1]).mean(axis=0)).max() < 5.5 * error
        np.testing.assert_array_equal(drawn_once(levels[37:40], 9), drawn[37:40])
        assert (drawn_once(levels, 10) != drawn).mean() > 0.2

    def test_a_little_outside_counts_as_the_end_and_far_outside_is_refused(self, grey, on_grey):
        beyond = grey.copy()
        beyond[3, 2] = 1.2
        with pytest.warns(UserWarning, match="^X holds values from .* to 1.2, training rows lay between 0 and 1"):
            found = on_grey.transform(beyond)
        np.testing.assert_array_equal(found, on_grey.transform(np.minimum(beyond, 1)))
        with pytest.raises(ValueError, match="^X must hold values from 0 to 1 like the training rows, got .* to 90;"):
            on_grey.transform(75 * beyond)

    def test_exact_training_draws_once(self, grey, on_grey):
        model = clone(on_grey).set_params(method="exact", n_epochs=3).fit(grey)
        assert not model.settings_.redraw
        assert levels_for(grey, None) == Levels(grey=True)


class TestBlocksAndSparse:
    @pytest.mark.parametrize("container", [scipy.sparse.csr_array, scipy.sparse.coo_matrix])
    def test_sparse_rows_are_rows(self, rows, fitted, container):
        sparse = container(rows)
        _equal(clone(fitted).fit(sparse), fitted)
        for method in ("transform", "score_samples", "reconstruct"):
            np.testing.assert_array_equal(getattr(fitted, method)(sparse), getattr(fitted, method)(rows))

    def test_blocks_change_nothing(self, grey, on_grey, monkeypatch):
        whole = [getattr(on_grey, method)(grey) for method in ("transform", "score_samples", "reconstruct")]
        monkeypatch.setattr(base, "_BLOCK_VALUES", 7 * 6)
        for method, expected in zip(("transform", "score_samples", "reconstruct"), whole, strict=True):
            np.testing.assert_allclose(getattr(on_grey, method)(grey), expected, atol=1e-6)

    def test_a_log_z_not_to_be_trusted_is_told_once(self, rows, fitted, monkeypatch):
        monkeypatch.setattr(base, "_BLOCK_VALUES", 7 * 6)
        doubtful = copy.copy(fitted)
        doubtful._log_partition = replace(fitted.log_partition_, verdict=Verdict(("planted",)))
        with pytest.warns(UserWarning, match="planted") as told:
            doubtful.score_samples(rows)
        assert len(told) == 1


class TestParts:
    def test_partial_fit_learns_and_goes_on(self, rows):
        model, scores = BoltzmannMachine(**QUICK), []
        for _ in range(15):
            scores.append(model.partial_fit(rows).score(rows))
        assert scores[-1] > scores[0] + 0.3
        # One call after another is one training with a constant rate, whose chains and optimiser go on.
        assert model._partial is not None
        assert int(model._partial.step) == 15 * (len(rows) // QUICK["batch_size"])

    def test_partial_fit_goes_on_after_fit(self, rows, fitted):
        on = copy.copy(fitted).partial_fit(rows)
        change = np.abs(on.components_ - fitted.components_).max()
        assert 0 < change < 0.5 < np.abs(fitted.components_).max()

    def test_warm_start_begins_where_the_last_fit_ended(self, rows, fitted):
        warm = copy.copy(fitted).set_params(warm_start=True, learning_rate=1e-6, n_epochs=1)
        np.testing.assert_allclose(warm.fit(rows).components_, fitted.components_, atol=1e-3)
        cold = clone(warm).fit(rows)
        assert np.abs(cold.components_ - fitted.components_).max() > 0.3
        with pytest.raises(ValueError, match=r"^warm_start=True goes on with a machine of layers \(6, 4\), but X and"):
            warm.set_params(hidden=5).fit(rows)

    def test_exact_training_has_no_parts(self, rows):
        with pytest.raises(ValueError, match="^partial_fit needs method='pcd' or 'cd', got 'exact', which needs all"):
            BoltzmannMachine(method="exact").partial_fit(rows)

    def test_weights_of_deep_machines_have_no_name_here(self, strong):
        if strong.machine_.n_layers == 2:
            assert strong.components_.shape == (4, 6) and strong.intercept_hidden_.shape == (4,)
        else:
            with pytest.raises(
                AttributeError, match="^components_ and intercepts belong to one hidden layer, this .* 2;"
            ):
                _ = strong.components_


class TestHeldOut:
    def test_training_stops_early_and_keeps_the_best(self, rows):
        settings = QUICK | {"n_epochs": 200, "learning_rate": 1.0}
        model = BoltzmannMachine(**settings, early_stopping=True, n_iter_no_change=4, validation_fraction=0.3).fit(rows)
        scores = model.validation_scores_
        assert len(scores) < 200
        assert model.n_iter_ == 1 + int(np.argmax(scores)) == len(model.history_.pseudo_likelihood)
        assert np.isfinite(model.history_.free_energy_gap).all()

    @pytest.mark.parametrize("limit", [enumeration.MAX_UNITS, 0], ids=["exact", "annealed"])
    def test_scores_are_the_likelihood_of_the_rows_given(self, rows, monkeypatch, limit):
        model = BoltzmannMachine(**(QUICK | {"n_epochs": 3}), early_stopping=True)
        monkeypatch.setattr(enumeration, "MAX_UNITS", limit)
        model.fit(rows[:40], validation=rows[40:])
        exact = BruteForce(model.machine_).log_probability(rows[40:]).mean()
        # 64 annealed chains from independent units to weak couplings err by less than a tenth of a nat.
        assert model.validation_scores_.max() == pytest.approx(exact, abs=1e-4 if limit else 0.1)

    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            (
                {"validation_fraction": 1.5},
                "^validation_fraction must be a share between 0 and 1 .* got 1.5 of 60 rows",
            ),
            ({"n_iter_no_change": 0}, r"^n_iter_no_change must be 1 positive integer\(s\), got 0$"),
            ({"method": "exact"}, "^early_stopping needs method='pcd' or 'cd', got 'exact'; set"),
        ],
    )
    def test_refusals(self, rows, parameters, message):
        with pytest.raises(ValueError, match=message):
            BoltzmannMachine(**QUICK | parameters, early_stopping=True).fit(rows)

    def test_settings_of_training_reach_it(self, rows):
        given: dict[str, Any] = {
            "centred": True,
            "sparsity_target": 0.2,
            "sparsity_strength": 0.3,
            "schedule": "cosine",
        }
        found = BoltzmannMachine(**QUICK | {"n_epochs": 1}, **given).fit(rows).settings_
        assert {name: getattr(found, name) for name in given} == given
        assert set(given) < set(TrainingSettings.model_fields)
        with pytest.raises(ValueError, match=r"^sampler \(how persistent chains move.*'gibs'; did you mean 'gibbs'"):
            BoltzmannMachine(sampler="gibs").fit(rows)


class TestGivenColumns:
    KNOWN = {0: 1, 3: 0, 4: 1}

    def _exact(self, model: BoltzmannMachine) -> np.ndarray:
        """Rates of all columns given the known ones."""
        states = np.array(np.meshgrid(*[[0, 1]] * 6, indexing="ij")).reshape(6, -1).T
        fits = np.all([states[:, column] == value for column, value in self.KNOWN.items()], axis=0)
        p = np.exp(BruteForce(model.machine_).log_probability(states[fits]))
        return p @ states[fits] / p.sum()

    def test_the_others_follow_the_model(self, strong):
        drawn = strong.sample(1500, given=self.KNOWN)
        assert drawn.shape == (1500, 6) and strong.sample_verdict_.trusted
        for column, value in self.KNOWN.items():
            assert (drawn[:, column] == value).all()
        free = [1, 2, 5]
        errors = drawn.std(axis=0)[free] / np.sqrt(len(drawn))
        assert_within_errors(drawn.mean(axis=0)[free], errors, self._exact(strong)[free])
        # Twin: without what is known the rates are others.
        away = np.abs(strong.sample(1500).mean(axis=0)[free] - self._exact(strong)[free])
        assert (away > 5.5 * errors).any()

    def test_rows_with_gaps_are_filled_one_after_another(self, strong):
        given = np.array([[1, np.nan, np.nan, 0, 1, np.nan], [np.nan, 0, 1, 1, np.nan, 0.0]])
        drawn = strong.sample(800, given=given)
        assert drawn.shape == (1600, 6)
        for number, row in enumerate(given):
            part, known = drawn[number * 800 : (number + 1) * 800], ~np.isnan(row)
            assert (part[:, known] == row[known]).all()
        errors = drawn[:800].std(axis=0) / np.sqrt(800)
        free = [1, 2, 5]
        assert_within_errors(drawn[:800].mean(axis=0)[free], errors[free], self._exact(strong)[free])

    def test_columns_have_names(self, rows):
        frame = pd.DataFrame(rows, columns=list("abcdef"))
        model = BoltzmannMachine(**QUICK | {"n_epochs": 1}).fit(frame)
        assert (model.sample(30, given={"b": 1, "f": 0})[:, [1, 5]] == [1, 0]).all()
        np.testing.assert_array_equal(model.sample(30, given={"b": 1}), model.sample(30, given={1: 1}))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"given": {"z": 1}}, "^given must name columns by numbers from 0 to 5, got 'z'"),
            ({"given": {6: 1}}, "^given must name columns by numbers from 0 to 5, got 6"),
            ({"given": {2: 0.5}}, "^given must hold 0, 1 or NaN, got 0.5 in row 0, column 2; write NaN"),
            ({"given": [1, 0]}, r"^given must be one or more rows of 6 values, got shape \(2,\); write NaN"),
            (
                {"given": {2: 1}, "sampler": "tempering"},
                "^sampler must be 'gibbs' or 'auto' with given, got 'tempering'",
            ),
        ],
    )
    def test_refusals(self, strong, arguments, message):
        with pytest.raises(ValueError, match=message):
            strong.sample(2, **arguments)


class TestSweeps:
    def test_gibbs_is_one_sweep(self, strong):
        start = np.tile([1, 0, 1, 1, 0, 0], (20_000, 1)).astype(np.float32)
        judge = BruteForce(strong.machine_)
        means, machine = strong.reconstruct(start[:1]), strong.machine_
        drawn = strong.gibbs(start)
        assert set(np.unique(drawn)) == {0, 1} and (strong.gibbs(start) != drawn).any()
        np.testing.assert_array_equal(strong.gibbs(start, random_state=3), strong.gibbs(start, random_state=3))
        weights, bias = np.asarray(machine.weights[0], float), np.asarray(machine.biases[0], float)
        if machine.n_layers == 2:
            hidden = judge.posterior(start[0])
            expected = hidden @ (1 / (1 + np.exp(-(judge.states[1] @ weights.T + bias))))
            assert_within_errors(drawn.mean(axis=0), np.sqrt(expected * (1 - expected) / len(drawn)), expected)
            logits = weights @ (hidden @ judge.states[1]) + bias
            np.testing.assert_allclose(means[0], 1 / (1 + np.exp(-logits)), atol=1e-5)
        else:
            assert means.shape == (1, 6) and ((means > 0) & (means < 1)).all()


class TestFromMachine:
    def test_is_fitted(self, rows, fitted):
        again = BoltzmannMachine.from_machine(fitted.machine_, random_state=0)
        assert again.hidden == (4,)
        np.testing.assert_array_equal(again.transform(rows), fitted.transform(rows))
        np.testing.assert_allclose(again.score_samples(rows), fitted.score_samples(rows))
        assert again.sample(5).shape == (5, 6)
        assert again.prune("random", 0.5).machine_.n_synapses < 24
        assert (again.partial_fit(rows).components_ != fitted.components_).any()

    def test_takes_parameters(self, grey, rows, fitted):
        again = BoltzmannMachine.from_machine(fitted.machine_, binarize=0.5)
        np.testing.assert_array_equal(again.transform(grey), again.transform(rows))
        with pytest.raises(ValueError, match="^binarize='mean' needs training rows, from_machine has none; give the"):
            BoltzmannMachine.from_machine(fitted.machine_, binarize="mean")

    def test_refuses_what_is_no_machine(self, unchecked):
        with pytest.raises(TypeError, match="^machine must be a machine, got"):
            BoltzmannMachine.from_machine(np.zeros((2, 3)))  # type: ignore[arg-type]
