"""Tables of Fisher information: conventions, intervals, eigenvectors and stability, against sums over all states."""

from __future__ import annotations

import sys
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import hypergeom

from brute_force import BruteForce
from conftest import small_machine
from pairwise_brute_force import PAIRWISE_FAULTS, PairwiseBruteForce, small_model, with_pairwise_twins
from secateur import fisher
from secateur.model.machine import Machine
from secateur.model.pairwise import PairwiseModel
from secateur.recordings import parameters as parameters_module
from secateur.recordings import ranking_stability, stability, stiffness
from secateur.recordings.parameters import group_sums, parameter_list, unit_means
from secateur.training import fit_pairwise
from statistical import FAULTS, GROUPED, assert_within_errors, judged

KEY = jax.random.key(0)
EPOCHS = np.repeat(np.arange(20), 100)
CONVENTIONS = parameters_module.CONVENTIONS
module = sys.modules["secateur.recordings.stiffness"]  # the package exports a function of the same name


@pytest.fixture(scope="module")
def model() -> PairwiseModel:
    return small_model()


@pytest.fixture(scope="module")
def words(model) -> np.ndarray:
    return PairwiseBruteForce(model).words(2000)


@pytest.fixture(scope="module")
def fit(words) -> PairwiseModel:
    """The model that is fitted to the words, at whose maximum of the likelihood intervals are given."""
    return fit_pairwise(words, KEY)[0]


def _joint(model: Machine | PairwiseModel):
    """Joint states ``(states, units)``, probabilities, and the pairs of units that have a coupling."""
    if isinstance(model, PairwiseModel):
        pairwise_exact = PairwiseBruteForce(model)
        return pairwise_exact.states, pairwise_exact.probabilities, pairwise_exact.pairs
    exact, offsets = BruteForce(model), np.cumsum([0, *model.layer_sizes])
    pairs = [
        (offsets[layer] + i, offsets[layer + 1] + j)
        for layer, mask in enumerate(model.masks)
        for i, j in zip(*np.asarray(mask).nonzero(), strict=True)
    ]
    return np.hstack(exact.states), exact.probabilities, pairs


def _statistics(states, pairs) -> np.ndarray:
    return np.hstack([np.stack([states[:, i] * states[:, j] for i, j in pairs], axis=1), states])


def _covariance(rows, probabilities) -> np.ndarray:
    centred = rows - probabilities @ rows
    return centred.T @ (probabilities[:, None] * centred)


MODELS: dict[str, Machine | PairwiseModel] = {
    "pairwise": small_model(4),
    "rbm": small_machine("rbm", masked=True),
    "dbm": small_machine("dbm-2-hidden", masked=True),
}


@pytest.mark.parametrize("name", MODELS)
def test_matrix_of_plus_minus_one_states_by_definition(name):
    """``C F C^T`` is the covariance of products of states that are -1 and +1, and parameters give the same ``p``."""
    model = MODELS[name]
    states, probabilities, pairs = _joint(model)
    listed = parameter_list(model)
    assert list(zip(listed.first, listed.second, strict=True))[: len(pairs)] == pairs
    change = listed.change("+-1")
    spins = _statistics(2 * states - 1, pairs)
    found = change @ _covariance(_statistics(states, pairs), probabilities) @ change.T
    np.testing.assert_allclose(found, _covariance(spins, probabilities), atol=1e-10)
    log_p = spins @ listed.in_convention("+-1")
    np.testing.assert_allclose(log_p - log_p[0], np.log(probabilities / probabilities[0]), atol=1e-5)


@given(st.lists(st.floats(-2, 2), min_size=6, max_size=6))
def test_parameters_of_both_conventions_are_one_model(numbers):
    """``theta = C^T theta'``, whatever the parameters."""
    couplings = np.zeros((3, 3))
    couplings[np.triu_indices(3, 1)] = numbers[:3]
    listed = parameter_list(PairwiseModel(numbers[3:], couplings + couplings.T))
    np.testing.assert_allclose(listed.change("+-1").T @ listed.in_convention("+-1"), listed.values, atol=1e-6)


def test_relative_changes_scale_rows_and_columns_by_the_parameters(model):
    listed = parameter_list(model)
    matrix = fisher.matrix(model, "exact").dense()
    change = listed.change("theta-scaled")
    expected = matrix * listed.values[:, None] * listed.values[None, :]
    np.testing.assert_allclose(change @ matrix @ change.T, expected, atol=1e-12)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("of", ["joint", "visible"])
