"""How far to believe a recording: each ground by itself makes the conclusion, and findings are withheld."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from secateur.model.trust import Verdict
from secateur.recordings.belief import belief, collapsed, findings


def _parts(**changes: Any) -> tuple[Any, Any, Any]:
    """A comparison, the stiffness and the stability of three units, all well but for what is changed."""
    given: dict[str, Any] = {
        "neighbours": 0.0,
        "n_blocks": 20,
        "misfit": 0.1,
        "stable": True,
        "reasons": (),
        "without": (),
    } | changes
    numbers = np.repeat(np.arange(given["n_blocks"]), 5)
    blocks = SimpleNamespace(
        numbers=numbers, neighbours=given["neighbours"], sentence="blocks of a kind", n_blocks=given["n_blocks"]
    )
    split = SimpleNamespace(blocks=blocks, ever_held_out=np.ones(len(numbers), bool))
    sentences = ("two folds.", "pairwise predicts better than independent on held-out bins: +0.1 (+0.05 to +0.15).")
    low, high = (np.nan, np.nan) if given["without"] else (0.9, 1.1)
    units = pd.DataFrame(
        {"unit": list("abc"), "information": [1.0, 3.0, 2.0], "information_low": low, "information_high": high}
    ).assign(rank=[3, 1, 2])
    couplings = pd.DataFrame(
        {"kind": "coupling", "first_unit": list("aab"), "second_unit": list("bcc"), "fisher_information": [1.0, 2, 3]}
    ).assign(low=low, high=high, rank=[3, 2, 1])
    stiff = SimpleNamespace(
        parameters=couplings,
        units=units,
        misfit=given["misfit"],
        verdict=Verdict(given["reasons"]),
        without_intervals=given["without"],
        of="joint",
        convention="0/1",
    )
    table = pd.DataFrame({"ranking": ["units"], "correlation": [0.8], "stable": [given["stable"]]})
    stable = SimpleNamespace(table=table, sentences=("The ranking of units (0/1) is stable: 0.8.",))
    return SimpleNamespace(folds=split, sentences=sentences), stiff, stable


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("n_words", "changes", "conclusion", "named"),
    [
        (1000, {}, "This can be read as it stands", True),
        (24, {}, "Rankings mean nothing here: there are 8 words for each parameter", False),
        (1000, {"misfit": 0.6}, "Rankings mean nothing here: the pairwise fit has not converged", False),
        (1000, {"without": ("fewer than 8 blocks",)}, "No interval can be given, so single ranks mean nothing", False),
        (1000, {"stable": False}, "no ranking comes out again", False),
        (1000, {"n_blocks": 7}, "too few held-out blocks for verdicts on prediction", True),
        (1000, {"neighbours": 0.5}, "To be read with care: activity drifts from block to block", True),
        (1000, {"reasons": ("the chains have not mixed",)}, "some chains have not mixed", True),
    ],
)
def test_the_conclusion_and_what_is_named(n_words, changes, conclusion, named):
    parts = _parts(**changes)
    found = belief(n_words, *parts)
    assert conclusion in found.conclusion and found.rankings == named
    poor = [ground.what for ground in found.grounds if ground.verdict == "poor"]
    assert len(poor) == (0 if not changes and n_words == 1000 or "without" in changes else 1)
    told = findings(*parts, found)
    assert told[0].startswith("pairwise predicts better")
    if named:
        assert (
            "Stiffest units (joint matrix, convention 0/1; Fisher information per nat², 95 % intervals): b: 3 "
            in told[1]
        )
        assert told[2].startswith("Stiffest couplings: b with c: 3 (0.9 to 1.1); a with c: 2")
    else:
        assert told[-1].startswith("The stiffest units and couplings are not named. ") and "Stiffest" not in told[-1]


@pytest.mark.usefixtures("unchecked")
def test_chains_that_draw_words_count_among_what_has_mixed():
    found = belief(
        1000, *_parts(), noted=["the sample is NOT TO BE TRUSTED: split R-hat 1.2 of the energy (limit 1.01)"]
    )
    assert "some chains have not mixed" in found.conclusion
    assert next(g for g in found.grounds if g.what == "mixing").verdict == "poor"


def test_messages_that_differ_in_numbers_are_one():
    messages = ["R-hat 1.02 of the energy (limit 1.01)", "R-hat 1.3 of the rate of unit 4 (limit 1.01)", "other"]
    assert collapsed(messages) == ["R-hat 1.02 of the energy (limit 1.01) (2 messages like this)", "other"]
    assert collapsed([]) == []
