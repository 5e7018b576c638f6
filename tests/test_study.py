"""The study: ask, report, tell, leases, budgets, resuming; through the Python API."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import tuner
from tests.surroundings import environment
from tuner.errors import ExhaustedError, LockError, StoreError, UsageError

ROOT = Path(__file__).resolve().parent.parent


def sweep(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "name": "bowl",
        "metrics": {"loss": "minimize", "size": "minimize"},
        "parameters": {"x": {"min": -1.0, "max": 1.0}, "k": {"values": ["a", "b"]}},
        "command": ["true"],
        "search": "random",
    }
    return {**base, **changes}


def one_metric(**changes: Any) -> dict[str, Any]:
    return sweep(metrics={"loss": "minimize"}, **changes)


def test_ask_and_tell_and_the_front_by_brute_force() -> None:
    study = tuner.Study.create(sweep())
    told = {}
    for _ in range(40):
        proposal = study.ask()
        told[proposal.trial] = (proposal.config["x"] ** 2, abs(proposal.config["x"] - 0.5))
        study.tell(proposal.trial, {"loss": told[proposal.trial][0], "size": told[proposal.trial][1]})
    dominated = {a for a, (p, q) in told.items() for r, s in told.values() if r <= p and s <= q and (r < p or s < q)}
    assert {record.trial for record in study.pareto()} == set(told) - dominated
    assert list(study.trials()["trial"]) == list(range(40))


def test_baseline_is_trial_zero_and_initial_configurations_follow() -> None:
    study = tuner.Study.create(one_metric(baseline={"x": 0.5, "k": "a"}, initial=[{"x": -0.5, "k": "b"}]))
    first, second, third = study.ask(3)
    assert (first.trial, first.config, first.provenance.engine) == (0, {"x": 0.5, "k": "a"}, "baseline")
    assert (second.trial, second.config, second.provenance.engine) == (1, {"x": -0.5, "k": "b"}, "initial")
    assert third.provenance.engine == "random"


def test_constraints_against_the_baseline_are_judged_again_once_it_is_known() -> None:
    study = tuner.Study.create(
        sweep(
            metrics={"accuracy": "maximize"},
            baseline={"x": 0.0, "k": "a"},
            constraints=["accuracy >= baseline - 0.01"],
        )
    )
    base, other, third = study.ask(3)
    study.tell(other.trial, {"accuracy": 0.5})
    assert study.read(other.trial).feasible is True  # not known to be infeasible yet
    study.tell(base.trial, {"accuracy": 0.9})
    study.tell(third.trial, {"accuracy": 0.895})
    assert [study.read(t).feasible for t in (base.trial, other.trial, third.trial)] == [True, False, True]
    assert list(study.history.feasible) == [True, False, True]


def test_known_metrics_and_composites_are_computed() -> None:
    study = tuner.Study.create(
        sweep(
            metrics={
                "loss": "minimize",
                "cost": {"goal": "minimize", "formula": "10 * n + 1"},
                "ratio": {"formula": "loss / cost", "max": 0.5},
            },
            parameters={"n": {"min": 1, "max": 5}},
        )
    )
    proposal = study.ask()
    study.tell(proposal.trial, {"loss": 2.0})
    record = study.read(proposal.trial)
    cost = 10 * proposal.config["n"] + 1
    assert record.metrics == {"loss": 2.0, "cost": cost, "ratio": pytest.approx(2.0 / cost)}
    assert record.feasible is (2.0 / cost <= 0.5)


def test_a_bound_on_a_known_metric_is_a_restriction() -> None:
    metrics = {"loss": "minimize", "cost": {"formula": "n * n", "max": 30}}
    study = tuner.Study.create(sweep(metrics=metrics, parameters={"n": {"min": 1, "max": 100}}))
    assert sorted(p.config["n"] for p in study.ask(10)) == [1, 2, 3, 4, 5]
    with pytest.raises(ExhaustedError, match="no new configuration"):
        study.ask()


def test_nan_is_a_failure_and_missing_objectives_are_an_error() -> None:
    study = tuner.Study.create(sweep())
    proposal = study.ask()
    with pytest.raises(UsageError, match="size is missing"):
        study.tell(proposal.trial, {"loss": 1.0})
    with pytest.raises(UsageError, match="no metric 'sise'"):
        study.tell(proposal.trial, {"loss": 1.0, "sise": 1.0})
    with pytest.raises(UsageError, match="must be a number"):
        study.tell(proposal.trial, {"loss": "low", "size": 1.0})  # type: ignore[dict-item]
    study.tell(proposal.trial, {"loss": math.nan, "size": 1.0})
    record = study.read(proposal.trial)
    assert record.state == "failed"
    assert record.failure is not None
    assert record.failure.kind == "bad_metric"
    assert study.best() is None


def test_out_of_memory_is_infeasible_and_infra_is_retried() -> None:
    study = tuner.Study.create(one_metric(runner={"retries": 1}))
    first, second = study.ask(2)
    study.fail(first.trial, "oom_gpu", "CUDA out of memory")
    assert study.read(first.trial).state == "infeasible"
    study.fail(second.trial, "infra", "node lost")
    again = study.ask()
    assert (again.trial, again.attempt, again.config) == (second.trial, 2, second.config)
    study.fail(again.trial, "infra", "node lost again")
    assert study.read(second.trial).state == "failed"


def test_late_results_change_nothing_and_are_written_down() -> None:
    study = tuner.Study.create(one_metric())
    proposal = study.ask(lease_s=0.01)
    time.sleep(0.03)
    again = study.ask()
    assert (again.trial, again.attempt) == (proposal.trial, 2)
    assert study.tell(proposal.trial, {"loss": 1.0}, attempt=1) is False
    assert study.read(proposal.trial).state == "running"
    assert study.tell(again.trial, {"loss": 2.0}, attempt=2) is True
    assert study.tell(again.trial, {"loss": 3.0}) is False
    assert study.read(again.trial).metrics == {"loss": 2.0}
    assert [event["kind"] for event in study.events()].count("late") == 2


@pytest.mark.parametrize("batch", [1, 3, 7])
def test_the_budget_of_trials_is_never_overshot(batch: int) -> None:
    study = tuner.Study.create(one_metric(budget={"trials": 10}, baseline={"x": 0.0, "k": "a"}))
    asked = []
    while proposals := study.ask(batch):
        asked += proposals
    assert len(asked) == 10
    with pytest.raises(ExhaustedError, match="all 10 trials"):
        study.ask()


def test_budgets_of_cost_reserve_for_running_trials() -> None:
    study = tuner.Study.create(one_metric(budget={"cost": {"metric": "loss", "limit": 10.0}}))
    total = 0.0
    while proposals := study.ask(4):
        for proposal in proposals:
            study.tell(proposal.trial, {"loss": 2.0})
            total += 2.0
    assert total == 10.0


def test_no_improvement_and_target_stop() -> None:
    patient = tuner.Study.create(one_metric(budget={"no_improvement": 3}))
    for loss in (3.0, 2.0, 2.5, 2.5, 2.5):
        patient.tell(patient.ask().trial, {"loss": loss})
    assert patient.stop_reason == "no improvement in 3 trials"
    aiming = tuner.Study.create(one_metric(budget={"target": {"loss": 1.0}}))
    aiming.tell(aiming.ask().trial, {"loss": 1.5})
    assert aiming.stop_reason is None
    aiming.tell(aiming.ask().trial, {"loss": 0.9})
    assert aiming.stop_reason == "the target is reached"


def test_a_finite_space_is_exhausted_without_repeats() -> None:
    study = tuner.Study.create(one_metric(parameters={"k": {"values": list("abcdef")}, "n": {"min": 1, "max": 3}}))
    seen = []
    while proposals := study.ask(5):
        seen += [tuple(sorted(p.config.items())) for p in proposals]
    assert len(seen) == len(set(seen)) == 18


def test_enqueue_add_and_retry(tmp_path: Path) -> None:
    with tuner.Study.create(one_metric(budget={"trials": 3}), dir=tmp_path / "s") as study:
        assert study.enqueue({"x": 0.25}) == 0
        assert study.ask().config["x"] == 0.25
        study.fail(0, "crash", "boom")
        added = study.add({"x": 0.1, "k": "b"}, {"loss": 0.01})
        assert study.read(added).metrics == {"loss": 0.01}
        study.retry([0])
        again = study.ask()
        assert (again.trial, again.attempt) == (0, 2)
        with pytest.raises(UsageError, match="only failed"):
            study.retry([added])
        assert len(study.ask(10)) == 2  # the added observation is on nobody's budget


def test_everything_survives_closing(tmp_path: Path) -> None:
    with tuner.Study.create(sweep(baseline={"x": 0.0, "k": "a"}), dir=tmp_path / "s") as study:
        for _ in range(5):
            proposal = study.ask()
            study.report(proposal.trial, 1, {"loss": 0.5})
            study.tell(proposal.trial, {"loss": proposal.config["x"], "size": 1.0})
        before = [record.to_json() for record in study.records()]
        following = study.ask().config
    with tuner.Study.open(tmp_path / "s", read_only=True) as reading:
        assert [r.to_json() for r in reading.records(states=("completed",))] == before
        assert reading.reports(2) == [(1, {"loss": 0.5})]
        assert reading.history.n == 5
    with tuner.Study.open(tmp_path / "s") as again:
        assert again.read(5).config == following


def test_a_second_writer_is_refused_and_readers_are_not(tmp_path: Path) -> None:
    with tuner.Study.create(sweep(), dir=tmp_path / "s"):
        code = f"import tuner; tuner.Study.open({str(tmp_path / 's')!r})"
        other = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=False
        )
        assert "LockError" in other.stderr
        assert "is being written by process" in other.stderr
        with tuner.Study.open(tmp_path / "s", read_only=True) as reading:
            assert reading.counts() == {}
        with pytest.raises(LockError):
            tuner.Study.open(tmp_path / "s")


def test_a_dead_holder_keeps_nothing(tmp_path: Path) -> None:
    code = (
        f"import os, signal, tuner; s = tuner.Study.create({sweep()!r}, dir={str(tmp_path / 's')!r}); "
        "p = s.ask(); q = s.ask(); s.tell(p.trial, {'loss': 1.0, 'size': 2.0}); os.kill(os.getpid(), signal.SIGKILL)"
    )
    dead = subprocess.run([sys.executable, "-c", code], env=environment(), check=False)
    assert dead.returncode == -9
    with tuner.Study.open(tmp_path / "s") as study:
        assert study.counts() == {"completed": 1, "waiting": 1}
        assert (study.ask().trial, study.ask().trial) == (1, 2)
        assert "takeover" in [event["kind"] for event in study.events()]


def test_a_folder_with_a_study_is_not_overwritten(tmp_path: Path) -> None:
    tuner.Study.create(sweep(), dir=tmp_path / "s").close()
    with pytest.raises(StoreError, match="holds a study already"):
        tuner.Study.create(sweep(), dir=tmp_path / "s")
    with pytest.raises(StoreError, match="holds no study"):
        tuner.Study.open(tmp_path / "nothing")


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    import sqlite3

    tuner.Study.create(sweep(), dir=tmp_path / "s").close()
    with sqlite3.connect(tmp_path / "s" / "study.db") as database:
        database.execute("update studies set schema_version = 99")
    database.close()
    with pytest.raises(StoreError, match="upgrade tuner"):
        tuner.Study.open(tmp_path / "s", read_only=True)


@pytest.mark.parametrize("method", ["random", "sobol", "tpe", "grid"])
@pytest.mark.parametrize("cut", [0, 3, 9])
def test_an_interrupted_study_proposes_what_an_uninterrupted_one_does(tmp_path: Path, method: str, cut: int) -> None:
    def step(study: tuner.Study) -> None:
        proposal = study.ask()
        study.tell(proposal.trial, {"loss": proposal.config["x"] ** 2, "size": abs(proposal.config["x"] - 1)})

    definition = sweep(search={"method": "grid", "levels": 10} if method == "grid" else method, seed=7)
    whole = tuner.Study.create(definition)
    for _ in range(14):
        step(whole)
    with tuner.Study.create(definition, dir=tmp_path / "s") as first:
        for _ in range(cut):
            step(first)
    with tuner.Study.open(tmp_path / "s") as second:
        for _ in range(14 - cut):
            step(second)
        assert [r.config for r in second.records()] == [r.config for r in whole.records()]


def test_json_of_a_trial_is_the_contract() -> None:
    study = tuner.Study.create(one_metric())
    proposal = study.ask()
    study.tell(proposal.trial, {"loss": 1.0})
    document = json.loads(json.dumps(study.read(0).to_json()))
    keys = {"trial", "state", "params", "metrics", "feasible", "fidelity", "seconds", "failure"}
    assert keys <= document.keys()
