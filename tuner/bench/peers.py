"""Peers, each with its defaults, through its own interface; their packages are imported when a run begins.

Single goals are minimised by all of them here: a goal to maximise is negated. A peer that knows no constraints is told
the problem's floor plus the violation where a trial is infeasible; one that knows no conditions gets every axis.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tuner.bench.flat import Axis, all_axes, assemble, spread
from tuner.bench.methods import Session
from tuner.bench.problem import BenchProblem
from tuner.trial import Config


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


class OptunaSession(Session):
    """Optuna's samplers with define-by-run conditions and its own constraints."""

    def __init__(self, problem: BenchProblem, sampler: str, options: Mapping[str, Any]) -> None:
        warnings.simplefilter("ignore")
        self._optuna = importlib.import_module("optuna")
        self._optuna.logging.set_verbosity(self._optuna.logging.ERROR)
        self._problem = problem
        directions = ["minimize"] * len(problem.goals)
        made = getattr(self._optuna.samplers, sampler)(**options)
        self._study = self._optuna.create_study(directions=directions, sampler=made)
        self._trial: Any = None

    def _pick(self, axis: Axis) -> Any:
        if axis.kind == "real":
            return self._trial.suggest_float(axis.name, axis.low, axis.high, log=axis.log)
        if axis.kind == "integer":
            return self._trial.suggest_int(axis.name, int(axis.low), int(axis.high), log=axis.log)
        return self._trial.suggest_categorical(axis.name, axis.values)

    def ask(self) -> Config:
        """Optuna's next trial."""
        self._trial = self._study.ask()
        return assemble(self._problem.space, self._pick)

    def tell(self, config: Config, metrics: Mapping[str, float]) -> None:
        """Values, and every constraint of every trial."""
        for name, amount in margins(self._problem, metrics).items():
            self._trial.set_constraint(name, amount)
        self._study.tell(self._trial, losses(self._problem, metrics))

    def _distribution(self, axis: Axis) -> Any:
        kinds = self._optuna.distributions
        if axis.kind == "real":
            return kinds.FloatDistribution(axis.low, axis.high, log=axis.log)
        if axis.kind == "integer":
            return kinds.IntDistribution(int(axis.low), int(axis.high), log=axis.log)
        return kinds.CategoricalDistribution(axis.values)

    def add(self, config: Config, metrics: Mapping[str, float]) -> None:
        """A finished trial."""
        values = spread(self._problem.space, config)
        kinds = {a.name: self._distribution(a) for a in all_axes(self._problem.space) if a.name in values}
        trial = self._optuna.trial.create_trial(
            params=values,
            distributions=kinds,
            values=losses(self._problem, metrics),
            constraints=margins(self._problem, metrics),
        )
        self._study.add_trial(trial)


class NevergradSession(Session):
    """Nevergrad's automatic choice, NGOpt; constraints as violations, several goals by its own scalarisation."""

    def __init__(self, problem: BenchProblem, n_trials: int, seed: int) -> None:
        warnings.simplefilter("ignore")
        ng: Any = importlib.import_module("nevergrad")
        self._problem = problem
        space = {axis.name: self._parameter(ng, axis) for axis in all_axes(problem.space)}
        instrument = ng.p.Dict(**{name.replace(".", "__"): value for name, value in space.items()})
        instrument.random_state.seed(seed)
        self._optimizer = ng.optimizers.NGOpt(parametrization=instrument, budget=n_trials)
        self._asked: Any = None

    @staticmethod
    def _parameter(ng: Any, axis: Axis) -> Any:
        if axis.kind == "choice":
            return ng.p.Choice(list(axis.values))
        kind = ng.p.Log if axis.log else ng.p.Scalar
        made = kind(lower=axis.low, upper=axis.high)
        return made.set_integer_casting() if axis.kind == "integer" else made

    def ask(self) -> Config:
        """NGOpt's next candidate."""
        self._asked = self._optimizer.ask()
        values = self._asked.value
        return assemble(self._problem.space, lambda axis: values[axis.name.replace(".", "__")])

    def tell(self, config: Config, metrics: Mapping[str, float]) -> None:
        """Losses and violations."""
        broken = list(margins(self._problem, metrics).values())
        values = losses(self._problem, metrics)
        loss: Any = values if len(values) > 1 else values[0]
        if broken:
            self._optimizer.tell(self._asked, loss, broken)
        else:
            self._optimizer.tell(self._asked, loss)


class CmaSession(Session):
    """pycma over the unit cube, started in its middle with a third of its width; one goal."""

    def __init__(self, problem: BenchProblem, n_trials: int, seed: int) -> None:
        warnings.simplefilter("ignore")
        cma: Any = importlib.import_module("cma")
        self._problem = problem
        d = problem.space.encoding.dim
        options = {"bounds": [0, 1], "seed": seed + 1, "verbose": -9}
        self._es = cma.CMAEvolutionStrategy([0.5] * d, 1 / 3, options)
        self._batch: list[Any] = []
        self._told: list[float] = []

    def ask(self) -> Config:
        """The next member of the generation."""
        if not self._batch:
            self._batch = list(self._es.ask())
        return self._problem.space.encoding.decode(self._batch[len(self._told)])

    def tell(self, config: Config, metrics: Mapping[str, float]) -> None:
        """Its loss; a whole generation at a time."""
        self._told.append(penalised(self._problem, metrics))
        if len(self._told) == len(self._batch):
            self._es.tell(self._batch, self._told)
            self._batch, self._told = [], []


class AxSession(Session):
    """Ax's `Client` with its default generation strategy and outcome constraints; every axis is always there."""

    def __init__(self, problem: BenchProblem, seed: int) -> None:
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
        data = {f"loss{i}": loss for i, loss in enumerate(losses(self._problem, metrics))}
        data |= {name.replace("-", "_"): amount for name, amount in margins(self._problem, metrics).items()}
        self._client.complete_trial(trial_index=self._trial, raw_data=data)


@dataclass(frozen=True, slots=True)
class Peer:
    """An adapter: the package it needs, and how a run of n trials with a seed begins."""

    package: str
    make: Callable[[BenchProblem, int, int], Session]


def _optuna(sampler: str, **options: Any) -> Peer:
    return Peer("optuna", lambda problem, n, seed: OptunaSession(problem, sampler, {"seed": seed, **options}))


PEERS: Mapping[str, Peer] = {
    "optuna-tpe": _optuna("TPESampler"),
    "optuna-tpe-group": _optuna("TPESampler", multivariate=True, group=True),
    "optuna-gp": _optuna("GPSampler"),
    "optuna-cmaes": _optuna("CmaEsSampler"),
    "optuna-nsga2": _optuna("NSGAIISampler"),
    "nevergrad": Peer("nevergrad", NevergradSession),
    "cma": Peer("cma", CmaSession),
    "ax": Peer("ax-platform", lambda problem, n, seed: AxSession(problem, seed)),
}
