r"""Machines to and from other libraries and conventions: scikit-learn, rbms, PyTorch and NumPy arrays, -1/+1 units.

With :math:`\sigma = 2 s - 1` the machine of :mod:`secateur.model.machine` is

.. math:: \log p(\sigma) = \sum_l f_l \cdot \sigma_l + \sum_l \sigma_l^T J_l \sigma_{l+1} - \log Z_\sigma

with couplings :math:`J_l = W_l / 4` and fields :math:`f_l = b_l / 2 + W_l 1 / 4 + W_{l-1}^T 1 / 4`; the other way round
:math:`W_l = 4 J_l` and :math:`b_l = 2 f_l - 2 J_l 1 - 2 J_{l-1}^T 1`. Other signs or a temperature are the caller's to
put into the arrays first.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from secateur.model import checked
from secateur.model.machine import Machine
from secateur.model.pairwise import PairwiseModel
from secateur.storage import rbms_files

if TYPE_CHECKING:
    from sklearn.neural_network import BernoulliRBM

Units = Literal["0/1", "-1/+1"]
"""The two states of every unit."""

Axes = Literal["lower-upper", "upper-lower"]
"""Axes of weight matrices: visible units first, as here, or hidden units first, as in ``torch.nn.Linear``."""


class MachineArrays(NamedTuple):
    """Arrays of a machine, lower layers first: float64 ``weights`` and ``biases`` (nats), boolean ``masks``."""

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    masks: tuple[np.ndarray, ...]


def from_arrays(
    weights: Sequence[Any],
    biases: Sequence[Any],
    masks: Sequence[Any] | None = None,
    *,
    units: Units = "0/1",
    axes: Axes = "lower-upper",
) -> Machine:
    """A machine from arrays of NumPy, JAX or PyTorch (also on a GPU, or with a gradient), in either convention.

    Parameters
    ----------
    weights
        One matrix per pair of adjacent layers, the lowest first.
    biases
        One vector per layer, visible first.
    masks
        One matrix per weight matrix, true where a synapse exists; ``None``: all exist.
    units
        Whether the parameters are those of units 0 and 1, or of units -1 and +1.
    axes
        Axes of every matrix.

    Raises
    ------
    ValueError
        If ``units`` or ``axes`` is another text, or the arrays do not fit each other or are not finite.
    TypeError
        If they hold no numbers.
    """
    _check_choice("units", units, Units)
    _check_choice("axes", axes, Axes)
    host_weights = [_matrix(w, f"weights[{n}]", axes) for n, w in enumerate(weights)]
    host_biases = [_numbers(b, f"biases[{n}]") for n, b in enumerate(biases)]
    host_masks = None if masks is None else [_matrix(m, f"masks[{n}]", axes, np.bool_) for n, m in enumerate(masks)]
    machine = Machine(host_weights, host_biases, host_masks)  # checks shapes and values
    if units == "0/1":
        return machine
    existing = [np.where(np.asarray(m), w, 0) for w, m in zip(host_weights, machine.masks, strict=True)]
    return Machine(*bits_from_spins(existing, host_biases), host_masks)


def to_arrays(machine: Machine, *, units: Units = "0/1", axes: Axes = "lower-upper") -> MachineArrays:
    """NumPy arrays of a machine; ``torch.from_numpy`` takes each of them.

    Parameters as in :func:`from_arrays`, which is the way back. Weights of absent synapses are zero.

    Raises
    ------
    ValueError
        If ``units`` or ``axes`` is another text, or the machine is stacked trials.
    TypeError
        If it is no machine with hidden layers.
    """
    _check_choice("units", units, Units)
    _check_choice("axes", axes, Axes)
    _check_machine(machine)
    weights = tuple(np.array(w, np.float64) for w in machine.weights)
    biases = tuple(np.array(b, np.float64) for b in machine.biases)
    if units == "-1/+1":
        weights, biases = spins_from_bits(weights, biases)
    masks = tuple(np.array(m) for m in machine.masks)
    if axes == "upper-lower":
        weights = tuple(np.ascontiguousarray(w.T) for w in weights)
        masks = tuple(np.ascontiguousarray(m.T) for m in masks)
    return MachineArrays(weights, biases, masks)


def spins_from_bits(
    weights: Sequence[np.ndarray], biases: Sequence[np.ndarray]
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Couplings and fields for -1/+1 units with the distribution of the given weights and biases for 0/1 units.

    float64, with matrices ``(lower, upper)``; nothing is checked.
    """
    couplings = tuple(np.asarray(w, np.float64) / 4 for w in weights)
    sums = _sums(couplings)
    return couplings, tuple(np.asarray(b, np.float64) / 2 + total for b, total in zip(biases, sums, strict=True))


