"""Rules of the user's own by name, from modules and from installed packages, and what is said when they go wrong."""

from __future__ import annotations

import sys

import jax
import numpy as np
import pytest

from secateur.model import enumeration
from secateur.pruning import criterion_names, importance, prune, register, rule_named
from secateur.pruning.rules import RULES
from secateur.studies import load_config

KEY = jax.random.key(1)

RULES_FILE = """
import jax

calls = 0
threshold = 0.5

def busy(synapses):
    return synapses.weights**2 * synapses.rates_post[None, :]

def whole_numbers(synapses):
    return [[int(100 * w) for w in row] for row in synapses.weights.tolist()]

def drawn(synapses):
    return jax.random.uniform(synapses.key, synapses.weights.shape)

class Nested:
    rule = staticmethod(busy)

def forgot_to_return(synapses):
    synapses.weights ** 2

def narrow(synapses):
    return synapses.rates_pre

def complex_numbers(synapses):
    return synapses.weights.astype(complex)

def not_a_number(synapses):
    return synapses.weights * float("nan")

def raises(synapses):
    inner = synapses.rates_post
    return {}["rate"]

def of_two(synapses, more):
    return synapses.weights
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with modules in it; what they change in Python is undone."""
    (tmp_path / "own_rules.py").write_text(RULES_FILE)
    (tmp_path / "broken_rules.py").write_text("import module_that_is_not_there\n")
    (tmp_path / "leaving_rules.py").write_text("raise SystemExit(3)\n")
    (tmp_path / "slipped_rules.py").write_text("def rule(:\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    for name in [name for name in sys.modules if name.endswith("_rules")]:
        del sys.modules[name]


@pytest.fixture
def package(folder):
    """An installed package that offers two criteria, one of them under the name of a built-in."""
    about = folder / "pruners-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: pruners\nVersion: 1.0\n")
    names = "pruners-busy = own_rules:Nested.rule\nvariance-fi = own_rules:busy\nnot a name = own_rules:busy\n"
    (about / "entry_points.txt").write_text(f"[secateur.criteria]\n{names}lost = gone_rules:rule\n")
    sys.path.insert(0, str(folder))


def _busy(machine):
    rates = enumeration.moments(machine).rates[1]
    return np.asarray(machine.weights[0], float) ** 2 * rates[None, :]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", ["own_rules:busy", "own_rules:Nested.rule"])
def test_a_function_of_a_module_is_a_criterion(rbm, name):
    (found,) = importance(rbm, "exact", name, KEY)
    np.testing.assert_allclose(found, _busy(rbm), rtol=1e-6)
    assert prune(rbm, name, 0.5, key=KEY).n_synapses == 10


@pytest.mark.usefixtures("folder")
def test_lists_whole_numbers_and_random_draws_are_importances(rbm):
    (whole,) = importance(rbm, "exact", "own_rules:whole_numbers", KEY)
    np.testing.assert_array_equal(whole, (100 * np.asarray(rbm.weights[0], float)).astype(int))
    (one,), (again,), (other,) = (
        importance(rbm, "exact", "own_rules:drawn", key) for key in (KEY, KEY, jax.random.key(2))
    )
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


@pytest.mark.usefixtures("package")
def test_an_installed_package_offers_criteria(rbm):
    assert "pruners-busy" in criterion_names() and "not a name" not in criterion_names()
    assert criterion_names().count("variance-fi") == 1
    assert "own_rules" not in sys.modules  # names alone import nothing
    (found,) = importance(rbm, "exact", "pruners-busy", KEY)
    np.testing.assert_allclose(found, _busy(rbm), rtol=1e-6)
    assert rule_named("variance-fi") is RULES["variance-fi"]
    with pytest.raises(ValueError, match="criterion 'pruners-busy' is already registered; choose another name"):
        register("pruners-busy", RULES["random"])
    with pytest.raises(ValueError, match="criterion 'lost': there is no module 'gone_rules'"):
        rule_named("lost")


