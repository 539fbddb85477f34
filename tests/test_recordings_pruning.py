"""Pruning of what was fitted to a recording: what goes, how it is judged, and what is written and drawn."""

from __future__ import annotations

import jax
import numpy as np
import pytest
import xarray as xr
from scipy import stats

import secateur as sc
from command_line import call, refused
from pairwise_brute_force import PairwiseBruteForce
from secateur.figures import Caption
from secateur.figures.recordings import FIGURES
from secateur.model.pairwise import PairwiseModel
from secateur.pruning import Rule, Synapses
from secateur.pruning.ranking import coupling_scores
from secateur.reading.words import Words
from secateur.recordings.decimation import decimate
from secateur.recordings.folder import fit_recording
from secateur.report import recordings as report_module
from secateur.storage.folders import locked
from secateur.training import fit_pairwise

KEY = jax.random.key(0)
N_BINS = 3000
EPOCHS = np.repeat(np.arange(20), N_BINS // 20)
TRUE = [(0, 1), (2, 3), (1, 4)]


def _sparse_model() -> PairwiseModel:
    """Five units, of whose ten couplings three exist."""
    couplings = np.zeros((5, 5))
    for (i, j), value in zip(TRUE, (1.5, -2.0, 1.8), strict=True):
        couplings[i, j] = couplings[j, i] = value
    return PairwiseModel(np.linspace(-1.2, -0.4, 5), couplings)


@pytest.fixture(scope="module")
def words() -> np.ndarray:
    return PairwiseBruteForce(_sparse_model()).words(N_BINS)


def excess(synapses: Synapses):
    return abs(synapses.coincidences - synapses.rates_pre[:, None] * synapses.rates_post[None, :])


@pytest.fixture(scope="module")
def pruned(words):
    return decimate(words, EPOCHS, KEY, criteria=["weight-magnitude", "random", excess], fraction=0.3, n_rounds=5)


def test_all_rules_remove_equal_numbers_and_what_went_stays_away(pruned):
    for name in ("weight-magnitude", "random", "excess"):
        for path in pruned.paths[name]:
            assert [one.n_left for one in path] == [10, 7, 5, 4, 3, 2]
            for before, after in zip(path, path[1:], strict=False):
                assert not (after.kept & ~before.kept).any()


def test_the_couplings_that_exist_are_those_that_stay_in_both_halves_and_in_all_words(pruned):
    for name in ("weight-magnitude", "excess"):
        for path in pruned.paths[name]:
            assert set(zip(*np.triu(path[4].kept).nonzero(), strict=True)) == set(TRUE)
        assert pruned.overlap(name, 4) == (1.0, pytest.approx(0.3))
        number = pruned.within_one_error(name)
        assert pruned.paths[name][0][number].n_left <= 5  # and the truth is three
        assert all(pruned.final[name][pair] for pair in TRUE)
    low_high = pruned.interval(("weight-magnitude", 4), ("random", 4), pruned.bins)
    assert low_high[1] > 0


def test_scores_are_the_held_out_likelihood_of_refitted_models(words, pruned):
    """A round by hand: fit to the odd blocks, drop by the rule, fit again, score the even blocks."""
    half = pruned.blocks.numbers % 2 == 0
    first, _ = fit_pairwise(words[half], jax.random.key(9))
    scores = np.where(np.triu(np.ones((5, 5)), 1) > 0, abs(np.asarray(first.couplings)), np.inf)
    gone = np.argsort(scores, axis=None)[:3]
    mask = np.ones((5, 5), bool)
    mask[np.unravel_index(gone, (5, 5))] = False
    again, _ = fit_pairwise(words[half], jax.random.key(9), mask=mask & mask.T)
    exact = PairwiseBruteForce(again)
    rows = np.array([np.flatnonzero((exact.states == word).all(axis=1))[0] for word in words[~half]])
    expected = np.log(exact.probabilities)[rows]
    found = pruned.paths["weight-magnitude"][0][1]
    assert found.sums.sum() == pytest.approx(expected.sum(), abs=0.02)
    np.testing.assert_allclose(found.sums[0], expected[pruned.blocks.of(~half) == 0].sum(), atol=0.01)
    assert pruned.sums("weight-magnitude", 1)[1::2] == pytest.approx(found.sums)


def test_intervals_at_equal_counts_are_those_of_paired_blocks(pruned):
    difference = pruned.sums("weight-magnitude", 3) - pruned.sums("random", 3)
    value, low, high = pruned.interval(("weight-magnitude", 3), ("random", 3), pruned.bins)
    mean, n = difference.sum() / pruned.bins.sum(), len(difference)
    error = np.sqrt(n / (n - 1) * ((difference - mean * pruned.bins) ** 2).sum() * 3) / pruned.bins.sum()
    assert value == pytest.approx(mean) and high - low == pytest.approx(2 * stats.t.ppf(0.975, n - 1) * error)


def test_couplings_are_ranked_by_what_a_rule_declares():
    """Both directions of a rule that is not symmetric are averaged; what is not declared is refused by name."""
    p = np.array([[0.3, 0.1, 0.05], [0.1, 0.2, 0.02], [0.05, 0.02, 0.4]])
    couplings = np.array([[0, 1, -2], [1, 0, 0.5], [-2, 0.5, 0]])
    own = Rule("own", lambda s: s.rates_pre[:, None] * np.ones((3, 3)), needs=("rates",))
    found = coupling_scores(couplings, p.diagonal(), p, own, KEY)
    assert found[0, 1] == found[1, 0] == pytest.approx(0.25)
    relative = coupling_scores(couplings, p.diagonal(), p, sc.pruning.rule_of("fi-times-weight-squared"), KEY)
    assert relative[0, 2] == pytest.approx(4 * 0.05 * 0.95)
    for rule, message in (
        (
            "eigenvector-fi",
            "criterion 'eigenvector-fi' needs whole states of a machine, which a pairwise model does not",
        ),
        (
            "random-units",
            "criterion 'random-units' ranks units, which a pairwise model does not offer; choose variance",
        ),
        (
            Rule("greedy", lambda s: s.coincidences, needs=()),
            "'greedy' looks at coincidences, which it does not declare",
        ),
        (
            Rule("short", lambda s: np.ones(2), needs=()),
            r"one importance per synapse, shape \(3, 3\) for the couplings",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            coupling_scores(couplings, p.diagonal(), p, sc.pruning.rule_of(rule), KEY)


def test_few_blocks_are_refused(words):
    with pytest.raises(
        ValueError, match="pruning is judged by held-out blocks, and there are fewer than eight: 7 blocks"
    ):
        decimate(words[:105], np.repeat(np.arange(7), 15), KEY)


@pytest.fixture(scope="module")
def folder(words, tmp_path_factory):
    place = tmp_path_factory.mktemp("pruned")
    source = sc.words(words, 0.02, orientation="bins x units")
    named = Words(words, tuple("abcde"), source.bin_starts, EPOCHS, 0.02, source.notes)
    named.save(place / "words.npz")
    training = sc.recordings.default_settings(N_BINS).model_copy(update={"n_epochs": 2})
    fit_recording(place / "words.npz", place / "fit", n_hidden=2, n_folds=2, training=training)
    return place / "fit"


def test_the_command_prunes_couplings_and_the_report_shows_it(folder, monkeypatch, capsys):
    options = ["--criterion", "weight-magnitude,random", "--rounds", "3"]
    code, out, err = call(monkeypatch, capsys, "prune", folder, *options)
    assert code == 0, err
    assert "weight-magnitude: " in out and "within one standard error" in out
    found = xr.open_dataset(folder / "pruning" / "couplings.nc").load()
    assert found.sizes["criterion"] == 2 and found.sizes["round"] == 4
    assert np.isfinite(found["loss"].values).all() and (found["loss"][:, 0] == 0).all()
    for variable in found.data_vars.values():
        assert variable.attrs["units"] and variable.attrs["long_name"]
    kept = (folder / "pruning" / "kept-couplings.csv").read_text().splitlines()
    assert kept[0] == "first_unit,second_unit,weight-magnitude,random" and len(kept) == 11
    line = refused(monkeypatch, capsys, "prune", folder, *options)
    assert "couplings.nc' exists already; say --overwrite to replace it" in line

    with locked(folder, "busy"):
        line = refused(monkeypatch, capsys, "prune", folder, *options, "--overwrite")
        assert "another process is writing to" in line
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == [".lock"]

    def drawn_before(results, path):  # every figure is drawn in another test
        figures = {name: path / "figures" / f"{name}.png" for name in FIGURES}
        for file in figures.values():
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(b"")
        return {name: Caption(name, "") for name in figures}

    monkeypatch.setattr(report_module, "draw_recording", drawn_before)
    code, _, err = call(monkeypatch, capsys, "report", folder)
    assert code == 0, err
    page = (folder / "report.html").read_text("utf-8")
    assert "How many couplings of the pairwise model can go?" in page and 'id="pruning-couplings-kept"' in page


@pytest.mark.long
def test_the_command_prunes_the_machine(folder, monkeypatch, capsys):
    options = ["--what", "machine", "--criterion", "weight-magnitude", "--rounds", "1", "--fraction", "0.5"]
    code, out, err = call(monkeypatch, capsys, "prune", folder, *options)
    assert code == 0, err
    found = xr.open_dataset(folder / "pruning" / "machine.nc").load()
    assert list(found["n_left"].values[0]) == [10, 5] and "overlap" not in found
    assert "synapses" in out


def test_options_of_machines_are_refused_for_a_recording_and_the_other_way_round(folder, monkeypatch, capsys):
    line = refused(monkeypatch, capsys, "prune", folder, "--zeros", "all")
    assert "--zeros is for saved machines; a recording is pruned in its own folder, leave it out" in line
    machine = next((folder / "machines").glob("*.safetensors"))
    line = refused(monkeypatch, capsys, "prune", machine, "--what", "couplings", "--dry-run")
    assert "--what is for the folder of a fitted recording" in line
    line = refused(monkeypatch, capsys, "prune", folder.parent)
    assert "holds no fitted recording" in line
