"""Whether chains have mixed: split R-hat and effective sample size, the worst over energy, activity and unit rates.

Both follow Vehtari, Gelman, Simpson, Carpenter & Bürkner (2021, Bayesian Analysis 16:667). While chains run only sums
over batches of consecutive draws are kept, so that memory does not grow with the number of draws; the formulas are then
those of the batch means, and of the draws themselves as long as every batch is one draw. Ranks, which the paper puts in
place of the draws, change nothing for 0/1 units, whose two values stay two values.
"""

from __future__ import annotations

import math
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.stats import f as f_distribution
from scipy.stats import norm, rankdata

from secateur.model.arrays import AnyArray
from secateur.model.machine import States
from secateur.model.trust import Verdict

N_BATCHES = 2048
"""Batches aimed at over all chains together; fewer where there are fewer draws."""

R_HAT_LIMIT = 1.01
"""Split R-hat above which draws are not trusted to come from the whole model (Vehtari et al. 2021, section 4)."""

AVERAGES_R_HAT_LIMIT = 1.05
"""The same for averages, stored or summed while chains ran. R-hat is about ``sqrt(1 + (t - 1) / n)`` for ``n`` draws in
half a chain that hang together over ``t`` draws, so 1.01 would ask each chain of many to be fifty times as long as its
memory. The error of an average comes from the spread between chains; it is right once they have forgotten their starts,
which ten times their memory is enough for (docs/trust.md has the measured coverage)."""

LEAST_SAMPLE_SIZE = 100
"""Effective sample size below which averages are not trusted: six for each of the 16 groups behind a standard error."""

_CHANCE = 0.01
"""Probability with which independent draws may exceed the limit of R-hat by chance, over all quantities together."""


