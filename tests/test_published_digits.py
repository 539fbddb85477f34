"""The digits study beside the published numbers: tables, expectations, figures, documents."""

import numpy as np
import pytest

import digits_docs
from pages import plain
from secateur.figures import costs, curves, generation, likelihoods
from secateur.figures.published import is_published_digits
from secateur.report.content import findings_content
from secateur.report.published_comparison import at_published, compared_errors, end_rows, error_rows, markdown
from secateur.report.published_digits import first_above, paper_expectations
from synthetic_study import FACTS, KEPT, paper_study, synthetic_config, synthetic_results, told, write_study

CRITERIA = ("variance-fi", "heuristic-fi", "weight-magnitude", "random", "anti-fi", "random-units")
SYNAPSES = 278_400


@pytest.fixture
def paper():
    return paper_study(CRITERIA, 3)


def rows_of(results):
    return {(row.label, row.synapses): row for row in compared_errors(results)}


def test_only_the_published_machine_is_compared(paper):
    config, results = paper
    assert is_published_digits(results)
    assert not is_published_digits(results.assign_attrs(layer_sizes=(784, 400, 676)))
    for changes in ({"model.hidden": [400, 300]}, {"data.dataset": "handwritten-digits"}):
        assert not is_published_digits(paper_study(CRITERIA, 3, **changes)[1])
    other = synthetic_config(CRITERIA, 3, (12, 8))

    def content(config, results):
        return findings_content(told(config, results))

    found = content(other, synthetic_results(other))
    assert found["citation"] is None and len(found["expectations"]) == 4
    assert len(content(config, results)["expectations"]) == 9


def test_interpolation_is_linear_in_the_logarithm_of_synapses():
    synapses = np.array([[1000.0, 100.0, 10.0], [1000.0, 500.0, np.nan], [1000.0, 100.0, 0.0]])
    values = np.array([[0.1, 0.2, 0.4], [0.1, 0.3, 0.5], [0.1, 0.2, 0.9]])
    np.testing.assert_allclose(at_published(synapses, values, np.sqrt(1000)), [0.3, np.nan, np.nan])
    np.testing.assert_allclose(at_published(synapses, values, 1000 / np.sqrt(10))[0], 0.15)


def test_ours_at_the_published_numbers_of_synapses(paper):
    rows = rows_of(paper[1])
    low, high = KEPT[-1] * SYNAPSES, KEPT[-2] * SYNAPSES
    share = np.log(high / 61_000) / np.log(high / low)
    between = 0.08 + 0.04 * (0.6 + 0.2 * share)
    np.testing.assert_allclose(rows["variance FI", 61_000].ours.mean(), between, rtol=1e-5)
    assert rows["variance FI", 61_000].verdict == "worse"
    assert rows["variance FI", 33_000].verdict == "not reached"
    assert rows["random", 98_000].verdict == "worse" and rows["anti-FI", 240_000].verdict == "not above"
    assert ("random units", 98_000) not in rows


@pytest.mark.parametrize(
    ("error", "verdict"),
    [(0.0465, "within 0.5 points"), (0.0375, "within 0.5 points"), (0.0475, "worse"), (0.0365, "better")],
)
def test_verdicts_about_half_a_point(paper, error, verdict):
    results = paper[1]
    results["test_error"].loc[{"criterion": "weight-magnitude"}] = error
    assert rows_of(results)["|w|", 98_000].verdict == verdict


def test_trials_that_did_not_get_there_are_counted(paper):
    results = paper[1]
    results["n_synapses"].loc[{"criterion": "random", "trial": 1, "round": [3, 4]}] = np.nan
    cells = {row["name"]: row["cells"] for row in error_rows(results) if row["cells"][0] == "98,000"}
    assert plain(cells["random"][2]).endswith("% (2 of 3 trials)") and "of" not in cells["|w|"][2]


def test_tables_in_markdown(paper):
    results = paper[1]
    errors, ends = markdown(results).strip().split("\n\n")
    assert len(errors.splitlines()) == 2 + len(compared_errors(results)) == 14
    assert len(ends.splitlines()) == 2 + len(end_rows(results)) == 7
    assert all(line.replace(r"\|", "").count("|") == 7 for line in errors.splitlines())
    assert "| \\|w\\| | 98,000 | 4.2 % |" in plain(errors)
    assert "| anti-FI | 240,000 | over 50.0 % |" in plain(errors)
    assert "| variance FI | 13,500 | 277 | not reached | 55 | not reached | 0.805 | not reached |" in ends
    assert "| random | 98,000 | 400 | 400 ± 0 | 676 | 676 ± 0 | 0.818 |" in plain(ends)


