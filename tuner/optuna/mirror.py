"""An Optuna study that says what a history says, for samplers that are asked beside it.

It is a function of the history alone:

    columns      active ones only; continuous -> float in [0, 1], few levels -> int index, categorical -> category index
    objectives   as they are, all directions "maximize": our convention is Optuna's then, without a sign to lose
    constraints  minus the margin: Optuna's are feasible when <= 0 (`optuna_constraint`)
    pending      RUNNING trials;  failed or infeasible without values: FAIL;  pruned: PRUNED with its curve

Samplers that keep nothing in the study (TPE) read trials that were simply added. Those that leave notes on trials and
study as they are asked (CMA-ES, NSGA) are asked again for every trial in the order of its number, with a seed that
depends on that number only, and then told what was really tried: that rebuilds their notes from nothing.
"""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from tuner.history import COMPLETED, PRUNED, History
from tuner.parameters.columns import Column

if TYPE_CHECKING:
    from tuner.problem import Problem

Array = NDArray[np.float64]
MakeSampler = Callable[[int], BaseSampler]

_MAX_LEVELS = 32
_ATTEMPTS = 8
_SEED_STREAM = 0x0971
_RUNNING = -1
_WORST = -1e30


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna's log lines and warnings (experimental features, independent sampling) to itself."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def optuna_constraint(margin: float) -> float:
    """Optuna's value of one of our margins: feasible when <= 0 there, >= 0 here. An unknown margin counts as met."""
    return 0.0 if np.isnan(margin) else -float(margin)


def our_margin(constraint: float) -> float:
    """Our margin of one of Optuna's constraint values: the inverse of `optuna_constraint`."""
    return -float(constraint)


@dataclass(frozen=True, slots=True)
class Axis:
    """One column as Optuna sees it.

    Attributes:
        name: Parameter name, with the index for structured parameters.
        places: Positions in the unit interval of each level; None for a float.
        distribution: Optuna's.
    """

    name: str
    places: tuple[float, ...] | None
    distribution: BaseDistribution

    @classmethod
    def of(cls, column: Column) -> Axis:
        """The axis of a column: wide integers stay floats in the unit interval, where their own scale is linear."""
        name = f"{column.parameter}[{column.index}]"
        count = column.levels
        if count is None or (count > _MAX_LEVELS and column.kind != "categorical"):
            return cls(name, None, FloatDistribution(0.0, 1.0))
        places = column.grid if column.grid is not None else tuple((i + 0.5) / count for i in range(count))
        if column.kind == "categorical":
            return cls(name, places, CategoricalDistribution(tuple(range(count))))
        return cls(name, places, IntDistribution(0, count - 1))

    def value(self, x: float) -> float | int:
        """What Optuna calls the position `x`."""
        if self.places is None:
            return min(max(float(x), 0.0), 1.0)
        return int(np.argmin([abs(place - x) for place in self.places]))

    def position(self, value: float | int) -> float:
        """The position of what Optuna calls `value`."""
        return float(value) if self.places is None else self.places[int(value)]

    def suggest(self, trial: optuna.Trial) -> float:
        """Ask a trial for this axis, as a position."""
        if isinstance(self.distribution, FloatDistribution):
            return self.position(trial.suggest_float(self.name, 0.0, 1.0))
        if isinstance(self.distribution, IntDistribution):
            return self.position(trial.suggest_int(self.name, 0, self.distribution.high))
        assert isinstance(self.distribution, CategoricalDistribution)
        return self.position(trial.suggest_categorical(self.name, self.distribution.choices))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """Finished and pending trials by number; `state` is _RUNNING or a code of `tuner.history`."""

    number: NDArray[np.int64]
    state: NDArray[np.int8]
    X: Array
    active: NDArray[np.bool_]
    Y: Array
    C: Array

    @classmethod
    def of(cls, history: History) -> Told:
        """What a history says, copied."""
        p = len(history.pending_number)
        number = np.concatenate([history.number, history.pending_number])
        columns = (
            number,
            np.concatenate([history.state, np.full(p, _RUNNING, dtype=np.int8)]),
            np.concatenate([history.X, history.pending_X]),
            np.concatenate([history.active, history.pending_active]),
            np.concatenate([history.Y, np.full((p, history.Y.shape[1]), np.nan)]),
            np.concatenate([history.C, np.full((p, history.C.shape[1]), np.nan)]),
        )
        order = np.argsort(number, kind="stable")
        return cls(*(column[order] for column in columns))

    def __len__(self) -> int:
        return len(self.number)

    def agrees(self, later: Told, k: int) -> tuple[bool, NDArray[np.bool_]]:
        """Whether `later` begins with the first `k` trials, give or take finishing; and which are as they were."""
        if k > len(later):
            return False, np.zeros(0, dtype=np.bool_)
        point = (self.number[:k] == later.number[:k]) & (self.X[:k] == later.X[:k]).all(axis=1)
        result = self.state[:k] == later.state[:k]
        for mine, theirs in ((self.Y[:k], later.Y[:k]), (self.C[:k], later.C[:k])):
            result = result & ((mine == theirs) | (np.isnan(mine) & np.isnan(theirs))).all(axis=1)
        return bool((point & (result | (self.state[:k] == _RUNNING))).all()), result


