"""The patches study: a small machine of natural image patches, with the exact answer beside every estimate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.stats import spearmanr

from secateur import fisher
from secateur.data import Patches, cifar_patches, data_folder, photograph_patches, read_cifar10
from secateur.model import enumeration, units
from secateur.model.arrays import Keys
from secateur.model.machine import Machine
from secateur.model.moments import Moments
from secateur.model.randomness import child_key
from secateur.model.trials import stack, unstack
from secateur.studies.config import PatchesConfig
from secateur.studies.schema import PATCHES, Variable
from secateur.studies.study import Measured, checksum_of
from secateur.training import Callback, TrainingCheckpoint
from secateur.training.loop import trained

ESTIMATES = ("exact", "sampled")
PAIRS = ("heuristic-variance", "variance-eigenvector", "heuristic-eigenvector")
QUANTITIES = ("weight", "presynaptic rate", "postsynaptic rate")
N_DECILES = 10
N_FREQUENCIES = 12
"""Bins of the training patches' log-frequency."""


class PatchesStudy:
    """Data, first machines, training and measurements of some trials of a patches study; these trials are stacked."""

    variables: dict[str, Variable] = PATCHES

    def __init__(self, config: PatchesConfig, trials: Sequence[int]):
        self.config = config
        root = jax.random.key(config.seed)
        self.keys = jnp.stack([child_key(root, "trial", trial) for trial in trials])
        self.patches = _cut_patches(config, trials)
        self.n_visible = self.patches[0].train.shape[1]
        enumeration.check_size((self.n_visible, *config.model.hidden), "evaluation of the patches study")
        self.visible = jnp.asarray(np.stack([p.train for p in self.patches]))
        self.machine = stack([self._first_machine(place) for place in range(len(trials))])
        numbers = np.arange(2**self.n_visible)
        self.patterns = ((numbers[:, None] >> np.arange(self.n_visible)[None, :]) & 1).astype(np.float32)
        self.train_frequencies = np.stack([self._frequencies(p.train) for p in self.patches])
        self.test_frequencies = np.stack([self._frequencies(p.validation) for p in self.patches])
        self.bin_edges = np.geomspace(0.5 / config.data.n_train, 1, N_FREQUENCIES + 1)

    @property
    def n_epochs(self) -> int:
        """Epochs of the first training."""
        return self.config.training.n_epochs

    def coords(self) -> dict[str, Any]:
        """Coordinates of the study's own dimensions; ``frequency`` holds the geometric centres of the bins."""
        return {
            "estimate": list(ESTIMATES),
            "pair": list(PAIRS),
            "quantity": list(QUANTITIES),
            "decile": np.arange(1, N_DECILES + 1),
            "frequency": np.sqrt(self.bin_edges[:-1] * self.bin_edges[1:]),
            "index": np.arange(1, self._n_parameters() + 1),
            "distribution": ["data", "model"],
            "count": np.arange(self.n_visible + 1),
            "rank": np.arange(1, 2**self.n_visible + 1),
        }

    def attrs(self) -> dict[str, Any]:
        """Where the patches come from, and the place of each pixel."""
        first = self.patches[0]
        return {
            "source": first.source,
            "overlapping_patches": str(first.overlapping),
            "pixel_row": first.offsets[:, 0],
            "pixel_column": first.offsets[:, 1],
        }

    @property
    def data_sha256(self) -> str:
        """Checksum of all training and validation patches of the trials."""
        return checksum_of(*(rows for patches in self.patches for rows in (patches.train, patches.validation)))

    def train(self, callback: Callback, checkpoint: TrainingCheckpoint) -> tuple[Machine, Measured]:
        """Train all trials at once."""
        key = child_key(self.keys, "training")
        state, _ = trained(
            self.machine,
            self.visible,
            self.config.training,
            key,
            record_history=False,
            callback=callback,
            checkpoint=checkpoint.part("training"),
        )
        return state.machine, {}

    def once(self, machine: Machine) -> Measured:
        """Entropy of the data, spectrum of the Fisher information matrix, activity of data and of the trained model."""
        model = np.stack([np.exp(self._log_probabilities(one)) for one in unstack(machine)])
        both = np.stack([self.train_frequencies, model], axis=1)
        counts = self.patterns.sum(axis=1).astype(int)
        population = [[np.bincount(counts, weights=p) for p in trial] for trial in both]
        spectra = [np.linalg.eigvalsh(fisher.matrix(one, "exact").dense())[::-1] for one in unstack(machine)]
        return {
            "patch_entropy": -_sum_p_log(self.train_frequencies, self.train_frequencies),
            "eigenvalue": np.array(spectra),
            "population_count": np.array(population),
            "rank_frequency": -np.sort(-both, axis=2),
        }

    def evaluate(self, machine: Machine, keys: Keys) -> Measured:
        """Likelihood and log-frequency errors, exact and sampled."""
        stages = []
        for trial, one in enumerate(unstack(machine)):
            log_model = self._log_probabilities(one)
            stages.append(self._likelihoods(trial, log_model) | self._frequency_errors(trial, log_model, keys[trial]))
        return {name: np.array([stage[name] for stage in stages]) for name in stages[0]}

    def end_of_round(self, machine: Machine, keys: Keys) -> Measured:
        """Rank correlations between the importances of synapses."""
        each = zip(unstack(machine), child_key(keys, "eigenvector"), strict=True)
        return {"rank_correlation": np.array([_rank_correlations(one, key) for one, key in each])}

    def removal(self, before: Machine, moments: list[Moments], after: Machine) -> Measured:
        """Share of synapses removed by deciles of |weight| and of pre- and postsynaptic rate before the removal."""
        shares, means = [], []
        for old, its_moments, new in zip(unstack(before), moments, unstack(after), strict=True):
            mask = np.asarray(old.masks[0])
            gone = ~np.asarray(new.masks[0])[mask]
            rates = np.broadcast_arrays(its_moments.rates[0][:, None], its_moments.rates[1][None, :])
            quantities = [q[mask] for q in (np.abs(np.asarray(old.weights[0])), *rates)]
            deciles = [np.array_split(np.argsort(q, kind="stable"), N_DECILES) for q in quantities]
            shares.append([[_mean(gone[d]) for d in split] for split in deciles])
            means.append([[_mean(q[d]) for d in split] for q, split in zip(quantities, deciles, strict=True)])
        return {"elimination_probability": np.array(shares), "quantity_mean": np.array(means)}

    def _likelihoods(self, trial: int, log_model: Float[np.ndarray, " patterns"]) -> Measured:
        data = self.train_frequencies[trial]
        seen = data > 0
        divergence = (data[seen] * (np.log(data[seen]) - log_model[seen])).sum()
        return {"kl_divergence": divergence, "test_log_likelihood": self.test_frequencies[trial] @ log_model}

    def _frequency_errors(self, trial: int, log_model: Float[np.ndarray, " patterns"], key: Any) -> Measured:
        """Exact errors, and those of independent samples drawn from the exact distribution."""
        n_samples = self.config.evaluation.n_samples
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        model = np.exp(log_model)
        sampled = rng.multinomial(n_samples, model / model.sum()) / n_samples
        data = self.train_frequencies[trial]
        seen = data > 0
        bins = np.digitize(data, self.bin_edges) - 1
        errors, differences = [], []
        for frequencies in (model, sampled):
            both = seen & (frequencies > 0)
            difference = np.log(frequencies[both]) - np.log(data[both])
            errors.append(np.abs(difference).mean())
            differences.append([_mean(difference[bins[both] == b]) for b in range(N_FREQUENCIES)])
        return {
            "log_frequency_error": np.array(errors),
            "log_frequency_difference": np.array(differences),
            "unseen_share": (sampled[seen] == 0).mean(),
        }

    def _log_probabilities(self, machine: Machine) -> Float[np.ndarray, " patterns"]:
        return enumeration.log_probability(machine, self.patterns)

    def _frequencies(self, rows: Float[np.ndarray, "rows visible"]) -> Float[np.ndarray, " patterns"]:
        numbers = rows.astype(int) @ (1 << np.arange(self.n_visible))
        return np.bincount(numbers, minlength=2**self.n_visible) / len(rows)

    def _n_parameters(self) -> int:
        sizes = (self.n_visible, *self.config.model.hidden)
        return sum(sizes) + sum(lower * upper for lower, upper in zip(sizes[:-1], sizes[1:], strict=True))

    def _first_machine(self, place: int) -> Machine:
        model = self.config.model
        if model.receptive_field is not None:
            raise ValueError("model.receptive_field must be left out of a patches study; patches are seen whole")
        rates = np.clip(self.patches[place].train.mean(axis=0), 0.01, 0.99)
        return Machine.random(
            (self.n_visible, *model.hidden),
            child_key(self.keys[place], "first machine"),
            weight_scale=model.weight_scale,
            visible_bias=np.asarray(units.logit(jnp.asarray(rates))),
            hidden_bias=model.hidden_bias,
        )


