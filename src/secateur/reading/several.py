"""Several files as one recording: each is an epoch, or brings epochs of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from secateur.reading.ready import ReadyWords
from secateur.reading.spike_trains import SpikeTrains, joined


def join(parts: Sequence[SpikeTrains | ReadyWords], names: Sequence[str]) -> SpikeTrains | ReadyWords:
    """Files one after the other, in the order given; the clock restarts in every one.

    Raises
    ------
    ValueError
        If some hold spike times and others words, or words are of different units or bins.
    """
    trains = [part for part in parts if isinstance(part, SpikeTrains)]
    if len(trains) == len(parts):
        ids = [
            name if len(part.segment_ids) == 1 else f"{name}:{segment}"
            for name, part in zip(names, trains, strict=True)
            for segment in part.segment_ids
        ]
        return joined(trains, ids)
    ready = [part for part in parts if isinstance(part, ReadyWords)]
    if trains:
        raise ValueError(
            f"some of the files {', '.join(names)} hold spike times and some words; give files of one kind"
        )
    for part, name in zip(ready, names, strict=True):
        if part.unit_ids != ready[0].unit_ids or not np.isclose(part.bin_size, ready[0].bin_size, equal_nan=True):
            raise ValueError(f"{name} has other units or bins than {names[0]}; give files of the same units and bins")
    firsts = np.cumsum([0, *(int(part.epochs.max(initial=-1)) + 1 for part in ready)])
    return ReadyWords(
        np.concatenate([part.counts for part in ready]),
        ready[0].unit_ids,
        np.concatenate([part.bin_starts for part in ready]),
        np.concatenate([first + part.epochs for first, part in zip(firsts[:-1], ready, strict=True)]),
        ready[0].bin_size,
        ready[0].properties,
        tuple(dict.fromkeys(remark for part in ready for remark in part.remarks)),
    )
