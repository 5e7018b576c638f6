"""Ledger: what a study knows in memory, kept in step with the store: the history, what is pending, what was spent.

It holds columns, not records: after a hundred thousand trials it takes some tens of megabytes, and asking costs what it
did at the start. It is rebuilt from the store when a study is opened; a reader leaves the configurations in the store
until somebody looks at them.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.budget import Spent
from tuner.history import Again, Array, Curve, History, HistoryBuffer, Report
from tuner.keys import KeySet
from tuner.problem import Problem
from tuner.records import TrialRecord
from tuner.repeats import PREFIX, REPEATS, measured_again
from tuner.trial import Answer, Config, Proposal

Reader = Callable[[int], TrialRecord]
Texts = Callable[[], Iterable[str]]
Reports = Callable[[int], Iterable[tuple[int, Mapping[str, float]]]]

_TIMES = ("fidelity", "origin", "started_at", "finished_at")
_MEMBERS = 32
_DECODED = ("metrics", "measures")
_ENGINE = '{"engine":"'
_AGAIN = f'"{PREFIX}'
_BLOCK = 256


class Ledger:
    """In-memory state of one study.

    Attributes:
        problem: What is searched and measured.
        pending: Waiting and running proposals by trial number.
        spent: Totals against the budget.
        baseline: The baseline's metrics once it has completed.
        next_trial: The number of the next new trial.
        next_rank: The rank of the next trial to finish.
        answers: What was said of pairs of trials, oldest first.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        gpus: int = 0,
        read: Reader | None = None,
        configs: Texts | None = None,
        reports: Reports | None = None,
    ) -> None:
        self.problem = problem
        self.pending: dict[int, Proposal] = {}
        self.spent = Spent()
        self.baseline: Mapping[str, float] | None = None
        self.next_trial = 0
        self.next_rank = 0
        self.answers: list[Answer] = []
        self.buffer = HistoryBuffer(problem, deferred=None if configs is None else self._encode_stored)
        self._gpus = gpus
        self._read = read
        self._configs = configs
        self._reports = reports if problem.early_stop is not None else None
        self._keys = KeySet()
        self._curves: dict[int, list[Report]] = {}
        self._again: dict[int, tuple[Config, Mapping[str, float], int]] = {}
        self._front = np.empty((0, len(problem.objectives)))

    def add(self, proposal: Proposal) -> None:
        """Take in a proposal that waits or runs."""
        self.pending[proposal.trial] = proposal
        self.next_trial = max(self.next_trial, proposal.trial + 1)
        self._keys.add(self.problem.space.key(proposal.config))

    def report(self, trial: int, step: int, metrics: Mapping[str, float]) -> None:
        """Take in an intermediate report of a trial that is pending, or stored."""
        self._curves.setdefault(trial, []).append(self._completed(trial, step, metrics))

    def _completed(self, trial: int, step: int, metrics: Mapping[str, float]) -> Report:
        """A report with the metrics that follow from others, and from the configuration."""
        problem = self.problem
        stops = problem.early_stop is not None
        if not (problem.known_names or problem.composites or (stops and problem.constraints)):
            return Report(step, problem.values(metrics), (), metrics if stops else {})
        config = self._config(trial)
        metrics = problem.complete(config, metrics)
        margins = problem.margins(config, metrics, self.baseline) if stops else ()
        return Report(step, problem.values(metrics), margins, metrics if stops else {})

    def _config(self, trial: int) -> Config:
        if trial in self.pending:
            return self.pending[trial].config
        return {} if self._read is None else self._read(trial).config

    def requeue(self, again: Proposal) -> None:
        """Take in that a running trial waits for another attempt; what the last one reported is forgotten."""
        self.pending[again.trial] = again
        self.spent.running.discard(again.trial)
        self._curves.pop(again.trial, None)

    def finish(self, record: TrialRecord) -> None:
        """Take in a finished trial."""
        problem = self.problem
        self.pending.pop(record.trial, None)
        self.spent.running.discard(record.trial)
        self.next_trial = max(self.next_trial, record.trial + 1)
        self.next_rank += 1
        self._keys.add(problem.space.key(record.config))
        completed = record.state == "completed"
        if completed and record.provenance.engine == "baseline" and self.baseline is None:
            self._take_baseline(record.metrics)
        margins = problem.margins(record.config, record.metrics, self.baseline)
        values = problem.values(record.metrics) if completed else [math.nan] * len(problem.objectives)
        x, active = problem.space.encoding.encode(record.config)
        seconds = record.measures.get("wall_s", record.seconds or 0.0)
        self.buffer.append(
            number=record.trial,
            x=x,
            active=active,
            y=values,
            margins=margins,
            state=record.state,
            fidelity=record.fidelity,
            origin=record.origin,
            seconds=seconds,
            outputs=problem.outputs_of(record.metrics),
            repeats=record.measures.get(REPEATS),
        )
        added = record.provenance.engine == "added"
        self._spend(record.state, record.metrics, seconds, added=added)
        feasible = completed and all(not margin < 0 for margin in margins)
        if self._whole([record.fidelity])[0]:
            self._improve(values, feasible=feasible)
            self._reach(record.metrics, feasible=feasible)

    def annotate(self, record: TrialRecord) -> None:
        """Take in what was measured of a finished trial since it finished."""
        self._measured_again(record.trial, record.config, record.measures)

    def _measured_again(self, trial: int, config: Config, measures: Mapping[str, float]) -> None:
        metrics, n = measured_again(self.problem, measures)
        if n:
            self._again[trial] = config, metrics, n

    @property
    def columns(self) -> tuple[str, ...]:
        """What `replay` takes of each trial, before its rank."""
        config = () if self._configs is not None and not self.problem.constraints else ("config",)
        return ("trial", "state", *_TIMES, *_DECODED, "provenance", *config)

    def replay(self, rows: Sequence[Sequence[Any]]) -> None:
        """Take in stored trials, in the order in which they finished: `finish`, many at a time."""
        columns: dict[str, Sequence[Any]] = dict(zip((*self.columns, "rank"), zip(*rows, strict=True), strict=True))
        again = [text is not None and _AGAIN in text for text in columns["measures"]]
        for name in {*_DECODED, "config"} & columns.keys():
            columns[name] = json.loads(f"[{','.join(text or '{}' for text in columns[name])}]")
        columns["engine"] = [_engine(text) for text in columns.pop("provenance")]
        for row in itertools.compress(range(len(rows)), again):
            config = columns["config"][row] if "config" in columns else {}
            self._measured_again(columns["trial"][row], config, columns["measures"][row])
        start = 0
        if self.baseline is None:
            for row, (engine, state) in enumerate(zip(columns["engine"], columns["state"], strict=True)):
                if engine == "baseline" and state == "completed":
                    self._replay_part({name: column[:row] for name, column in columns.items()})
                    self._take_baseline(columns["metrics"][row])
                    start = row
                    break
        self._replay_part({name: column[start:] for name, column in columns.items()})
        self.next_rank = columns["rank"][-1] + 1

    def _replay_part(self, columns: Mapping[str, Sequence[Any]]) -> None:
        problem, n = self.problem, len(columns["trial"])
        if not n:
            return
        states, metrics = columns["state"], columns["metrics"]
        completed = np.array([state == "completed" for state in states])
        absent = [math.nan] * len(problem.objectives)
        values = [problem.values(m) if state == "completed" else absent for state, m in zip(states, metrics)]
        y = np.array(values).reshape(n, len(problem.objectives))
        margins = np.empty((n, len(problem.constraints)))
        if problem.constraints:
            configs = columns["config"]
            margins[:] = [problem.margins(c, m, self.baseline) for c, m in zip(configs, metrics)]
        seconds = [
            measures.get("wall_s", 0.0 if None in (began, ended) else ended - began)
            for measures, began, ended in zip(columns["measures"], columns["started_at"], columns["finished_at"])
        ]
        self.next_trial = max(self.next_trial, max(columns["trial"]) + 1)
        x, active = None, None
        if self._configs is None:
            x, active = problem.space.encoding.encode_many(columns["config"])
            self._keys.update(problem.space.key(config) for config in columns["config"])
        self.buffer.extend(
            number=columns["trial"], x=x, active=active, y=y, margins=margins, states=states,
            fidelity=columns["fidelity"], origin=columns["origin"], seconds=seconds,
            outputs=np.array([problem.outputs_of(m) for m in metrics]) if problem.outputs else None,
            repeats=[measures.get(REPEATS, self.buffer.planned) for measures in columns["measures"]],
        )  # fmt: skip
        for state, told, took, engine in zip(states, metrics, seconds, columns["engine"]):
            self._spend(state, told, took, added=engine == "added")
        whole = self._whole(columns["fidelity"])
        feasible = whole & completed & ~(margins < 0).any(axis=1)
        for row in np.flatnonzero(feasible).tolist() if self._target else ():
            self._reach(metrics[row], feasible=True)
        self._replay_improvements(y, feasible, whole)

    def _replay_improvements(self, y: Array, feasible: NDArray[np.bool_], whole: NDArray[np.bool_]) -> None:
        """`_improve` for points (n, m) that are feasible and had all of the fidelity, those first that may matter."""
        counted, places = 0, np.cumsum(whole) - 1  # among the trials that count
        for start in range(0, len(y), _BLOCK):
            block = slice(start, start + _BLOCK)
            for row in (np.flatnonzero(feasible[block] & ~self._old(y[block])) + start).tolist():
                self.spent.since_improvement += int(places[row]) - counted
                self._improve(y[row], feasible=True)
                counted = int(places[row]) + 1
        self.spent.since_improvement += int(whole.sum()) - counted

    def _whole(self, fidelity: Sequence[float | None]) -> NDArray[np.bool_]:
        """Which trials had all of the fidelity: others are no improvement, nor the lack of one, and reach no target."""
        if self.problem.fidelity is None:
            return np.ones(len(fidelity), dtype=np.bool_)
        full = self.problem.fidelity.max
        return np.array([f is None or f >= full for f in fidelity], dtype=np.bool_)

    def _old(self, y: Array) -> NDArray[np.bool_]:
        """Which points (n, m) the front already equals or dominates: they cannot improve on it, nor on a later one."""
        old = np.zeros(len(y), dtype=np.bool_)
        strides = -(-len(self._front) // _MEMBERS)
        for stride in range(strides):  # each spans the whole front, so that few points are left after the first
            left = np.flatnonzero(~old)
            members = self._front[stride::strides, None, :]  # (k, 1, m)
            old[left] = (members >= y[left]).all(axis=2).any(axis=0)
        return old

    def _encode_stored(self) -> tuple[Array, NDArray[np.bool_]]:
        """X (n, d) and its mask of the finished trials, whose configurations a reader left in the store."""
        assert self._configs is not None
        texts = itertools.islice(self._configs(), self.buffer.n)
        return self.problem.space.encoding.encode_many([json.loads(text) for text in texts])

    def _take_baseline(self, metrics: Mapping[str, float]) -> None:
        """Constraints that compare with the baseline could not be judged before: judge them again."""
        self.baseline = dict(metrics)
        if self._read is not None and self.buffer.n and any(c.needs_baseline for c in self.problem.constraints):
            read = self._read

            def margins(trial: int) -> list[float]:
                earlier = read(trial)
                return self.problem.margins(earlier.config, earlier.metrics, self.baseline)

            self.buffer.replace_margins(margins)

    def _spend(self, state: str, metrics: Mapping[str, float], seconds: float, *, added: bool) -> None:
        if added:  # measured elsewhere: on somebody else's budget
            return
        self.spent.finished += 1
        self.spent.failed += state == "failed"
        budget = self.problem.budget
        price = budget.cost.metric if budget is not None and budget.cost is not None else None
        if price is not None or self._gpus:
            cost = 0.0 if price is None else metrics.get(price, 0.0)
            self.spent.add(gpu_s=seconds * self._gpus, cost=cost)

    def _improve(self, values: Sequence[float] | Array, *, feasible: bool) -> None:
        """An improvement is a feasible trial that enters the front without being equal to a member."""
        point = np.array(values)
        self.spent.since_improvement += 1
        if not feasible or np.isnan(point).any():
            return
        if len(self._front) and bool((self._front >= point).all(axis=1).any()):
            return
        self.spent.since_improvement = 0
        kept = ~(point >= self._front).all(axis=1)
        self._front = np.vstack([self._front[kept], point])

    @property
    def _target(self) -> Mapping[str, float]:
        budget = self.problem.budget
        return (budget.target if budget is not None else None) or {}

    def _reach(self, metrics: Mapping[str, float], *, feasible: bool) -> None:
        target = self._target
        if not target or not feasible or not target.keys() <= metrics.keys():
            return
        signs = {metric.name: metric.sign for metric in self.problem.metrics}
        if all(signs.get(name, 1.0) * (metrics[name] - value) >= 0 for name, value in target.items()):
            self.spent.reached = True

    def seen(self, config: Config) -> bool:
        """Whether a configuration is finished or pending already."""
        return self.problem.space.key(config) in self._known_keys()

    def _known_keys(self) -> KeySet:
        if self._configs is not None:
            self._keys.update(self.problem.space.key(json.loads(text)) for text in self._configs())
            self._configs = None
        return self._keys

    def reported(self, trial: int) -> list[Report]:
        """What a trial reported, oldest first."""
        if self._reports is not None:
            return [self._completed(trial, step, metrics) for step, metrics in self._reports(trial)]
        return self._curves.get(trial, [])

    def curve(self, trial: int) -> Curve:
        """Steps (k,) and objectives (k, m), maximised, that a trial reported."""
        found = self.reported(trial)
        steps = np.array([report.step for report in found], dtype=np.int64)
        return steps, np.array([report.y for report in found]).reshape(len(found), len(self.problem.objectives))

    def history(self) -> History:
        """The view that strategies see."""
        return self.buffer.cut(
            next_trial=self.next_trial,
            pending=[self.pending[trial] for trial in sorted(self.pending)],
            seen=self.seen,
            n_seen=len(self._keys) if self._configs is None else self.buffer.n,
            curve=self.curve,
            reported=self.reported,
            again={trial: self._row_again(*found) for trial, found in self._again.items()},
            answers=self.answers,
        )

    def _row_again(self, config: Config, metrics: Mapping[str, float], n: int) -> Again:
        problem = self.problem
        margins = problem.margins(config, metrics, self.baseline)
        return Again(problem.values(metrics), margins, problem.outputs_of(metrics), n)


def _engine(provenance: str) -> str:
    """Who made a proposal, of its stored provenance: what a million of these say is not parsed for one word."""
    start, end = len(_ENGINE), provenance.find('"', len(_ENGINE))
    if provenance.startswith(_ENGINE) and "\\" not in provenance[start:end]:
        return provenance[start:end]
    return str(json.loads(provenance)["engine"])
