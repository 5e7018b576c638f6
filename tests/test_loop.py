"""The loop through `tuner.run`: real workers, budgets, repeats, early stopping, failures, requests."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import tuner
from tuner import inbox
from tuner.errors import FailurePolicyError, UsageError
from tuner.observer import Observer
from tuner.records import TrialRecord
from tuner.runners.devices import Slot, lease
from tuner.trial import Trial


def bowl(config: Mapping[str, Any]) -> dict[str, float]:
    return {"loss": config["x"] ** 2}


def noisy(config: Mapping[str, Any], trial: Trial) -> float:
    return float(trial.seed % 1000)


def learning(config: Mapping[str, Any], trial: Trial) -> dict[str, float]:
    for step in range(1, 10):
        time.sleep(0.02)
        trial.report(step, loss=config["x"] ** 2 + 1.0 / step)
    return {"loss": config["x"] ** 2 + 0.1}


def sleepy(config: Mapping[str, Any]) -> dict[str, float]:
    time.sleep(0.3)
    return bowl(config)


def half_broken(config: Mapping[str, Any]) -> dict[str, float]:
    if config["x"] > 0:
        raise ValueError("x must not be positive")
    return bowl(config)


def sweep(objective: Any, **changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "name": "loop",
        "objective": objective,
        "metrics": {"loss": "minimize"},
        "parameters": {"x": {"min": -1.0, "max": 1.0}},
        "search": "random",
        "budget": {"trials": 6},
    }
    return {**base, **changes}


def test_a_python_function_is_run_in_workers(tmp_path: Path) -> None:
    with tuner.run(sweep(bowl, parallel=2), tmp_path / "s") as study:
        records = list(study.records())
        assert len(records) == 6
        assert all(r.metrics["loss"] == r.config["x"] ** 2 for r in records)
        assert {"wall_s", "cpu_s", "max_rss_bytes"} <= records[0].measures.keys()
        best = study.best()
        assert best is not None
        assert best.metrics["loss"] == min(r.metrics["loss"] for r in records)


def test_repeats_are_averaged_over_their_own_seeds(tmp_path: Path) -> None:
    with tuner.run(sweep(noisy, repeats={"n": 3}, budget={"trials": 2}), tmp_path / "s") as study:
        from tuner.randomness import trial_seed

        for record in study.records():
            values = [float(trial_seed(0, record.trial, k) % 1000) for k in range(3)]
            assert record.seed == trial_seed(0, record.trial)
            assert record.metrics["loss"] == pytest.approx(sum(values) / 3)
            assert record.measures["loss_sd"] > 0


def test_asha_prunes_and_reports_are_kept(tmp_path: Path) -> None:
    definition = sweep(learning, early_stop={"rule": "asha", "eta": 2}, budget={"trials": 12})
    with tuner.run(definition, tmp_path / "s") as study:
        counts = study.counts()
        assert counts["pruned"] >= 3
        assert counts["completed"] >= 1
        pruned = next(iter(study.records(states=("pruned",))))
        assert study.reports(pruned.trial)[0][0] == 1
        best = study.best()
        assert best is not None
        assert best.state == "completed"


def test_the_time_budget_ends_running_trials(tmp_path: Path) -> None:
    with tuner.run(sweep(sleepy, budget={"time": 1.5}), tmp_path / "s") as study:
        assert study.ending is not None
        assert "time budget" in study.ending.reason
        assert study.ledger.spent.seconds < 4.0  # seconds: the budget, one poll and the end of a worker
        assert not study.ledger.spent.running


def test_a_share_of_failures_is_allowed_and_more_is_not(tmp_path: Path) -> None:
    with tuner.run(sweep(half_broken, budget={"trials": 20, "failures": "90%"}), tmp_path / "a") as study:
        counts = study.counts()
        assert counts["failed"] > 2
        assert counts["failed"] + counts["completed"] == 20
        assert all(r.failure is not None and r.failure.kind == "crash" for r in study.records(states=("failed",)))
    with pytest.raises(FailurePolicyError, match="more than the 2"):
        tuner.run(sweep(half_broken, budget={"trials": 40, "failures": 2}), tmp_path / "b")


def test_requests_of_other_processes_are_obeyed(tmp_path: Path) -> None:
    class Requests(Observer):
        def finished(self, record: TrialRecord) -> None:
            if record.trial == 1:
                inbox.post(tmp_path / "s", {"verb": "enqueue", "config": {"x": 0.5}})
            if record.config["x"] == 0.5:
                inbox.post(tmp_path / "s", {"verb": "stop"})

    with tuner.run(sweep(sleepy, budget={"trials": 30}), tmp_path / "s", observer=Requests()) as study:
        assert any(record.config["x"] == 0.5 for record in study.records())
        assert study.counts()["completed"] < 30
        assert study.ending is not None
        assert "tuner stop" in study.ending.reason


def test_a_sweep_without_anything_to_run_is_refused(tmp_path: Path) -> None:
    definition = {key: value for key, value in sweep(bowl).items() if key != "objective"}
    with pytest.raises(UsageError, match="nothing to run"):
        tuner.run(definition, tmp_path / "s")


def test_two_strategies_in_sequence_share_a_history(tmp_path: Path) -> None:
    tuner.run(sweep(bowl, budget={"trials": 5}), tmp_path / "s").close()
    with tuner.run(sweep(bowl, budget={"trials": 8}, search="tpe"), tmp_path / "s") as study:
        assert [r.provenance.engine for r in study.records()] == ["random"] * 5 + ["tpe"] * 3


def lucky(config: Mapping[str, Any], trial: Trial) -> float:
    """The truth is x; one draw is off by up to 100, so that the best of many draws says little."""
    return float(config["x"]) + trial.seed % 100


def test_finalists_are_measured_again_on_fresh_seeds_beyond_the_budget(tmp_path: Path) -> None:
    from tuner.randomness import trial_seed

    definition = sweep(lucky, repeats={"finalists": 3, "finalist_n": 4}, parallel=2)
    with tuner.run(definition, tmp_path / "s") as study:
        records = sorted(study.records(), key=lambda r: r.metrics["loss"])
        assert len(records) == 6
        used = {trial_seed(0, number, k) for number in range(6) for k in range(4)}
        for record in records[:3]:
            seeds = [trial_seed(0, record.trial, 1_000_000 + k) for k in range(4)]
            assert not used & set(seeds)
            values = [record.config["x"] + seed % 100 for seed in seeds]
            assert record.measures["final.loss"] == pytest.approx(sum(values) / 4)
            assert record.measures["final.loss_sd"] > 0
        assert not any("final.loss" in record.measures for record in records[3:])
        recommended = study.recommend()
        assert recommended is not None
        assert recommended.measures["final.loss"] == min(r.measures["final.loss"] for r in records[:3])


def test_confirmed_finalists_survive_a_continuation(tmp_path: Path) -> None:
    notes: list[str] = []

    class Notes(Observer):
        def note(self, text: str) -> None:
            notes.append(text)
            if "measured 2 times again" in text and not (tmp_path / "s" / "inbox").exists():
                inbox.post(tmp_path / "s", {"verb": "stop"})
                time.sleep(0.6)  # longer than the loop leaves requests lying

    definition = sweep(sleepy, repeats={"finalists": 3, "finalist_n": 2}, budget={"trials": 4})
    with tuner.run(definition, tmp_path / "s", observer=Notes()) as study:
        first = {r.trial: r.measures["final.loss"] for r in study.records() if "final.loss" in r.measures}
        assert len(first) == 1
    notes.clear()
    with tuner.run(definition, tmp_path / "s", observer=Notes()) as study:
        done = {r.trial: r.measures["final.loss"] for r in study.records() if "final.loss" in r.measures}
        assert len(done) == 3
        assert first.items() <= done.items()
        assert sum("measured 2 times again" in text for text in notes) == 2  # the first was left alone
        assert study.recommend() == study.best()  # without noise the fresh measurements change nothing


def test_a_front_is_confirmed_and_failures_are_counted(tmp_path: Path) -> None:
    definition = sweep(
        fails_on_fresh_seeds,
        metrics={"loss": "minimize", "gain": "maximize"},
        repeats={"finalists": 2, "finalist_n": 2},
        budget={"trials": 5},
    )
    with tuner.run(definition, tmp_path / "s") as study:
        front = study.pareto()
        again = [record for record in study.records() if "final.failed" in record.measures]
        assert {record.trial for record in again} <= {record.trial for record in front}
        assert [record.measures["final.failed"] for record in again] == [2.0] * min(2, len(front))
        assert study.recommend() == study.best()


def fails_on_fresh_seeds(config: Mapping[str, Any], trial: Trial) -> dict[str, float]:
    if "final" in trial.dir.parts:
        raise ValueError("not this time")
    return {"loss": config["x"], "gain": config["x"] ** 2}


def test_a_sweep_waits_for_the_right_to_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where leases lie: nobody else measures here
    held = lease(Slot(id="cpu0", exclusive=True))
    assert held is not None

    class Releasing(Observer):
        def note(self, text: str) -> None:
            if "waits for the right to measure" in text:
                threading.Timer(0.6, held.release).start()

    definition = sweep(bowl, budget={"trials": 2}, runner={"exclusive": True})
    with tuner.run(definition, tmp_path / "s", observer=Releasing()) as study:
        assert study.ledger.spent.finished == 2
