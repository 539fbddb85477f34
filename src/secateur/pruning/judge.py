"""The judge of rules: what they cost in truth, how they order synapses, and how far they are from greedy removal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import PRNGKeyArray
from scipy.stats import spearmanr

from secateur.likelihood.loss import Loss, MeanLogProbability, mean_log_probability
from secateur.model import checked, enumeration
from secateur.model.arrays import AnyArray
from secateur.model.machine import Machine
from secateur.model.randomness import child_key
from secateur.model.trust import TRUSTED, Verdict
from secateur.pruning.averages import How, sources_for, verdict_on
from secateur.pruning.greedy import greedy_removal
from secateur.pruning.prune import Fraction, Step, pruning_step
from secateur.pruning.ranking import scores
from secateur.pruning.removal import Zeros, living_units
from secateur.pruning.rules import Criterion, Rule, rule_named, rule_of
from secateur.training import TrainingSettings, converge, train

Retraining = Literal["exact"] | TrainingSettings | None
"""How a pruned machine is retrained before it is judged again: to convergence on the exact gradient
(:func:`secateur.training.converge`), by a trainer's settings, or not at all."""

_TRUTHS = {"synapses": "likelihood-loss", "units": "unit-kl"}
"""Rules whose importance is the true loss by the removal of a single synapse or unit."""


class Judgement(NamedTuple):
    """What one rule did in one round. Losses are of mean ``log p(v)`` in nats per row; NaN is withheld or not measured.

    Attributes
    ----------
    criterion, round
        The rule, and the number of the round, from 1.
    n_synapses
        Synapses left after the round.
    loss, loss_error
        Against the machine before all rounds, right after the removal, with its standard error (0 where exact).
    retrained_loss, retrained_loss_error
        The same after retraining.
    rank_correlation
        Spearman's, of the importances with the true loss by the removal of each synapse (or unit) alone, from the
        machine before the round; of several weight matrices or layers the mean, weighted by their sizes.
    regret, retrained_regret
        Loss beyond that of greedy removal of equally many from the machine before the round (:func:`greedy_removal`),
        right after the removal and after retraining both; negative where the rule did better, as one can that corrects
        what stays. The greedy path from the first machine on is the rule ``greedy-likelihood``.
    quantity
        What the losses are differences of: exact or annealed ``log p(v)``, or lower bounds on it.
    verdict
        What speaks against what was sampled, annealed or trained, and why a loss or a correlation is withheld.
    """

    criterion: str
    round: int
    n_synapses: int
    loss: float
    loss_error: float
    retrained_loss: float
    retrained_loss_error: float
    rank_correlation: float
    regret: float
    retrained_regret: float
    quantity: str
    verdict: Verdict


def judge(
    machine: Machine,
    visible: Any,
    criteria: Sequence[Criterion],
    *,
    fraction: Fraction,
    key: PRNGKeyArray,
    n_rounds: int = 1,
    retraining: Retraining = None,
    importance: How | None = None,
    zeros: Zeros = "fraction",
    against_greedy: bool = True,
) -> list[Judgement]:
    """Judge rules by the true loss of likelihood, round after round, each from the same machine.

    On machines that can be summed everything is exact. At other sizes log Z is annealed, the loss by single removals
    rests on states of the model, and what is not to be trusted is withheld; greedy removal is not to be had there.

    Parameters
    ----------
    machine
        The trained machine. Arrays keep its size in all rounds.
    visible
        Rows of the data ``(rows, n_0)``, 0/1: rules that look at data are given them, retraining takes them, and the
        loss is theirs.
    criteria
        Rules, by name, as rules or as functions.
    fraction, zeros, importance
        As of :func:`secateur.pruning.prune_and_retrain`.
    key
        Random key; no rule's draws depend on which others are judged.
    n_rounds
        Rounds.
    retraining
        Between rounds, and before each machine is judged again: ``"exact"``, settings of training, or ``None``.
    against_greedy
        Whether to compare with greedy removal, which costs seconds for a machine of 13 x 70 units, and a retraining.

    Returns
    -------
    list of Judgement
        Rule by rule, round by round; ``pandas.DataFrame(judgements)`` is a table.

    Raises
    ------
    ValueError
        If a rule is unknown, a number is out of range, the rows do not fit, or ``retraining`` is ``"exact"`` for a
        machine that cannot be summed.
    """
    machine = checked.model(machine, single=True, hidden=True)
    rows = checked.host_rows(visible, machine.layer_sizes[0])
    rules = [rule_of(criterion) for criterion in criteria]
    fractions = checked.fraction(fraction, len(machine.weights))
    if retraining == "exact":
        enumeration.check_size(machine.layer_sizes, "retraining", "give retraining as TrainingSettings")
    elif retraining is not None and not isinstance(retraining, TrainingSettings):
        raise ValueError(f"retraining must be 'exact', TrainingSettings or None, got {retraining!r}; leave it out")
    summable = enumeration.can_be_enumerated(machine.layer_sizes)
    court = _Court(rows, checked.key(key), importance, zeros, fractions, retraining, against_greedy and summable)
    before = court.likelihood(machine, child_key(court.key, "unpruned"))
    n_rounds = checked.count("n_rounds", n_rounds)
    return [found for rule in rules for found in court.path(machine, before, rule, n_rounds)]


class _After(NamedTuple):
    """A machine after a removal and the retraining that follows, with its likelihood at both times."""

    machine: Machine
    pruned: MeanLogProbability
    retrained: MeanLogProbability | None


