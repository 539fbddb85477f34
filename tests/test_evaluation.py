"""The digit classifier against scikit-learn's, encoding in chunks against all rows at once, scores of samples."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from secateur.model import mean_field
from secateur.model.trials import stack
from secateur.studies import evaluation
from secateur.studies.evaluation import Classifier


def test_the_classifier_reads_as_well_as_that_of_scikit_learn():
    pixels, labels = load_digits(return_X_y=True)
    pixels = (pixels > 7).astype(np.float32)
    train, test = slice(0, 1200), slice(1200, None)
    reference = LogisticRegression(C=1 / (1200 * 1e-3), max_iter=500).fit(pixels[train], labels[train])
    found = evaluation.fit_classifier(pixels[train], labels[train], jax.random.key(0))
    assert found.accuracy(pixels[test], labels[test]) > reference.score(pixels[test], labels[test]) - 0.02
    agree = found.probabilities(pixels[test]).argmax(axis=1) == reference.predict(pixels[test])
    assert agree.mean() > 0.93


def test_the_classifier_of_separable_rows_gives_probabilities():
    rows = np.repeat(np.eye(3, dtype=np.float32), 20, axis=0)
    labels = np.repeat(np.arange(3), 20)
    found = evaluation.fit_classifier(rows, labels, jax.random.key(0))
    assert found.accuracy(rows, labels) == 1
    assert found.accuracy(rows, (labels + 1) % 3) == 0
    np.testing.assert_allclose(found.probabilities(rows).sum(axis=1), 1, atol=1e-6)
    again = evaluation.fit_classifier(rows, labels, jax.random.key(0))
    np.testing.assert_array_equal(found.weights, again.weights)


@pytest.mark.parametrize("n_rows", [1, 7, 12])
def test_encoding_in_chunks_is_inference_of_all_rows(dbm, monkeypatch, n_rows):
    monkeypatch.setattr(evaluation, "_CHUNK_ROWS", 5)
    rows = np.random.default_rng(0).integers(0, 2, (n_rows, 4)).astype(np.float32)
    top, bounds = evaluation.encode(dbm, rows, max_updates=100, tolerance=1e-6)
    means = mean_field.infer(dbm, rows, max_updates=100, tolerance=1e-6)
    np.testing.assert_allclose(top, means[-1], atol=1e-5)
    np.testing.assert_allclose(bounds, mean_field.variational_bound(dbm, means), atol=1e-4)
    stacked_top, _ = evaluation.encode(stack([dbm, dbm]), np.stack([rows, rows]), max_updates=100, tolerance=1e-6)
    np.testing.assert_allclose(stacked_top[1], top, atol=1e-5)


def test_quality_counts_each_class_once_and_diversity_is_an_entropy():
    classifier = Classifier(jnp.asarray([[4.0, 0.0], [0.0, 2.0]], jnp.float32), jnp.zeros(2, jnp.float32))
    samples = np.asarray([[1, 0], [1, 0], [1, 0], [0, 1]], np.float32)
    found = evaluation.sample_scores(classifier, samples)
    winning = 1 / (1 + np.exp(-np.array([4.0, 2.0])))
    assert found.quality == pytest.approx(winning.mean(), rel=1e-5)
    assert found.diversity == pytest.approx(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)), rel=1e-5)
