"""What a candidate is worth: logarithmic noisy expected improvement, of one objective or of the hypervolume.

Outcomes come in the order objectives, then margins; all in the surrogate's units Z (see `tuner.gp.model`). Objectives
are maximised; a margin is met when it is >= its threshold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from botorch.acquisition.acquisition import AcquisitionFunction
from botorch.acquisition.logei import qLogNoisyExpectedImprovement, qLogProbabilityOfFeasibility
from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement
from botorch.acquisition.multi_objective.objective import IdentityMCMultiOutputObjective
from botorch.acquisition.multi_objective.parego import qLogNParEGO
from botorch.acquisition.objective import GenericMCObjective
from botorch.sampling.normal import SobolQMCNormalSampler
from torch import Tensor

from tuner.gp.model import Surrogate

MAX_VOLUME_OBJECTIVES = 3
"""Beyond, box decompositions are too slow, and Chebyshev scalarisations take over."""

_ETA = 1e-5
"""Temperature of the smoothed constraints. Their tails are polynomial: at BoTorch's 1e-3 a hopelessly infeasible point
still weighs 1e-6, which is more than the last improvements near an optimum are worth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What is wanted of the outcomes.

    Attributes:
        n_objectives: How many of the outcomes, from the first, are maximised; the others are margins.
        thresholds: Where each margin is met, in Z, shape (k - n_objectives,).
        reference: The hypervolume corner, in Z, shape (n_objectives,); unused with one objective.
        any_feasible: Whether some trial met every margin; if none did, feasibility alone is sought.
    """

    n_objectives: int
    thresholds: Tensor
    reference: Tensor
    any_feasible: bool = True

    def constraints(self) -> list[Callable[[Tensor], Tensor]] | None:
        """As BoTorch has them: negative when met."""
        return [self._constraint(j) for j in range(len(self.thresholds))] or None

    def _constraint(self, j: int) -> Callable[[Tensor], Tensor]:
        column, threshold = self.n_objectives + j, float(self.thresholds[j])
        return lambda Z: threshold - Z[..., column]


def make_acquisition(
    surrogate: Surrogate, goal: Goal, X_baseline: Tensor, *, X_pending: Tensor | None, seed: int, n_samples: int = 128
) -> tuple[AcquisitionFunction, str]:
    """Return the acquisition function and its name.

    qLogNEI (Ament et al. 2023) for one objective; qLogNEHVI (Daulton et al. 2021; Ament et al. 2023) for two or three;
    qLogNParEGO beyond; the log probability of feasibility while no trial is feasible.

    Args:
        surrogate: Models of objectives and margins.
        goal: What is wanted of them.
        X_baseline: Evaluated inputs, shape (n, d).
        X_pending: Inputs under evaluation, shape (p, d), p >= 1, or None.
        seed: For the base samples.
        n_samples: Quasi-Monte-Carlo samples of the posterior.
    """
    sampler = SobolQMCNormalSampler(torch.Size([n_samples]), seed=seed)
    constraints = goal.constraints()
    model = surrogate.model
    if constraints and not goal.any_feasible:
        return qLogProbabilityOfFeasibility(model, constraints, sampler=sampler, X_pending=X_pending), "qLogPF"
    objectives = list(range(goal.n_objectives))
    if goal.n_objectives == 1:
        acquisition = qLogNoisyExpectedImprovement(
            model,
            X_baseline,
            sampler=sampler,
            objective=GenericMCObjective(_first),
            constraints=constraints,
            X_pending=X_pending,
            eta=_ETA,
            prune_baseline=True,
        )
        return acquisition, "qLogNEI"
    identity = IdentityMCMultiOutputObjective(outcomes=objectives, num_outcomes=model.num_outputs)
    if goal.n_objectives <= MAX_VOLUME_OBJECTIVES:
        volume = qLogNoisyExpectedHypervolumeImprovement(
            model,
            goal.reference,
            X_baseline,
            sampler=sampler,
            objective=identity,
            constraints=constraints,
            X_pending=X_pending,
            eta=_ETA,
            prune_baseline=True,
        )
        return volume, "qLogNEHVI"
    scalarised = qLogNParEGO(
        model,
        X_baseline,
        sampler=sampler,
        objective=identity,
        constraints=constraints,
        X_pending=X_pending,
        eta=_ETA,
        prune_baseline=True,
    )
    return scalarised, "qLogNParEGO"


def _first(Z: Tensor, X: Tensor | None = None) -> Tensor:
    return Z[..., 0]


def evaluate(acquisition: AcquisitionFunction, X: Tensor, *, batch: int = 512) -> Tensor:
    """Return the acquisition value of each row alone, shape (n,); -inf where it is not a number."""
    with torch.no_grad():
        values = torch.cat([acquisition(rows.unsqueeze(-2)) for rows in torch.split(X, batch)])
    return torch.nan_to_num(values, nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