@pytest.mark.usefixtures("folder")
def test_the_current_folder_hides_no_installed_module(folder):
    (folder / "colorsys.py").write_text("def rgb_to_hsv(synapses):\n    return 'mine'\n")
    sys.modules.pop("colorsys", None)
    assert rule_named("colorsys:rgb_to_hsv").function.__code__.co_filename != str(folder / "colorsys.py")


@pytest.mark.usefixtures("folder")
def test_a_study_imports_the_rules_it_names_and_a_finished_one_does_not(folder):
    criteria = {"criteria": ["variance-fi", "own_rules:busy"]}
    load_config("digits", "quick", criteria, finished=True)
    assert "own_rules" not in sys.modules
    assert load_config("digits", "quick", criteria).criteria == ("variance-fi", "own_rules:busy")
    assert "own_rules" in sys.modules
    with pytest.raises(ValueError, match="criteria: criterion 'own_rules:bussy': .* did you mean 'busy'"):
        load_config("digits", "quick", {"criteria": ["own_rules:bussy"]})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "no_such_rules:rule",
            "criterion 'no_such_rules:rule': there is no module 'no_such_rules'; go to its folder or",
        ),
        ("own_rules.py:busy", "there is no module 'own_rules.py'; leave the ending .py out"),
        ("own_rules.inner:busy", "there is no module 'own_rules.inner'; go to its folder or install it"),
        ("own_rules:busi", r"'own_rules' \(.*own_rules\.py\) has no 'busi'; did you mean 'busy'\?"),
        ("own_rules:", r"'own_rules' \(.*own_rules\.py\) has no ''; write module:name"),
        ("math:busy", "'math' (.*) has no 'busy'"),
        ("own_rules:threshold", "criterion 'own_rules:threshold' must name a function or a rule, got a float"),
        (
            "broken_rules:rule",
            "importing 'broken_rules' raised ModuleNotFoundError: No module named 'module_that_is_not_",
        ),
        ("leaving_rules:rule", "importing 'leaving_rules' raised SystemExit: 3; mend the module"),
        ("slipped_rules:rule", "importing 'slipped_rules' raised SyntaxError: invalid syntax"),
        ("../own_rules:busy", "unknown criterion '../own_rules:busy'"),
        ("own_rules/inner:busy", "unknown criterion 'own_rules/inner:busy'"),
        ("own_rules.busy", "unknown criterion 'own_rules.busy'; known are variance-fi, "),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_rule_that_cannot_be_had_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        rule_named(name)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            "forgot_to_return",
            r"must return one importance per synapse, shape \(5, 4\) for weight matrix 0, got None",
        ),
        ("narrow", r"must return one importance per synapse, shape \(5, 4\) for weight matrix 0, got shape \(5,\)"),
        ("complex_numbers", "must return real numbers, got an array of complex128"),
        (
            "not_a_number",
            "criterion 'own_rules:not_a_number', weight matrix 0: importance is NaN for 20 synapses; mend the",
        ),
        (
            "raises",
            r"raised KeyError: 'rate' \(own_rules\.py, line 33\) for weight matrix 0, shape \(5, 4\); mend the rule",
        ),
        ("of_two", r"raised TypeError: of_two\(\) missing 1 required positional argument: 'more' for weight matrix 0"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_rule_that_goes_wrong_is_told_by_name(rbm, function, message):
    with pytest.raises(ValueError, match=message) as error:
        prune(rbm, f"own_rules:{function}", 0.5, key=KEY)
    assert f"criterion 'own_rules:{function}'" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.usefixtures("folder")
def test_what_a_rule_raised_stays_in_the_traceback(rbm):
    with pytest.raises(ValueError) as error:
        prune(rbm, "own_rules:raises", 0.5, key=KEY)
    assert isinstance(error.value.__cause__, KeyError)