class Mirror:
    """An in-memory Optuna study that says what a history says.

    Args:
        problem: Columns, objectives and constraints.
        penalise: For samplers that ignore constraints: an infeasible trial is told a value below every feasible one,
            the lower the larger its total violation, instead of its own.
    """

    def __init__(self, problem: Problem, *, penalise: bool) -> None:
        self.axes = tuple(Axis.of(column) for column in problem.space.encoding.columns)
        self._directions = [StudyDirection.MAXIMIZE] * len(problem.objectives)
        self._keys = [f"{i}: {constraint.text}" for i, constraint in enumerate(problem.constraints)]
        self._penalise = penalise and bool(self._keys)
        self._told: Told | None = None
        self._n_told = 0
        self._study = self._new_study()

    def _new_study(self) -> Study:
        self._storage = optuna.storages.InMemoryStorage()
        return optuna.create_study(storage=self._storage, study_name="tuner", directions=self._directions)

    def _params(self, told: Told, i: int) -> dict[str, float | int]:
        active = np.flatnonzero(told.active[i])
        return {self.axes[j].name: self.axes[j].value(told.X[i, j]) for j in active}

    def _result(self, told: Told, i: int) -> tuple[TrialState, list[float] | None]:
        if told.state[i] == COMPLETED and np.isfinite(told.Y[i]).all():
            violation = -float(np.nansum(np.minimum(told.C[i], 0.0)))
            if self._penalise and violation > 0:
                return TrialState.COMPLETE, [_WORST * (1.0 + min(violation, 1e100))]
            return TrialState.COMPLETE, told.Y[i].tolist()
        return (TrialState.PRUNED if told.state[i] == PRUNED else TrialState.FAIL), None

    def _constraints(self, told: Told, i: int) -> dict[str, float]:
        margins = {} if self._penalise else dict(zip(self._keys, told.C[i].tolist()))
        return {key: optuna_constraint(margin) for key, margin in margins.items()}

    def _tell(self, study: Study, number: int, told: Told, i: int) -> None:
        """Finish Optuna's trial `number`, which runs, as our row `i` did."""
        storage = study._storage
        trial = optuna.Trial(study, storage.get_trial_id_from_study_id_trial_number(study._study_id, number))
        for key, value in self._constraints(told, i).items():
            trial.set_constraint(key, value)
        state, values = self._result(told, i)
        study.tell(number, values, state=state)


class AddedMirror(Mirror):
    """For samplers that keep nothing in the study: trials are added as they are."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem, penalise=False)
        self._numbers: list[int] = []

    def study(self, history: History) -> Study:
        """The study to ask; hand it to `close` afterwards."""
        told = Told.of(history)
        changed: Sequence[int] = ()
        if self._told is not None:
            agrees, same = self._told.agrees(told, len(self._told))
            changed = np.flatnonzero(~same).tolist()
            if not agrees:
                self._study, self._numbers, changed = self._new_study(), [], ()
        for i in changed:
            self._tell(self._study, self._numbers[i], told, i)
        for i in range(len(self._numbers), len(told)):
            self._numbers.append(len(self._study.get_trials(deepcopy=False)))
            self._study.add_trial(self._trial(told, i, history))
        self._told = told
        return self._study

    def only(self, history: History, rows: Sequence[int]) -> Study:
        """A study of these rows alone, to be looked at."""
        told = Told.of(history)
        study = optuna.create_study(directions=self._directions)
        study.add_trials([self._trial(told, row, history) for row in rows])
        return study

    def close(self, study: Study, asked: Sequence[int]) -> None:
        """Withdraw what was asked: whether it becomes a trial is the study's decision."""
        for number in asked:
            study.tell(number, state=TrialState.FAIL)

    def _trial(self, told: Told, i: int, history: History) -> FrozenTrial:
        by_name = {axis.name: axis.distribution for axis in self.axes}
        params = self._params(told, i)
        state, values = (TrialState.RUNNING, None) if told.state[i] == _RUNNING else self._result(told, i)
        curve: dict[int, float] = {}
        if state == TrialState.PRUNED and len(self._directions) == 1:
            steps, objectives = history.curve(int(told.number[i]))
            curve = {int(step): float(y) for step, (y,) in zip(steps, objectives) if np.isfinite(y)}
        return create_trial(
            state=state,
            values=values,
            params=params,
            distributions={name: by_name[name] for name in params},
            intermediate_values=curve,
            constraints=self._constraints(told, i) if state != TrialState.RUNNING else None,
        )


class ReplayedMirror(Mirror):
    """For samplers that leave notes in the study: they are asked again for every trial, in order.

    Trials before the first pending one never change: their study is kept. The others are replayed on a copy, and so
    is the question itself; the copy shares the finished trials, which Optuna does not let anybody change.
    """

    def __init__(self, problem: Problem, sampler: Callable[[int], BaseSampler], *, penalise: bool) -> None:
        super().__init__(problem, penalise=penalise)
        self._sampler = sampler

    def study(self, history: History) -> Study:
        """A study to ask, of which nothing is kept."""
        told = Told.of(history)
        if self._told is not None and not self._told.agrees(told, self._n_told)[0]:
            self._study, self._n_told = self._new_study(), 0
        running = np.flatnonzero(told.state == _RUNNING)
        settled = int(running[0]) if len(running) else len(told)
        for i in range(self._n_told, settled):
            self._replay(self._study, told, i)
        self._told, self._n_told = told, settled
        finished = {id(t): t for t in self._study.get_trials(deepcopy=False) if t.state.is_finished()}
        copied = optuna.load_study(study_name="tuner", storage=copy.deepcopy(self._storage, finished))
        for i in range(settled, len(told)):
            self._replay(copied, told, i)
        return copied

    def close(self, study: Study, asked: Sequence[int]) -> None:
        """Nothing to withdraw."""

    def _replay(self, study: Study, told: Told, i: int) -> None:
        study.sampler = self._sampler(int(told.number[i]))
        study.enqueue_trial(self._params(told, i))
        trial = study.ask()
        _ = trial.relative_params  # the sampler takes its notes here, and is not asked while all values are fixed
        for j in np.flatnonzero(told.active[i]):
            self.axes[j].suggest(trial)
        if told.state[i] != _RUNNING:
            self._tell(study, trial.number, told, i)
