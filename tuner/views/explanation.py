"""Explanation: why a trial was proposed, what came of it, and where it stands among the others.

Notation, for a trial's point x and another's x' in the encoded columns (`tuner.encoding`):

    distance    sqrt(sum_j d_j^2); d_j is |x_j - x'_j|, 0 or 1 in a categorical column, 0 where column j is inactive in
                both, 1 where it is in one
    margin      how far a constraint is from its bound, >= 0 when it is met, in the units of what it compares
    range       the largest margin of that constraint among the finished trials, less the smallest
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tuner import expressions, ranking
from tuner.calibration import Prediction, predictions
from tuner.parameters import Float, Int
from tuner.views.outcomes import Floats

if TYPE_CHECKING:
    from tuner.expressions import Expression
    from tuner.records import TrialRecord
    from tuner.study import Study
    from tuner.trial import Config, Metric

Change = tuple[str, Any, Any]
"""A parameter's name, its value in the trial explained and in the other; None where it is inactive."""

_NEAREST = 5
_Z95 = 1.959964
_TIGHT = 0.1
"""A constraint is tight when its margin is at most this share of its range."""

_EDGE = 0.005
"""A number is at an edge when it is at most so far from it, on the scale on which it is searched, from 0 to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """A prediction of one metric against its outcome.

    Attributes:
        low: Lower end of the 95% interval, in the metric's own units.
        high: Its upper end.
        outcome: What came; None when nothing did.
        z: Standard deviations from the mean to the outcome; None for a prediction that claimed certainty.
        once_in: A calibrated model is as far off as this once in so many predictions.
        farther_than: How many of the study's other predictions of this metric were not as far off.
        others: How many others there are.
    """

    metric: str
    mean: float
    low: float
    high: float
    outcome: float | None
    z: float | None
    once_in: float | None
    farther_than: int
    others: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """A finished trial that lies near; `earlier` when its number is smaller."""

    trial: int
    distance: float
    earlier: bool
    state: str
    feasible: bool
    metrics: Mapping[str, float]
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A constraint on what came out, a restriction on what goes in, or an edge of a parameter's range.

    Attributes:
        margin: See the module; None when it is not known.
        range: Likewise.
        state: broken, tight, slack, or unknown.
    """

    kind: Literal["constraint", "restriction", "edge"]
    text: str
    margin: float | None
    range: float | None
    state: Literal["broken", "tight", "slack", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """From the trial to another one: the next along the front, or one that dominates it.

    Attributes:
        towards: The metric that gets better; None for a trial that is at least as good in all.
        trial: Where it leads.
        gains: Metric -> its change, in its own units, where it gets better.
        costs: Likewise where it gets worse.
        changes: What differs in the configurations.
    """

    towards: str | None
    trial: int
    gains: Mapping[str, float]
    costs: Mapping[str, float]
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """See the module.

    Attributes:
        standing: front, dominated, less fidelity, infeasible, or the trial's state when it is another than completed.
        reasons: What the strategy said, part by part.
        expected: Predictions of the metrics that have one.
        steps: Along the front from a member of it, otherwise to what dominates it; empty with one objective.
    """

    trial: int
    state: str
    standing: str
    config: Config
    metrics: Mapping[str, float]
    failure: str | None
    engine: str
    reasons: tuple[str, ...]
    acquisition: float | None
    seconds: float
    origin: int | None
    expected: tuple[Expected, ...]
    nearest: tuple[Neighbour, ...]
    bounds: tuple[Bound, ...]
    steps: tuple[Step, ...]


def explanation(study: Study, trial: int) -> Explanation:
    """Explain one trial of a study.

    Raises:
        UsageError: There is no such trial.
    """
    record = study.read(trial)
    front = ranking.front(study.history)
    standing = _standing(record, front, study)
    failure = record.failure
    return Explanation(
        trial=trial,
        state=record.state,
        standing=standing,
        config=record.config,
        metrics=record.metrics,
        failure=None if failure is None else f"{failure.kind}: {failure.message}",
        engine=record.provenance.engine,
        reasons=tuple(part for part in record.provenance.reason.split("; ") if part),
        acquisition=record.provenance.acquisition,
        seconds=record.provenance.seconds,
        origin=record.origin,
        expected=tuple(_expected(study, record)),
        nearest=tuple(_nearest(study, record)),
        bounds=tuple(_bounds(study, record)),
        steps=tuple(steps(study, record, front)) if standing in ("front", "dominated") else (),
    )


def _standing(record: TrialRecord, front: Sequence[int], study: Study) -> str:
    if record.state != "completed":
        return record.state
    if record.trial in front:
        return "front"
    if not record.feasible:
        return "infeasible"
    return "dominated" if record.trial in ranking.ordered(study.history) else "less fidelity"


def _expected(study: Study, record: TrialRecord) -> Iterator[Expected]:
    """Predictions against what came; of a trial that is not done, predictions alone."""
    means, sds = record.provenance.mean, record.provenance.sd
    earlier = _earlier_errors(study, record.trial) if means else {}
    for name, mean in means.items():
        if name not in sds:
            continue
        came = record.metrics.get(name) if record.state == "completed" else None
        z = None if came is None else Prediction(mean, sds[name], came).z
        tail = None if z is None else math.erfc(abs(z) / math.sqrt(2))
        others = earlier.get(name, [])
        yield Expected(
            metric=name,
            mean=mean,
            low=mean - _Z95 * sds[name],
            high=mean + _Z95 * sds[name],
            outcome=came,
            z=z,
            once_in=None if tail is None else 1 / max(tail, 1e-12),
            farther_than=0 if z is None else sum(other < abs(z) for other in others),
            others=len(others),
        )


def _earlier_errors(study: Study, without: int) -> dict[str, list[float]]:
    """|z| of every prediction of the study but one trial's, by metric."""
    found: dict[str, list[float]] = {}
    for trial, state, provenance, metrics, _ in study.stored("trial", "state", "provenance", "metrics"):
        if trial != without and state == "completed" and metrics and '"mean"' in provenance:
            for name, one in predictions(json.loads(provenance), json.loads(metrics)).items():
                if one.z is not None:
                    found.setdefault(name, []).append(abs(one.z))
    return found


def _nearest(study: Study, record: TrialRecord) -> Iterator[Neighbour]:
    history = study.history
    others = np.flatnonzero(history.number != record.trial)
    if not len(others):
        return
    distance = distances(study, record.config)[others]
    order = np.lexsort((history.number[others], distance.round(12)))[:_NEAREST]
    for row in order:
        other = study.read(int(history.number[others[row]]))
        yield Neighbour(
            trial=other.trial,
            distance=float(distance[row]),
            earlier=other.trial < record.trial,
            state=other.state,
            feasible=bool(other.feasible),
            metrics=other.metrics,
            changes=changes(record.config, other.config),
        )


def distances(study: Study, config: Config) -> Floats:
    """Distances of the finished trials from a configuration, in the rows of the history, shape (n,)."""
    history, encoding = study.history, study.problem.space.encoding
    x, active = encoding.encode(config)
    gaps = np.abs(history.X - x)
    unordered = np.array([column.kind == "categorical" for column in encoding.columns], dtype=bool)
    gaps[:, unordered] = gaps[:, unordered] > 0
    gaps = np.where(history.active & active, gaps, (history.active != active).astype(float))
    return np.asarray(np.sqrt(np.square(gaps).sum(axis=1)))


def changes(config: Config, other: Config) -> tuple[Change, ...]:
    """The parameters in which two configurations differ."""
    names = [*config, *(name for name in other if name not in config)]
    return tuple((name, config.get(name), other.get(name)) for name in names if config.get(name) != other.get(name))


def _bounds(study: Study, record: TrialRecord) -> Iterator[Bound]:
    """Constraints, restrictions and edges, the tightest of each kind first."""
    problem, history = study.problem, study.history
    if record.metrics:
        own = problem.margins(record.config, record.metrics, study.ledger.baseline)
        found = [
            _bound("constraint", constraint.text, margin, history.C[:, k])
            for k, (constraint, margin) in enumerate(zip(problem.constraints, own, strict=True))
        ]
        yield from sorted(found, key=_slack)
    parsed = [expressions.parse(text) for text in study.sweep.restrictions]
    if parsed:
        configs = [json.loads(config) for config, _ in study.stored("config")]
        every = [(e, _margin(e, record.config), [_margin(e, config) for config in configs]) for e in parsed]
        yield from sorted((_bound("restriction", e.text, own, np.array(all_)) for e, own, all_ in every), key=_slack)
    yield from _edges(study, record.config)


def _margin(restriction: Expression, config: Config) -> float:
    try:
        return restriction.margin(config)
    except expressions.ExpressionError:  # it reads a known metric, or a parameter that is inactive here
        return math.nan


def _bound(kind: Literal["constraint", "restriction"], text: str, margin: float, every: Floats) -> Bound:
    finite = every[np.isfinite(every)]
    width = float(np.ptp(finite)) if len(finite) else 0.0
    if not math.isfinite(margin):
        broken = margin == -math.inf
        return Bound(kind=kind, text=text, margin=None, range=width, state="broken" if broken else "unknown")
    tight: Literal["tight", "slack"] = "tight" if margin <= _TIGHT * width else "slack"
    return Bound(kind=kind, text=text, margin=margin, range=width, state="broken" if margin < 0 else tight)


def _slack(bound: Bound) -> float:
    """What bounds are sorted by: the margin in units of its range."""
    if bound.margin is None:
        return -math.inf if bound.state == "broken" else math.inf
    return bound.margin / bound.range if bound.range else math.copysign(math.inf, bound.margin)


def _edges(study: Study, config: Config) -> Iterator[Bound]:
    """Numbers at an end of their range: what lies beyond was not searched."""
    space = study.problem.space
    for name, value in config.items():
        parameter = space[name]
        if not isinstance(parameter, Float | Int) or not parameter.low < parameter.high:
            continue
        places = [parameter.encode(v)[0] for v in (parameter.low, value, parameter.high)]
        for end, gap in ((parameter.low, places[1] - places[0]), (parameter.high, places[2] - places[1])):
            if gap <= _EDGE * (places[2] - places[0]):
                side = "<=" if end == parameter.high else ">="
                yield Bound(kind="edge", text=f"{name} {side} {end:g}", margin=float(gap), range=1.0, state="tight")


def steps(study: Study, record: TrialRecord, front: Sequence[int]) -> Iterator[Step]:
    """From a trial along the front, or to the members that dominate it.

    For every objective the member with the next better value of it: with two objectives its two neighbours.

    Args:
        study: Whose trial it is.
        record: Completed, with every objective.
        front: Numbers of the front's members.
    """
    objectives = study.problem.objectives
    if len(objectives) < 2:
        return
    members = [study.read(number) for number in front if number != record.trial]
    mine = np.array(study.problem.values(record.metrics))
    Y = np.array([study.problem.values(member.metrics) for member in members]).reshape(-1, len(objectives))
    if record.trial not in front:
        far = dict(zip(study.history.number.tolist(), distances(study, record.config), strict=True))
        beating = [member for member, y in zip(members, Y, strict=True) if (y >= mine).all()]
        for member in sorted(beating, key=lambda member: far[member.trial])[:_NEAREST]:
            yield _step(None, record, member, objectives)
        return
    taken: set[int] = set()
    for k, metric in enumerate(objectives):
        better = np.flatnonzero(Y[:, k] > mine[k])
        if len(better):
            # the smallest gain; among equals what loses least elsewhere
            loss = np.maximum(mine - Y[better], 0.0).sum(axis=1)
            chosen = int(better[np.lexsort((loss, Y[better, k]))[0]])
            if members[chosen].trial not in taken:
                taken.add(members[chosen].trial)
                yield _step(metric.name, record, members[chosen], objectives)


def _step(towards: str | None, record: TrialRecord, other: TrialRecord, objectives: Sequence[Metric]) -> Step:
    moves = {m.name: other.metrics[m.name] - record.metrics[m.name] for m in objectives}
    signs = {m.name: m.sign for m in objectives}
    return Step(
        towards=towards,
        trial=other.trial,
        gains={name: move for name, move in moves.items() if signs[name] * move > 0},
        costs={name: move for name, move in moves.items() if signs[name] * move < 0},
        changes=changes(record.config, other.config),
    )
