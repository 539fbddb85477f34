"""Every measure against an independent computation, and twins with planted faults that must fail."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from measure_checks import CHECKS, stage_of
from secateur.figures.wording import Expectation
from secateur.report.content import _unknown
from secateur.sampling.draws import swept
from secateur.studies import evaluation, measures
from secateur.studies.measures import MEASURES, Measure
from secateur.studies.schema import STAGE, Variable

FIGURES_ONLY = {"anatomy", "receptive-fields", "lost-pixels", "size", "sweep-time", "training-history", "controls"}
"""Measures of what the recorder keeps, which tests/test_studies.py compares with the saved machines."""


@pytest.fixture(scope="module")
def at():
    return stage_of()


def test_every_measure_that_computes_has_a_check():
    assert set(CHECKS) == set(MEASURES) - FIGURES_ONLY
    assert all(not MEASURES[name].variables for name in FIGURES_ONLY)


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_a_measure_agrees_with_an_independent_computation(at, name):
    CHECKS[name](MEASURES[name], at)


class Faulty(Measure):
    """A measure with one method replaced."""

    def __init__(self, name, **replaced):
        self.sound = MEASURES[name]
        for method, function in replaced.items():
            setattr(self, method, function)

    def __getattribute__(self, name):
        own = object.__getattribute__(self, "__dict__")
        return own[name] if name in own else getattr(object.__getattribute__(self, "sound"), name)


def swapped(name, first, second, method="stage"):
    """The measure with two variables exchanged."""

    def measure(*given):
        found = getattr(MEASURES[name], method)(*given)
        return found | {first: found[second], second: found[first]}

    return Faulty(name, **{method: measure})


def changed(name, variable, change, method="stage"):
    """The measure with one variable changed."""

    def measure(*given):
        found = getattr(MEASURES[name], method)(*given)
        return found | {variable: change(found[variable], *given)}

    return Faulty(name, **{method: measure})


def backward(values, at):
    """The divergence of the data from the model, over the patterns that occur."""
    found = []
    for (_, p), machine, (rows, _) in zip(
        at.trials.shared["seen patterns"], at.machines, at.trials.shared["seen patterns"], strict=True
    ):
        q = np.exp(measures.divergence.enumeration.log_probability(machine, rows))
        found.append((q * (np.log(q) - np.log(p))).sum())
    return np.array(found)


FAULTS = {
    "test error exchanged with accuracy": changed("encoding", "test_error", lambda v, _: 1 - v),
    "error of raw rows exchanged with accuracy": changed("encoding", "pixel_error", lambda v, _: 1 - v, "once"),
    "quality exchanged with diversity": swapped("sample-scores", "sample_quality", "sample_diversity"),
    "KL of the wrong direction": changed("divergence", "kl_divergence", backward),
    "entropy in bits": changed("divergence", "data_entropy", lambda v, _: v / np.log(2), "once"),
    "deciles shifted": changed(
        "synapse-fate", "elimination_probability", lambda v, *_: np.roll(v, 1, axis=-1), "removal"
    ),
    "deciles in falling order": changed("synapse-fate", "quantity_mean", lambda v, *_: v[..., ::-1], "removal"),
    "likelihood of training rows": changed(
        "exact-likelihood",
        "test_log_likelihood",
        lambda v, at: np.array(
            [
                measures.exact_likelihood.mean_log_probability(m, d.train)
                for m, d in zip(at.machines, at.trials.data, strict=True)
            ]
        ),
    ),
    "annealing with the wrong sign": changed("annealed-likelihood", "test_log_likelihood", lambda v, _: -v),
    "gain per bin for that per spike": swapped("spike-likelihood", "gain_per_bin", "gain_per_spike"),
    "sampled error for the exact one": changed("pattern-frequencies", "log_frequency_error", lambda v, _: v[:, ::-1]),
    "smallest eigenvalue first": changed("fisher-spectrum", "eigenvalue", lambda v, _: v[:, ::-1], "once"),
    "pairs of importances exchanged": changed(
        "importances", "rank_correlation", lambda v, _: v[:, ::-1] + 0.0, "end_of_round"
    ),
    "rates for covariances": swapped("sample-statistics", "rate_error", "covariance_error"),
    "examples of the biases": changed("example-samples", "example_sample", lambda v, _: np.full_like(v, 0.5)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_fails(at, fault):
    with pytest.raises(AssertionError):
        CHECKS[FAULTS[fault].name](FAULTS[fault], at)


def test_a_top_layer_that_is_not_held_fails(at, monkeypatch):
    """The same chains with nothing clamped."""

    def free(machine, rows, keys, how):
        top = [evaluation.encode(one, r)[0] for one, r in zip(at.machines, rows, strict=True)]
        drawn = [
            swept(one, (jnp.zeros_like(r), (t > 0.5).astype(jnp.float32)), key, how.n_sweeps)[0]
            for one, r, t, key in zip(at.machines, rows, top, keys, strict=True)
        ]
        return jnp.stack(drawn)

    monkeypatch.setattr(evaluation, "draw_for", free)
    with pytest.raises(AssertionError):
        CHECKS["conditional-samples"](MEASURES["conditional-samples"], at)


def test_measures_are_chosen_by_what_is_there(at):
    data, sizes = at.trials.data[0], at.machine.layer_sizes
    everything = {measure.name for measure in measures.chosen(None, data, sizes)}
    assert everything == set(MEASURES) - {"annealed-likelihood"}
    assert [m.name for m in measures.chosen(["size", "encoding"], data, sizes)] == ["encoding", "size"]
    large = {measure.name for measure in measures.chosen(None, data, (100, 50))}
    assert "annealed-likelihood" in large and not {"divergence", "exact-likelihood"} & large
    with pytest.raises(ValueError, match=r"measures: unknown measure 'encodin'; did you mean 'encoding'\?"):
        measures.chosen(["encodin"], data, sizes)
    with pytest.raises(ValueError, match="'divergence' needs a machine one side of which has at most 20 units, which"):
        measures.chosen(["divergence"], data, (100, 50))


OWN = """
from secateur.studies.measures import STAGE, Measure, Variable

