"""Optuna in both directions: its samplers run as our strategies, and our strategies run inside an Optuna study."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tuner.expressions import parse
from tuner.history import History, HistoryBuffer
from tuner.optuna.mirror import AddedMirror, ReplayedMirror, our_margin, quiet
from tuner.parameters import Choice, Float, Int, Parameter
from tuner.problem import Constraint, Problem
from tuner.randomness import generator
from tuner.space import SearchSpace
from tuner.strategies.fresh import Fresh
from tuner.trial import Config, Metric, Proposal, Provenance

if TYPE_CHECKING:
    from tuner.strategies.protocol import Strategy

MakeSampler = Callable[[int], BaseSampler]

_ATTEMPTS = 8
_SEED_STREAM = 0x0971
_STATES = {TrialState.COMPLETE: "completed", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


class OptunaStrategy:
    """An Optuna sampler as a strategy.

    Restrictions are met by asking again, then by the nearest configuration that honours them.

    Args:
        problem: What is tuned.
        engine: The registry name, for the provenance.
        sampler: Makes the sampler for a seed.
        replay: Whether the sampler leaves notes in the study.
        penalise: See `Mirror`.
    """

    def __init__(
        self, problem: Problem, engine: str, sampler: MakeSampler, *, replay: bool = False, penalise: bool = False
    ) -> None:
        self._space = problem.space
        self._engine = engine
        self._make = sampler
        self._seed = problem.seed
        self._replay = replay
        self._mirror: AddedMirror | ReplayedMirror
        with quiet():
            sampler(0)  # a wrong option shows when the strategy is built
            if replay:
                self._mirror = ReplayedMirror(problem, lambda number: self._numbered(number, 0), penalise=penalise)
            else:
                self._mirror = AddedMirror(problem)
        slices = problem.space.encoding.slices
        self._blocks = [
            (p.name, p.when is not None, slices[p.name]) for p in problem.space.parameters if p.name in slices
        ]

    def suggest(self, history: History, n: int, rng: np.random.Generator) -> list[Proposal]:
        """Return the sampler's proposals, mended where a restriction or a duplicate stands against them."""
        fresh = Fresh(history, n)
        proposals: list[Proposal] = []
        with quiet():
            study = self._mirror.study(history)
            asked: list[int] = []
            for i in range(n):
                if fresh.exhausted:
                    break
                config, reason = self._one(study, fresh, history.next_trial + i, rng, asked)
                if config is None:
                    break
                proposals.append(Proposal(config=config, provenance=Provenance(engine=self._engine, reason=reason)))
            self._mirror.close(study, asked)
        reason = f"{self._engine} proposed nothing new; drawn from the space"
        for config in fresh.draw(rng):
            proposals.append(Proposal(config=config, provenance=Provenance(engine="random", reason=reason)))
        return proposals

    def _one(
        self, study: Study, fresh: Fresh, number: int, rng: np.random.Generator, asked: list[int]
    ) -> tuple[Config | None, str]:
        for attempt in range(_ATTEMPTS):
            seed = int(rng.integers(2**31 - 1))
            study.sampler = self._numbered(number, attempt) if self._replay else self._make(seed)
            trial = study.ask()
            asked.append(trial.number)
            config = self._ask(trial)
            if fresh.take(config):
                return config, "" if not attempt else f"asked {attempt + 1} times for one that is new and feasible"
        near = fresh.nearest(config, rng)
        if near is not None and fresh.take(near):
            return near, "the nearest configuration that is new and honours the restrictions"
        return None, ""

    def _numbered(self, number: int, attempt: int) -> BaseSampler:
        state = np.random.SeedSequence([self._seed, number, attempt, _SEED_STREAM]).generate_state(1)
        return self._make(int(state[0]) & 0x7FFFFFFF)

    def _ask(self, trial: optuna.Trial) -> Config:
        """Ask parameter by parameter, so that conditions see what was chosen before."""
        encoding = self._space.encoding
        x = np.full(encoding.dim, 0.5)
        for name, conditional, columns in self._blocks:
            if conditional and name not in encoding.decode(x):
                continue
            for j in range(columns.start, columns.stop):
                x[j] = self._mirror.axes[j].suggest(trial)
        return encoding.decode(x)


