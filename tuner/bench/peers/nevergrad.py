"""Nevergrad."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from typing import Any

from tuner.bench.flat import Axis, all_axes, assemble
from tuner.bench.methods import Session
from tuner.bench.peers.terms import losses, margins
from tuner.bench.problem import BenchProblem
from tuner.trial import Config


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
