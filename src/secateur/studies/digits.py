"""The digits study: a deep machine of handwritten digits, judged by what its top layer tells about the digit."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from secateur import likelihood
from secateur.data import LabelledImages, data_folder, handwritten_digits, read_mnist
from secateur.model import units
from secateur.model.arrays import Keys
from secateur.model.machine import Machine, States, receptive_field_masks
from secateur.model.moments import Moments
from secateur.model.randomness import child_key
from secateur.model.trials import over_trials, stack
from secateur.sampling.draws import swept
from secateur.sampling.starts import started
from secateur.studies import evaluation
from secateur.studies.config import DigitsConfig, DigitsEvaluation
from secateur.studies.schema import DIGITS, Variable
from secateur.studies.study import Measured, checksum_of
from secateur.training import Callback, TrainingCheckpoint
from secateur.training.loop import trained
from secateur.training.pretraining import pretrained

REFERENCES = ("test digits", "random patterns")


class DigitsStudy:
    """Data, first machines, training and measurements of some trials of a digits study; these trials are stacked.

    Raises
    ------
    ValueError
        If the settings do not fit the data, e.g. a receptive field larger than the image.
    OSError
        If the data set is not there.
    """

    variables: dict[str, Variable] = DIGITS

    def __init__(self, config: DigitsConfig, trials: Sequence[int]):
        self.config = config
        root = jax.random.key(config.seed)
        self.keys = jnp.stack([child_key(root, "trial", trial) for trial in trials])
        self.images = _load(config, trials)
        self.visible = jnp.asarray(np.stack([images.train for images in self.images]))
        self.held_out = jnp.asarray(np.stack([images.test for images in self.images]))
        self.machine = stack([self._first_machine(place) for place in range(len(trials))])
        self.judges = [
            evaluation.fit_classifier(images.train, images.train_labels, child_key(key, "digit classifier"))
            for images, key in zip(self.images, self.keys, strict=True)
        ]

    @property
    def n_epochs(self) -> int:
        """Epochs of the first training, pretraining included."""
        return self.config.pretraining.n_epochs * len(self.config.model.hidden) + self.config.training.n_epochs

    def coords(self) -> dict[str, Any]:
        """Coordinates of the study's own dimensions."""
        return {
            "example": np.arange(self.config.evaluation.n_examples),
            "reference": list(REFERENCES),
            "epoch": np.arange(1, self.config.training.n_epochs + 1),
        }

    def attrs(self) -> dict[str, Any]:
        """Height and width of the images in pixels, and their numbers."""
        first = self.images[0]
        return {"image_shape": first.shape, "n_train": len(first.train), "n_test": len(first.test)}

    @property
    def data_sha256(self) -> str:
        """Checksum of all training and test images of the trials, as the machines see them."""
        return checksum_of(*(rows for images in self.images for rows in (images.train, images.test)))

    def train(self, callback: Callback, checkpoint: TrainingCheckpoint) -> tuple[Machine, Measured]:
        """Greedy pretraining, then joint training of all layers."""
        machine, _ = pretrained(
            self.machine,
            self.visible,
            self.config.pretraining,
            child_key(self.keys, "pretraining"),
            record_history=False,
            callback=callback,
            checkpoint=checkpoint.part("pretraining"),
        )
        state, history = trained(
            machine,
            self.visible,
            self.config.training,
            child_key(self.keys, "training"),
            validation=self.held_out,
            callback=callback,
            checkpoint=checkpoint.part("training"),
        )
        return state.machine, {f"training_{name}": values.T for name, values in vars(history).items()}

    def once(self, machine: Machine) -> Measured:
        """What the measurements are compared with: raw pixels, test digits, random patterns."""
        pixel_error, quality, diversity = [], [], []
        for images, judge, key in zip(self.images, self.judges, self.keys, strict=True):
            pixel_error.append(1 - judge.accuracy(images.test, images.test_labels))
            noise_key = child_key(key, "random patterns")
            noise = np.asarray(jax.random.bernoulli(noise_key, 0.5, images.test.shape), np.float32)
            scores = [evaluation.sample_scores(judge, rows) for rows in (images.test, noise)]
            quality.append([s.quality for s in scores])
            diversity.append([s.diversity for s in scores])
        return {
            "pixel_error": np.array(pixel_error),
            "reference_quality": np.array(quality),
            "reference_diversity": np.array(diversity),
        }

    def evaluate(self, machine: Machine, keys: Keys) -> Measured:
        """Encoding error, likelihood, and what the digit classifier says of samples."""
        states, probabilities = _draw(machine, self.visible, child_key(keys, "samples"), self.config.evaluation)
        # In 255 steps, as images are shown, so that they take little room in the file.
        examples = np.round(np.asarray(probabilities)[:, : self.config.evaluation.n_examples] * 255) / 255
        scores = self._scores(machine, np.asarray(states[0]), keys)
        return self._encoding(machine, states, keys) | scores | {"example_sample": examples}

    def end_of_round(self, machine: Machine, keys: Keys) -> Measured:
        """Nothing beyond what is measured at every stage."""
        return {}

    def removal(self, before: Machine, moments: list[Moments], after: Machine) -> Measured:
        """Nothing: this study does not look at single removals."""
        return {}

    def _encoding(self, machine: Machine, states: tuple[Array, ...], keys: Keys) -> Measured:
        """Test error of logistic regression on the top layer, and bounds on the test digits' log-likelihood."""
        how = self.config.evaluation
        encode = partial(evaluation.encode, max_updates=how.n_mean_field, tolerance=how.mean_field_tolerance)
        train_features = encode(machine, self.visible)[0]
        test_features, bounds = encode(machine, self.held_out)
        errors = []
        for place, (images, key) in enumerate(zip(self.images, child_key(keys, "classifier"), strict=True)):
            reader = evaluation.fit_classifier(train_features[place], images.train_labels, key)
            errors.append(1 - reader.accuracy(test_features[place], images.test_labels))
        measured = {"test_error": np.array(errors)}
        log_weights = _anneal(machine, self.visible.mean(axis=1), states, child_key(keys, "annealing"), how)
        mean_bound = np.asarray(bounds, float).mean(axis=1)
        combine = (likelihood.combine_log_weights, likelihood.combine_reverse_log_weights)
        for suffix, combined, weights in zip(("", "_reverse"), combine, log_weights, strict=True):
            partitions = [combined(trial, how.n_temperatures) for trial in np.asarray(weights)]
            measured |= {
                f"log_likelihood_bound{suffix}": mean_bound - [z.estimate for z in partitions],
                f"log_likelihood_bound{suffix}_error": np.array([z.standard_error for z in partitions]),
                f"annealing{suffix}_sample_size": np.array([z.effective_sample_size for z in partitions]),
            }
        return measured

    def _scores(self, machine: Machine, free: Float[np.ndarray, "trials samples pixels"], keys: Keys) -> Measured:
        """Quality and diversity of free samples; how often those drawn for a labelled digit are read as that digit."""
        how = self.config.evaluation
        scores = [evaluation.sample_scores(judge, rows) for judge, rows in zip(self.judges, free, strict=True)]
        chosen = [
            np.asarray(jax.random.permutation(key, len(images.test)))[: how.n_conditional_samples]
            for images, key in zip(self.images, child_key(keys, "labelled digits"), strict=True)
        ]
        digits = jnp.asarray(np.stack([images.test[rows] for images, rows in zip(self.images, chosen, strict=True)]))
        drawn = np.asarray(_draw_for(machine, digits, child_key(keys, "conditional samples"), how))
        labels = [images.test_labels[rows] for images, rows in zip(self.images, chosen, strict=True)]
        accuracy = [judge.accuracy(*one) for judge, *one in zip(self.judges, drawn, labels, strict=True)]
        return {
            "sample_quality": np.array([s.quality for s in scores]),
            "sample_diversity": np.array([s.diversity for s in scores]),
            "conditional_accuracy": np.array(accuracy),
        }

    def _first_machine(self, place: int) -> Machine:
        images, model = self.images[place], self.config.model
        sizes = (images.train.shape[1], *model.hidden)
        masks = None
        if model.receptive_field is not None:
            masks = receptive_field_masks(sizes, images.shape, model.receptive_field)
        rates = np.clip(images.train.mean(axis=0), 0.01, 0.99)
        return Machine.random(
            sizes,
            child_key(self.keys[place], "first machine"),
            weight_scale=model.weight_scale,
            visible_bias=np.asarray(units.logit(jnp.asarray(rates))),
            hidden_bias=model.hidden_bias,
            masks=masks,
        )


