"""Each measure beside an independent computation on machines small enough to list all states.

Every check takes the measure, so that a twin with a planted fault can be given to it and must fail.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats
from sklearn.linear_model import LogisticRegression

from secateur.model import enumeration
from secateur.model.machine import Machine
from secateur.model.trials import stack
from secateur.studies import load_config
from secateur.studies.measures import Measure, offered
from secateur.studies.measures.measure import Stage, Trials
from secateur.studies.sources import Rows

N_VISIBLE, N_HIDDEN, N_CLASSES = 6, 3, 3
Z = 4.9
"""Standard errors that chance exceeds once in a million times."""
SETTINGS = {
    "evaluation.n_samples": 400,
    "evaluation.n_conditional_samples": 400,
    "evaluation.n_sweeps": 20,
    "evaluation.n_annealing_chains": 200,
    "evaluation.n_temperatures": 200,
    "evaluation.annealing": "every stage",
    "evaluation.n_examples": 5,
    "evaluation.n_frequency_samples": 100_000,
    "evaluation.mean_field_tolerance": 1e-5,
    "model.hidden": [N_HIDDEN],
    "model.receptive_field": None,
    "pruning.fraction": 0.2,
}


def machine_of(trial: int) -> Machine:
    """A machine without symmetry whose hidden units stand for classes; two synapses are gone."""
    rng = np.random.default_rng(trial)
    weights = rng.normal(0, 0.4, (N_VISIBLE, N_HIDDEN)) + 4 * np.kron(np.eye(3), np.ones((2, 1))) - 1
    mask = np.ones_like(weights, bool)
    mask[0, 2] = mask[5, 0] = False
    return Machine([weights], [rng.normal(-0.5, 0.3, N_VISIBLE), rng.normal(-1.0, 0.5, N_HIDDEN)], [mask])


def rows_of(trial: int, n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of three classes, a pair of units for each, with noise; and their labels."""
    rng = np.random.default_rng(100 + trial)
    labels = rng.integers(N_CLASSES, size=n_rows)
    rows = np.repeat(np.eye(3)[labels], 2, axis=1) != (rng.random((n_rows, N_VISIBLE)) < 0.2)
    return rows.astype(np.float32), labels


def stage_of(n_trials: int = 2) -> Stage:
    """A stage of small machines with labelled rows; words of a recording at the same time."""
    data = []
    for trial in range(n_trials):
        (train, labels), (test, test_labels) = rows_of(trial, 300), rows_of(trial + 50, 250)
        data.append(Rows(train, test, "made", ("row", "rows"), labels, test_labels, image_shape=(2, 3), bin_size=0.02))
    machine = stack([machine_of(trial) for trial in range(n_trials)])
    keys = jax.random.split(jax.random.key(3), n_trials)
    rows, held_out = (jnp.asarray(np.stack([getattr(one, part) for one in data])) for part in ("train", "test"))
    trials = Trials(load_config("digits", "quick", SETTINGS), keys, data, rows, held_out, machine)
    trials.shared["offered"] = offered(data[0], machine.layer_sizes)
    return Stage(trials, machine, jax.random.split(jax.random.key(4), n_trials))


def weights_of(machine: Machine) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights of existing synapses, visible and hidden biases in float64."""
    below, above = (np.asarray(bias, float) for bias in machine.biases)
    return np.asarray(machine.weights[0], float) * np.asarray(machine.masks[0]), below, above


def listed(machine: Machine) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All states of both layers and their probabilities, by plain sums in float64."""
    weights, below, above = weights_of(machine)
    states = np.array(list(product((0, 1), repeat=N_VISIBLE + N_HIDDEN)), float)
    visible, hidden = states[:, :N_VISIBLE], states[:, N_VISIBLE:]
    weight = np.exp(visible @ below + hidden @ above + np.einsum("si,ij,sj->s", visible, weights, hidden))
    return visible, hidden, weight / weight.sum()


def probability_of(machine: Machine) -> dict[tuple[float, ...], float]:
    """Probability of every visible pattern."""
    found: dict[tuple[float, ...], float] = {}
    visible, _, probability = listed(machine)
    for pattern, p in zip(visible, probability, strict=True):
        found[tuple(pattern)] = found.get(tuple(pattern), 0.0) + p
    return found


