"""Sources: earlier studies as a new one reads them, its warm start.

A trial of an earlier study is carried into the new space parameter by parameter:

    matched     same name and kind (numbers; lists of values; vectors of one length; the same items): its value; a
                number between two steps becomes the nearer one; one outside of the new range makes the trial unusable
    imputed     any other parameter: its constant there when that is one of its values here, otherwise the baseline's
                value, otherwise its centre
    constant    in the new space: kept; when trials there had this value and others, only those that had it are usable

Restrictions do not make a trial unusable, since what was measured beyond them is still true, but what breaks them is
never proposed. Metrics are matched by name; those that follow from the configuration, and formulas, are computed anew.

Symbols: n usable trials, d columns of the NEW space's encoding, m objectives of the NEW problem.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuner import pareto
from tuner.encoding import Array, Mask
from tuner.errors import SpaceError, UsageError
from tuner.parameters import Bool, Choice, Constant, Float, Int, Parameter, Permutation, Simplex, Subset, Vector
from tuner.parameters.parameter import real
from tuner.trial import Config

if TYPE_CHECKING:
    from tuner.problem import Problem
    from tuner.snapshots import Snapshot

_GAP = 0.1
_LOOKED_AT = 200


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Source:
    """One earlier study in the new one's terms.

    Attributes:
        name: What messages call it.
        X: Its configurations in the new space's encoding, shape (n, d).
        active: Which columns are active, shape (n, d).
        Y: The new problem's objectives, maximised, in their own units, NaN where it has none, shape (n, m).
        feasible: Which rows break no constraint of the new problem, as far as their metrics tell, shape (n,).
        number: The trials' numbers there, shape (n,).
        n_finished: How many trials had ended there.
        unusable: Why trials were left out -> how many.
        parameters: How many parameters the new space has, without constants.
        imputed: Parameter of the new space that it lacks -> what stands in for it.
        metrics: The measured objectives that it has.
    """

    name: str
    X: Array
    active: Mask
    Y: Array
    feasible: NDArray[np.bool_]
    number: NDArray[np.int64]
    n_finished: int
    unusable: Mapping[str, int]
    parameters: int
    imputed: Mapping[str, str]
    metrics: tuple[str, ...]

    def __str__(self) -> str:
        """One line: what was matched, and what was not."""
        matched = self.parameters - len(self.imputed)
        by_stand_in: dict[str, list[str]] = {}
        for name, stand_in in self.imputed.items():
            by_stand_in.setdefault(stand_in, []).append(name)
        listed = "; ".join(f"{', '.join(names)}, imputed with {what}" for what, names in by_stand_in.items())
        why = ", ".join(f"{count} {reason}" for reason, count in self.unusable.items())
        return (
            f"warm start from {self.name}: {len(self.X)} of {self.n_finished} trials usable{f' ({why})' if why else ''}"
            f"; {matched} of {self.parameters} parameters matched{f' (missing: {listed})' if listed else ''}"
            f"; metrics {', '.join(self.metrics)}"
        )


def with_sources(problem: Problem, snapshots: Sequence[Snapshot]) -> Problem:
    """The problem with the earlier studies in its own terms.

    Raises:
        UsageError: One of them has nothing to say on this problem, or wants the opposite of a metric.
    """
    return dataclasses.replace(problem, sources=tuple(match(taken, problem) for taken in snapshots))


def match(taken: Snapshot, problem: Problem) -> Source:
    """An earlier study in the terms of `problem`.

    Raises:
        UsageError: No metric, no parameter or no trial of it can be used, or a metric has the opposite goal.
    """
    names = _metrics(taken, problem)
    plan = _Plan(taken, problem)
    if not plan.matched:
        raise UsageError(
            f"warm start from {taken.name}: at least one parameter must have the same name and kind, but it has "
            f"{_listed(p.name for p in taken.parameters)}; leave it out"
        )
    unusable: Counter[str] = Counter()
    if taken.n_finished > len(taken.trials):
        unusable["without a complete result"] = taken.n_finished - len(taken.trials)
    numbers, configs, told = [], [], []
    for number, config, metrics in taken.trials:
        if not metrics.keys() & set(names):
            unusable["without a metric in common"] += 1
        elif isinstance(carried := plan.carry(config), str):
            unusable[carried] += 1
        else:
            numbers.append(number)
            configs.append(carried)
            told.append(_told(metrics, carried, problem))
    if not configs:
        why = "; ".join(f"{count} {reason}" for reason, count in unusable.items()) or "it has no trials"
        raise UsageError(f"warm start from {taken.name}: none of its trials is usable ({why}); leave it out")
    X, active = problem.space.encoding.encode_many(configs)
    return Source(
        name=taken.name,
        X=X,
        active=active,
        Y=np.array([problem.values(metrics) for metrics in told]),
        feasible=np.array([problem.feasible(c, metrics, None) for c, metrics in zip(configs, told, strict=True)]),
        number=np.array(numbers, dtype=np.int64),
        n_finished=taken.n_finished,
        unusable=dict(unusable),
        parameters=len(plan.matched) + len(plan.imputed),
        imputed=plan.imputed,
        metrics=names,
    )


def _metrics(taken: Snapshot, problem: Problem) -> tuple[str, ...]:
    """The objectives in common; those that follow from the configuration alone say nothing, unless all of them do."""
    told = {name for _, _, metrics in taken.trials for name in metrics} | taken.goals.keys()
    wanted = [metric for metric in problem.objectives if metric.name not in problem.known_names] or problem.objectives
    for metric in problem.objectives:
        if taken.goals.get(metric.name, metric.goal) != metric.goal:
            raise UsageError(
                f"warm start from {taken.name}: it has {metric.name!r} to {taken.goals[metric.name]}, but the sweep to "
                f"{metric.goal}; if these are two things, rename one"
            )
    common = tuple(metric.name for metric in wanted if metric.name in told)
    if not common:
        raise UsageError(
            f"warm start from {taken.name}: it must share a metric with a goal, but it has {_listed(told)}, "
            f"and the sweep {_listed(metric.name for metric in wanted)}; leave it out, or rename"
        )
    return common


def _told(metrics: Mapping[str, float], config: Config, problem: Problem) -> dict[str, float]:
    """The metrics of the new problem: what was told there, and what is computed; only finite values."""
    own = {metric.name for metric in problem.metrics}
    complete = problem.complete(config, {name: value for name, value in metrics.items() if name in own})
    return {name: value for name, value in complete.items() if math.isfinite(value)}


def _listed(names: Any) -> str:
    return ", ".join(sorted(names)) or "none"


class _Plan:
    """How configurations of one space become configurations of another.

    Attributes:
        matched: Parameters of the new space whose values are carried over.
        imputed: The others, constants left out -> what stands in for them.
    """

    def __init__(self, taken: Snapshot, problem: Problem) -> None:
        there = {parameter.name: parameter for parameter in taken.parameters}
        self._space = problem.space
        self._stand_ins: Config = {}
        self._required: set[str] = set()
        self.matched: set[str] = set()
        self.imputed: dict[str, str] = {}
        for parameter in problem.space.parameters:
            name, other = parameter.name, there.get(parameter.name)
            if isinstance(parameter, Constant):
                self._stand_ins[name] = parameter.centre()
                if any(name in config and _admits(parameter, config[name]) for _, config, _ in taken.trials):
                    self._required.add(name)
                continue
            self._stand_ins[name], stand_in = _stand_in(parameter, other, problem.baseline or {})
            if other is not None and comparable(other, parameter):
                self.matched.add(name)
            else:
                self.imputed[name] = stand_in

    def carry(self, config: Config) -> Config | str:
        """The configuration in the new space; when it has none, why not."""
        out: Config = {}
        for parameter in self._space.parameters:
            name, condition = parameter.name, parameter.condition
            if condition is not None and not condition.holds(out):
                continue
            out[name] = self._stand_ins[name]
            if name in self._required and name in config and not _admits(parameter, config[name]):
                return f"with another {name}"
            if name in self.matched and name in config:
                try:
                    out[name] = _carried(parameter, config[name])
                except SpaceError:
                    return f"with {name} outside of its values"
        return out


def _stand_in(parameter: Parameter, other: Parameter | None, baseline: Mapping[str, Any]) -> tuple[Any, str]:
    if isinstance(other, Constant) and _admits(parameter, other.value):
        return _carried(parameter, other.value), "its constant there"
    if parameter.name in baseline:
        return baseline[parameter.name], "the baseline's value"
    return parameter.centre(), "its centre" if parameter.prior is None else "its prior"


def _carried(parameter: Parameter, value: Any) -> Any:
    """The parameter's value that `value` is; of a number between two steps, the nearer one.

    Raises:
        SpaceError: It is none.
    """
    number = real(value)
    if isinstance(parameter, (Float, Int)) and number is not None and parameter.low <= number <= parameter.high:
        return parameter.decode(parameter.encode(number))
    return parameter.normalise(value)


def _admits(parameter: Parameter, value: Any) -> bool:
    try:
        _carried(parameter, value)
    except SpaceError:
        return False
    return True


def comparable(a: Parameter, b: Parameter) -> bool:
    """Whether values of one parameter can stand for values of another of the same name: both are of one kind."""
    for numbers_or_values in ((Float, Int), (Choice, Bool), (Subset,)):
        if isinstance(a, numbers_or_values):
            return isinstance(b, numbers_or_values)
    if isinstance(a, Vector) and isinstance(b, Vector):
        return a.length == b.length
    if isinstance(a, Simplex) and isinstance(b, Simplex):
        return set(a.items) == set(b.items) and a.total == b.total
    if isinstance(a, Permutation) and isinstance(b, Permutation):
        return len(a.items) == len(b.items) and all(item in b.items for item in a.items)
    return False


# --- what is tried first ---


def first_tries(problem: Problem) -> list[tuple[Config, str]]:
    """The sources' best configurations that are worth a trial, and where each is from, best first.

    At most a third of the initial design of `gp`, the sources in turn; a configuration closer than 0.1 in every column
    to one chosen before is passed over, since a model learns little from trials that are all alike.
    """
    encode, most = problem.space.encoding.encode, max(problem.design_trials // 3, 1)
    points = [encode(config) for config in (problem.baseline, *problem.initial) if config is not None]
    chosen: list[tuple[Config, str]] = []
    waiting = deque(_distinct(source, problem, points) for source in problem.sources)
    while waiting and len(chosen) < most:
        source = waiting.popleft()
        found = next(source, None)
        if found is not None:
            points.append(encode(found[0]))
            chosen.append(found)
            waiting.append(source)
    return chosen


def _distinct(source: Source, problem: Problem, points: list[tuple[Array, Mask]]) -> Iterator[tuple[Config, str]]:
    """The better third of a source's trials, without those that lie close to one of `points` when their turn comes."""
    categorical = np.array([column.kind == "categorical" for column in problem.space.encoding.columns], dtype=np.bool_)
    for row in _best(source)[:_LOOKED_AT]:
        config = _proposable(source, row, problem)
        if config is None:
            continue
        here = problem.space.encoding.encode(config)
        if not any(_close(here, point, categorical) for point in points):
            yield config, f"warm start from {source.name}, trial {source.number[row]}"


