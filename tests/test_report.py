import re

import numpy as np
import pytest

from pages import OWN_RULE, SCRIPT, Page, plain
from secateur.figures.comparisons import at_synapses
from secateur.figures.style import RC
from secateur.figures.wording import percent, points, written
from secateur.pruning.rules import RULES
from secateur.report import content, write_report
from secateur.studies.sessions import mixed_versions
from synthetic_study import FACTS, KEPT, synthetic_config, synthetic_results, told, write_study

CRITERIA = ("variance-fi", "heuristic-fi", "weight-magnitude", "random", "anti-fi")


def shown(results):
    config = synthetic_config(tuple(map(str, results.criterion.values)), results.sizes["trial"], (12, 8))
    return told(config, results)


def headlines(results):
    return content.headlines(shown(results))


def expectations(results):
    """In the order of the figures: what is kept at half, anti-FI, the unpruned machine, units."""
    half, anti, pixels, units = content.expectations(shown(results))
    return [half, anti, units, pixels]


def judged(results):
    return [(found.verdict, plain(" ".join(found.evidence))) for found in expectations(results)]


@pytest.fixture(scope="module", autouse=True)
def quick_fonts():
    """Embedding fonts whole takes a third of the time of drawing; PDF files are judged with the figures, not here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RC, "pdf.fonttype", 3)
        yield


@pytest.fixture
def results():
    return synthetic_results(synthetic_config(CRITERIA, 3, (12, 8)))


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """A report whose every name is hostile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RULES, OWN_RULE, RULES["random"])
        config = synthetic_config(("variance-fi", OWN_RULE), 3, (12, 8), name=SCRIPT, title=f"Title {SCRIPT}")
        study = synthetic_results(config)
        study["split_r_hat"][1, 0, 2] = 1.234
        folder = write_study(tmp_path_factory.mktemp("report") / "study", config, study, first_units=9)
        folder.write_provenance(folder.provenance | {"commit": SCRIPT, "packages": {SCRIPT: SCRIPT}})
        return write_report(folder).read_text("utf-8")


def test_page_needs_nothing_else(html):
    page = Page(html)
    sources = [value for tag, name, value in page.attributes if tag == "img" and name == "src"]
    assert len(sources) == 17 and all(source.startswith("data:image/png;base64,") for source in sources)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "http:" not in html and "https:" not in html and "url(" not in html
    assert len(html) < 5_000_000
    assert "default-src 'none'" in html


def test_every_string_is_escaped(html):
    page = Page(html)
    assert SCRIPT not in html and "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert f"Title {SCRIPT}" in page.text and f"Study {SCRIPT}" in page.text
    assert OWN_RULE not in html and OWN_RULE in page.text
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert "secateur run study.toml --seed 7 --out '<script>alert(1)</script>-again'" in page.text


def test_page_says_what_ran_and_how_far_to_trust_it(html):
    text = plain(Page(html).text)
    assert "deep Boltzmann machine with 20 – 12 – 8 units (visible first) and 336 synapses" in text
    assert "4 rounds, each removing 20 % of matrix 1 and 20 % of matrix 2 (of what is left)" in text
    assert "3 trials from seed 7" in text
    assert "7,500 model states per trial and round (150 chains, 50 draws each" in text
    assert "⚠ 1.234" in text and "1 of 15" in text and "0 of 15" in text
    assert "Compiling took 25 % of the run's 80 s (123 compilations)." in text
    assert "finished 22 November 2026, 15:53 UTC" in text
    assert "register it first (secateur.pruning.register)" in text
    assert "One trial" not in text and not re.search(r"\bnan\b", text.lower())


@pytest.mark.long
def test_mixed_versions_are_told(tmp_path):
    """Of sessions, and of workers within one."""
    config = synthetic_config(("random",), 2, (12, 8))
    folder = write_study(tmp_path / "study", config, synthetic_results(config))
    one = {name: FACTS[name] for name in ("secateur", "commit", "python", "packages", "machine")} | {
        "ended": "finished"
    }
    other = one | {"commit": "4567def", "packages": {"jax": "0.11.0"}}
    assert mixed_versions({"sessions": [one]}) == mixed_versions({"sessions": [one, one]}) == []
    assert mixed_versions({"sessions": [one, other]}) == ["commit", "jax"]
    assert mixed_versions({"sessions": [one | {"workers": [one, other]}]}) == ["commit", "jax"]
    folder.write_provenance(FACTS | {"sessions": [one, other]})
    page = write_report(folder).read_text("utf-8")
    assert "mixed versions or computers: commit, jax differed" in page
    assert "the run was interrupted and resumed" in page


