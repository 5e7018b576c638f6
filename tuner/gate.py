"""Gate: whether a candidate is worse than a baseline by more than is allowed. Pure: measurements in, verdicts out.

    n        pairs measured so far; in each pair the two sides ran next to one another, in an order drawn by lot
    x_i      how much worse the candidate was in pair i: log(c/b) for a metric to minimise, log(b/c) for one to
             maximise, minus the margin for a constraint; positive is worse, shape (n,)
    limit    the x that is still allowed: log(1 + r), -log(1 - r), 0 for a constraint
    theta    the true median of x
    alpha    (1 - confidence) / 2: the chance of a wrong verdict in either direction

**The test.** Drawing the order by lot makes the sign of x_i - theta a fair coin whatever the noise is (drift, outliers,
dependence between timings), given that the noise of a slot does not depend on who runs in it (Fisher's randomisation
test; for metrics whose noise comes from a seed instead of the machine, that x is symmetric about theta is assumed). The
statistic is the sum of sign(y) min(|y| / median|y|, 1) over y = x - limit: a sign test that counts small differences
less, so that neither outliers nor ties decide. Its law under theta = limit comes from `_FLIPS` draws of the signs.

**Stopping early.** It is looked after every pair, and repeated looks inflate false verdicts. After n of at most N pairs
the errors made so far may add up to alpha (n/N)^2: an alpha-spending function (Lan and DeMets 1983; the power family of
Kim and DeMets 1987). The boundary of a look is the least value that keeps the share of sign-flipped series that crossed
any boundary so far within what may be spent, the observed series counted as one of them (Phipson and Smyth 2010).

**The interval.** Paired bootstrap of the median of x at the level which the look has on its own (a repeated confidence
interval, Jennison and Turnbull 1989). A verdict needs both: the test, and an interval that excludes the limit.

**Several checks.** A regression is claimed when any check shows one, so each noisy check gets alpha / m of m of them
(Bonferroni). A pass is claimed when all checks pass, which needs no correction (Berger 1982: intersection-union).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Verdict = Literal["pass", "regression", "inconclusive"]
Kind = Literal["metric", "constraint", "hypervolume", "completes"]
Goal = Literal["minimize", "maximize"]

_FLIPS = 9999
_DRAWS = 4000
_EXPONENT = 2.0
_SURE = 5  # a metric that never varied in so many pairs is taken for deterministic, and nothing is decided before
_ROUNDING = 1e-9  # of a deterministic value: what lies on the limit is allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """How sure a verdict must be, and how long it may take.

    Attributes:
        confidence: A verdict is wrong at most 1 - confidence of the time, half of it in either direction.
        max_pairs: N: pairs after which an open question stays open.
        seed: Of the sign flips, the bootstrap and the order within the pairs.
    """

    confidence: float = 0.95
    max_pairs: int = 39
    seed: int = 0

    def fewest(self, m: int) -> int:
        """Pairs without which a regression cannot be claimed by any of m noisy checks: each sign is a coin."""
        return max(_SURE, math.ceil(math.log2(m / self.alpha)))

    @property
    def alpha(self) -> float:
        """The chance of a wrong verdict in either direction."""
        return (1.0 - self.confidence) / 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that must not get worse.

    Attributes:
        name: The metric, the text of the constraint, or "hypervolume".
        kind: What is compared.
        goal: What the metric should do; a constraint has none.
        max_regress: The share by which it may get worse; 0 for a constraint.
        unit: Of the metric.
        sure: It is known to be deterministic: one measurement says all.
    """

    name: str
    kind: Kind = "metric"
    goal: Goal | None = "minimize"
    max_regress: float = 0.03
    unit: str = ""
    sure: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a check came to.

    Attributes:
        baseline: Median on the baseline's side, in the metric's own units; of a constraint its margin.
        candidate: Likewise.
        ratio: Candidate over baseline; None for a constraint, and where the baseline is 0.
        low: Lower end of the interval of the ratio (of the margin for a constraint); None for what does not vary, and
            for fewer than five pairs.
        high: Upper end.
        level: Confidence of that interval, which excludes the limit when there is a verdict.
        bound: The ratio (the margin for a constraint) that separates pass from regression.
        pairs: Measured a side.
        decided_at: After how many pairs it was clear; None while it is not.
        deterministic: Nothing varied.
        why: A sentence.
    """

    check: Check
    verdict: Verdict
    baseline: float | None = None
    candidate: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    level: float | None = None
    bound: float | None = None
    pairs: int = 0
    decided_at: int | None = None
    deterministic: bool = False
    why: str = ""


def overall(results: Sequence[Result]) -> Verdict:
    """Regression when any check shows one, pass when all pass, otherwise inconclusive."""
    verdicts = {result.verdict for result in results}
    if "regression" in verdicts:
        return "regression"
    return "pass" if verdicts == {"pass"} else "inconclusive"


def judged(check: Check, baseline: Sequence[float], candidate: Sequence[float], design: Design, *, m: int) -> Result:
    """What the measurements of one check say so far.

    Args:
        check: A metric (values in its own units), or a constraint (`candidate` holds margins, feasible when >= 0, and
            `baseline` is the baseline's own margins, for the reader).
        baseline: One value a pair, shape (n,).
        candidate: Likewise.
        design: How sure.
        m: How many noisy checks there are.
    """
    b, c = np.asarray(baseline, dtype=np.float64), np.asarray(candidate, dtype=np.float64)
    if not len(c):
        return Result(check=check, verdict="inconclusive", why="nothing was measured")
    scale = _Scale.of(check, b, c)
    x = scale.worse(b, c)
    known = check.sure or (len(x) >= _SURE and np.ptp(b) == 0.0 and np.ptp(c) == 0.0)
    found = _by_value(check, x, scale) if known else _by_test(check, x, scale, design, m)
    return replace(
        found,
        baseline=float(np.median(b)) if len(b) else None,
        candidate=float(np.median(c)),
        bound=scale.shown(scale.limit),
        pairs=len(x),
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    """From measurements to x and back.

    Attributes:
        kind: "log", "difference" (a metric that is not always positive) or "margin".
        sign: +1 when larger values are worse.
        unit: What a difference is divided by.
        limit: The x that is still allowed.
    """

    kind: Literal["log", "difference", "margin"]
    sign: float
    unit: float
    limit: float

    @classmethod
    def of(cls, check: Check, b: Floats, c: Floats) -> _Scale:
        if check.kind == "constraint":
            return cls("margin", -1.0, 1.0, 0.0)
        sign, r = (1.0, check.max_regress) if check.goal == "minimize" else (-1.0, -check.max_regress)
        if (b > 0).all() and (c > 0).all() and r > -1.0:
            return cls("log", sign, 1.0, sign * math.log1p(r))
        unit = float(np.median(np.abs(b)))
        return cls("difference", sign, unit or 1.0, abs(r) if unit else 0.0)

    def worse(self, b: Floats, c: Floats) -> Floats:
        """x, shape (n,)."""
        if self.kind == "margin":
            return -c
        return self.sign * (np.log(c / b) if self.kind == "log" else (c - b) / self.unit)

    def shown(self, x: float) -> float:
        """An x as a ratio (1 + the relative change where ratios mean nothing) or as a margin."""
        if self.kind == "margin":
            return -x + 0.0
        return math.exp(self.sign * x) if self.kind == "log" else 1.0 + self.sign * x

    def ends(self, low: float, high: float) -> tuple[float, float]:
        """An interval of x as one of what is shown."""
        a, b = self.shown(low), self.shown(high)
        return (a, b) if a <= b else (b, a)


def _by_value(check: Check, x: Floats, scale: _Scale) -> Result:
    """The verdict on something that does not vary."""
    worse = bool(x[-1] > scale.limit + _ROUNDING)
    ratio = None if scale.kind == "margin" else scale.shown(float(x[-1]))
    verdict: Verdict = "regression" if worse else "pass"
    return Result(check=check, verdict=verdict, ratio=ratio, decided_at=len(x), deterministic=True, why="deterministic")


def _by_test(check: Check, x: Floats, scale: _Scale, design: Design, m: int) -> Result:
    """The verdict on something noisy: the first look at which the test and the interval agree."""
    verdict, at, tail = _sequential(x, scale.limit, design, design.alpha / max(m, 1))
    many = len(x) >= _SURE
    low, high = scale.ends(*bootstrap(x[: at or len(x)], tail, design.seed)) if many else (None, None)
    why = f"clear after {at} pairs" if at else f"not clear after {len(x)} pairs"
    return Result(
        check=check,
        verdict=verdict,
        ratio=None if scale.kind == "margin" else scale.shown(float(np.median(x[: at or len(x)]))),
        low=low,
        high=high,
        level=1.0 - 2.0 * tail if many else None,
        decided_at=at,
        why=why,
    )


def _sequential(x: Floats, limit: float, design: Design, alpha_worse: float) -> tuple[Verdict, int | None, float]:
    """The verdict, the look it came at (None without one), and the tail of the interval there.

    Args:
        x: Shape (n,), n <= `design.max_pairs`.
        limit: The x that is allowed.
        design: How sure, and N.
        alpha_worse: What may be spent on claiming a regression; `design.alpha` goes to claiming a pass.
    """
    y = x - limit
    worse, better = _Spending(alpha_worse, design), _Spending(design.alpha, design)
    tail = better.least
    for n in range(_SURE, min(len(y), design.max_pairs) + 1):
        observed, flipped = _statistic(y[:n], design)
        above = worse.look(n, flipped)
        below = better.look(n, flipped)
        tail = below.tail
        if observed > above.bound and bootstrap(x[:n], above.tail, design.seed)[0] > limit:
            return "regression", n, above.tail
        if -observed > below.bound and bootstrap(x[:n], below.tail, design.seed)[1] < limit:
            return "pass", n, below.tail
    return "inconclusive", None, tail


def _statistic(y: Floats, design: Design) -> tuple[float, Floats]:
    """The statistic of y and of its sign-flipped copies, shape (_FLIPS,)."""
    size = np.abs(y)
    middle = float(np.median(size))
    weight = np.minimum(size / middle, 1.0) if middle > 0 else (size > 0).astype(np.float64)
    signs = _signs(design.max_pairs, design.seed)[:, : len(y)]
    return float(np.sign(y) @ weight), signs @ weight


@lru_cache(maxsize=4)
def _signs(n: int, seed: int) -> Floats:
    rng = np.random.default_rng([seed, 1])
    return rng.integers(0, 2, (_FLIPS, n)).astype(np.float64) * 2.0 - 1.0


@dataclass(frozen=True, slots=True)
class _Look:
    """A boundary: a statistic above it is clear; `tail` is the chance of that at this look alone."""

    bound: float
    tail: float


class _Spending:
    """The boundaries of one direction, look after look."""

    def __init__(self, alpha: float, design: Design) -> None:
        self.least = 1.0 / (_FLIPS + 1)
        self._alpha = alpha
        self._max_pairs = design.max_pairs
        self._crossed = np.zeros(_FLIPS, dtype=np.bool_)

    def look(self, n: int, flipped: Floats) -> _Look:
        """The boundary after n pairs: what may be spent by now, less what was spent."""
        may = self._alpha * (n / self._max_pairs) ** _EXPONENT * (_FLIPS + 1) - 1.0
        room = int(may - self._crossed.sum() + 1e-9)
        if room <= 0:
            return _Look(math.inf, self.least)
        alive = flipped[~self._crossed]
        bound = float(np.partition(alive, -room - 1)[-room - 1]) + _ROUNDING  # ties with it do not cross
        crossing = flipped > bound
        self._crossed |= crossing
        return _Look(bound, max(float(crossing.mean()), self.least))


def bootstrap(x: Floats, tail: float, seed: int) -> tuple[float, float]:
    """The interval of the median of x whose ends each leave out `tail`, by resampling pairs.

    Args:
        x: One value a pair, shape (n,).
        tail: In (0, 0.5).
        seed: Of the draws.
    """
    rng = np.random.default_rng([seed, 2])
    medians = np.median(x[rng.integers(0, len(x), (_DRAWS, len(x)))], axis=1)
    low, high = np.quantile(medians, [tail, 1.0 - tail])
    return float(low), float(high)


def order(seed: int, pair: int) -> bool:
    """Whether the candidate runs first in a pair: a coin that depends on nothing but the seed and the pair's number."""
    return bool(np.random.default_rng([seed, 3, pair]).integers(0, 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two.

    Attributes:
        name: What it is called: a study and trial, or a file.
        config: Active parameters and their values.
        measurements: Metrics by name, one mapping a measurement.
    """

    name: str
    config: Mapping[str, Any]
    measurements: tuple[Mapping[str, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a gate has to say.

    Attributes:
        study: Through whose sweep it was measured.
        verdict: Of all checks together.
        results: One a check.
        baseline: The side that may not be undercut.
        candidate: The side that is judged.
        design: How sure.
        runs: Each measurement is the median of so many.
        seconds: Wall-clock time.
        notes: What the reader should know: another sweep, drift of the baseline, why it ended early.
    """

    study: str
    verdict: Verdict
    results: tuple[Result, ...]
    baseline: Side
    candidate: Side
    design: Design
    runs: int = 1
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def pairs(self) -> int:
        """Measurements a side."""
        return len(self.candidate.measurements)