def check_encoding(measure: Measure, at: Stage) -> None:
    """Against scikit-learn's logistic regression, on hidden probabilities and on raw rows."""
    measure.prepare(at.trials)
    ours, raw = measure.stage(at)["test_error"], measure.once(at)["pixel_error"]
    for place, (machine, data) in enumerate(zip(at.machines, at.trials.data, strict=True)):
        weights, _, above = weights_of(machine)
        features = [1 / (1 + np.exp(-(rows @ weights + above))) for rows in (data.train, data.test)]
        for train, test, found in ((*features, ours[place]), (data.train, data.test, raw[place])):
            reader = LogisticRegression(C=1e3, max_iter=2000).fit(train, data.train_labels)
            expected = 1 - reader.score(test, data.test_labels)
            assert 0.02 < expected < 0.4
            assert abs(found - expected) < 0.06


def judged(at: Stage, rows: np.ndarray, place: int) -> np.ndarray:
    """Class probabilities by the classifier of raw rows, in NumPy."""
    judge = at.trials.shared["judges"][place]
    odds = np.exp(rows @ np.asarray(judge.weights, float) + np.asarray(judge.biases, float))
    return odds / odds.sum(axis=1, keepdims=True)


def check_sample_scores(measure: Measure, at: Stage) -> None:
    """Against the definitions, class by class."""
    measure.prepare(at.trials)
    found = measure.stage(at)
    for place, rows in enumerate(at.samples):
        probabilities = judged(at, rows, place)
        winners = probabilities.argmax(axis=1)
        classes = sorted(set(winners))
        quality = np.mean(
            [np.mean([p.max() for p, w in zip(probabilities, winners, strict=True) if w == c]) for c in classes]
        )
        counts = [int((winners == c).sum()) for c in classes]
        assert len(classes) > 1
        np.testing.assert_allclose(found["sample_quality"][place], quality, rtol=1e-4)
        np.testing.assert_allclose(found["sample_diversity"][place], stats.entropy(counts), rtol=1e-4)
        assert abs(found["sample_quality"][place] - found["sample_diversity"][place]) > 0.02


def check_conditional_samples(measure: Measure, at: Stage) -> None:
    """Against the exact share: sum over hidden states given the row, then over visible states given those."""
    measure.prepare(at.trials)
    found = measure.stage(at)["conditional_accuracy"]
    patterns = np.array(list(product((0, 1), repeat=N_VISIBLE)), float)
    hidden = np.array(list(product((0, 1), repeat=N_HIDDEN)), float)
    for place, (machine, data) in enumerate(zip(at.machines, at.trials.data, strict=True)):
        weights, below, above = weights_of(machine)
        up = 1 / (1 + np.exp(-(data.test @ weights + above)))
        down = 1 / (1 + np.exp(-(hidden @ weights.T + below)))
        of_hidden = np.prod(np.where(hidden[None] == 1, up[:, None], 1 - up[:, None]), axis=2)
        of_visible = np.prod(np.where(patterns[None] == 1, down[:, None], 1 - down[:, None]), axis=2)
        read = judged(at, patterns, place).argmax(axis=1)
        assert data.test_labels is not None
        right = of_visible @ (read[:, None] == np.arange(N_CLASSES)[None, :])
        shares = (of_hidden @ right)[np.arange(len(data.test)), data.test_labels]
        error = np.sqrt((shares * (1 - shares)).sum()) / len(data.test)
        assert shares.mean() > 0.6
        assert abs(found[place] - shares.mean()) < Z * error


def check_example_samples(measure: Measure, at: Stage) -> None:
    """Against the sigmoid of the hidden states drawn, to the steps in which they are stored."""
    found = measure.stage(at)["example_sample"]
    for place, machine in enumerate(at.machines):
        hidden = np.asarray(at.drawn[0][1][place][:5], float)
        weights, below, _ = weights_of(machine)
        inputs = hidden @ weights.T + below
        assert found[place].shape == (5, N_VISIBLE)
        assert abs(found[place] - 1 / (1 + np.exp(-inputs))).max() < 0.51 / 255


def mean_likelihood(machine: Machine, rows: np.ndarray) -> float:
    """Mean log-likelihood of rows by listing all states."""
    probability = probability_of(machine)
    return float(np.mean([np.log(probability[tuple(row)]) for row in rows.astype(float)]))


def independent(data: Rows) -> float:
    """Log-likelihood of test rows under independent units, by SciPy."""
    rates = (data.train.sum(axis=0) + 0.5) / (len(data.train) + 1)
    return float(stats.bernoulli.logpmf(data.test.astype(int), rates).sum(axis=1).mean())


def check_exact_likelihood(measure: Measure, at: Stage) -> None:
    """Against the listing of all states, with and without the shortcut over all patterns."""
    for shortcut in (False, True):
        if shortcut:
            measure.prepare(at.trials)
        found = measure.stage(at)["test_log_likelihood"]
        expected = [mean_likelihood(m, d.test) for m, d in zip(at.machines, at.trials.data, strict=True)]
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(
        measure.once(at)["independent_log_likelihood"], [independent(d) for d in at.trials.data], rtol=1e-6
    )