def test_table_of_final_numbers(html):
    rows = [re.sub(r"<[^>]*>", " ", row) for row in re.findall(r"<tr>.*?</tr>", html)]
    rows = [plain(" ".join(row.split())) for row in rows]
    assert any("test error, pruned test error, retrained" in row and "synapses units in layer 1" in row for row in rows)
    assert any(
        row.startswith("unpruned 8.0 ± 0.6 % 8.0 ± 0.6 %") and "336 ± 0 12.0 ± 0.0 8.0 ± 0.0" in row for row in rows
    )
    ours = next(row for row in rows if row.startswith("variance FI 11.2 ± 0.8 % 11.2 ± 0.8 %"))
    assert "67 ± 0 7.2 ± 0.0 4.8 ± 0.0" in ours
    assert any(row.startswith("raw digits 7.0 ± 0.0 % 7.0 ± 0.0 % – –") for row in rows)


def test_costs_and_times_of_the_run(html):
    rows = [re.sub(r"<[^>]*>", " ", row) for row in re.findall(r"<tr>.*?</tr>", html)]
    rows = [plain(" ".join(row.split())) for row in rows]
    assert any(row.startswith("variance FI 11.2") and " 1.5 " in row for row in rows)
    assert any(row.startswith("unpruned 8.0") and " 3 " in row for row in rows)
    assert any(row.startswith("test digits") and row.endswith("93.0 ± 0.0 %") for row in rows)
    assert "first training variance FI" in rows and "trial 1 70 271" in rows
    assert "rules run 2 at a time, so that times overlap" in plain(Page(html).text)
    assert "Beside the published numbers" not in html


@pytest.mark.long
def test_one_trial_of_one_rule_of_one_hidden_layer(tmp_path):
    config = synthetic_config(("weight-magnitude",), 1, (12,))
    page = Page(write_report(write_study(tmp_path / "study", config, synthetic_results(config))).read_text("utf-8"))
    text = plain(page.text)
    assert "One trial was run: there are no error bars" in text and "One trial, so there are no error bars." in text
    assert "±" not in text and not re.search(r"\bnan\b", text.lower())
    assert "|w| (weight-magnitude): after 4 rounds: the machine misreads 9.0 % of the test digits at half" in text
    assert "Anti-FI is clearly the worst rule at equal numbers of synapses: – not tested" in text
    assert "Boltzmann machine with 20 – 12 units" in text and "deep Boltzmann machine with" not in text


@pytest.mark.long
def test_missing_values_dead_layers_and_odd_names(tmp_path, monkeypatch):
    odd = "_odd $x^ {rule}"
    monkeypatch.setitem(RULES, odd, RULES["random"])
    config = synthetic_config((odd,), 2, (12,))
    study = synthetic_results(config)
    for name in set(study.data_vars) - {"n_synapses"}:
        study[name][:] = np.nan
    study["n_synapses"][:, :, 2:] = np.nan
    text = plain(Page(write_report(write_study(tmp_path, config, study, first_units=0)).read_text("utf-8")).text)
    assert "odd $x^ {rule} (_odd $x^ {rule}): after 4 rounds: nothing was measured." in text
    assert "not measured" in text and not re.search(r"\bnan\b", text.lower())


def test_headlines_interpolate_at_half_of_the_synapses(results):
    found = {headline.criterion: plain(headline.sentence) for headline in headlines(results)}
    assert found["variance-fi"] == (
        "after 4 rounds: the machine misreads 10.0 ± 0.7 % of the test digits at half of the synapses (unpruned "
        "8.0 ± 0.6 %; +2.0 ± 0.1 points, within 3) and 11.2 ± 0.8 % at the end; 20 % of the synapses are left, and "
        "40.0 ± 0.0 % of the hidden units are gone."
    )
    assert "+25.0 ± 1.4 points, more than 3)" in found["anti-fi"]
    short = results.isel(round=slice(0, 3))
    told = plain(headlines(short)[0].sentence)
    assert (
        told.startswith("after 2 rounds: the machine misreads 9.6") and "half of the synapses was not reached" in told
    )


