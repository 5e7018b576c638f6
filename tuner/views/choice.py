"""Choice: one member of the front, by weights, by bounds, or the knee, and why it is that one.

Bounds come first: what is left is the front of the feasible trials that meet them, so that a bound on a metric without
a goal is met by the best that there is under it. Then, of what is left:

    weights     the largest sum of weight times score; the score of an objective is 0 at the worst value on the front
                and 1 at the best one
    knee        the member farthest above the plane through the extremes (`pareto.knee`)
    bounds      the best value of the one objective that no bound is on; the knee, where that is none or several
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from tuner import pareto, ranking
from tuner.errors import UsageError
from tuner.views.outcomes import Floats, known_name, signs

if TYPE_CHECKING:
    from tuner.records import TrialRecord
    from tuner.study import Study


@dataclass(frozen=True, slots=True)
class Limit:
    """A bound of `tuner pick` on one metric."""

    metric: str
    side: Literal["min", "max"]
    value: float

    def holds(self, value: float | None) -> bool:
        """Whether a trial's value meets it; an absent one does not."""
        if value is None:
            return False
        return value <= self.value if self.side == "max" else value >= self.value

    def __str__(self) -> str:
        return f"{self.metric} {'<=' if self.side == 'max' else '>='} {self.value:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How to choose; see the module."""

    weights: Mapping[str, float] = field(default_factory=dict)
    limits: tuple[Limit, ...] = ()
    knee: bool = False

    def __post_init__(self) -> None:
        if self.weights and self.knee:
            raise UsageError("--weights and --knee are two ways to choose; give one of them")
        if not (self.weights or self.limits or self.knee):
            raise UsageError("say how to choose: --weights accuracy=2,params_m=1, --max params_m=1.5, --min or --knee")
        if any(not weight >= 0 or weight == float("inf") for weight in self.weights.values()):
            raise UsageError(f"a weight must be a number >= 0, but got {_listed(self.weights)}")
        if self.weights and not any(self.weights.values()):
            raise UsageError("at least one weight must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What was chosen.

    Attributes:
        trial: Its number; None when nothing qualifies.
        why: In words, part by part; when nothing qualifies, why not.
        candidates: Numbers of those it was chosen from.
        front: How many members the front has without the bounds.
        scores: With weights, the weighted sum of each candidate, from 0 to 1.
    """

    trial: int | None
    why: tuple[str, ...]
    candidates: tuple[int, ...] = ()
    front: int = 0
    scores: Mapping[int, float] = field(default_factory=dict)


def choose(study: Study, rule: Rule) -> Choice:
    """Choose a trial of a study.

    Raises:
        UsageError: The rule names something that is no metric, or weighs one without a goal.
    """
    problem = study.problem
    goals, metrics = [m.name for m in problem.objectives], [m.name for m in problem.metrics]
    for name in rule.weights:
        known_name("metric with a goal", name, goals)
    for limit in rule.limits:
        known_name("metric", limit.metric, metrics)
    front = ranking.front(study.history)
    if not front:
        return Choice(trial=None, why=(f"study {study.sweep.name} has no feasible trial yet",))
    if not rule.limits:
        return _of(study, [study.read(number) for number in front], rule, len(front))
    able = [study.read(number) for number in ranking.ordered(study.history)]
    left = [record for record in able if all(limit.holds(record.metrics.get(limit.metric)) for limit in rule.limits)]
    if not left:
        return Choice(trial=None, why=tuple(_nothing(able, rule.limits)), front=len(front))
    Y = np.array([problem.values(record.metrics) for record in left])
    return _of(study, [left[k] for k in pareto.front(Y)], rule, len(front))


def _nothing(able: Sequence[TrialRecord], limits: Sequence[Limit]) -> list[str]:
    """What the feasible trials have instead, bound by bound."""
    lines = [f"no feasible trial has {' and '.join(map(str, limits))}"]
    for limit in limits:
        values = [(record.metrics[limit.metric], record.trial) for record in able if limit.metric in record.metrics]
        if values:
            value, trial = min(values) if limit.side == "max" else max(values)
            lines.append(
                f"the {'least' if limit.side == 'max' else 'most'} {limit.metric} is {value:.5g} (trial {trial})"
            )
    return lines


def _of(study: Study, members: Sequence[TrialRecord], rule: Rule, front: int) -> Choice:
    """The choice among the members of a front, at least one."""
    Y = np.array([study.problem.values(member.metrics) for member in members])
    scores: dict[int, float] = {}
    if rule.weights:
        k, why, scores = _weighed(study, members, Y, rule.weights)
    else:
        bounded = {limit.metric for limit in rule.limits}
        free = [j for j, metric in enumerate(study.problem.objectives) if metric.name not in bounded]
        if len(free) == 1 and not rule.knee:
            k, why = _best_of(study, Y, free[0])
        else:
            k, why = pareto.knee(Y), "the knee: the best trade-off, farthest above the line between the extremes"
    bounds = " and ".join(map(str, rule.limits))
    among = f"of {len(members)} on the front" + (f" of what has {bounds}" if bounds else "")
    if bounds and len(members) != front:
        among += f"; the whole front has {front}"
    candidates = tuple(member.trial for member in members)
    return Choice(trial=members[k].trial, why=(why, among), candidates=candidates, front=front, scores=scores)


def _weighed(
    study: Study, members: Sequence[TrialRecord], Y: Floats, weights: Mapping[str, float]
) -> tuple[int, str, dict[int, float]]:
    span = np.ptp(Y, axis=0)
    scaled = np.where(span > 0, (Y - Y.min(axis=0)) / np.where(span > 0, span, 1.0), 1.0)
    w = np.array([weights.get(metric.name, 0.0) for metric in study.problem.objectives])
    scores = (scaled @ (w / w.sum())).round(12)
    order = np.lexsort((-scaled.sum(axis=1), -scores))  # among equals, the one that is better in what has no weight
    k = int(order[0])
    why = f"the best by weights {_listed(weights)} over the front's ranges: {scores[k]:.3f} of 1"
    if len(order) > 1:
        why += f", then trial {members[int(order[1])].trial} with {scores[order[1]]:.3f}"
    return k, why, {member.trial: float(score) for member, score in zip(members, scores, strict=True)}


def _best_of(study: Study, Y: Floats, j: int) -> tuple[int, str]:
    metric = study.problem.objectives[j]
    k = int(np.argmax(Y[:, j]))
    return k, f"the best {metric.name}, {Y[k, j] * signs(study.problem)[j]:.5g}"


def _listed(weights: Mapping[str, float]) -> str:
    return ",".join(f"{name}={weight:g}" for name, weight in weights.items())
