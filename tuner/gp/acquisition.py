"""What a candidate is worth: logarithmic noisy expected improvement, of one objective or of the hypervolume.

Outcomes come in the order objectives, then margins; all in the surrogate's units Z (see `tuner.gp.model`). Objectives
are maximised; a margin is met when it is >= its threshold.

Noisy expected improvement (Letham et al. 2019): the expectation over the outcomes' noise-free values at the trials is
a mean over samples of them; given a sample, what a candidate improves has a closed form: expected improvement, or
expected hypervolume improvement over the boxes that the sample's front leaves free (Yang et al. 2019), times the
probability of meeting every margin. All of it in logarithms (Ament et al. 2023), so that gradients never vanish.
A pending point counts as a trial whose values are sampled. Candidates are valued one at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
from botorch.acquisition.acquisition import AcquisitionFunction
from botorch.acquisition.analytic import _log_ei_helper
from botorch.models.deterministic import GenericDeterministicModel
from botorch.sampling.qmc import NormalQMCEngine
from botorch.utils.multi_objective.box_decompositions.box_decomposition_list import BoxDecompositionList
from botorch.utils.multi_objective.box_decompositions.non_dominated import FastNondominatedPartitioning
from torch import Tensor

from tuner.gp.model import Surrogate
from tuner.gp.outcomes import Composite, Function, Known, Outcome, Process

MAX_VOLUME_OBJECTIVES = 3
"""Beyond, box decompositions are too slow, and Chebyshev scalarisations take over."""

_FAR = 1e6
"""Stands for infinity in box bounds, in Z."""

_AUGMENTATION = 0.05
"""Weight of the sum in Chebyshev scalarisations (Knowles 2006)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What is wanted of the outcomes.

    Attributes:
        n_objectives: How many of the outcomes, from the first, are maximised; the others are margins.
        thresholds: Where each margin is met, in Z, shape (k - n_objectives,).
        reference: The hypervolume corner, in Z, shape (n_objectives,); unused with one objective.
        any_feasible: Whether some trial met every margin; if none did, feasibility alone is sought.
        known: Outcome -> its function of the input, in Z.
        composites: Outcome -> its function of others, in Z, (..., k) -> (...,), and which those are: outcomes that come
            after the margins and are there for this alone. The surrogate models the rest.
    """

    n_objectives: int
    thresholds: Tensor
    reference: Tensor
    any_feasible: bool = True
    known: Mapping[int, Function] = field(default_factory=dict)
    composites: Mapping[int, tuple[Function, tuple[int, ...]]] = field(default_factory=dict)


class Improvement(AcquisitionFunction):
    """Log expected improvement of single candidates, shape (b, 1, d) -> (b,).

    Attributes:
        name: What it is called in provenances.
        objectives: What is maximised, before any scalarisation.
    """

    def __init__(
        self, surrogate: Surrogate, outcomes: Sequence[Outcome], goal: Goal, standing: Tensor, known: Sequence[Known]
    ) -> None:
        """Args as in `make_acquisition`; `standing` (N,): rows of X that were evaluated or are pending."""
        super().__init__(next(iter(surrogate.models.values()), GenericDeterministicModel(torch.sum)))
        self._objectives, self._margins = list(outcomes[: goal.n_objectives]), list(outcomes[goal.n_objectives :])
        self._thresholds = goal.thresholds
        self._known = known
        self.objectives = self._objectives
        self.name = "qLogPF"
        if self._margins and not goal.any_feasible:
            self._objectives = []
            return
        S = max(len(outcome.values) for outcome in outcomes)
        Z = torch.stack([outcome.values.expand(S, -1) for outcome in self._objectives], dim=-1)  # (S, N, m)
        met = standing.expand(S, -1).clone()
        for margin, threshold in zip(self._margins, self._thresholds.tolist(), strict=True):
            met &= margin.values >= threshold
        if len(self._objectives) == 1:
            z = Z.squeeze(-1)
            lowest = z[:, standing].min(dim=-1).values if standing.any() else z.new_zeros(S)
            best = torch.where(met, z, -torch.inf).max(dim=-1).values
            self._best = torch.where(torch.isfinite(best), best, lowest)
            self.name = "qLogNEI"
        else:
            self._cells = _free_boxes(torch.where(met.unsqueeze(-1), Z, goal.reference - 1.0), goal.reference)
            self.name = "qLogNEHVI"

    def forward(self, X: Tensor) -> Tensor:
        """Shape (..., 1, d) -> (...,)."""
        x = X.reshape(-1, X.shape[-1])
        value = x.new_zeros(len(x), 1)
        for margin, threshold in zip(self._margins, self._thresholds.tolist(), strict=True):
            mean, sd = margin.at(x)
            value = value + torch.special.log_ndtr((mean - threshold) / sd)
        if len(self._objectives) == 1:
            mean, sd = self._objectives[0].at(x)
            value = value + sd.log() + _log_ei_helper((mean - self._best) / sd)
        elif self._objectives:
            value = value + self._log_volume(x)
        mean_over_samples = torch.logsumexp(value, dim=-1) - math.log(value.shape[-1])
        return mean_over_samples.reshape(X.shape[:-2])

    def _log_volume(self, x: Tensor) -> Tensor:
        """Log expected hypervolume improvement given each sample, shape (b, S).

        Of one free box [l, u] a candidate y takes prod_j (min(u_j, y_j) - l_j)+, and the expectation of a factor is
        E(y_j - l_j)+ - E(y_j - u_j)+.
        """
        lower, upper = self._cells
        total = x.new_zeros(1)
        for j, objective in enumerate(self._objectives):
            mean, sd = objective.at(x)
            mean, sd = mean.unsqueeze(-1), sd.unsqueeze(-1)  # (b, S, 1)
            above = _log_ei_helper((mean - lower[..., j]) / sd)
            beyond = _log_ei_helper((mean - upper[..., j]) / sd)
            gap = (beyond - above).clamp(max=-1e-10)
            total = total + sd.log() + above + torch.log(-torch.expm1(gap))
        return torch.logsumexp(torch.where((upper > lower).all(dim=-1), total, -torch.inf), dim=-1)

    def predict(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of each objective at one point x (1, d), in Z, shapes (m,)."""
        means, sds = [], []
        with torch.no_grad():
            for objective in self.objectives:
                mean, sd = objective.at(x)
                means.append(mean.mean())
                total = (sd.square().mean() + mean.var(unbiased=False)).sqrt()
                sds.append(torch.zeros_like(total) if isinstance(objective, Known) else total)
        return torch.stack(means), torch.stack(sds)

    @contextmanager
    def smoothed(self, X: Tensor, categorical: Sequence[int]) -> Iterator[None]:
        """Replace known outcomes by interpolants through X (n, d) for as long as gradients are followed."""
        for outcome in self._known:
            outcome.stand_in_from(X, categorical)
        try:
            yield
        finally:
            for outcome in self._known:
                outcome.stand_in = None