def bits_from_spins(
    couplings: Sequence[np.ndarray], fields: Sequence[np.ndarray]
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """The inverse of :func:`spins_from_bits`: weights and biases for 0/1 units."""
    exact = [np.asarray(j, np.float64) for j in couplings]
    biases = tuple(2 * (np.asarray(f, np.float64) - total) for f, total in zip(fields, _sums(exact), strict=True))
    return tuple(4 * j for j in exact), biases


def _sums(matrices: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Sum of all entries of a unit's matrices, the one above its layer and the one below, for every layer."""
    upward = [*(m.sum(axis=1) for m in matrices), 0]
    downward = [0, *(m.sum(axis=0) for m in matrices)]
    return [np.asarray(up + down) for up, down in zip(upward, downward, strict=True)]


def pairwise_to_spins(model: PairwiseModel) -> tuple[np.ndarray, np.ndarray]:
    """Fields ``(units,)`` and symmetric couplings ``(units, units)`` of a pairwise model for units -1 and +1.

    ``log p = fields . s + s . couplings . s / 2 - log Z``, in float64.

    Raises
    ------
    TypeError
        If it is no pairwise model.
    """
    if not isinstance(model, PairwiseModel):
        raise TypeError(f"model must be a PairwiseModel, got a {type(model).__name__}; machines go to to_arrays")
    couplings = np.asarray(model.couplings, np.float64) / 4
    return np.asarray(model.biases, np.float64) / 2 + couplings.sum(axis=1), couplings


def pairwise_from_spins(fields: Any, couplings: Any) -> PairwiseModel:
    """The pairwise model of 0/1 units with the distribution of :func:`pairwise_to_spins`; errors as its constructor."""
    host_fields, host_couplings = _numbers(fields, "fields"), _numbers(couplings, "couplings")
    PairwiseModel(host_fields, host_couplings)  # checks shapes, symmetry and values
    return PairwiseModel(2 * (host_fields - host_couplings.sum(axis=1)), 4 * host_couplings)


def from_sklearn(model: BernoulliRBM) -> Machine:
    """The machine that a fitted ``sklearn.neural_network.BernoulliRBM`` holds; both have 0/1 units.

    Raises
    ------
    TypeError
        If it is something else.
    ValueError
        If it is not fitted.
    """
    from sklearn.neural_network import BernoulliRBM

    if not isinstance(model, BernoulliRBM):
        raise TypeError(f"model must be a BernoulliRBM, got a {type(model).__name__}; take it out of its pipeline")
    if not hasattr(model, "components_"):
        raise ValueError("model must be a fitted BernoulliRBM, got one without components_; call fit first")
    biases = [model.intercept_visible_, model.intercept_hidden_]
    return from_arrays([model.components_], biases, axes="upper-lower")


def to_sklearn(machine: Machine, **parameters: Any) -> BernoulliRBM:
    """A fitted ``sklearn.neural_network.BernoulliRBM``, ready for ``transform``, ``gibbs`` and ``partial_fit``.

    scikit-learn knows no masks: absent synapses have weight 0 there and grow again in ``partial_fit``.

    Parameters
    ----------
    machine
        A machine with one hidden layer.
    parameters
        Parameters of ``BernoulliRBM`` other than ``n_components``.

    Raises
    ------
    ValueError, TypeError
        If the machine has several hidden layers or is none, or there is no such parameter.
    """
    _check_machine(machine, "BernoulliRBM")
    from sklearn.neural_network import BernoulliRBM

    (weights,), (visible, hidden), _ = to_arrays(machine, axes="upper-lower")
    if "n_components" in parameters:
        raise TypeError("n_components must be left out, got one of the caller's; it is the number of hidden units")
    model = BernoulliRBM(hidden.size, **parameters)
    model.components_, model.intercept_visible_, model.intercept_hidden_ = weights, visible, hidden
    model.n_features_in_, model._n_features_out = visible.size, hidden.size
    return model


def from_rbms(path: str | os.PathLike[str], update: int | None = None) -> Machine:
    """The machine in an ``.h5`` file that the library rbms has written; both have 0/1 units.

    Parameters
    ----------
    path
        File of a Bernoulli-Bernoulli machine (``BBRBM``).
    update
        Number of gradient updates after which the machine was saved; ``None``: the last that the file holds.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, of another kind or too large, or holds no such update.
    """
    wanted = None if update is None else checked.count("update", update, 0)
    weights, visible, hidden = rbms_files.read(Path(path), wanted)
    return Machine([weights], [visible, hidden])


def to_rbms(machine: Machine, path: str | os.PathLike[str], chains: Any = None) -> None:
    """Write an ``.h5`` file that ``rbms.io.load_params`` and ``load_model`` read, as update 1.

    It holds no state of PyTorch's random numbers, so ``load_model`` takes it with ``restore=False``.

    Parameters
    ----------
    machine
        A machine with one hidden layer; absent synapses have weight 0 there.
    path
        File to write; an existing one is replaced in one step.
    chains
        Visible states ``(chains, visible)`` of 0 and 1 that rbms goes on from. ``None``: 100 rows of fair coin flips,
        as rbms itself starts.

    Raises
    ------
    ValueError, TypeError
        If the machine has several hidden layers or is none, or the chains do not fit.
    """
    _check_machine(machine, "rbms")
    n_visible = machine.layer_sizes[0]
    if chains is None:
        chains = np.random.default_rng(0).integers(0, 2, (100, n_visible))
    states = np.asarray(checked.rows(chains, n_visible, "chains"))
    (weights,), (visible, hidden) = (tuple(np.asarray(a) for a in one) for one in machine.parameters)
    rbms_files.write(Path(path), weights, visible, hidden, states)


def _check_machine(machine: Any, peer: str | None = None) -> None:
    if hasattr(machine, "machine_"):
        raise TypeError(f"machine must be a Machine, got a {type(machine).__name__}; give its machine_")
    checked.model(machine, single=True, hidden=True)
    if peer is not None and machine.n_layers != 2:
        raise ValueError(
            f"machine must have one hidden layer for {peer}, got layers of {machine.layer_sizes} units; keep deep "
            "machines with secateur.save_machine or take their arrays with to_arrays"
        )


def _check_choice(what: str, value: Any, choices: Any) -> None:
    allowed = get_args(choices)
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{what} must be {allowed[0]!r} or {allowed[1]!r}, got {value!r}; write {what}={allowed[0]!r}")


def _on_host(values: Any) -> Any:
    """What NumPy can read of a PyTorch tensor, which may lie on a GPU, have a gradient, or be of a short type."""
    if not (hasattr(values, "detach") and hasattr(values, "cpu")):
        return values
    return values.detach().cpu().double().numpy()


def _numbers(values: Any, what: str) -> np.ndarray:
    """A copy in float64, checked in the one door."""
    host = _on_host(values)
    checked.finite(host, what)
    return np.array(host, np.float64)


def _matrix(values: Any, what: str, axes: Axes, kind: type = np.float64) -> np.ndarray:
    matrix = _numbers(values, what)
    if matrix.ndim != 2:
        raise ValueError(f"{what} must be a matrix, got shape {matrix.shape}; give a list of matrices of two axes")
    return (matrix.T if axes == "upper-lower" else matrix).astype(kind)
