"""Trainers (contrastive divergence, persistent chains of any sampler, the exact gradient) and loops over them."""

from secateur.training.checkpoint import TrainingCheckpoint
from secateur.training.convergence import Converged, converge
from secateur.training.defaults import settings_for
from secateur.training.exact import ExactInfo, ExactTrainer
from secateur.training.history import Callback, History
from secateur.training.loop import TrainingDiverged, continue_training, shuffled_batches, train
from secateur.training.pairwise import fit_independent, fit_pairwise
from secateur.training.pretraining import pretrain
from secateur.training.settings import TrainingSettings
from secateur.training.trainer import Trainer, TrainingState, UpdateInfo

__all__ = [
    "Callback",
    "Converged",
    "ExactInfo",
    "ExactTrainer",
    "History",
    "Trainer",
    "TrainingCheckpoint",
    "TrainingDiverged",
    "TrainingSettings",
    "TrainingState",
    "UpdateInfo",
    "continue_training",
    "converge",
    "fit_independent",
    "fit_pairwise",
    "pretrain",
    "settings_for",
    "shuffled_batches",
    "train",
]