def make_acquisition(
    surrogate: Surrogate,
    goal: Goal,
    X: Tensor,
    *,
    standing: Tensor | None = None,
    X_pending: Tensor | None = None,
    seed: int,
    n_samples: int = 32,
) -> Improvement:
    """Return the acquisition function.

    Noisy expected improvement of one objective; of the hypervolume for two or three; of a random Chebyshev
    scalarisation beyond (Knowles 2006); the probability of feasibility while no trial is feasible.

    Args:
        surrogate: Models of the outcomes that are not known.
        goal: What is wanted of the outcomes.
        X: Inputs of the trials that the surrogate was fitted to, shape (n, d).
        standing: Which of them have all objectives, shape (n,); all when None.
        X_pending: Inputs under evaluation, shape (p, d), or None.
        seed: For the samples.
        n_samples: Samples of the outcomes at the trials.
    """
    n = len(X)
    standing = torch.ones(n, dtype=torch.bool) if standing is None else standing
    if X_pending is not None and len(X_pending):
        X = torch.cat([X, X_pending])
        standing = torch.cat([standing, torch.ones(len(X_pending), dtype=torch.bool)])
    simple = {
        j: Known(goal.known[j], X) if j in goal.known else _modelled(surrogate, j, X, seed, n_samples)
        for j in range(len(surrogate.loc))
        if j not in goal.composites
    }
    outcomes: list[Outcome] = []
    for j in range(goal.n_objectives + len(goal.thresholds)):
        if j in goal.composites:
            function, parts = goal.composites[j]
            base = _normal(n_samples, len(parts), seed + 1000 + j)
            outcomes.append(Composite(function, [simple[part] for part in parts], base))
        else:
            outcomes.append(simple[j])
    known = [outcome for outcome in simple.values() if isinstance(outcome, Known)]
    if goal.n_objectives > MAX_VOLUME_OBJECTIVES:
        single = _scalarised(outcomes[: goal.n_objectives], standing, seed, n_samples)
        one = replace(goal, n_objectives=1, reference=goal.reference[:1])
        acquisition = Improvement(surrogate, [single, *outcomes[goal.n_objectives :]], one, standing, known)
        acquisition.name = acquisition.name.replace("qLogNEI", "qLogNParEGO")
        acquisition.objectives = outcomes[: goal.n_objectives]
        return acquisition
    return Improvement(surrogate, outcomes, goal, standing, known)


