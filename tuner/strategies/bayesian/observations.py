"""What a model is fitted to: a history as tensors of inputs and outcomes.

Outcomes, in this order: the m objectives (maximised), the constraint margins that have values for at least two trials
(without those over known metrics, which the space honours), and, once a trial has failed, a label: +1 where a trial
ran, -1 where it failed. The label is a margin like any other, met when >= 0: a regression on labels is a crude
classifier, and enough to leave a region where trials crash.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tuner import pareto
from tuner.history import COMPLETED, FAILED, INFEASIBLE, History
from tuner.noise import is_noisy

Array = NDArray[np.float64]

_REFERENCE_ROWS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Observations:
    """The rows that a model learns from.

    Attributes:
        X: Inputs, shape (n, d).
        active: Their masks, shape (n, d).
        Y: Outcomes, shape (n, k), NaN where unknown.
        feasible: Completed with every known margin >= 0, shape (n,).
        violation: Total violation, NaN where nothing is known, shape (n,).
        n_objectives: m; the other k - m outcomes are margins.
        failures: How many rows are failed trials.
        standing: Rows that count as the best so far: every objective, and no constraint over known metrics broken.
        outputs: What composite objectives read, shape (n, o), NaN where a row has no objectives.
        seconds: What the trials took, shape (n,).
        margins: Which constraint each margin belongs to.
        fidelity: What was spent, NaN for all of it, shape (n,).
        share: What part of the noise's variance each row has, shape (n,): 1 / k when it is the mean of k times as many
            measurements as a trial ordinarily is.
        noisy: Whether measurements are known to be noisy.
    """

    X: Array
    Y: Array
    feasible: NDArray[np.bool_]
    violation: Array
    n_objectives: int
    failures: int
    standing: NDArray[np.bool_]
    outputs: Array
    active: NDArray[np.bool_]
    seconds: Array
    margins: tuple[int, ...]
    fidelity: Array
    share: Array
    noisy: bool

    @property
    def objectives(self) -> Array:
        """Shape (n, m)."""
        return self.Y[:, : self.n_objectives]

    @property
    def n_trials(self) -> int:
        """How many rows are trials; the others say more of one of these, and took no seconds of their own."""
        return int((~np.isnan(self.seconds)).sum())

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Rows with every objective, shape (n,)."""
        return np.asarray(~np.isnan(self.objectives).any(axis=1), dtype=np.bool_)

    def extended(
        self, *, X: Array, active: NDArray[np.bool_], Y: Array, outputs: Array, fidelity: Array, share: Array
    ) -> Observations:
        """With more rows, which say something of the outcomes and count as no trial: never feasible, never the best."""
        n = len(X)
        no, unknown = np.zeros(n, dtype=np.bool_), np.full(n, np.nan)
        return replace(
            self,
            X=np.concatenate([self.X, X]),
            active=np.concatenate([self.active, active]),
            Y=np.concatenate([self.Y, Y]),
            feasible=np.concatenate([self.feasible, no]),
            violation=np.concatenate([self.violation, unknown]),
            standing=np.concatenate([self.standing, no]),
            outputs=np.concatenate([self.outputs, outputs]),
            seconds=np.concatenate([self.seconds, unknown]),
            fidelity=np.concatenate([self.fidelity, fidelity]),
            share=np.concatenate([self.share, share]),
        )

    def best_rows(self, n: int) -> NDArray[np.intp]:
        """Positions of the `n` best rows, feasible first, shape (<= n,)."""
        return np.argsort(self.ranks(), kind="stable")[:n]

    def ranks(self) -> NDArray[np.int64]:
        """How good each row is, the best 0, feasible first, shape (n,)."""
        return pareto.ranks(self.objectives, self.feasible & self.complete, self.violation)

    def incumbents(self, n: int) -> Array:
        """The `n` best inputs, feasible first, shape (<= n, d)."""
        return self.X[self.best_rows(n)]

    def reference(self, declared: list[float | None], *, worst: Mapping[int, float] | None = None) -> Array:
        """The hypervolume corner, shape (m,): as declared (maximised), inferred where None.

        Inferred from the best rows, at least eight of them: a corner close to a front of two or three points would
        make everything beyond them worthless. No better than `worst`, objective -> value, which is known of objectives
        that follow from the configuration: a size that no good trial had so far is not beyond what is wanted.
        """
        known = self.objectives[self.complete & self.feasible]
        known = known if len(known) else self.objectives[self.complete]
        rank = pareto.ranks(known)
        size = max(int((rank == 0).sum()), _REFERENCE_ROWS)
        best = known[np.argsort(rank, kind="stable")[:size]]
        inferred = np.minimum(pareto.infer_reference(best), best.min(axis=0) - 0.1 * np.ptp(best, axis=0))
        for j, value in (worst or {}).items():
            inferred[j] = min(inferred[j], value - 0.1 * (known[:, j].max() - value))
        return np.array([corner if given is None else given for given, corner in zip(declared, inferred)])


