"""Vizier's default algorithm, GP-UCB-PE, by its designer in this process.

The designer of 0.1.24 takes flat spaces, so every axis is always there, and exactly one metric: constraints go in as a
penalised loss, and problems with several goals are refused. Its own default of one seed trial, the centre, stands,
and JAX is put to double precision, as Vizier's service does: in single precision its surrogate ends in NaN now and
then, and a suggestion without values.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from typing import Any

from tuner.bench.flat import Axis, all_axes, assemble, filled
from tuner.bench.methods import Session
from tuner.bench.peers.terms import penalised
from tuner.bench.problem import BenchProblem
from tuner.trial import Config


class VizierSession(Session):
    """GP-UCB-PE (Song et al. 2024, the algorithm that Vizier calls DEFAULT)."""

    def __init__(self, problem: BenchProblem, n_trials: int, seed: int) -> None:
        warnings.simplefilter("ignore")
        self._vz: Any = importlib.import_module("vizier.pyvizier")
        self._vza: Any = importlib.import_module("vizier.algorithms")
        jax: Any = importlib.import_module("jax")
        jax.config.update("jax_enable_x64", True)
        # where its service imports it from: the public package of designers wants every extra of every designer
        designers: Any = importlib.import_module("vizier._src.algorithms.designers.gp_ucb_pe")
        self._problem = problem
        statement = self._vz.ProblemStatement()
        for axis in all_axes(problem.space):
            self._declare(statement.search_space.root, axis)
        goal = self._vz.ObjectiveMetricGoal.MINIMIZE
        statement.metric_information.append(self._vz.MetricInformation(name="loss", goal=goal))
        self._designer = designers.VizierGPUCBPEBandit(statement, rng=jax.random.PRNGKey(seed))
        self._trial: Any = None
        self._number = 0

    def _declare(self, root: Any, axis: Axis) -> None:
        scale = self._vz.ScaleType.LOG if axis.log else self._vz.ScaleType.LINEAR
        if axis.kind == "choice":
            root.add_categorical_param(axis.name, [str(i) for i in range(len(axis.values))])
        elif axis.kind == "integer":
            root.add_int_param(axis.name, int(axis.low), int(axis.high), scale_type=scale)
        else:
            root.add_float_param(axis.name, axis.low, axis.high, scale_type=scale)

    def ask(self) -> Config:
        """The designer's next suggestion."""
        (suggestion,) = self._designer.suggest(1)
        self._number += 1
        self._trial = suggestion.to_trial(self._number)
        values = self._trial.parameters.as_dict()

        def pick(axis: Axis) -> Any:
            value = values[axis.name]
            return axis.values[int(value)] if axis.kind == "choice" else value

        return assemble(self._problem.space, pick)

    def tell(self, config: Config, metrics: Mapping[str, float]) -> None:
        """Its loss."""
        self._complete(self._trial, metrics)

    def add(self, config: Config, metrics: Mapping[str, float]) -> None:
        """A trial that it did not suggest; what is inactive stands at its lower end."""
        values = filled(self._problem.space, config)
        labels = {a.name: str(a.values.index(values[a.name])) for a in all_axes(self._problem.space) if a.values}
        self._number += 1
        self._complete(self._vz.Trial(id=self._number, parameters=values | labels), metrics)

    def _complete(self, trial: Any, metrics: Mapping[str, float]) -> None:
        trial.complete(self._vz.Measurement(metrics={"loss": penalised(self._problem, metrics)}))
        self._designer.update(self._vza.CompletedTrials([trial]), self._vza.ActiveTrials())
