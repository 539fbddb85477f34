"""Drawing states of a model: samplers, where chains start, the loop that runs them, whether to trust the result."""

from secateur.sampling.clamps import clamp_visible
from secateur.sampling.diagnostics import MixingDiagnostics, effective_sample_size, split_r_hat
from secateur.sampling.draws import Draws, gibbs, moments, sample
from secateur.sampling.gibbs_sampler import Gibbs, GibbsState
from secateur.sampling.runner import CovarianceSums, run
from secateur.sampling.sampler import Sampler, register, sampler_named, sampler_names
from secateur.sampling.starts import Start, data_states, random_states, start_states
from secateur.sampling.sweep import Clamp, StepInfo, info_of, sweep
from secateur.sampling.tempering import Tempering, TemperingState

__all__ = [
    "Clamp",
    "CovarianceSums",
    "Draws",
    "Gibbs",
    "GibbsState",
    "MixingDiagnostics",
    "Sampler",
    "Start",
    "StepInfo",
    "Tempering",
    "TemperingState",
    "clamp_visible",
    "data_states",
    "effective_sample_size",
    "gibbs",
    "info_of",
    "moments",
    "random_states",
    "register",
    "run",
    "sample",
    "sampler_named",
    "sampler_names",
    "split_r_hat",
    "start_states",
    "sweep",
]
