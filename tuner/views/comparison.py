"""Comparison: studies over one another, by the objectives that all of them have.

The score of a study is the hypervolume of its front from a corner common to all, or with one objective its best value.

A difference of scores has an interval where something says how much they vary:

    studies    several studies of the same sweep, apart from the seed, on both sides: the difference of the means, by a
               bootstrap over the studies of either side
    repeats    configurations that were measured several times: the values of the front's members are drawn anew with
               their standard errors. That members were chosen because they looked good is not corrected
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tuner import pareto
from tuner.errors import UsageError
from tuner.repeats import REPEATS
from tuner.views.outcomes import Bools, Floats, Ints, outcomes
from tuner.views.progress import running_best, running_hypervolume
from tuner.views.regions import Region, regions, weightings
from tuner.views.sameness import groups, labels

if TYPE_CHECKING:
    from tuner.study import Study
    from tuner.trial import Metric

_STUDY_DRAWS = 4000
_REPEAT_DRAWS = 400


@dataclass(frozen=True, slots=True)
class Best:
    """A trial and its value of one metric, in its own units."""

    trial: int
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One study among others.

    Attributes:
        study: What it is called here.
        trials: Finished ones.
        failed: Those that failed.
        seconds: Wall-clock time of the sweep.
        busy_s: Sum over its trials.
        front: Numbers of the trials on its own front.
        points: Their values of the shared objectives, in their own units.
        surviving: Those of them that no other study's front dominates.
        score: Hypervolume, or best value; None without a feasible trial.
        best: By metric; None without a feasible trial.
        chosen: The best trial, with several objectives the knee of its front.
        config: That trial's configuration.
        attains: Other study -> the share of its front that this one's trials are at least as good as.
        so_far: The score after as many trials as `Comparison.counts` says; None before the first feasible one.
    """

    study: str
    trials: int
    failed: int
    seconds: float
    busy_s: float
    front: tuple[int, ...]
    points: tuple[tuple[float, ...], ...]
    surviving: tuple[int, ...]
    score: float | None
    best: Mapping[str, Best | None]
    chosen: int | None
    config: Mapping[str, Any] | None
    attains: Mapping[str, float | None]
    so_far: tuple[float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A score less another's, in the metric's own units; `low` and `high` bound it with 95% where `by` says how."""

    of: tuple[str, ...]
    against: tuple[str, ...]
    value: float
    relative: float | None
    low: float | None = None
    high: float | None = None
    by: Literal["studies", "repeats"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Studies over one another.

    Attributes:
        metrics: The objectives that all of them have, with their goals.
        left_out: Objectives that not all of them have.
        corner: The hypervolume's, in the metrics' own units; None with one objective.
        counts: Numbers of trials at which `Side.so_far` stands.
        differences: Of every other study against the first, or of groups of studies of the same sweep.
        compared: The two studies with the best scores; fewer when fewer have a feasible trial.
        regions: With two objectives, who wins where.
        weightings: With more, metric -> study -> its share of the ways to weigh the metrics in which that weighs most.
    """

    metrics: Mapping[str, str]
    left_out: tuple[str, ...]
    corner: Mapping[str, float] | None
    counts: tuple[int, ...]
    sides: tuple[Side, ...]
    differences: tuple[Difference, ...]
    compared: tuple[str, ...]
    regions: tuple[Region, ...] = ()
    weightings: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def score(self) -> str:
        """What the score is."""
        return "hypervolume" if self.corner is not None else f"best {next(iter(self.metrics))}"


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """A study's comparable trials, Y maximised in the shared objectives, and the rows of its own front."""

    study: Study
    label: str
    number: Ints
    Y: Floats
    feasible: Bools
    front: Ints


def comparison(studies: Sequence[Study], names: Sequence[str]) -> Comparison:
    """Compare studies.

    Args:
        studies: At least two.
        names: What the user called each.

    Raises:
        UsageError: Fewer than two, the same one twice, one without completed trials, or no objective in common.
    """
    called = labels(studies, names)
    metrics = _shared(studies, called)
    parts = [_part(study, label, metrics) for study, label in zip(studies, called, strict=True)]
    corner = _corner(parts, metrics) if len(metrics) > 1 else None
    counts = _counts(min(study.history.n for study in studies))
    sides = tuple(_side(part, parts, metrics, corner, counts) for part in parts)
    sign = metrics[0].sign if corner is None else 1.0
    fronts = {part.label: part.Y[part.front] for part in parts}
    able = sorted((s for s in sides if s.score is not None), key=lambda s: -sign * (s.score or 0.0))
    return Comparison(
        metrics={metric.name: str(metric.goal) for metric in metrics},
        left_out=tuple(sorted({m.name for s in studies for m in s.problem.objectives} - {m.name for m in metrics})),
        corner=None if corner is None else {m.name: float(m.sign * c) for m, c in zip(metrics, corner, strict=True)},
        counts=counts,
        sides=sides,
        differences=_differences(parts, sides, metrics, corner),
        compared=tuple(side.study for side in able[:2]),
        regions=regions(fronts, metrics) if any(map(len, fronts.values())) else (),
        weightings=weightings(fronts, metrics),
    )


def _shared(studies: Sequence[Study], called: Sequence[str]) -> tuple[Metric, ...]:
    goals = [{m.name: m.goal for m in study.problem.objectives} for study in studies]
    first = studies[0].problem.objectives
    shared = tuple(m for m in first if all(by_name.get(m.name) == m.goal for by_name in goals))
    if not shared:
        have = "; ".join(
            f"{label} has {', '.join(f'{goal} {name}' for name, goal in by_name.items())}"
            for label, by_name in zip(called, goals, strict=True)
        )
        raise UsageError(
            f"studies are compared by metrics with the same goal in all of them, but there is none: {have}"
        )
    return shared


def _part(study: Study, label: str, metrics: Sequence[Metric]) -> _Part:
    found = outcomes(study)
    own = [metric.name for metric in study.problem.objectives]
    Y = found.Y[:, [own.index(metric.name) for metric in metrics]]
    return _Part(study, label, found.number, Y, found.feasible, pareto.front(Y, found.feasible))


def _corner(parts: Sequence[_Part], metrics: Sequence[Metric]) -> Floats:
    """Declared where all studies declare the same, otherwise inferred from the feasible trials of all."""
    every = np.vstack([part.Y[part.feasible] for part in parts])
    inferred = pareto.infer_reference(every) if len(every) else np.zeros(len(metrics))
    for k, metric in enumerate(metrics):
        declared = {m.reference for part in parts for m in part.study.problem.objectives if m.name == metric.name}
        if len(declared) == 1 and None not in declared:
            inferred[k] = metric.sign * float(next(iter(declared)) or 0.0)
    return inferred


def _counts(most: int) -> tuple[int, ...]:
    steps = (base * 10**power for power in range(1, 7) for base in (1, 2, 5))
    return tuple(sorted({*(step for step in steps if step < most), most} - {0}))


def _side(
    part: _Part, parts: Sequence[_Part], metrics: Sequence[Metric], corner: Floats | None, counts: Sequence[int]
) -> Side:
    study, spent = part.study, part.study.ledger.spent
    members = part.Y[part.front]
    joint = np.vstack([p.Y[p.front] for p in parts])
    alive = [bool(~((joint >= y).all(axis=1) & (joint > y).any(axis=1)).any()) for y in members]
    front = tuple(int(n) for n in part.number[part.front])
    rows = np.flatnonzero(part.feasible)
    best: dict[str, Best | None] = {}
    for k, metric in enumerate(metrics):
        row = int(rows[np.argmax(part.Y[rows, k])]) if len(rows) else -1
        value = float(metric.sign * part.Y[row, k])
        best[metric.name] = Best(int(part.number[row]), value) if len(rows) else None
    chosen = front[pareto.knee(members)] if front else None
    others = [other for other in parts if other is not part]
    return Side(
        study=part.label,
        trials=spent.finished,
        failed=spent.failed,
        seconds=spent.seconds,
        busy_s=float(np.nansum(study.history.seconds)),
        front=front,
        points=tuple(tuple(float(m.sign * v) for m, v in zip(metrics, y, strict=True)) for y in members),
        surviving=tuple(number for number, kept in zip(front, alive, strict=True) if kept),
        score=_score(members, metrics, corner) if front else None,
        best=best,
        chosen=chosen,
        config=None if chosen is None else study.read(chosen).config,
        attains={other.label: _attained(part, other) for other in others},
        so_far=_so_far(part, metrics, corner, counts),
    )


def _score(members: Floats, metrics: Sequence[Metric], corner: Floats | None) -> float:
    if corner is None:
        return float(metrics[0].sign * members[:, 0].max())
    return pareto.hypervolume(members, corner)


def _attained(part: _Part, other: _Part) -> float | None:
    if not len(other.front):
        return None
    mine = part.Y[part.front]
    return float(np.mean([(mine >= y).all(axis=1).any() for y in other.Y[other.front]]))


def _so_far(
    part: _Part, metrics: Sequence[Metric], corner: Floats | None, counts: Sequence[int]
) -> tuple[float | None, ...]:
    if corner is None:
        curve = metrics[0].sign * running_best(part.Y[:, 0], part.feasible)
    else:
        curve = running_hypervolume(part.Y, part.feasible, corner)
        curve = np.where(np.cumsum(part.feasible) > 0, curve, np.nan)
    ends = np.sort(part.study.history.number)  # the first k trials are those with the k lowest numbers
    values = []
    for count in counts:
        row = int(np.searchsorted(part.number, ends[count - 1], side="right")) - 1
        values.append(float(curve[row]) if row >= 0 and np.isfinite(curve[row]) else None)
    return tuple(values)


def _differences(
    parts: Sequence[_Part], sides: Sequence[Side], metrics: Sequence[Metric], corner: Floats | None
) -> tuple[Difference, ...]:
    """By groups of the same sweep when both sides have several studies, else of every study against the first."""
    rng = np.random.default_rng(0)
    score = {side.study: side.score for side in sides}
    grouped = [[parts[i] for i in group] for group in groups([part.study for part in parts])]
    several = len(grouped) > 1 and all(
        len(group) > 1 and all(score[part.label] is not None for part in group) for group in grouped
    )
    if several:
        first, *rest = [(tuple(p.label for p in group), np.array([score[p.label] for p in group], dtype=float))
                        for group in grouped]  # fmt: skip
        return tuple(_between(other, first, rng) for other in rest)
    found = []
    for part in parts[1:]:
        a, b = score[parts[0].label], score[part.label]
        if a is not None and b is not None:
            draws = _redrawn(part, parts[0], metrics, corner, rng)
            found.append(_difference((part.label,), (parts[0].label,), b, a, draws, "repeats"))
    return tuple(found)


def _between(
    other: tuple[tuple[str, ...], Floats], first: tuple[tuple[str, ...], Floats], rng: np.random.Generator
) -> Difference:
    means = [s[rng.integers(len(s), size=(_STUDY_DRAWS, len(s)))].mean(axis=1) for _, s in (other, first)]
    b, a = float(other[1].mean()), float(first[1].mean())
    return _difference(other[0], first[0], b, a, means[0] - means[1] - (b - a), "studies")


def _difference(
    of: tuple[str, ...],
    against: tuple[str, ...],
    b: float,
    a: float,
    errors: Floats | None,
    by: Literal["studies", "repeats"],
) -> Difference:
    """`b` less `a`, with an interval when there are draws of its error."""
    value, relative = b - a, (b - a) / abs(a) if a else None
    if errors is None:
        return Difference(of=of, against=against, value=value, relative=relative)
    low, high = (float(value + q) for q in np.percentile(errors, [2.5, 97.5]))
    return Difference(of=of, against=against, value=value, relative=relative, low=low, high=high, by=by)


def _redrawn(
    part: _Part, first: _Part, metrics: Sequence[Metric], corner: Floats | None, rng: np.random.Generator
) -> Floats | None:
    """Draws of the error of the difference of scores, less their mean; None when nothing was measured twice."""
    scores = []
    for one in (part, first):
        errors = _standard_errors(one, metrics)
        if errors is None:
            return None
        members = one.Y[one.front]
        noise = rng.standard_normal((_REPEAT_DRAWS, *members.shape)) * errors
        if corner is None:  # the best as it was chosen: another draw must not choose again
            best = int(np.argmax(members[:, 0]))
            scores.append(metrics[0].sign * (members[best, 0] + noise[:, best, 0]))
        else:
            scores.append(np.array([pareto.hypervolume(members + draw, corner) for draw in noise]))
    draws = scores[0] - scores[1]
    return np.asarray(draws - draws.mean())


def _standard_errors(part: _Part, metrics: Sequence[Metric]) -> Floats | None:
    """Of the values of each front member, shape (k, m); zero for a metric that follows from the configuration."""
    repeats = part.study.problem.repeats
    errors = np.zeros((len(part.front), len(metrics)))
    for i, number in enumerate(part.number[part.front]):
        measures = part.study.read(int(number)).measures
        n = int(measures.get(REPEATS, repeats.n if repeats is not None else 1))
        if n < 2 or not any(f"{metric.name}_sd" in measures for metric in metrics):
            return None
        errors[i] = [measures.get(f"{metric.name}_sd", 0.0) / n**0.5 for metric in metrics]
    return errors
