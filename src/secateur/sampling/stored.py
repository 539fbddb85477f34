"""Averages over states that are there already: draws with their order, or rows whose history nobody knows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.stats import norm

from secateur.model import checked
from secateur.model.arrays import AnyArray
from secateur.model.machine import States
from secateur.model.moments import GroupSums, Moments
from secateur.sampling.diagnostics import MixingDiagnostics, sums_of_draws, traced_values
from secateur.sampling.draws import Draws
from secateur.sampling.sweep import Model

_FALSE_ALARM = 1e-3
"""Probability with which independent rows are said to hang together."""


def rows_and_diagnostics(
    model: Model, source: Draws | Sequence[AnyArray] | AnyArray
) -> tuple[States, MixingDiagnostics]:
    """States as rows, chain after chain, so that runs of rows are groups of chains; and their diagnostics.

    Parameters
    ----------
    model
        The model that the states were drawn from.
    source
        :class:`Draws`; or one 0/1 array per layer (of a pairwise model the array alone will do), either all
        ``(draws, chains, n_l)`` or all ``(rows, n_l)``. Rows are taken for independent draws, unless their
        autocorrelation shows that they are not.

    Raises
    ------
    ValueError
        If the arrays are not 0/1, do not fit the model or have fewer than two rows.
    """
    if isinstance(source, Draws):
        checked.states(tuple(np.asarray(layer[0]) for layer in source), model.layer_sizes)
        return _enough(source.rows()), source.diagnostics
    layers = _layers(source)
    if all(np.ndim(layer) == 3 for layer in layers):
        n_draws, n_chains = _draws_and_chains(layers)
        by_chain = [np.swapaxes(np.asarray(layer), 0, 1).reshape(-1, np.shape(layer)[2]) for layer in layers]
        rows = _enough(checked.states(tuple(by_chain), model.layer_sizes))
        traces = _traces(model, rows).reshape(n_chains, n_draws, -1)
        diagnostics = MixingDiagnostics(
            sums_of_draws(traces, n_draws),
            model.layer_sizes,
            n_chains,
            n_draws,
            n_sweeps=1,
            sampler="draws",
            energies=traces[..., 0].T,
        )
        return rows, diagnostics
    rows = _enough(checked.states(tuple(layers), model.layer_sizes))
    n_rows = rows[0].shape[0]
    return rows, MixingDiagnostics.of_rows(model.layer_sizes, n_rows, dependence(_traces(model, rows)[:, :2]))


def moments_of(model: Model, source: Draws | Sequence[AnyArray] | AnyArray) -> Moments:
    """Averages of the sufficient statistics over states; parameters and errors of :func:`rows_and_diagnostics`."""
    rows, diagnostics = rows_and_diagnostics(model, source)
    return moments_of_rows(model, rows, rows, (True,) * len(rows), diagnostics)


def moments_of_rows(
    model: Model, rows: States, means: States, sampled: tuple[bool, ...], diagnostics: MixingDiagnostics
) -> Moments:
    """Averages over checked rows, chain after chain, from ``means``: the rows, or conditional means of some layers."""
    values, errors, deviations = _grouped(model, rows, means, sampled)
    return Moments(values, errors, diagnostics, deviations)


@partial(jax.jit, static_argnames=("sampled",))
def _grouped(model: Model, rows: States, means: States, sampled: tuple[bool, ...]) -> tuple:
    watched = _traces(model, rows)[:, :2]
    sums = GroupSums.empty(rows, 2, 1).add(means, watched - watched.mean(axis=0)[None, :], 0)
    return sums.values_and_errors(sampled)


@jax.jit
def _traces(model: Model, rows: States) -> Float[Array, "rows quantities"]:
    return traced_values(rows, model.energy(rows))


@jax.jit
def dependence(series: Float[Array, "rows quantities"]) -> Float[Array, ""]:
    """Largest autocorrelation of series at any lag, 1 where it is as large as chance just allows; 0 of short series.

    Draws of a few chains that were joined draw after draw hang together at the lag of the number of chains.
    """
    n = series.shape[0]
    if n < 32:
        return jnp.zeros(())
    n_lags = n // 2
    centred = series - series.mean(axis=0)[None, :]
    spectrum = jnp.abs(jnp.fft.rfft(centred, 2 * n, axis=0)) ** 2
    covariance = jnp.fft.irfft(spectrum, 2 * n, axis=0)[: n_lags + 1]
    correlation = covariance[1:] / jnp.where(covariance[0] > 0, covariance[0], 1)[None, :]
    limit = float(norm.isf(_FALSE_ALARM / (2 * n_lags * series.shape[1]))) / np.sqrt(n)
    return (correlation / np.float32(limit)).max()


def _enough(rows: States) -> States:
    if rows[0].shape[0] < 2:
        raise ValueError(
            f"states must have at least 2 rows for a standard error, got {rows[0].shape[0]}; draw more states"
        )
    return rows


def _draws_and_chains(layers: Sequence[AnyArray]) -> tuple[int, int]:
    found = [np.shape(layer)[:2] for layer in layers]
    if len(set(found)) > 1:
        raise ValueError(
            f"states must have as many draws and chains in every layer, got {found}; leave the surplus out"
        )
    return found[0]


def _layers(source: Sequence[AnyArray] | AnyArray) -> list[AnyArray]:
    """One array per layer; a single array is the one layer of a pairwise model."""
    return [source] if hasattr(source, "ndim") else list(source)
