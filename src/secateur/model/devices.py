"""One large machine on many devices: chains and data are split over a JAX device mesh, the machine is on all of them.

XLA then inserts the sums across devices that gradients and averages need. Random numbers depend on key and place alone
(:func:`secateur.model.randomness.uniforms`), so chains are the same however they are split, up to the rounding of sums.
"""

from __future__ import annotations

from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from secateur.model.arrays import AnyArray


def split_rows(mesh: Mesh | None, what: str, arrays: Any) -> Any:
    """Arrays ``(..., rows, units)`` with their rows split evenly over all devices of a mesh; unchanged without a mesh.

    Parameters
    ----------
    mesh
        Devices; the names of its axes do not matter.
    what
        What the rows are, for messages.
    arrays
        An array or a pytree of arrays with equally many rows.

    Raises
    ------
    ValueError
        If the rows cannot be split evenly.
    """
    if mesh is None:
        return arrays

    def split(array: AnyArray) -> AnyArray:
        n_rows = array.shape[-2]
        if n_rows % mesh.size:
            raise ValueError(
                f"{what} must be a multiple of the {mesh.size} devices of the mesh, got {n_rows}; "
                f"take {n_rows - n_rows % mesh.size or mesh.size}"
            )
        spec = PartitionSpec(*(None,) * (array.ndim - 2), mesh.axis_names, None)
        return jax.device_put(array, _placed(mesh, spec))

    return jax.tree.map(split, arrays)


def on_all(mesh: Mesh | None, arrays: Any) -> Any:
    """A pytree of arrays, e.g. a machine, whole on every device of a mesh; unchanged without a mesh."""
    return arrays if mesh is None else jax.device_put(arrays, _placed(mesh, PartitionSpec()))


def _placed(mesh: Mesh, spec: PartitionSpec) -> NamedSharding:
    # Axes of which XLA chooses the sharding of everything that is computed, also when the mesh came with explicit ones.
    return NamedSharding(Mesh(mesh.devices, mesh.axis_names), spec)
