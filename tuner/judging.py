"""Judging: what a runner's outcome means for the study: computed metrics filled in, policies applied, NaN refused."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Mapping
from typing import Literal

from tuner.errors import UsageError
from tuner.problem import Problem
from tuner.trial import FREE_METRICS, Config, Failure, Outcome


def told(problem: Problem, config: Config | None, metrics: Mapping[str, float], *, what: str) -> Outcome:
    """Metrics that somebody told, as an outcome: a failure when one is not finite.

    Args:
        problem: What had to be told.
        config: Of the trial; None when it is not waited for, and what is missing does not matter.
        metrics: By name, as told.
        what: Of what they are the metrics, for the message.

    Raises:
        UsageError: A metric with a goal or a bound is missing, one is unknown, or one is not a number.
    """
    values = {name: _number(name, value, what) for name, value in metrics.items()}
    known = {metric.name for metric in problem.metrics} | set(FREE_METRICS)
    for name in values.keys() - known:
        raise UsageError(f"{what}: there is no metric {name!r} (there are: {', '.join(sorted(known))})")
    bad = ", ".join(f"{name}={value}" for name, value in sorted(values.items()) if not math.isfinite(value))
    if bad:
        return Outcome(state="failed", failure=Failure(kind="bad_metric", message=f"not finite: {bad}"))
    complete = {} if config is None else problem.complete(config, values)
    missing = [name for name in problem.required if name not in complete]
    if missing and config is not None:
        listed = ", ".join(missing)
        raise UsageError(f"{what}: every metric with a goal or a bound must be told, but {listed} is missing")
    return Outcome(state="completed", metrics=values)


def _number(name: str, value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise UsageError(f"{what}: a metric must be a number, but got {name}={value!r}")
    return float(value)


def judge(problem: Problem, config: Config, outcome: Outcome, *, on_oom: Literal["infeasible", "fail"]) -> Outcome:
    """The outcome as it is recorded.

    Known and composite metrics are filled in. A metric that is not finite makes the trial fail with `bad_metric`; one
    with a goal or a bound that is absent, with `no_metric`. Out of memory is infeasible, unless the policy says fail.
    """
    kind = outcome.failure.kind if outcome.failure is not None else ""
    if outcome.state == "failed" and kind.startswith("oom") and on_oom == "infeasible":
        outcome = dataclasses.replace(outcome, state="infeasible")
    metrics = problem.complete(config, outcome.metrics) if outcome.metrics else problem.known_metrics(config)
    broken = sorted(name for name, value in metrics.items() if not math.isfinite(value))
    if broken:
        failure = Failure(kind="bad_metric", message=f"not finite: {', '.join(broken)}")
        return dataclasses.replace(outcome, state="failed", metrics={}, failure=failure)
    missing = [name for name in problem.required if name not in metrics]
    if outcome.state == "completed" and missing:
        failure = Failure(kind="no_metric", message=f"{', '.join(missing)} could not be computed")
        return dataclasses.replace(outcome, state="failed", metrics=metrics, failure=failure)
    return dataclasses.replace(outcome, metrics=metrics)


def tries_again(failure: Failure, attempt: int, retries: int) -> bool:
    """Whether a trial waits for another attempt: it was interrupted, or the infrastructure failed, not too often."""
    return failure.kind == "interrupted" or (failure.kind == "infra" and attempt <= retries)