class Ones(Measure):
    name = "{name}"
    variables = {{"{name}": Variable(STAGE, "1", "ones")}}

NUMBER = 1
"""


def test_a_measure_of_ones_own_is_named_by_its_place(at, tmp_path, monkeypatch):
    data, sizes = at.trials.data[0], at.machine.layer_sizes
    monkeypatch.setattr(measures, "MEASURES", dict(MEASURES))
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "measures_for_tests.py").write_text(OWN.format(name="ones"))
    (tmp_path / "taken_for_tests.py").write_text(OWN.format(name="size"))
    beside = measures.chosen(["+measures_for_tests:Ones"], data, sizes)
    assert {m.name for m in beside} == set(MEASURES) - {"annealed-likelihood"} | {"ones"}
    assert [m.name for m in measures.chosen(["measures_for_tests:Ones", "size"], data, sizes)] == ["size", "ones"]
    for name, reason in {
        "measures_for_tests:Onse": "has no 'Onse'; did you mean 'Ones'",
        "measures_for_tests:NUMBER": "must be a subclass of Measure, got 1",
        "taken_for_tests:Ones": "has the name 'size' of another measure; rename it",
        "not_there_for_tests:Ones": "measure 'not_there_for_tests:Ones': there is no module",
    }.items():
        with pytest.raises(ValueError, match=reason):
            measures.chosen([name], data, sizes)
    results = xr.Dataset(attrs={"measures": ["size", "ones", "twos"]})
    assert _unknown(results)[0].startswith("What twos measured is stored") and not _unknown(xr.Dataset())


def test_a_measure_that_does_not_fit_is_refused(unchecked):
    class Mine(Measure):
        name = "mine"
        variables = {"test_error": Variable(STAGE, "1", "taken")}

    with pytest.raises(ValueError, match=r"measure 'mine' stores \['test_error'\], as 'encoding' does; rename them"):
        measures.register(Mine())
    with pytest.raises(TypeError, match=r"write register\(Mine\(\)\)"):
        measures.register(Mine)  # type: ignore[arg-type]
    Mine.needs = ("luck",)
    with pytest.raises(ValueError, match=r"needs \['luck'\]; it may need labels, image"):
        measures.register(Mine())
    assert "mine" not in MEASURES and Expectation("a", "holds", []).because == ""
