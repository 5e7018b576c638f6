"""pycma."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from typing import Any

from tuner.bench.methods import Session
from tuner.bench.peers.terms import penalised
from tuner.bench.problem import BenchProblem
from tuner.trial import Config


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
