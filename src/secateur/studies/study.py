"""The one procedure of all studies: a source of rows, machines, training, and measures at every stage."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from secateur.model import units
from secateur.model.arrays import Keys
from secateur.model.machine import Machine, receptive_field_masks
from secateur.model.moments import Moments
from secateur.model.randomness import child_key
from secateur.model.trials import stack
from secateur.studies import measures
from secateur.studies.measures.measure import Measured, Stage, Trials
from secateur.studies.schema import Variable
from secateur.studies.settings import StudyConfig
from secateur.studies.sources import Rows, read_rows_of
from secateur.training import Callback, History, TrainingCheckpoint, TrainingSettings
from secateur.training.checkpoint import TrainingPart
from secateur.training.loop import trained
from secateur.training.pretraining import pretrained

HISTORY = {
    "training_pseudo_likelihood": Variable(("trial", "epoch"), "nat", "log pseudo-likelihood per row, first training"),
    "training_free_energy_gap": Variable(("trial", "epoch"), "nat", "free energy of test minus training rows"),
    "training_reconstruction_error": Variable(("trial", "epoch"), "1", "mean absolute reconstruction error"),
}
"""How the first training of all layers went, but for training on the exact gradient."""


class Study:
    """Data, first machines, training and measurements of some trials; these trials are stacked.

    Attributes
    ----------
    variables
        What is stored beside the variables of every study.
    keys
        One key per trial.
    machine
        The untrained machines.
    visible
        Training rows, ``(trials, rows, n_0)``; probabilities where they are drawn afresh every epoch.

    Raises
    ------
    ValueError
        If the settings do not fit the data, e.g. a receptive field larger than the image.
    OSError
        If the data are not there.
    """

    def __init__(self, config: StudyConfig, trials: Sequence[int]):
        self.config = config
        root = jax.random.key(config.seed)
        self.keys: Keys = jnp.stack([child_key(root, "trial", trial) for trial in trials])
        self.data = read_rows_of(config.data, config.seed, trials)
        rows = jnp.asarray(np.stack([one.train for one in self.data]))
        held_out = jnp.asarray(np.stack([one.test for one in self.data]))
        self.machine = self.first_machines(self.keys)
        self.trials = Trials(config, self.keys, self.data, rows, held_out, self.machine)
        grey = [one.grey for one in self.data if one.grey is not None]
        self.visible: Array = jnp.asarray(np.stack(grey)) if grey else rows
        self.trials.shared["offered"] = measures.offered(self.data[0], self.machine.layer_sizes)
        self.measures = measures.chosen(config.measures, self.data[0], self.machine.layer_sizes)
        for measure in self.measures:
            measure.prepare(self.trials)
        own = {name: variable for measure in self.measures for name, variable in measure.variables.items()}
        self.variables: dict[str, Variable] = ({} if self._exact else HISTORY) | own

    @property
    def _exact(self) -> bool:
        """Whether training is on the exact gradient, of which there is no history."""
        return self.config.training.method == "exact"

    @property
    def n_epochs(self) -> int:
        """Epochs of the first training, pretraining included."""
        before = self.config.pretraining
        first = 0 if before is None else before.n_epochs * len(self.config.model.hidden)
        return first + self.config.training.n_epochs

    def coords(self) -> dict[str, Any]:
        """Coordinates of the study's own dimensions."""
        found = {} if self._exact else {"epoch": np.arange(1, self.config.training.n_epochs + 1)}
        for measure in self.measures:
            found |= measure.coords(self.trials)
        return found

    def meanings(self) -> dict[str, str]:
        """Meaning of the study's own dimensions."""
        return {name: text for measure in self.measures for name, text in measure.dimensions.items()}

    def attrs(self) -> dict[str, Any]:
        """Facts about data, machine and measures, for the results."""
        config = self.config
        return self.data[0].attrs() | {
            "dataset": config.data.dataset,
            "layer_sizes": self.machine.layer_sizes,
            "pruning_fraction": np.broadcast_to(config.pruning.fraction, len(config.model.hidden)),
            "measures": [measure.name for measure in self.measures],
        }

    @property
    def data_sha256(self) -> str:
        """Checksum of all training and test rows of the trials, as the machines see them, and of their labels."""
        rows = [[one.train if one.grey is None else one.grey, one.test] for one in self.data]
        labels = [some for one in self.data for some in (one.train_labels, one.test_labels) if some is not None]
        return checksum_of(*(some for pair in rows for some in pair), *labels)

    def train(self, callback: Callback, checkpoint: TrainingCheckpoint) -> tuple[Machine, Measured]:
        """The trained machines, and how training went."""
        machine, history = self.learn(
            self.machine, self.keys, checkpoint, callback, record_history=not self._exact, validation=self._held_out
        )
        return machine, {} if self._exact else {f"training_{n}": v.T for n, v in vars(history).items()}

    def learn(
        self,
        machine: Machine,
        keys: Keys,
        checkpoint: TrainingCheckpoint | TrainingPart,
        callback: Callback,
        *,
        pretrain: bool = True,
        record_history: bool = False,
        validation: Array | None = None,
    ) -> tuple[Machine, History]:
        """Machines after the first training: greedy pretraining if the settings say so, then all layers together."""
        if pretrain:
            machine = self.pretrained(machine, keys, checkpoint, callback)
        state, history = trained(
            machine,
            self.visible,
            self.config.training,
            child_key(keys, "training"),
            validation=validation,
            record_history=record_history,
            callback=callback,
            checkpoint=checkpoint.part("training"),
        )
        return state.machine, history

    @staticmethod
    def trained_on(
        machine: Machine, rows: Array, settings: TrainingSettings, keys: Keys, part: TrainingPart, callback: Callback
    ) -> Machine:
        """Machines after a training on some rows, ``(trials, rows, n_0)``, without a history."""
        how: dict[str, Any] = {"record_history": False, "callback": callback, "checkpoint": part}
        return trained(machine, rows, settings, keys, **how)[0].machine

    def early(self, checkpoint: TrainingPart, callback: Callback) -> Machine:
        """The machines early in their first training: after pretraining, else after a tenth of the first epoch.

        That tenth is a run of its own over the first tenth of the rows, at the first rate. Of training on the exact
        gradient it is the first tenth of all steps.
        """
        if self.config.pretraining is not None:
            return self.pretrained(self.machine, self.keys, checkpoint, callback)
        settings = self.config.training
        first = settings.learning_rate[0]
        n_epochs = max(1, settings.n_epochs // 10) if self._exact else 1
        few = self.visible if self._exact else self.visible[:, : max(1, self.visible.shape[1] // 10)]
        settings = settings.model_copy(update={"n_epochs": n_epochs, "learning_rate": (first, first)})
        keys = child_key(self.keys, "training")
        return self.trained_on(self.machine, few, settings, keys, checkpoint.part("early"), callback)

    def pretrained(
        self, machine: Machine, keys: Keys, checkpoint: TrainingCheckpoint | TrainingPart, callback: Callback
    ) -> Machine:
        """Machines with which the first training of all layers begins: after greedy pretraining, if there is any."""
        if self.config.pretraining is None:
            return machine
        machine, _ = pretrained(
            machine,
            self.visible,
            self.config.pretraining,
            child_key(keys, "pretraining"),
            record_history=False,
            callback=callback,
            checkpoint=checkpoint.part("pretraining"),
        )
        return machine

    @property
    def _held_out(self) -> Array | None:
        return None if self._exact else self.trials.held_out

    def once(self, machine: Machine) -> Measured:
        """What is measured once, of the data and of the trained machines."""
        return self._all("once", Stage(self.trials, machine, self.keys))

    def evaluate(self, machine: Machine, keys: Keys) -> Measured:
        """What is measured of the machines at every stage."""
        return self._all("stage", Stage(self.trials, machine, keys))

    def end_of_round(self, machine: Machine, keys: Keys) -> Measured:
        """What is measured of the machines at the end of a round only."""
        return self._all("end_of_round", Stage(self.trials, machine, keys))

    def removal(self, before: Machine, moments: list[Moments], after: Machine) -> Measured:
        """What is measured of a removal: the machines before, their moments, the machines after."""
        return self._all("removal", before, moments, after)

    def _all(self, what: str, *given: Any) -> Measured:
        """What all measures say, each under names of its own."""
        found: Measured = {}
        for measure in self.measures:
            measured = getattr(measure, what)(*given)
            if unknown := measured.keys() - measure.variables.keys():
                raise ValueError(
                    f"measure {measure.name!r} measured {', '.join(sorted(unknown))}, which it does not declare; add "
                    "it to the measure's variables"
                )
            found |= {name: np.asarray(values) for name, values in measured.items()}
        return found

    def first_machines(self, keys: Keys) -> Machine:
        """Untrained machines with weights of their own, one per trial."""
        return stack([self._first_machine(place, key) for place, key in enumerate(keys)])

    def _first_machine(self, place: int, key: PRNGKeyArray) -> Machine:
        """A machine whose visible biases are the logits of the data's rates."""
        data, model = self.data[place], self.config.model
        sizes = (data.train.shape[1], *model.hidden)
        masks = None
        if model.receptive_field is not None:
            masks = receptive_field_masks(sizes, _image_shape(data), model.receptive_field)
        rates = np.clip(data.train.mean(axis=0), 0.01, 0.99)
        return Machine.random(
            sizes,
            child_key(key, "first machine"),
            weight_scale=model.weight_scale,
            visible_bias=np.asarray(units.logit(jnp.asarray(rates))),
            hidden_bias=model.hidden_bias,
            masks=masks,
        )


def _image_shape(data: Rows) -> tuple[int, int]:
    if data.image_shape is None:
        raise ValueError(
            "model.receptive_field needs rows that are images, and their shape is not known; leave it out, or give "
            "data.image_shape"
        )
    return data.image_shape


def checksum_of(*rows: np.ndarray) -> str:
    """SHA-256 of rows, in hexadecimal digits; rows of 0 and 1 by their bits."""
    found = hashlib.sha256()
    for some in rows:
        found.update(str(some.shape).encode())
        binary = ((some == 0) | (some == 1)).all()
        found.update(np.packbits(some.astype(bool)).tobytes() if binary else np.ascontiguousarray(some).tobytes())
    return found.hexdigest()