@pytest.mark.parametrize("name", ["pairwise", "rbm"])
def test_sums_over_groups_give_the_information_of_their_union(name, of, convention):
    """Rows as often as their probabilities say, cut into groups, against the covariance by definition."""
    model = MODELS[name]
    listed = parameter_list(model)
    n_visible = 4 if name == "pairwise" else 5
    rows = ((np.arange(2**n_visible)[:, None] >> np.arange(n_visible)) & 1).astype(np.uint8)
    drawn = np.random.default_rng(0).integers(0, len(rows), 300)
    visible, groups = rows[drawn], np.repeat([0, 1, 2], 100)
    sums = group_sums(listed, unit_means(model, visible), groups, of, convention)
    states, probabilities, pairs = _joint(model)
    statistics = _statistics(2 * states - 1 if convention == "+-1" else states, pairs)
    chosen = visible[np.concatenate([np.arange(100), np.arange(200, 300), np.arange(200, 300)])]
    given_row = {}
    for row in np.unique(chosen, axis=0):
        weight = np.where((states[:, :n_visible] == row).all(axis=1), probabilities, 0)
        given_row[tuple(row)] = weight / weight.sum()
    first = np.mean([given_row[tuple(row)] @ statistics for row in chosen], axis=0)
    if of == "joint":
        second = np.mean([given_row[tuple(row)] @ statistics**2 for row in chosen], axis=0)
    else:
        second = np.mean([(given_row[tuple(row)] @ statistics) ** 2 for row in chosen], axis=0)
    scale = listed.values**2 if convention == "theta-scaled" else 1
    found = sums.information(np.array([[1, 0, 2]]))[0]
    np.testing.assert_allclose(found, scale * (second - first**2), atol=1e-5)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_tables_of_an_exact_pairwise_model(fit, words, convention):
    model = fit
    exact = PairwiseBruteForce(model)
    found = stiffness(model, words, EPOCHS, KEY, convention=convention, unit_ids=list("abcdef"))
    states = 2 * exact.states - 1 if convention == "+-1" else exact.states
    covariance = exact.covariance(_statistics(states, exact.pairs))
    listed = parameter_list(model)
    if convention == "theta-scaled":
        covariance *= np.outer(listed.values, listed.values)
    table = found.parameters
    np.testing.assert_allclose(table["fisher_information"], covariance.diagonal(), atol=1e-9)
    np.testing.assert_allclose(table["value"], listed.in_convention(convention))
    assert (table["sampling_error"] == 0).all()
    assert list(table["kind"]) == ["coupling"] * 15 + ["bias"] * 6
    assert (table["first_unit"].iloc[1], table["second_unit"].iloc[1]) == ("a", "c")
    assert (table["first_unit"].iloc[-1], table["second_unit"].iloc[-1]) == ("f", "")
    for _, rows in table.groupby("kind"):
        assert rows.sort_values("rank")["fisher_information"].is_monotonic_decreasing and rows["rank"].min() == 1
    values, vectors = np.linalg.eigh(covariance)
    np.testing.assert_allclose(found.eigenvalues["eigenvalue"], values[::-1], atol=1e-9)
    assert found.eigenvalues["share"].sum() == pytest.approx(1)
    stiffest = table[["direction_1", "direction_2", "direction_3"]].to_numpy()
    np.testing.assert_allclose(abs((stiffest * vectors[:, ::-1][:, :3]).sum(axis=0)), 1, atol=1e-6)
    np.testing.assert_allclose(found.loadings.groupby("direction")["loading"].sum(), 1)
    first = found.loadings[(found.loadings["direction"] == 1) & (found.loadings["unit"] == "c")].iloc[0]
    touching = [k for k, pair in enumerate(exact.pairs) if 2 in pair]
    assert first["loading"] == pytest.approx(stiffest[15 + 2, 0] ** 2 + (stiffest[touching, 0] ** 2).sum() / 2)
    assert first["bias_entry"] == pytest.approx(stiffest[15 + 2, 0])
    unit = found.units[found.units["unit"] == "c"].iloc[0]
    assert unit["information"] == pytest.approx(covariance.diagonal()[[*touching, 15 + 2]].sum())
    assert unit["bias_information"] == pytest.approx(covariance[17, 17])
    assert unit["rate"] == pytest.approx(words[:, 2].mean(), abs=1e-6)
    for name in ("parameters", "units", "eigenvalues", "loadings"):
        assert (getattr(found, name)["convention"] == convention).all()
        assert (getattr(found, name)["fisher_matrix"] == "joint").all()
    assert found.sentences[0].startswith(f"Fisher information matrix: joint; convention: {convention}; exact sums")
    assert found.sentences[1].startswith(
        "Intervals (95%) contain the error of the fit: 20 blocks: whole epochs (activity"
    )
    assert found.misfit < 0.01 and (table["low"] < table["high"]).all()
    assert (found.units["information_low"] < found.units["information_high"]).all()


