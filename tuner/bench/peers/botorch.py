"""Plain BoTorch, as its documentation puts the parts together.

Inputs in the unit cube, logarithmic where an axis is; `SingleTaskGP`, or `MixedSingleTaskGP` with unordered choices, a
Gaussian process an outcome with its defaults; `qLogNoisyExpectedImprovement` for one goal and
`qLogNoisyExpectedHypervolumeImprovement` for several, both with outcome constraints; 5 Sobol points first. Conditions
are unknown to it: every axis is always there.
"""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from tuner.bench.flat import Axis, all_axes, assemble, filled
from tuner.bench.methods import Session
from tuner.bench.peers.terms import losses, margins
from tuner.bench.problem import BenchProblem
from tuner.trial import Config

_INITIAL = 5
_RESTARTS = 10
_RAW_SAMPLES = 512


def position(axis: Axis, value: Any) -> float:
    """A value as a model sees it: in [0, 1], a choice as its index."""
    if axis.kind == "choice":
        return float(axis.values.index(value))
    low, high, x = axis.low, axis.high, float(value)
    if axis.log:
        low, high, x = math.log(low), math.log(high), math.log(x)
    return (x - low) / (high - low) if high > low else 0.0


def value_at(axis: Axis, u: float) -> Any:
    """The inverse of `position`."""
    if axis.kind == "choice":
        return axis.values[min(round(u), len(axis.values) - 1)]
    low, high = (math.log(axis.low), math.log(axis.high)) if axis.log else (axis.low, axis.high)
    x = low + min(max(u, 0.0), 1.0) * (high - low)
    x = min(max(math.exp(x) if axis.log else x, axis.low), axis.high)
    return round(x) if axis.kind == "integer" else x


class BoTorchSession(Session):
    """A Gaussian process and its acquisition, fitted anew for every suggestion."""

    def __init__(self, problem: BenchProblem, n_trials: int, seed: int) -> None:
        warnings.simplefilter("ignore")
        self._torch: Any = importlib.import_module("torch")
        self._torch.manual_seed(seed)
        self._problem = problem
        self._axes = all_axes(problem.space)
        self._choices = {i: len(a.values) for i, a in enumerate(self._axes) if a.kind == "choice"}
        self._sobol = self._torch.quasirandom.SobolEngine(len(self._axes), scramble=True, seed=seed)
        self._X: list[list[float]] = []
        self._Y: list[list[float]] = []
        self._asked: list[float] = []

    def ask(self) -> Config:
        """A Sobol point, then what maximises the acquisition."""
        if len(self._X) < _INITIAL:
            u = self._sobol.draw(1)[0].tolist()
            point = [min(int(x * self._choices[i]), self._choices[i] - 1) if i in self._choices else x
                     for i, x in enumerate(u)]  # fmt: skip
        else:
            point = self._best()
        values = {axis.name: value_at(axis, u) for axis, u in zip(self._axes, point)}
        self._asked = [position(axis, values[axis.name]) for axis in self._axes]
        return assemble(self._problem.space, lambda axis: values[axis.name])

    def tell(self, config: Config, metrics: Mapping[str, float]) -> None:
        """Goals, maximised, then violations."""
        self._X.append(self._asked)
        goals = [-loss for loss in losses(self._problem, metrics)]
        self._Y.append([*goals, *margins(self._problem, metrics).values()])

    def add(self, config: Config, metrics: Mapping[str, float]) -> None:
        """A trial that it did not suggest; what is inactive stands at its lower end."""
        values = filled(self._problem.space, config)
        self._asked = [position(axis, values[axis.name]) for axis in self._axes]
        self.tell(config, metrics)

    def _best(self) -> list[float]:
        X = self._torch.tensor(self._X, dtype=self._torch.float64)
        acquisition = self._acquisition(self._fitted(X), X)
        bounds = self._torch.zeros(2, len(self._axes), dtype=self._torch.float64)
        bounds[1] = 1.0
        for i, count in self._choices.items():
            bounds[1, i] = count - 1
        steps = {
            i: np.unique([position(a, v) for v in range(int(a.low), int(a.high) + 1)]).tolist()
            for i, a in enumerate(self._axes)
            if a.kind == "integer"
        }
        sizes = {"q": 1, "num_restarts": _RESTARTS, "raw_samples": _RAW_SAMPLES}
        if steps or self._choices:
            labels = {i: [float(v) for v in range(count)] for i, count in self._choices.items()}
            optimise: Any = importlib.import_module("botorch.optim.optimize_mixed").optimize_acqf_mixed_alternating
            found, _ = optimise(acquisition, bounds, discrete_dims=steps, cat_dims=labels, **sizes)
        else:
            found, _ = importlib.import_module("botorch.optim").optimize_acqf(acquisition, bounds, **sizes)
        point: list[float] = found[0].tolist()
        return point

    def _fitted(self, X: Any) -> Any:
        models: Any = importlib.import_module("botorch.models")
        Y = self._torch.tensor(self._Y, dtype=self._torch.float64)
        each = []
        for j in range(Y.shape[1]):
            if self._choices:
                each.append(models.MixedSingleTaskGP(X, Y[:, j : j + 1], cat_dims=list(self._choices)))
            else:
                each.append(models.SingleTaskGP(X, Y[:, j : j + 1]))
        model = models.ModelListGP(*each)
        likelihood = importlib.import_module("gpytorch.mlls").SumMarginalLogLikelihood(model.likelihood, model)
        importlib.import_module("botorch.fit").fit_gpytorch_mll(likelihood)
        return model

    def _acquisition(self, model: Any, X: Any) -> Any:
        problem = self._problem
        m = len(problem.goals)
        rules = [lambda Z, j=j: Z[..., j] for j in range(m, len(self._Y[0]))] or None
        if m == 1:
            objective: Any = importlib.import_module("botorch.acquisition.objective").GenericMCObjective
            improvement: Any = importlib.import_module("botorch.acquisition.logei").qLogNoisyExpectedImprovement
            first = objective(lambda Z, X=None: Z[..., 0])
            return improvement(model, X, objective=first, constraints=rules, prune_baseline=True)
        many = "botorch.acquisition.multi_objective"
        part = importlib.import_module(f"{many}.objective").IdentityMCMultiOutputObjective(outcomes=list(range(m)))
        volume: Any = importlib.import_module(f"{many}.logei").qLogNoisyExpectedHypervolumeImprovement
        corner = [goal.sign * (goal.reference or 0.0) for goal in problem.goals]
        return volume(model, corner, X, objective=part, constraints=rules, prune_baseline=True)
