"""What `tuner gate` checks: metrics with their limits, constraints, the hypervolume; and each on the measurements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tuner.errors import UsageError
from tuner.gate import Check, Design, Result, judged
from tuner.verbs.baselines import Baseline, volume
from tuner.verbs.gate_sides import Subject

if TYPE_CHECKING:
    from tuner.problem import Constraint, Problem
    from tuner.trial import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """What is looked at, in the order of the report."""

    metrics: tuple[Check, ...]
    constraints: tuple[tuple[Check, Constraint], ...]
    hypervolume: Check | None = None

    @property
    def all_sure(self) -> bool:
        """Whether one measurement says all."""
        return all(check.sure for check in (*self.metrics, *(check for check, _ in self.constraints)))

    @property
    def noisy(self) -> int:
        """How many are decided by a test."""
        return max(1, sum(not check.sure for check in (*self.metrics, *(check for check, _ in self.constraints))))


@dataclass(slots=True)
class Pairs:
    """What was measured so far, one mapping a measurement."""

    baseline: list[dict[str, float]] = field(default_factory=list)
    candidate: list[dict[str, float]] = field(default_factory=list)


def limits(texts: Sequence[str]) -> tuple[float, dict[str, float]]:
    """`--max-regress` words: the share for every metric (3% when none says otherwise), and those for one each.

    Raises:
        UsageError: One is no share.
    """
    general, own = 0.03, {}
    for text in texts:
        name, equals, amount = text.rpartition("=")
        words = amount.strip()
        try:
            share = float(words.removesuffix("%")) / (100.0 if words.endswith("%") else 1.0)
        except ValueError:
            share = math.nan
        if not 0.0 <= share < math.inf or (equals and not name):
            raise UsageError(f"--max-regress must be a share such as 3% or latency_ms=3%, but got {text!r}")
        if equals:
            own[name] = share
        else:
            general = share
    return general, own


def choose(
    subject: Subject,
    baseline: Baseline,
    *,
    max_regress: Sequence[str],
    only: Sequence[str],
    deterministic: Sequence[str],
) -> Checks:
    """What to check.

    Args:
        subject: The candidate.
        baseline: What it is compared with.
        max_regress: As `limits` reads them; a free metric named here is checked too.
        only: Metrics to check; empty: every one with a goal, every constraint, and the front.
        deterministic: Metrics of which one measurement says all.

    Raises:
        UsageError: A name or a limit cannot be.
    """
    from tuner.trial import FREE_METRICS, Metric

    problem = subject.problem
    general, own = limits(max_regress)
    by_name = {metric.name: metric for metric in problem.metrics if metric.goal is not None}
    free = {name: Metric(name=name, goal="minimize") for name in FREE_METRICS if name != "exit_code"}
    available = {**free, **by_name}
    named = [*by_name, *(name for name in (*own, *only) if name in free and name not in by_name)]
    for name in (*own, *only, *deterministic):
        if name not in available and name != "hypervolume":
            raise UsageError(f"there is no metric {name!r} with a goal (there are: {', '.join(available)})")
    chosen = [name for name in dict.fromkeys(named) if not only or name in only]
    sure = sure_metrics(problem) | set(deterministic)
    metrics = tuple(
        Check(
            name=name,
            goal=available[name].goal,
            max_regress=own.get(name, general),
            unit=available[name].unit,
            sure=name in sure,
        )
        for name in chosen
    )
    for check in metrics:
        if check.goal == "maximize" and check.max_regress >= 1:
            raise UsageError(
                f"{check.name} cannot fall by more than 100%, but --max-regress says {check.max_regress:g}"
            )
    constraints = tuple((_bound(one, sure), one) for one in problem.constraints) if not only else ()
    hypervolume = None
    fronts = baseline.front is not None and subject.front is not None
    if fronts and (not only or "hypervolume" in only):
        share = own.get("hypervolume", general)
        hypervolume = Check(name="hypervolume", kind="hypervolume", goal="maximize", max_regress=share, sure=True)
    if not (metrics or constraints or hypervolume):
        raise UsageError("nothing is left to check; --metric names one with a goal")
    return Checks(metrics=metrics, constraints=constraints, hypervolume=hypervolume)


def _bound(one: Constraint, sure: set[str]) -> Check:
    return Check(name=one.text, kind="constraint", goal=None, max_regress=0.0, sure=one.metrics <= sure)


def sure_metrics(problem: Problem) -> set[str]:
    """The metrics that follow from the configuration alone, formulas over such among them."""
    parameters, found = set(problem.space.names), set(problem.known_names)
    while True:
        more = {n for n, f in problem.composites.items() if f.names <= found | parameters} - found
        if not more:
            return found
        found |= more


def judge_all(
    checks: Checks, subject: Subject, config: Config, pairs: Pairs, baseline: Baseline, design: Design
) -> list[Result]:
    """Every check on what was measured so far."""
    results = []
    for check in checks.metrics:
        both = [(b[check.name], c[check.name]) for b, c in zip(pairs.baseline, pairs.candidate, strict=True)
                if check.name in b and check.name in c]  # fmt: skip
        results.append(judged(check, [b for b, _ in both], [c for _, c in both], design, m=checks.noisy))
    for check, constraint in checks.constraints:
        margins = [
            (constraint.margin(config, b, b), constraint.margin(subject.config, c, b))
            for b, c in zip(pairs.baseline, pairs.candidate, strict=True)
        ]
        told = [both for both in margins if not any(math.isnan(one) for one in both)]
        results.append(judged(check, [b for b, _ in told], [c for _, c in told], design, m=checks.noisy))
    if checks.hypervolume is not None:
        results.append(_fronts(checks.hypervolume, subject, baseline, design))
    return results


def _fronts(check: Check, subject: Subject, baseline: Baseline, design: Design) -> Result:
    """The volumes of the two fronts as they were recorded, from the stored corner."""
    assert baseline.front is not None
    assert subject.front is not None
    missing = [name for name in baseline.front.goals if subject.front.goals.get(name) != baseline.front.goals[name]]
    if missing:
        why = f"the candidate's front has no {', '.join(missing)} with the same goal"
        return Result(check=check, verdict="inconclusive", why=why)
    theirs = volume(baseline.front, baseline.front.reference)
    ours = volume(replace(subject.front, goals=baseline.front.goals), baseline.front.reference)
    found = judged(check, [theirs], [ours], design, m=1)
    return replace(found, why=f"fronts of {len(baseline.front.members)} and {len(subject.front.members)} as recorded")
