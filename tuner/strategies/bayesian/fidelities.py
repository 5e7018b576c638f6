"""Fidelities: proposals by model that say how much to spend, too.

First where: the configuration that improves most at full fidelity, by the acquisition function of `gp` over a model of
all trials; configurations that had less are candidates again. Then how much: the fidelity whose outcome says most, per
cost, about whether the configuration is better at full fidelity than the best there so far, and meets its margins
(`tuner.gp.fidelity`). Of what is spent a declared share goes to full fidelity whatever the information says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tuner.fidelity import Levels, reached, spent
from tuner.gp.acquisition import Goal, Improvement, evaluate, make_acquisition
from tuner.gp.covariance import Layout
from tuner.gp.fidelity import AcrossFidelities, cheapest, correlations, information
from tuner.gp.model import Surrogate, condition
from tuner.gp.optimize import one_thread
from tuner.history import COMPLETED
from tuner.strategies.bayesian.candidates import Candidates
from tuner.strategies.bayesian.learned import Learned
from tuner.strategies.bayesian.observations import Observations, observe
from tuner.strategies.bayesian.predicted import predicted
from tuner.strategies.bayesian.table import Table, Tables
from tuner.strategies.bayesian.tilts import prior_tilt
from tuner.trial import Config, Proposal, Provenance

if TYPE_CHECKING:
    from tuner.history import History
    from tuner.problem import Problem
    from tuner.strategies.bayesian.engine import Settings
    from tuner.strategies.fresh import Fresh

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_INCUMBENTS = 4
_RISES = 16
"""Configurations that had less than all, the best of them, that are candidates again."""

_MIN_SAMPLES = 4
_SEVERAL = 3
"""Objectives from which on samples are a quarter of what they were: volumes are dear."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """How fidelity is spent.

    Attributes:
        levels: What there is to choose from.
        share: Least share of the cost so far that goes to full fidelity.
        overhead: What any trial costs, in full trials, besides its share of the fidelity.
        per_second: Whether the cost is the trials' seconds instead, once they say.
    """

    levels: Levels
    share: float
    overhead: float
    per_second: bool

    def costs(self, history: History, fidelity: Array) -> Array:
        """The costs of trials at these fidelities, NaN for all of it, in full trials, shape (n,)."""
        full = self.levels.full
        shares = np.clip(np.where(np.isnan(fidelity), full, fidelity), self.levels.low, full) / full
        fixed = self.overhead
        if self.per_second:
            measured = self._fixed(history)
            fixed = fixed if measured is None else measured
        return (fixed + shares) / (fixed + 1.0)

    def _fixed(self, history: History) -> float | None:
        """The seconds that do not depend on the fidelity, in those of a full trial that do; None if unknown."""
        rows = (history.state == COMPLETED) & (history.seconds > 0)
        f = np.minimum(spent(history)[rows], self.levels.full) / self.levels.full
        if len(np.unique(f)) < 2:
            return None
        slope, start = np.polyfit(f, history.seconds[rows], 1)
        return max(float(start), 0.0) / float(slope) if slope > 0 else None

    def due(self, history: History, begun: list[float]) -> tuple[bool, float]:
        """Whether full fidelity is due, and the share of the cost that it has had.

        Args:
            history: With its pending trials.
            begun: Fidelities of what is proposed beside them.
        """
        pending = [np.nan if p.fidelity is None else p.fidelity for p in history.pending]
        fidelity = np.concatenate([history.fidelity, pending, begun])
        if not len(fidelity):
            return False, 0.0
        costs = self.costs(history, fidelity)
        at_full = np.isnan(fidelity) | (fidelity >= self.levels.full)
        share = float(costs[at_full].sum() / costs.sum())
        return share < self.share, share


class FidelityEngine:
    """See the module.

    Args:
        problem: What is searched, with a fidelity.
        settings: How, as for `gp`.
        spending: How fidelity is spent.
    """

    def __init__(self, problem: Problem, settings: Settings, spending: Spending) -> None:
        levels = spending.levels
        held = {levels.parameter: problem.space[levels.parameter].normalise(levels.full)} if levels.column else {}
        self._problem = problem
        self._space = problem.space
        self._settings = settings
        self._spending = spending
        self._layout = Layout(problem.space, settings.kernels, held=held, over=AcrossFidelities)
        self._tables = Tables(problem, self._layout, levels=levels)
        self._learned = Learned(self._tables, self._layout.covariance, maxiter=settings.fit_steps)

    def propose(
        self, history: History, fresh: Fresh, n: int, rng: np.random.Generator, *, since: int
    ) -> list[Proposal]:
        """Up to `n` proposals; arguments as for `tuner.strategies.bayesian.engine.Engine`."""
        with one_thread():
            return self._propose(history, fresh, n, rng, since)

    def _propose(self, history: History, fresh: Fresh, n: int, rng: np.random.Generator, since: int) -> list[Proposal]:
        settings, levels = self._settings, self._spending.levels
        seed = int(rng.integers(2**31 - 1))
        data = self._tables.observe(history, max_rows=settings.max_rows)
        table = self._tables.table(data)
        learned = self._learned.hyperparameters(history, table)
        surrogate = condition(table.X, table.Y, learned, table.outcomes, share=table.share)
        target = observe(history, max_rows=settings.max_rows)
        goal = table.goal(self._problem, target, surrogate)
        full = np.isnan(data.fidelity) | (data.fidelity >= levels.full)
        X, standing = self._with_pending(history, table, torch.from_numpy(data.standing & full))
        samples = settings.mc_samples
        if table.n_objectives >= _SEVERAL:
            samples = max(samples // 4, _MIN_SAMPLES)
        known = target.complete
        at = torch.from_numpy(self._layout.arrange(target.X[known], target.active[known]))
        tilt = prior_tilt(self._problem, self._layout, history.n - since + 1, at, target.ranks()[known])
        rises = self._rises(history)
        candidates: Candidates | None = None
        proposals: list[Proposal] = []
        for _ in range(n):
            acquisition = make_acquisition(
                surrogate, goal, X, standing=standing, seed=seed, n_samples=samples, tilt=tilt
            )
            again = self._scored(acquisition, rises)
            if candidates is None:
                near = [self._space.encoding.encode(config)[0] for _, config in again[:_INCUMBENTS]]
                incumbents = np.array([*target.incumbents(_INCUMBENTS), *near])
                candidates = Candidates(self._layout, self._space, incumbents, settings.raw_samples, rng)
            new = candidates.ranked(acquisition, restarts=settings.restarts, maxiter=settings.maxiter)
            ranked = sorted([*again, *new], key=lambda pair: -pair[0])
            weighed = _Weighed(surrogate, goal, X, standing, table.n_objectives)
            chosen = self._chosen(ranked, history, fresh, weighed, proposals)
            if chosen is None:
                break
            value, proposal_config, level, why = chosen
            row = self._row(proposal_config, level)
            account = "; ".join([f"{acquisition.name} over {_count(data)}", why, *surrogate.notes])
            mean, sd = predicted(self._problem, acquisition, [surrogate], goal, row)
            provenance = Provenance(engine="mf-gp", acquisition=value, mean=mean, sd=sd, reason=account)
            proposals.append(Proposal(config=proposal_config, fidelity=level, provenance=provenance))
            X = torch.cat([X, row])
            standing = torch.cat([standing, torch.tensor([level >= levels.full])])
        return proposals

    def _with_pending(self, history: History, table: Table, standing: Tensor) -> tuple[Tensor, Tensor]:
        """X (n + p, D + 1), and which of its rows count as the best so far: those at full fidelity."""
        s = self._spending.levels.unit([np.nan if p.fidelity is None else p.fidelity for p in history.pending])
        rows = np.concatenate([self._layout.arrange(history.pending_X, history.pending_active), s[:, None]], axis=1)
        return torch.cat([table.X, torch.from_numpy(rows)]), torch.cat([standing, torch.from_numpy(s >= 1.0)])

    def _rises(self, history: History) -> list[Config]:
        """The configurations that completed, and never at full fidelity."""
        at, encoding = spent(history), self._space.encoding
        rows = np.flatnonzero((history.state == COMPLETED) & np.isfinite(at))
        configs = [self._spending.levels.apply(encoding.decode(history.X[row]), self._spending.levels.full)
                   for row in rows]  # fmt: skip
        distinct = {self._space.key(config): config for config in configs}
        return [config for config in distinct.values() if reached(history, config) < self._spending.levels.full]

    def _scored(self, acquisition: Improvement, configs: list[Config]) -> list[tuple[float, Config]]:
        """The best of them with their values, best first."""
        if not configs:
            return []
        rows = np.ascontiguousarray(self._layout.arrange(*self._space.encoding.encode_many(configs)))
        values = evaluate(acquisition, torch.from_numpy(rows)).numpy()
        return [(float(values[i]), configs[i]) for i in np.argsort(-values, kind="stable")[:_RISES]]

    def _row(self, config: Config, level: float) -> Tensor:
        x, active = self._space.encoding.encode(config)
        s = self._spending.levels.unit([level])
        return torch.from_numpy(np.concatenate([self._layout.arrange(x[None], active[None]), s[None]], axis=1))

    def _chosen(
        self,
        ranked: list[tuple[float, Config]],
        history: History,
        fresh: Fresh,
        weighed: _Weighed,
        proposals: list[Proposal],
    ) -> tuple[float, Config, float, str] | None:
        """The best candidate that may be tried, at the level that says most per cost; and why."""
        spending, levels = self._spending, self._spending.levels
        due, share = spending.due(history, [p.fidelity for p in proposals if p.fidelity is not None])
        for value, config in ranked:
            usable = [v for v in levels.values if self._usable(levels.apply(config, v), v, history, fresh, proposals)]
            if not usable or (due and usable[-1] < levels.full):
                continue
            if due:
                level = levels.full
                why = f"{levels.parameter}={level:g}: full fidelity has had {share:.0%} of the cost, below its share"
            else:
                costs = spending.costs(history, np.array(usable))
                gains, squared = weighed.gains(self._row(config, levels.full)[:, :-1], levels.unit(usable))
                best = cheapest(gains, costs.tolist())
                level = usable[best]
                why = (
                    f"{levels.parameter}={level:g}: {float(gains[best]):.2g} nats for {costs[best]:.2g} full trials, "
                    f"correlation {float(squared[best]) ** 0.5:.2f} with {levels.parameter}={levels.full:g}"
                )
            chosen = levels.apply(config, level)
            if not history.seen(chosen):
                fresh.take(chosen)
            return value, chosen, level, why
        return None

    def _usable(self, config: Config, level: float, history: History, fresh: Fresh, proposals: list[Proposal]) -> bool:
        """Whether a configuration may be tried at a level: it is new, or had less."""
        if not (self._space.contains(config) and self._space.feasible(config)):
            return False
        key = self._space.key(config)
        if any(self._space.key(p.config) == key for p in proposals):
            return False
        return reached(history, config) < level if history.seen(config) else fresh.acceptable(config)


class _Weighed:
    """What observations say about what matters of each modelled outcome at full fidelity."""

    def __init__(self, surrogate: Surrogate, goal: Goal, X: Tensor, standing: Tensor, m: int) -> None:
        self._models = surrogate.models
        self._thresholds: Mapping[int, float] = {m + i: float(t) for i, t in enumerate(goal.thresholds)}
        if m == 1 and 0 in self._models and bool(standing.any()):
            best = self._models[0].predict(X[standing])[0].max()
            self._thresholds = {**self._thresholds, 0: float(best)}

    def gains(self, x: Tensor, s: Array) -> tuple[Tensor, Tensor]:
        """Nats summed over the outcomes, and squared correlations of the first of them, shapes (k,).

        The threshold of a margin is where it is met, that of a single objective the best so far, and of other outcomes
        their mean: whether they are better or worse than expected.

        Args:
            x: A configuration, shape (1, D).
            s: Fidelities, shape (k,).
        """
        at = torch.from_numpy(np.asarray(s))
        total, first = torch.zeros_like(at), None
        for j, model in self._models.items():
            squared, mean, sd = correlations(model, x, at)
            gap = (self._thresholds[j] - mean) / sd if j in self._thresholds else 0.0
            total = total + information(squared, gap)
            first = squared if first is None else first
        return total, torch.ones_like(at) if first is None else first


def _count(data: Observations) -> str:
    failed = f", {data.failures} of them failed" if data.failures else ""
    return f"{len(data.X)} observations{failed}"
