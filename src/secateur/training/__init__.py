"""Training: contrastive divergence, persistent chains with mean field, greedy pretraining."""

from secateur.training.checkpoint import TrainingCheckpoint
from secateur.training.history import History
from secateur.training.loop import TrainingDiverged, train
from secateur.training.pretraining import pretrain
from secateur.training.settings import TrainingSettings

__all__ = ["History", "TrainingCheckpoint", "TrainingDiverged", "TrainingSettings", "pretrain", "train"]