class StrategySampler(BaseSampler):
    """One of our strategies as an Optuna sampler: `optuna.create_study(sampler=StrategySampler("gp"))`.

    It searches the parameters that every completed trial had, or those given; all others are drawn at random. What it
    proposes for a trial depends on the study's trials and the seed only, so a study that was interrupted goes on as if
    it had not been.

    Args:
        strategy: A registered strategy.
        options: Its options.
        search_space: The distributions to search; known from the first trial on, then.
        seed: None for another one each time.
    """

    def __init__(
        self,
        strategy: str = "gp",
        *,
        options: Mapping[str, Any] | None = None,
        search_space: Mapping[str, BaseDistribution] | None = None,
        seed: int | None = None,
    ) -> None:
        self._strategy = strategy
        self._options = dict(options or {})
        self._search_space = dict(search_space) if search_space is not None else None
        self._seed = seed if seed is not None else int(np.random.SeedSequence().generate_state(1)[0])
        self._problem: Problem | None = None
        self._built: Strategy | None = None
        self._signature: object = None

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The distributions that the strategy will search."""
        space = self._search_space if self._search_space is not None else IntersectionSearchSpace().calculate(study)
        return {name: distribution for name, distribution in space.items() if not distribution.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The strategy's proposal; {} before anything is known of the space, and once all of it has been tried."""
        if not search_space:
            return {}
        others = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        keys = tuple(sorted({key for t in others for key in t.constraints}))
        strategy, problem = self._prepared(search_space, tuple(study.directions), keys)
        history = _history(problem, search_space, others, keys, trial.number)
        for proposal in strategy.suggest(history, 1, generator(self._seed, trial.number)):
            return {name: _external(search_space[name], value) for name, value in proposal.config.items()}
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value, for parameters that the strategy does not search."""
        stream = int.from_bytes(param_name.encode()[:4].ljust(4, b"\0"), "big")
        seed = int(generator(self._seed, trial.number, stream).integers(2**31))
        return RandomSampler(seed=seed).sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        """Nothing to do: every draw is derived from the seed and the trial's number."""

    def _prepared(
        self, search_space: Mapping[str, BaseDistribution], directions: Sequence[StudyDirection], keys: tuple[str, ...]
    ) -> tuple[Strategy, Problem]:
        from tuner.proposer import make_strategy

        signature = (dict(search_space), tuple(directions), keys)
        if self._problem is None or self._built is None or signature != self._signature:
            self._problem = _problem(search_space, directions, keys, self._seed)
            self._built = make_strategy(self._problem, self._strategy, self._options)
            self._signature = signature
        return self._built, self._problem


def _problem(
    search_space: Mapping[str, BaseDistribution], directions: Sequence[StudyDirection], keys: tuple[str, ...], seed: int
) -> Problem:
    metrics = [
        Metric(name=f"value_{i}", goal="minimize" if direction == StudyDirection.MINIMIZE else "maximize")
        for i, direction in enumerate(directions)
    ]
    constraints = tuple(
        Constraint(
            text=f"constraint_{i} >= 0",
            expression=parse(f"constraint_{i} >= 0"),
            metrics=frozenset({f"constraint_{i}"}),
            needs_baseline=False,
        )
        for i in range(len(keys))
    )
    space = SearchSpace([_parameter(name, distribution) for name, distribution in search_space.items()])
    return Problem(name="optuna", space=space, metrics=tuple(metrics), constraints=constraints, seed=seed)


def _parameter(name: str, distribution: BaseDistribution) -> Parameter:
    if isinstance(distribution, FloatDistribution):
        d = distribution
        return Float(name, low=d.low, high=d.high, log=d.log, step=d.step)
    if isinstance(distribution, IntDistribution):
        return Int(name, low=distribution.low, high=distribution.high, log=distribution.log, step=distribution.step)
    assert isinstance(distribution, CategoricalDistribution)
    return Choice(name, values=tuple(range(len(distribution.choices))))


def _external(distribution: BaseDistribution, value: Any) -> Any:
    """Our value as Optuna's: categories are numbered in our space."""
    return distribution.choices[value] if isinstance(distribution, CategoricalDistribution) else value


def _config(search_space: Mapping[str, BaseDistribution], params: Mapping[str, Any]) -> Config:
    return {
        name: int(distribution.to_internal_repr(params[name]))
        if isinstance(distribution, CategoricalDistribution)
        else params[name]
        for name, distribution in search_space.items()
    }


def _history(
    problem: Problem,
    search_space: Mapping[str, BaseDistribution],
    trials: Sequence[FrozenTrial],
    keys: tuple[str, ...],
    next_trial: int,
) -> History:
    """What an Optuna study says, as a history; trials without all of the parameters are left out."""
    space, buffer, pending, seen = problem.space, HistoryBuffer(problem), [], set()
    for trial in trials:
        if not search_space.keys() <= trial.params.keys():
            continue
        config = _config(search_space, trial.params)
        if not space.contains(config):
            continue
        seen.add(space.key(config))
        if trial.state == TrialState.RUNNING:
            pending.append(Proposal(config=config, provenance=Provenance(engine="optuna"), trial=trial.number))
        if trial.state not in _STATES:
            continue
        x, active = space.encoding.encode(config)
        values = trial.values if trial.state == TrialState.COMPLETE and np.isfinite(trial.values).all() else None
        state = "failed" if values is None and trial.state == TrialState.COMPLETE else _STATES[trial.state]
        signed = [math.nan] * len(problem.objectives)
        if values is not None:
            signed = [metric.sign * value for metric, value in zip(problem.objectives, values)]
        buffer.append(
            number=trial.number,
            x=x,
            active=active,
            y=signed,
            margins=[our_margin(trial.constraints.get(key, math.nan)) for key in keys],
            state=state,
            fidelity=None,
            seconds=trial.duration.total_seconds() if trial.duration is not None else math.nan,
        )
    return buffer.cut(
        next_trial=next_trial,
        pending=pending,
        seen=lambda config: space.key(config) in seen,
        n_seen=len(seen),
        curve=lambda number: (np.empty(0, dtype=np.int64), np.empty((0, len(problem.objectives)))),
    )
