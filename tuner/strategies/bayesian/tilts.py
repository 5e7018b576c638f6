"""Tilts: what is added to the logarithm of an improvement, beyond the models' word.

prior     w ln(t p(x) + 1 - t): p the declared priors' density relative to the uniform one, t the trust in them, and
          w = min(1, b / n), n the number of suggestions by model so far and b a tenth of the trial budget. Where the
          best lies has the density p if the prior is right, and the uniform one if it is not: p weighs as much as it
          is likely to be right, and one that is not worth much moves little, however narrow it is. That it fades with
          n is piBO (Hvarfner et al. 2022, who have t = 1 and no bound on w).
trust     t = o / (1 + o), with ln o = ln o_0 + (m - 3) z_1 (z - z_1 / 2): z = artanh r, r the rank correlation of p and
          merit over m trials, z_1 what it is for a prior that is right. With Fisher's approximation (1915), z normal
          around its true value with variance 1 / (m - 3), these are the odds of a right prior against one that has
          nothing to do with merit. A correlation does not mind that the trials are where the prior wanted them.
seconds   - E ln t(x), t the seconds that a trial takes: improvement per second (Snoek et al. 2012).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor

from tuner.gp.outcomes import Function

if TYPE_CHECKING:
    from tuner.gp.covariance import Layout
    from tuner.gp.model import GaussianProcess, Surrogate
    from tuner.problem import Problem

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

_DEFAULT_BUDGET = 100

_LOG_ODDS = math.log(0.25)
"""Before any trial. A prior that is right is found out soon, and the density of a narrow one outweighs small odds."""

_RIGHT = 0.6
"""Rank correlation of a right prior's density and merit: 0.4 to 0.7 on Hartmann's function (docs/log.md)."""

_PERFECT, _MOST = 0.99, 20.0
"""Bounds of correlations and of log odds: nothing is certain."""


def prior_tilt(problem: Problem, layout: Layout, started: int, X: Tensor, rank: Ints) -> Function | None:
    """What the declared priors add; None when there are none.

    Args:
        problem: With priors on some parameters.
        layout: How x is laid out.
        started: Suggestions by model so far.
        X: Trials that have every objective, shape (n, d).
        rank: How good each of them is, the best 0, shape (n,).
    """
    terms = [term for p in problem.space.parameters if (term := _term(problem, layout, p.name)) is not None]
    if not terms:
        return None
    trials = problem.budget.trials if problem.budget is not None and problem.budget.trials else _DEFAULT_BUDGET

    def log_density(x: Tensor) -> Tensor:
        return torch.stack([term(x) for term in terms]).sum(dim=0)

    weight = min(trials / 10 / max(started, 1), 1.0)
    t = trust(log_density(X).cpu().numpy(), rank)
    return lambda x: weight * torch.logaddexp(log_density(x) + math.log(t), x.new_tensor(math.log1p(-t)))


def trust(log_density: Array, rank: Ints) -> float:
    """The probability that a prior is right, in (0, 1).

    Args:
        log_density: Its at the trials, shape (n,), or anything increasing in it.
        rank: How good each of them is, the best 0, shape (n,).
    """
    odds = _LOG_ODDS
    if len(rank) > 3 and np.ptp(log_density) > 0 and np.ptp(rank) > 0:
        r = float(np.corrcoef(rankdata(log_density), rankdata(-rank))[0, 1])
        z, right = math.atanh(min(max(r, -_PERFECT), _PERFECT)), math.atanh(_RIGHT)
        odds += (len(rank) - 3) * right * (z - right / 2)
    return 1.0 / (1.0 + math.exp(min(max(-odds, -_MOST), _MOST)))


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
