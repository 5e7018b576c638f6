"""gp: Bayesian optimisation with exact Gaussian processes.

One process per objective and constraint margin, one for failures, none for metrics that follow from the configuration;
a composite objective is replaced by the outputs that its formula reads; covariances as the space demands (see
`tuner.gp.covariance`); noisy expected improvement of the objective or of the hypervolume (see `tuner.gp.acquisition`).
It starts from the baseline, the initial configurations and a Sobol design. A settled search of unordered columns jumps
(`elsewhere`), one of numbers looks by turns everywhere and around the best trial (`local`). Whatever goes wrong in the
linear algebra, there is a proposal, and the provenance says why it is another one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tuner import catalog
from tuner.errors import TunerError, UsageError
from tuner.history import COMPLETED, History
from tuner.parameters import Permutation, Simplex
from tuner.strategies.fresh import Fresh
from tuner.strategies.sobol import SobolSequence
from tuner.trial import Proposal, Provenance

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from numpy.typing import NDArray

    from tuner.problem import Problem
    from tuner.strategies.bayesian.engine import Engine


_BY_PRIOR = 3
"""Every so many trials of the initial design are drawn from the priors; the first is where they are densest."""

_MANY_COLUMNS = 5
"""Fewer can be searched everywhere; turns cost what has constraints there (docs/log.md)."""

_MIDDLE = 0.5
"""Part of a numeric column that the design covers where there are many of them: points that cover all of so many lie at
the edge of the space, and the model needs no design to look there. With several objectives the ends of the front are at
edges, and a feasible part of it that no trial has seen is not found."""


@dataclass(frozen=True, slots=True)
class Options:
    """What `gp` can be told.

    Attributes:
        initial: Trials before the first model, baseline and initial configurations included; when None the columns
            plus one, at most 10 and a fifth of the trial budget, at least 3.
        fit_steps: Steps of L-BFGS-B for the hyperparameters.
        restarts: Local searches of the acquisition function.
        raw_samples: Draws from the space that they start from.
        mc_samples: Samples of the objectives' noise-free values at the trials; a quarter with three objectives.
        maxiter: Steps of each gradient search.
        max_rows: Most trials a model is conditioned on, the best half and the latest; eight times as many on a GPU.
        kernels: Parameter -> the covariance that it gets instead of the space's choice.
        per_second: Whether improvement counts per second of a trial; when None, if the budget is a time and no number
            of trials.
        doubt: Whether the best configuration is tried once more when the model sees noise that nobody declared: only a
            configuration tried twice can prove it.
    """

    initial: int | None = None
    fit_steps: int = 60
    restarts: int = 8
    raw_samples: int = 512
    mc_samples: int = 32
    maxiter: int = 40
    max_rows: int = 1000
    kernels: Mapping[str, str] = field(default_factory=dict)
    per_second: bool | None = None
    doubt: bool = False

    def __post_init__(self) -> None:
        for name in ("fit_steps", "restarts", "raw_samples", "mc_samples", "maxiter", "max_rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, but got {getattr(self, name)}")


def shared(options: DataclassInstance) -> Options:
    """What another strategy was told of the things that `gp` can be told, too; the rest as it comes."""
    known = {field.name for field in fields(Options)}
    return Options(**{f.name: getattr(options, f.name) for f in fields(options) if f.name in known})


def initial_trials(problem: Problem, options: Options) -> int:
    """Return how many trials come before the first model."""
    return problem.design_trials if options.initial is None else options.initial


def check_kernels(problem: Problem, kernels: Mapping[str, str]) -> None:
    """See that covariances named by the user exist and have a parameter each, before a trial is spent.

    Raises:
        UsageError: They name no parameter of the space, or a covariance that takes more than a parameter's columns.
        UnknownNameError: There is no such covariance.
    """
    for parameter, kernel in kernels.items():
        if parameter not in problem.space.names:
            known = ", ".join(problem.space.names)
            raise UsageError(f'search.kernels names "{parameter}", which is no parameter of the space (known: {known})')
        catalog.dotted("kernels", kernel)
        if kernel == "conditional":
            raise UsageError(f'search.kernels.{parameter}: "conditional" is for parameters with `when`, which have it')


def counts_seconds(problem: Problem, declared: bool | None) -> bool:
    """Whether improvement counts per second: as declared, otherwise if time is what runs out."""
    budget = problem.budget
    by_time = budget is not None and budget.time is not None and budget.trials is None
    return by_time if declared is None else declared


class Proposer(Protocol):
    """What makes proposals by model: an engine, or what steers one."""

    def propose(
        self, history: History, fresh: Fresh, n: int, rng: np.random.Generator, *, since: int
    ) -> list[Proposal]:
        """As `tuner.strategies.bayesian.engine.Engine.propose`."""
        ...


def engine(problem: Problem, options: Options, **settings: Any) -> Engine:
    """Return an engine with these options; `settings` are for its constructor."""
    from tuner.strategies.bayesian.engine import Engine, Settings

    return Engine(
        problem,
        Settings(
            restarts=options.restarts,
            raw_samples=options.raw_samples,
            mc_samples=options.mc_samples,
            maxiter=options.maxiter,
            max_rows=options.max_rows,
            kernels=options.kernels,
            per_second=counts_seconds(problem, options.per_second),
            fit_steps=options.fit_steps,
            doubt=options.doubt,
        ),
        **settings,
    )


def _design_widths(problem: Problem) -> NDArray[np.float64]:
    """What part of each column the design covers, (d,): see `_MIDDLE`."""
    space = problem.space
    numeric = np.array(
        [
            column.kind != "categorical" and not isinstance(space[column.parameter], Permutation | Simplex)
            for column in space.encoding.columns
        ]
    )
    narrow = len(problem.objectives) == 1 and numeric.sum() >= _MANY_COLUMNS
    return np.where(numeric & narrow, _MIDDLE, 1.0)


def takes_turns(problem: Problem) -> bool:
    """Whether trust regions suit it: one objective, measured as it is, and many columns, none without an order.

    Models of what a formula reads know where to go; a region would hold them back.
    """
    kinds = {column.kind for column in problem.space.encoding.columns}
    composite = any(metric.name in problem.composites for metric in problem.objectives)
    permutes = any(isinstance(parameter, Permutation) for parameter in problem.space.parameters)
    many = problem.space.encoding.dim >= _MANY_COLUMNS
    return len(problem.objectives) == 1 and not composite and many and "categorical" not in kinds and not permutes


def _proposer(problem: Problem, options: Options) -> Proposer:
    if not takes_turns(problem):
        return engine(problem, options)
    from tuner.strategies.bayesian.local import ByTurns

    return ByTurns(problem, engine(problem, options), initial_trials(problem, options))


class GpSearch:
    """See the module.

    Args:
        problem: What is searched.
        options: How.
        proposer: Makes what makes the proposals by model, once; when None an engine with these options, by turns
            everywhere and locally where `takes_turns`.
    """

    def __init__(self, problem: Problem, options: Options, *, proposer: Callable[[], Proposer] | None = None) -> None:
        check_kernels(problem, options.kernels)
        self._space = problem.space
        self._make = proposer or (lambda: _proposer(problem, options))
        self._initial = initial_trials(problem, options)
        self._sequence = SobolSequence(problem.space, problem.seed & 0x7FFFFFFF, widths=_design_widths(problem))
        self._has_priors = any(parameter.prior is not None for parameter in problem.space.parameters)
        self._proposer: Proposer | None = None

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
        return proposals if len(proposals) == n else proposals + self._by_design(history, fresh, rng, reason)

    def _by_design(self, history: History, fresh: Fresh, rng: np.random.Generator, reason: str) -> list[Proposal]:
        """Fill up with the centre of the space, the Sobol sequence or draws from the priors, and draws."""
        before = len(fresh.configs)
        if fresh.missing and history.next_trial == 0 and not fresh.exhausted:
            fresh.take(self._space.centre())
        index = history.next_trial + before
        for i in range(fresh.missing):
            if fresh.exhausted:
                break
            by_prior = self._has_priors and (index + i) % _BY_PRIOR == _BY_PRIOR - 1
            config = self._space.sample(1, rng, prior=True)[0] if by_prior else self._sequence.config(index + i)
            if config is not None:
                fresh.take(config)
        fresh.draw(rng)
        provenance = Provenance(engine="sobol", reason=reason)
        return [Proposal(config=config, provenance=provenance) for config in fresh.configs[before:]]

    def _by_model(self, history: History, fresh: Fresh, n: int, rng: np.random.Generator) -> list[Proposal]:
        if self._proposer is None:
            self._proposer = self._make()
        return self._proposer.propose(history, fresh, n, rng, since=self._initial)


def build(problem: Problem, options: Options) -> GpSearch:
    """Return the strategy; it works on every problem."""
    return GpSearch(problem, options)
