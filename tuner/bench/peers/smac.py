"""SMAC 2, by ask and tell, without its folder of results.

Conditions go to ConfigSpace wherever a condition is a product of sets of its parents' values; otherwise the axis is
always there. SMAC has no constraints (automl/SMAC3 issue 1260): it is told a penalised loss. Several goals go through
its ParEGO, its documented choice for that. Only where a problem is noisy is it told so, and then it repeats trials.
"""

from __future__ import annotations

import importlib
import itertools
import math
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from tuner.bench.flat import Axis, all_axes, assemble, axes, spread
from tuner.bench.methods import Session
from tuner.bench.peers.terms import penalised_goals
from tuner.bench.problem import BenchProblem
from tuner.errors import UsageError
from tuner.space import SearchSpace
from tuner.trial import Config

_COMBINATIONS = 1000


def allowed(space: SearchSpace, name: str) -> dict[str, list[Any]] | None:
    """Parent -> the values that activate a parameter, when that is all its condition says; None otherwise."""
    condition = space.conditions[name]
    choices: dict[str, Sequence[Any]] = {}
    for parent in sorted(condition.names):
        own = axes(space[parent])
        if len(own) != 1 or own[0].kind == "real" or own[0].column is not None:
            return None
        plain = own[0].values or range(int(own[0].low), int(own[0].high) + 1)
        choices[parent] = getattr(space[parent], "values", plain)
    rows = list(itertools.islice(itertools.product(*choices.values()), _COMBINATIONS + 1))
    holding = [row for row in rows if condition.holds(dict(zip(choices, row)))]
    sets = {p: [v for v in own if any(row[i] == v for row in holding)] for i, (p, own) in enumerate(choices.items())}
    product = math.prod(len(values) for values in sets.values())
    return sets if len(rows) <= _COMBINATIONS and 0 < product == len(holding) else None


class SmacSession(Session):
    """A facade of SMAC with its defaults.

    `HyperparameterOptimizationFacade` is its random forest, `BlackBoxFacade` its Gaussian process, and
    `MultiFidelityFacade` the random forest under Hyperband, for problems with a fidelity.
    """

    def __init__(self, problem: BenchProblem, n_trials: int, seed: int, *, facade: str) -> None:
        warnings.simplefilter("ignore")
        self._cs: Any = importlib.import_module("ConfigSpace")
        self._values: Any = importlib.import_module("smac.runhistory.dataclasses")
        smac: Any = importlib.import_module("smac")
        self._problem = problem
        self._axes = {axis.name: axis for axis in all_axes(problem.space)}
        self._space = self._configuration_space(seed)
        self._folder = tempfile.TemporaryDirectory(prefix="smac-")
        several = len(problem.goals) > 1
        given: dict[str, Any] = {"n_trials": n_trials, **self._budgets(facade, n_trials)}
        scenario = smac.Scenario(
            self._space,
            seed=seed,
            deterministic=not problem.noise,
            objectives=[f"loss{i}" for i in range(len(problem.goals))] if several else "loss",
            output_directory=self._folder.name,
            **given,
        )
        options: dict[str, Any] = {"overwrite": True, "logging_level": False}
        if several:
            options["multi_objective_algorithm"] = importlib.import_module("smac.multi_objective.parego").ParEGO(
                scenario
            )
        target = _at_a_budget if "min_budget" in given else _not_called
        self._facade = getattr(smac, facade)(scenario, target, **options)
        self._asked: Any = None

    def _budgets(self, facade: str, n_trials: int) -> dict[str, Any]:
        if facade != "MultiFidelityFacade":
            return {}
        fidelity = self._problem.fidelity
        if fidelity is None:
            raise UsageError(f"smac-mf spends a fidelity, but {self._problem.name} has none; use smac-rf")
        hyperband: Any = importlib.import_module("smac.intensifier.hyperband_utils")
        trials = hyperband.get_n_trials_for_hyperband_multifidelity(
            n_trials * fidelity.max, fidelity.min, fidelity.max, print_summary=False
        )
        return {"n_trials": trials, "min_budget": fidelity.min, "max_budget": fidelity.max}

    def _configuration_space(self, seed: int) -> Any:
        cs, problem_space = self._cs, self._problem.space
        space = cs.ConfigurationSpace(seed=seed)
        made = {axis.name: self._parameter(axis) for axis in self._axes.values()}
        space.add(list(made.values()))
        for axis in self._axes.values():
            if axis.parameter not in problem_space.conditions:
                continue
            sets = allowed(problem_space, axis.parameter)
            parts = [
                cs.InCondition(made[axis.name], made[parent], [self._coded(self._axes[parent], v) for v in own])
                for parent, own in (sets or {}).items()
            ]
            if parts:
                space.add([cs.AndConjunction(*parts) if len(parts) > 1 else parts[0]])
        return space

    def _parameter(self, axis: Axis) -> Any:
        if axis.kind == "choice":
            return self._cs.CategoricalHyperparameter(axis.name, list(range(len(axis.values))))
        if axis.kind == "integer":
            low, high = int(axis.low), int(axis.high)
            if low == high:
                return self._cs.Constant(axis.name, low)
            return self._cs.UniformIntegerHyperparameter(axis.name, low, high, log=axis.log)
        return self._cs.UniformFloatHyperparameter(axis.name, axis.low, axis.high, log=axis.log)

    def _coded(self, axis: Axis, value: Any) -> Any:
        """A parameter's value as ConfigSpace has it."""
        values = getattr(self._problem.space[axis.parameter], "values", axis.values)
        return list(values).index(value) if values else int(value)

    @property
    def fidelity(self) -> float | None:
        """The budget of what was asked last."""
        return None if self._asked is None or self._asked.budget is None else float(self._asked.budget)

    def ask(self) -> Config | None:
        """SMAC's next trial; None when it stops."""
        try:
            self._asked = self._facade.ask()
        except StopIteration:
            return None
        values = dict(self._asked.config)

        def pick(axis: Axis) -> Any:
            # an axis that SMAC holds inactive though our condition does not: never, unless the condition was left out
            value = values[axis.name]
            return axis.values[int(value)] if axis.kind == "choice" else value

        return assemble(self._problem.space, pick)

    def tell(self, config: Config, metrics: Mapping[str, float]) -> None:
        """The penalised losses."""
        self._facade.tell(self._asked, self._value(metrics), save=False)

    def add(self, config: Config, metrics: Mapping[str, float]) -> None:
        """A trial that it did not ask for."""
        values = {
            name: self._axes[name].values.index(value) if self._axes[name].kind == "choice" else value
            for name, value in spread(self._problem.space, config).items()
        }
        info = self._values.TrialInfo(config=self._cs.Configuration(self._space, values=values), seed=0)
        self._facade.tell(info, self._value(metrics), save=False)

    def _value(self, metrics: Mapping[str, float]) -> Any:
        told = penalised_goals(self._problem, metrics)
        return self._values.TrialValue(cost=told if len(told) > 1 else told[0])


def _not_called(config: Any, seed: int = 0) -> float:
    """What a facade wants and ask and tell never call; its arguments say what SMAC may decide."""
    raise AssertionError("SMAC is asked and told")


def _at_a_budget(config: Any, seed: int = 0, budget: float = 0.0) -> float:
    """The same, with a fidelity."""
    return _not_called(config, seed)
