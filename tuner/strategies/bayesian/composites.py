"""Composite objectives: a known formula over measured outputs, which are modelled instead of its value.

A formula knows things that its value does not tell: an L1 distance of eight shares to their targets is flat and kinked,
while each share is smooth (Astudillo and Frazier 2019).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuner.strategies.bayesian.known import agree

if TYPE_CHECKING:
    from torch import Tensor

    from tuner.expressions import Expression
    from tuner.problem import Problem


@dataclass(frozen=True, slots=True)
class Formula:
    """One composite objective.

    Attributes:
        name: The metric's name.
        sign: 1.0 when it is maximised, otherwise -1.0.
        composites: Every formula of the problem: one may read another.
        leaves: The measured and known metrics and the parameters that it comes down to.
    """

    name: str
    sign: float
    composites: Mapping[str, Expression]
    leaves: tuple[str, ...]

    def __call__(self, values: Tensor) -> Tensor:
        """The objective, maximised, from the leaves' values in their own units, (..., k) -> (...,).

        Raises:
            ExpressionError, TypeError, RuntimeError: The formula cannot be applied to tensors.
        """
        env: dict[str, Any] = {leaf: values[..., i] for i, leaf in enumerate(self.leaves)}
        result: Tensor = self.sign * self._value(self.name, env)
        return result

    def _value(self, name: str, env: dict[str, Any]) -> Any:
        for inner in sorted(self.composites[name].names):
            if inner not in env:
                env[inner] = self._value(inner, env)
        return self.composites[name].evaluate(env)


def formulas(problem: Problem) -> dict[int, Formula]:
    """Objective -> its formula, for the composite ones."""
    return {
        j: Formula(metric.name, metric.sign, problem.composites, _leaves(problem, metric.name))
        for j, metric in enumerate(problem.objectives)
        if metric.name in problem.composites
    }


def _leaves(problem: Problem, name: str) -> tuple[str, ...]:
    found: set[str] = set()
    front = [name]
    while front:
        inner = front.pop()
        if inner in problem.composites:
            front += problem.composites[inner].names
        else:
            found.add(inner)
    return tuple(sorted(found))


def applicable(formula: Formula, values: Tensor, recorded: Tensor) -> bool:
    """Whether a formula works on tensors, and gives what was recorded (n,) from the leaves' values (n, k)."""
    import torch

    if not bool((~torch.isnan(recorded)).any()):
        return False
    try:
        return agree(formula(values), recorded)
    except Exception:  # one that compares, for example: the scalar is modelled then
        return False
