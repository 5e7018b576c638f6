"""The objective `sparse-ot`: transport plans of few nonzeros, by first-order methods on their dual.

Cardinality, regularisation and the solver's budget are tuned for the gap to the exact cost, which linear programming
gives, for how sparse the plan is, and for how often the dual is evaluated. See `transport.py`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tuner.search_spaces.transport import sparse_ot

from tuner.errors import UsageError
from tuner.trial import Metric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tuner.objectives.solver.transport import Transport, Value

    from tuner.space import SearchSpace
    from tuner.trial import Trial


class SparseOt:
    """Gap, nonzeros and work over a few fixed problems.

    Attributes:
        space: `transport/sparse-ot` of `tuner.search_spaces`.
        metrics: Means over the problems. gap, (cost of the plan, rounded to the masses asked for, - least cost) / least
            cost, never negative; nonzeros, of the solver's plan, a column; evaluations of the dual and its gradient;
            all three are minimised. violation, half of what the masses of rows and columns are off, as a share of all
            mass; seconds.
    """

    def __init__(self, points: int, instances: int, seed: int) -> None:
        self.space: SearchSpace = sparse_ot(points)
        self._points, self._seeds = points, range(seed, seed + instances)
        self.metrics: Mapping[str, Metric] = {
            "gap": Metric(name="gap", goal="minimize", reference=1.0),
            "nonzeros": Metric(name="nonzeros", goal="minimize", reference=16.0),
            "evaluations": Metric(name="evaluations", goal="minimize", reference=500.0),
            "violation": Metric(name="violation"),
            "seconds": Metric(name="seconds", unit="s"),
        }

    def baseline(self) -> dict[str, Any]:
        """Return transport with quadratic regularisation: no bound on the nonzeros that would matter."""
        return {
            "k": min(32, self._points), "gamma": 0.1, "formulation": "semi-dual", "optimiser": "lbfgs",
            "iterations": 100,
        }  # fmt: skip

    def prepare(self) -> None:
        """Solve the problems by linear programming."""
        _ = self.problems

    def evaluate(self, config: Mapping[str, Any], trial: Trial) -> dict[str, float]:
        """Return the metrics of solving every problem."""
        _ = self.problems
        began = time.perf_counter()
        each = [solved(given, config) for given in self.problems]
        seconds = time.perf_counter() - began
        return {**{name: sum(one[name] for one in each) / len(each) for name in each[0]}, "seconds": seconds}

    @cached_property
    def problems(self) -> list[Transport]:
        """The problems, with their least costs."""
        from tuner.objectives.solver import transport

        return [transport.problem(self._points, seed) for seed in self._seeds]


def solved(given: Transport, config: Mapping[str, Any]) -> dict[str, float]:
    """Return gap, nonzeros, evaluations and violation of one problem."""
    import numpy as np
    from tuner.objectives.solver import transport

    formulation, k, gamma = config["formulation"], int(config["k"]), float(config["gamma"])
    minimised = transport.negative_dual(given, formulation, k, gamma)
    start = np.zeros(sum(given.C.shape) if formulation == "dual" else len(given.a))
    if config["optimiser"] == "lbfgs":
        variables, evaluations = _lbfgs(minimised, start, int(config["iterations"]))
    else:
        variables, evaluations = _gradient(minimised, start, int(config["iterations"]), float(config["step"]) * gamma)
    T = transport.plan(given, formulation, variables, k, gamma)
    wrong = np.abs(T.sum(1) - given.a).sum() + np.abs(T.sum(0) - given.b).sum()
    cost = float((transport.rounded(T, given.a, given.b) * given.C).sum())
    return {
        "gap": max(0.0, cost / given.least - 1.0),  # the linear program is solved to 1e-7
        "nonzeros": float((T > 0.0).sum()) / T.shape[1],
        "evaluations": float(evaluations),
        "violation": float(wrong / given.a.sum()) / 2.0,
    }


def _lbfgs(minimised: Value, start: NDArray[np.float64], iterations: int) -> tuple[NDArray[np.float64], int]:
    """Where L-BFGS ends, and how often it evaluated the dual; where that has kinks it may end early."""
    from scipy.optimize import minimize

    options = {"maxiter": iterations, "maxfun": 2 * iterations, "ftol": 1e-12, "gtol": 1e-8}
    found = minimize(minimised, start, jac=True, method="L-BFGS-B", options=options)
    return found.x, int(found.nfev)


def _gradient(
    minimised: Value, start: NDArray[np.float64], iterations: int, step: float
) -> tuple[NDArray[np.float64], int]:
    """The same of Nesterov's accelerated gradient, momentum (t - 1) / (t + 2), which starts anew when values rise."""
    x = ahead = start
    before, t = float("inf"), 1
    for _ in range(iterations):
        value, slope = minimised(ahead)
        t = 1 if value > before else t + 1
        before, moved = value, ahead - step * slope
        ahead, x = moved + (t - 1) / (t + 2) * (moved - x), moved
    return x, iterations


def build(*, points: int = 64, instances: int = 3, seed: int = 0) -> SparseOt:
    """Return the objective.

    Args:
        points: On either side, 4 to 256.
        instances: Problems that metrics are means over, 1 to 50.
        seed: Of the first problem.

    Raises:
        UsageError: An option is out of its range.
    """
    for name, value, low, high in (("points", points, 4, 256), ("instances", instances, 1, 50)):
        if not (isinstance(value, int) and low <= value <= high):
            raise UsageError(
                f"{name} must be a whole number from {low} to {high}, but got {value!r}; choose one of them"
            )
    return SparseOt(points, instances, seed)