@dataclass
class _Court:
    """What all rules are judged by. ``known`` holds what is found once for the machine that all of them begin with."""

    rows: np.ndarray
    key: PRNGKeyArray
    importance: How | None
    zeros: Zeros
    fractions: tuple[float, ...]
    retraining: Retraining
    against_greedy: bool
    known: dict[Any, Any] = field(default_factory=dict)

    def path(self, machine: Machine, before: MeanLogProbability, rule: Rule, n_rounds: int) -> list[Judgement]:
        """What a rule does in every round."""
        found = []
        for number in range(1, n_rounds + 1):
            place = () if number == 1 else (rule.name, number)
            key = child_key(self.key, "rule", rule.name, number)
            (source,) = sources_for(machine, rule, self.importance, key, self.rows)
            step = pruning_step(machine, source, rule, self.fractions, child_key(key, "removal"), self.zeros, self.rows)
            trust = _about("importance", verdict_on(machine, source))
            correlation, doubts = self.correlation(machine, step, rule, place)
            after = self.after(step.applied(machine), key)
            greedy = self.greedy(machine, step, place) if self.against_greedy else None
            found.append(_judgement(rule, number, before, after, greedy, correlation, trust.joined(doubts)))
            machine = after.machine
        return found

    def after(self, pruned: Machine, key: PRNGKeyArray) -> _After:
        """The machine judged, retrained and judged again."""
        before = self.likelihood(pruned, child_key(key, "pruned"))
        if self.retraining is None:
            return _After(pruned, before, None)
        doubts = TRUSTED
        if isinstance(self.retraining, TrainingSettings):
            retrained, _ = train(pruned, self.rows, self.retraining, child_key(key, "retraining"))
        else:
            retrained, *_, doubts = converge(pruned, self.rows)
        now = self.likelihood(retrained, child_key(key, "retrained"))
        return _After(retrained, before, now._replace(verdict=now.verdict.joined(doubts)))

    def likelihood(self, machine: Machine, key: PRNGKeyArray) -> MeanLogProbability:
        """Of all rows."""
        return mean_log_probability(machine, self.rows, key)

    def greedy(self, machine: Machine, step: Step, place: tuple[Any, ...]) -> _After:
        """What greedy removal of equally many leaves."""
        pairs = zip(machine.synapse_counts, step.masks, strict=True)
        n_removed = tuple(there - int(np.sum(mask)) for there, mask in pairs)
        name = ("greedy", n_removed, *place)
        if name not in self.known:
            masks = greedy_removal(machine, self.rows, n_removed).masks
            self.known[name] = self.after(machine.with_masks(masks), child_key(self.key, *map(str, name)))
        return self.known[name]

    def correlation(self, machine: Machine, step: Step, rule: Rule, place: tuple[Any, ...]) -> tuple[float, Verdict]:
        """Rank correlation of importances with true losses by single removals, and whether these can be trusted."""
        name = ("truth", rule.ranks, *place)
        if name not in self.known:
            self.known[name] = self.truth(
                machine, rule_named(_TRUTHS[rule.ranks]), child_key(self.key, *map(str, name))
            )
        truth, verdict = self.known[name]
        if truth is None:
            return math.nan, verdict
        chosen = [np.asarray(m) for m in machine.masks] if rule.ranks == "synapses" else living_units(machine.masks)[1:]
        return _rank_correlation(step.importance, truth, chosen), verdict

    def truth(self, machine: Machine, rule: Rule, key: PRNGKeyArray) -> tuple[tuple[AnyArray, ...] | None, Verdict]:
        """True losses by single removals; ``None`` where they cannot be had or are not to be trusted."""
        if machine.n_layers > 2 and not enumeration.can_be_enumerated(machine.layer_sizes[1:]):
            return None, TRUSTED
        (source,) = sources_for(machine, rule, self.importance, key, self.rows)
        verdict = _about("loss by single removals", verdict_on(machine, source))
        return scores(machine, source, rule, key, self.rows) if verdict.trusted else None, verdict


def _about(what: str, verdict: Verdict) -> Verdict:
    return Verdict(tuple(f"{what}: {reason}" for reason in verdict.reasons))


def _judgement(
    rule: Rule,
    number: int,
    before: MeanLogProbability,
    after: _After,
    greedy: _After | None,
    correlation: float,
    doubts: Verdict,
) -> Judgement:
    loss = Loss.between(before, after.pruned)
    later = Loss.between(before, after.retrained or _NOT_MEASURED)
    regret = retrained_regret = math.nan
    if greedy is not None:
        regret = greedy.pruned.value - after.pruned.value
        retrained_regret = (greedy.retrained or _NOT_MEASURED).value - (after.retrained or _NOT_MEASURED).value
    return Judgement(
        rule.name,
        number,
        after.machine.n_synapses,
        loss.value,
        loss.standard_error,
        later.value,
        later.standard_error,
        correlation,
        regret,
        retrained_regret,
        loss.quantity,
        loss.verdict.joined(later.verdict).joined(doubts),
    )


_NOT_MEASURED = MeanLogProbability(math.nan, math.nan, "not measured", TRUSTED)


def _rank_correlation(first: Sequence[AnyArray], second: Sequence[AnyArray], chosen: Sequence[np.ndarray]) -> float:
    """Spearman's, within each weight matrix or layer, the mean weighted by sizes; NaN where nothing is ordered."""
    total, size = 0.0, 0
    for one, other, which in zip(first, second, chosen, strict=True):
        pair = np.asarray(one)[which], np.asarray(other)[which]
        if all(len(values) > 1 and values.min() < values.max() for values in pair):
            total, size = total + len(pair[0]) * float(spearmanr(*pair).statistic), size + len(pair[0])
    return total / size if size else math.nan
