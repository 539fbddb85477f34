"""The rule of one standard error, on held-out likelihoods that are made: the best alone is not taken."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from secateur.recordings import choose_n_hidden, fitting

EPOCHS = np.repeat(np.arange(5), 20)
BEST = np.array([-1.0, -1.2, -0.9, -1.1, -1.0])
"""Held-out log-likelihood of the larger candidate in each fold."""


@pytest.mark.parametrize(
    ("behind", "chosen"),
    [
        ((-0.4, 0.2, -0.3, 0.2, 0.1), 2),  # within one standard error on average, so the smaller is taken
        ((-0.2, -0.21, -0.19, -0.2, -0.2), 4),  # as far behind in every fold: the larger is better
        ((-0.4, 0.2, -0.3, 0.2, -0.3), 2),
    ],
)
def test_the_smallest_within_one_standard_error_is_taken(monkeypatch, behind, chosen):
    """Taking the best would choose 4 each time."""
    fold = iter(np.repeat(np.arange(5), 2))
    values = {2: BEST + np.array(behind), 4: BEST}
    monkeypatch.setattr(fitting, "fit_machine", lambda words, key, n_hidden, settings: n_hidden)
    monkeypatch.setattr(fitting, "log_partition", lambda machine, key, rates: None)
    monkeypatch.setattr(
        fitting, "log_probability", lambda machine, rows, log_z: np.full(len(rows), values[machine][next(fold)])
    )
    words = np.tile([[0, 1], [1, 0]], (50, 1))
    found, table = choose_n_hidden(words, EPOCHS, jax.random.key(0), candidates=(2, 4))
    assert found == chosen and table.loc[table["log_likelihood"].idxmax(), "n_hidden"] == 4
    assert table.loc[table["chosen"], "n_hidden"].item() == chosen
    np.testing.assert_allclose(table["standard_error"][0], np.std(behind, ddof=1) / np.sqrt(5))
