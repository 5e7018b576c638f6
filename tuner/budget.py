"""Budget: what a study may spend, what it has spent, and why it must stop.

Budgets are reserved before they are spent: a trial starts only when its share, estimated by the most expensive trial so
far, still fits beside those that are running. The number of trials is reserved exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tuner.sweep import Budget


@dataclass(slots=True)
class Spent:
    """Running totals of a study.

    Attributes:
        started: Trials that were started at least once, finished or not.
        finished: Trials that came to an end.
        failed: Those that failed.
        seconds: Wall-clock time of the sweep, over all its sessions.
        gpu_s: GPU-seconds of finished trials.
        cost: Sum of the cost metric of finished trials.
        dearest_gpu_s: The most GPU-seconds that one trial took.
        dearest_cost: The most that one trial cost.
        since_improvement: Trials finished since the best, or the front, last changed.
        reached: Whether a feasible trial met the target.
        instances: How many instances of a stream were solved in blocks; they count as started trials.
    """

    started: int = 0
    finished: int = 0
    failed: int = 0
    seconds: float = 0.0
    gpu_s: float = 0.0
    cost: float = 0.0
    dearest_gpu_s: float = 0.0
    dearest_cost: float = 0.0
    since_improvement: int = 0
    reached: bool = False
    instances: int = 0
    running: set[int] = field(default_factory=set)

    def add(self, *, gpu_s: float, cost: float) -> None:
        """Count what a finished trial spent."""
        self.gpu_s += gpu_s
        self.cost += cost
        self.dearest_gpu_s = max(self.dearest_gpu_s, gpu_s)
        self.dearest_cost = max(self.dearest_cost, cost)


def trials_left(budget: Budget | None, spent: Spent) -> float:
    """How many more trials may be started now, infinity when nothing bounds them."""
    left = float("inf")
    if budget is None:
        return left
    if budget.trials is not None:
        left = min(left, budget.trials - spent.started)
    running = len(spent.running)
    if budget.gpu_hours is not None:
        left = min(left, _fits(budget.gpu_hours * 3600.0, spent.gpu_s, spent.dearest_gpu_s, running))
    if budget.cost is not None:
        left = min(left, _fits(budget.cost.limit, spent.cost, spent.dearest_cost, running))
    return max(left, 0.0)


def _fits(limit: float, used: float, dearest: float, running: int) -> float:
    """How many trials at the dearest price fit beside the running ones; one at a time until a price is known."""
    if used >= limit:
        return 0.0
    if dearest <= 0.0:
        return max(1.0 - running, 0.0)
    return (limit - used) // dearest - running


def stop_reason(budget: Budget | None, spent: Spent) -> str | None:
    """Why no further trial may start for good, whatever ends in the meantime; None when the study may go on."""
    if budget is None:
        return None
    reasons: Mapping[str, bool] = {
        f"all {budget.trials} trials of the budget are started": (
            budget.trials is not None and spent.started >= budget.trials
        ),
        "the time budget is spent": budget.time is not None and spent.seconds >= budget.time,
        "the budget of GPU hours is spent": (
            budget.gpu_hours is not None and not spent.running and trials_left(budget, spent) < 1
        ),
        "the cost budget is spent": budget.cost is not None and not spent.running and trials_left(budget, spent) < 1,
        f"no improvement in {budget.no_improvement} trials": (
            budget.no_improvement is not None and spent.since_improvement >= budget.no_improvement
        ),
        "the target is reached": bool(budget.target) and spent.reached,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def too_many_failures(budget: Budget | None, spent: Spent) -> str | None:
    """Why the failure policy stops the study; None when it does not. A share counts from ten trials on."""
    if budget is None or budget.failures is None:
        return None
    if isinstance(budget.failures, int):
        if spent.failed > budget.failures:
            return f"{spent.failed} trials failed, more than the {budget.failures} that the budget allows"
    elif spent.finished >= 10 and spent.failed > budget.failures * spent.finished:
        return f"{spent.failed} of {spent.finished} trials failed, more than the {budget.failures:.0%} allowed"
    return None
