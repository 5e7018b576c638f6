"""What peers are told: losses to minimise, margins that are feasible at most 0, or both as one loss."""

from __future__ import annotations

from collections.abc import Mapping

from tuner.bench.problem import BenchProblem


def margins(problem: BenchProblem, metrics: Mapping[str, float]) -> dict[str, float]:
    """How far each bound is broken: feasible at most 0, as Optuna, HEBO and Nevergrad have it."""
    out = {}
    for metric in problem.metrics:
        if metric.min is not None:
            out[f"{metric.name}-min"] = metric.min - metrics[metric.name]
        if metric.max is not None:
            out[f"{metric.name}-max"] = metrics[metric.name] - metric.max
    return out


def losses(problem: BenchProblem, metrics: Mapping[str, float]) -> list[float]:
    """The goals, minimised."""
    return [-goal.sign * metrics[goal.name] for goal in problem.goals]


def penalised(problem: BenchProblem, metrics: Mapping[str, float]) -> float:
    """One loss for peers without constraints."""
    broken = sum(max(amount, 0.0) for amount in margins(problem, metrics).values())
    loss = losses(problem, metrics)[0]
    if not broken:
        return loss
    floor = problem.floor if problem.floor is not None else 0.0
    return -problem.goals[0].sign * floor + abs(floor) * min(broken, 100.0) + broken


def penalised_goals(problem: BenchProblem, metrics: Mapping[str, float]) -> list[float]:
    """Every goal's loss, beyond its reference where a trial is infeasible; for peers without constraints."""
    if len(problem.goals) == 1:
        return [penalised(problem, metrics)]
    broken = sum(max(amount, 0.0) for amount in margins(problem, metrics).values())
    if not broken:
        return losses(problem, metrics)
    corners = [-goal.sign * (goal.reference or 0.0) for goal in problem.goals]
    return [corner + abs(corner) * min(broken, 100.0) + broken for corner in corners]
