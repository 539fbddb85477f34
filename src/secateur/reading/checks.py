"""What spike trains must satisfy before they are binned, and when their numbers look like wrong units of time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Integer

from secateur.reading.binning import EDGE, Epochs
from secateur.reading.notes import counted, listed
from secateur.reading.spike_trains import Intervals, SpikeTrains, overlap

PLAUSIBLE_RATES = (0.02, 200.0)
"""Mean rate over units in spikes/s; outside, times are more likely in other units than stated."""

MANY_SPIKES = 20
MIXED_UNITS = 100.0
ENOUGH_SPIKES = 5
"""Units of enough spikes that reach so many times further than all others have times in other units."""


def in_order(trains: SpikeTrains, sort: bool) -> SpikeTrains:
    """The trains with every unit's times ascending.

    Raises
    ------
    ValueError
        If they are not, and ``sort`` is false: times that go back can be a clock that restarted.
    """
    back = _goes_back(trains)
    if not back.any():
        return trains
    if not sort:
        unit = trains.unit_ids[trains.units[np.flatnonzero(back)[0]]]
        raise ValueError(
            f"times must ascend within a unit, but unit {unit} goes back in time ({back.sum()} times in all units); "
            "if the clock restarts name the epoch of each spike (columns), else say sort"
        )
    order = np.argsort(trains.times, kind="stable")
    return SpikeTrains(
        trains.times[order],
        trains.units[order],
        trains.segments[order],
        trains.unit_ids,
        trains.segment_ids,
        trains.observed,
        trains.properties,
        (*trains.remarks, f"{counted(int(back.sum()), 'time')} out of order sorted"),
    )


def _goes_back(trains: SpikeTrains) -> Bool[np.ndarray, " spikes"]:
    order = np.lexsort((trains.units, trains.segments))  # stable: spikes of one unit stay in the order given
    times, units, segments = trains.times[order], trains.units[order], trains.segments[order]
    back = (np.diff(times) < 0) & (np.diff(units) == 0) & (np.diff(segments) == 0)
    found = np.zeros(len(times), bool)
    found[order[1:][back]] = True
    return found


def on_one_clock(trains: SpikeTrains, ep: Intervals | None, window: float | None) -> SpikeTrains:
    """Epochs whose times never overlap are labels on one running clock: ``ep`` is then cut out of that clock once.

    Raises
    ------
    ValueError
        If two such epochs share a window, of which each would fill but a part.
    """
    several = len(np.unique(trains.segments)) > 1 and len(trains.times) >= MANY_SPIKES
    if not several or any(trains.observed.values()) or overlap(trains.times, trains.segments):
        return trains
    if ep is None:
        if window is not None:
            pairs = np.unique(np.stack([np.floor(trains.times / window + EDGE), trains.segments], 1), axis=0)
            if len(np.unique(pairs[:, 0])) < len(pairs):
                raise ValueError(
                    "the clock runs on from epoch to epoch and epochs share a window; say ep=(START, STOP)"
                )
        return trains
    remark = "the clock runs on from epoch to epoch, so ep is cut out of it once and its pieces are the epochs"
    return replace(
        trains, segments=np.zeros_like(trains.segments), segment_ids=("0",), remarks=(*trains.remarks, remark)
    )


def check_times(trains: SpikeTrains, time_range_known: bool) -> None:
    """Refuse recordings without spikes, and negative times that no stated time range explains.

    Raises
    ------
    ValueError
        In either case.
    """
    if len(trains.times) == 0:
        raise ValueError("there are no spikes: every unit is silent; check which variable or column holds the times")
    negative = trains.times < 0
    if negative.any() and not time_range_known:
        unit = trains.unit_ids[trains.units[np.argmax(negative)]]
        raise ValueError(
            f"{negative.sum()} times are negative (the first: {trains.times[negative][0]:g} s of unit {unit}); say "
            "with ep which time range was recorded, or correct them"
        )


def check_units_of_time(trains: SpikeTrains, epochs: Epochs, chosen: Integer[np.ndarray, " units"]) -> None:
    """Ask back where spikes look as if times were in other units than stated.

    Raises
    ------
    ValueError
        If many times are all whole seconds, units have different units of time, or the mean rate is implausible.
    """
    answer = "; if they are right say check_rates=False"
    whole = np.abs(trains.times - np.rint(trains.times)) < 1e-9
    if len(whole) >= MANY_SPIKES and whole.all():
        raise ValueError(
            f"all {len(whole):,} times are whole numbers of seconds; are they milliseconds (time_units='ms') or "
            f"samples (time_units=RATE in Hz)?{answer}"
        )
    _check_same_units(trains, answer)
    spikes = np.isin(trains.units, chosen).sum()
    seconds = float(np.diff(epochs.pieces, axis=1).sum())
    rate = spikes / len(chosen) / seconds
    low, high = PLAUSIBLE_RATES
    if not low <= rate <= high:
        kind = "slow" if rate < low else "fast"
        guess = "milliseconds or samples given as seconds" if rate < low else "seconds given as milliseconds or samples"
        raise ValueError(
            f"the mean rate is {rate:.3g} spikes/s ({spikes:,} spikes of {len(chosen)} units in {seconds:,.6g} s), too "
            f"{kind} to be likely; are times {guess}? Say time_units ('s', 'ms', 'us' or a rate in Hz){answer}"
        )


def _check_same_units(trains: SpikeTrains, answer: str) -> None:
    """Trains in milliseconds among trains in seconds reach a thousand times further."""
    n_units = len(trains.unit_ids)
    last = np.zeros(n_units)
    np.maximum.at(last, trains.units, np.abs(trains.times))
    judged = np.flatnonzero((np.bincount(trains.units, minlength=n_units) >= ENOUGH_SPIKES) & (last > 0))
    judged = judged[np.argsort(last[judged])]
    if len(judged) < 2:
        return
    ratios = last[judged][1:] / last[judged][:-1]
    widest = int(np.argmax(ratios))
    if ratios[widest] >= MIXED_UNITS:
        far = [trains.unit_ids[unit] for unit in judged[widest + 1 :]]
        raise ValueError(
            f"units of time look mixed: the times of units {listed(far)} reach {ratios[widest]:,.0f} times further "
            f"than those of the others ({last[judged[widest]]:g} s); bring all trains to one unit{answer}"
        )
