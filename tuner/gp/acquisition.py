"""What a candidate is worth: logarithmic noisy expected improvement, of one objective or of the hypervolume.

Outcomes come in the order objectives, then margins; all in the surrogate's units Z (see `tuner.gp.model`). Objectives
are maximised; a margin is met when it is >= its threshold.

Noisy expected improvement (Letham et al. 2019): the expectation over the outcomes' noise-free values at the trials is
a mean over samples of them; given a sample, what a candidate improves has a closed form: expected improvement, or
expected hypervolume improvement over the boxes that the sample's front leaves free (Yang et al. 2019; for many
objectives see `Rays`), times the probability of meeting every margin. All of it in logarithms (Ament et al. 2023), so
that gradients never vanish. A pending point counts as a trial whose values are sampled. Candidates are valued one at
a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from botorch.utils.safe_math import fatmin, log_fatplus
from torch import Tensor

from tuner.gp.boxes import free_boxes
from tuner.gp.model import Surrogate
from tuner.gp.outcomes import Composite, Function, Known, Mixture, Outcome, Process, Scaled
from tuner.gp.slopes import log_chance, log_improvement, traced, traced_log_improvement
from tuner.gp.transforms import Stretch

MAX_VOLUME_OBJECTIVES = 3
"""Beyond, box decompositions are too slow, and the volume is seen along random directions."""

_DIRECTIONS = 64

_APART = 10_000
"""Between the seeds of the members of an ensemble."""

_SOFT = 1e-2
"""Width of what replaces corners along a direction, in units of the mean reach."""


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
        utility: Of the objectives in Z, (..., m) -> (...,): what is improved in their stead.
    """

    n_objectives: int
    thresholds: Tensor
    reference: Tensor
    any_feasible: bool = True
    known: Mapping[int, Function] = field(default_factory=dict)
    composites: Mapping[int, tuple[Function, tuple[int, ...]]] = field(default_factory=dict)
    utility: Function | None = None


