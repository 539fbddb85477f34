"""Studies: configuration, running, stored results."""

from __future__ import annotations

import os

import xarray as xr

from secateur.storage.progress import Progress
from secateur.studies.config import StudyConfig, built_in_studies, load_config
from secateur.studies.runner import resume, run
from secateur.studies.store import StudyFolder

__all__ = ["Progress", "StudyConfig", "StudyFolder", "built_in_studies", "load_config", "open", "resume", "run"]


def open(path: str | os.PathLike[str]) -> xr.Dataset:
    """Results of a finished study, with dimensions trial, criterion, round and stage among others.

    Raises
    ------
    ValueError
        If there is no finished study in the folder.
    """
    return StudyFolder.open(path).results
