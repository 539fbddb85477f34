"""scikit-learn's own tests of ``BernoulliRBM``, with the names of this package.

After ``sklearn/neural_network/tests/test_rbm.py`` (BSD 3-Clause). Names: ``n_components`` is ``hidden``, ``n_iter`` is
``n_epochs``, ``_mean_hiddens`` is ``transform``. What cannot hold as it stands there, and why:

- ``test_fit``, ``test_partial_fit``: the mean score of -21 to no decimal is a pseudo-likelihood; ours is ``log p(v)``.
  Here our parameters are put into a ``BernoulliRBM``, whose pseudo-likelihood must be as good.
- ``test_sample_hiddens``: there is no method that draws hidden states; ``gibbs`` is compared with its own means.
- ``test_fit_gibbs``: weights and a draw of one seed; here sparse and dense rows must give equal ones.
- ``test_score_samples``: a score below -300 of the two rows that all data consist of is the pseudo-likelihood of a poor
  fit; ``log p(v)`` must be finite and at most 0. Values a thousand times beyond the training rows are refused.
- ``test_convergence_dtype_consistency``: ``h_samples_`` has no counterpart; chains are no part of a fitted estimator.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from sklearn.neural_network import BernoulliRBM
from sklearn.utils.fixes import CSC_CONTAINERS, CSR_CONTAINERS, LIL_CONTAINERS

from secateur.estimator import BoltzmannMachine

pytestmark = pytest.mark.filterwarnings("ignore::secateur.model.trust.PoorFit")

DIGITS = load_digits().data / 16
SMALL: dict[str, Any] = {"hidden": 16, "batch_size": 5, "n_epochs": 5, "random_state": 42}


def _pseudo_likelihood(model: BoltzmannMachine, rows: np.ndarray) -> float:
    """What a ``BernoulliRBM`` with the same parameters gives."""
    other = BernoulliRBM(random_state=0)
    other.components_, other.n_features_in_ = model.components_, rows.shape[1]
    other.intercept_hidden_, other.intercept_visible_ = model.intercept_hidden_, model.intercept_visible_
    return float(other.score_samples(rows).mean())


def test_fit():
    rows = DIGITS.copy()
    model = BoltzmannMachine(hidden=64, batch_size=10, n_epochs=7, random_state=9).fit(rows)
    assert _pseudo_likelihood(model, rows) > -22.5
    assert_array_equal(rows, DIGITS)  # in-place tricks did not change them


def test_partial_fit():
    rows = DIGITS.copy()
    model = BoltzmannMachine(hidden=64, batch_size=20, random_state=9)
    for _ in range(7):
        for batch in np.array_split(rows, 9):
            model.partial_fit(batch)
    assert _pseudo_likelihood(model, rows) > -22.5
    assert_array_equal(rows, DIGITS)


def test_transform():
    rows = DIGITS[:100]
    model = BoltzmannMachine(**SMALL).fit(rows)
    assert_array_equal(model.fit(rows).transform(rows), model.transform(rows))
    means = 1 / (1 + np.exp(-(rows @ model.components_.T + model.intercept_hidden_)))
    assert_allclose(model.transform(rows), means, atol=1e-6)


@pytest.mark.parametrize("container", CSR_CONTAINERS)
def test_small_sparse(container):
    BoltzmannMachine().fit(container(DIGITS[:4]))  # no exception


@pytest.mark.parametrize("container", CSC_CONTAINERS + CSR_CONTAINERS)
def test_small_sparse_partial_fit(container):
    sparse, whole = (BoltzmannMachine(hidden=64, batch_size=10, random_state=9) for _ in range(2))
    sparse.partial_fit(container(DIGITS[:100]))
    whole.partial_fit(DIGITS[:100])
    assert_array_equal(sparse.components_, whole.components_)


def test_sample_hiddens():
    model = BoltzmannMachine(**SMALL | {"hidden": 2}).fit(DIGITS[:100])
    drawn = np.mean([model.gibbs(DIGITS[:1]) for _ in range(100)], axis=0)
    # A mean of 100 draws of 0 or 1 is off by at most 0.05 in its standard deviation; 5.5 of them fail once in 10^6.
    assert abs(drawn - model.reconstruct(DIGITS[:1])).max() < 0.275


@pytest.mark.parametrize("container", CSC_CONTAINERS)
def test_fit_gibbs(container):
    rows = np.array([[0.0], [1.0]])
    known = BoltzmannMachine(hidden=2, batch_size=2, n_epochs=42, learning_rate=3.0, random_state=42)
    models = [known.fit(rows), BoltzmannMachine(**known.get_params()).fit(container(rows))]
    assert_array_equal(models[0].components_, models[1].components_)
    again = [model.gibbs(given) for model, given in zip(models, (rows, container(rows)), strict=True)]
    assert_array_equal(again[0], again[1])


def test_gibbs_smoke():
    model = BoltzmannMachine(hidden=42, batch_size=40, n_epochs=2, random_state=42).fit(DIGITS)
    first, second = model.gibbs(DIGITS), model.gibbs(DIGITS)
    assert np.isfinite(first).all()
    assert np.all((first != second).max(axis=1))


@pytest.mark.parametrize("container", LIL_CONTAINERS)
def test_score_samples(container):
    rows = np.vstack([np.zeros(1000), np.ones(1000)])
    model = BoltzmannMachine(hidden=10, batch_size=2, n_epochs=10, random_state=42).fit(rows)
    scores = model.score_samples(rows)
    assert np.isfinite(scores).all() and (scores <= 0).all()
    assert_allclose(model.score_samples(container(rows)), scores)
    with pytest.raises(
        ValueError, match="^X must hold values from 0 to 1 like the training rows, got values from 0 to"
    ):
        model.score_samples([np.arange(1000) * 100])


def test_rbm_verbose(capsys):
    BoltzmannMachine(n_epochs=2, verbose=10).fit(DIGITS[:100])
    assert capsys.readouterr().out.count("[BoltzmannMachine] Iteration") == 2


@pytest.mark.parametrize("container", CSC_CONTAINERS)
def test_sparse_and_verbose(container, capsys):
    rows = container([[0.0], [1.0]])
    BoltzmannMachine(hidden=2, batch_size=2, n_epochs=1, random_state=42, verbose=True).fit(rows)
    assert re.match(
        r"\[BoltzmannMachine\] Iteration 1, pseudo-likelihood = -?(\d)+(\.\d+)?, time = (\d|\.)+s",
        capsys.readouterr().out,
    )


@pytest.mark.parametrize(
    ("dtype_in", "dtype_out"), [(np.float32, np.float32), (np.float64, np.float64), (int, np.float64)]
)
def test_transformer_dtypes_casting(dtype_in, dtype_out):
    assert BoltzmannMachine(**SMALL).fit_transform(DIGITS[:100].astype(dtype_in)).dtype == dtype_out


def test_convergence_dtype_consistency():
    models = [BoltzmannMachine(**SMALL), BoltzmannMachine(**SMALL)]
    double, single = (m.fit_transform(DIGITS[:100].astype(t)) for m, t in zip(models, (float, np.float32), strict=True))
    assert_allclose(double, single, rtol=1e-6, atol=0)
    for name, rtol in {"intercept_hidden_": 1e-6, "intercept_visible_": 1e-5, "components_": 1e-3}.items():
        assert_allclose(getattr(models[0], name), getattr(models[1], name), rtol=rtol, atol=0)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_feature_names_out(method):
    model = BoltzmannMachine(hidden=10, n_epochs=1)
    getattr(model, method)(DIGITS[:100])
    assert_array_equal(model.get_feature_names_out(), [f"boltzmannmachine{i}" for i in range(10)])