def check_annealed_likelihood(measure: Measure, at: Stage) -> None:
    """Against the exact likelihood, within the error it states; both directions on their sides of the joint value."""
    found = measure.stage(at)
    for place, (machine, data) in enumerate(zip(at.machines, at.trials.data, strict=True)):
        error = found["test_log_likelihood_error"][place]
        assert found["test_log_likelihood_trusted"][place] == 1 and 0 < error < 0.2
        assert abs(found["test_log_likelihood"][place] - mean_likelihood(machine, data.test)) < Z * error
        for suffix, size in (("", "annealing_sample_size"), ("_reverse", "annealing_reverse_sample_size")):
            one_way = found[f"log_likelihood_bound{suffix}"][place]
            own = found[f"log_likelihood_bound{suffix}_error"][place]
            assert abs(one_way - mean_likelihood(machine, data.test)) < 2 * Z * own
            assert 1 <= found[size][place] <= 200


def check_spike_likelihood(measure: Measure, at: Stage) -> None:
    """Against the listing of all states, per bin and per spike."""
    found, spikes = measure.stage(at), measure.once(at)["spikes_per_bin"]
    for place, (machine, data) in enumerate(zip(at.machines, at.trials.data, strict=True)):
        gain = mean_likelihood(machine, data.test) - independent(data)
        np.testing.assert_allclose(spikes[place], data.test.sum() / len(data.test), rtol=1e-6)
        np.testing.assert_allclose(found["gain_per_bin"][place], gain, rtol=1e-5)
        np.testing.assert_allclose(found["gain_per_spike"][place], gain * len(data.test) / data.test.sum(), rtol=1e-5)


def check_divergence(measure: Measure, at: Stage) -> None:
    """Against SciPy's relative entropy over the patterns that occur."""
    measure.prepare(at.trials)
    found, entropy = measure.stage(at)["kl_divergence"], measure.once(at)["data_entropy"]
    for place, (machine, data) in enumerate(zip(at.machines, at.trials.data, strict=True)):
        patterns, counts = np.unique(data.train.astype(float), axis=0, return_counts=True)
        probability = probability_of(machine)
        p, q = counts / counts.sum(), np.array([probability[tuple(pattern)] for pattern in patterns])
        expected = stats.entropy(p, q / q.sum()) - np.log(q.sum())  # SciPy norms both
        backward = float((q * np.log(q / p)).sum())
        assert abs(expected - backward) > 0.01
        np.testing.assert_allclose(found[place], expected, rtol=1e-6)
        np.testing.assert_allclose(entropy[place], stats.entropy(p), rtol=1e-6)


def check_pattern_frequencies(measure: Measure, at: Stage) -> None:
    """Against counting in dictionaries; the sampled error within chance of the exact one."""
    measure.prepare(at.trials)
    found, once = measure.stage(at), measure.once(at)
    edges = np.geomspace(0.5 / 300, 1, 13)
    for place, (machine, data) in enumerate(zip(at.machines, at.trials.data, strict=True)):
        probability = probability_of(machine)
        counts: dict[tuple[float, ...], float] = {}
        for row in map(tuple, data.train.astype(float)):
            counts[row] = counts.get(row, 0) + 1 / len(data.train)
        logs = {row: np.log(probability[row]) - np.log(p) for row, p in counts.items()}
        np.testing.assert_allclose(
            found["log_frequency_error"][place, 0], np.mean(np.abs(list(logs.values()))), rtol=1e-5
        )
        assert abs(found["log_frequency_error"][place, 1] - found["log_frequency_error"][place, 0]) < 0.1
        for b in range(12):
            own = [logs[row] for row, p in counts.items() if edges[b] <= p < edges[b + 1]]
            difference = found["log_frequency_difference"][place, 0, b]
            assert np.isnan(difference) if not own else abs(difference - np.mean(own)) < 1e-4
        assert found["unseen_share"][place] < 0.1
        expected = np.zeros((2, N_VISIBLE + 1))
        for row, p in probability.items():
            expected[0, int(sum(row))] += counts.get(row, 0)
            expected[1, int(sum(row))] += p
        np.testing.assert_allclose(once["population_count"][place], expected, atol=1e-9)
        ranked = sorted(probability.values(), reverse=True)
        np.testing.assert_allclose(once["rank_frequency"][place, 1], ranked, atol=1e-9)


def statistics_of(machine: Machine) -> tuple[np.ndarray, np.ndarray]:
    """Sufficient statistics of every state, existing synapses first, and the states' probabilities."""
    visible, hidden, probability = listed(machine)
    mask = np.asarray(machine.masks[0])
    products = np.einsum("si,sj->sij", visible, hidden)[:, mask]
    return np.concatenate([products, visible, hidden], axis=1), probability


