"""auto: chooses a strategy by what it can see, and says in every proposal what it chose and why.

In this order:

    thompson  the objective has a context for every trial, and one goal
    grid      the space is finite and the trial budget covers all of it
    mf-gp     a fidelity is declared, nothing stops trials early, and the budget is a time or a cost, in which a trial
              of less fidelity counts less; bohb when a suggestion of it would cost more than it may, asha when even
              that would
    preference as gp, once there are answers of `tuner prefer`
    gp        up to 40 columns, and up to 1,000 trials
    nsga2/3   several objectives (nsga3 from four) after 1,000 trials and 50 a column, which are its first generations
    cmaes     one objective, only numbers, no conditions or constraints, after as many, from the best of them
    turbo     more columns or trials
    tpe       when a suggestion of these would cost more than it may
    sobol     when even that would

What a suggestion may cost is `max_overhead` times the median trial's seconds, shared among those that run in parallel,
but never less than `floor_s`. What one costs is estimated from trials, objectives and constraints, not measured:
proposals depend on the history alone then, and the trials' seconds, which they do depend on, count in powers of two.

When nothing new has come to the front of several objectives for a while, every third proposal looks elsewhere: the
model has settled, and what it does not expect it does not find. (With one objective, `gp` sees to it.) Noise is learned
with the model, which says in the provenance how much it found; when it found some that nobody declared, the best
configuration is tried once more, and what comes of it decides whether measurements count as noisy, here and in what is
recommended.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner import catalog, pareto
from tuner.errors import UsageError
from tuner.strategies.fresh import replicates
from tuner.trial import Proposal

if TYPE_CHECKING:
    from tuner.history import History
    from tuner.problem import Problem
    from tuner.strategies.protocol import Strategy

_GP_COLUMNS = 40
_GP_TRIALS = 1_000
_MAX_GRID = 10_000
_MANY_TRIALS_A_COLUMN = 50

_OPTIONS: dict[str, dict[str, Any]] = {"grid": {"levels": _MAX_GRID}, "gp": {"doubt": True}}
"""What strategies are told."""

_PATIENCE = 20
_PATIENCE_A_COLUMN = 3
_ELSEWHERE = 3
"""Every so many proposals look elsewhere once nothing better has come for that long."""


@dataclass(frozen=True, slots=True)
class Options:
    """What `auto` can be told.

    Attributes:
        max_overhead: Seconds that a suggestion may take for each second that a trial takes.
        floor_s: Seconds that it may always take.
    """

    max_overhead: float = 1.0
    floor_s: float = 1.0


def gp_seconds(trials: int, objectives: int, constraints: int) -> float:
    """Return about how long one suggestion of `gp` takes on one core, in seconds, hyperparameters included.

    Fitted to what `tuner bench --timing` and runs of 60 trials gave, one to five objectives: each outcome costs a
    constant and the square of the trials, of which at most 1,000 count, and volumes a constant for each objective.
    """
    each = 0.08 + 2.2e-7 * min(trials, 1_000) ** 2
    return (objectives + constraints) * each + (0.1 * objectives if objectives > 1 else 0.0)


_TPE_SECONDS = 0.02


class Auto:
    """See the module."""

    def __init__(self, problem: Problem, options: Options) -> None:
        self._problem = problem
        self._options = options
        self._columns = problem.space.encoding.columns
        self._many = max(_GP_TRIALS, _MANY_TRIALS_A_COLUMN * len(self._columns))
        self._built: dict[str, Strategy] = {}
        self._fixed = self._by_problem()
        self._spends = self._fixed is None and self._spends_fidelity()

    def suggest(self, history: History, n: int, rng: np.random.Generator) -> list[Proposal]:
        """Return the proposals of the strategy that suits this problem and history best."""
        name, why = self._fixed or self._by_history(history)
        if name == "gp" and history.answers and len(self._problem.objectives) > 1:
            name, why = "preference", "answers say what is wanted"
        if name in ("gp", "preference", "turbo") and len(self._problem.objectives) > 1:
            settled = stalled(history)
            if settled > max(_PATIENCE, _PATIENCE_A_COLUMN * len(self._columns)) and settled % _ELSEWHERE == 0:
                name, why = "sobol", f"nothing better in {settled} trials, a look elsewhere"
        return [self._signed(proposal, name, why) for proposal in self._strategy(name).suggest(history, n, rng)]

    def _strategy(self, name: str) -> Strategy:
        if name not in self._built:
            self._built[name] = self._build(name)
        return self._built[name]

    def _signed(self, proposal: Proposal, name: str, why: str) -> Proposal:
        reason = "; ".join(part for part in (f"auto chose {name}: {why}", proposal.provenance.reason) if part)
        return dataclasses.replace(proposal, provenance=dataclasses.replace(proposal.provenance, reason=reason))

    def _builds(self, name: str) -> bool:
        try:
            self._strategy(name)
        except UsageError:
            return False
        return True

    def _build(self, name: str) -> Strategy:
        module = catalog.load("strategies", name)
        if name == "cmaes":
            onward: Strategy = module.Onward(self._problem, self._many)
            return onward
        if not hasattr(module, "Options"):
            plain: Strategy = module.build(self._problem)
            return plain
        options = module.Options(**_OPTIONS.get(name, {}))
        strategy: Strategy = module.build(self._problem, options)
        return strategy

    def _by_problem(self) -> tuple[str, str] | None:
        """What the problem alone decides."""
        problem, d = self._problem, len(self._columns)
        trials = problem.budget.trials if problem.budget is not None else None
        if d == 0:
            return "random", "there is nothing to search"
        if problem.context is not None and self._builds("thompson"):
            return "thompson", "every trial solves an instance of its own, and its context tells which"
        if trials is None:
            return None
        size = problem.space.size()
        discrete = all(column.grid is not None for column in self._columns)
        if discrete and size <= min(trials, _MAX_GRID) and not replicates(problem):
            return "grid", f"{trials} trials cover all {size:g} configurations"
        return None

    def _spends_fidelity(self) -> bool:
        """Whether a trial of less fidelity saves some of the budget."""
        problem = self._problem
        trials = problem.budget.trials if problem.budget is not None else None
        return problem.fidelity is not None and problem.early_stop is None and trials is None and self._builds("mf-gp")

    def _by_history(self, history: History) -> tuple[str, str]:
        d, m, c, n = len(self._columns), history.Y.shape[1], history.C.shape[1], history.n
        allowed, cost = self._allowed(history), gp_seconds(history.n, m, c)
        if self._spends:
            why = "the budget counts what a trial costs, and less fidelity costs less"
            lighter = [name for name in ("bohb", "asha") if self._builds(name)]
            if (cost <= allowed and n <= _GP_TRIALS) or not lighter:
                return "mf-gp", why
            slow = (
                f"{n} trials are many" if cost <= allowed else f"{cost:.1f} s a suggestion are more than {allowed:.1f}"
            )
            return lighter[0 if allowed >= _TPE_SECONDS else -1], f"{why}; {slow} for mf-gp"
        if cost <= allowed and d <= _GP_COLUMNS and n <= _GP_TRIALS:
            return "gp", f"{d} columns, {n} trials, {m} objective{'s' if m > 1 else ''}"
        if n >= self._many and allowed >= _TPE_SECONDS:
            if m > 1:
                return "nsga2" if m < 4 else "nsga3", f"{n} trials of {m} objectives, which are its first generations"
            if self._plain():
                return "cmaes", f"{n} trials of {d} numeric columns, from the best of the first {self._many}"
        if cost <= allowed:
            return "turbo", f"{d} columns are many" if d > _GP_COLUMNS else f"{n} trials are many"
        if allowed >= _TPE_SECONDS:
            return "tpe", f"gp would take about {cost:.1f} s a suggestion, and {allowed:.1f} s are allowed"
        return "sobol", f"{allowed:.3f} s are allowed for a suggestion"

    def _plain(self) -> bool:
        """Whether there are several columns of numbers, and nothing else."""
        numbers = all(column.kind in ("continuous", "integer") for column in self._columns)
        bound = self._problem.space.conditions or self._problem.constraints
        return numbers and len(self._columns) > 1 and not bound

    def _allowed(self, history: History) -> float:
        seconds = history.seconds[np.isfinite(history.seconds) & (history.seconds > 0)]
        if not len(seconds):
            return math.inf
        typical = 2.0 ** round(math.log2(float(np.median(seconds))))
        share = self._options.max_overhead * typical / max(self._problem.parallel, 1)
        return max(self._options.floor_s, share)


def stalled(history: History) -> int:
    """Return how many trials have finished since one that nothing has dominated so far."""
    known = history.feasible & ~np.isnan(history.Y).any(axis=1)
    if not known.any():
        return 0
    best = np.flatnonzero(known)[pareto.non_dominated(history.Y[known])]
    return history.n - 1 - int(best[0] if history.Y.shape[1] == 1 else best[-1])


def build(problem: Problem, options: Options) -> Auto:
    """Return the strategy; it works on every problem."""
    return Auto(problem, options)