def _best(source: Source) -> list[int]:
    """The better third of the feasible rows, best first: by front, and within the first by the room around them."""
    values = source.Y[:, ~np.isnan(source.Y).all(axis=0)]
    rows = np.flatnonzero(source.feasible & ~np.isnan(values).any(axis=1))
    if not len(rows):
        return []
    values = values[rows]
    ranks = pareto.ranks(values)
    room = np.zeros(len(rows))
    room[ranks == 0] = pareto.crowding(values[ranks == 0])
    if values.shape[1] > 1:
        ranks[pareto.knee(values)] = -1
    order = np.lexsort((rows, -room, ranks))
    return [int(row) for row in rows[order[: math.ceil(len(rows) / 3)]]]


def _proposable(source: Source, row: int, problem: Problem) -> Config | None:
    """A row's configuration; where imputed values break a restriction, others stand in. None when nothing does."""
    config = problem.space.encoding.decode(source.X[row])
    if problem.space.contains(config):
        return config
    try:
        kept = {name: value for name, value in config.items() if name not in source.imputed}
        return problem.space.normalise(kept, partial=True) if len(kept) < len(config) else None
    except SpaceError:
        return None


def _close(a: tuple[Array, Mask], b: tuple[Array, Mask], categorical: Mask) -> bool:
    gaps = np.abs(a[0] - b[0])
    gaps[categorical & (gaps > 0)] = 1.0
    return bool((a[1] == b[1]).all() and (gaps < _GAP).all())
