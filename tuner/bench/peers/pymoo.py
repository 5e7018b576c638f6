"""pymoo's NSGA-II for several goals, with its operators for mixed variables and its own constraints.

Its default population is 100: a run of fewer trials is its random start. A logarithmic number is given by its
logarithm, a logarithmic integer as a plain one; conditions are unknown to it.
"""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from tuner.bench.flat import Axis, all_axes, assemble
from tuner.bench.methods import Session
from tuner.bench.peers.terms import losses, margins
from tuner.bench.problem import BenchProblem
from tuner.trial import Config


class PymooSession(Session):
    """NSGA-II, a generation at a time."""

    def __init__(self, problem: BenchProblem, n_trials: int, seed: int) -> None:
        warnings.simplefilter("ignore")
        mixed: Any = importlib.import_module("pymoo.core.mixed")
        self._kinds: Any = importlib.import_module("pymoo.core.variable")
        self._problem = problem
        rules = len(margins(problem, {metric.name: 0.0 for metric in problem.metrics}))
        self._posed = importlib.import_module("pymoo.core.problem").Problem(
            vars={axis.name: self._variable(axis) for axis in all_axes(problem.space)},
            n_obj=len(problem.goals),
            n_ieq_constr=rules,
        )
        distinct = mixed.MixedVariableDuplicateElimination()
        self._algorithm = importlib.import_module("pymoo.algorithms.moo.nsga2").NSGA2(
            sampling=mixed.MixedVariableSampling(),
            mating=mixed.MixedVariableMating(eliminate_duplicates=distinct),
            eliminate_duplicates=distinct,
        )
        self._algorithm.setup(self._posed, termination=("n_gen", n_trials + 1), seed=seed, verbose=False)
        self._generation: Any = ()
        self._told: list[tuple[list[float], list[float]]] = []

    def _variable(self, axis: Axis) -> Any:
        if axis.kind == "choice":
            return self._kinds.Choice(options=list(range(len(axis.values))))
        if axis.kind == "integer":
            return self._kinds.Integer(bounds=(int(axis.low), int(axis.high)))
        bounds = (math.log(axis.low), math.log(axis.high)) if axis.log else (axis.low, axis.high)
        return self._kinds.Real(bounds=bounds)

    def ask(self) -> Config:
        """The next member of the generation."""
        if len(self._told) == len(self._generation):
            self._generation, self._told = self._algorithm.ask(), []
        values = self._generation[len(self._told)].X

        def pick(axis: Axis) -> Any:
            if axis.kind == "choice":
                return axis.values[int(values[axis.name])]
            return math.exp(values[axis.name]) if axis.kind == "real" and axis.log else values[axis.name]

        return assemble(self._problem.space, pick)

    def tell(self, config: Config, metrics: Mapping[str, float]) -> None:
        """Its losses and violations; a whole generation at a time."""
        self._told.append((losses(self._problem, metrics), list(margins(self._problem, metrics).values())))
        if len(self._told) < len(self._generation):
            return
        static: Any = importlib.import_module("pymoo.problems.static").StaticProblem
        F, G = (np.array(column) for column in zip(*self._told))
        values = {"F": F, "G": G} if self._posed.n_ieq_constr else {"F": F}
        evaluator = importlib.import_module("pymoo.core.evaluator").Evaluator()
        evaluator.eval(static(self._posed, **values), self._generation)
        self._algorithm.tell(infills=self._generation)
