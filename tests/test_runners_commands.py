"""Commands as trials: configuration in, results and failures out, endings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.runner_cases import (
    LOSS,
    alive,
    events_until_finished,
    finish,
    outcome,
    pid_in,
    reports,
    runner,
    script,
    shell,
    until,
)
from tuner.errors import EnvironmentUnfitError
from tuner.runners.command import Command
from tuner.runners.protocol import Finished, Job
from tuner.trial import Failure, Metric

# --- configuration ---


def test_a_command_gets_its_configuration_three_ways(tmp_path: Path) -> None:
    command = script(
        """
        import json, os, sys
        from_file = json.load(open(os.environ["TUNER_PARAMS"]))
        assert from_file == {"x": 1.5, "layers.n": [1, 2], "flag": True}, from_file
        assert os.environ["TUNER_PARAM_X"] == "1.5" and os.environ["TUNER_PARAM_LAYERS_N"] == "[1, 2]"
        assert os.environ["TUNER_PARAM_FLAG"] == "true"
        assert os.environ["TUNER_SEED"] == "7" and os.environ["TUNER_TRIAL"] == "0"
        assert os.environ["TUNER_FIDELITY"] == "3.0" and "TUNER_GPU_IDS" not in os.environ
        assert os.environ["PYTHONUNBUFFERED"] == "1" and os.environ["OMP_NUM_THREADS"] == "3"
        assert os.environ["WANDB_MODE"] == "offline" and os.environ["WANDB_DIR"] == os.environ["TUNER_TRIAL_DIR"]
        assert sys.stdin.read() == ""
        print(json.dumps({"loss": float(sys.argv[1])}))
        """,
        "${x}",
    )
    with runner(command, tmp_path) as run:
        run.start(Job(trial=0, config={"x": 1.5, "layers.n": [1, 2], "flag": True}, seed=7, fidelity=3.0))
        (event,) = events_until_finished(run)
    assert isinstance(event, Finished)
    assert event.outcome.metrics == {"loss": 1.5}, event.outcome


def test_variables_of_an_outer_trial_do_not_leak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNER_PARAM_OLD", "1")
    monkeypatch.setenv("TUNER_FIDELITY", "9")
    monkeypatch.setenv("TUNER_CACHE", "kept")
    with runner(shell('test "$TUNER_CACHE" = kept && ! env | grep -q -e _OLD -e FIDELITY && echo \'{"loss": 1}\''),
                tmp_path) as run:  # fmt: skip
        assert outcome(run).state == "completed"


def test_python_is_the_one_that_runs_tuner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = tmp_path / "venv"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin/python").symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(environment / "bin/python"))
    monkeypatch.setattr(sys, "prefix", str(environment))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with runner(shell("command -v python >&2; echo '{\"loss\": 1}'"), tmp_path) as run:
        assert outcome(run).state == "completed"
    assert (tmp_path / "trials/0/stderr.log").read_text().strip() == str(environment / "bin/python")
    with runner(shell("! command -v python && echo '{\"loss\": 1}'"), tmp_path, env={"PATH": "/nowhere"}) as run:
        assert outcome(run).state == "completed"


# --- results ---


def test_free_metrics(tmp_path: Path) -> None:
    command = script(
        """
        import time
        block = bytearray(300_000_000)
        began = time.process_time()
        while time.process_time() - began < 0.3: pass
        print('{"loss": 2}')
        """
    )
    with runner(command, tmp_path) as run:
        found = outcome(run)
    assert found.measures["wall_s"] >= 0.3 <= found.measures["cpu_s"] and found.measures["exit_code"] == 0
    assert 3e8 < found.measures["max_rss_bytes"] < 3.6e8


def test_the_size_of_the_tuner_is_not_charged_to_a_command(tmp_path: Path) -> None:
    block = bytearray(200_000_000)
    with runner(shell("sleep 0.3; echo '{\"loss\": 1}'"), tmp_path) as run:
        assert outcome(run).measures["max_rss_bytes"] < 5e7
    del block


def test_the_time_is_the_commands_even_when_the_tuner_is_busy(tmp_path: Path) -> None:
    with runner(shell("sleep 0.2; echo '{\"loss\": 1}'"), tmp_path) as run:
        run.start(Job(trial=0, config={}))
        time.sleep(1.2)  # as a suggestion would take
        (event,) = events_until_finished(run)
    assert isinstance(event, Finished)
    assert 0.2 <= event.outcome.measures["wall_s"] < 0.9
    assert event.finished_at - event.started_at < 0.9


def test_reports_of_a_running_command(tmp_path: Path) -> None:
    command = script(
        """
        import sys, time
        sys.path.insert(0, sys.argv[1])
        from tuner.trial_client import params, report
        for step in range(3):
            assert not report(loss=params()["x"] - step, step=step)
            time.sleep(0.25)
        report({"loss": 0.25, "best/f1": 1})
        """,
        str(Path(__file__).resolve().parent.parent),
    )
    with runner(command, tmp_path) as run:
        run.start(Job(trial=0, config={"x": 9.0}))
        early = until(lambda: reports(run.poll(0.1)))
        events = events_until_finished(run)
    assert [(event.step, event.metrics["loss"]) for event in [*early, *reports(events)]] == [(0, 9), (1, 8), (2, 7)]
    assert isinstance(events[-1], Finished) and events[-1].outcome.metrics == {"loss": 0.25, "best/f1": 1.0}


def test_torn_and_foreign_lines_do_not_disturb(tmp_path: Path) -> None:
    lines = [
        '{"step": 1, "loss": 3}',
        "no json",
        '{"rank": 1, "loss": 99}',
        "[1]",
        '{"step": 2, "metrics": {"loss": 2}}',
    ]
    text = "".join(f"echo '{line}' >> $TUNER_REPORT\n" for line in lines)
    with runner(shell(f"{text} printf '{{\"loss\": 5' >> $TUNER_REPORT"), tmp_path) as run:
        run.start(Job(trial=0, config={}))
        events = events_until_finished(run)
    assert [event.step for event in reports(events)] == [1, 2]
    assert isinstance(events[-1], Finished) and events[-1].outcome.metrics == {"loss": 2.0}


def test_metrics_from_text_json_and_files(tmp_path: Path) -> None:
    text = """
        printf 'warm-up 50%%\\rlatency: 9.0 ms\\nlatency: 3.0 ms\\nlatency: 4.0 ms\\n'
        echo '{"early": 1}'; echo '{"loss": 0.5,'; echo ' "more": {"f1": 0.7}}'; echo done
        echo '{"runs": [{"t": 5}, {"t": 7}, {"t": 9}], "size": 3}' > "$TUNER_TRIAL_DIR/result.json"
    """
    metrics = [
        Metric(name="loss", goal="minimize", stdout="json"),
        Metric(name="f1", goal="maximize", stdout="json", path="$.more.f1"),
        Metric(name="latency", goal="minimize", stdout="latency: ([0-9.]+)", statistic="mean"),
        Metric(name="t", goal="minimize", file="result.json", path="$.runs[*].t", statistic="p25"),
        Metric(name="size", max=10, file="result.json"),
        Metric(name="wall_s", max=100),
        Metric(name="absent"),
        Metric(name="sum", goal="minimize", formula="loss + f1"),
    ]
    with runner(shell(text), tmp_path, metrics=metrics) as run:
        found = dict(outcome(run).metrics)
    assert 0 < found.pop("wall_s") < 20
    assert found == {"loss": 0.5, "f1": 0.7, "latency": pytest.approx(16 / 3), "t": 6.0, "size": 3.0}


def test_a_missing_metric_is_explained(tmp_path: Path) -> None:
    with runner(shell('echo training; echo \'{"eval_loss": 0.5, "acc": 1}\''), tmp_path) as run:
        failure = outcome(run).failure
    assert failure is not None and failure.kind == "no_metric"
    assert failure.message.splitlines() == [
        "metric 'loss' was not found; did you mean 'eval_loss'?",
        "seen: acc, eval_loss",
        "  | training",
        '  | {"eval_loss": 0.5, "acc": 1}',
    ]


@pytest.mark.parametrize("value", ["NaN", "Infinity", '"high"', "1e999"])
def test_a_value_that_is_no_number_is_bad(tmp_path: Path, value: str) -> None:
    with runner(shell(f"echo '{{\"loss\": {value}}}'"), tmp_path) as run:
        failure = outcome(run).failure
    assert failure is not None and failure.kind == "bad_metric" and "'loss'" in failure.message


def test_scripts_made_for_wandb_need_no_change(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    command = script(
        """
        import wandb
        run = wandb.init(project="p", config={"x": 0.0, "epochs": 3})
        for epoch in range(run.config.epochs):
            run.log({"loss": run.config.x - epoch, "val/f1": 0.5 + epoch})
        run.summary["best"] = 0.9
        run.finish()
        """
    )
    metrics = [LOSS, Metric(name="val/f1", goal="maximize", statistic="min"), Metric(name="best", min=0)]
    with runner(command, tmp_path, metrics=metrics) as run:
        found = outcome(run, {"x": 4.0})
    assert found.metrics == {"loss": 2.0, "val/f1": 0.5, "best": 0.9}, found


# --- failures ---


def failed(tmp_path: Path, text: str, **options: Any) -> Failure:
    with runner(shell(text), tmp_path, **options) as run:
        found = outcome(run)
    assert found.state == "failed" and found.failure is not None
    return found.failure


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("echo oops >&2; exit 3", "crash", "exited with code 3\noops"),
        ("echo only stdout; exit 1", "crash", "only stdout"),
        ("kill -SEGV $$", "signal", "SIGSEGV"),
        ("kill -KILL $$", "signal", "SIGKILL"),
        ("echo 'torch.OutOfMemoryError: CUDA out of memory. Tried' >&2; exit 1", "oom_gpu", "Tried"),
        ("echo 'MemoryError: Unable to allocate' >&2; exit 1", "oom_host", "Unable"),
        ("echo 'NCCL WARN' >&2; echo 'RuntimeError: NCCL error in: x.cpp' >&2; exit 1", "infra", "NCCL"),
        ("echo 'NVRM: Xid (PCI:0000:3b:00): 79' >&2; exit 1", "infra", "Xid"),
    ],
)
def test_kinds_of_failure(tmp_path: Path, text: str, kind: str, words: str) -> None:
    failure = failed(tmp_path, text)
    assert failure.kind == kind and words in failure.message


def test_a_program_that_does_not_exist_stops_the_sweep(tmp_path: Path) -> None:
    with runner(Command(argv=("no-such-program",)), tmp_path) as run:
        with pytest.raises(EnvironmentUnfitError, match="no-such-program"):
            run.start(Job(trial=0, config={}))
        assert run.idle() == 1


def test_a_program_that_a_parameter_chose_fails_its_trial(tmp_path: Path) -> None:
    with runner(Command(argv=("${compiler}",), names=frozenset({"compiler"})), tmp_path) as run:
        failure = outcome(run, {"compiler": "no-such-compiler"}).failure
    assert failure is not None and failure.kind == "crash"


# --- endings ---


def test_a_timeout_reaches_a_grandchild_that_ignores_term(tmp_path: Path) -> None:
    text = f"""
        (trap '' TERM; sh -c 'echo $$ > {tmp_path}/pid; while :; do sleep 0.1; done') &
        wait
    """
    failure = failed(tmp_path, text, timeout_s=0.5, grace_s=0.3)
    assert failure.kind == "timeout" and not alive(pid_in(tmp_path / "pid"))


def test_a_timeout_reaches_a_descendant_that_left_the_session(tmp_path: Path) -> None:
    code = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"  # a daemon: its parent is gone
        f"        open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
        "        time.sleep(60)\n"
        "    os._exit(0)\n"
        "os.wait(); time.sleep(60)\n"
    )
    with runner(script(code), tmp_path, grace_s=0.3, timeout_s=1.0) as run:
        found = outcome(run)
    assert found.failure is not None and found.failure.kind == "timeout"
    assert not alive(pid_in(tmp_path / "pid"))


def test_a_command_that_ends_takes_its_background_jobs_along(tmp_path: Path) -> None:
    text = f"sleep 60 & echo $! > {tmp_path}/pid; setsid sleep 60 & echo $! > {tmp_path}/other; echo '{{\"loss\": 1}}'"
    with runner(shell(text), tmp_path) as run:
        assert outcome(run).state == "completed"
        assert not alive(pid_in(tmp_path / "pid")) and not alive(pid_in(tmp_path / "other"))


def test_a_command_is_asked_to_stop_and_leaves_cleanly(tmp_path: Path) -> None:
    text = """
        i=0
        while [ ! -e "$TUNER_STOP" ]; do
            i=$((i+1)); echo "{\\"step\\": $i, \\"loss\\": $i}" >> $TUNER_REPORT; sleep 0.05
        done
        echo cleanly
    """
    with runner(shell(text), tmp_path, grace_s=20) as run:
        run.start(Job(trial=0, config={}))
        until(lambda: reports(run.poll(0.1)))
        run.prune(0)
        *_, last = events_until_finished(run, limit_s=10)
    assert isinstance(last, Finished) and last.outcome.state == "pruned" and last.outcome.metrics["loss"] >= 1
    assert (tmp_path / "trials" / "0" / "stdout.log").read_text() == "cleanly\n"


def test_a_command_that_does_not_listen_is_pruned_after_the_grace(tmp_path: Path) -> None:
    with runner(shell('echo \'{"step": 1, "loss": 4}\' >> $TUNER_REPORT; sleep 60'), tmp_path, grace_s=0.2) as run:
        run.start(Job(trial=0, config={}))
        until(lambda: reports(run.poll(0.1)))
        run.prune(0)
        (last,) = events_until_finished(run, limit_s=5)
    assert isinstance(last, Finished) and last.outcome.state == "pruned" and last.outcome.metrics == {"loss": 4.0}


def test_a_command_may_finish_its_work_within_the_grace(tmp_path: Path) -> None:
    text = f"trap 'echo saved > {tmp_path}/saved; exit 0' TERM; while :; do sleep 0.05; done"
    with runner(shell(text), tmp_path, grace_s=5) as run:
        run.start(Job(trial=0, config={}))
        run.poll(0.3)
        run.interrupt()
        (last,) = events_until_finished(run, limit_s=4)
    assert isinstance(last, Finished) and last.outcome.failure is not None
    assert last.outcome.failure.kind == "interrupted" and (tmp_path / "saved").exists()


def test_a_second_attempt_starts_with_an_empty_report(tmp_path: Path) -> None:
    with runner(shell('[ -e $TUNER_STOP ] && exit 9; echo "{\\"loss\\": $TUNER_PARAM_X}" >> $TUNER_REPORT'),
                tmp_path, metrics=[Metric(name="loss", goal="minimize", statistic="mean")]) as run:  # fmt: skip
        assert outcome(run, {"x": 1}).metrics == {"loss": 1.0}
        (tmp_path / "trials" / "0" / "stop").touch()
        assert outcome(run, {"x": 3}).metrics == {"loss": 3.0}
    assert (tmp_path / "trials" / "0" / "report.1.jsonl").read_text() == '{"loss": 1}\n'


def test_a_command_costs_little_over_a_bare_subprocess(tmp_path: Path) -> None:
    """The promise is 15 ms; what is asserted is processor time, which other load does not stretch."""
    command = ["/bin/echo", '{"loss": 1}']
    with runner(Command(argv=tuple(command)), tmp_path) as run:
        finish(run, {})
        began = time.process_time()
        finish(run, *[{}] * 30, first=1)
        ours = (time.process_time() - began) / 30
    began = time.process_time()
    for _ in range(30):
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    bare = (time.process_time() - began) / 30
    assert ours - bare < 10e-3


def test_close_kills_what_runs(tmp_path: Path) -> None:
    run = runner(shell(f"trap '' TERM; echo $$ > {tmp_path}/pid; sleep 60"), tmp_path, grace_s=30)
    run.start(Job(trial=0, config={}))
    pid = pid_in(tmp_path / "pid")
    run.close()
    assert not alive(pid)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIG_DFL)
