import pytest

from secateur.studies import built_in_studies, load_config
from secateur.studies.config import parse_change


def test_the_built_in_digits_study_runs_six_rules_three_trials_and_three_rounds():
    config = load_config("digits", "quick")
    assert (config.trials, config.rounds, len(config.criteria)) == (3, 3, 6)
    assert "quick" in built_in_studies()["digits"].sizes


def test_changes_reach_nested_settings():
    config = load_config("digits", changes=dict([parse_change("training.n_epochs=3"), parse_change("seed=7")]))
    assert config.training.n_epochs == 3
    assert config.seed == 7


def test_values_are_read_as_toml_or_else_as_text():
    assert parse_change("pruning.fraction=[0.1, 0.2]") == ("pruning.fraction", [0.1, 0.2])
    assert parse_change("name=my study") == ("name", "my study")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trainin.n_epochs": 3}, r"unknown setting 'trainin\.n_epochs'; did you mean 'training\.n_epochs'\?"),
        ({"training": 3}, r"unknown setting 'training'"),
        ({"criteria": ["variance"]}, r"unknown criterion 'variance'; .*did you mean 'variance-fi'\?"),
        ({"criteria": ["random", "random"]}, r"criteria: must not name a criterion twice"),
        ({"pruning.fraction": 1.0}, r"fraction must lie between 0 and 1 \(both excluded\), got 1\.0"),
        ({"pruning.fraction": [0.1]}, r"fraction must be one number or 2 \(one per weight matrix\), got 1"),
        ({"model.hidden": [0]}, r"model\.hidden: must name at least one hidden layer with at least one unit each"),
        ({"model.hidden": []}, r"model\.hidden: must name at least one hidden layer"),
        ({"trials": 0}, r"trials: .*greater than or equal to 1.*got 0"),
        ({"training.learning_rate": float("nan")}, r"training\.learning_rate"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        load_config("digits", "quick", changes)


@pytest.mark.parametrize(
    ("study", "size", "message"),
    [
        ("digitz", None, r"unknown study 'digitz'; known are .*digits.*; did you mean 'digits'\?"),
        ("nowhere.toml", None, r"there is no study file 'nowhere\.toml'; give the path of a \.toml file"),
        ("digits", "huge", r"study 'digits' has no size 'huge'; choose one of quick"),
    ],
)
def test_unknown_studies_and_sizes_are_refused(study, size, message):
    with pytest.raises(ValueError, match=message):
        load_config(study, size)


def test_malformed_toml_is_refused(tmp_path):
    path = tmp_path / "broken.toml"
    path.write_text("name = [")
    with pytest.raises(ValueError, match=r"broken\.toml' is not valid TOML: Invalid value"):
        load_config(path)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "noise.toml"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(ValueError, match=r"noise\.toml' is not valid TOML"):
        load_config(path)


def test_a_change_without_equals_is_refused():
    with pytest.raises(ValueError, match=r"expected key=value, e\.g\. training\.n_epochs=3, got 'seed'"):
        parse_change("seed")


def test_a_size_like_another_changes_only_what_it_names(tmp_path):
    paper, first = (load_config("digits", size).model_dump() for size in ("paper", "first-version"))
    assert first.pop("pruning")["fraction"] == (0.1, 0.1) and paper.pop("pruning")["fraction"] == (0.1, 0.25)
    assert first.pop("size") == "first-version" and paper.pop("size") == "paper"
    assert first == paper
    path = tmp_path / "study.toml"
    path.write_text('kind = "digits"\n[sizes.a]\nlike = "b"\n[sizes.c]\n')
    with pytest.raises(ValueError, match=r"size 'a' must be like a size that stands for itself, got 'b'"):
        load_config(path)