def _load(config: DigitsConfig, trials: Sequence[int]) -> list[LabelledImages]:
    """Images of every trial: MNIST's own split, or for the small digits a split of each trial's own."""
    data = config.data
    if data.dataset == "mnist":
        return [read_mnist(data_folder("mnist", data.data_dir), data.side)] * len(trials)
    # Every trial has its own split, so that error bars cover the choice of images as well.
    return [handwritten_digits(seed=config.seed + 1000 * trial, test_share=data.test_share) for trial in trials]


@partial(jax.jit, static_argnames=("how",))
def _draw(
    machine: Machine, visible: Float[Array, "trials rows pixels"], keys: Keys, how: DigitsEvaluation
) -> tuple[tuple[Array, ...], Array]:
    """States ``(trials, samples, n_l)`` of independent chains that started at training digits, and the probabilities of
    their pixels given the hidden states.
    """

    def draw(machine: Machine, rows: Array, key: PRNGKeyArray) -> tuple[States, Array]:
        key_start, key_sweeps = jax.random.split(key)
        start = started(machine, key_start, how.n_samples, "data", rows)
        states = swept(machine, start, key_sweeps, how.n_sweeps)
        return states, units.mean(machine.total_input(states, 0))

    return over_trials(draw, machine)(machine, visible, keys)


