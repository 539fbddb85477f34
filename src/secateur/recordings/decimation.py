"""Pruning what was fitted to a recording: which couplings or synapses can go before prediction suffers.

The recording is cut into two halves, odd and even blocks. In each half the model is fitted, and then round after round
the least important part goes and the rest is fitted again; every model is scored on the other half. So every bin is
held out once, and what stays in one half can be compared with what stays in the other.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, PRNGKeyArray

from secateur import likelihood
from secateur.likelihood import rates_of
from secateur.model import checked
from secateur.model.arrays import AnyArray
from secateur.model.pairwise import PairwiseModel
from secateur.model.randomness import child_key
from secateur.model.trust import NotToBeTrusted
from secateur.pruning import Criterion, Rule, prune_and_retrain, remove_lowest, rule_of
from secateur.pruning.ranking import coupling_scores
from secateur.reading.notes import listed
from secateur.recordings.comparison import ratio_interval
from secateur.recordings.fitting import (
    N_HIDDEN,
    Model,
    check_words,
    default_settings,
    fit_machine,
    hidden_sizes,
    log_probability,
)
from secateur.recordings.folds import Blocks, blocks
from secateur.storage.limits import MAX_CRITERIA
from secateur.training import fit_pairwise

What = Literal["couplings", "machine"]
"""What is pruned: the couplings of the pairwise model, or the synapses and units of a machine with hidden units."""

CRITERIA = ("variance-fi", "fi-times-weight-squared", "weight-magnitude", "random")

_N_TEMPERATURES = 300  # of annealing; its error is contained in the intervals
_SHARE_RETRAINED = 4  # a retraining has this part of the updates of the first training


class Scored(NamedTuple):
    """A model of one half after a round: what is left of it, and its log-likelihood in the other half.

    Attributes
    ----------
    n_left
        Couplings or synapses.
    kept
        ``(units, units)`` of a pairwise model, else ``None``.
    sums
        Nats over each block of the other half.
    log_z_error
        Nats per bin.
    """

    n_left: int
    kept: Bool[np.ndarray, "units units"] | None
    sums: Float[np.ndarray, " blocks"]
    log_z_error: float


class Decimation(NamedTuple):
    """What pruning a recording's model gave.

    Attributes
    ----------
    criteria
        Names of the rules.
    paths
        ``paths[rule][half]``: a :class:`Scored` for each round, the full model first.
    blocks
        The blocks of which the halves are made; blocks of even number are the first half.
    bins, spikes
        Of every block.
    final
        By rule the couplings ``(units, units)`` that stay of a fit to all words after the rounds of
        :meth:`within_one_error`; empty for machines.
    """

    criteria: tuple[str, ...]
    paths: dict[str, tuple[list[Scored], list[Scored]]]
    blocks: Blocks
    bins: np.ndarray
    spikes: np.ndarray
    final: dict[str, Bool[np.ndarray, "units units"]]

    def sums(self, criterion: str, number: int) -> Float[np.ndarray, " blocks"]:
        """Held-out log-likelihood of every block after a round, nats; each half scored by the fit to the other."""
        found = np.zeros(self.blocks.n_blocks)
        for half, path in enumerate(self.paths[criterion]):
            found[1 - half :: 2] = path[number].sums
        return found

    def interval(
        self, first: tuple[str, int], second: tuple[str, int], per: np.ndarray, level: float = 0.95
    ) -> tuple[float, float, float]:
        """Gain of one rule and round over another, per bin or spike, with its interval."""
        if all(self.paths[first[0]][half][first[1]] is self.paths[second[0]][half][second[1]] for half in (0, 1)):
            return 0.0, 0.0, 0.0  # one model, whose log Z has no error against itself
        difference = self.sums(*first) - self.sums(*second)
        errors = [
            self.bins[1 - half :: 2].sum() * self.paths[name][half][number].log_z_error
            for name, number in (first, second)
            for half in (0, 1)
        ]
        return ratio_interval(difference, per, 2, math.hypot(*errors), level)

    def within_one_error(self, criterion: str) -> int:
        """The last round before the first that predicts worse than the full model by more than one standard error.

        Breiman, Friedman, Olshen & Stone (1984, section 3.4.3).
        """
        one_error = 0.6826894921370859
        best = 0
        for number in range(1, len(self.paths[criterion][0])):
            _, _, high = self.interval((criterion, number), (criterion, 0), self.bins, one_error)
            if high >= 0:
                best = number
            else:
                break
        return best

    def overlap(self, criterion: str, number: int) -> tuple[float, float]:
        """Share of the couplings kept in one half that are kept in the other, and what chance would make."""
        kept = [path[number].kept for path in self.paths[criterion]]
        assert kept[0] is not None and kept[1] is not None
        left = kept[0].sum()
        n = len(kept[0])
        return float((kept[0] & kept[1]).sum() / max(left, 1)), float(left / max(n * (n - 1), 1))


def decimate(
    states: AnyArray,
    epochs: AnyArray,
    key: PRNGKeyArray,
    *,
    what: What = "couplings",
    criteria: Sequence[Criterion] = CRITERIA,
    fraction: float = 0.3,
    n_rounds: int = 10,
    n_hidden: int | Sequence[int] = N_HIDDEN,
    bin_size: float = math.nan,
    on_step: Callable[[str], None] | None = None,
) -> Decimation:
    """Prune the models of a recording by several rules, round after round with refitting, judged on held-out bins.

    Parameters
    ----------
    states, epochs, bin_size
        0/1 words ``(bins, units)``, epoch numbers ``(bins,)`` and bin size in seconds.
    key
        Random key.
    what
        ``"couplings"`` of the pairwise model, or the synapses (by rules for units, the units) of a ``"machine"``.
    criteria
        Rules, by name or as functions of :class:`secateur.pruning.Synapses`, which for couplings are given the
        couplings, rates and coincidence rates of the fitted model. All of them remove equal numbers.
    fraction
        Share of the remaining couplings, or of each weight matrix, that a round removes.
    n_rounds
        Rounds.
    n_hidden
        Hidden units of the machine.
    on_step
        Told what is done next.

    Raises
    ------
    ValueError
        If there are fewer than eight blocks to judge by, a rule is unknown or does not fit, or a number is out of
        range.
    """
    words = check_words(states, epochs)
    rules = [rule_of(criterion) for criterion in criteria]
    names = [rule.name for rule in rules]
    if not 1 <= len(set(names)) == len(names) <= MAX_CRITERIA:
        raise ValueError(f"criteria must be 1 to {MAX_CRITERIA} different rules, got {listed(names)}; name each once")
    (fraction,) = checked.fraction(fraction, 1)
    n_rounds = checked.count("n_rounds", n_rounds)
    found = blocks(words, epochs, bin_size)
    if not found.enough:
        raise ValueError(f"pruning is judged by held-out blocks, and there are fewer than eight: {found.sentence}")
    if what == "couplings":
        for rule in rules:  # refused before anything is fitted
            coupling_scores(np.eye(2) * 0, np.full(2, 0.5), np.full((2, 2), 0.25), rule, key)
    else:
        hidden_sizes(words.shape[1], n_hidden)
    say = on_step or (lambda _: None)
    halves = [found.numbers % 2 == half for half in (0, 1)]
    job = _Job(words, found, what, fraction, n_rounds, n_hidden)
    paths: dict[str, list[list[Scored]]] = {rule.name: [] for rule in rules}
    for half, bins in enumerate(halves):
        say(f"fitting half {half + 1} of 2")
        own = child_key(key, "half", half)
        full = job.full(words[bins], child_key(own, "fit"))
        first = job.scored(full, ~bins, words[bins], child_key(own, "score"))
        for rule in rules:
            path = [first]
            for number, model in enumerate(job.pruned(full, words[bins], rule, child_key(own, "path", rule.name)), 1):
                say(f"{rule.name}, half {half + 1} of 2, round {number} of {n_rounds}")
                path.append(job.scored(model, ~bins, words[bins], child_key(own, "score", rule.name, number)))
            paths[rule.name].append(path)
    spikes = np.bincount(found.numbers, weights=words.sum(axis=1))
    pairs = {name: (both[0], both[1]) for name, both in paths.items()}
    result = Decimation(tuple(rule.name for rule in rules), pairs, found, found.sizes, spikes, {})
    if what == "couplings":
        say("fitting all words")
        whole = job.full(words, child_key(key, "all"))
        for rule in rules:
            say(f"{rule.name}, all words")
            kept = np.asarray(whole.couplings) != 0
            steps = job.pruned(whole, words, rule, child_key(key, "all", rule.name))
            for _, model in zip(range(result.within_one_error(rule.name)), steps, strict=False):
                kept = np.asarray(model.couplings) != 0
            result.final[rule.name] = kept
    return result


class _Job(NamedTuple):
    words: np.ndarray
    blocks: Blocks
    what: What
    fraction: float
    n_rounds: int
    n_hidden: int | Sequence[int]

    def full(self, rows: np.ndarray, key: PRNGKeyArray) -> Any:
        """The whole model fitted to rows."""
        if self.what == "couplings":
            return fit_pairwise(rows, key)[0]
        return fit_machine(rows, key, n_hidden=self.n_hidden)

    def pruned(self, model: Any, rows: np.ndarray, rule: Rule, key: PRNGKeyArray) -> Iterator[Any]:
        """The model after each round of pruning and refitting to rows."""
        if self.what == "couplings":
            yield from _pruned_couplings(model, rows, rule, self.fraction, self.n_rounds, key)
            return
        settings = default_settings(len(rows))
        part = max(1, settings.n_epochs // _SHARE_RETRAINED)
        settings = settings.model_copy(update={"n_epochs": part, "learning_rate": (0.005, 0.0005)})
        options: dict[str, Any] = {"n_rounds": self.n_rounds, "fraction": self.fraction, "retraining": settings}
        for done in prune_and_retrain(model, rows.astype(np.float32), rule, key=key, **options):
            yield done.retrained

    def scored(self, model: Model, test: np.ndarray, trained: np.ndarray, key: PRNGKeyArray) -> Scored:
        """What is left of a model, and its log-likelihood on held-out bins."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotToBeTrusted)  # its error is contained in every interval
            options: dict[str, Any] = {"base_rates": rates_of(trained), "n_temperatures": _N_TEMPERATURES}
            log_z = likelihood.log_partition(model, key=key, **options)
        values = log_probability(model, self.words[test], log_z)
        sums = np.bincount(self.blocks.of(test), weights=values)
        if isinstance(model, PairwiseModel):
            kept = np.asarray(model.couplings) != 0
            return Scored(int(kept.sum()) // 2, kept, sums, log_z.standard_error)
        return Scored(model.n_synapses, None, sums, log_z.standard_error)


def _pruned_couplings(
    model: PairwiseModel, rows: np.ndarray, rule: Rule, fraction: float, n_rounds: int, key: PRNGKeyArray
) -> Iterator[PairwiseModel]:
    """Importance by the averages that the model was fitted to, removal, and a fit that goes on from there."""
    n = model.n_units
    upper = np.triu(np.ones((n, n), bool), 1)
    target = (rows.astype(np.float32).T @ rows + 0.25) / (len(rows) + 1)
    for number in range(1, n_rounds + 1):
        own = child_key(key, number)
        couplings = np.asarray(model.couplings)
        scores = coupling_scores(couplings, target.diagonal(), target, rule, child_key(own, "rule"))
        kept, _ = remove_lowest(scores, upper, fraction, child_key(own, "ties"))
        upper = kept
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotToBeTrusted)  # models on the way; their scores say how good they are
            # With as many steps as the full model, or the noise of the ascent would count against every removal.
            model = fit_pairwise(rows, child_key(own, "fit"), mask=kept | kept.T, start=model)[0]
        yield model