def test_expectations_of_the_paper_that_fail(paper):
    first, published, units, anti, random_units = paper_expectations(paper[1])
    assert {first.verdict, published.verdict, units.verdict, anti.verdict} == {"does not hold"}
    assert plain(first.evidence[0]) == "It misreads 8.0 ± 0.6 %."
    assert plain(published.evidence[0]) == "It is so at 0 of 4 points."
    assert "Not reached: variance FI at 33,000, variance FI at 21,000" in published.evidence[-1]
    assert plain(units.evidence[0]) == "variance FI: 405.6 ± 0.0 units, with 55,680 ± 0 synapses."
    # Trial 3 rises by 0.55 from 0.09: it passes 50 % between 111,360 and 55,680 synapses; the others never do.
    assert (
        plain(anti.evidence[-1]) == f"It passes 50 % at {111_360 * 0.5 ** (0.08 / 0.11):,.0f} synapses (1 of 3 trials)."
    )
    without = paper_expectations(paper[1].isel(trial=[0]))[3]
    assert without.evidence[-1] == "It never misreads more than 50 %."
    # Random units lose 0.1, FI rules 0.04 and 0.05: worse in all rounds and trials.
    assert random_units.verdict == "holds" and "in 8 of 8 comparisons" in random_units.evidence[0]


def test_expectations_of_the_paper_that_hold(paper):
    results = paper[1]
    errors = results["test_error"]
    errors[:] = 0.04
    errors.loc[{"criterion": "anti-fi", "round": [1, 2, 3, 4]}] = 0.9
    errors.loc[{"criterion": "random-units", "round": [1, 2, 3, 4]}] = 0.2
    results["n_units"].loc[{"criterion": ["variance-fi", "heuristic-fi"], "layer": 2, "round": 4}] = 99
    first, published, units, anti, random_units = paper_expectations(results)
    assert [first.verdict, units.verdict, anti.verdict, random_units.verdict] == ["holds"] * 4
    assert published.verdict == "holds in part"  # five points were not reached
    results["n_synapses"].loc[{"round": 4}] *= 0.1
    assert paper_expectations(results)[1].verdict == "holds"
    results["n_units"].loc[{"criterion": "heuristic-fi", "layer": 2, "round": 4}] = 100
    assert paper_expectations(results)[2].verdict == "holds in part"
    # Twin: random units differ from FI in the mean as before, but trials disagree.
    errors.loc[{"criterion": "random-units"}] += np.array([-0.4, 0.0, 0.4])[:, None, None]
    assert paper_expectations(results)[4].verdict == "does not hold"


def test_missing_values_and_rules_are_not_judged(paper):
    results = paper[1]
    alone = paper_expectations(results.sel(criterion=["random"]))
    assert [found.verdict for found in alone[2:]] == ["not tested"] * 3
    for name in ("test_error", "n_units"):
        results[name][:] = np.nan
    assert {found.verdict for found in paper_expectations(results)} == {"not tested"}
    assert "nan" not in markdown(results)


def test_where_an_error_is_passed():
    synapses, errors = np.array([1000.0, 100.0, 10.0]), np.array([0.1, 0.2, 0.6])
    np.testing.assert_allclose(first_above(synapses, errors, 0.15), 1000 / np.sqrt(10))
    np.testing.assert_allclose(first_above(synapses, errors, 0.4), 100 / np.sqrt(10))
    assert first_above(synapses, errors, 0.05) == 1000 and np.isnan(first_above(synapses, errors, 0.7))


def circles(axes):
    return sorted(
        (float(x), float(y))
        for line in axes.lines
        if line.get_markerfacecolor() == "white"
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    )


