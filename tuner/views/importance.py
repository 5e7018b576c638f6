"""Importance: which parameters set the best trials apart, for each objective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuner.errors import UsageError
from tuner.views.outcomes import objective_index, outcomes

if TYPE_CHECKING:
    from tuner.study import Study


@dataclass(frozen=True, slots=True)
class ImportanceView:
    """Shares by metric.

    Attributes:
        shares: Metric -> (parameter, share) with the most important first; a metric's shares sum to one, or are all
            zero when nothing sets its best trials apart.
        n: How many trials that comes from.
    """

    shares: dict[str, tuple[tuple[str, float], ...]]
    n: int


def importance_view(study: Study, metric: str | None = None) -> ImportanceView:
    """The importances for the metric named, or for every objective.

    Raises:
        UsageError: Too few trials have completed, or there is no such metric.
    """
    from tuner.optuna.importance import MIN_TRIALS, importances

    objectives = study.problem.objectives
    chosen = range(len(objectives)) if metric is None else [objective_index(study.problem, metric)]
    found = outcomes(study)
    if len(found.row) < MIN_TRIALS:
        raise UsageError(f"importance needs at least {MIN_TRIALS} completed trials, but there are {len(found.row)}")
    shares = {
        objectives[index].name: tuple(sorted(by_name.items(), key=lambda item: (-item[1], item[0])))
        for index, by_name in zip(chosen, importances(study.history, chosen, found.row.tolist()), strict=True)
    }
    return ImportanceView(shares, len(found.row))