def observe(history: History, *, max_rows: int, partial: bool = False) -> Observations:
    """Return what a history has to say, in at most `max_rows` rows: the best half and the latest.

    Rows of reduced fidelity count only while no trial has run at full fidelity, or with `partial`. A finalist that was
    measured again has a second row.
    """
    problem = history.problem
    label = np.where(np.isin(history.state, (FAILED, INFEASIBLE)), -1.0, 1.0)
    Y = np.where((history.state == COMPLETED)[:, None], history.Y, np.nan)
    whole = Y
    if problem.fidelity is not None:
        less = history.fidelity < problem.fidelity.max
        if (history.state[~less] == COMPLETED).any():
            whole = np.where(less[:, None], np.nan, Y)
        Y = Y if partial else whole
    exact = [j for j, c in enumerate(problem.constraints) if c.metrics <= problem.known_names and not c.needs_baseline]
    useful = [j for j in range(history.C.shape[1]) if j not in exact and int((~np.isnan(history.C[:, j])).sum()) >= 2]
    margins = history.C[:, useful]
    broken = np.asarray((history.C[:, exact] < 0).any(axis=1), dtype=np.bool_)
    failures = int((label < 0).sum())
    columns = [Y, margins, label[:, None]] if failures else [Y, margins]
    violation = -np.minimum(np.nan_to_num(history.C), 0.0).sum(axis=1)
    violation = np.where(np.isnan(history.Y).any(axis=1), np.nan, violation)
    rows = _rows(whole, history.feasible, violation, max_rows)
    planned = problem.repeats.n if problem.repeats is not None else 1
    data = Observations(
        X=np.array(history.X[rows]),
        Y=np.concatenate(columns, axis=1)[rows],
        feasible=history.feasible[rows],
        violation=violation[rows],
        n_objectives=Y.shape[1],
        failures=failures,
        outputs=np.where(np.isnan(Y).any(axis=1, keepdims=True), np.nan, history.outputs)[rows],
        standing=(~np.isnan(Y).any(axis=1) & ~broken)[rows],
        active=np.array(history.active[rows]),
        seconds=history.seconds[rows],
        margins=tuple(useful),
        fidelity=np.array(history.fidelity[rows]),
        share=planned / history.repeats[rows],
        noisy=is_noisy(history),
    )
    again = [at for at, row in enumerate(rows) if int(history.number[row]) in history.again] if history.again else []
    return _with_again(data, history, rows[again], np.array(again, dtype=np.int64), planned)


def _with_again(
    data: Observations, history: History, rows: NDArray[np.int64], at: NDArray[np.int64], planned: int
) -> Observations:
    """With rows for what some trials, `rows` of the history and `at` those of the data, gave when measured again."""
    found = [history.again[int(number)] for number in history.number[rows]]
    if not found:
        return data
    n, m = len(found), data.n_objectives
    Y = np.full((n, data.Y.shape[1]), np.nan)
    Y[:, :m] = np.where(np.isnan(data.Y[at, :m]), np.nan, [each.y for each in found])
    Y[:, m : m + len(data.margins)] = [[each.margins[j] for j in data.margins] for each in found]
    return data.extended(
        X=data.X[at],
        active=data.active[at],
        Y=Y,
        outputs=np.array([each.outputs for each in found]).reshape(n, data.outputs.shape[1]),
        fidelity=data.fidelity[at],
        share=np.array([planned / each.n for each in found]),
    )


def _rows(Y: Array, feasible: NDArray[np.bool_], violation: Array, max_rows: int) -> NDArray[np.int64]:
    n = len(Y)
    if n <= max_rows:
        return np.arange(n)
    rank = pareto.ranks(Y, feasible & ~np.isnan(Y).any(axis=1), violation)
    best = np.argsort(rank, kind="stable")[: max_rows // 2]
    late = np.setdiff1d(np.arange(n), best)[-(max_rows - len(best)) :]
    return np.sort(np.concatenate([best, late]))