def test_recorded_words_as_the_source(model, words):
    """The covariance of the words themselves, and standard errors of its eigenvalues."""
    found = stiffness(model, words, EPOCHS, KEY, source="data")
    covariance = np.cov(_statistics(words.astype(float), PairwiseBruteForce(model).pairs).T, bias=True)
    np.testing.assert_allclose(found.parameters["fisher_information"], covariance.diagonal(), atol=1e-6)
    np.testing.assert_allclose(found.eigenvalues["eigenvalue"], np.linalg.eigvalsh(covariance)[::-1], atol=1e-5)
    errors = found.eigenvalues["standard_error"]
    assert (errors[:3] > 0).all() and errors[3:].isna().all()
    assert "averages over the 2000 recorded words" in found.sentences[0]


def test_tables_of_a_visible_matrix_of_a_machine(rbm):
    words = BruteForce(rbm).states[0][np.random.default_rng(0).integers(0, 512, 400)].astype(np.uint8)
    found = stiffness(rbm, words, np.repeat([0, 1], 200), KEY, of="visible", convention="+-1")
    listed = parameter_list(rbm)
    change = listed.change("+-1")
    matrix = change @ fisher.matrix(rbm, "exact", of="visible").dense() @ change.T
    np.testing.assert_allclose(found.parameters["fisher_information"], matrix.diagonal(), atol=1e-9)
    assert (found.units["fisher_matrix"] == "visible").all()
    assert list(found.units["unit"]) == ["0", "1", "2", "3", "4", "h1.0", "h1.1", "h1.2", "h1.3"]
    assert list(found.units["layer"]) == [0] * 5 + [1] * 4


@pytest.fixture
def drawn(monkeypatch):
    """Send small models through drawn states, and many of them."""
    monkeypatch.setattr(module, "_MOST_EXACT", 0)
    monkeypatch.setattr(module, "_N_CHAINS", 2**12)
    monkeypatch.setattr(module, "_N_DRAWS", 4)  # the fewest that show whether chains have mixed
    monkeypatch.setattr(module, "_N_BURN_IN", 20)


def _judge(distorted, right, words, epochs, fault, convention="0/1", of="joint", monkeypatch=None):
    found = stiffness(distorted, words, epochs, KEY, convention=convention, of=of)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_MOST_EXACT", 1e9)
        exact = stiffness(right, words, epochs, KEY, convention=convention, of=of)
    columns = ("fisher_information", "sampling_error")
    estimate, error = (found.parameters[column].to_numpy() for column in columns)
    with judged(fault):
        assert_within_errors(estimate, error, exact.parameters["fisher_information"].to_numpy(), GROUPED)
    assert "states drawn from the model" in found.sentences[0]
    if fault == "right":
        top = [table.eigenvalues.iloc[0] for table in (found, exact)]
        assert_within_errors(top[0]["eigenvalue"], top[0]["standard_error"], top[1]["eigenvalue"], GROUPED)


@with_pairwise_twins
def test_drawn_states_of_a_pairwise_model(model, words, fault, drawn, monkeypatch):
    distorted = PAIRWISE_FAULTS[fault](model)
    if fault == "wrong temperature":  # 10 % are within the errors of 16 groups
        distorted = PairwiseModel(1.3 * model.biases, 1.3 * model.couplings)
    _judge(distorted, model, words, EPOCHS, fault, "+-1", monkeypatch=monkeypatch)


@pytest.mark.parametrize("of", ["joint", "visible"])
@pytest.mark.parametrize("fault", ["right", "wrong sign"])
def test_drawn_states_of_a_machine(rbm, of, fault, drawn, monkeypatch):
    words = np.random.default_rng(0).integers(0, 2, (400, 5)).astype(np.uint8)
    _judge(FAULTS[fault](rbm), rbm, words, np.repeat([0, 1], 200), fault, of=of, monkeypatch=monkeypatch)


