"""What the commands on studies do beyond running: settings chosen from data, settings listed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.commands.printing import say

if TYPE_CHECKING:
    from secateur.studies import StudyConfig


def chosen_config(
    study: str | None, size: str | None, data: Path | None, own: dict[str, Any], changes: dict[str, Any]
) -> StudyConfig:
    """Settings of a named study, or chosen from data, which is told on standard error."""
    from secateur.studies.config import load_config
    from secateur.studies.defaults import config_for_files
    from secateur.studies.sources import check_data

    given = {name: value for name, value in own.items() if value is not None and value != []}
    if (study is None) == (data is None):
        got = "neither" if study is None else "both"
        raise ValueError(
            f"run needs a study or --data, got {got}; give a name (see 'secateur studies') or your own rows"
        )
    if study is not None:
        if given:
            raise ValueError(f"--{next(iter(given)).replace('_', '-')} goes with --data; leave it out")
        return load_config(study, size, changes)
    if size is not None:
        raise ValueError("--size goes with a study, not with --data; leave it out")
    assert data is not None
    chosen = config_for_files(data, changes, _data_changes(given))
    check_data(chosen.config)
    say("chosen from the data (study.toml holds all settings, --set changes them):", err=True)
    for reason in chosen.reasons:
        say(f"  {reason}", err=True)
    return chosen.config


def _data_changes(given: dict[str, Any]) -> dict[str, Any]:
    changes: dict[str, Any] = dict(given)
    if "labels" in given and Path(given["labels"]).is_file():
        changes["labels"] = str(Path(given["labels"]).absolute())
    if "image_shape" in given:
        sides = re.fullmatch(r"(\d{1,6})\s*[x×,]\s*(\d{1,6})", given["image_shape"].strip())
        if sides is None:
            raise ValueError(f"--image-shape must be height and width, e.g. 28x28, got {given['image_shape']!r}")
        changes["image_shape"] = [int(side) for side in sides.groups()]
    if "binarize" in given and given["binarize"] not in ("mean", "redraw"):
        try:
            changes["binarize"] = float(given["binarize"])
        except ValueError:
            raise ValueError(
                f"--binarize must be mean, redraw or a threshold (a number), got {given['binarize']!r}"
            ) from None
    return changes


def list_studies(name: str | None, size: str | None, schema: bool) -> list[str]:
    """Lines of ``secateur studies``."""
    import json

    from secateur.studies.config import built_in_studies, load_config
    from secateur.studies.describe import settings_of, study_schema

    if schema:
        return [json.dumps(study_schema(), indent=2)]
    if name is None:
        lines = [f"{n:10} {study.title} (sizes: {', '.join(study.sizes)})" for n, study in built_in_studies().items()]
        return [*lines, "'secateur studies NAME' lists every setting; 'secateur run --data ROWS' takes your own data"]
    config = load_config(name, size)
    return [f"{config.title} (size {config.size})", *(str(setting) for setting in settings_of(config))]
