"""Judging: what a runner's outcome means for the study: computed metrics filled in, policies applied, NaN refused."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

from tuner.problem import Problem
from tuner.trial import Config, Failure, Outcome


def judge(problem: Problem, config: Config, outcome: Outcome, *, on_oom: Literal["infeasible", "fail"]) -> Outcome:
    """The outcome as it is recorded.

    Known and composite metrics are filled in. A metric that is not finite makes the trial fail with `bad_metric`, an
    objective that cannot be computed with `no_metric`. Out of memory is infeasible, unless the policy says fail.
    """
    kind = outcome.failure.kind if outcome.failure is not None else ""
    if outcome.state == "failed" and kind.startswith("oom") and on_oom == "infeasible":
        outcome = dataclasses.replace(outcome, state="infeasible")
    metrics = problem.complete(config, outcome.metrics) if outcome.metrics else problem.known_metrics(config)
    broken = sorted(name for name, value in metrics.items() if not math.isfinite(value))
    if broken:
        failure = Failure(kind="bad_metric", message=f"not finite: {', '.join(broken)}")
        return dataclasses.replace(outcome, state="failed", metrics={}, failure=failure)
    missing = [metric.name for metric in problem.objectives if metric.name not in metrics]
    if outcome.state == "completed" and missing:
        failure = Failure(kind="no_metric", message=f"{', '.join(missing)} could not be computed")
        return dataclasses.replace(outcome, state="failed", metrics=metrics, failure=failure)
    return dataclasses.replace(outcome, metrics=metrics)
