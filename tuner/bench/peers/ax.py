"""Ax."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from typing import Any

from tuner.bench.flat import Axis, all_axes, assemble, filled
from tuner.bench.methods import Session
from tuner.bench.peers.terms import losses, margins
from tuner.bench.problem import BenchProblem
from tuner.trial import Config


class AxSession(Session):
    """Ax's `Client` with its default generation strategy and outcome constraints; every axis is always there."""

    def __init__(self, problem: BenchProblem, n_trials: int, seed: int) -> None:
        warnings.simplefilter("ignore")
        api: Any = importlib.import_module("ax.api.client")
        configs: Any = importlib.import_module("ax.api.configs")
        self._problem = problem
        self._client = api.Client(random_seed=seed)
        parameters = []
        for axis in all_axes(problem.space):
            name = axis.name.replace(".", "__")
            if axis.kind == "choice":
                labels = [str(value) for value in axis.values]
                made = configs.ChoiceParameterConfig(name=name, values=labels, parameter_type="str", is_ordered=False)
            else:
                whole = axis.kind == "integer"
                bounds = (int(axis.low), int(axis.high)) if whole else (axis.low, axis.high)
                kind, scale = ("int" if whole else "float"), ("log" if axis.log else "linear")
                made = configs.RangeParameterConfig(name=name, bounds=bounds, parameter_type=kind, scaling=scale)
            parameters.append(made)
        self._client.configure_experiment(parameters=parameters)
        goal = ", ".join(f"-loss{i}" for i in range(len(problem.goals)))
        names = margins(problem, {m.name: 0.0 for m in problem.metrics})
        rules = [f"{name.replace('-', '_')} <= 0" for name in names]
        self._client.configure_optimization(objective=goal, outcome_constraints=rules)
        self._trial = 0

    def ask(self) -> Config:
        """The client's next trial."""
        ((self._trial, values),) = self._client.get_next_trials(max_trials=1).items()

        def pick(axis: Axis) -> Any:
            value = values[axis.name.replace(".", "__")]
            return {str(v): v for v in axis.values}[value] if axis.kind == "choice" else value

        return assemble(self._problem.space, pick)

    def tell(self, config: Config, metrics: Mapping[str, float]) -> None:
        """Losses and violations."""
        self._client.complete_trial(trial_index=self._trial, raw_data=self._data(metrics))

    def add(self, config: Config, metrics: Mapping[str, float]) -> None:
        """A trial that it did not generate; what is inactive stands at its lower end."""
        values = filled(self._problem.space, config)
        labels = {a.name: str(values[a.name]) for a in all_axes(self._problem.space) if a.kind == "choice"}
        named = {name.replace(".", "__"): value for name, value in (values | labels).items()}
        trial = self._client.attach_trial(parameters=named)
        self._client.complete_trial(trial_index=trial, raw_data=self._data(metrics))

    def _data(self, metrics: Mapping[str, float]) -> dict[str, float]:
        data = {f"loss{i}": loss for i, loss in enumerate(losses(self._problem, metrics))}
        return data | {name.replace("-", "_"): amount for name, amount in margins(self._problem, metrics).items()}
