"""A digits study small enough for tests."""

TINY = {
    "data.test_share": 0.85,  # few training images: epochs and classifiers are short
    "trials": 2,
    "rounds": 2,
    "criteria": ["variance-fi", "random"],
    "model.hidden": [64, 20],
    "model.hidden_bias": 0.0,
    "pruning.fraction": [0.2, 0.3],
    "pretraining.n_epochs": 2,
    "pretraining.batch_size": 10,
    "training.n_epochs": 2,
    "retraining.n_epochs": 1,
    "importance.sampler": "gibbs",  # so few draws are never trusted
    "importance.n_chains": 20,
    "importance.n_draws": 4,
    "importance.n_burn_in": 5,
    "evaluation.n_samples": 20,
    "evaluation.n_sweeps": 5,
    "evaluation.n_examples": 3,
    "evaluation.n_conditional_samples": 20,
    "evaluation.n_annealing_chains": 10,
    "evaluation.n_temperatures": 20,
    "evaluation.annealing": "every stage",
}