def check_fisher_spectrum(measure: Measure, at: Stage) -> None:
    """Against the eigenvalues of NumPy's weighted covariance of the sufficient statistics."""
    found = measure.once(at)["eigenvalue"]
    for place, machine in enumerate(at.machines):
        statistics, probability = statistics_of(machine)
        expected = np.linalg.eigvalsh(np.cov(statistics.T, aweights=probability, ddof=0))[::-1]
        np.testing.assert_allclose(found[place], expected, rtol=1e-5, atol=1e-9)


def check_importances(measure: Measure, at: Stage) -> None:
    """Against SciPy's rank correlations of importances from the listing."""
    found = measure.end_of_round(at)["rank_correlation"]
    for place, machine in enumerate(at.machines):
        statistics, probability = statistics_of(machine)
        n = int(np.asarray(machine.masks[0]).sum())
        covariance = np.cov(statistics.T, aweights=probability, ddof=0)
        variance, leading = covariance.diagonal()[:n], abs(np.linalg.eigh(covariance)[1][:n, -1])
        visible, hidden, _ = listed(machine)
        before, after = probability @ visible, probability @ hidden
        i, j = np.nonzero(np.asarray(machine.masks[0]))
        inputs = np.log(before[i] / (1 - before[i])) + np.asarray(machine.weights[0], float)[i, j] * (1 - after[j])
        q = after[j] / (1 + np.exp(-inputs))
        expected = [
            stats.spearmanr(*pair).statistic
            for pair in ((q * (1 - q), variance), (variance, leading), (q * (1 - q), leading))
        ]
        np.testing.assert_allclose(found[place], expected, atol=1e-6)


def check_synapse_fate(measure: Measure, at: Stage) -> None:
    """Against ranks by SciPy: a synapse's decile is its rank in tenths."""
    rng = np.random.default_rng(5)
    n_visible, n_hidden = 10, 8
    weights = rng.normal(size=(n_visible, n_hidden))
    machine = Machine([weights], [rng.normal(size=n_visible), rng.normal(size=n_hidden)])
    gone = abs(weights) < np.quantile(abs(weights), 0.25)
    pruned = machine.with_masks([~gone])
    moments = enumeration.moments(machine)
    found = measure.removal(stack([machine]), [moments], stack([pruned]))
    rates = [np.asarray(layer) for layer in moments.rates]
    quantities = (abs(weights), np.repeat(rates[0][:, None], n_hidden, 1), np.repeat(rates[1][None], n_visible, 0))
    for place, quantity in enumerate(quantities):
        ranks = stats.rankdata(quantity.ravel(), method="ordinal") - 1
        for decile in range(10):
            own = (ranks * 10 // quantity.size) == decile
            np.testing.assert_allclose(
                found["elimination_probability"][0, place, decile], gone.ravel()[own].mean(), atol=1e-6
            )
            np.testing.assert_allclose(
                found["quantity_mean"][0, place, decile], quantity.ravel()[own].mean(), rtol=1e-5
            )
    assert found["elimination_probability"][0, 0, 0] == 1 and found["elimination_probability"][0, 0, 9] == 0


def check_sample_statistics(measure: Measure, at: Stage) -> None:
    """Against loops over units, pairs and counts."""
    found = measure.stage(at)
    for place, (samples, data) in enumerate(zip(at.samples, at.trials.data, strict=True)):
        rates = [np.mean([samples[:, i].mean() - data.test[:, i].mean()]) ** 2 for i in range(N_VISIBLE)]
        pairs = []
        for i in range(N_VISIBLE):
            for j in range(i):
                ours, theirs = (
                    np.mean(r[:, i] * r[:, j]) - r[:, i].mean() * r[:, j].mean() for r in (samples, data.test)
                )
                pairs.append((ours - theirs) ** 2)
        counts = [abs((samples.sum(1) == k).mean() - (data.test.sum(1) == k).mean()) for k in range(N_VISIBLE + 1)]
        for name, value in (
            ("rate_error", np.sqrt(np.mean(rates))),
            ("covariance_error", np.sqrt(np.mean(pairs))),
            ("count_distance", sum(counts) / 2),
        ):
            np.testing.assert_allclose(found[name][place], value, rtol=1e-3, err_msg=name)
    assert measure.once(at).keys() == {f"reference_{name}" for name in found}


CHECKS: dict[str, Any] = {
    name.removeprefix("check_").replace("_", "-"): check
    for name, check in globals().items()
    if name.startswith("check_")
}
"""By the name of the measure."""
