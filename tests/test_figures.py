from itertools import combinations
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from secateur.figures import RULE_STYLES, curves, images, rule_styles
from secateur.figures.summary import mean_and_error
from secateur.model.machine import Machine, receptive_field_masks
from secateur.pruning.rules import RULES
from secateur.report.drawing import draw_all
from secateur.studies import StudyFolder
from synthetic_study import KEPT, SHAPE, UNPRUNED_ERROR, synthetic_config, synthetic_results, write_study

CRITERIA = ("variance-fi", "heuristic-fi", "weight-magnitude", "random", "anti-fi")
NAMES = {
    "test-error-over-synapses",
    "test-error-over-rounds",
    "retraining-gain",
    "units-over-synapses",
    "units-over-rounds",
    "machine-bytes",
    "sweep-times",
    "sample-quality",
    "sample-diversity",
    "samples-over-rounds",
    "conditional-accuracy",
    "test-log-likelihood",
    "sample-statistics",
    "example-samples",
    "receptive-fields",
    "lost-pixels",
    "training-history",
}
# Machado, Oliveira & Fernandes 2009, severity 1: what linear RGB looks like without long- or middle-wave cones.
COLOUR_BLIND = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    config = synthetic_config(CRITERIA, 3, (12, 8))
    results = synthetic_results(config)
    return write_study(tmp_path_factory.mktemp("figures") / "study", config, results, first_units=9), results


@pytest.fixture(scope="module")
def captions(study):
    return {name: caption for found in draw_all(study[0]).values() for name, caption in found.items()}


def lines_of(figure):
    return {container.get_label(): container for container in figure.axes[0].containers}