@pytest.mark.parametrize("fault", ["right", "wrong sign"])
def test_drawn_states_of_a_deep_machine(dbm, fault, drawn, monkeypatch):
    """Hidden states as drawn: their mean-field probabilities would be biased."""
    words = np.random.default_rng(0).integers(0, 2, (400, 4)).astype(np.uint8)
    _judge(FAULTS[fault](dbm), dbm, words, np.repeat([0, 1], 200), fault, monkeypatch=monkeypatch)


@pytest.mark.parametrize("convention", ["0/1", "+-1"])
def test_leading_directions_of_large_models_are_iterated(model, words, convention, monkeypatch):
    whole = stiffness(model, words, EPOCHS, KEY, convention=convention)
    monkeypatch.setattr(module, "_MOST_DENSE", 5)
    found = stiffness(model, words, EPOCHS, KEY, convention=convention)
    assert len(found.eigenvalues) == 12
    np.testing.assert_allclose(found.eigenvalues["eigenvalue"], whole.eigenvalues["eigenvalue"][:12], rtol=1e-2)
    np.testing.assert_allclose(found.eigenvalues["share"], whole.eigenvalues["share"][:12], rtol=1e-2)
    np.testing.assert_allclose(found.loadings["loading"], whole.loadings["loading"], atol=1e-2)