class Improvement:
    """Log expected improvement of single candidates, shape (b, d) -> (b,).

    Attributes:
        name: What it is called in provenances.
        objectives: What is maximised, before any scalarisation.
        device: Where its tensors are.
    """

    def __init__(
        self,
        outcomes: Sequence[Outcome],
        goal: Goal,
        standing: Tensor,
        *,
        known: Sequence[Known] = (),
        direct: Outcome | None = None,
        tilt: Function | None = None,
        seed: int = 0,
    ) -> None:
        """Args as in `make_acquisition`, and

        standing: Rows of X that were evaluated or are pending, shape (N,).
        known: The outcomes that are known functions.
        direct: Stands for a single objective: the same up to an increasing function. Or the utility of all.
        seed: For the directions along which a volume of many objectives is seen.
        """
        self.objectives, self._margins = list(outcomes[: goal.n_objectives]), list(outcomes[goal.n_objectives :])
        self._objectives = [direct] if direct is not None else self.objectives
        self._thresholds = goal.thresholds.tolist()
        self.device = standing.device
        self._known = known
        self._tilt = tilt
        self.name = "qLogPF"
        if self._margins and not goal.any_feasible:
            self._objectives = []
            return
        S = max(len(outcome.values) for outcome in [*self._objectives, *self._margins])
        Z = torch.stack([outcome.values.expand(S, -1) for outcome in self._objectives], dim=-1)  # (S, N, m)
        met = standing.expand(S, -1).clone()
        for margin, threshold in zip(self._margins, self._thresholds, strict=True):
            met &= margin.values >= threshold
        if len(self._objectives) == 1:
            z = Z.squeeze(-1)
            lowest = z[:, standing].min(dim=-1).values if standing.any() else z.new_zeros(S)
            best = torch.where(met, z, -torch.inf).max(dim=-1).values
            self._best = torch.where(torch.isfinite(best), best, lowest)
            self.name = "qLogNEI"
        elif len(self._objectives) > MAX_VOLUME_OBJECTIVES:
            self._rays = Rays(torch.where(met.unsqueeze(-1), Z, goal.reference - 1.0), goal.reference, seed=seed)
            self.name = "qLogNEHVI by directions"
        else:
            self._boxes = free_boxes(torch.where(met.unsqueeze(-1), Z, goal.reference - 1.0), goal.reference)
            self.name = "qLogNEHVI"

    def __call__(self, x: Tensor) -> Tensor:
        """Shape (b, d) -> (b,)."""
        value = x.new_zeros(len(x), 1)
        for margin, threshold in zip(self._margins, self._thresholds, strict=True):
            mean, sd = margin.at(x)
            value = value + torch.special.log_ndtr((mean - threshold) / sd)
        if len(self._objectives) == 1:
            mean, sd = self._objectives[0].at(x)
            value = value + sd.log() + traced_log_improvement((mean - self._best) / sd)
        elif len(self._objectives) > MAX_VOLUME_OBJECTIVES:
            value = value + self._rays.log_gain([objective.at(x) for objective in self._objectives])
        elif self._objectives:
            value = value + self._log_volume(x)
        over_samples = torch.logsumexp(value, dim=-1) - math.log(value.shape[-1])
        return over_samples if self._tilt is None else over_samples + self._tilt(x)

    @property
    def explicit(self) -> bool:
        """Whether `followed` can be asked: one objective at most, and nothing but processes."""
        plain = all(isinstance(outcome, Process) for outcome in [*self._objectives, *self._margins])
        return plain and len(self._objectives) <= 1

    def followed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Values (b,) and their gradients (b, d) at x (b, d), written out."""
        value = x.new_zeros(len(x), 1)
        pulls = []
        for outcome, threshold in zip(self._margins, self._thresholds, strict=True):
            assert isinstance(outcome, Process)
            mean, sd, pull = outcome.followed(x)
            u = (mean - threshold) / sd
            chance, slope = log_chance(u)
            value = value + chance
            pulls.append((pull, slope / sd, -u * slope / sd))
        for outcome in self._objectives:
            assert isinstance(outcome, Process)
            mean, sd, pull = outcome.followed(x)
            u = (mean - self._best) / sd
            gain, slope = log_improvement(u)
            value = value + gain + sd.log()
            pulls.append((pull, slope / sd, (1.0 - u * slope) / sd))
        total = torch.logsumexp(value, dim=-1)
        share = torch.exp(value - total.unsqueeze(-1))
        gradient = torch.stack([pull(share * a, (share * b).sum(dim=-1)) for pull, a, b in pulls]).sum(dim=0)
        found = total - math.log(value.shape[-1])
        if self._tilt is None:
            return found, gradient
        tilt, pull_tilt = traced(self._tilt, x)
        return found + tilt, gradient + pull_tilt(torch.ones_like(tilt))

    def _log_volume(self, x: Tensor) -> Tensor:
        """Log expected hypervolume improvement given each sample, shape (b, S).

        Of one free box [l, u] a candidate y takes prod_j (min(u_j, y_j) - l_j)+, and the expectation of a factor is
        E(y_j - l_j)+ - E(y_j - u_j)+.
        """
        boxes = self._boxes
        total = x.new_zeros(1)
        for objective, levels, lower, upper in zip(self._objectives, *boxes[1:], strict=True):
            mean, sd = objective.at(x)
            mean, sd = mean.unsqueeze(-1), sd.unsqueeze(-1)  # (b, S, 1)
            gain = traced_log_improvement((mean - levels) / sd)  # (b, S, L)
            above = gain.gather(-1, lower.expand(len(x), -1, -1))
            beyond = gain.gather(-1, upper.expand(len(x), -1, -1))
            gap = (beyond - above).clamp(max=-1e-10)
            total = total + sd.log() + above + torch.log(-torch.expm1(gap))
        return torch.logsumexp(torch.where(boxes.real, total, -torch.inf), dim=-1)

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
    surrogate: Surrogate | Sequence[Surrogate],
    goal: Goal,
    X: Tensor,
    *,
    standing: Tensor | None = None,
    X_pending: Tensor | None = None,
    seed: int,
    n_samples: int = 32,
    tilt: Function | None = None,
) -> Improvement:
    """Return the acquisition function.

    Noisy expected improvement of one objective, in the units in which it is modelled; of the hypervolume for several;
    the probability of feasibility while no trial is feasible.

    Args:
        surrogate: Models of the outcomes that are not known; several are an ensemble, and share the samples.
        goal: What is wanted of the outcomes.
        X: Inputs of the trials that the surrogate was fitted to, shape (n, d).
        standing: Which of them have all objectives, shape (n,); all when None.
        X_pending: Inputs under evaluation, shape (p, d), or None.
        seed: For the samples.
        n_samples: Samples of the outcomes at the trials.
        tilt: What is added to the logarithm, (b, d) -> (b,): a prior's log density, minus log seconds.
    """
    n = len(X)
    standing = torch.ones(n, dtype=torch.bool, device=X.device) if standing is None else standing
    if X_pending is not None and len(X_pending):
        X = torch.cat([X, X_pending])
        standing = torch.cat([standing, torch.ones(len(X_pending), dtype=torch.bool, device=X.device)])
    members = [surrogate] if isinstance(surrogate, Surrogate) else list(surrogate)
    n_samples = max(n_samples, len(members))
    processes = {j: _processes(members, j, X, n_samples, seed) for j in members[0].models}
    simple: dict[int, Outcome] = {
        j: Known(goal.known[j], X) if j in goal.known else _modelled(members, j, processes[j], seed)
        for j in range(len(members[0].loc))
        if j not in goal.composites
    }
    outcomes: list[Outcome] = []
    for j in range(goal.n_objectives + len(goal.thresholds)):
        if j in goal.composites:
            function, parts = goal.composites[j]
            base = _normal(n_samples, len(parts), seed + 1000 + j, X)
            outcomes.append(Composite(function, [simple[part] for part in parts], base))
        else:
            outcomes.append(simple[j])
    known = [outcome for outcome in simple.values() if isinstance(outcome, Known)]
    alone = goal.n_objectives == 1 and len(members) == 1 and 0 in processes
    direct: Outcome | None = processes[0][0] if alone else None
    if goal.utility is not None:
        base = _normal(n_samples, goal.n_objectives, seed + 4000, X)
        direct = Composite(goal.utility, outcomes[: goal.n_objectives], base)
    return Improvement(outcomes, goal, standing, known=known, direct=direct, tilt=tilt, seed=seed)


def _processes(members: Sequence[Surrogate], j: int, X: Tensor, n_samples: int, seed: int) -> list[Process]:
    """What each member says of outcome j; the samples are divided among them."""
    found = []
    for i, member in enumerate(members):
        model, share = member.models[j], n_samples // len(members) + (i < n_samples % len(members))
        base = _normal(share, len(X) + len(model.u), seed + j + _APART * i, X)
        found.append(Process(model, X, member.observed[j], base))
    return found


def _modelled(members: Sequence[Surrogate], j: int, processes: Sequence[Process], seed: int) -> Outcome:
    """Outcome j in Z."""
    parts = [
        _untransformed(member, j, process, len(process.values), seed + _APART * i)
        for i, (member, process) in enumerate(zip(members, processes, strict=True))
    ]
    return parts[0] if len(parts) == 1 else Mixture(parts)


def _untransformed(surrogate: Surrogate, j: int, process: Process, n_samples: int, seed: int) -> Outcome:
    if j not in surrogate.transforms:
        return process
    transform = surrogate.transforms[j]
    if isinstance(transform, Stretch):
        return Scaled(process, transform.factor)
    inverse = transform.inverse
    base = _normal(n_samples, 1, seed + 500 + j, process.values)
    return Composite(lambda U: inverse(U[..., 0]), [process], base)


class Rays:
    """The hypervolume of many objectives, seen along random directions.

    With l a uniform direction in the positive orthant, u_l(y) = min_j (y_j - r_j)+ / l_j and c a constant, the volume
    between the corner r and a front is c E_l max_y u_l(y)^m (Shang et al. 2018; Golovin and Zhang 2020, lemma 5). What
    a candidate adds along a direction is (u_l^m - b_l^m)+, b_l the best so far; its expectation is a mean over draws,
    made smooth as in Ament et al. (2023).

    Args:
        Z: Samples of the objectives at the trials, shape (S, N, m).
        reference: r, shape (m,).
        seed: For the directions and draws.
        n_directions: How many.
    """

    def __init__(self, Z: Tensor, reference: Tensor, *, seed: int, n_directions: int = _DIRECTIONS) -> None:
        S, _, m = Z.shape
        self._reference = reference
        directions = _normal(n_directions, m, seed + 2000, Z).abs().clamp_min(1e-3)
        self._directions = directions / directions.norm(dim=-1, keepdim=True)  # (D, m)
        reach = (Z - reference).clamp_min(0.0).unsqueeze(-2) / self._directions  # (S, N, D, m)
        self._best = reach.min(dim=-1).values.max(dim=1).values  # (S, D)
        self._scale = float(self._best.mean().clamp_min(1e-3))
        self._base = _normal(S, m, seed + 3000, Z)

    def log_gain(self, outcomes: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """Logarithm of the gain in units of the mean reach, shape (b, S), from each objective's mean and sd."""
        drawn = [mean + sd * e for (mean, sd), e in zip(outcomes, self._base.T, strict=True)]
        y = torch.stack(drawn, dim=-1) - self._reference  # (b, S, m)
        reach = fatmin(y.unsqueeze(-2) / (self._scale * self._directions), dim=-1, tau=_SOFT)  # (b, S, D)
        m = len(outcomes)
        best = self._best / self._scale
        gain = reach.clamp_min(0.0) ** m - best**m
        inside = torch.where(reach > best, gain, best.clamp_min(_SOFT) ** (m - 1) * (reach - best))
        return torch.logsumexp(log_fatplus(inside, tau=_SOFT), dim=-1) - math.log(len(self._directions))


def _normal(n: int, d: int, seed: int, like: Tensor) -> Tensor:
    """Standard normal draws in pairs of opposite sign, shape (n, d), where `like` is."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn((n + 1) // 2, d, dtype=torch.float64, generator=generator)
    return torch.cat([drawn, -drawn])[:n].to(like.device)


def evaluate(acquisition: Function, X: Tensor, *, batch: int = 512) -> Tensor:
    """Return the acquisition value of each row (n, d) alone, shape (n,); -inf where it is not a number."""
    with torch.no_grad():
        values = torch.cat([acquisition(rows) for rows in torch.split(X, batch)])
    return torch.nan_to_num(values, nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
