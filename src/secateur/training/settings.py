"""How a machine is trained, as data."""

from __future__ import annotations

from numbers import Real
from typing import Annotated, Literal

import numpy as np
import optax
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from secateur.model.machine import Precision
from secateur.sampling.sampler import sampler_named
from secateur.storage import limits
from secateur.storage.described import DescribedSettings

_Rate = Annotated[float, Field(gt=0)]
LearningRate = Annotated[tuple[_Rate, _Rate], BeforeValidator(lambda v: (v, v) if isinstance(v, Real) else v)]
"""First and last learning rate; a single number keeps it constant."""


def _known(name: str) -> str:
    """The name of a sampler, if there is one."""
    sampler_named(name)
    return name


class TrainingSettings(DescribedSettings):
    """How a machine is trained; immutable and hashable.

    Rates and strengths are per update and refer to the mean gradient over a batch, in nats.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    method: Literal["cd", "pcd", "exact"] = Field(
        "pcd",
        description="chains that start at the data ('cd', one hidden layer only) or where they stopped before ('pcd'); "
        "or the exact gradient of all rows with L-BFGS ('exact', small machines; only n_epochs matters)",
    )
    n_epochs: int = Field(10, ge=1, le=limits.MAX_EPOCHS, description="passes through the data; iterations of 'exact'")
    batch_size: int = Field(100, ge=1, le=limits.MAX_SAMPLES, description="rows per update")
    learning_rate: LearningRate = Field(
        (0.05, 0.05),
        description="a step is this times the mean gradient over a batch, in nats: first and last value, or one number",
    )
    schedule: Literal["geometric", "linear", "cosine"] = Field(
        "geometric", description="how the learning rate goes from the first to the last value"
    )
    optimizer: Literal["sgd", "adam"] = Field(
        "sgd",
        description="'sgd': plain ascent, perhaps with momentum; 'adam': every parameter has steps of its own size",
    )
    momentum: float = Field(0.0, ge=0, lt=1, description="share of the last step that goes into the next (sgd)")
    sampler: Annotated[str, AfterValidator(_known)] = Field(
        "gibbs", description="how persistent chains move ('pcd'): 'gibbs', 'tempering', or a registered name"
    )
    n_sweeps: int = Field(1, ge=1, le=limits.MAX_SWEEPS, description="Gibbs sweeps per update, the k of CD-k")
    n_chains: int = Field(100, ge=2, le=limits.MAX_CHAINS, description="persistent chains ('pcd')")
    n_mean_field: int = Field(
        10, ge=1, le=limits.MAX_SWEEPS, description="most mean-field updates of the hidden layers (deep machines)"
    )
    l2: float = Field(0.0, ge=0, description="weight decay: this times a weight is taken from its gradient, in nats")
    max_norm: float | None = Field(
        None, gt=0, description="largest Euclidean norm of a unit's weights from below, in nats; none: unbounded"
    )
    sparsity_target: float | None = Field(
        None, gt=0, lt=1, description="wanted probability that a hidden unit is 1, over a batch; none: no pull"
    )
    sparsity_strength: float = Field(
        0.1, ge=0, description="weight of the pull to the sparsity target beside the likelihood"
    )
    redraw: bool = Field(
        False, description="draw rows that are probabilities as 0 and 1 afresh in every epoch, in place of using them"
    )
    centred: bool = Field(False, description="centred (enhanced) gradient: the same whichever state is called 1")

    precision: Precision = Field(
        "float32", description="matrix products of sampling and inference; gradients and parameters stay float32"
    )

    def learning_rates(self, n_updates: int) -> np.ndarray:
        """Learning rate of every update of a training run, ``(n_updates,)``."""
        first, last = self.learning_rate
        if self.schedule == "geometric":
            return np.geomspace(first, last, n_updates, dtype=np.float32)
        share = np.linspace(1, 0, n_updates)
        if self.schedule == "cosine":
            share = (1 - np.cos(np.pi * share)) / 2
        return (last + (first - last) * share).astype(np.float32)

    def transformation(self) -> optax.GradientTransformation:
        """The optax transformation of the gradient, before the learning rate."""
        if self.optimizer == "adam":
            return optax.scale_by_adam()
        return optax.trace(decay=self.momentum) if self.momentum else optax.identity()

    def compiled_part(self) -> TrainingSettings:
        """The settings with everything that enters at run time set to defaults, so that equal programs are shared."""
        run_time = ("n_epochs", "batch_size", "learning_rate", "schedule", "n_chains", "redraw")
        defaults = {name: type(self).model_fields[name].default for name in run_time}
        return self.model_copy(update=defaults)
