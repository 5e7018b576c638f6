"""threshold: a trial ends when a metric is beyond a bound that tightens with the steps.

Bounds are absolute, in the metric's own units: `metrics: {loss: [[10, 0.9], [100, 0.5]], memory_gb: 40}` ends a trial
whose loss is above 0.9 from step 10 on, above 0.5 from step 100 on, or that ever needs more than 40 GB.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tuner.history import History
    from tuner.problem import Problem
    from tuner.stopping.protocol import StoppingRule
    from tuner.trial import Metric

Bound = float | Sequence[tuple[int, float]]
Table = tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Options:
    """Options of `early_stop: {rule: threshold, ...}`.

    Attributes:
        metrics: Metric -> its worst admissible value, or pairs of a step and that value from there on.
    """

    metrics: Mapping[str, Bound] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.metrics, Mapping) or not self.metrics:
            raise ValueError("metrics must name at least one bound, as in metrics: {loss: [[10, 0.9], [100, 0.5]]}")


class Threshold:
    """Looks at the latest report alone."""

    def __init__(self, tables: Mapping[str, tuple[float, Table]]) -> None:
        self._tables = tables

    def should_stop(self, history: History, trial: int, step: int) -> bool:
        """Whether the latest report is beyond a bound."""
        told = history.reported(trial)
        if not told:
            return False
        for name, (sign, table) in self._tables.items():
            bound = bound_at(table, told[-1].step)
            value = told[-1].metrics.get(name, math.nan)
            if bound is not None and sign * value < sign * bound:
                return True
        return False


def bound_at(table: Table, step: int) -> float | None:
    """The bound that holds at a step; None before the first one."""
    return next((bound for start, bound in reversed(table) if step >= start), None)


def build(problem: Problem, options: Options) -> StoppingRule:
    """The rule for one session.

    Raises:
        ValueError: A metric is unknown or has no better direction, or a table does not tighten.
    """
    known = {metric.name: metric for metric in problem.metrics}
    tables = {}
    for name, bound in options.metrics.items():
        if name not in known:
            raise ValueError(f"there is no metric {name!r} (there are: {', '.join(known)})")
        sign = _sign(known[name])
        tables[name] = sign, _table(name, sign, bound)
    return Threshold(tables)


def _sign(metric: Metric) -> float:
    """+1 when larger is better."""
    if metric.goal is not None:
        return metric.sign
    if (metric.max is None) == (metric.min is None):
        raise ValueError(f"{metric.name!r} has no better direction; give it a goal, or one of min and max")
    return -1.0 if metric.max is not None else 1.0


def _table(name: str, sign: float, bound: Bound) -> Table:
    rows = [(0, bound)] if isinstance(bound, int | float) else bound
    try:
        table = sorted((int(step), float(value)) for step, value in rows)
    except (TypeError, ValueError):
        raise ValueError(
            f"the bound of {name!r} must be a number, or [[step, number], ...], but is {bound!r}"
        ) from None
    if any(sign * later < sign * earlier for (_, earlier), (_, later) in pairwise(table)):
        raise ValueError(f"the bounds of {name!r} must tighten with the steps, but are {dict(table)}")
    return tuple(table)