@pytest.mark.filterwarnings("ignore:Only")
def test_no_intervals_of_hidden_units_of_few_blocks_and_of_fits_that_have_not_converged(fit, words, rbm):
    model = fit
    cut = stiffness(model, words, np.arange(2000) // 500, KEY)  # four long epochs
    assert cut.without_intervals == () and cut.parameters["low"].notna().all()
    short = stiffness(model, words[:70], np.repeat(np.arange(7), 10), KEY)
    assert short.without_intervals[0].startswith("fewer than 8 blocks (7 blocks: whole epochs")
    assert short.parameters[["low", "high"]].isna().all(axis=None)
    assert short.units[["information_low", "information_high", "bias_information_low"]].isna().all(axis=None)
    wrong = stiffness(PairwiseModel(model.biases + 0.3, model.couplings), words, EPOCHS, KEY)
    assert wrong.misfit > 0.5 and "the fit has not converged: its averages differ" in wrong.without_intervals[0]
    assert wrong.sentences[1].startswith("No intervals: the fit has not converged") and wrong.units["rank"].min() == 1
    hidden = stiffness(rbm, words[:400, :5], EPOCHS[:400] // 2, KEY)
    assert hidden.without_intervals[0] == "how far another fit of hidden units would lie is not known"


def test_few_words_are_warned_of(model, words):
    with pytest.warns(UserWarning, match=r"Only 4.8 words per parameter \(100 words, 21 parameters\), fewer than 10"):
        found = stiffness(model, words[:100], EPOCHS[:1000:10], KEY)
    assert found.sentences[-1].endswith("Use fewer units or a longer recording.")


def test_tables_are_written_as_csv(fit, words, tmp_path):
    found = stiffness(fit, words, EPOCHS, KEY)
    paths = found.save_csv(tmp_path / "tables")
    assert [path.name for path in paths] == ["parameters.csv", "units.csv", "eigenvalues.csv", "loadings.csv"]
    back = pd.read_csv(paths[0], keep_default_na=False, dtype={"first_unit": str, "second_unit": str})
    pd.testing.assert_frame_equal(back, found.parameters, check_dtype=False)


def _independent_words(rates, n_words: int = 2000) -> np.ndarray:
    return (np.random.default_rng(3).random((n_words, len(rates))) < np.asarray(rates)).astype(np.uint8)


def test_rankings_that_noise_makes_are_called_not_stable():
    """Equal units without coincidences beyond chance: every ranking is noise."""
    words = _independent_words([0.2] * 6)
    found = ranking_stability(words, EPOCHS, KEY, n_shuffles=10)
    assert not found.table["stable"].any()
    for sentence in found.sentences:
        assert "is not stable: rank correlation" in sentence and "Do not read single ranks from it." in sentence


def test_rankings_that_rates_make_are_told_from_those_that_coincidences_make(model, words):
    rated = _independent_words(np.linspace(0.05, 0.4, 6))
    by_rates = ranking_stability(rated, EPOCHS, KEY, n_shuffles=10).table
    assert list(by_rates["ranking"]) == ["units", "couplings", "couplings beyond rates"]
    assert list(by_rates["stable"]) == [True, True, False]
    assert (by_rates["shuffled"][:2] > 0.9).all() and abs(by_rates["shuffled"][2]) < 0.4
    coupled = ranking_stability(words, EPOCHS, KEY, n_shuffles=10)
    beyond = coupled.table.iloc[2]
    assert beyond["stable"] and beyond["correlation"] > beyond["shuffled_high"]
    assert "couplings beyond rates (0/1) is stable: rank correlation" in coupled.sentences[2]


def test_shuffled_words_keep_their_rates_and_nothing_else():
    """Every arrangement of a unit's spikes is as likely: bins have equal rates, pairs coincide as by chance."""
    rng = np.random.default_rng(0)
    half = np.zeros((40, 2), np.uint8)
    half[:12], half[12:15, 0] = 1, 1
    drawn = np.stack([stability._rearranged(half, rng) for _ in range(4000)]).astype(float)
    assert (drawn.sum(axis=1) == [15, 12]).all()
    rates = np.array([15, 12]) / 40
    assert_within_errors(
        drawn.mean(axis=0), np.sqrt(rates * (1 - rates) / 4000) * np.ones((40, 1)), rates + 0 * drawn[0]
    )
    together = (drawn[..., 0] * drawn[..., 1]).sum(axis=1)
    chance = hypergeom(40, 15, 12)
    assert_within_errors(together.mean(), chance.std() / np.sqrt(4000), chance.mean())


def test_information_of_halves_by_hand(model, words):
    """The correlation between halves of the units' information, from the words themselves."""
    odd = EPOCHS % 2 == 1
    sums = []
    for half in (words[~odd], words[odd]):
        p = np.einsum("si,sj->ij", half.astype(float), half) / len(half)
        sums.append((p * (1 - p)).sum(axis=1))
    ranks = np.argsort(np.argsort(np.array(sums), axis=1), axis=1)
    found = ranking_stability(words, EPOCHS, KEY, n_shuffles=2).table.iloc[0]
    assert found["correlation"] == pytest.approx(float(np.corrcoef(*ranks)[0, 1]))


def test_relative_rankings_are_those_of_a_fit_to_each_half(model, words):
    """Theta-scaled, the parameters of a half are its own: fitted there by hand."""
    halves = []
    for odd in (0, 1):
        half = words[EPOCHS % 2 == odd]
        theta = parameter_list(fit_pairwise(half, KEY)[0]).values
        p = np.einsum("si,sj->ij", half.astype(float), half) / len(half)
        q = np.concatenate([p[np.triu_indices(6, 1)], p.diagonal()])
        halves.append(theta**2 * q * (1 - q))
    found = ranking_stability(words, EPOCHS, KEY, n_shuffles=5, convention="theta-scaled").table
    expected = stats.spearmanr(halves[0][:15], halves[1][:15]).statistic
    assert found["correlation"].iloc[1] == pytest.approx(expected)
    # Where couplings are noise, relative information is noise too, whatever the rates.
    noise = _independent_words(np.linspace(0.05, 0.4, 6))
    of_noise = ranking_stability(noise, EPOCHS, KEY, n_shuffles=5, convention="theta-scaled").table
    assert not of_noise["stable"].iloc[1] and abs(of_noise["shuffled"].iloc[1]) < 0.5


@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_refused(model, words, rbm, dbm, drawn):
    visible = np.zeros((10, 5), np.uint8)
    two = np.repeat([0, 1], 5)
    wrong: Any = "wrong"
    cases = [
        (
            lambda: stiffness(model, words, EPOCHS, KEY, of=wrong),
            "of must be one of 'joint', 'visible', got 'wrong'",
        ),
        (
            lambda: stiffness(model, words, EPOCHS, KEY, convention=wrong),
            r"convention must be one of '0/1', '\+-1', 'theta",
        ),
        (lambda: stiffness(rbm, visible, two, KEY, source="data"), "source='data' needs a model without hidden units"),
        (
            lambda: stiffness(model, words, EPOCHS, KEY, n_directions=22),
            "n_directions must lie between 1 and 21, got 22",
        ),
        (lambda: stiffness(model, words, EPOCHS, KEY, unit_ids=["a"]), "unit_ids must name the 6 visible units, got 1"),
        (lambda: stiffness(model, words, EPOCHS[:5], KEY), r"epochs must hold one number per bin, \(2000,\), got"),
        (lambda: stiffness(dbm, visible[:, :4], two, KEY, of="visible"), "several hidden layers needs exact sums"),
        (lambda: ranking_stability(words, EPOCHS, KEY, n_shuffles=1), "n_shuffles must be at least 2, got 1"),
        (lambda: stiffness(model, words[:, :5], EPOCHS, KEY), "must have the 6 units of the model, got 5"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