def _cut_patches(config: PatchesConfig, trials: Sequence[int]) -> list[Patches]:
    """Patches of every trial, each with its own draw of images."""
    data = config.data
    sizes: dict[str, Any] = {"radius": data.radius, "n_train": data.n_train, "n_validation": data.n_validation}
    seeds = [config.seed + 1000 * trial for trial in trials]
    if data.dataset != "photographs":
        try:
            images = read_cifar10(data_folder("cifar-10", data.data_dir))
            return [cifar_patches(images, seed, **sizes) for seed in seeds]
        except FileNotFoundError:
            if data.dataset == "cifar-10" or data.data_dir is not None:
                raise
    return [photograph_patches(seed, **sizes) for seed in seeds]


def _rank_correlations(machine: Machine, key: Any) -> list[float]:
    """Spearman correlations over synapses, in the order of ``PAIRS``; exact importances."""
    mask = np.asarray(machine.masks[0])
    if mask.sum() < 3:
        return [np.nan] * len(PAIRS)
    moments = enumeration.moments(machine)
    variance = np.asarray(fisher.variance(machine, moments)[0])[mask]
    heuristic = np.asarray(fisher.heuristic(machine, moments)[0])[mask]
    eigenvector = fisher.leading_eigenvector_importance(machine, "exact", key)[0][mask]
    pairs = ((heuristic, variance), (variance, eigenvector), (heuristic, eigenvector))
    return [float(spearmanr(*pair).statistic) for pair in pairs]


def _sum_p_log(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return np.where(p > 0, p * np.log(np.where(p > 0, q, 1)), 0).sum(axis=-1)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else np.nan
