"""Trials of one pass: results, stops, failures and time limits of members, and how many make a pass."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import tuner
from tests.runner_cases import LOSS, events_until_finished, finish, reports, runner
from tuner.errors import Stopped
from tuner.runners.batch_size import BatchSize
from tuner.runners.pool import PythonObjective
from tuner.runners.protocol import Event, Finished, Job
from tuner.trial import Trial


class Passes:
    """What each configuration asks for happens to it; every pass says how many were in it."""

    metrics = {"loss": LOSS}  # noqa: RUF012

    def evaluate(self, config: Mapping[str, Any], trial: Trial) -> Any:
        raise AssertionError("it is asked for batches")

    def evaluate_batch(self, configs: Sequence[Mapping[str, Any]], trials: Sequence[Trial]) -> list[Any]:
        print("pass of", len(configs))
        kinds = [config.get("kind", "") for config in configs]
        found: list[Any] = [{"loss": config["x"], "size": float(len(configs))} for config in configs]
        for step in (1, 2):
            for k, trial in enumerate(trials):
                if found[k] is None:
                    continue
                try:
                    trial.report(step, loss=configs[k]["x"] + step)
                except Stopped:
                    found[k] = None
            if step == 1:
                self._mishaps(kinds, len(configs))
            time.sleep(0.2 if "stop" in kinds else 0.0)
        return [ValueError("own fault") if kind == "raise" else one for kind, one in zip(kinds, found, strict=True)]

    def _mishaps(self, kinds: Sequence[str], n: int) -> None:
        if "die" in kinds:
            os._exit(3)
        if "hang" in kinds:
            time.sleep(60)
        if "break" in kinds:
            raise RuntimeError("as a whole")
        if "large" in kinds and n > 2:
            raise MemoryError("too many")


def load(reference: str) -> Passes:
    return Passes()


def passes(folder: Path, batch: int | None = 8, **options: Any) -> Any:
    return runner(PythonObjective(reference="passes", load=load, batch=batch), folder, **options)


def states(events: Sequence[Finished]) -> list[str]:
    return [event.outcome.failure.kind if event.outcome.failure else event.outcome.state for event in events]


def test_trials_of_a_pass_get_their_own_results(tmp_path: Path) -> None:
    with passes(tmp_path) as run:
        assert run.capacity == run.idle() == 8
        done = finish(run, *({"x": float(k)} for k in range(11)))
    assert [event.outcome.metrics["loss"] for event in done] == [float(k) for k in range(11)]
    own = done[0]
    assert 0 < own.outcome.measures["wall_s"] < own.finished_at - own.started_at  # its share of the pass
    assert (tmp_path / "trials/0/stdout.log").read_text() == "pass of 8\n"
    assert (tmp_path / "trials/8/stdout.log").read_text() == "pass of 3\n"


def test_repeats_of_a_trial_are_in_passes_of_their_own(tmp_path: Path) -> None:
    with passes(tmp_path) as run:
        for trial, attempt in ((0, 1), (0, 2), (1, 1), (1, 2), (0, 3)):
            run.start(Job(trial=trial, attempt=attempt, config={"x": 10.0 * trial + attempt}, seed=attempt))
        done = [event for event in events_until_finished(run, 5) if isinstance(event, Finished)]
    found = {(event.trial, event.attempt): event.outcome.metrics for event in done}
    assert {key: metrics["loss"] for key, metrics in found.items()} == {
        (trial, attempt): 10.0 * trial + attempt for trial, attempt in found
    }
    assert sorted(metrics["size"] for metrics in found.values()) == [1.0, 2.0, 2.0, 2.0, 2.0]


def test_a_member_that_raises_leaves_the_others(tmp_path: Path) -> None:
    with passes(tmp_path) as run:
        done = finish(run, {"x": 0.0}, {"x": 1.0, "kind": "raise"}, {"x": 2.0})
    assert states(done) == ["completed", "crash", "completed"]
    assert done[1].outcome.failure is not None
    assert "own fault" in done[1].outcome.failure.message


def test_a_member_that_is_stopped_ends_at_once_and_alone(tmp_path: Path) -> None:
    with passes(tmp_path) as run:
        for k in range(3):
            run.start(Job(trial=k, config={"x": float(k), "kind": "stop"}, seed=k))
        seen: list[Event] = []
        while len(reports(seen)) < 3:
            seen += run.poll(1.0)
        run.prune(1)
        seen += events_until_finished(run, 3)
    done = [event for event in seen if isinstance(event, Finished)]
    assert done[0].trial == 1
    assert sorted((event.trial, event.outcome.state) for event in done) == [
        (0, "completed"),
        (1, "pruned"),
        (2, "completed"),
    ]
    assert done[0].outcome.metrics["loss"] == 3.0  # of its last report


@pytest.mark.parametrize(("kind", "failure"), [("die", "crash"), ("break", "crash"), ("hang", "timeout")])
def test_what_ends_a_pass_is_found_by_halves(tmp_path: Path, kind: str, failure: str) -> None:
    limit = {"timeout_s": 0.5} if kind == "hang" else {}
    with passes(tmp_path, **limit) as run:
        for k in range(4):
            run.start(Job(trial=k, config={"x": float(k), "kind": kind if k == 2 else ""}, seed=k))
        seen = events_until_finished(run, 4, limit_s=40.0)
    done = sorted((event for event in seen if isinstance(event, Finished)), key=lambda event: event.trial)
    assert states(done) == ["completed", "completed", failure, "completed"]
    heard = [(event.trial, event.step) for event in reports(seen)]
    assert sorted(set(heard)) == sorted(heard)  # a repeated pass tells nothing twice


def test_a_pass_that_does_not_fit_is_halved_and_later_ones_are_smaller(tmp_path: Path) -> None:
    told: list[str] = []
    with passes(tmp_path, note=told.append) as run:
        done = finish(run, *({"x": float(k), "kind": "large"} for k in range(8)))
        assert run.idle() == 2
    assert states(done) == ["completed"] * 8
    assert told[-1] == "memory ran out with 4 trials in one pass; going on with 2"


def test_an_interrupted_pass_interrupts_its_members(tmp_path: Path) -> None:
    with passes(tmp_path) as run:
        for k in range(3):
            run.start(Job(trial=k, config={"x": 0.0, "kind": "hang"}, seed=k))
        while not reports(run.poll(1.0)):
            pass
        run.interrupt()
        done = [event for event in events_until_finished(run, 3) if isinstance(event, Finished)]
    assert states(done) == ["interrupted"] * 3


def test_a_sweep_asks_for_as_many_as_a_pass_takes(tmp_path: Path) -> None:
    (tmp_path / "packed.py").write_text(
        "class Own:\n"
        "    def evaluate(self, config): raise AssertionError\n"
        "    def evaluate_batch(self, configs, trials):\n"
        "        return [{'loss': c['x'], 'together': len(configs)} for c in configs]\n"
    )
    sweep = {
        "objective": "packed:Own",
        "base_dir": str(tmp_path),
        "parameters": {"x": {"min": 0.0, "max": 1.0}},
        "metrics": {"loss": {"goal": "minimize"}, "together": {}},
        "budget": {"trials": 10},
        "runner": {"batch": 4},
        "search": "random",
    }
    study = tuner.run(sweep, tmp_path / "study")
    try:
        assert sorted(record.metrics["together"] for record in study.records()) == [2.0] * 2 + [4.0] * 8
    finally:
        study.close()

    finalists = {**sweep, "repeats": {"finalists": 2, "finalist_n": 3}}
    again = tuner.run(finalists, tmp_path / "again")
    try:
        assert [one.n for one in again.history.again.values()] == [3, 3]
    finally:
        again.close()


def test_sizes_double_while_that_pays_and_fits() -> None:
    size = BatchSize()
    for seconds, memory, due in ((9.0, 0.1, 4), (4.0, 0.1, 8), (4.5, 0.2, 16), (5.0, 0.3, 32), (5.5, 0.5, 32)):
        size.ran(size.now, seconds, memory)
        assert size.now == due
    out = BatchSize()
    out.ran(4, 9.0, None)
    out.ran(4, 4.0, None)
    assert out.now == 8
    out.ran_out(8)
    assert out.now == 4
    out.ran(4, 1.0, None)
    assert out.now == 4


@pytest.mark.parametrize(
    ("seconds", "due"),
    [
        ({1: 1.0, 2: 2.1, 4: 4.9, 8: 12.8}, 1),  # as on two processor cores: products fill them already
        ({1: 1.0, 2: 2.0, 4: 4.0, 8: 8.0}, 1),  # no difference: whoever proposes learns sooner
        ({1: 1.0, 2: 1.2, 4: 2.3, 8: 4.6}, 2),
        ({1: 1.0, 2: 1.2, 4: 1.6, 8: 3.1}, 4),
        ({1: 1.0, 2: 1.2, 4: 1.6, 8: 2.4, 16: 4.7}, 8),
        ({1: 1.0, 2: 1.1, 4: 1.2, 8: 1.3, 16: 1.4, 32: 1.5, 64: 1.6}, 64),
    ],
)
def test_as_many_make_a_pass_as_do_most_a_second(seconds: Mapping[int, float], due: int) -> None:
    size = BatchSize()
    size.ran(4, 100.0, None)  # the objective loads something
    for k in range(40):
        stopped = 0.5 if k % 2 else 1.0  # half of the work, where a rule ends trials early
        size.ran(size.now, seconds[size.now] * stopped, 0.001, size.now * stopped)
    assert size.now == due
