"""Any sequence of what can happen to a study keeps its books right: Hypothesis drives one through every door."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tuner.errors import ExhaustedError
from tuner.ledger import Ledger
from tuner.study import Study

BUDGET = 12


def sweep() -> dict[str, Any]:
    return {
        "name": "bowl",
        "metrics": {"loss": "minimize", "size": {"goal": "minimize", "max": 0.8}},
        "parameters": {"x": {"min": 0.0, "max": 1.0}, "n": {"min": 0, "max": 5}},
        "constraints": ["loss <= baseline + 0.2"],
        "command": ["true"],
        "search": "random",
        "baseline": {"x": 0.5, "n": 2},
        "budget": {"trials": BUDGET, "cost": {"metric": "size", "limit": 50.0}, "target": {"loss": 0.01}},
        "early_stop": "asha",
        "runner": {"retries": 1, "gpus": 0},
    }


def books(ledger: Ledger) -> dict[str, Any]:
    """Everything that a study knows in memory, except for what is counted while it lives."""
    history = ledger.history()
    names = ("number", "X", "active", "Y", "C", "state", "fidelity", "feasible")
    spent = ledger.spent
    return {
        **{name: getattr(history, name).tolist() for name in names},
        "seen": [ledger.seen(config) for config in ({"x": 0.5, "n": 2}, {"x": 0.5, "n": 3}, {"x": 0.25, "n": 5})],
        "pending": [(p.trial, p.attempt, p.config, p.seed, p.provenance) for p in history.pending],
        "curves": [[part.tolist() for part in history.curve(p.trial)] for p in history.pending],
        "n_seen": history.n_seen,
        "baseline": ledger.baseline,
        "next": ledger.next_trial,
        "spent": (spent.started, spent.finished, spent.failed, spent.cost, spent.dearest_cost, spent.reached),
        "since": spent.since_improvement,
        "running": sorted(spent.running),
    }


class Studies(RuleBasedStateMachine):
    """One study in a folder, asked, told, failed, requeued, closed and opened in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="tuner-states-"))
        self.done: dict[int, Any] = {}
        self.shift = 0.0
        self.monotonic = time.monotonic
        self.clock = mock.patch("time.monotonic", new=self.ticks)
        self.clock.start()

    def ticks(self) -> float:
        return self.monotonic() + self.shift

    @initialize()
    def create(self) -> None:
        self.study = Study.create(sweep(), dir=self.folder / "s")

    def teardown(self) -> None:
        self.clock.stop()
        self.study.close()
        shutil.rmtree(self.folder)

    def running(self) -> list[int]:
        return sorted(self.study.ledger.spent.running)

    @rule(n=st.integers(1, 3), lease=st.sampled_from([50.0, 1e6]))
    def ask(self, n: int, lease: float) -> None:
        proposals = self.study.ask(n, worker="ask:", lease_s=lease)
        assert len(proposals) <= n
        if not proposals:
            try:
                self.study.ask(worker="ask:")
            except ExhaustedError:
                return
            raise AssertionError("one alone was given where several were refused")

    @precondition(lambda self: self.running())
    @rule(which=st.integers(0, 20), step=st.integers(1, 9), loss=st.sampled_from([0.0, 0.5, float("inf")]))
    def report(self, which: int, step: int, loss: float) -> None:
        assert self.study.report(self.running()[which % len(self.running())], step, {"loss": loss}) is False

    @precondition(lambda self: self.running())
    @rule(which=st.integers(0, 20), loss=st.sampled_from([0.0, 0.3, 0.5, float("nan")]), size=st.floats(0.0, 1.0))
    def tell(self, which: int, loss: float, size: float) -> None:
        trial = self.running()[which % len(self.running())]
        assert self.study.tell(trial, {"loss": loss, "size": size}) is True
        assert self.study.tell(trial, {"loss": 0.0, "size": 0.0}) is False  # a second result comes late
        record = self.study.read(trial)
        if record.state == "completed":
            self.done[trial] = record

    @precondition(lambda self: self.running())
    @rule(which=st.integers(0, 20), kind=st.sampled_from(["infra", "interrupted", "crash", "oom_gpu"]))
    def fail(self, which: int, kind: Any) -> None:
        trial = self.running()[which % len(self.running())]
        self.study.fail(trial, kind, "why")
        assert self.study.tell(trial, {"loss": 0.0, "size": 0.0}) is False

    @precondition(lambda self: self.running())
    @rule(which=st.integers(0, 20))
    def requeue(self, which: int) -> None:
        trial = self.running()[which % len(self.running())]
        assert self.study.requeue(trial, "why").state == "waiting"
        assert self.study.report(trial, 1, {"loss": 0.0}) is True  # it runs no longer

    @rule()
    def let_leases_end(self) -> None:
        self.shift += 100.0

    @rule(x=st.floats(0.0, 1.0))
    def enqueue(self, x: float) -> None:
        self.study.enqueue({"x": x})

    @rule(x=st.floats(0.0, 1.0), loss=st.sampled_from([0.0, 0.4]))
    def add(self, x: float, loss: float) -> None:
        trial = self.study.add({"x": x, "n": 3}, {"loss": loss, "size": 0.5})
        self.done[trial] = self.study.read(trial)

    @rule(which=st.integers(0, 20))
    def retry(self, which: int) -> None:
        ended = [record.trial for record in self.study.records(states=("failed", "infeasible"))]
        if ended:
            self.study.retry([ended[which % len(ended)]])

    @rule()
    def close_and_open(self) -> None:
        self.study.close()
        self.study = Study.open(self.folder / "s")

    @invariant()
    def numbers_are_dense(self) -> None:
        records = list(self.study.records())
        assert [record.trial for record in records] == list(range(len(records)))

    @invariant()
    def the_budget_holds(self) -> None:
        own = [record for record in self.study.records() if record.provenance.engine != "added"]
        started = [record for record in own if record.state != "waiting" or record.attempt > 1]
        assert len(started) == self.study.ledger.spent.started <= BUDGET

    @invariant()
    def what_completed_stays(self) -> None:
        now = {record.trial: record for record in self.study.records(states=("completed",))}
        assert now.keys() == self.done.keys()
        for trial, record in self.done.items():
            kept = now[trial]
            assert (kept.config, kept.metrics, kept.seed) == (record.config, record.metrics, record.seed)
            assert (kept.started_at, kept.finished_at, kept.attempt) == (
                record.started_at,
                record.finished_at,
                record.attempt,
            )

    @invariant()
    def the_ledger_equals_one_rebuilt(self) -> None:
        self.study._store.flush_reports()
        kept = books(self.study.ledger)
        rebuilt = Study(self.study.sweep, self.study.problem, self.study._store, directory=None, lock=None)
        np.testing.assert_equal(books(rebuilt.ledger), kept)
        with Study.open(self.folder / "s", read_only=True) as reading:  # which encodes nothing before it is looked at
            np.testing.assert_equal(books(reading.ledger) | {"n_seen": kept["n_seen"]}, kept)


TestStudies = Studies.TestCase
TestStudies.settings = settings(
    max_examples=12, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