class TraceSums(eqx.Module):
    """Running sums of several traces, per chain and batch of consecutive draws.

    Values are summed as differences from ``reference``, so that float32 holds the variance of large energies.

    Attributes
    ----------
    sums
        ``(chains, batches, quantities)``.
    squares
        ``(chains, quantities)``.
    reference
        ``(quantities,)``.
    """

    sums: Float[AnyArray, "*trials chains batches quantities"]
    squares: Float[AnyArray, "*trials chains quantities"]
    reference: Float[AnyArray, "*trials quantities"]
    n_draws: int = eqx.field(static=True)

    @classmethod
    def empty(cls, first_values: Float[Array, "chains quantities"], n_draws: int) -> TraceSums:
        """No draws yet; ``first_values`` set the reference point and the numbers of chains and quantities."""
        n_chains, n_quantities = first_values.shape
        # An even number, so that there are two halves.
        n_batches = min(max(1, n_draws - n_draws % 2), 2 * max(2, math.ceil(N_BATCHES / (2 * n_chains))))
        return cls(
            jnp.zeros((n_chains, n_batches, n_quantities), first_values.dtype),
            jnp.zeros((n_chains, n_quantities), first_values.dtype),
            first_values.mean(axis=0),
            n_draws,
        )

    def add(self, values: Float[Array, "chains quantities"], draw: Array) -> TraceSums:
        """The sums with the values of draw number ``draw`` (0-based) added."""
        batch = draw * self.sums.shape[1] // self.n_draws
        shifted = values - self.reference[None, :]
        return eqx.tree_at(
            lambda s: (s.sums, s.squares),
            self,
            (self.sums.at[:, batch].add(shifted), self.squares + shifted**2),
        )

    @property
    def batch_lengths(self) -> np.ndarray:
        """Draws in every batch."""
        n_batches = self.sums.shape[-2]
        return np.bincount(np.arange(self.n_draws) * n_batches // self.n_draws, minlength=n_batches)


@partial(jax.jit, static_argnames="n_draws")
def sums_of_draws(draws: Float[AnyArray, "chains draws quantities"], n_draws: int) -> TraceSums:
    """The sums of stored traces."""
    steps = (jnp.swapaxes(jnp.asarray(draws), 0, 1), jnp.arange(n_draws))
    start = TraceSums.empty(steps[0][0], n_draws)
    return jax.lax.scan(lambda sums, step: (sums.add(*step), None), start, steps)[0]


def traced_values(states: States, energy: Float[Array, " chains"]) -> Float[Array, "chains quantities"]:
    """What is watched while chains run: the energy, the population's activity, and every unit's state."""
    activity = sum(layer.sum(axis=1) for layer in states)
    return jnp.concatenate([energy[:, None], activity[:, None], *states], axis=1)


def quantity_name(number: int, layer_sizes: tuple[int, ...]) -> str:
    """Name of one of the watched quantities."""
    if number < 2:
        return ("the energy", "the population's activity")[number]
    layer, unit = 0, number - 2
    while unit >= layer_sizes[layer]:
        unit, layer = unit - layer_sizes[layer], layer + 1
    return f"the rate of unit {unit}" + (f" of layer {layer}" if len(layer_sizes) > 1 else "")


class MixingDiagnostics(eqx.Module):
    """What a reader needs to trust draws: how many there were, and how well the chains mixed.

    Attributes
    ----------
    sums
        Sums over batches of the traces of :func:`traced_values`; ``None`` for rows of unknown history.
    layer_sizes
        Units per layer.
    n_chains, n_draws, n_sweeps
        Chains, draws per chain, sweeps between draws.
    sampler
        Name of the sampler.
    apart
        Whether chains have distributions of their own, because they hold different units or different states of them.
    swaps
        Of tempering: acceptance rate of each swap between neighbouring temperatures, and round trips per replica.
    energies
        Energy of every draw, ``(draws, chains)``, where draws are kept: its R-hat is taken of ranks as well.
    dependence
        Of rows of unknown history: their largest autocorrelation, 1 where chance just allows it.
    """

    sums: TraceSums | None
    layer_sizes: tuple[int, ...] = eqx.field(static=True)
    n_chains: int = eqx.field(static=True)
    n_draws: int = eqx.field(static=True)
    n_sweeps: int = eqx.field(static=True)
    sampler: str = eqx.field(static=True, default="gibbs")
    apart: Array | None = None
    swaps: Swaps | None = None
    energies: Float[AnyArray, "*trials draws chains"] | None = None
    dependence: Float[AnyArray, "*trials"] | None = None

    @classmethod
    def of_rows(
        cls, layer_sizes: tuple[int, ...], n_rows: int, dependence: AnyArray | None = None
    ) -> MixingDiagnostics:
        """Diagnostics of rows of unknown history, which are taken for independent draws."""
        return cls(None, layer_sizes, n_rows, 1, 0, "rows", dependence=dependence)

    def counted(self) -> str:
        """In words how many draws there were and how well they mixed."""
        if self.sums is None:
            return f"{self.n_chains} rows taken for independent draws"
        apart = "1 sweep" if self.n_sweeps == 1 else f"{self.n_sweeps} sweeps"
        return (
            f"{self.sampler}, {self.n_chains} chains x {self.n_draws} draws, {apart} apart, effective sample size "
            f"{self.effective_sample_size:,.0f}, split R-hat {self.split_r_hat:.3f}"
        )

    def __str__(self) -> str:
        return f"{self.counted()}; {self.verdict}"

    __repr__ = __str__

    @property
    def effective_sample_size(self) -> float:
        """Independent draws with the same error of a mean: the smallest over all watched quantities that change."""
        return self._worst_sample_size()[0]

    @property
    def split_r_hat(self) -> float:
        """Largest split R-hat of all watched quantities; NaN with fewer than four draws per chain."""
        return self._worst_r_hat()[0]

    def r_hat_limit(self, limit: float = AVERAGES_R_HAT_LIMIT) -> float:
        """The limit of split R-hat, or what chance alone exceeds with few draws."""
        return max(limit, chance_r_hat(self.n_chains, self.n_draws, 2 + sum(self.layer_sizes)))

    @property
    def verdict(self) -> Verdict:
        """Whether averages over the draws can be trusted."""
        if self.sums is None:
            return self._verdict_on_rows()
        reasons = self._reasons_of_mixing(AVERAGES_R_HAT_LIMIT)
        size, quantity = self._worst_sample_size()
        if size < LEAST_SAMPLE_SIZE:
            reasons.append(
                f"effective sample size {size:.0f} of {quantity} (at least {LEAST_SAMPLE_SIZE} is needed); take more "
                "draws, or more sweeps between them"
            )
        return Verdict(tuple(reasons))

    def mixing_verdict(self, limit: float = R_HAT_LIMIT) -> Verdict:
        """Whether the draws come from the whole model, however few they are."""
        return self._verdict_on_rows() if self.sums is None else Verdict(tuple(self._reasons_of_mixing(limit)))

    def _reasons_of_mixing(self, limit: float) -> list[str]:
        r_hat, quantity = self._worst_r_hat()
        limit = self.r_hat_limit(limit)
        reasons = []
        if math.isnan(r_hat):
            reasons.append(f"{self.n_draws} draws per chain do not show whether chains have mixed; take four or more")
        elif r_hat > limit:
            other = self.sampler != "tempering" and self.apart is None  # clamped chains have no other sampler
            remedy = "more sweeps, or sampler='tempering'" if other else "more sweeps and burn-in"
            reasons.append(
                f"split R-hat {r_hat:.3f} of {quantity} (limit {limit:.2f}): the chains have not mixed; take {remedy}"
            )
            if self.swaps is not None:
                reasons += self.swaps.reasons()
        return reasons

    def _verdict_on_rows(self) -> Verdict:
        reasons = []
        if self.dependence is not None and float(self.dependence) > 1:
            reasons.append(
                "consecutive or periodic rows hang together, so they are no independent draws; give the draws as "
                "arrays (draws, chains, units), as sample returns them"
            )
        return Verdict(tuple(reasons))

    def _worst_r_hat(self) -> tuple[float, str]:
        if self.sums is None or self.n_draws < 4:
            return math.nan, ""
        apart = self.apart is not None and bool(self.apart)
        found = split_r_hats(self.sums, apart=apart)
        if self.energies is not None and not apart:
            found[0] = max(found[0], split_r_hat(np.asarray(self.energies).T))
        worst = int(np.argmax(found))
        return float(found[worst]), quantity_name(worst, self.layer_sizes)

    def _worst_sample_size(self) -> tuple[float, str]:
        if self.sums is None:
            return float(self.n_chains * self.n_draws), ""
        found = np.minimum(sample_sizes(self.sums), self.n_chains * self.n_draws)
        if np.isnan(found).all():  # nothing ever changed: every chain tells one thing
            return float(self.n_chains), "every quantity, none of which ever changed"
        worst = int(np.nanargmin(found))
        return float(found[worst]), quantity_name(worst, self.layer_sizes)


class Swaps(eqx.Module):
    """How well replicas moved between temperatures: acceptance rate of each swap, and round trips per replica."""

    acceptance: Float[Array, " gaps"]
    round_trips: Float[Array, ""]

    def reasons(self) -> list[str]:
        """What speaks against draws of tempering."""
        lowest, trips = float(np.min(np.asarray(self.acceptance))), float(self.round_trips)
        if trips >= LEAST_ROUND_TRIPS:
            return []
        return [
            f"replicas made {trips:.1f} round trips between the temperatures each (at least {LEAST_ROUND_TRIPS} are "
            f"needed; lowest acceptance of a swap {lowest:.2f}); take more temperatures or more sweeps"
        ]


LEAST_ROUND_TRIPS = 1.0
"""Round trips per replica below which tempering is not trusted: the cold chains then are still where they began."""


def chance_r_hat(n_chains: int, n_draws: int, n_quantities: int) -> float:
    """Split R-hat that independent draws exceed in one of so many quantities with a probability of 1 %."""
    halves, length = 2 * n_chains, n_draws // 2
    if length < 2:
        return math.inf
    ratio = f_distribution.isf(_CHANCE / n_quantities, halves - 1, halves * (length - 1))
    return math.sqrt((length - 1 + ratio) / length)


def split_r_hats(sums: TraceSums, *, apart: bool = False) -> Float[np.ndarray, " quantities"]:
    """Split R-hat of every quantity; 1 where it never changed, infinite where it changed between chains only.

    ``apart``: chains have distributions of their own, as where each holds other units, so that only the two halves of a
    chain are compared with each other.
    """
    first, second = _halves(sums)
    means = np.concatenate([half[0].sum(1) / half[1].sum() for half in (first, second)])
    length = sums.n_draws / 2
    squares = np.asarray(sums.squares, np.float64)
    lengths = np.array([half[1].sum() for half in (first, second)])
    pooled = squares.sum(0) - sum(n * (half**2).sum(0) for n, half in zip(lengths, np.split(means, 2), strict=True))
    within = np.maximum(pooled, 0) / (len(squares) * (lengths.sum() - 2))
    between = means.var(axis=0, ddof=1)
    if apart:
        between = (np.subtract(*np.split(means, 2)) ** 2).mean(axis=0) / 2
    tiny = 1e-6 * (squares.mean(0) / sums.n_draws + 1e-30)  # rounding of float32 sums
    still = within <= tiny
    ratio = (length - 1) / length + between / np.where(still, 1, within)
    return np.where(still, np.where(between > tiny, np.inf, 1.0), np.sqrt(ratio))


def sample_sizes(sums: TraceSums) -> Float[np.ndarray, " quantities"]:
    """Effective sample size of every quantity; NaN where it never changed.

    The variance of the overall mean comes from the autocorrelation of batch means (Geyer's initial monotone sequence
    over split chains), so it contains what is between chains as well as what is within.
    """
    first, second = _halves(sums)
    means = np.concatenate([values / counts[:, None] for values, counts in (first, second)])
    variance_of_means, time = autocorrelation_times(means)
    lengths = sums.batch_lengths
    total = sums.n_draws * len(first[0])
    squares = np.asarray(sums.squares, np.float64).sum(0)
    if sums.n_draws == lengths.size:
        variance = variance_of_means
    else:
        overall = (first[0].sum((0, 1)) + second[0].sum((0, 1))) / total
        variance = np.maximum(squares / total - overall**2, 0)
    changes = variance > 1e-6 * (squares / total + 1e-30)
    error = variance_of_means * time / (means.shape[0] * means.shape[1])
    return np.where(changes, variance / np.where(error > 0, error, np.inf), np.nan)


def _halves(sums: TraceSums) -> list[tuple[np.ndarray, np.ndarray]]:
    """Sums of the batches in the first and second half of every chain, float64, with the draws in each batch."""
    values, lengths = np.asarray(sums.sums, np.float64), sums.batch_lengths
    half = lengths.size // 2
    return [(values[:, :half], lengths[:half]), (values[:, half:], lengths[half:])]


def autocorrelation_times(
    chains: Float[np.ndarray, "chains draws quantities"],
) -> tuple[Float[np.ndarray, " quantities"], Float[np.ndarray, " quantities"]]:
    """Variance (within and between chains) and autocorrelation time of several chains, in draws.

    Equations 3 and 10-13 of Vehtari et al. 2021, for all quantities at once.
    """
    n_chains, n, n_quantities = chains.shape
    centred = chains - chains.mean(axis=1, keepdims=True)
    size = 2 ** math.ceil(math.log2(2 * n))
    spectrum = np.fft.rfft(centred, size, axis=1)
    covariance = np.fft.irfft((spectrum * spectrum.conj()).mean(axis=0), size, axis=0)[:n] / n
    within = covariance[0] * n / max(n - 1, 1)
    variance = covariance[0] + (chains.mean(axis=1).var(axis=0, ddof=1) if n_chains > 1 else 0)
    safe = np.where(variance > 0, variance, 1)
    rho = 1 - (within - covariance) / safe
    rho[0] = 1
    if n < 4:
        return variance, np.ones(n_quantities)
    pairs = n // 2
    even, odd = rho[0 : 2 * pairs : 2], rho[1 : 2 * pairs : 2]
    positive = np.logical_and.accumulate(even + odd > 0, axis=0)
    kept = np.minimum(positive.sum(axis=0), (n - 3) // 2)
    summed = np.minimum.accumulate(np.where(positive, even + odd, 0), axis=0)
    counts = np.arange(pairs)[:, None] < kept[None, :]
    # Of the first pair that is left out the even term still counts where it is positive.
    rest = np.maximum(np.take_along_axis(even, kept[None, :], axis=0)[0], 0)
    time = -1 + 2 * (summed * counts).sum(axis=0) + rest
    return variance, np.maximum(time, 1 / math.log10(max(n_chains * n, 2)))


def ranked(draws: Float[np.ndarray, "chains draws"]) -> Float[np.ndarray, "chains draws"]:
    """Normal scores of the ranks of all draws (Vehtari et al. 2021, equation 14)."""
    ranks = rankdata(draws.ravel()).reshape(draws.shape)
    return norm.ppf((ranks - 0.375) / (draws.size + 0.25))


def effective_sample_size(draws: Float[AnyArray, "chains draws"]) -> float:
    """Effective sample size of a stored trace: ranks in place of values, split chains ("bulk", Vehtari et al. 2021)."""
    return float(sample_sizes(_sums_of(draws))[0])


def split_r_hat(draws: Float[AnyArray, "chains draws"]) -> float:
    """Split R-hat of a stored trace, the larger of those of the ranks and of the ranks of distances from the median."""
    values = _even_number_of(draws)
    if values.shape[1] < 4:
        return math.nan
    folded = abs(values - np.median(values))
    return max(float(split_r_hats(_sums_of(each))[0]) for each in (values, folded))


def _sums_of(draws: Float[AnyArray, "chains draws"]) -> TraceSums:
    """Sums over the ranks of stored draws, in batches of one draw each."""
    scores = ranked(_even_number_of(draws))[:, :, None]
    return TraceSums(scores, (scores**2).sum(axis=1), np.zeros(1), scores.shape[1])


def _even_number_of(draws: Float[AnyArray, "chains draws"]) -> Float[np.ndarray, "chains even"]:
    """The draws, of an odd number all but the middle one, so that there are two halves."""
    values = np.asarray(draws, np.float64)
    return np.delete(values, values.shape[1] // 2, axis=1) if values.shape[1] % 2 else values