@partial(jax.jit, static_argnames=("how",))
def _draw_for(
    machine: Machine, digits: Float[Array, "trials rows pixels"], keys: Keys, how: DigitsEvaluation
) -> Float[Array, "trials rows pixels"]:
    """One visible sample for each digit, drawn with the top layer held at a state inferred from the digit."""

    def draw(machine: Machine, digits: Array, key: PRNGKeyArray) -> Array:
        key_start, key_top, key_sweeps = jax.random.split(key, 3)
        top = evaluation.encode(machine, digits, max_updates=how.n_mean_field, tolerance=how.mean_field_tolerance)[0]
        start = started(machine, key_start, digits.shape[0], "biases")
        held = (*(None,) * (machine.n_layers - 1), jnp.ones(machine.layer_sizes[-1], bool))
        states = (*start[:-1], units.sample(top, key_top))
        return swept(machine, states, key_sweeps, how.n_sweeps, held)[0]

    return over_trials(draw, machine)(machine, digits, keys)


@partial(jax.jit, static_argnames=("how",))
def _anneal(
    machine: Machine, rates: Float[Array, "trials pixels"], states: tuple[Array, ...], keys: Keys, how: DigitsEvaluation
) -> tuple[Float[Array, "trials chains"], Float[Array, "trials samples"]]:
    """Log weights of annealing runs from independent pixels with the data's rates, and from samples back to those."""

    def anneal(machine: Machine, rates: Array, states: States, key: PRNGKeyArray) -> tuple[Array, Array]:
        base, n_temperatures = likelihood.base_bias_of(rates), how.n_temperatures
        key_forward, key_reverse = jax.random.split(key)
        forward = likelihood.annealed_log_weights(
            machine, base, key_forward, n_chains=how.n_annealing_chains, n_temperatures=n_temperatures
        )
        samples = tuple(layer[: how.n_annealing_chains] for layer in states)
        reverse = likelihood.reverse_log_weights(machine, base, samples, key_reverse, n_temperatures=n_temperatures)
        return forward, reverse

    return over_trials(anneal, machine)(machine, rates, states, keys)
