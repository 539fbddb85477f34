"""What a conversion of a recording into words has to say."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

ENOUGH_WORDS_PER_PARAMETER = 10


@dataclass(frozen=True)
class ConversionNotes:
    """What a conversion did, in numbers and sentences; ``summary()`` and ``str()`` give a few lines of text.

    Attributes
    ----------
    n_bins, n_units, n_epochs
        Numbers of words, of units kept, and of epochs.
    bin_size
        Seconds; nan where the words came ready-made without one.
    seconds
        Seconds of all bins together; nan without a bin size.
    mean_rates
        Spikes/s of every unit kept, of the spikes inside bins and before clipping; spikes/bin without a bin size.
    silent_share
        Share of bins in which no unit fired.
    clipped_share
        Share of bins in which at least one unit fired more than once.
    lost_spike_share
        Share of the spikes inside bins that clipping took away.
    dropped_units
        Units left out, and why.
    words_per_parameter
        Words per parameter of the pairwise model of these units, which has ``n (n + 1) / 2``.
    remarks
        Whatever else a reader has to know, one sentence each.
    """

    n_bins: int
    n_units: int
    n_epochs: int
    bin_size: float
    seconds: float
    mean_rates: tuple[float, ...]
    silent_share: float
    clipped_share: float
    lost_spike_share: float
    dropped_units: Mapping[str, str]
    words_per_parameter: float
    remarks: tuple[str, ...]

    def summary(self) -> str:
        """A few lines of text with everything the conversion has to say."""
        known = not math.isnan(self.bin_size)
        bins = (
            f"{self.n_bins:,} bins of {self.bin_size:g} s = {self.seconds:,.6g} s" if known else f"{self.n_bins:,} bins"
        )
        unit = "spikes/s" if known else "spikes/bin"
        rates = np.asarray(self.mean_rates)
        low, middle, high = np.quantile(rates, [0, 0.5, 1])
        lines = [
            f"{counted(self.n_units, 'unit')}, {bins}, in {counted(self.n_epochs, 'epoch')}",
            f"mean rates: {rates.mean():.3g} {unit} (lowest {low:.3g}, median {middle:.3g}, highest {high:.3g})",
            f"silent bins: {_percent(self.silent_share)}; bins in which a count was clipped to 1: "
            f"{_percent(self.clipped_share)} ({_percent(self.lost_spike_share)} of the spikes)",
            f"words per parameter of the pairwise model: {self.words_per_parameter:,.4g} "
            f"({self.n_units * (self.n_units + 1) // 2:,} parameters)",
        ]
        if self.words_per_parameter < ENOUGH_WORDS_PER_PARAMETER:
            lines[-1] += f"; below {ENOUGH_WORDS_PER_PARAMETER}, expect unreliable parameters"
        for why, ids in _by_reason(self.dropped_units).items():
            lines.append(f"{counted(len(ids), 'unit')} left out ({why}): {listed(ids)}")
        return "\n".join([*lines, *self.remarks])

    def __str__(self) -> str:
        return self.summary()

    def to_json(self) -> str:
        """The notes as a JSON text."""
        return json.dumps(asdict(self) | {"dropped_units": dict(self.dropped_units)})

    @classmethod
    def from_json(cls, text: str) -> ConversionNotes:
        """Notes from the text that :meth:`to_json` wrote.

        Raises
        ------
        ValueError
            If the text is not such a text.
        """
        try:
            values: dict[str, Any] = json.loads(text)
            values["mean_rates"] = tuple(float(rate) for rate in values["mean_rates"])
            values["remarks"] = tuple(str(remark) for remark in values["remarks"])
            notes = cls(**values)
            if not notes._is_sound():
                raise ValueError("a number or a list is missing")
            return notes
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise ValueError(f"the notes are damaged ({error})") from error

    def _is_sound(self) -> bool:
        """Whether every value is of its kind."""
        counts = (self.n_bins, self.n_units, self.n_epochs)
        measures = (self.silent_share, self.clipped_share, self.lost_spike_share, self.words_per_parameter)
        dropped = self.dropped_units
        return (
            all(type(n) is int and 0 <= n < 2**63 for n in counts)
            and all(type(x) in (int, float) for x in (self.bin_size, self.seconds, *measures))
            and len(self.mean_rates) == self.n_units > 0
            and isinstance(dropped, Mapping)
            and all(isinstance(why, str) for why in dropped.values())
        )


def listed(names: Iterable[Any], most: int = 8) -> str:
    """The first names of a list in words, and how many more there are."""
    texts = [shortened(name) for name in names]
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more


def shortened(value: Any, most: int = 60) -> str:
    """A value in words, cut where it is long."""
    text = str(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def counted(number: int, noun: str) -> str:
    """A number with its noun, which takes an s unless the number is one."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _by_reason(dropped: Mapping[str, str]) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for unit, why in dropped.items():
        reasons.setdefault(why, []).append(unit)
    return reasons
