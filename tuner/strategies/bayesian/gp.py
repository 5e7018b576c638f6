"""gp: Bayesian optimisation with exact Gaussian processes, by BoTorch.

One process per objective and constraint margin, one for failures, none for metrics that follow from the configuration;
a composite objective is replaced by the outputs that its formula reads;
noisy expected improvement of the objective or of the hypervolume (see `tuner.gp.acquisition`). It starts from the
baseline, the initial configurations and a Sobol design. Whatever goes wrong in the linear algebra, there is a
proposal, and the provenance says why it is another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tuner.errors import TunerError
from tuner.history import COMPLETED, History
from tuner.strategies.bayesian.composites import Formula, applicable, formulas
from tuner.strategies.bayesian.known import KnownMetrics
from tuner.strategies.bayesian.observations import Observations, observe
from tuner.strategies.fresh import Fresh
from tuner.strategies.sobol import SobolSequence
from tuner.trial import Config, Proposal, Provenance

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from tuner.gp.acquisition import Goal, Improvement
    from tuner.gp.model import Surrogate
    from tuner.gp.outcomes import Function
    from tuner.problem import Problem

_MAX_INITIAL = 20
_INCUMBENTS = 4
_MIN_SAMPLES = 4


@dataclass(frozen=True, slots=True)
class Options:
    """What `gp` can be told.

    Attributes:
        initial: Trials before the first model, baseline and initial configurations included; when None twice the
            columns plus two, at most 20 and a third of the trial budget, at least 3.
        restarts: Local searches of the acquisition function.
        raw_samples: Draws from the space that they start from.
        mc_samples: Samples of the objectives' noise-free values at the trials; a quarter with three objectives.
        maxiter: Steps of each gradient search.
        max_rows: Most trials a model is fitted to: the best half and the latest.
    """

    initial: int | None = None
    restarts: int = 4
    raw_samples: int = 256
    mc_samples: int = 32
    maxiter: int = 50
    max_rows: int = 500

    def __post_init__(self) -> None:
        for name in ("restarts", "raw_samples", "mc_samples", "maxiter", "max_rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, but got {getattr(self, name)}")


def initial_trials(problem: Problem, options: Options) -> int:
    """Return how many trials come before the first model."""
    if options.initial is not None:
        return options.initial
    trials = problem.budget.trials if problem.budget is not None else None
    share = _MAX_INITIAL if trials is None else max(3, trials // 3)
    return min(2 * (problem.space.encoding.dim + 1), _MAX_INITIAL, share)


class GpSearch:
    """See the module."""

    def __init__(self, problem: Problem, options: Options) -> None:
        self._problem = problem
        self._space = problem.space
        self._options = options
        self._initial = initial_trials(problem, options)
        self._sequence = SobolSequence(problem.space, problem.seed & 0x7FFFFFFF)
        columns = problem.space.encoding.columns
        self._known = KnownMetrics(problem)
        self._formulas = formulas(problem)
        self._categorical = tuple(j for j, column in enumerate(columns) if column.kind == "categorical")

    def suggest(self, history: History, n: int, rng: np.random.Generator) -> list[Proposal]:
        """Return `n` proposals that are good to try together; fewer when the space is exhausted."""
        fresh = Fresh(history, n)
        proposals: list[Proposal] = []
        started = history.n + len(history.pending)
        reason = f"initial design, {min(started + 1, self._initial)} of {self._initial}"
        if started >= self._initial and not fresh.exhausted:
            reason = "fewer than two trials have completed"
            if int((history.state == COMPLETED).sum()) >= 2:
                try:
                    proposals, reason = self._by_model(history, fresh, n, rng), "nothing new scored; drawn instead"
                except TunerError:
                    raise
                except Exception as error:  # a proposal is due whatever the linear algebra says
                    reason = f"the model failed ({type(error).__name__}: {str(error)[:120]})"
        return proposals + self._by_design(history, fresh, rng, reason)

    def _by_design(self, history: History, fresh: Fresh, rng: np.random.Generator, reason: str) -> list[Proposal]:
        """Fill up with the centre of the space, the Sobol sequence, and draws, in this order."""
        before = len(fresh.configs)
        if fresh.missing and history.next_trial == 0 and not fresh.exhausted:
            fresh.take(self._space.centre())
        index = history.next_trial + before
        for i in range(fresh.missing):
            config = None if fresh.exhausted else self._sequence.config(index + i)
            if config is not None:
                fresh.take(config)
        fresh.draw(rng)
        provenance = Provenance(engine="sobol", reason=reason)
        return [Proposal(config=config, provenance=provenance) for config in fresh.configs[before:]]

    def _by_model(self, history: History, fresh: Fresh, n: int, rng: np.random.Generator) -> list[Proposal]:
        import torch

        from tuner.gp.acquisition import MAX_VOLUME_OBJECTIVES, make_acquisition
        from tuner.gp.model import fit_surrogate
        from tuner.gp.optimize import isolated
        from tuner.strategies.bayesian.candidates import Candidates

        options = self._options
        seed = int(rng.integers(2**31 - 1))
        data = observe(history, max_rows=options.max_rows)
        proposals = []
        m = data.n_objectives
        samples = max(options.mc_samples // 4, _MIN_SAMPLES) if m == MAX_VOLUME_OBJECTIVES else options.mc_samples
        with isolated(seed):
            X, Y = torch.from_numpy(data.X), torch.from_numpy(data.Y)
            known = self._known.objectives(X, Y[:, :m])
            plan = self._plan(X, Y, torch.from_numpy(data.outputs), known)
            surrogate = fit_surrogate(
                X,
                plan.Y,
                categorical=self._categorical,
                two_sided=[j >= m for j in range(plan.Y.shape[1])],
                labels=Y.shape[1] - 1 if data.failures else None,
                exact=[*plan.known, *plan.composites],
                bounded=range(m),
                positive=range(Y.shape[1], plan.Y.shape[1]),
            )
            goal = self._goal(data, surrogate, plan)
            pending = torch.from_numpy(np.array(history.pending_X))
            candidates = Candidates(self._space, data.incumbents(_INCUMBENTS), options.raw_samples, rng)
            for _ in range(n):
                acquisition = make_acquisition(
                    surrogate,
                    goal,
                    X,
                    standing=torch.from_numpy(data.standing),
                    X_pending=pending,
                    seed=seed,
                    n_samples=samples,
                )
                ranked = candidates.ranked(acquisition, restarts=options.restarts, maxiter=options.maxiter)
                chosen = next(((value, config) for value, config in ranked if fresh.take(config)), None)
                if chosen is None:
                    break
                x = torch.from_numpy(self._space.encoding.encode(chosen[1])[0][None])
                reason = _account(acquisition.name, data, surrogate)
                proposals.append(self._proposal(chosen, acquisition, surrogate, x, reason))
                pending = torch.cat([pending, x])
        return proposals

    def _plan(self, X: Tensor, Y: Tensor, outputs: Tensor, known: dict[int, Function]) -> _Plan:
        """Add a column for each thing that a composite objective reads."""
        import torch

        composites: dict[int, tuple[Formula, tuple[int, ...]]] = {}
        columns, places = [Y], dict[str, int]()
        for j, formula in self._formulas.items():
            measured = {name: outputs[:, i] for i, name in enumerate(self._problem.outputs)}
            functions = {name: self._known.function(name) for name in formula.leaves if name not in measured}
            values = {**measured, **{name: function(X) for name, function in functions.items()}}
            if not applicable(formula, torch.stack([values[name] for name in formula.leaves], dim=-1), Y[:, j]):
                continue
            for name in formula.leaves:
                if name not in places:
                    places[name] = Y.shape[1] + len(places)
                    columns.append(values[name].unsqueeze(-1))
                    if name in functions:
                        known[places[name]] = functions[name]
            composites[j] = formula, tuple(places[name] for name in formula.leaves)
        return _Plan(torch.cat(columns, dim=1), Y.shape[1], known, composites)

    def _goal(self, data: Observations, surrogate: Surrogate, plan: _Plan) -> Goal:
        import torch

        from tuner.gp.acquisition import Goal

        m, loc, scale = data.n_objectives, surrogate.loc, surrogate.scale
        declared = [None if o.reference is None else o.sign * o.reference for o in self._problem.objectives]
        reference = torch.from_numpy(data.reference(declared))

        def standardised(j: int, function: Function) -> Function:
            return lambda x: (function(x) - loc[j]) / scale[j]

        def applied(j: int, formula: Formula, parts: tuple[int, ...]) -> Function:
            at = list(parts)
            return lambda Z: (formula(loc[at] + scale[at] * Z) - loc[j]) / scale[j]

        return Goal(
            n_objectives=m,
            thresholds=-loc[m : plan.k] / scale[m : plan.k],
            reference=(reference - loc[:m]) / scale[:m],
            any_feasible=bool(data.feasible.any()),
            known={j: standardised(j, function) for j, function in plan.known.items()},
            composites={j: (applied(j, formula, parts), parts) for j, (formula, parts) in plan.composites.items()},
        )

    def _proposal(
        self, chosen: tuple[float, Config], acquisition: Improvement, surrogate: Surrogate, x: Tensor, reason: str
    ) -> Proposal:
        mean, sd = {}, {}
        if acquisition.objectives:
            means, sds = acquisition.predict(x)
            for j, objective in enumerate(self._problem.objectives):
                value = float(surrogate.loc[j] + surrogate.scale[j] * means[j])
                mean[objective.name] = objective.sign * value
                sd[objective.name] = float(surrogate.scale[j] * sds[j])
        provenance = Provenance(engine="gp", acquisition=chosen[0], mean=mean, sd=sd, reason=reason)
        return Proposal(config=chosen[1], provenance=provenance)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is modelled, and what is not.

    Attributes:
        Y: Outcomes, then what composite objectives read, shape (n, k + o).
        k: How many are outcomes.
        known: Column -> its exact function.
        composites: Objective -> its formula, and the columns that this reads.
    """

    Y: Tensor
    k: int
    known: Mapping[int, Function]
    composites: Mapping[int, tuple[Formula, tuple[int, ...]]]


def _account(name: str, data: Observations, surrogate: Surrogate) -> str:
    failed = f", {data.failures} of them failed" if data.failures else ""
    return "; ".join([f"{name} over {len(data.X)} trials{failed}", *surrogate.notes])


def build(problem: Problem, options: Options) -> GpSearch:
    """Return the strategy; it works on every problem."""
    return GpSearch(problem, options)
