"""Spikes of network simulations in the SONATA format: ``/spikes/POPULATION`` with ``timestamps`` and ``node_ids``."""

from __future__ import annotations

from dataclasses import replace

import h5py

from secateur.reading import tables
from secateur.reading.nested import Reading
from secateur.reading.spike_trains import SpikeTrains

COLUMNS = {"timestamps", "node_ids"}


def is_sonata(file: h5py.File) -> bool:
    """Whether an HDF5 file has a population of SONATA spikes."""
    return bool(_populations(file))


def _populations(file: h5py.File) -> list[str]:
    spikes = file.get("spikes")
    if not isinstance(spikes, h5py.Group):
        return []
    return [name for name, group in spikes.items() if isinstance(group, h5py.Group) and set(group) >= COLUMNS]


def read_sonata(file: h5py.File, how: Reading) -> SpikeTrains:
    """Trains of a population, ``variable`` where there are several; times are milliseconds unless stated otherwise.

    Raises
    ------
    ValueError
        If it is not told which population.
    """
    populations = _populations(file)
    name = how.variable or populations[0]
    if how.variable is None and len(populations) > 1:
        raise ValueError(
            f"{how.where} has several populations ({', '.join(populations)}); say variable='{populations[0]}' or "
            "another"
        )
    name = name.strip("/").removeprefix("spikes/")
    if name not in populations:
        raise ValueError(f"variable: {how.where} has no population {name!r}; it has {', '.join(populations)}")
    table = {column: file[f"spikes/{name}/{column}"] for column in sorted(COLUMNS)}
    states = "units" in table["timestamps"].attrs
    units = tables.stated_units(table["timestamps"], "", how.time_units) if states else how.time_units or "ms"
    found = tables.from_table(table, {"time": "timestamps", "unit": "node_ids"}, units, ("unit",))
    remark = () if states or how.time_units else ("no units of time are stated: milliseconds, as is usual in SONATA",)
    return replace(found, remarks=(*found.remarks, *remark))
