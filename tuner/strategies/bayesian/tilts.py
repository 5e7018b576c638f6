"""Tilts: what is added to the logarithm of an improvement, beyond the models' word.

prior     (b / n) ln p(x), p the declared priors' density and n the number of suggestions by model so far: piBO
          (Hvarfner et al. 2022), with b a tenth of the trial budget. It fades, so a wrong prior is forgotten; sooner
          where the trials contradict it: the weight is multiplied by B / (1 + B), B the mean of p, relative to the
          uniform density, at the best trials. That is how likely the prior is against none, of equal odds before, if
          these trials are draws of where the best lies.
seconds   - E ln t(x), t the seconds that a trial takes: improvement per second (Snoek et al. 2012).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from tuner.gp.outcomes import Function

if TYPE_CHECKING:
    from tuner.gp.covariance import Layout
    from tuner.gp.model import GaussianProcess, Surrogate
    from tuner.problem import Problem

_LEAST_LOG_DENSITY = -30.0
_DEFAULT_BUDGET = 100


def prior_tilt(problem: Problem, layout: Layout, started: int, best: Tensor) -> Function | None:
    """The declared priors' log density times its weight; None when there is no prior.

    Args:
        problem: With priors on some parameters, relative to the uniform density on the cube.
        layout: How x is laid out.
        started: Suggestions by model so far.
        best: The best trials, shape (b, d).
    """
    terms = [term for p in problem.space.parameters if (term := _term(problem, layout, p.name)) is not None]
    if not terms:
        return None
    trials = problem.budget.trials if problem.budget is not None and problem.budget.trials else _DEFAULT_BUDGET

    def log_density(x: Tensor) -> Tensor:
        return torch.stack([term(x) for term in terms]).sum(dim=0).clamp_min(_LEAST_LOG_DENSITY)

    odds = torch.logsumexp(log_density(best), dim=0) - math.log(len(best))
    weight = float(torch.sigmoid(odds)) * (trials / 10) / max(started, 1)
    return lambda x: weight * log_density(x)


def _term(problem: Problem, layout: Layout, name: str) -> Function | None:
    parameter, place = problem.space[name], problem.space.encoding.slices[name]
    if parameter.prior is None or place.start == place.stop:
        return None
    activity = layout.activity(name)
    weights = parameter.prior_weights()

    def density(x: Tensor) -> Tensor:
        u = x[:, place]
        if weights is not None:
            logs = torch.log(x.new_tensor(weights) * len(weights))
            return logs[(u[:, 0] * len(weights)).long().clamp(0, len(weights) - 1)]
        assert parameter.prior is not None
        at = x.new_tensor(parameter.encode(parameter.prior.at))
        inside = torch.special.ndtr((1.0 - at) / parameter.prior.sd) - torch.special.ndtr(-at / parameter.prior.sd)
        constant = torch.log(parameter.prior.sd * (2 * torch.pi) ** 0.5 * inside)
        return (-0.5 * ((u - at) / parameter.prior.sd).square() - constant).sum(dim=-1)

    return density if activity is None else lambda x: density(x) * x[:, activity]


def seconds_tilt(surrogate: Surrogate, column: int | None) -> Function | None:
    """Minus the expected logarithm of the seconds; None without such a column."""
    if column is None or column not in surrogate.models:
        return None
    model: GaussianProcess = surrogate.models[column]
    scale, loc, transform = surrogate.scale[column], surrogate.loc[column], surrogate.transforms.get(column)

    def tilt(x: Tensor) -> Tensor:
        u = model.prior(x) + model.kernel.forward(x, model.X) @ model.weights
        return -(loc + scale * (u if transform is None else transform.inverse(u)))

    return tilt


def together(*tilts: Function | None) -> Function | None:
    """The sum of those that there are."""
    given = [tilt for tilt in tilts if tilt is not None]
    return (lambda x: torch.stack([tilt(x) for tilt in given]).sum(dim=0)) if given else None
