"""What the commands on machines share: options turned into checked settings, and words about draws."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np

    from secateur.estimator import BoltzmannMachine
    from secateur.likelihood.comparison import Comparison
    from secateur.model.machine import Machine
    from secateur.model.trust import Verdict
    from secateur.pruning import ImportanceSampling
    from secateur.sampling.diagnostics import MixingDiagnostics
    from secateur.training import TrainingSettings

MACHINE_SUFFIX = ".safetensors"


def importance_from(
    machine: Machine,
    source: Literal["exact", "sampled"] | None,
    chains: int | None,
    draws: int | None,
    sweeps: int | None,
    burn_in: int | None,
    sampler: str | None,
) -> ImportanceSampling | Literal["exact"]:
    """How averages over the model are taken."""
    from secateur.model import enumeration
    from secateur.pruning import ImportanceSampling

    given = {"n_chains": chains, "n_draws": draws, "n_sweeps": sweeps, "n_burn_in": burn_in, "sampler": sampler}
    given = {name: value for name, value in given.items() if value is not None}
    if source == "exact":
        enumeration.check_size(machine.layer_sizes, "averages", "say --source sampled")
        if given:
            raise ValueError(
                "--sampler, --chains, --draws, --sweeps and --burn-in go with sampling; leave --source exact out"
            )
        return "exact"
    if source is None and not given and enumeration.can_be_enumerated(machine.layer_sizes):
        return "exact"
    try:
        return checked_settings(ImportanceSampling, given)
    except ValueError as error:
        # These settings have options of their own names.
        told = re.sub(r"\bn_(chains|draws|sweeps|burn_in): ", lambda found: _option(found[1]) + " ", str(error))
        raise ValueError(told) from error


def retraining_from(data: Path | None, epochs: int, change: list[str] | None) -> TrainingSettings | None:
    """Settings of retraining; ``None`` if there is none."""
    from secateur.studies.config import parse_change
    from secateur.training import TrainingSettings

    if data is None and epochs:
        raise ValueError("--retrain-epochs needs rows to retrain on; give --data, or leave it out to only prune")
    if not epochs:
        if change:
            raise ValueError("--set changes how retraining goes; give --data and --retrain-epochs with it")
        return None
    return checked_settings(TrainingSettings, dict(parse_change(text) for text in change or []) | {"n_epochs": epochs})


def checked_settings(kind: Any, given: dict[str, Any]) -> Any:
    """Checked settings; what is wrong is told in one line."""
    from pydantic import ValidationError

    from secateur.studies.config import one_line

    try:
        return kind(**given)
    except ValidationError as error:
        raise ValueError(one_line(kind, error)) from error


def rows_for(
    machine: Machine, data: Path, binarize: float | None, drop: Sequence[str] = (), labels: str | None = None
) -> np.ndarray:
    """Rows whose width fits the machine."""
    from secateur.data.rows import read_rows

    rows = read_rows(data, binarize=binarize, drop=drop, labels=labels)
    if rows.shape[1] != machine.layer_sizes[0]:
        raise ValueError(
            f"{data} has {rows.shape[1]} units per row, the machine {machine.layer_sizes[0]} visible units; "
            "give rows of the data that the machine was trained on"
        )
    return rows


def fractions_from(text: str, machine: Machine) -> tuple[float, ...]:
    """One checked fraction per weight matrix."""
    from secateur.model import checked

    if not machine.n_synapses:
        raise ValueError("the machine has no synapse left to prune")
    shares = numbers_from("--fraction", text, float)
    return checked.fraction(shares[0] if len(shares) == 1 else shares, len(machine.weights))


def numbers_from(option: str, text: str, kind: Callable[[str], Any]) -> tuple[Any, ...]:
    """Numbers separated by commas."""
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"{option} must be numbers separated by commas, got {text!r}") from None


def check_out(out: Path, overwrite: bool, suffix: str) -> None:
    """Refuse a file that cannot or must not be written, before anything is computed."""
    if out.suffix != suffix:
        raise ValueError(f"--out must end in {suffix}, got {str(out)!r}")
    if out.is_dir() or (out.exists() and not overwrite):
        raise ValueError(f"{str(out)!r} exists already; choose another name or say --overwrite")


def rounds_after(number: int, folder: Path, overwrite: bool) -> list[Path]:
    """Files of later rounds in the folder that new rounds go to, which are to be replaced."""
    if folder.suffix == MACHINE_SUFFIX or folder.is_file():
        raise ValueError(f"--out must be a folder when --rounds is given, got {str(folder)!r}")
    found = {file: file.stem.removeprefix("round-") for file in sorted(folder.glob(f"round-*{MACHINE_SUFFIX}"))}
    later = [file for file, text in found.items() if text.isdecimal() and int(text) > number]
    if later and not overwrite:
        raise ValueError(f"{str(later[0])!r} exists already; choose another folder or say --overwrite")
    return later


def parted(rows: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on, and a tenth, at most 1,000, held out at random; fewer than 20 rows are not parted."""
    import numpy as np

    n_held_out = min(1000, len(rows) // 10) if len(rows) >= 20 else 0
    order = np.random.default_rng(seed).permutation(len(rows))
    return rows[np.sort(order[n_held_out:])], rows[np.sort(order[:n_held_out])]


def likelihood_beside_independent(model: BoltzmannMachine, trained_on: np.ndarray, rows: np.ndarray) -> Comparison:
    """The likelihood that a machine gives rows, beside that of units with the rates of those it was trained on."""
    from secateur.likelihood import beside_independent_units, rates_of

    log_z = quietly(lambda: model.log_partition_)
    return quietly(beside_independent_units, model.machine_, rows, rates_of(trained_on), log_z)


def beside_independent(model: BoltzmannMachine, trained_on: np.ndarray, held_out: np.ndarray) -> str:
    """The likelihood of a fitted machine beside that of independent units, in words, with the remedy where it is poor.

    On held-out rows, and where there are none on those that it was trained on.
    """
    rows, which = (held_out, "held-out rows") if len(held_out) else (trained_on, "rows it was trained on")
    found = likelihood_beside_independent(model, trained_on, rows)
    remedy = "take more --epochs or another learning rate (--set learning_rate=...), unless the columns are independent"
    poor = "" if found.better or not found.verdict.trusted else f"\nno better than independent units: {remedy}"
    return f"{found.n_rows:,} {which}: {found}{poor}"


def write_npy(out: Path, values: np.ndarray) -> None:
    """Write an array into a file in one step."""
    import numpy as np

    from secateur.storage.arrays import write_atomically

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:  # np.save would change the name of the file
            np.save(file, values, allow_pickle=False)

    write_atomically(out, write)


def averages_in_words(source: Any) -> str:
    """In words where a rule's averages came from (:attr:`secateur.pruning.Round.sources`)."""
    if source is None:
        return "no averages needed"
    return in_words(None if isinstance(source, str) else source.diagnostics)


def in_words(mixing: MixingDiagnostics | None, verdict: Verdict | None = None) -> str:
    """In words how averages or states came about, and whether to trust them."""
    return "exact averages" if mixing is None else f"sampled: {mixing.counted()}; {verdict or mixing.verdict}"


def quietly(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """The function's result without its warning that the result is not to be trusted, which is printed beside it."""
    import warnings

    from secateur.model.trust import NotToBeTrusted

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotToBeTrusted)
        return function(*arguments, **options)


ARGUMENTS = r"columns|variable|orientation|time_units|bin_size|binary|window|units|groups|threshold|ep"


def in_options(message: str, sources: Sequence[str]) -> str:
    """A message of ``secateur.words`` in the words of the command line: ``columns='time'`` is ``--columns 'time'``."""
    places = sorted(sources, key=len, reverse=True)  # names of files stay as they are
    for number, place in enumerate(places):
        message = message.replace(place, f"\0{number}\0")
    message = message.replace("say check_rates=False", "say --no-check-rates").replace("say sort", "say --sort")
    message = message.replace("sort=True", "--sort").replace("sc.load_words", "'secateur fit'")
    message = re.sub(r"\bep=\(START, STOP\)", "--ep START:STOP", message)
    message = re.sub(rf"(?<![\w-])({ARGUMENTS})=(?=\S)", lambda found: _option(found[1]) + " ", message)
    message = re.sub(rf"^({ARGUMENTS})(?=[: ])", lambda found: _option(found[1]), message)
    message = re.sub(r"(?<![\w-])(time_units|bin_size|ep)\b", lambda found: _option(found[1]), message)
    message = re.sub(
        r"\b(say|needs|with|is|give|a|check|and) (orientation|columns|threshold|variable)\b(?! of)",
        lambda found: f"{found[1]} {_option(found[2])}",
        message,
    )
    for number, place in enumerate(places):
        message = message.replace(f"\0{number}\0", place)
    return message


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
