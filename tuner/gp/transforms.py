"""Outcome transforms: what makes outcomes more like draws from a Gaussian process.

Notation
    z       outcomes in standard units, shape (n,)
    u       the same, transformed and standardised again

Every transform is increasing, so the best of u is the best of z. Which one is used is chosen by fit, see
`tuner.gp.model`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from scipy.stats import yeojohnson_normmax
from torch import Tensor

_TAIL = 3.0
"""Interquartile ranges beyond the quartile at which a tail is clipped."""

_HEADROOM = 0.1
_ROWS = 8
"""Fewest outcomes from which a transform is estimated."""

_LARGEST_LOG = 50.0
_MIN_GAIN = 0.1
"""Nats a trial by which a transform must explain the outcomes better than none."""


class Transform(Protocol):
    """An increasing map between z and u."""

    def forward(self, Z: Tensor) -> Tensor:
        """Z to u."""
        ...

    def inverse(self, U: Tensor) -> Tensor:
        """Back."""
        ...

    def log_slope(self, Z: Tensor) -> Tensor:
        """log du/dz."""
        ...


@dataclass(frozen=True, slots=True)
class Stretch:
    """The transform u = z / factor: for a process of unit variance whose trials do not show how much it varies.

    Attributes:
        factor: > 1.
    """

    factor: float

    def forward(self, Z: Tensor) -> Tensor:
        """Z to u."""
        return Z / self.factor

    def inverse(self, U: Tensor) -> Tensor:
        """Back."""
        return U * self.factor

    def log_slope(self, Z: Tensor) -> Tensor:
        """log du/dz."""
        return torch.full_like(Z, -math.log(self.factor))


@dataclass(frozen=True, slots=True)
class Bound:
    """The transform u = -s log(s (limit - Z)), standardised: for an outcome that presses against a bound.

    Attributes:
        side: s: 1.0 when Z stays below the limit, -1.0 when it stays above.
        limit: In Z.
        loc: Mean of u over the trials.
        scale: Its standard deviation, > 0.
    """

    side: float
    limit: float
    loc: float
    scale: float

    def forward(self, Z: Tensor) -> Tensor:
        """Z to u; values beyond the limit count as next to it."""
        gap = (self.side * (self.limit - Z)).clamp_min(1e-300)
        return (-self.side * torch.log(gap) - self.loc) / self.scale

    def inverse(self, U: Tensor) -> Tensor:
        """Back."""
        return self.limit - self.side * torch.exp((-self.side * (self.loc + self.scale * U)).clamp(max=_LARGEST_LOG))

    def log_slope(self, Z: Tensor) -> Tensor:
        """log du/dz."""
        return -torch.log((self.side * (self.limit - Z)).clamp_min(1e-300)) - math.log(self.scale)


@dataclass(frozen=True, slots=True)
class Power:
    """Yeo and Johnson's power transform (2000), standardised: for skewed outcomes.

    Attributes:
        power: Their lambda; 1 is the identity.
        loc: Mean of the transformed outcomes over the trials.
        scale: Their standard deviation, > 0.
    """

    power: float
    loc: float
    scale: float

    def _up(self, a: Tensor, power: float) -> Tensor:
        return torch.log1p(a) if abs(power) < 1e-9 else torch.expm1(power * torch.log1p(a)) / power

    def _down(self, b: Tensor, power: float) -> Tensor:
        if abs(power) < 1e-9:
            return torch.expm1(b.clamp(max=_LARGEST_LOG))
        return torch.expm1(torch.log1p((power * b).clamp_min(-1 + 1e-12)) / power)

    def forward(self, Z: Tensor) -> Tensor:
        """Z to u."""
        bent = torch.where(
            Z >= 0, self._up(Z.clamp_min(0.0), self.power), -self._up((-Z).clamp_min(0.0), 2.0 - self.power)
        )
        return (bent - self.loc) / self.scale

    def inverse(self, U: Tensor) -> Tensor:
        """Back."""
        bent = self.loc + self.scale * U
        return torch.where(
            bent >= 0,
            self._down(bent.clamp_min(0.0), self.power),
            -self._down((-bent).clamp_min(0.0), 2.0 - self.power),
        )

    def log_slope(self, Z: Tensor) -> Tensor:
        """log du/dz."""
        return (self.power - 1.0) * torch.sign(Z) * torch.log1p(Z.abs()) - math.log(self.scale)


def bound_of(z: Tensor, *, side: float = 1.0, limit: float | None = None) -> Bound | None:
    """Return the transform for outcomes (n,) that press against a bound; None when they do not.

    An accuracy does: most trials lie just below what can be reached, and the bad ones far below. A process with a
    symmetric predictive distribution then expects more than can be had wherever it is unsure. Normal likelihoods with
    and without the transform, its Jacobian included, decide.

    Args:
        z: Standardised outcomes.
        side: 1.0 for an upper bound, -1.0 for a lower one.
        limit: The bound; a tenth of the range beyond the extreme trial when None.
    """
    if len(z) < _ROWS or not float(z.std()) > 0:
        return None
    if limit is None:
        limit = side * (float((side * z).max()) + _HEADROOM * float(z.max() - z.min()))
    u = -side * torch.log((side * (limit - z)).clamp_min(1e-300))
    spread = float(u.std())
    if not (math.isfinite(spread) and spread > 0):
        return None
    gain = side * float(u.mean()) - math.log(spread) + math.log(float(z.std()))
    return Bound(side, limit, float(u.mean()), spread) if gain > _MIN_GAIN else None


def power_of(z: Tensor) -> Power | None:
    """Return the power transform of greatest normal likelihood for outcomes (n,); None when it is close to none."""
    if len(z) < _ROWS or not float(z.std()) > 0:
        return None
    power = float(yeojohnson_normmax(z.detach().cpu().numpy()))
    if not math.isfinite(power) or abs(power - 1.0) < 0.1:
        return None
    raw = Power(min(max(power, -3.0), 5.0), 0.0, 1.0)
    u = raw.forward(z)
    spread = float(u.std())
    if not (math.isfinite(spread) and spread > 1e-9):
        return None
    return Power(raw.power, float(u.mean()), spread)


def winsorise(y: Tensor, *, upper: bool = False) -> Tensor:
    """Return `y` (n,) with its lower tail clipped at three interquartile ranges below the lower quartile.

    One disastrous trial would otherwise flatten all others. The upper tail holds the best trials of an objective and
    is left alone unless `upper`.
    """
    if len(y) < 5:
        return y
    low, high = torch.quantile(y, torch.tensor([0.25, 0.75], dtype=y.dtype, device=y.device)).tolist()
    reach = _TAIL * (high - low)
    if reach <= 0:
        return y
    return y.clamp(min=low - reach, max=high + reach if upper else math.inf)
