"""Studies: configuration, running, stored results."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import xarray as xr

from secateur.storage.progress import Progress
from secateur.studies import runner
from secateur.studies.config import StudyConfig, built_in_studies, load_config
from secateur.studies.runner import extend, resume
from secateur.studies.store import StudyFolder

__all__ = [
    "Progress",
    "StudyConfig",
    "StudyFolder",
    "built_in_studies",
    "extend",
    "load_config",
    "open",
    "resume",
    "run",
]


def run(
    config: StudyConfig | str | os.PathLike[str] | dict[str, Any] | None,
    out: str | os.PathLike[str],
    *,
    data: Any = None,
    **how: Any,
) -> xr.Dataset:
    """Run a study and write its folder.

    Parameters
    ----------
    config
        Settings (:func:`load_config`), the name of a built-in study, or the path of a ``.toml`` file. With ``data``
        also a dict of settings to change, by dotted name, e.g. ``{"model.hidden": [100], "trials": 5}``, or ``None``:
        everything else is chosen from the data.
    out
        Folder to make.
    data
        Data of one's own: rows of 0 and 1 or of grey levels ``(rows, units)``, images ``(rows, height, width)``, a data
        frame; a pair of rows and labels; a dict of ``rows``, ``labels``, ``test_rows``, ``test_labels``; or words
        (:func:`secateur.words`), one or a list. They are written into the folder, so that the study can be resumed.
    how
        ``overwrite``, ``progress``, ``workers``, ``scheduler``: as of :func:`secateur.studies.runner.run`.

    Returns
    -------
    xarray.Dataset
        The results, also in ``results.nc``.

    Raises
    ------
    ValueError, TypeError
        If data or settings do not fit, or the folder is taken; then nothing has been written.
    OSError
        If the folder cannot be written, a file is missing, or no scheduler answers.
    """
    return runner.run(_resolved(config, data), out, **how)


def _resolved(config: Any, data: Any) -> StudyConfig:
    """Settings with the data given to them."""
    from secateur.studies.config import resolved
    from secateur.studies.defaults import config_for_arrays
    from secateur.studies.own_rows import given_from, named_given

    if data is None:
        if isinstance(config, StudyConfig):
            return config
        if isinstance(config, str | Path):
            return load_config(config)
        raise TypeError(
            f"config must be the settings, name or file of a study, got a {type(config).__name__}; give data with "
            "it, or "
            "secateur.studies.load_config('digits')"
        )
    if config is None or isinstance(config, dict):
        return config_for_arrays(data, config).config
    base = config if isinstance(config, StudyConfig) else load_config(config)
    _, given = given_from(data)
    content = base.model_dump(mode="json", exclude_none=True)
    content["data"] = {
        name: value
        for name, value in content["data"].items()
        if name in ("binarize", "image_shape", "test_share", "most_rows")
    } | named_given(given)
    found = resolved(content)
    found.data.give(given)
    return found


def open(path: str | os.PathLike[str]) -> xr.Dataset:
    """Results of a finished study, with dimensions trial, criterion, round and stage among others.

    Raises
    ------
    ValueError
        If there is no finished study in the folder.
    """
    return StudyFolder.open(path).results
