"""Optuna's samplers."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from typing import Any

from tuner.bench.flat import Axis, all_axes, assemble, spread
from tuner.bench.methods import Session
from tuner.bench.peers.terms import losses, margins, penalised
from tuner.bench.problem import BenchProblem
from tuner.errors import UsageError
from tuner.trial import Config


class OptunaSession(Session):
    """Optuna's samplers with define-by-run conditions and its own constraints."""

    def __init__(
        self, problem: BenchProblem, n_trials: int, seed: int, *, sampler: str, options: Mapping[str, Any]
    ) -> None:
        warnings.simplefilter("ignore")
        self._optuna = importlib.import_module("optuna")
        self._optuna.logging.set_verbosity(self._optuna.logging.ERROR)
        self._problem = problem
        directions = ["minimize"] * len(problem.goals)
        made = getattr(self._optuna.samplers, sampler)(seed=seed, **options)
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


class HyperbandSession(OptunaSession):
    """Optuna's TPE with its Hyperband pruner, for one goal and a fidelity.

    A trial reports at its rungs, which lie a factor of 3 apart as the pruner's default has them, and goes on to the
    next one unless the pruner says stop: what was asked last is asked again, at more.
    """

    def __init__(self, problem: BenchProblem, n_trials: int, seed: int) -> None:
        super().__init__(problem, n_trials, seed, sampler="TPESampler", options={})
        if problem.fidelity is None:
            raise UsageError(f"Hyperband spends a fidelity, but {problem.name} has none; use optuna-tpe")
        low, high = int(problem.fidelity.min), int(problem.fidelity.max)
        pruner = self._optuna.pruners.HyperbandPruner(min_resource=low, max_resource=high, reduction_factor=3)
        self._study = self._optuna.create_study(
            sampler=self._study.sampler,
            pruner=pruner,
            study_name=f"{problem.name}-{seed}",  # brackets hash the name
        )
        self._rungs = [low]
        while self._rungs[-1] < high:
            self._rungs.append(min(3 * self._rungs[-1], high))
        self._config: Config | None = None
        self._rung = 0

    @property
    def fidelity(self) -> float:
        """The rung of what was asked last."""
        return float(self._rungs[self._rung])

    def ask(self) -> Config:
        """A new trial at the lowest rung, or the last one at its next."""
        if self._config is None:
            self._rung, self._config = 0, super().ask()
        else:
            self._rung += 1
        return self._config

    def tell(self, config: Config, metrics: Mapping[str, float]) -> None:
        """Report; the trial ends at the last rung or when it is pruned."""
        loss = penalised(self._problem, metrics)
        self._trial.report(loss, self._rungs[self._rung])
        if self._rung == len(self._rungs) - 1:
            self._study.tell(self._trial, loss)
        elif self._trial.should_prune():
            self._study.tell(self._trial, state=self._optuna.trial.TrialState.PRUNED)
        else:
            return
        self._config = None