def test_expectations_that_hold(results):
    found = judged(results)
    assert [verdict for verdict, _ in found] == ["holds"] * 4
    assert "variance FI: +2.0 ± 0.1 points, within the limit. heuristic FI: +2.5 ± 0.1 points, within" in found[0][1]
    assert "worse beyond chance (Student's t, 95 %) in 16 of 16 comparisons" in found[1][1]
    assert "The smallest difference is +8.0 ± 0.5 points against random at 269 synapses (round 1)." in found[1][1]
    assert "8.0 ± 0.6 % of the test digits" in found[3][1] and "+1.0 ± 0.6 points" in found[3][1]


def test_units_are_compared_at_equal_numbers_of_synapses(results):
    expectation = expectations(results)[2]
    assert expectation.verdict == "holds"
    assert "variance FI 8.0 ± 0.0, heuristic FI 6.4 ± 0.0, |w| 1.6 ± 0.0, random 0.0 ± 0.0" in plain(
        expectation.evidence[0]
    )
    # The same machines, but variance FI went further than the others: its extra losses do not count.
    results["n_synapses"].loc[{"criterion": ["heuristic-fi", "weight-magnitude", "random"], "round": 4}] = np.nan
    again = plain(expectations(results)[2].evidence[0])
    assert "when 134 synapses are left" in again and "variance FI 6.0 ± 0.0, heuristic FI 4.8 ± 0.0" in again


def test_expectations_that_fail_are_called_so(results):
    errors = results["test_error"]
    errors.loc[{"criterion": "heuristic-fi"}] = errors.sel(criterion="anti-fi").values
    results["n_units"].loc[{"criterion": "random"}] = results["n_units"].sel(criterion="heuristic-fi").values
    results["pixel_error"][:] = 0.03
    half, anti, units, pixels = expectations(results)
    assert [half.verdict, anti.verdict, units.verdict] == ["holds in part"] * 3
    assert "heuristic FI: +25.0 ± 1.4 points, beyond the limit." in map(plain, half.evidence)
    assert "in 12 of 16 comparisons" in anti.evidence[0] and "against heuristic FI" in anti.evidence[1]
    assert pixels.verdict == "does not hold" and "+5.0 ± 0.6 points" in plain(pixels.evidence[0])


def test_a_difference_within_the_noise_is_not_clear(results):
    """Twin: the same mean difference, but trials disagree."""
    errors = results["test_error"]
    assert expectations(results)[1].verdict == "holds"
    noise = np.array([-0.4, 0.0, 0.4])[:, None, None]
    errors.loc[{"criterion": "anti-fi"}] = errors.sel(criterion="anti-fi").values + noise
    assert expectations(results)[1].verdict == "does not hold"
    errors.loc[{"criterion": "variance-fi"}] = (
        errors.sel(criterion="variance-fi").values + noise * KEPT[None, ::-1, None]
    )
    assert "variance FI: +2.0" in plain(expectations(results)[0].evidence[0])
    assert "but not beyond chance" in expectations(results)[0].evidence[0]


def test_missing_rules_and_values_are_not_judged(results):
    for found in expectations(results.sel(criterion=["random"]))[:3]:
        assert found.verdict == "not tested"
    results["test_error"][:] = np.nan
    results["n_units"][:] = np.nan
    assert {found.verdict for found in expectations(results)} == {"not tested"}
    assert "nan" not in headlines(results)[0].sentence


def test_interpolation_by_trial():
    synapses = np.array([[100.0, 60.0, 40.0], [100.0, 80.0, np.nan]])
    values = np.array([[0.1, 0.2, 0.4], [0.1, 0.3, 0.5]])
    np.testing.assert_allclose(at_synapses(synapses, values, np.array([50.0, 90.0])), [0.3, 0.2])
    np.testing.assert_array_equal(np.isnan(at_synapses(synapses, values, np.array([39.0, 50.0]))), [True, True])


def test_numbers_are_written_with_their_errors():
    assert plain(percent(np.array([0.07, 0.08, 0.09]))) == "8.0 ± 0.6 %"
    assert plain(points(np.array([-0.02]))) == "−2.0 points"
    assert plain(written(np.array([12345.0, 12347.0]), digits=0)) == "12,346 ± 1"
    assert written(np.array([np.nan, np.nan])) == "not measured"