def test_every_figure_is_there_as_png_and_pdf(study, captions):
    files = {path.name for path in (study[0].path / "figures").iterdir()}
    assert files == {f"{name}.{kind}" for name in NAMES for kind in ("png", "pdf")}
    assert set(captions) == NAMES
    for name in NAMES:
        pixels = imread(study[0].path / "figures" / f"{name}.png")
        assert pixels.shape[1] == 1000 and np.ptp(pixels[..., :3]) == 1
        assert (study[0].path / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")


def test_captions_say_what_error_bars_are(captions):
    for name in NAMES - {"example-samples", "receptive-fields", "lost-pixels", "training-history", "sweep-times"}:
        assert "Points are means of 3 trials, error bars their standard errors." in captions[name].text
    assert "1, 2 and 4 of 4 for every rule" in captions["example-samples"].text


def test_nothing_global_changes(study):
    before = dict(matplotlib.rcParams)
    with pytest.raises(FileNotFoundError):
        draw_all(type(study[0])(study[0].path / "nowhere"))
    curves.test_error_over_rounds(study[1])
    assert dict(matplotlib.rcParams) == before
    for path in Path(curves.__file__).parent.glob("*.py"):
        # New axes for a user who gave none are pyplot's; figures of reports are not.
        assert path.name == "own_axes.py" or "pyplot" not in path.read_text("utf-8"), path


def test_points_are_means_and_bars_standard_errors(study):
    lines = lines_of(curves.test_error_over_synapses(study[1]).figure)
    assert list(lines) == ["variance FI", "heuristic FI", "|w|", "random", "anti-FI"]
    # Trials differ by 0.01 and by a tenth of the rise; over three trials the standard deviation is that difference.
    for label, rise in {"variance FI": 0.04, "anti-FI": 0.5}.items():
        points, _, (bars,) = lines[label]
        np.testing.assert_allclose(points.get_ydata(), UNPRUNED_ERROR + rise * (1 - KEPT), rtol=1e-5)
        lengths = np.ptp([segment[:, 1] for segment in bars.get_segments()], axis=1)
        np.testing.assert_allclose(lengths, 2 * (0.01 + 0.1 * rise * (1 - KEPT)) / np.sqrt(3), rtol=1e-4)


def test_rules_at_the_same_place_are_moved_apart(study):
    results = study[1]
    rounds = np.array(
        [line[0].get_xdata() for line in lines_of(curves.test_error_over_rounds(results).figure).values()]
    )
    assert all((np.diff(column) > 0.05).all() for column in rounds.T)
    assert (abs(rounds - np.arange(KEPT.size)) < 0.2).all()
    synapses = np.array(
        [line[0].get_xdata() for line in lines_of(curves.test_error_over_synapses(results).figure).values()]
    )
    total = float(results.n_synapses.isel(trial=0, criterion=0, round=0).sum())
    np.testing.assert_allclose(np.exp(np.log(synapses).mean(axis=0)), total * KEPT, rtol=1e-5)


def test_most_informative_unit_comes_first_on_the_original_grid(study):
    folder, results = study
    figure = images.receptive_fields(results, folder.load_machine).figure
    assert figure.axes[1].get_title(loc="left") == "variance FI: 9 of 12 units"
    machine = folder.load_machine(0, "variance-fi", 4)
    information = results.unit_information.sel(criterion="variance-fi").isel(trial=0, round=4).values
    best = int(np.argmax(information[np.asarray(machine.unit_indices[1])]))
    tile = np.asarray(figure.axes[1].images[0].get_array())[1 : 1 + SHAPE[0], 1 : 1 + SHAPE[1]]
    weights = np.asarray(machine.weights[0])[:, best].reshape(SHAPE)
    absent = (tile == np.array([0.84, 0.84, 0.84, 1.0])).all(axis=-1)
    np.testing.assert_array_equal(absent, ~np.asarray(machine.masks[0])[:, best].reshape(SHAPE))
    redness = tile[..., 0] - tile[..., 2]
    assert (np.sign(redness[~absent]) == np.sign(weights[~absent])).all()


def test_lost_pixels_are_shares_of_trials(study):
    axes = images.lost_pixels(study[1]).figure.axes[1]
    lost = study[1].lost_pixel.sel(criterion="heuristic-fi").isel(round=-1)
    np.testing.assert_allclose(np.asarray(axes.images[0].get_array()), lost.mean("trial").values.reshape(SHAPE))
    assert axes.get_title(loc="left") == f"heuristic FI\n{float(lost.sum()) / 3:.1f} lost"


def test_trials_without_values_are_left_out(study):
    values = study[1]["test_error"].copy(deep=True)
    values[0] = np.nan
    mean, error = mean_and_error(values)
    np.testing.assert_allclose(mean, values.values[1:].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(error, abs(values.values[2] - values.values[1]) / 2, rtol=1e-4)
    values[1] = np.nan
    assert mean_and_error(values)[1].isnull().all() and mean_and_error(values)[0].notnull().all()


def test_every_built_in_rule_has_a_style_of_its_own():
    shipped = {name for name, rule in RULES.items() if rule.function.__module__.startswith("secateur.")}
    assert shipped == set(RULE_STYLES)
    for field in ("label", "colour", "marker"):
        assert len({getattr(style, field) for style in RULE_STYLES.values()}) == len(RULE_STYLES)


def lightness_and_colour(rgb):
    """CIE L*a*b* of linear RGB, white point D65."""
    matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = np.cbrt(np.clip(np.array(matrix) @ rgb, 0, None) / np.array([0.9505, 1.0, 1.089]))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("blindness", COLOUR_BLIND)
def test_the_rules_of_the_digits_study_differ_to_colour_blind_eyes(blindness):
    def seen(colour):
        linear = np.array(to_rgb(colour)) ** 2.2
        return lightness_and_colour(np.clip(np.array(COLOUR_BLIND[blindness]) @ linear, 0, 1))

    distances = {
        pair: np.linalg.norm(seen(RULE_STYLES[pair[0]].colour) - seen(RULE_STYLES[pair[1]].colour))
        for pair in combinations(CRITERIA, 2)
    }
    assert min(distances.values()) > 15, distances
    assert np.linalg.norm(seen("#ff0000") - seen("#8a7a00")) < 50  # twin: red and olive come close


def test_styles_of_own_rules_are_stable_and_differ():
    own = [f"my-rule-{number}" for number in range(12)]
    styles = rule_styles([*own, "random"])
    assert len({(style.colour, style.marker) for style in styles.values()}) == 13
    assert rule_styles([*own[::-1], "random"]) == styles
    assert rule_styles(["my-rule-3"])["my-rule-3"].label == "my-rule-3"
    assert rule_styles(["random"])["random"] == RULE_STYLES["random"]
    assert rule_styles(["__"])["__"].label == "…"
    assert rule_styles(["x" * 80])["x" * 80].label == "x" * 23 + "…"


def test_a_layer_without_units_says_so(study, tmp_path):
    results = study[1].sel(criterion=["random"])
    folder = write_study(tmp_path / "study", synthetic_config(("random",), 3, (12, 8)), results, first_units=0)
    figure = images.receptive_fields(results, folder.load_machine).figure
    assert [text.get_text() for text in figure.axes[1].texts] == ["no unit left"]


def test_small_receptive_fields_are_cut_out_of_the_image(tmp_path):
    config = synthetic_config(("random",), 1, (64,))
    masks = receptive_field_masks((64, 64), (8, 8), 3)
    weights = np.random.default_rng(0).normal(size=(64, 64))
    machine = Machine([weights], [np.zeros(64), np.zeros(64)], masks)
    folder = StudyFolder.create(tmp_path / "study", config)
    for number in (0, 4):
        folder.save_machine(machine, 0, "random", number)
    results = synthetic_results(config).assign_attrs(image_shape=(8, 8))
    information = results["unit_information"]
    information[:] = 0
    for number, unit in ((0, 27), (4, 0)):  # in the middle, and in the corner, where the field is 2 x 2
        information[:, :, number, unit] = 1
    drawing = images.receptive_fields(results, folder.load_machine)
    middle, corner = (np.asarray(axes.images[0].get_array())[1:4, 1:4] for axes in drawing.figure.axes[:2])
    assert "own receptive field only" in drawing.caption
    field = weights[:, 27].reshape(8, 8)[2:5, 2:5]
    assert (np.sign(middle[..., 0] - middle[..., 2]) == np.sign(field)).all()
    absent = (corner == np.array([0.84, 0.84, 0.84, 1.0])).all(axis=-1)
    np.testing.assert_array_equal(absent, [[False, False, True], [False, False, True], [True, True, True]])
