"""mf-gp: Bayesian optimisation that spends less than the full fidelity where that says enough.

A proposal carries its fidelity. One process over configurations and fidelities learns from all trials, and from what
they reported on the way; see `tuner.strategies.bayesian.fidelities` for how it is used. A study starts with the centre
of the space in full, a design at the least fidelity, and the best of that at each of the others, so that the model
learns how fidelities go together. It needs a sweep with `fidelity: {parameter, min, max}`; budgets in time or in a cost
that grows with the fidelity do it justice, a number of trials counts cheap ones as dear ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tuner import pareto
from tuner.errors import SpaceError, TunerError, UsageError
from tuner.fidelity import levels, reached, spent
from tuner.history import COMPLETED, History
from tuner.strategies.bayesian.gp import check_kernels, counts_seconds
from tuner.strategies.fresh import Fresh
from tuner.strategies.sobol import SobolSequence
from tuner.trial import Config, Proposal, Provenance

if TYPE_CHECKING:
    from tuner.problem import Problem
    from tuner.strategies.bayesian.fidelities import FidelityEngine

_CHEAP_COST = 1.5
"""What the design at the least fidelity may cost, in full trials."""

_CHEAP_A_COLUMN = 4
_FEWEST_CHEAP = 3
_FEWEST = 6
_PAIRS = 2


@dataclass(frozen=True, slots=True)
class Options:
    """What `mf-gp` can be told.

    Attributes:
        initial: Trials before the first model; when None the centre in full, four times the columns plus one at the
            least fidelity, or as many as cost one and a half full trials, and two at each other one; at most a quarter
            of a budget of trials, at least 6.
        share: Least share of the cost that goes to full fidelity.
        overhead: What any trial costs, in full trials, besides its share of the fidelity.
        fit_steps: Steps of L-BFGS-B for the hyperparameters.
        restarts: Local searches of the acquisition function.
        raw_samples: Draws from the space that they start from.
        mc_samples: Samples of the objectives' noise-free values at the trials; a quarter with three objectives.
        maxiter: Steps of each local search.
        max_rows: Trials that a model is fitted to at most: the best half, and the latest.
        kernels: Parameter -> covariance, by name, instead of the one that the space chooses.
        per_second: Whether cost is the trials' seconds; when None, if the budget is a time and no number of trials.
    """

    initial: int | None = None
    share: float = 0.5
    overhead: float = 0.01
    fit_steps: int = 60
    restarts: int = 8
    raw_samples: int = 512
    mc_samples: int = 32
    maxiter: int = 40
    max_rows: int = 1000
    kernels: Mapping[str, str] = field(default_factory=dict)
    per_second: bool | None = None

    def __post_init__(self) -> None:
        for name in ("fit_steps", "restarts", "raw_samples", "mc_samples", "maxiter", "max_rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, but got {getattr(self, name)}")
        if not 0.0 < self.share <= 1.0:
            raise ValueError(f"share must lie in (0, 1], but got {self.share}")
        if self.overhead < 0.0:
            raise ValueError(f"overhead must be >= 0, but got {self.overhead}")


class MfGpSearch:
    """See the module."""

    def __init__(self, problem: Problem, options: Options) -> None:
        check_kernels(problem, options.kernels)
        self._problem = problem
        self._space = problem.space
        self._options = options
        self._levels = levels(problem)
        self._plan = plan(problem, options)
        self._sequence = SobolSequence(problem.space, problem.seed & 0x7FFFFFFF)
        self._engine: FidelityEngine | None = None

    def suggest(self, history: History, n: int, rng: np.random.Generator) -> list[Proposal]:
        """Return `n` proposals that are good to try together; fewer when the space is exhausted."""
        fresh = Fresh(history, n)
        started = history.n + len(history.pending)
        proposals: list[Proposal] = []
        reason = "initial design"
        if started >= len(self._plan):
            reason = "fewer than two trials have completed"
            if int((history.state == COMPLETED).sum()) >= 2:
                try:
                    proposals, reason = self._by_model(history, fresh, n, rng), "nothing new scored; drawn instead"
                except TunerError:
                    raise
                except Exception as error:  # a proposal is due whatever the linear algebra says
                    reason = f"the model failed ({type(error).__name__}: {str(error)[:120]})"
        return self._by_design(history, fresh, proposals, n, rng, reason)

    def _by_design(
        self, history: History, fresh: Fresh, proposals: list[Proposal], n: int, rng: np.random.Generator, reason: str
    ) -> list[Proposal]:
        """Fill up: with what the plan has next, with points of the Sobol sequence, and with draws."""
        found, begun = list(proposals), history.n + len(history.pending)
        while len(found) < n:
            place = begun + len(found)
            level = self._plan[place] if place < len(self._plan) else self._levels.full
            config = self._rise(history, level, found) if place > 1 and level > self._levels.low else None
            why = f"{reason}; {self._levels.parameter}={level:g}"
            if config is not None:
                why += ", as it was good at less"
            else:
                config = self._new(history, fresh, place, level, rng)
            if config is None:
                break
            provenance = Provenance(engine="mf-gp", reason=why)
            found.append(Proposal(config=config, fidelity=level, provenance=provenance))
        return found

    def _new(self, history: History, fresh: Fresh, place: int, level: float, rng: np.random.Generator) -> Config | None:
        """The centre of the space first, then points of the Sobol sequence or draws; None when there are no more."""
        first = history.next_trial == 0 and place == 0
        for config in (self._space.centre() if first else None, self._sequence.config(history.next_trial + place)):
            if config is not None and not fresh.exhausted:
                placed = self._placed(config, level)
                if placed is not None and fresh.take(placed):
                    return placed
        if fresh.exhausted:
            return None
        for drawn in Fresh(history, len(fresh.configs) + 1).draw(rng):
            placed = self._placed(drawn, level) or drawn
            if fresh.take(placed):
                return placed
        return None

    def _placed(self, config: Config, level: float) -> Config | None:
        """A configuration with so much of the fidelity; None when the space has no such one."""
        placed = self._levels.apply(config, level)
        return placed if self._space.contains(placed) and self._space.feasible(placed) else None

    def _rise(self, history: History, level: float, begun: list[Proposal]) -> Config | None:
        """The best configuration of those that completed at less and had not so much yet; None when there is none."""
        at = spent(history)
        rows = np.flatnonzero((history.state == COMPLETED) & (at < level) & ~np.isnan(history.Y).any(axis=1))
        taken = {self._space.key(proposal.config) for proposal in begun}
        if not len(rows):
            return None
        ranks = pareto.ranks(history.Y[rows], history.feasible[rows], np.zeros(len(rows)))
        for row in rows[np.lexsort((-at[rows], ranks))]:
            config = self._placed(self._space.encoding.decode(history.X[row]), level)
            if config is not None and self._space.key(config) not in taken and reached(history, config) < level:
                return config
        return None

    def _by_model(self, history: History, fresh: Fresh, n: int, rng: np.random.Generator) -> list[Proposal]:
        from tuner.strategies.bayesian.engine import Settings
        from tuner.strategies.bayesian.fidelities import FidelityEngine, Spending

        if self._engine is None:
            options = self._options
            spending = Spending(
                levels=self._levels,
                share=options.share,
                overhead=options.overhead,
                per_second=counts_seconds(self._problem, options.per_second),
            )
            settings = Settings(
                restarts=options.restarts,
                raw_samples=options.raw_samples,
                mc_samples=options.mc_samples,
                maxiter=options.maxiter,
                max_rows=options.max_rows,
                kernels=options.kernels,
                fit_steps=options.fit_steps,
            )
            self._engine = FidelityEngine(self._problem, settings, spending)
        return self._engine.propose(history, fresh, n, rng, since=len(self._plan))


def plan(problem: Problem, options: Options) -> list[float]:
    """The fidelities of the initial design: one in full, then as in `Options.initial`."""
    found, d = levels(problem), problem.space.encoding.dim
    affordable = int(_CHEAP_COST / (options.overhead + found.low / found.full))
    cheap = min(max(affordable, _FEWEST_CHEAP), _CHEAP_A_COLUMN * (d + 1))
    rising = [value for value in found.values[1:] for _ in range(_PAIRS)]
    most, initial = 1 + cheap + len(rising), options.initial
    trials = problem.budget.trials if problem.budget is not None else None
    if initial is None and trials is not None and most > max(trials // 4, _FEWEST):
        initial = max(trials // 4, _FEWEST)
    if initial is not None:
        rising = rising[: max(initial - 2, 0) // 2]
        cheap = max(initial - 1 - len(rising), 0)
    return [found.full, *[found.low] * cheap, *rising]


def build(problem: Problem, options: Options) -> MfGpSearch:
    """Return the strategy.

    Raises:
        UsageError: The sweep declares no fidelity, its most is no value of its parameter, or nothing else is searched.
    """
    if problem.fidelity is None:
        raise UsageError(
            "mf-gp spends a fidelity, but the sweep declares none; add `fidelity: {parameter: epochs, min: 1, max: 27}`"
            " with a parameter that makes trials cheaper, or use gp"
        )
    name, found = problem.fidelity.parameter, levels(problem)
    if found.column and len(problem.space.encoding.columns) == 1:
        raise UsageError(f"mf-gp searches what is left beside {name!r}, but nothing is; add a parameter")
    if found.column:
        try:
            problem.space[name].normalise(found.full)
        except SpaceError as error:
            raise UsageError(f"fidelity.max must be a value of {name!r}: {error}; change one of them") from None
    return MfGpSearch(problem, options)
