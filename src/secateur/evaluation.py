"""What a machine is good for: encoding, samples, structure.

Accuracy and quality follow Scholl, Rule & Hennig 2021 (Methods, "Evaluation"): a multinomial logistic regression
reads the
digit from the top layer's mean-field probabilities, and one trained on raw pixels judges samples of the model.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Float, Int
from sklearn.linear_model import LogisticRegression

from secateur import mean_field
from secateur.arrays import AnyArray
from secateur.machine import Machine
from secateur.trials import over_trials

INVERSE_REGULARISATION = 10.0
"""scikit-learn's ``C`` of every classifier, for raw pixels and for hidden layers alike."""


@dataclass(frozen=True)
class SampleScores:
    """How a digit classifier judges samples of the model.

    Attributes
    ----------
    quality
        Mean winning probability, averaged over the predicted classes (each class counts once).
    diversity
        Entropy in nats of the predicted classes' frequencies; ``log(10) = 2.30`` when all ten digits are equally
        frequent.
    """

    quality: float
    diversity: float


def fit_classifier(
    features: Float[np.ndarray, "rows features"], labels: Int[np.ndarray, " rows"]
) -> LogisticRegression:
    """Multinomial logistic regression; Newton-CG needs a few passes where L-BFGS needs hundreds at equal accuracy."""
    return LogisticRegression(solver="newton-cg", C=INVERSE_REGULARISATION, max_iter=200, tol=1e-3).fit(
        features, labels
    )


def encoding_error(
    train_features: Float[np.ndarray, "rows features"],
    train_labels: Int[np.ndarray, " rows"],
    test_features: Float[np.ndarray, "test_rows features"],
    test_labels: Int[np.ndarray, " test_rows"],
) -> float:
    """Share of test rows that a logistic regression on the features gets wrong; features that never vary are left out.

    With no feature left every row is taken for the most frequent class.
    """
    varies = np.ptp(train_features, axis=0) > 0
    if not varies.any():
        return float(np.mean(test_labels != np.bincount(train_labels).argmax()))
    classifier = fit_classifier(train_features[:, varies], train_labels)
    return float(1 - classifier.score(test_features[:, varies], test_labels))


@jax.jit
def top_layer(machine: Machine, visible: Float[AnyArray, "*trials rows visible"]) -> jax.Array:
    """Mean-field probabilities of the top layer given visible rows, for one machine or stacked trials."""
    return over_trials(lambda m, rows: mean_field.infer(m, rows)[-1], machine)(machine, visible)


def sample_scores(classifier: LogisticRegression, samples: Float[np.ndarray, "samples visible"]) -> SampleScores:
    """Quality and diversity of visible samples, as judged by a classifier trained on raw pixels."""
    probabilities = classifier.predict_proba(samples)
    winners = probabilities.argmax(axis=1)
    found, counts = np.unique(winners, return_counts=True)
    quality = np.mean([probabilities[winners == label].max(axis=1).mean() for label in found])
    frequencies = counts / counts.sum()
    return SampleScores(float(quality), float(-(frequencies * np.log(frequencies)).sum()))
