"""History: the immutable, columnar view of a study that strategies see, and the buffer it is cut from.

Notation, for n finished trials, p pending ones, d columns, m objectives, c constraints:

    X (n, d)    encoded configurations in the unit cube; an inactive column holds 0.5
    Y (n, m)    objectives, all maximised (minimised ones negated); NaN where a trial gave none
    C (n, c)    constraint margins, feasible when >= 0; NaN where unknown
    outputs     the measured metrics that composite objectives read (`Problem.outputs`), (n, k); NaN where absent

Cutting a view costs O(1) whatever n: rows are only ever appended, and the columns a strategy does not look at are
never touched. That keeps the cost of `random` flat from the first trial to the hundred thousandth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuner.trial import Answer, Config, Proposal

if TYPE_CHECKING:
    from tuner.problem import Problem
    from tuner.space import SearchSpace

Array = NDArray[np.float64]
Encoded = Callable[[], tuple[Array, NDArray[np.bool_]]]
Curve = tuple[NDArray[np.int64], Array]

COMPLETED, PRUNED, FAILED, INFEASIBLE = range(4)
_NAMES = ("number", "X", "active", "Y", "C", "outputs", "state", "fidelity", "origin", "seconds", "repeats")
STATE_CODES = {"completed": COMPLETED, "pruned": PRUNED, "failed": FAILED, "infeasible": INFEASIBLE}


@dataclass(frozen=True, slots=True)
class Again:
    """What a finalist gave when it was measured again on fresh seeds: means, as rows of a history hold them.

    Attributes:
        y: Objectives, maximised, m of them.
        margins: Constraint margins, c of them.
        outputs: What composite objectives read.
        n: Of how many measurements.
    """

    y: Sequence[float]
    margins: Sequence[float]
    outputs: Sequence[float]
    n: int


@dataclass(frozen=True, slots=True)
class Report:
    """What a trial said at one step, with what follows from it and from the configuration.

    Attributes:
        step: As it counts them.
        y: Objectives, maximised, m of them; NaN where it said nothing of one.
        margins: Constraint margins, c of them; NaN where unknown. Empty, as `metrics`, without early stopping.
        metrics: By name, in the metrics' own units and signs.
    """

    step: int
    y: Sequence[float]
    margins: Sequence[float] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)


class HistoryBuffer:
    """Append-only columns with room to grow; `cut` takes a view of them.

    With `deferred`, X and its mask are not kept: a view computes them when somebody looks.
    """

    def __init__(self, problem: Problem, *, deferred: Encoded | None = None) -> None:
        self.problem = problem
        self.n = 0
        self.planned = float(problem.repeats.n) if problem.repeats is not None else 1.0
        self._deferred = deferred
        d, m, c = problem.space.encoding.dim, len(problem.objectives), len(problem.constraints)
        self._columns: dict[str, NDArray[np.generic]] = {
            "number": np.empty(64, dtype=np.int64),
            "Y": np.empty((64, m)),
            "C": np.empty((64, c)),
            "outputs": np.empty((64, len(problem.outputs))),
            "state": np.empty(64, dtype=np.int8),
            "fidelity": np.empty(64),
            "origin": np.empty(64, dtype=np.int64),
            "seconds": np.empty(64),
            "repeats": np.empty(64),
        }
        if deferred is None:
            self._columns |= {"X": np.empty((64, d)), "active": np.empty((64, d), dtype=np.bool_)}

    def append(
        self,
        *,
        number: int,
        x: Array,
        active: NDArray[np.bool_],
        y: Sequence[float],
        margins: Sequence[float],
        state: str,
        fidelity: float | None,
        seconds: float,
        outputs: Sequence[float] | None = None,
        repeats: float | None = None,
        origin: int | None = None,
    ) -> None:
        """Add one finished trial, in the units described in the module's notation."""
        self._make_room(self.n + 1)
        row: dict[str, Any] = {
            "number": number,
            "X": x,
            "active": active,
            "Y": y,
            "C": margins,
            "outputs": np.nan if outputs is None else outputs,
            "state": STATE_CODES[state],
            "fidelity": np.nan if fidelity is None else fidelity,
            "origin": -1 if origin is None else origin,
            "seconds": seconds,
            "repeats": self.planned if repeats is None else repeats,
        }
        for name, column in self._columns.items():
            column[self.n] = row[name]
        self.n += 1

    def _make_room(self, n: int) -> None:
        """By a quarter, and column by column: the allocator can put a column where smaller ones were."""
        room = len(self._columns["number"])
        if n <= room:
            return
        for name, column in self._columns.items():
            grown = np.empty((max(n, room + room // 4), *column.shape[1:]), dtype=column.dtype)
            grown[: self.n] = column[: self.n]
            self._columns[name] = grown

    def extend(
        self,
        *,
        number: Sequence[int],
        x: Array | None,
        active: NDArray[np.bool_] | None,
        y: Array,
        margins: Array,
        states: Sequence[str],
        fidelity: Sequence[float | None],
        seconds: Sequence[float],
        outputs: Array | None = None,
        repeats: Sequence[float] | None = None,
        origin: Sequence[int | None] | None = None,
    ) -> None:
        """Add finished trials; `x` and `active` are None when they are deferred."""
        end = self.n + len(number)
        self._make_room(end)
        rows: dict[str, Any] = {
            "number": number,
            "X": x,
            "active": active,
            "Y": y,
            "C": margins,
            "outputs": np.nan if outputs is None else outputs,
            "state": [STATE_CODES[state] for state in states],
            "fidelity": [np.nan if value is None else value for value in fidelity],
            "origin": -1 if origin is None else [-1 if trial is None else trial for trial in origin],
            "seconds": seconds,
            "repeats": self.planned if repeats is None else repeats,
        }
        for name, column in self._columns.items():
            column[self.n : end] = rows[name]
        self.n = end

    def replace_margins(self, margins: Callable[[int], Sequence[float]]) -> None:
        """Recompute C by trial number, for constraints that waited for the baseline; older views keep theirs."""
        fresh = self._columns["C"].copy()
        for row, number in enumerate(self._columns["number"][: self.n]):
            fresh[row] = margins(int(number))
        self._columns["C"] = fresh

    def since(self, row: int) -> dict[str, NDArray[np.generic]]:
        """The columns of the trials after the first `row`, in the order in which they finished."""
        return {name: column[row : self.n] for name, column in self._columns.items()}

    def cut(
        self,
        *,
        next_trial: int,
        pending: Sequence[Proposal],
        seen: Callable[[Config], bool],
        n_seen: int,
        curve: Callable[[int], Curve],
        reported: Callable[[int], Sequence[Report]] | None = None,
        again: Mapping[int, Again] | None = None,
        answers: Sequence[Answer] = (),
    ) -> History:
        """An immutable view of what is there now."""
        return History(
            problem=self.problem,
            columns=_Columns({name: array[: self.n] for name, array in self._columns.items()}, self._deferred),
            pending=tuple(pending),
            next_trial=next_trial,
            seen=seen,
            n_seen=n_seen,
            curve=curve,
            reported=reported,
            again=again,
            answers=tuple(answers),
        )


class _Columns(dict[str, NDArray[np.generic]]):
    """Columns by name; X and its mask, when they are deferred, from the first look on."""

    def __init__(self, columns: dict[str, NDArray[np.generic]], deferred: Encoded | None) -> None:
        super().__init__(columns)
        self._deferred = deferred

    def __missing__(self, name: str) -> NDArray[np.generic]:
        if self._deferred is None or name not in ("X", "active"):
            raise KeyError(name)
        self["X"], self["active"] = self._deferred()
        return self[name]


class History:
    """What is known when a strategy is asked. Rows are in the order of the trials' numbers.

    Attributes:
        problem: Space, objectives, constraints, budget.
        pending: Proposals that are waiting or running.
        next_trial: The number that the next proposal will get.
        seen: Whether a configuration is finished or pending already.
        n_seen: How many distinct configurations that is.
        curve: Trial number -> (steps (k,), objectives (k, m) maximised) as reported while it ran.
        reported: Trial number -> the same report by report, with what a stopping rule needs.
        again: Trial number -> what it gave when it was measured again, of the finalists that were.
        answers: What was said of pairs of trials, oldest first.
    """

    def __init__(
        self,
        *,
        problem: Problem,
        columns: dict[str, NDArray[np.generic]],
        pending: tuple[Proposal, ...] = (),
        next_trial: int = 0,
        seen: Callable[[Config], bool] = lambda config: False,
        n_seen: int = 0,
        curve: Callable[[int], Curve] | None = None,
        reported: Callable[[int], Sequence[Report]] | None = None,
        again: Mapping[int, Again] | None = None,
        answers: tuple[Answer, ...] = (),
    ) -> None:
        self.problem = problem
        self.pending = pending
        self.next_trial = next_trial
        self.seen = seen
        self.n_seen = n_seen
        self.curve = curve or (lambda number: (np.empty(0, dtype=np.int64), np.empty((0, len(problem.objectives)))))
        self.reported = reported or (lambda number: ())
        self.again = again or {}
        self.answers = answers
        self._columns = columns

    def first(self, n: int) -> History:
        """What was known when only the `n` trials with the lowest numbers had finished; nothing was pending."""
        columns = {name: self._column(name)[:n] for name in _NAMES}
        there = set(self.number[:n].tolist())
        answers = tuple(answer for answer in self.answers if {answer.better, answer.worse} <= there)
        return History(
            problem=self.problem, columns=columns, next_trial=n, curve=self.curve, reported=self.reported,
            again=self.again, answers=answers,
        )  # fmt: skip

    def since(self, row: int) -> History:
        """The same moment without the first `row` finished trials; what is pending, and what was seen, stays."""
        return History(
            problem=self.problem,
            columns={name: self._column(name)[row:] for name in _NAMES},
            pending=self.pending,
            next_trial=self.next_trial,
            seen=self.seen,
            n_seen=self.n_seen,
            curve=self.curve,
            reported=self.reported,
            again=self.again,
            answers=self.answers,
        )

    def only(self, rows: NDArray[np.int64]) -> History:
        """The same moment with these finished trials alone, as if they had had all of the fidelity."""
        columns = {name: self._column(name)[rows] for name in _NAMES}
        columns["fidelity"] = np.full(len(rows), np.nan)
        return History(
            problem=self.problem, columns=columns, pending=self.pending, next_trial=self.next_trial, seen=self.seen,
            n_seen=self.n_seen, curve=self.curve, reported=self.reported, again=self.again, answers=self.answers,
        )  # fmt: skip

    @property
    def space(self) -> SearchSpace:
        """The space of the configurations."""
        return self.problem.space

    @property
    def n(self) -> int:
        """Finished trials."""
        return len(self._columns["number"])

    @cached_property
    def _order(self) -> NDArray[np.intp] | None:
        """Rows by trial number; None when they lie in that order already."""
        number: NDArray[np.int64] = self._columns["number"]  # type: ignore[assignment]
        return None if bool(np.all(number[1:] > number[:-1])) else np.argsort(number, kind="stable")

    def _column(self, name: str) -> NDArray[np.generic]:
        column = self._columns[name]
        view = column.view() if self._order is None else column[self._order]
        view.flags.writeable = False
        return view

    @cached_property
    def number(self) -> NDArray[np.int64]:
        """Trial numbers, shape (n,)."""
        return self._column("number")  # type: ignore[return-value]

    @cached_property
    def X(self) -> Array:  # noqa: N802
        """Encoded configurations, shape (n, d)."""
        return self._column("X")  # type: ignore[return-value]

    @cached_property
    def active(self) -> NDArray[np.bool_]:
        """Which columns are active, shape (n, d)."""
        return self._column("active")  # type: ignore[return-value]

    @cached_property
    def Y(self) -> Array:  # noqa: N802
        """Objectives, maximised, shape (n, m)."""
        return self._column("Y")  # type: ignore[return-value]

    @cached_property
    def C(self) -> Array:  # noqa: N802
        """Constraint margins, feasible when >= 0, shape (n, c)."""
        return self._column("C")  # type: ignore[return-value]

    @cached_property
    def outputs(self) -> Array:
        """What composite objectives read, shape (n, k)."""
        return self._column("outputs")  # type: ignore[return-value]

    @cached_property
    def state(self) -> NDArray[np.int8]:
        """COMPLETED, PRUNED, FAILED or INFEASIBLE, shape (n,)."""
        return self._column("state")  # type: ignore[return-value]

    @cached_property
    def fidelity(self) -> Array:
        """Fidelity spent, NaN for all of it, shape (n,)."""
        return self._column("fidelity")  # type: ignore[return-value]

    @cached_property
    def origin(self) -> NDArray[np.int64]:
        """The trial that each one continues at more fidelity, -1 for none, shape (n,)."""
        return self._column("origin")  # type: ignore[return-value]

    @cached_property
    def seconds(self) -> Array:
        """Evaluation time of each trial, shape (n,)."""
        return self._column("seconds")  # type: ignore[return-value]

    @cached_property
    def repeats(self) -> Array:
        """How many measurements each trial's metrics are the means of, shape (n,)."""
        return self._column("repeats")  # type: ignore[return-value]

    @cached_property
    def feasible(self) -> NDArray[np.bool_]:
        """Completed, with every known constraint margin >= 0, shape (n,)."""
        met = np.where(np.isnan(self.C), 0.0, self.C) >= 0.0
        mask: NDArray[np.bool_] = (self.state == COMPLETED) & met.all(axis=1)
        return mask

    @cached_property
    def _pending_encoded(self) -> tuple[Array, NDArray[np.bool_]]:
        d = self.space.encoding.dim
        if not self.pending:
            return np.empty((0, d)), np.empty((0, d), dtype=np.bool_)
        return self.space.encoding.encode_many([proposal.config for proposal in self.pending])

    @property
    def pending_X(self) -> Array:  # noqa: N802
        """Encoded pending configurations, shape (p, d)."""
        return self._pending_encoded[0]

    @property
    def pending_active(self) -> NDArray[np.bool_]:
        """Which of their columns are active, shape (p, d)."""
        return self._pending_encoded[1]

    @property
    def pending_number(self) -> NDArray[np.int64]:
        """Their trial numbers, shape (p,)."""
        return np.array([proposal.trial for proposal in self.pending], dtype=np.int64)
