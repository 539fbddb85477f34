"""Which neurons and couplings carry the information: Fisher information tables with intervals.

A direction in parameter space is *stiff* when a small step along it changes the distribution of words much, that is,
when it belongs to a large eigenvalue of the Fisher information matrix, and *sloppy* otherwise (Panas, Amin, Maccione,
Muthmann, van Rossum, Berdondini & Hennig 2015, J. Neurosci. 35:8480; Ponce-Alvarez, Mochol, Hermoso-Mendizabal, de la
Rocha & Deco 2020, eLife 9:e53268). Rankings depend on whose matrix it is and on the convention of states, so every
table says both.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Float, PRNGKeyArray
from scipy.sparse.linalg import LinearOperator, eigsh

from secateur import sampling
from secateur.fisher import full_matrix as fisher_matrix
from secateur.fisher.full_matrix import FisherMatrix, Of
from secateur.fisher.pairwise_matrix import PairwiseLayout
from secateur.model import enumeration, pairwise_enumeration
from secateur.model.arrays import AnyArray
from secateur.model.moments import N_GROUPS
from secateur.model.pairwise import PairwiseModel
from secateur.model.randomness import child_key
from secateur.model.trust import TRUSTED, Verdict
from secateur.recordings.fitting import Model, check_words
from secateur.recordings.folds import FEWEST_BLOCKS, MANY_UNITS, Blocks, blocks
from secateur.recordings.intervals import MOST_CURVED, BlockSums, intervals, misfit, no_intervals
from secateur.recordings.parameters import (
    CONVENTIONS,
    Convention,
    ParameterList,
    group_sums,
    parameter_list,
    unit_means,
)
from secateur.recordings.tables import eigenvalue_table, loading_table, parameter_table, unit_table
from secateur.sampling import Draws
from secateur.sampling.gibbs_sampler import Gibbs
from secateur.sampling.runner import streamed_moments
from secateur.storage.arrays import write_atomically

Source = Literal["model", "data"]

WORDS_PER_PARAMETER = 10
"""Fewer words than this for each parameter, and a warning is given."""

MOST_OFF = 0.5
"""Distance of averages, in sampling errors of the recording, up to which a fit has converged."""

_MOST_DENSE = 2000  # parameters up to which the whole spectrum is computed, about a second
_N_LEADING = 12  # eigenvalues of larger models
_MOST_EXACT = 2e11  # states times parameters squared up to which the exact matrix is summed, about ten seconds
_N_CHAINS, _N_DRAWS, _N_SWEEPS, _N_BURN_IN = 1024, 20, 10, 500
_DRAWS_PER_WORD, _FEWEST_MEANS, _MOST_MEANS = 8, 20, 2000  # of all chains for every recorded word; draws of a chain


@dataclass(frozen=True)
class Stiffness:
    """Fisher information of a fitted model; every table has the columns ``fisher_matrix`` and ``convention``.

    Attributes
    ----------
    parameters
        One row per coupling and bias: ``kind``, ``first_unit``, ``second_unit`` (empty for a bias), ``value`` (the
        parameter, nats), ``fisher_information``, ``sampling_error`` (standard error from drawing model states; 0 when
        exact or from data), ``low``, ``high`` (interval; NaN where none is given), ``rank`` within its kind (1 =
        largest), and the entries of the stiffest directions, ``direction_1`` and so on (unit vectors).
    units
        One row per unit: ``unit``, ``layer`` (0 = visible), ``rate`` (probability per bin), ``bias_information`` and
        ``information`` (of its bias and all its couplings together), each with ``_low`` and ``_high``, and ``rank``.
    eigenvalues
        Largest first: ``number``, ``eigenvalue``, ``standard_error`` (spread between 16 groups of rows, for the
        stiffest directions; 0 when exact), ``share`` of the trace. The whole spectrum up to 2,000
        parameters, else the twelve largest.
    loadings
        One row per stiff direction and unit: ``direction``, ``eigenvalue``, ``unit``, ``layer``, ``loading`` (squared
        entries of its bias and half of those of its couplings; sums to 1 over units) and ``bias_entry`` (signed).
    of, convention, source
        Whose matrix, of which parameters, and averaged over what.
    sentences
        What was done, and warnings, in plain words.
    misfit
        Of a pairwise model: how far its averages are from those of the recording, in the recording's sampling errors.
    verdict
        Whether the chains that drew the model's states had mixed.
    without_intervals
        Why no intervals are given; empty where they are.
    """

    parameters: pd.DataFrame
    units: pd.DataFrame
    eigenvalues: pd.DataFrame
    loadings: pd.DataFrame
    of: Of
    convention: Convention
    source: Source
    sentences: tuple[str, ...]
    misfit: float = math.nan
    verdict: Verdict = TRUSTED
    without_intervals: tuple[str, ...] = ()

    def save_csv(self, folder: str | Path) -> list[Path]:
        """Write ``parameters.csv``, ``units.csv``, ``eigenvalues.csv`` and ``loadings.csv``; returns their paths."""
        written = []
        for name in ("parameters", "units", "eigenvalues", "loadings"):
            path = Path(folder) / f"{name}.csv"
            write_atomically(path, partial(getattr(self, name).to_csv, index=False))
            written.append(path)
        return written


def stiffness(
    model: Model,
    states: AnyArray,
    epochs: AnyArray,
    key: PRNGKeyArray,
    *,
    bin_size: float = math.nan,
    unit_ids: Sequence[str] | None = None,
    of: Of = "joint",
    convention: Convention = "0/1",
    source: Source = "model",
    n_directions: int = 3,
    level: float = 0.95,
) -> Stiffness:
    """Fisher information of every neuron and coupling of a fitted model, with intervals, and its stiffest directions.

    Parameters
    ----------
    model
        A pairwise model or a machine fitted to the words.
    states, epochs, bin_size, unit_ids
        0/1 words ``(bins, units)``, epoch numbers ``(bins,)``, bin size in seconds (needed for a single epoch) and
        names of the neurons.
    key
        Random key of drawn states.
    of
        ``"joint"``: of the model over visible and hidden units. ``"visible"``: of what is observed, hidden states
        unknown. Without hidden units they are the same.
    convention
        ``"0/1"``: parameters of 0/1 states; ``"+-1"``: those of +-1 states; ``"theta-scaled"``: ``F_ij theta_i
        theta_j``, relative changes of the parameters of 0/1 states (see :mod:`secateur.recordings.parameters`).
    source
        ``"model"``: averages over the model, exact where it is small enough, else over drawn states. ``"data"``: over
        the recorded words, as is usual for the pairwise model; hidden units are not recorded, so only without them.
    n_directions
        Stiffest directions to describe.
    level
        Coverage of the intervals (:mod:`secateur.recordings.intervals`), which contain the error of the fit. None are
        given below eight blocks, while the fit has not converged, and for machines with hidden units.

    Raises
    ------
    ValueError
        If states, epochs or names do not fit, or an option is unknown or impossible.

    Warns
    -----
    UserWarning
        Below ten words per parameter.
    """
    words = check_words(states, epochs, model)
    parameters = parameter_list(model, unit_ids)
    _check_options(parameters, of, convention, source, n_directions)
    block_of = blocks(words, epochs, bin_size)
    means = unit_means(model, words)
    matrix, drawn, how = _matrix(model, words, of, source, key)
    values, vectors = leading_eigenpairs(matrix, parameters, convention, n_directions, child_key(key, "eigenpairs"))
    error = np.zeros(len(parameters.values))
    if drawn is not None:
        information, error = _with_error(parameters, drawn, of, convention)
    elif source == "data":
        everything = group_sums(parameters, means, np.zeros(len(words), int), of, convention)
        information = everything.information(np.ones((1, 1)))[0]
    else:
        information = _diagonal(matrix, parameters, convention)
    recorded = group_sums(parameters, means, block_of.numbers, "joint", "0/1")
    sums = BlockSums(recorded.first, recorded.counts)
    off = math.nan
    if isinstance(model, PairwiseModel):
        off = (
            0.0 if source == "data" else misfit(sums, *_model_means(model, drawn, len(words), child_key(key, "means")))
        )
    reasons = _reasons(parameters, convention, block_of, off)
    limits = no_intervals(parameters)
    if not reasons:
        curvature = matrix.dense() if convention == "theta-scaled" else None
        prior = 1.0 if parameters.n_units > enumeration.MAX_UNITS else 0.0
        limits = intervals(
            parameters, sums, convention, curvature=curvature, prior=prior, sampling_error=error, level=level
        )
    tables = {
        "parameters": parameter_table(parameters, convention, information, error, limits, vectors),
        "units": unit_table(parameters, means.mean(axis=0), information, limits),
        "eigenvalues": eigenvalue_table(matrix, parameters, convention, values, vectors, information.sum()),
        "loadings": loading_table(parameters, values, vectors),
    }
    for table in tables.values():
        table.insert(0, "fisher_matrix", of)
        table.insert(1, "convention", convention)
    sentences = [
        f"Fisher information matrix: {of}; convention: {convention}; {how}.",
        f"No intervals: {'; '.join(reasons)}."
        if reasons
        else f"Intervals ({level:.0%}) contain the error of the fit: {block_of.sentence}.",
        *_scarcity(len(words), parameters),
    ]
    return Stiffness(
        **tables,
        of=of,
        convention=convention,
        source=source,
        sentences=tuple(sentences),
        misfit=off,
        verdict=matrix.verdict,
        without_intervals=tuple(reasons),
    )


def _reasons(parameters: ParameterList, convention: Convention, block_of: Blocks, off: float) -> list[str]:
    """Why no intervals are given; nothing where they are."""
    found = []
    if parameters.layers[-1] > 0:
        found.append("how far another fit of hidden units would lie is not known")
    if not block_of.enough:
        found.append(f"fewer than {FEWEST_BLOCKS} blocks ({block_of.sentence})")
    if off > MOST_OFF:
        found.append(
            f"the fit has not converged: its averages differ from those of the recording by {off:.2f} of the "
            f"recording's sampling errors (at most {MOST_OFF}); fit with more n_steps, or fewer units"
        )
    if convention == "theta-scaled" and len(parameters.values) > MOST_CURVED:
        found.append(
            f"theta-scaled intervals are for up to {MOST_CURVED:,} parameters, here {len(parameters.values):,}"
        )
    return found


def _model_means(
    model: PairwiseModel, drawn: np.ndarray | None, n_words: int, key: PRNGKeyArray
) -> tuple[np.ndarray, np.ndarray]:
    """Averages of the model's 0/1 statistics, and their standard errors.

    From so many words more, where they are drawn, that what they lack is small beside the recording's sampling errors:
    a few directions of the whole population hold most of both.
    """
    layout = PairwiseLayout(model.n_units)
    if drawn is None:
        statistics = pairwise_enumeration.moments(model).values
        return layout.flatten(statistics.as_parameters()), np.zeros(layout.n_parameters)
    last = drawn.reshape(_N_CHAINS, -1, model.n_units)[:, -1]
    sampler = Gibbs(n_sweeps=5)
    state = sampler.init(model, child_key(key, "chains"), _N_CHAINS, (jnp.asarray(last),))
    most = _MOST_MEANS if model.n_units <= MANY_UNITS else _FEWEST_MEANS
    n_draws = min(max(_DRAWS_PER_WORD * n_words // _N_CHAINS, _FEWEST_MEANS), most)
    found = streamed_moments(model, sampler, state, child_key(key, "draws"), n_draws=n_draws)
    return layout.flatten(found.values.as_parameters()), layout.flatten(found.standard_errors.as_parameters())


def _check_options(parameters: ParameterList, of: str, convention: str, source: str, n_directions: int) -> None:
    for name, value, options in (
        ("of", of, ("joint", "visible")),
        ("convention", convention, CONVENTIONS),
        ("source", source, ("model", "data")),
    ):
        if value not in options:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}, got {value!r}")
    if source == "data" and parameters.layers[-1] > 0:
        raise ValueError("source='data' needs a model without hidden units, which are not recorded; use source='model'")
    if not 1 <= n_directions <= len(parameters.values):
        raise ValueError(f"n_directions must lie between 1 and {len(parameters.values)}, got {n_directions}")


def _scarcity(n_words: int, parameters: ParameterList) -> list[str]:
    ratio = n_words / len(parameters.values)
    if ratio >= WORDS_PER_PARAMETER:
        return []
    sentence = (
        f"Only {ratio:.1f} words per parameter ({n_words} words, {len(parameters.values)} parameters), fewer than "
        f"{WORDS_PER_PARAMETER}: the fit follows noise, and rankings mean little. Use fewer units or a longer "
        "recording."
    )
    warnings.warn(sentence, stacklevel=3)
    return [sentence]


def _matrix(
    model: Model, words: np.ndarray, of: Of, source: Source, key: PRNGKeyArray
) -> tuple[FisherMatrix, np.ndarray | None, str]:
    """The matrix of 0/1 states, the drawn states of all units (hidden ones as probabilities) if any, and how."""
    exact = "exact sums over all states of the model"
    if isinstance(model, PairwiseModel):
        if source == "data":
            return fisher_matrix.matrix(model, words), None, f"averages over the {len(words)} recorded words"
        if _can_be_summed(model.n_units, model.n_parameters):
            return fisher_matrix.matrix(model, "exact"), None, exact
        draws = _draw(model, child_key(key, "states"))
        (drawn,) = (np.asarray(layer) for layer in draws.rows())
        return fisher_matrix.matrix(model, draws), drawn, _drawn_sentence(len(drawn))
    sizes = model.layer_sizes
    n_summed = enumeration.smaller_block(sizes if of == "joint" else sizes[1:]) + (sizes[0] if of == "visible" else 0)
    if _can_be_summed(n_summed, model.n_synapses + model.n_units):
        return fisher_matrix.matrix(model, "exact", of=of), None, exact
    deep = model.n_layers > 2
    if deep and of == "visible":
        raise ValueError(
            f"of='visible' of a machine with several hidden layers needs exact sums, which layers of {sizes} units are "
            "too large for; use of='joint'"
        )
    draws = _draw(model, child_key(key, "states"))
    states = [np.asarray(layer) for layer in draws.rows()]
    means = np.concatenate(states, axis=1) if deep else unit_means(model, states[0].astype(np.uint8))
    return fisher_matrix.matrix(model, draws, of=of), means, _drawn_sentence(len(means))


def _can_be_summed(n_summed: int, n_parameters: int) -> bool:
    return n_summed <= enumeration.MAX_UNITS and 2.0**n_summed * n_parameters**2 <= _MOST_EXACT


def _drawn_sentence(n_rows: int) -> str:
    return f"averages over {n_rows} states drawn from the model ({_N_CHAINS} chains)"


def _draw(model: Model, key: PRNGKeyArray) -> Draws:
    """Model states; as rows they come chain by chain, so that groups of rows are groups of independent chains."""
    n_draws = _N_DRAWS if model.n_units <= MANY_UNITS else _N_DRAWS // 2
    schedule: dict[str, Any] = {"n_draws": n_draws, "n_sweeps": _N_SWEEPS, "n_burn_in": _N_BURN_IN}
    return sampling.sample(model, key, n_chains=_N_CHAINS, **schedule)


def _with_error(
    parameters: ParameterList, means: np.ndarray, of: Of, convention: Convention
) -> tuple[np.ndarray, np.ndarray]:
    """Fisher information from drawn rows, and its standard error by the jackknife over 16 groups of chains."""
    groups = np.arange(len(means)) * N_GROUPS // len(means)
    sums = group_sums(parameters, means, groups, of, convention)
    left_out = sums.information(1.0 - np.eye(N_GROUPS))
    error = np.sqrt((N_GROUPS - 1) / N_GROUPS * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))
    return sums.information(np.ones((1, N_GROUPS)))[0], error


def _diagonal(matrix: FisherMatrix, parameters: ParameterList, convention: Convention) -> np.ndarray:
    change = parameters.change(convention)
    if convention != "+-1":
        return change.diagonal() ** 2 * matrix.diagonal()
    return np.asarray((change @ matrix.dense().astype(np.float64) * change.toarray()).sum(axis=1))


def leading_eigenpairs(
    matrix: FisherMatrix, parameters: ParameterList, convention: Convention, n_directions: int, key: PRNGKeyArray
) -> tuple[Float[np.ndarray, " values"], Float[np.ndarray, "directions parameters"]]:
    """Eigenvalues, largest first (beyond 2,000 parameters twelve), and the leading unit eigenvectors."""
    change, n = parameters.change(convention), len(parameters.values)
    if n <= _MOST_DENSE:
        values, vectors = np.linalg.eigh(change @ matrix.dense().astype(np.float64) @ change.T)
        values, vectors = values[::-1], vectors.T[::-1][:n_directions]
    else:
        start = np.asarray(jax.random.normal(key, (n,), jnp.float32)).astype(np.float64)
        operator = LinearOperator((n, n), lambda x: change @ matrix.matvec(change.T @ x.ravel()), dtype=np.float64)
        values, columns = eigsh(operator, max(n_directions, _N_LEADING), which="LA", v0=start, tol=1e-3)
        values, vectors = values[::-1], columns.T[::-1][:n_directions]
    largest = np.take_along_axis(vectors, abs(vectors).argmax(axis=1)[:, None], axis=1)
    return values, vectors * np.sign(largest)
