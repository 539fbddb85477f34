"""Drawing rows from the model: freely, given some of their columns, or one sweep on from rows that are there."""

from __future__ import annotations

from functools import reduce
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray
from sklearn.utils.validation import check_is_fitted

from secateur.estimator.base import EstimatorBase
from secateur.estimator.inputs import inferred, key_from, positive_integers
from secateur.model import units
from secateur.model.machine import Machine
from secateur.model.randomness import child_key
from secateur.model.trust import Verdict
from secateur.sampling import Sampler, start_states
from secateur.sampling.diagnostics import AVERAGES_R_HAT_LIMIT
from secateur.sampling.draws import sampled

N_SWEEPS = 200
"""Sweeps from independent units to a state taken as a draw from the model (Scholl, Rule & Hennig 2021, Methods)."""

_WATCHED_DRAWS, _FEWEST_CHAINS = 10, 20
"""Draws of every chain, and chains, that tell whether a sample can be trusted, however few rows are wanted."""


class Drawing(EstimatorBase):
    """``sample`` and ``gibbs``.

    Attributes
    ----------
    sample_verdict_
        Whether the last :meth:`sample` can be trusted (:class:`secateur.Verdict`).
    """

    sample_verdict_: Verdict
    _n_gibbs: int

    def sample(
        self,
        n_samples: int = 1,
        *,
        given: Any = None,
        n_sweeps: int = N_SWEEPS,
        sampler: str | Sampler = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> Float[np.ndarray, "samples visible"]:
        """Visible 0/1 rows ``(n_samples, n_features)``, each from a chain of its own; chains start dispersed.

        Parameters
        ----------
        n_samples
            Rows to draw; with ``given`` for each of its rows.
        given
            What is known of the rows: 0 and 1, and NaN where a value is to be drawn, ``(n_features,)`` or
            ``(k, n_features)``; or a dict from columns, by number or name, to the values they are held at, for instance
            those of a label that the machine was trained on. The result is ``(k * n_samples, n_features)``, the draws
            for the first row first; each row has chains of its own, one row after another. ``None``: nothing is known.
        n_sweeps
            Sweeps of each chain; more are needed where the model mixes slowly.
        sampler
            As in :func:`secateur.sampling.sample`, by name or as an object; ``"auto"`` takes tempering where Gibbs
            sampling does not mix. With ``given`` always Gibbs sampling.
        random_state
            Seed of this draw; ``None``: the one fixed by :meth:`fit`, so that equal calls give equal rows.

        Raises
        ------
        ValueError
            If a number is too small, ``given`` does not fit, or there is no such sampler.

        Warns
        -----
        NotToBeTrusted
            If the chains have not mixed; ``sample_verdict_`` tells it afterwards, too.
        """
        check_is_fitted(self)
        (n_rows,) = positive_integers("n_samples", n_samples, 1)
        (n_steps,) = positive_integers("n_sweeps", n_sweeps, 1)
        key = child_key(self._key, "sample") if random_state is None else key_from(random_state)
        if given is None:
            drawn, self.sample_verdict_ = self._chains(key, n_rows, n_steps, sampler)
        else:
            if sampler not in ("auto", "gibbs"):
                raise ValueError(f"sampler must be 'gibbs' or 'auto' with given, got {sampler!r}; leave it out")
            # Rows are watched one by one: chains that hold different values say nothing about each other.
            parts = [
                self._chains(jax.random.fold_in(key, number), n_rows, n_steps, "gibbs", held)
                for number, held in enumerate(zip(*self._known(given), strict=True))
            ]
            drawn = np.concatenate([rows for rows, _ in parts])
            self.sample_verdict_ = reduce(Verdict.joined, [verdict for _, verdict in parts])
        self.sample_verdict_.warn("the sample")
        return drawn

    def _chains(
        self, key: PRNGKeyArray, n_rows: int, n_sweeps: int, sampler: str | Sampler, held: Any = None
    ) -> tuple[Float[np.ndarray, "rows visible"], Verdict]:
        """Rows of chains, of which some columns may be held at values, and whether the chains have mixed."""
        n_chains = max(n_rows, _FEWEST_CHAINS)
        how: dict[str, Any] = {}
        if held is not None:
            values, known = held
            visible, *hidden = start_states(self.machine_, child_key(key, "start"), n_chains)
            start = (np.where(known[None, :], values[None, :], np.asarray(visible)), *hidden)
            how = {"start": start, "clamp": (known, *(None for _ in hidden))}
        # The second half of every chain is watched; the last draw of each is returned.
        apart = max(1, n_sweeps // (2 * _WATCHED_DRAWS))
        n_burn_in = max(0, n_sweeps - _WATCHED_DRAWS * apart)
        schedule = (_WATCHED_DRAWS, n_chains, sampler, apart, n_burn_in)
        draws = sampled(self.machine_, key, schedule, r_hat_limit=AVERAGES_R_HAT_LIMIT, **how)
        # A row is one draw at the end of its chain, so the chains need have forgotten their starts and no more.
        return np.asarray(draws[0][-1, :n_rows]), draws.diagnostics.mixing_verdict(AVERAGES_R_HAT_LIMIT)

    def gibbs(
        self, X: Any, *, random_state: int | np.random.RandomState | None = None
    ) -> Float[np.ndarray, "rows visible"]:
        """Visible 0/1 rows ``(n, n_features)`` one sweep of Gibbs sampling after ``X``: hidden states, then visible.

        Exact for one hidden layer; hidden layers of deep machines are drawn from their mean-field probabilities. Grey
        levels enter as they are. Every call draws anew; calls after a fit are the same as after an equal fit.

        Parameters
        ----------
        X
            Rows as in :meth:`fit`.
        random_state
            Seed of this call; ``None``: follows from that of the fit and the number of calls so far.
        """
        check_is_fitted(self)
        if random_state is None:
            self._n_gibbs = getattr(self, "_n_gibbs", 0) + 1
            key = jax.random.fold_in(child_key(self._key, "gibbs"), self._n_gibbs)
        else:
            key = key_from(random_state)
        validated = self._validated(X)
        found, start = np.empty(validated.shape, np.float32), 0
        for levels in self._blocks(validated):
            drawn = _swept(self.machine_, jax.device_put(levels), jax.random.fold_in(key, start))
            found[start : start + len(levels)] = drawn
            start += len(levels)
        return found

    def _known(self, given: Any) -> tuple[Float[np.ndarray, "rows visible"], Bool[np.ndarray, "rows visible"]]:
        """Values 0 and 1 of the known columns, 0 elsewhere, and which are known."""
        rows = np.atleast_2d(self._row_of(given) if isinstance(given, dict) else np.asarray(given, np.float64))
        if rows.ndim != 2 or rows.shape[1] != self.n_features_in_ or len(rows) == 0:
            raise ValueError(
                f"given must be one or more rows of {self.n_features_in_} values, got shape {np.shape(given)}; write "
                "NaN where a value is to be drawn"
            )
        known = ~np.isnan(rows)
        values = self._levels.rows(np.where(known, rows, 0.0))
        odd = np.argwhere((values != 0) & (values != 1) & known)
        if len(odd):
            row, column = odd[0].tolist()
            raise ValueError(
                f"given must hold 0, 1 or NaN, got {rows[row, column]:g} in row {row}, column {column}; write NaN "
                "where a value is to be drawn"
            )
        return np.where(known, values, np.float32(0)), known

    def _row_of(self, held: dict[Any, Any]) -> np.ndarray:
        """The row with these columns held, NaN elsewhere."""
        row = np.full(self.n_features_in_, np.nan)
        names = list(getattr(self, "feature_names_in_", ()))
        for column, value in held.items():
            number = names.index(column) if column in names else column
            if not isinstance(number, int | np.integer) or not 0 <= number < len(row):
                raise ValueError(
                    f"given must name columns by numbers from 0 to {len(row) - 1}{' or by name' * bool(names)}, got "
                    f"{column!r}; look into feature_names_in_"
                )
            row[number] = value
        return row


@jax.jit
def _swept(machine: Machine, visible: Float[Array, "rows visible"], key: PRNGKeyArray) -> Float[Array, "rows visible"]:
    means = inferred(machine, visible)
    key_hidden, key_visible = jax.random.split(key)
    hidden = units.sample(means[1], key_hidden)
    return units.sample(units.mean(machine.total_input((visible, hidden, *means[2:]), 0)), key_visible)
