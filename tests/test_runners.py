"""Python objectives in worker processes."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

import tuner.trial_client
from tests.runner_cases import LOSS, alive, events_until_finished, finish, outcome, pid_in, reports, runner, until
from tuner.errors import ObjectiveError
from tuner.objective import ObjectiveRef
from tuner.runners.pool import PythonObjective
from tuner.runners.protocol import Finished, Job
from tuner.trial import Metric, Trial

ROOT = Path(__file__).resolve().parent.parent


def test_a_number_is_the_only_objective(tmp_path: Path) -> None:
    with runner(lambda config: config["x"] ** 2, tmp_path, slots=2) as run:
        done = finish(run, *({"x": float(i)} for i in range(20)))
    assert [event.outcome.metrics for event in done] == [{"loss": float(i) ** 2} for i in range(20)]
    assert all(event.outcome.state == "completed" and event.outcome.failure is None for event in done)
    assert {event.slot for event in done} <= {"cpu0", "cpu1"}
    measures = done[0].outcome.measures
    assert 0 <= measures["wall_s"] < 5 and measures["max_rss_bytes"] > 1e6 and measures["exit_code"] == 0
    assert all(0 <= event.finished_at - event.started_at < 5 for event in done)


def test_a_mapping_names_its_metrics_and_may_hold_more(tmp_path: Path) -> None:
    import numpy as np

    def objective(config: dict[str, Any]) -> dict[str, Any]:
        return {"loss": np.float32(0.5), "latency": np.array([3.0, 1.0, 2.0]), "note": "text", "steps": 7}

    metrics = [LOSS, Metric(name="latency", max=5.0, statistic="median")]
    with runner(objective, tmp_path, metrics=metrics) as run:
        assert outcome(run).metrics == {"loss": 0.5, "latency": 2.0, "steps": 7.0}


def test_the_trial_is_handed_over(tmp_path: Path) -> None:
    def objective(config: dict[str, Any], trial: Trial) -> dict[str, float]:
        (trial.dir / "made.txt").write_text(trial.device)
        assert trial.checkpoint is not None and trial.context == (1.0, 2.0)
        return {"loss": trial.seed, "number": trial.number, "fidelity": trial.fidelity or 0.0}

    with runner(objective, tmp_path) as run:
        run.start(
            Job(trial=4, config={}, seed=9, fidelity=3.0, context=(1.0, 2.0), dir=tmp_path / "t", checkpoint=tmp_path)
        )
        (event,) = events_until_finished(run)
    assert isinstance(event, Finished)
    assert event.outcome.metrics == {"loss": 9.0, "number": 4.0, "fidelity": 3.0}
    assert (tmp_path / "t" / "made.txt").read_text() == "cpu"


def test_objectives_by_reference_with_prepare_and_evaluate(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        textwrap.dedent("""
            class Mine:
                def __init__(self, scale): self.scale = scale
                def prepare(self): self.offset = 100
                def evaluate(self, config, trial): return {"loss": self.scale * config["x"] + self.offset}
        """)
    )
    reference = ObjectiveRef(name="mine:Mine", options={"scale": 2}, folder=tmp_path)
    with runner(PythonObjective(reference=reference), tmp_path / "study") as run:
        assert outcome(run, {"x": 3}).metrics == {"loss": 106.0}


def test_an_objective_in_main_needs_no_guard(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent("""
            from pathlib import Path
            from tests.runner_cases import outcome, runner
            OFFSET = 5
            def objective(config):
                return config["x"] + OFFSET
            with runner(objective, Path("study")) as run:
                print(outcome(run, {"x": 1.0}).metrics)
        """)
    )
    path = str(ROOT)
    command = [sys.executable, str(program)]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    assert done.stdout == "{'loss': 6.0}\n", done.stderr


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("import missing_package", "missing_package"),
        ("def other(config): return 1", "has no 'objective'"),
        ("1 / 0", "ZeroDivisionError"),
        ("objective = 3", "must be callable"),
    ],
)
def test_an_objective_that_cannot_be_loaded_is_an_error(tmp_path: Path, source: str, complaint: str) -> None:
    (tmp_path / "broken.py").write_text(source)
    reference = PythonObjective(reference=ObjectiveRef(name="broken:objective", folder=tmp_path))
    with runner(reference, tmp_path) as run:
        run.start(Job(trial=0, config={}))
        with pytest.raises(ObjectiveError, match=complaint):
            events_until_finished(run)


def test_a_module_that_starts_a_sweep_when_imported_is_refused(tmp_path: Path) -> None:
    (tmp_path / "recursive.py").write_text(
        "from tests.runner_cases import runner\nrunner(print, None)\ndef objective(config): return 1\n"
    )
    with runner(PythonObjective(reference=ObjectiveRef(name="recursive:objective", folder=tmp_path)), tmp_path) as run:
        run.start(Job(trial=0, config={}))
        with pytest.raises(ObjectiveError, match="__main__"):
            events_until_finished(run)


def test_what_cannot_be_sent_to_a_process_is_an_error(tmp_path: Path) -> None:
    import threading

    lock = threading.Lock()
    with runner(lambda config: lock.locked(), tmp_path) as run, pytest.raises(ObjectiveError, match="importable"):
        run.start(Job(trial=0, config={}))


def test_an_exception_is_a_crash_with_its_place_and_the_worker_goes_on(tmp_path: Path) -> None:
    def objective(config: dict[str, Any]) -> float:
        if config["x"] == 0:
            raise ValueError("zero is not for me")
        return float(os.getpid())

    with runner(objective, tmp_path) as run:
        bad, *good = finish(run, {"x": 0}, {"x": 1}, {"x": 2})
    failure = bad.outcome.failure
    assert failure is not None and failure.kind == "crash"
    assert "ValueError: zero is not for me" in failure.message and "test_runners.py" in failure.message
    log = (tmp_path / "trials" / "0" / "stderr.log").read_text()
    assert log.startswith("Traceback") and "runners/worker.py" not in log
    assert good[0].outcome.metrics == good[1].outcome.metrics  # the same process


@pytest.mark.parametrize(
    ("error", "kind", "renewed"),
    [
        (MemoryError(), "oom_host", True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), "oom_gpu", True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), "oom_host", True),
        (RuntimeError("NCCL error in: ProcessGroupNCCL.cpp, unhandled system error"), "infra", True),
        (ConnectionResetError("gone"), "infra", True),
        (RuntimeError("CUDA error: device-side assert triggered"), "crash", True),
        (KeyError("lr"), "crash", False),
        (SystemExit(3), "crash", False),
    ],
)
def test_exceptions_have_kinds_and_poisoned_workers_go(
    tmp_path: Path, error: BaseException, kind: str, renewed: bool
) -> None:
    def objective(config: dict[str, Any]) -> float:
        if config["x"] == 1:
            raise error
        return float(os.getpid())

    with runner(objective, tmp_path) as run:
        before, failed, after = finish(run, {"x": 0}, {"x": 1}, {"x": 2})
    assert failed.outcome.failure is not None and failed.outcome.failure.kind == kind
    assert (before.outcome.metrics != after.outcome.metrics) == renewed


def test_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    def objective(config: dict[str, Any]) -> float:
        if config["how"] == "exit":
            print("leaving", flush=True)
            os._exit(3)
        if config["how"] == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        if config["how"] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        return 1.0

    with runner(objective, tmp_path) as run:
        ended = finish(run, *({"how": how} for how in ("exit", "segfault", "kill", "return")))
    failures = [event.outcome.failure for event in ended[:3]]
    assert [failure.kind for failure in failures if failure] == ["crash", "signal", "signal"]
    assert [failure.message.split("\n")[0] for failure in failures if failure] == [
        "the worker exited with code 3",
        "the worker ended by SIGSEGV",
        "the worker ended by SIGKILL",
    ]
    assert ended[3].outcome.state == "completed"
    assert (tmp_path / "trials" / "0" / "stdout.log").read_text() == "leaving\n"


def test_an_idle_worker_that_was_killed_costs_no_trial(tmp_path: Path) -> None:
    with runner(lambda config: os.getpid(), tmp_path) as run:
        for trial in range(4):
            pid = int(finish(run, {}, first=trial)[0].outcome.metrics["loss"])
            os.kill(pid, signal.SIGKILL)
            if trial % 2:  # whether or not the runner has noticed
                run.poll(0.05)
            else:
                until(functools.partial(dead, pid))
        assert run.idle() == 1


def test_workers_are_recycled(tmp_path: Path) -> None:
    with runner(PythonObjective(reference=lambda config: os.getpid(), recycle=3), tmp_path) as run:
        pids = [event.outcome.metrics["loss"] for event in finish(run, *[{}] * 7)]
    assert len(set(pids)) == 3 and pids[0] == pids[2] != pids[3] == pids[5] != pids[6]


def test_output_of_each_trial_is_kept_apart_and_silence_leaves_nothing(tmp_path: Path) -> None:
    def objective(config: dict[str, Any]) -> float:
        if config["x"]:
            print("out", config["x"])
            print("err", config["x"], file=sys.stderr)
            os.system(f"echo shell {config['x']}")
        return 0.0

    with runner(objective, tmp_path) as run:
        finish(run, {"x": 0}, {"x": 1}, {"x": 0}, {"x": 3})
    assert sorted(path.name for path in (tmp_path / "trials").iterdir()) == ["1", "3"]
    assert (tmp_path / "trials" / "3" / "stdout.log").read_text() == "out 3\nshell 3\n"
    assert (tmp_path / "trials" / "3" / "stderr.log").read_text() == "err 3\n"


def test_a_second_run_of_a_trial_keeps_the_first_ones_output(tmp_path: Path) -> None:
    with runner(lambda config: print(config["x"]) or 1.0, tmp_path) as run:
        for text in "abc":
            finish(run, {"x": text}, first=5)
    logs = {path.name: path.read_text() for path in (tmp_path / "trials" / "5").iterdir()}
    assert logs == {"stdout.1.log": "a\n", "stdout.2.log": "b\n", "stdout.log": "c\n"}


def test_without_a_folder_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with runner(lambda config: print("hello") or 1.0, None) as run:
        assert outcome(run).state == "completed"
        assert list(tmp_path.rglob("stdout.log"))
    assert not list(tmp_path.rglob("stdout.log"))


def test_the_global_generators_start_from_the_trials_seed(tmp_path: Path) -> None:
    def objective(config: dict[str, Any]) -> dict[str, float]:
        import random

        import numpy as np

        return {"loss": random.random(), "second": float(np.random.rand())}

    with runner(objective, tmp_path, slots=2) as run:
        done = finish(run, *[{}] * 6)  # every job has the same seed
    assert len({event.outcome.metrics["loss"] for event in done}) == 1


def test_threads_are_capped_and_the_environment_reaches_the_worker(tmp_path: Path) -> None:
    def objective(config: dict[str, Any]) -> dict[str, float]:
        assert os.environ["MINE"] == "yes" and os.environ["PYTHONUNBUFFERED"] == "1"
        assert os.environ["TUNER_STUDY_TOKEN"] == "study-1" and os.environ["TUNER_TRIAL"] == "0"
        assert os.environ["MKL_NUM_THREADS"] == "5"  # the user's own wins
        names = ("OMP", "OPENBLAS", "NUMEXPR", "RAYON")
        caps = {int(os.environ[f"{name}_NUM_THREADS"]) for name in names} | {int(os.environ["VECLIB_MAXIMUM_THREADS"])}
        return {"loss": caps.pop() if len(caps) == 1 else -1}

    with runner(objective, tmp_path, env={"MINE": "yes", "MKL_NUM_THREADS": "5"}, study_token="study-1") as run:
        assert outcome(run).metrics["loss"] == 3


def test_stdin_is_closed(tmp_path: Path) -> None:
    with runner(lambda config: len(sys.stdin.read()), tmp_path) as run:
        assert outcome(run).metrics == {"loss": 0.0}


def test_reports_arrive_and_an_objective_is_pruned(tmp_path: Path) -> None:
    def objective(config: dict[str, Any], trial: Trial) -> float:
        for step in range(1000):
            trial.report(step, loss=100.0 - step, nan=float("nan"))
            time.sleep(0.01)
        return 0.0

    with runner(objective, tmp_path) as run:
        run.start(Job(trial=0, config={}))
        until(lambda: reports(run.poll(0.5)))
        run.prune(0)
        *_, last = events_until_finished(run)
        assert isinstance(last, Finished) and last.outcome.state == "pruned"
        assert last.outcome.failure is None and 0 < last.outcome.metrics["loss"] <= 100
        assert "nan" not in last.outcome.metrics
        assert run.idle() == 1


def test_an_objective_that_ignores_the_request_is_pruned_by_force(tmp_path: Path) -> None:
    def objective(config: dict[str, Any], trial: Trial) -> float:
        trial.report(1, loss=3.0)
        time.sleep(60)
        return 0.0

    with runner(objective, tmp_path, grace_s=0.2) as run:
        run.start(Job(trial=0, config={}))
        until(lambda: reports(run.poll(0.5)))
        run.prune(0)
        (last,) = events_until_finished(run)
        assert isinstance(last, Finished) and last.outcome.state == "pruned" and last.outcome.metrics == {"loss": 3.0}


def test_a_function_may_report_through_the_client(tmp_path: Path) -> None:
    def objective(config: dict[str, Any]) -> None:
        for step in range(3):
            tuner.trial_client.report(step=step, loss=3 - step)
        tuner.trial_client.report(latency=[4, 2, 9])

    metrics = [LOSS, Metric(name="latency", goal="minimize", statistic="min")]
    with runner(objective, tmp_path, metrics=metrics) as run:
        run.start(Job(trial=0, config={}))
        events = events_until_finished(run)
    assert [(event.step, event.metrics) for event in reports(events)] == [
        (0, {"loss": 3.0}),
        (1, {"loss": 2.0}),
        (2, {"loss": 1.0}),
    ]
    assert isinstance(events[-1], Finished) and events[-1].outcome.metrics == {"loss": 1.0, "latency": 2.0}


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (float("nan"), "bad_metric", "finite"),
        ({"loss": float("inf")}, "bad_metric", "finite"),
        ({"loss": "low"}, "bad_metric", "'low'"),
        ({"loss": 10**400}, "bad_metric", "inf"),
        ("text", "bad_metric", "'text'"),
        ({1, 2}, "bad_metric", "number or a mapping"),
        ({"los": 1.0}, "no_metric", "did you mean 'los'"),
        (None, "no_metric", "no metric at all"),
    ],
)
def test_values_that_are_no_result(tmp_path: Path, value: object, kind: str, words: str) -> None:
    with runner(lambda config: value, tmp_path) as run:
        failure = outcome(run).failure
    assert failure is not None and failure.kind == kind and words in failure.message


def test_a_number_cannot_serve_two_objectives(tmp_path: Path) -> None:
    with runner(lambda config: 1.0, tmp_path, metrics=[LOSS, Metric(name="size", goal="minimize")]) as run:
        failure = outcome(run).failure
    assert failure is not None and failure.kind == "no_metric" and "mapping" in failure.message


def test_timeouts_end_the_worker_and_what_it_started(tmp_path: Path) -> None:
    def objective(config: dict[str, Any], trial: Trial) -> float:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        code = f"import os, time; open({str(trial.dir / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
        subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
        time.sleep(60)
        return 0.0

    with runner(objective, tmp_path, grace_s=0.3) as run:
        run.start(Job(trial=0, config={}, timeout_s=1.0))
        (event,) = events_until_finished(run)
        assert isinstance(event, Finished) and event.outcome.failure is not None
        assert event.outcome.failure.kind == "timeout" and "1 s" in event.outcome.failure.message
        assert not alive(pid_in(tmp_path / "trials" / "0" / "pid"))
        assert run.idle() == 1


def test_loading_does_not_count_against_the_timeout(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(0.6)\ndef objective(config): return 1.0\n")
    reference = PythonObjective(reference=ObjectiveRef(name="slow:objective", folder=tmp_path))
    with runner(reference, tmp_path, timeout_s=0.3) as run:
        assert outcome(run).state == "completed"


@pytest.mark.parametrize("kill", [False, True])
def test_interrupt_ends_running_trials(tmp_path: Path, kill: bool) -> None:
    with runner(sleep_long, tmp_path, slots=2, grace_s=0.2) as run:
        for trial in range(2):
            run.start(Job(trial=trial, config={}))
        run.poll(0.2)
        run.interrupt(kill=kill)
        events = events_until_finished(run, 2, limit_s=5)
    kinds = [event.outcome.failure.kind for event in events if isinstance(event, Finished) and event.outcome.failure]
    assert kinds == ["interrupted"] * 2


def test_close_leaves_no_process_and_may_be_repeated(tmp_path: Path) -> None:
    def objective(config: dict[str, Any]) -> int:
        time.sleep(config["x"])
        return os.getpid()

    run = runner(objective, tmp_path, slots=2)
    idle = int(outcome(run, {"x": 0}).metrics["loss"])
    run.start(Job(trial=1, config={"x": 60}))
    run.poll(0.1)
    run.close()
    run.close()
    assert not alive(idle)
    mine = {int(pid) for pid in os.listdir("/proc") if pid.isdigit() and _parent(int(pid)) == os.getpid()}
    assert not {pid for pid in mine if b"tuner.runners" in _command_line(pid)}


def test_poll_returns_early_when_woken(tmp_path: Path) -> None:
    read, write = os.pipe()
    with runner(sleep_long, tmp_path, wakeup_fd=read) as run:
        run.start(Job(trial=0, config={}))
        os.write(write, b"\x02")
        began = time.monotonic()
        assert run.poll(5.0) == []
        assert time.monotonic() - began < 1.0
    os.close(read)
    os.close(write)


def test_a_stream_of_trials_costs_little(tmp_path: Path) -> None:
    """The promise is 300 trials/s with the store; this bound is loose for shared test machines."""
    with runner(lambda config: 1.0, tmp_path, slots=2) as run:
        finish(run, {}, {})
        began = time.process_time()
        finish(run, *[{}] * 300)
        assert (time.process_time() - began) / 300 < 1.5e-3


def sleep_long(config: dict[str, Any]) -> None:
    time.sleep(60)


def dead(pid: int) -> bool:
    return not alive(pid)


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
