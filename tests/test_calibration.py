"""Stated errors have the coverage that they state, or say that they are not to be trusted; 200 repeats of each.

``-m slow -s`` prints the rows of the table in docs/trust.md.
"""

from __future__ import annotations

import pytest

from calibration import ESTIMATES, HIGHEST, LOWEST, SCHEDULES, Coverage, coverage

N_REPEATS = 200

pytestmark = pytest.mark.slow


def _row(name: str, kind: str, sampler: str, found: Coverage) -> str:
    share = f"{found.mean:.3f}" if found.n_trusted else "-"
    return f"| {name} | {kind} | {sampler} | {found.n_trusted} of {found.n_repeats} | {share} |"


@pytest.mark.parametrize(("kind", "sampler"), SCHEDULES)
@pytest.mark.parametrize("name", ESTIMATES)
def test_coverage_is_what_is_stated(name, kind, sampler):
    repeats, truth = ESTIMATES[name](kind, sampler, N_REPEATS)
    found = coverage(repeats, truth)
    print(_row(name, kind, sampler, found))
    assert found.holds(), (LOWEST, found.mean, HIGHEST)
    # All of it trusted where chains mix, none where they do not, so that neither a strict nor a lax verdict passes.
    assert found.n_trusted == 0 if (kind, sampler) == ("two modes", "gibbs") else found.n_trusted > 0.9 * N_REPEATS
    fault = "errors halved" if found.n_trusted else "verdict ignored"
    assert not coverage(repeats, truth, fault).holds()
