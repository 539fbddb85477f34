"""The digits study: a deep machine of handwritten digits, judged by what its top layer tells about the digit."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from secateur import evaluation, sampling, units
from secateur.arrays import Keys
from secateur.datasets import handwritten_digits
from secateur.machine import Machine, receptive_field_masks
from secateur.moments import Moments
from secateur.randomness import child_key
from secateur.studies.config import DigitsConfig
from secateur.studies.schema import DIGITS, Variable
from secateur.studies.study import Measured
from secateur.training import pretrain, train
from secateur.trials import over_trials, stack

REFERENCES = ("test digits", "random patterns")


class DigitsStudy:
    """Data, first machines, training and measurements of all trials of a digits study; trials are stacked.

    Raises
    ------
    ValueError
        If the settings do not fit the data, e.g. a receptive field larger than the image.
    """

    variables: dict[str, Variable] = DIGITS

    def __init__(self, config: DigitsConfig):
        self.config = config
        root = jax.random.key(config.seed)
        self.keys = jnp.stack([child_key(root, "trial", trial) for trial in range(config.trials)])
        # Every trial has its own split, so that error bars cover the choice of images as well.
        self.images = [
            handwritten_digits(seed=config.seed + 1000 * trial, test_share=config.data.test_share)
            for trial in range(config.trials)
        ]
        self.visible = jnp.asarray(np.stack([images.train for images in self.images]))
        self.held_out = jnp.asarray(np.stack([images.test for images in self.images]))
        self.machine = stack([self._first_machine(trial) for trial in range(config.trials)])
        self.judges = [evaluation.fit_classifier(images.train, images.train_labels) for images in self.images]

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
        """Height and width of the images in pixels."""
        return {"image_shape": self.images[0].shape}

    def train(self, on_epoch: Callable[[int], None]) -> tuple[Machine, Measured]:
        """Greedy pretraining, then joint training of all layers."""
        machine, _ = pretrain(
            self.machine,
            self.visible,
            self.config.pretraining,
            child_key(self.keys, "pretraining"),
            record_history=False,
            on_epoch=on_epoch,
        )
        machine, history = train(
            machine,
            self.visible,
            self.config.training,
            child_key(self.keys, "training"),
            validation=self.held_out,
            on_epoch=on_epoch,
        )
        return machine, {f"training_{name}": values.T for name, values in vars(history).items()}

    def once(self, machine: Machine) -> Measured:
        """What the measurements are compared with: raw pixels, test digits, random patterns."""
        pixel_error, quality, diversity = [], [], []
        for trial, images in enumerate(self.images):
            pixel_error.append(1 - self.judges[trial].score(images.test, images.test_labels))
            key = child_key(self.keys[trial], "random patterns")
            noise = np.asarray(jax.random.bernoulli(key, 0.5, images.test.shape), np.float32)
            scores = [evaluation.sample_scores(self.judges[trial], rows) for rows in (images.test, noise)]
            quality.append([s.quality for s in scores])
            diversity.append([s.diversity for s in scores])
        return {
            "pixel_error": np.array(pixel_error),
            "reference_quality": np.array(quality),
            "reference_diversity": np.array(diversity),
        }

    def evaluate(self, machine: Machine, keys: Keys) -> Measured:
        """Encoding error, quality and diversity of samples."""
        train_features = np.asarray(evaluation.top_layer(machine, self.visible))
        test_features = np.asarray(evaluation.top_layer(machine, self.held_out))
        samples = np.asarray(self._samples(machine, keys)[0])
        errors, scores = [], []
        for trial, images in enumerate(self.images):
            features = train_features[trial], images.train_labels, test_features[trial], images.test_labels
            errors.append(evaluation.encoding_error(*features))
            scores.append(evaluation.sample_scores(self.judges[trial], samples[trial]))
        return {
            "test_error": np.array(errors),
            "sample_quality": np.array([s.quality for s in scores]),
            "sample_diversity": np.array([s.diversity for s in scores]),
        }

    def end_of_round(self, machine: Machine, keys: Keys) -> Measured:
        """Example samples."""
        return {"example_sample": np.asarray(self._samples(machine, keys)[1])[:, : self.config.evaluation.n_examples]}

    def _samples(self, machine: Machine, keys: Keys) -> tuple[Array, Array]:
        return _visible_samples(machine, keys, self.config.evaluation.n_samples, self.config.evaluation.n_sweeps)

    def removal(self, before: Machine, moments: list[Moments], after: Machine) -> Measured:
        """Nothing: this study does not look at single removals."""
        return {}

    def _first_machine(self, trial: int) -> Machine:
        images, model = self.images[trial], self.config.model
        sizes = (images.train.shape[1], *model.hidden)
        masks = None
        if model.receptive_field is not None:
            masks = receptive_field_masks(sizes, images.shape, model.receptive_field)
        rates = np.clip(images.train.mean(axis=0), 0.01, 0.99)
        return Machine.random(
            sizes,
            child_key(self.keys[trial], "first machine"),
            weight_scale=model.weight_scale,
            visible_bias=np.asarray(units.logit(jnp.asarray(rates))),
            hidden_bias=model.hidden_bias,
            masks=masks,
        )


@partial(jax.jit, static_argnames=("n_samples", "n_sweeps"))
def _visible_samples(
    machine: Machine, keys: Keys, n_samples: int, n_sweeps: int
) -> tuple[Float[Array, "trials samples pixels"], Float[Array, "trials samples pixels"]]:
    """Independent visible samples after ``n_sweeps`` sweeps, and their probabilities given the hidden states."""

    def draw(machine: Machine, key: Array) -> tuple[Array, Array]:
        key_start, key_sweeps = jax.random.split(key)
        states = sampling.gibbs(machine, sampling.random_states(machine, key_start, n_samples), key_sweeps, n_sweeps)
        return states[0], units.mean(machine.total_input(states, 0))

    return over_trials(draw, machine)(machine, keys)