def _modelled(surrogate: Surrogate, j: int, X: Tensor, seed: int, n_samples: int) -> Outcome:
    observed = surrogate.observed[j]
    process = Process(surrogate.models[j], X, observed, _normal(n_samples, len(X) + len(observed), seed + j))
    if j not in surrogate.bounds:
        return process
    inverse = surrogate.bounds[j].inverse
    return Composite(lambda U: inverse(U[..., 0]), [process], _normal(n_samples, 1, seed + 500 + j))


def _scalarised(outcomes: Sequence[Outcome], standing: Tensor, seed: int, n_samples: int) -> Composite:
    """A random augmented Chebyshev scalarisation of objectives that are scaled to [0, 1] over the trials."""
    m = len(outcomes)
    generator = torch.Generator().manual_seed(seed)
    weights = torch.empty(m, dtype=torch.float64).exponential_(generator=generator)
    weights = weights / weights.sum()
    Z = torch.stack([outcome.values.mean(dim=0) for outcome in outcomes], dim=-1)[standing]
    low = Z.min(dim=0).values if len(Z) else torch.zeros(m, dtype=torch.float64)
    width = (Z.max(dim=0).values - low).clamp_min(1e-6) if len(Z) else torch.ones(m, dtype=torch.float64)

    def scalarise(values: Tensor) -> Tensor:
        shortfall = weights * ((values - low) / width - 1.0)
        return shortfall.min(dim=-1).values + _AUGMENTATION * shortfall.sum(dim=-1)

    return Composite(scalarise, outcomes, _normal(n_samples, m, seed + 2000))


def _free_boxes(Z: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Bounds of the boxes above `reference` that no row of Z (S, N, m) dominates, shapes (S, C, m)."""
    if Z.shape[-1] == 2:
        boxes = FastNondominatedPartitioning(ref_point=reference, Y=Z).get_hypercell_bounds()
    else:
        each = [FastNondominatedPartitioning(ref_point=reference, Y=sample) for sample in Z]
        boxes = BoxDecompositionList(*each).get_hypercell_bounds()
    return boxes[0], boxes[1].clamp(max=_FAR)


def _normal(n: int, d: int, seed: int) -> Tensor:
    """Quasi-random standard normal draws, shape (n, d)."""
    drawn = NormalQMCEngine(d, seed=seed).draw(n, dtype=torch.float64)
    assert drawn is not None  # it is None where a tensor to fill was given
    return drawn


def evaluate(acquisition: AcquisitionFunction, X: Tensor, *, batch: int = 512) -> Tensor:
    """Return the acquisition value of each row alone, shape (n,); -inf where it is not a number."""
    with torch.no_grad():
        values = torch.cat([acquisition(rows.unsqueeze(-2)) for rows in torch.split(X, batch)])
    return torch.nan_to_num(values, nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
