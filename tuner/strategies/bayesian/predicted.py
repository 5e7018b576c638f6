"""Predicted: what is expected of a proposal, for its provenance: the outcome to be measured, noise included."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from tuner.gp.acquisition import Goal, Improvement
    from tuner.gp.model import Surrogate
    from tuner.problem import Problem


def predicted(
    problem: Problem, acquisition: Improvement, surrogates: Sequence[Surrogate], goal: Goal, x: Tensor
) -> tuple[dict[str, float], dict[str, float]]:
    """Return mean and standard deviation by objective, in its own units and sign, of a trial at x (1, d).

    Nothing while feasibility alone is sought. A known objective has no deviation; of any other one it is the model's
    and the noise's together.
    """
    mean: dict[str, float] = {}
    sd: dict[str, float] = {}
    if not acquisition.objectives:
        return mean, sd
    means, sds = acquisition.predict(x)
    noise = noise_sd(surrogates, goal, x)
    loc, scale = surrogates[0].loc, surrogates[0].scale
    for j, objective in enumerate(problem.objectives):
        mean[objective.name] = objective.sign * float(loc[j] + scale[j] * means[j])
        sd[objective.name] = float(scale[j] * math.hypot(sds[j], noise[j]))
    return mean, sd


def noise_sd(surrogates: Sequence[Surrogate], goal: Goal, x: Tensor) -> Tensor:
    """Standard deviation of each objective's noise at x (1, d), in Z, shape (m,); 0 for known ones.

    Of a composite one to first order: the root of the sum, over what it reads, of the mean square of what one deviation
    up or down of that makes of it.
    """
    first = surrogates[0]
    noise = torch.stack([surrogate.noise_sd(x)[0] for surrogate in surrogates]).square().mean(dim=0).sqrt()
    for j, (function, parts) in goal.composites.items():
        centre = (first.predict(x)[0][0] - first.loc) / first.scale
        z = torch.stack([goal.known[part](x)[0] if part in goal.known else centre[part] for part in parts])
        steps = torch.diag(noise[list(parts)])
        moved = torch.stack([function(z + steps), function(z - steps)]) - function(z)  # (2, parts)
        noise[j] = torch.nan_to_num(moved, posinf=0.0, neginf=0.0).square().mean(dim=0).sum().sqrt()
    return noise[: goal.n_objectives]
