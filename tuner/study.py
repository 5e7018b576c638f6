"""Study: owns the trials of one sweep: ask, report, tell, the store, the lease of each running trial. The Python API.

A trial belongs to (worker, attempt, deadline). A result that comes after its trial went to another attempt, or ended,
is written down as late and changes nothing.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from tuner import ranking
from tuner.blocks import need_trials
from tuner.budget import stop_reason, trials_left
from tuner.compact import dumps
from tuner.errors import ExhaustedError, StoreError, UsageError
from tuner.halting import Halting
from tuner.interrupts import Ending
from tuner.judging import judge, told, tries_again
from tuner.leases import Leases
from tuner.ledger import Ledger
from tuner.loading import load
from tuner.lock import WriterLock
from tuner.problem import Problem
from tuner.proposer import Proposer
from tuner.records import TrialRecord, finished_columns, finished_record, new_proposal, numbered, record_of, row_of
from tuner.sweep import Sweep
from tuner.trial import FAILURE_KINDS, FINISHED, Config, Failure, FailureKind, Outcome, Proposal

if TYPE_CHECKING:
    import pandas as pd

    from tuner.calibration import Calibration
    from tuner.history import History
    from tuner.reader import Reader
    from tuner.recommendation import Recommendation
    from tuner.store import Store

_LEASE_S = 24 * 3600.0


class Study:
    """One sweep's trials. Use `Study.create` or `Study.open`, preferably in a `with` block.

    Attributes:
        sweep: The sweep as resolved when the study was created.
        problem: What it poses.
        dir: The study's folder; None when it lives in memory.
        token: The study's identity, carried in the environment of its trials.
        exhausted: Whether the strategy has nothing new to propose.
        ending: Why the last run in this process ended.
    """

    def __init__(
        self,
        sweep: Sweep,
        problem: Problem,
        store: Store | Reader,
        *,
        directory: Path | None,
        lock: WriterLock | None,
    ) -> None:
        self.sweep = sweep
        self.problem = problem
        self.dir = directory
        self.exhausted = False
        self.ending: Ending | None = None
        self._store = store
        self._lock = lock
        self._leases = Leases()
        self._proposer: Proposer | None = None
        self._halting = Halting()
        self._worker = f"api:{os.getpid()}@{socket.gethostname()}"
        row = store.read_study()
        if row is None:
            raise StoreError(f"{store.url} holds no study; create one with `tuner run SWEEP`")
        self.token: str = row["token"]
        self._ledger = self._new_ledger()
        self._seen = self._store.last_event() if store.read_only else -1  # before the trials: none is missed
        load(store, self._ledger, self._leases, row["spent_s"])

    # --- creating, opening, closing ---

    @classmethod
    def create(cls, sweep: Sweep | Mapping[str, Any] | str | Path, dir: str | Path | None = None) -> Study:
        """A new study; with `dir=None` it lives in memory.

        Raises:
            SweepError: The sweep is wrong.
            StoreError: There is a study in `dir` already.
            LockError: Another process is writing there.
        """
        from tuner.sessions import create

        return create(sweep, dir)

    @classmethod
    def open(cls, dir: str | Path, *, read_only: bool = False) -> Study:
        """An existing study. Reading needs neither the lock nor the objective's code.

        Raises:
            StoreError: There is no study there, or it cannot be read.
            LockError: Another process is writing.
        """
        from tuner.sessions import reopen

        return reopen(dir, read_only=read_only)

    def end_session(self, reason: str, signal: int | None = None) -> None:
        """Write down why a run ended; `signal` when one interrupted it."""
        self.ending = Ending(reason=reason, signal=signal)
        self._store.flush_reports()
        self._store.update_study(status=reason)

    def close(self) -> None:
        """Write what is buffered and let go of the lock; harmless when done twice."""
        try:
            self._store.close()
        finally:
            if self._lock is not None:
                self._lock.release()
                self._lock = None

    def __enter__(self) -> Study:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _new_ledger(self) -> Ledger:
        reading = self._store.read_only
        configs, reports = (self._store.configs, self.reports) if reading else (None, None)
        gpus = self.sweep.runner.gpus
        return Ledger(self.problem, gpus=gpus, read=self.read, configs=configs, reports=reports)

    def refresh(self) -> bool:
        """Take in what was written since the study was opened to be read; whether trials were retried meanwhile."""
        events = self._store.events(after=self._seen)
        self._seen = events[-1]["id"] if events else self._seen
        retried = any(event["kind"] == "retried" for event in events)
        if retried:
            self._ledger = self._new_ledger()
        row, self._leases = self._store.read_study(), Leases()
        load(self._store, self._ledger, self._leases, self._ledger.spent.seconds if row is None else row["spent_s"])
        return retried

    # --- ask ---

    @overload
    def ask(self, n: None = None, *, worker: str | None = None, lease_s: float | None = None) -> Proposal: ...
    @overload
    def ask(self, n: int, *, worker: str | None = None, lease_s: float | None = None) -> list[Proposal]: ...

    def ask(
        self, n: int | None = None, *, worker: str | None = None, lease_s: float | None = None
    ) -> Proposal | list[Proposal]:
        """The next proposal, or up to `n` of them; each is leased to `worker` until it is told or the lease ends.

        Args:
            n: How many; None for one alone.
            worker: Who evaluates them; this process by default.
            lease_s: After so many seconds without a result the trial waits for another attempt; a day by default,
                infinity for a worker that cannot be forgotten.

        Raises:
            ExhaustedError: `n` is None, and no further trial may start.
            UsageError: The study is a stream in blocks.
        """
        need_trials(self.sweep)
        if n is not None and n < 1:
            raise UsageError(f"the number of proposals must be at least 1, but got {n}")
        for trial in self._leases.expired():
            self.requeue(trial, "its lease ended")
        proposals = self._start(n or 1, worker or self._worker, lease_s or _LEASE_S)
        if n is not None:
            return proposals
        if not proposals:
            reason = stop_reason(self.problem.budget, self._ledger.spent)
            why = reason or "no new configuration is left"
            raise ExhaustedError(f"study {self.sweep.name!r} starts no more trials: {why}")
        return proposals[0]

    def _start(self, n: int, worker: str, lease_s: float) -> list[Proposal]:
        started: list[Proposal] = []
        now = time.time()
        deadline = None if math.isinf(lease_s) else now + lease_s
        lease = {"state": "running", "worker": worker, "deadline": deadline, "started_at": now}
        while len(started) < n and (proposal := self._leases.next) is not None:
            if proposal.attempt == 1 and not self._may_start():
                break
            self._store.update_trial(proposal.trial, attempt=proposal.attempt, **lease)
            self._ledger.spent.started += proposal.attempt == 1
            self._begin(proposal, now, deadline)
            started.append(proposal)
        fresh = self._propose(int(min(n - len(started), trials_left(self.problem.budget, self._ledger.spent))))
        if fresh:
            self._store.insert_trials([{**row_of(proposal), **lease} for proposal in fresh])
            for proposal in fresh:
                self._ledger.spent.started += 1
                self._ledger.add(proposal)
                self._begin(proposal, now, deadline)
        return started + fresh

    def _may_start(self) -> bool:
        spent = self._ledger.spent
        return trials_left(self.problem.budget, spent) >= 1 and stop_reason(self.problem.budget, spent) is None

    def _begin(self, proposal: Proposal, started: float, deadline: float | None) -> None:
        self._ledger.spent.running.add(proposal.trial)
        self._leases.begin(proposal, started=started, deadline=deadline)

    def check_strategy(self) -> Proposer:
        """Build the strategy and the stopping rule, unless that was done.

        Raises:
            UnknownNameError: There is no such strategy or rule.
            UsageError: It has no such option, or cannot work on this problem.
        """
        self._halting.prepare(self)
        if self._proposer is None:
            self._proposer = Proposer(self.problem)
        return self._proposer

    def _propose(self, n: int) -> list[Proposal]:
        if n < 1 or not self._may_start():
            return []
        history = self._ledger.history()
        proposals = self.check_strategy().propose(history, n)
        self.exhausted = not proposals
        return [numbered(self.problem, proposal, k) for k, proposal in enumerate(proposals, start=history.next_trial)]

    # --- report, tell, fail ---

    def report(self, trial: int, step: int, metrics: Mapping[str, float]) -> bool:
        """Take in intermediate values; True when the trial should stop (what is told of it then is kept as pruned)."""
        proposal = self._ledger.pending.get(trial)
        if proposal is None or trial not in self._ledger.spent.running:
            return True
        finite = {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
        self._ledger.report(trial, int(step), finite)
        self._store.add_report(trial=trial, attempt=proposal.attempt, step=int(step), metrics=dumps(finite))
        return self._halting.stops(self, proposal, int(step))

    def tell(
        self, trial: int, metrics: Mapping[str, float], *, attempt: int | None = None, slot: str | None = None
    ) -> bool:
        """Record a result; False when it came late and changed nothing.

        Raises:
            UsageError: A metric with a goal or a bound is missing, a name is unknown to this study, a value is not a
                number, or there is no such trial.
        """
        proposal = self._ledger.pending.get(trial)
        config = None if proposal is None else proposal.config
        outcome = self._halting.told(proposal, told(self.problem, config, metrics, what=f"trial {trial}"))
        return self.finish(trial, outcome, attempt=attempt, slot=slot) is not None

    def fail(self, trial: int, kind: FailureKind, message: str = "", *, attempt: int | None = None) -> bool:
        """Record that a trial failed; False when that came late and changed nothing.

        Raises:
            UsageError: `kind` is not a failure kind.
        """
        if kind not in FAILURE_KINDS:
            raise UsageError(f"a failure must be one of {', '.join(FAILURE_KINDS)}, but got {kind!r}")
        outcome = Outcome(state="failed", failure=Failure(kind=kind, message=message))
        return self.finish(trial, outcome, attempt=attempt) is not None

    def finish(
        self,
        trial: int,
        outcome: Outcome,
        *,
        attempt: int | None = None,
        slot: str | None = None,
        ran: tuple[float, float] | None = None,
    ) -> TrialRecord | None:
        """Record how a trial ended; infrastructure failures and interruptions make it wait for another attempt.

        Args:
            trial: Its number.
            outcome: What came of it.
            attempt: Which attempt this is the outcome of; None for the one that runs.
            slot: Where it ran.
            ran: When it began and ended, seconds since the epoch; None: from its lease until now.

        Returns:
            What was recorded; None when the outcome came late and changed nothing.
        """
        proposal = self._ledger.pending.get(trial)
        if proposal is None or trial not in self._ledger.spent.running or attempt not in (None, proposal.attempt):
            self._late(trial, outcome, attempt)
            return None
        if outcome.failure is not None and tries_again(outcome.failure, proposal.attempt, self.sweep.runner.retries):
            return self.requeue(trial, outcome.failure.message or outcome.failure.kind)
        outcome = judge(self.problem, proposal.config, outcome, on_oom=self.sweep.runner.on_oom)
        started_at, finished_at = ran if ran is not None else self._leases.span(trial)
        record = finished_record(proposal, outcome, started_at, finished_at, slot)
        self._store.update_trial(trial, rank=self._ledger.next_rank, **finished_columns(record))
        self._ledger.finish(record)
        self._leases.end(trial)
        return self._with_feasibility(record)

    def _late(self, trial: int, outcome: Outcome, attempt: int | None) -> None:
        was = self.read(trial).state
        detail = {"state": outcome.state, "metrics": dict(outcome.metrics), "attempt": attempt, "was": was}
        self._store.add_event("late", json.dumps(detail), trial)

    def requeue(self, trial: int, why: str) -> TrialRecord:
        """Make a running trial wait for another attempt."""
        proposal = self._ledger.pending[trial]
        again = dataclasses.replace(proposal, attempt=proposal.attempt + 1)
        self._store.update_trial(trial, state="waiting", attempt=again.attempt, worker=None, deadline=None)
        self._store.add_event("requeued", why, trial)
        self._ledger.requeue(again)
        self._leases.end(trial)
        self._leases.wait(again)
        return self.read(trial)

    # --- changing what is tried ---

    def enqueue(self, config: Config) -> int:
        """Have a configuration tried next; missing parameters take their centre. Returns the trial's number.

        Raises:
            SpaceError: The configuration does not lie in the space.
        """
        need_trials(self.sweep)
        number = self._ledger.next_trial
        whole = self.problem.space.normalise(config, partial=True)
        proposal = new_proposal(self.problem, number, whole, "enqueued")
        self._store.insert_trials([{**row_of(proposal), "state": "waiting"}])
        self._ledger.add(proposal)
        self._leases.wait(proposal)
        return number

    def add(self, config: Config, metrics: Mapping[str, float]) -> int:
        """Take in an observation made elsewhere; returns the trial's number. It does not count against the budget."""
        need_trials(self.sweep)
        whole = self.problem.space.normalise(config)
        proposal = new_proposal(self.problem, self._ledger.next_trial, whole, "added")
        outcome = told(self.problem, whole, metrics, what="an observation")
        outcome = judge(self.problem, whole, outcome, on_oom=self.sweep.runner.on_oom)
        now = time.time()
        record = finished_record(proposal, outcome, now, now, None)
        row = {**row_of(proposal), **finished_columns(record), "rank": self._ledger.next_rank}
        self._store.insert_trials([row])
        self._ledger.finish(record)
        return proposal.trial

    def retry(self, trials: Sequence[int]) -> None:
        """Make failed, pruned or infeasible trials wait for another attempt, with the same configuration and seed.

        Raises:
            UsageError: One of them completed, still runs, or does not exist.
        """
        for trial in trials:
            record = self.read(trial)
            if record.state not in ("failed", "pruned", "infeasible"):
                raise UsageError(
                    f"trial {trial} is {record.state}; only failed, pruned and infeasible ones can be retried"
                )
        for trial in trials:
            attempt = self.read(trial).attempt + 1
            empty: dict[str, Any] = dict.fromkeys(("metrics", "measures", "failure_kind", "failure_message", "rank"))
            self._store.update_trial(trial, state="waiting", attempt=attempt, finished_at=None, worker=None, **empty)
            self._store.add_event("retried", "by request", trial)
        seconds = self._ledger.spent.seconds
        self._ledger = self._new_ledger()
        self._leases = Leases()
        load(self._store, self._ledger, self._leases, seconds)

    def annotate(self, trial: int, measures: Mapping[str, float]) -> None:
        """Add to what was measured beside the metrics, such as a front member's test score."""
        self._store.update_trial(trial, measures=dumps({**self.read(trial).measures, **measures}))
        self._ledger.annotate(self.read(trial))

    def spend(self, seconds: float) -> None:
        """Count wall-clock time against the budget."""
        self._store.flush_reports()  # at the same pace: whoever watches sees the steps
        self._ledger.spent.seconds += seconds
        self._store.update_study(spent_s=self._ledger.spent.seconds)

    # --- reading ---

    @property
    def history(self) -> History:
        """The view that strategies see."""
        return self._ledger.history()

    @property
    def ledger(self) -> Ledger:
        """Totals, pending trials and the baseline's metrics."""
        return self._ledger

    @property
    def stop_reason(self) -> str | None:
        """Why no further trial may start; None when the study may go on."""
        if self.exhausted and not len(self._leases):
            return "no new configuration is left in the space"
        return stop_reason(self.problem.budget, self._ledger.spent)

    def read(self, trial: int) -> TrialRecord:
        """One trial.

        Raises:
            UsageError: There is no such trial.
        """
        row = self._store.trial(trial)
        if row is None:
            raise UsageError(f"there is no trial {trial}; see `tuner trials`")
        return self._with_feasibility(record_of(row))

    def records(self, *, states: Sequence[str] = ()) -> Iterator[TrialRecord]:
        """Trials by number, of the given states or all."""
        for row in self._store.trials(states=states):
            yield self._with_feasibility(record_of(row))

    def _with_feasibility(self, record: TrialRecord) -> TrialRecord:
        if record.state not in FINISHED:
            return record
        baseline = self._ledger.baseline
        met = record.state == "completed" and self.problem.feasible(record.config, record.metrics, baseline)
        return dataclasses.replace(record, feasible=met)

    def reports(self, trial: int) -> list[tuple[int, dict[str, float]]]:
        """Steps and values that a trial reported, of its last attempt."""
        return [(row["step"], json.loads(row["metrics"])) for row in self._store.reports(trial)]

    def last_report(self, trial: int) -> tuple[int, dict[str, float]] | None:
        """The step and the values that a trial reported last; None before that."""
        row = self._store.last_report(trial)
        return None if row is None else (row["step"], json.loads(row["metrics"]))

    def events(self) -> list[dict[str, Any]]:
        """What happened beside the trials: takeovers, retries, late results."""
        return [dict(row) for row in self._store.events()]

    def add_event(self, kind: str, detail: str, trial: int | None = None) -> None:
        """Write down that something happened."""
        self._store.add_event(kind, detail, trial)

    def stored(self, *columns: str) -> Iterator[Sequence[Any]]:
        """Some columns of the finished trials as the store has them, then the rank, in the order of finishing."""
        return itertools.chain.from_iterable(self._store.finished(columns=columns))

    def rows(self) -> dict[str, Sequence[Mapping[str, Any]]]:
        """Everything the store holds of the study, by table; of retried trials the reports of the last attempt."""
        store, row = self._store, self._store.read_study()
        parts = {"trials": store.trials(), "reports": store.reports(), "events": store.events()}
        return {"studies": [] if row is None else [row], **parts}

    def counts(self) -> dict[str, int]:
        """Number of trials by state."""
        return self._store.counts()

    def best(self) -> TrialRecord | None:
        """The best feasible trial; with several objectives the preferred one, or the knee. None when there is none."""
        number = ranking.best(self.history)
        return None if number is None else self.read(number)

    def recommend(self) -> TrialRecord | None:
        """The trial to use: the one of `recommendation`, else the best."""
        return self.best() if (found := self.recommendation()) is None else self.read(found.trial)

    def recommendation(self) -> Recommendation | None:
        """What to use when measurements are noisy, with an interval; None when they are not known to be."""
        from tuner.recommendation import recommendation

        return recommendation(self)

    def diagnose(self) -> dict[str, Calibration]:
        """What leave-one-out predictions of a model of all trials are worth, by objective that is modelled."""
        from tuner.recommendation import diagnose

        return diagnose(self.history)

    def pareto(self) -> list[TrialRecord]:
        """The feasible trials that no other dominates, best first by the first objective."""
        rows = self._store.numbered(ranking.front(self.history))
        return [self._with_feasibility(record_of(row)) for row in rows]

    def hypervolume(self) -> tuple[float, list[float]]:
        """Hypervolume of the front and its reference corner, in the metrics' own units and signs."""
        return ranking.hypervolume(self.history)

    def trials(self) -> pd.DataFrame:
        """Every trial as a row: number, state, parameters, metrics, feasibility, seconds, failure."""
        from tuner.reporting.tables import trials_frame

        return trials_frame(self)