def test_published_values_are_open_circles_within_the_axes(paper):
    config, results = paper
    few = results.sel(criterion=["heuristic-fi", "anti-fi"])
    axes = curves.test_error_over_synapses(few).figure.axes[0]
    assert circles(axes) == [(11_000, 0.163), (26_000, 0.084), (65_000, 0.060), (240_000, 0.5)]
    assert axes.get_xlim()[1] < 11_000 < 240_000 < axes.get_xlim()[0]
    assert axes.get_ylim()[0] < 0.06 and axes.get_ylim()[1] > 0.5
    first, second = curves.units_over_synapses(few).figure.axes
    assert circles(first) == [(11_000, 280), (98_000, 348)] and circles(second) == [(11_000, 30), (98_000, 640)]
    assert circles(generation.sample_quality(few).figure.axes[0]) == [(11_000, 0.795), (98_000, 0.64)]
    other = few.assign_attrs(dataset="rows")
    for drawing in (curves.test_error_over_synapses(other), curves.units_over_rounds(few)):
        assert not circles(drawing.figure.axes[0]) and "Open circles" not in drawing.caption


def test_published_units_stand_at_round_ten_of_the_published_schedule(paper):
    config, results = paper
    ten = results.assign_coords(round=[0, 2, 5, 8, 10])
    assert not circles(curves.units_over_rounds(ten).figure.axes[0])
    same = ten.assign_attrs(pruning_fraction=[0.1, 0.1])
    assert (10, 280) in circles(curves.units_over_rounds(same).figure.axes[0])


def test_what_annealing_rejects_is_not_drawn_and_said(paper):
    results = paper[1]
    drawing = likelihoods.test_likelihood(results)
    assert "not to be trusted" not in drawing.caption and "withheld" not in generation.annealing_note(results)
    results["test_log_likelihood_trusted"].loc[{"criterion": "random", "round": 2, "stage": "retrained"}] = 0
    drawing = likelihoods.test_likelihood(results)
    # Six rules, five rounds, two stages, three trials; of the note six rules, four rounds and the shared round 0.
    assert "3 of 180 estimates are not to be trusted and not drawn" in drawing.caption
    assert "3 of 75 likelihoods are withheld" in generation.annealing_note(results)
    drawn = {c.get_label(): c[0].get_ydata() for c in drawing.figure.axes[1].containers}
    assert np.isnan(drawn["random"][2]) and np.isfinite(drawn["random"][[0, 1, 3, 4]]).all()
    assert np.isfinite(drawn["|w|"]).all()
    results["test_log_likelihood_trusted"][:] = 0
    assert [text.get_text() for text in likelihoods.test_likelihood(results).figure.axes[1].texts] == [
        "none to be trusted"
    ]
    results["log_likelihood_bound"][:] = np.nan
    assert "was not measured" in generation.annealing_note(results)


def test_bars_of_sweep_times(paper):
    results = paper[1]
    axes = costs.sweep_times(results, FACTS).figure.axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == [
        "unpruned\n20 – 12 – 8",
        "variance FI\n20 – 9 – 8",
        "random\n20 – 12 – 8",
    ]
    assert [plain(text.get_text()) for text in axes.texts] == ["3", "1.5 (÷ 2.0)", "3"]
    assert [text.get_text() for text in costs.sweep_times(results, {}).figure.axes[0].texts] == ["not measured"]


def test_small_machines_are_in_kilobytes(paper):
    sizes = paper[1]
    sizes["machine_bytes"][:] = 1.5e6
    assert costs.machine_bytes(sizes).figure.axes[0].get_ylabel() == "MB"
    sizes["machine_bytes"][:, :, 4] = 1e5
    assert costs.machine_bytes(sizes).figure.axes[0].get_ylabel() == "MB (log scale)"
    sizes["machine_bytes"][:] = 5e4
    assert costs.machine_bytes(sizes).figure.axes[0].get_ylabel() == "kB"


def test_documents_get_tables_figures_and_results(paper, tmp_path, monkeypatch):
    config, results = paper
    folder = write_study(tmp_path / "study", config, results)
    monkeypatch.setattr(digits_docs, "write_report", lambda folder: None)
    (folder.path / "figures").mkdir()
    for name in digits_docs.FIGURES:
        (folder.path / "figures" / f"{name}.png").write_bytes(b"figure")
    digits_docs.write_docs(folder.path, tmp_path / "docs")
    assert {path.name for path in (tmp_path / "docs").iterdir()} == {
        "comparison.md",
        "results.nc",
        *(f"{name}.png" for name in digits_docs.FIGURES),
    }
    assert (tmp_path / "docs" / "comparison.md").read_text("utf-8") == markdown(folder.results)
    other = synthetic_config(("random",), 1, (12,))
    small = write_study(tmp_path / "small", other, synthetic_results(other))
    with pytest.raises(ValueError, match="small' is not a digits study of the published machine; run one with"):
        digits_docs.write_docs(small.path, tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
