"""bohb: Hyperband's brackets, whose new configurations come from a model of the earlier ones.

Falkner, Klein and Hutter 2018, "BOHB: Robust and Efficient Hyperparameter Optimization at Scale". A third of the new
configurations is drawn; the others are the best of 64 points near good configurations, by the ratio of two kernel
densities, of the best 15 % and of the rest, at the highest fidelity that has enough trials. With several objectives the
order is non-dominated sorting, feasible ones first; a trial that failed is among the rest. With `model: gp` a Gaussian
process proposes instead of the densities.

Hyperband's brackets hedge against a low fidelity that misleads. Those with few configurations cost as much as the
others and try a fraction of what these try (Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning",
found one kind of bracket, with the most, better than all). Half of the kinds are used unless `brackets` says otherwise:
the hedge remains, at half of its price. The published method uses all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from tuner.errors import UsageError
from tuner.fidelity import Levels, spent
from tuner.history import COMPLETED, PRUNED, History
from tuner.strategies.bandit.brackets import BracketSearch, hyperband_plan
from tuner.strategies.bandit.rungs import best_first, checked_ladder
from tuner.trial import Config, Provenance

if TYPE_CHECKING:
    from tuner.problem import Problem
    from tuner.strategies.bandit.sampling import Sampler

_SPARE = 3
"""Candidates of each proposal that stand by, should the best be known already."""

Found = list[tuple[Config, Provenance]]


@dataclass(frozen=True, slots=True)
class Options:
    """What `bohb` can be told; the defaults of the densities are HpBandSter's.

    Attributes:
        eta: Of the trials on a rung 1/eta go on, to `eta` times the fidelity.
        brackets: How many kinds of brackets, those with the most configurations first; half of them when None.
        model: kde, the published one, or gp.
        random_fraction: Of the new configurations, drawn from the space.
        min_points: Trials at one fidelity before there is a model; the columns plus one when None.
        top: The share that counts as good, of kde.
        samples: Points that are compared for each configuration, of kde.
        bandwidth_factor: Points are drawn around good ones with so many bandwidths, of kde.
        min_bandwidth: No bandwidth is less, of kde.
    """

    eta: int = 3
    brackets: int | None = None
    model: Literal["kde", "gp"] = "kde"
    random_fraction: float = 1 / 3
    min_points: int | None = None
    top: float = 0.15
    samples: int = 64
    bandwidth_factor: float = 3.0
    min_bandwidth: float = 1e-3

    def __post_init__(self) -> None:
        if self.eta < 2:
            raise ValueError(f"eta must be at least 2, but got {self.eta}")
        if self.brackets is not None and self.brackets < 1:
            raise ValueError(f"brackets must be at least 1, but got {self.brackets}")
        if self.model not in ("kde", "gp"):
            raise ValueError(f"model must be kde or gp, but got {self.model!r}")
        if not 0.0 <= self.random_fraction <= 1.0 or not 0.0 < self.top < 1.0:
            raise ValueError(f"random_fraction must lie in [0, 1] and top in (0, 1), but got {self}")
        if (self.min_points or 2) < 2 or self.samples < 1 or not min(self.bandwidth_factor, self.min_bandwidth) > 0.0:
            raise ValueError(f"min_points >= 2, samples >= 1 and positive bandwidths must hold, but got {self}")


class Model:
    """Proposes new configurations by the trials of one fidelity.

    Args:
        problem: What is searched.
        options: How.
        levels: Of the fidelity.
    """

    def __init__(self, problem: Problem, options: Options, levels: Levels) -> None:
        self._problem = problem
        self._options = options
        self._levels = levels
        columns = problem.space.encoding.columns
        self._free = np.array([j for j, c in enumerate(columns) if c.parameter != levels.parameter], dtype=np.int64)
        kinds = [(c.levels or 0) if c.kind == "categorical" else 0 for c in columns]
        self._categories = np.array(kinds, dtype=np.int64)[self._free]
        self._least = options.min_points or len(self._free) + 1
        self._propose: Sampler | None = None

    def __call__(self, history: History, n: int, rng: np.random.Generator) -> Found:
        """Configurations, one after another as they are to be used, then some to spare."""
        found = self._rows(history)
        uniform = rng.random(n) < self._options.random_fraction
        if found is None or uniform.all():
            return []
        level, rows = found
        k = int((~uniform).sum())
        by_model = self._by_gp if self._options.model == "gp" else self._by_density
        proposed = by_model(history, rows, f"at {self._levels.parameter}={level:g}", k, rng)
        drawn = Provenance(engine="bohb", reason=f"drawn: {self._options.random_fraction:.0%} are")
        draws = iter([(config, drawn) for config in self._problem.space.sample(int(uniform.sum()), rng)])
        models = iter(proposed[:k])
        ordered = [next(draws) if by_chance else next(models, None) for by_chance in uniform]
        return [one for one in ordered if one is not None] + proposed[k:]

    def _rows(self, history: History) -> tuple[float, NDArray[np.int64]] | None:
        """The highest fidelity with enough trials that ended, and their rows; None when there is none."""
        at = spent(history)
        judged = history.state != PRUNED
        completed = (history.state == COMPLETED) & ~np.isnan(history.Y).any(axis=1)
        for level in (np.inf, *reversed(self._levels.values[:-1])):
            rows = judged & (at == level)
            if int((rows & completed).sum()) >= self._least and int(rows.sum()) > len(self._free):
                return min(level, self._levels.full), np.flatnonzero(rows)
        return None

    def _by_density(
        self, history: History, rows: NDArray[np.int64], where: str, n: int, rng: np.random.Generator
    ) -> Found:
        from tuner.strategies.bandit.density import filled, fit

        options, space = self._options, self._problem.space
        best = best_first(history, rows[history.state[rows] == COMPLETED])
        order = np.append(best, np.setdiff1d(rows, best))  # what failed is worst
        size = len(order)
        n_good = max(self._least, int(options.top * size))
        n_bad = max(self._least, int((1.0 - options.top) * size))
        X = filled(history.X[order][:, self._free], history.active[order][:, self._free], self._categories, rng)
        good = fit(X[:n_good], self._categories, options.min_bandwidth)
        bad = fit(X[-n_bad:], self._categories, options.min_bandwidth)
        reason = (
            f"dense among the best {min(n_good, size)} of {size} {where}, and not among the worst {min(n_bad, size)}"
        )
        first: Found = []
        spare: Found = []
        for _ in range(n):
            points = good.sample(options.samples, rng, options.bandwidth_factor)
            gain = good.log(points) - bad.log(points)
            ranked = [(self._config(points[i]), float(gain[i])) for i in np.argsort(-gain, kind="stable")]
            kept = [(config, value) for config, value in ranked if space.feasible(config)][: 1 + _SPARE]
            made: Found = [(c, Provenance(engine="bohb", acquisition=value, reason=reason)) for c, value in kept]
            first += made[:1]
            spare += made[1:]
        return first + spare

    def _config(self, point: NDArray[np.float64]) -> Config:
        x = np.full(self._problem.space.encoding.dim, 0.5)
        x[self._free] = point
        return self._problem.space.encoding.decode(x)

    def _by_gp(self, history: History, rows: NDArray[np.int64], where: str, n: int, rng: np.random.Generator) -> Found:
        if self._propose is None:
            self._propose = _gp(self._problem, self._least)
        return [
            (config, Provenance(engine="bohb", acquisition=p.acquisition, mean=p.mean, sd=p.sd, reason=f"gp {where}"))
            for config, p in self._propose(history.only(rows), n, rng)
        ]


def _gp(problem: Problem, least: int) -> Sampler:
    """A Gaussian process over the trials of a history, all of which count as full."""
    from tuner.strategies.bayesian.gp import GpSearch
    from tuner.strategies.bayesian.gp import Options as GpOptions

    search = GpSearch(problem, GpOptions(initial=least))

    def propose(history: History, n: int, rng: np.random.Generator) -> Found:
        return [(proposal.config, proposal.provenance) for proposal in search.suggest(history, n, rng)]

    return propose


def build(problem: Problem, options: Options) -> BracketSearch:
    """Return the strategy.

    Raises:
        UsageError: See `rungs.checked_ladder`; or nothing is searched.
    """
    levels = checked_ladder(problem, "bohb", options.eta)
    if not problem.space.encoding.columns:
        raise UsageError("bohb models what is searched, but nothing is; add a parameter, or use hyperband")
    plan = hyperband_plan(len(levels.values), options.eta)
    plan = plan[: options.brackets or (len(plan) + 1) // 2]
    return BracketSearch("bohb", levels, plan, Model(problem, options, levels))
