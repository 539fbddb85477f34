"""Drawing states of a machine, and what tells whether the draws can be trusted."""

from secateur.sampling.block_gibbs import (
    Clamp,
    clamp_visible,
    data_states,
    gibbs,
    half_sweep,
    moments,
    random_states,
    sample,
    sweeps,
)

__all__ = [
    "Clamp",
    "clamp_visible",
    "data_states",
    "gibbs",
    "half_sweep",
    "moments",
    "random_states",
    "sample",
    "sweeps",
]
