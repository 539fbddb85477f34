"""Recordings: words from spikes, held-out folds, models fitted to words, which neurons and couplings are stiff."""

from secateur.recordings.comparison import Comparison, compare
from secateur.recordings.fitting import choose_n_hidden, default_settings, fit_machine
from secateur.recordings.folds import Blocks, Folds, blocks, folds
from secateur.recordings.stability import RankingStability, ranking_stability
from secateur.recordings.stiffness import Stiffness, stiffness

__all__ = [
    "Blocks",
    "Comparison",
    "Folds",
    "RankingStability",
    "Stiffness",
    "blocks",
    "choose_n_hidden",
    "compare",
    "default_settings",
    "fit_machine",
    "folds",
    "ranking_stability",
    "stiffness",
]
