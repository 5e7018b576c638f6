"""HEBO 0.3: one goal by `HEBO`, constraints or several goals by `GeneralBO`, with their defaults.

Both know numbers, powers of ten, integers and categories; neither knows conditions. Their draws come from the global
generators of NumPy and torch, which are seeded. A logarithmic integer is a power that is rounded: HEBO's own
`int_exponent` has whole powers of a base only.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from tuner.bench.flat import Axis, all_axes, assemble, filled
from tuner.bench.methods import Session
from tuner.bench.peers.terms import losses, margins
from tuner.bench.problem import BenchProblem
from tuner.trial import Config


def declared(axis: Axis) -> dict[str, Any]:
    """An axis as HEBO's design space takes it."""
    if axis.kind == "choice":
        return {"name": axis.name, "type": "cat", "categories": list(range(len(axis.values)))}
    if axis.log:
        return {"name": axis.name, "type": "pow", "lb": axis.low, "ub": axis.high, "base": 10}
    if axis.kind == "integer":
        return {"name": axis.name, "type": "int", "lb": int(axis.low), "ub": int(axis.high)}
    return {"name": axis.name, "type": "num", "lb": axis.low, "ub": axis.high}


class HeboSession(Session):
    """HEBO or GeneralBO."""

    def __init__(self, problem: BenchProblem, n_trials: int, seed: int) -> None:
        warnings.simplefilter("ignore")
        np.random.seed(seed)
        importlib.import_module("torch").manual_seed(seed)
        self._pd: Any = importlib.import_module("pandas")
        self._problem = problem
        space: Any = importlib.import_module("hebo.design_space.design_space").DesignSpace()
        self._axes = all_axes(problem.space)
        space.parse([declared(axis) for axis in self._axes])
        bounds = len(margins(problem, {metric.name: 0.0 for metric in problem.metrics}))
        if len(problem.goals) > 1 or bounds:
            general: Any = importlib.import_module("hebo.optimizers.general")
            self._optimizer = general.GeneralBO(space, num_obj=len(problem.goals), num_constr=bounds)
        else:
            self._optimizer = importlib.import_module("hebo.optimizers.hebo").HEBO(space, scramble_seed=seed)
        self._asked: Any = None

    def ask(self) -> Config:
        """HEBO's next suggestion."""
        self._asked = self._optimizer.suggest(n_suggestions=1)
        row = {name: self._asked[name].iloc[0] for name in self._asked.columns}

        def pick(axis: Axis) -> Any:
            if axis.kind == "choice":
                return axis.values[int(row[axis.name])]
            value = min(max(float(row[axis.name]), axis.low), axis.high)
            return round(value) if axis.kind == "integer" else value

        return assemble(self._problem.space, pick)

    def tell(self, config: Config, metrics: Mapping[str, float]) -> None:
        """Losses, then violations, feasible at most 0."""
        self._optimizer.observe(self._asked, self._outcome(metrics))

    def add(self, config: Config, metrics: Mapping[str, float]) -> None:
        """A trial that it did not suggest; what is inactive stands at its lower end."""
        values = filled(self._problem.space, config)
        row = {a.name: a.values.index(values[a.name]) if a.values else values[a.name] for a in self._axes}
        self._optimizer.observe(self._pd.DataFrame([row]), self._outcome(metrics))

    def _outcome(self, metrics: Mapping[str, float]) -> Any:
        return np.array([[*losses(self._problem, metrics), *margins(self._problem, metrics).values()]])
