"""Certainty that nothing is left: after `kill -9` of the tuner, of the warden, and of what trials started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.runner_cases import LOSS, alive, events_until_finished, outcome, pid_in, runner, shell, until
from tuner.runners.guard import Guard
from tuner.runners.processes import Family, children, descendants, exit_handle, peak_memory, wait_status
from tuner.runners.protocol import Job
from tuner.runners.warden import reap_leftovers, tagged_processes

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

DRIVER = """
    import sys, time
    from pathlib import Path
    from tests.runner_cases import runner, shell
    from tuner.runners.protocol import Job

    def objective(config):
        import subprocess
        subprocess.Popen(["sleep", "60"], start_new_session=True)
        Path(config["file"]).write_text("up")
        time.sleep(60)

    folder = Path(sys.argv[1])
    text = f"trap '' TERM; setsid sleep 60 & (sleep 60 &) ; echo up > {folder}/up0; while :; do sleep 1; done"
    kind = shell(text) if sys.argv[2] == "command" else objective
    with runner(kind, folder, slots=2, grace_s=0.3, study_token=sys.argv[3]) as r:
        for trial in range(2):
            r.start(Job(trial=trial, config={"x": 0, "file": str(folder / f"up{trial}")}))
        r.poll(60) or r.poll(60)
"""


@pytest.mark.parametrize("kind", ["command", "objective"])
def test_nothing_survives_a_tuner_that_was_killed(tmp_path: Path, kind: str) -> None:
    token = f"killed-{os.getpid()}-{time.time_ns()}"
    driver = tmp_path / "driver.py"
    driver.write_text(textwrap.dedent(DRIVER))
    command = [sys.executable, str(driver), str(tmp_path), kind, token]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)})
    until(lambda: (tmp_path / "up0").exists())
    until(lambda: len(tagged_processes("TUNER_STUDY_TOKEN", token)) >= 4)
    wardens = [pid for pid in children(process.pid) if b"warden.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(wardens) == 1
    process.kill()
    process.wait()
    until(lambda: not tagged_processes("TUNER_STUDY_TOKEN", token), limit_s=8)
    until(lambda: not alive(wardens[0]), limit_s=8)


def test_leftovers_of_an_earlier_run_are_ended(tmp_path: Path) -> None:
    token = f"left-{os.getpid()}-{time.time_ns()}"
    environment = {**os.environ, "TUNER_STUDY_TOKEN": token}
    text = f"trap '' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 0.1; done"
    stubborn = subprocess.Popen(["/bin/sh", "-c", text], env=environment, start_new_session=True)
    pid_in(tmp_path / "pid")
    assert reap_leftovers(token) >= 1
    assert stubborn.wait(timeout=5) == -signal.SIGKILL
    assert reap_leftovers(token) == 0
    assert reap_leftovers("") == 0


def test_the_warden_is_replaced_and_the_new_one_knows_the_groups(tmp_path: Path) -> None:
    guard = Guard("token-of-a-test", 0.1)
    sleeper = subprocess.Popen(["sleep", "60"], start_new_session=True)
    guard.watch(sleeper.pid)
    first = guard.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    until(lambda: not alive(first))
    guard.check()
    second = guard.pid
    assert second is not None and second != first
    assert guard._process is not None and guard._process.stdin is not None
    pipe = guard._process.stdin
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), pipe.fileno())  # closes the pipe, as the death of this process would
    assert sleeper.wait(timeout=8) == -signal.SIGTERM
    until(lambda: not alive(second))
    guard.close()


def test_the_warden_tells_when_a_process_ended(tmp_path: Path) -> None:
    guard = Guard("token-of-a-test", 0.1)
    sleeper = subprocess.Popen(["sleep", "0.3"], start_new_session=True)
    began = time.monotonic()
    guard.watch(sleeper.pid)
    time.sleep(1.0)
    ended = guard.ended_at(sleeper.pid)
    assert ended is not None and 0.2 < ended - began < 0.9
    assert guard.ended_at(sleeper.pid) is None
    sleeper.wait()
    guard.release(sleeper.pid)
    guard.close()
    guard.close()


def test_a_family_knows_its_members(tmp_path: Path) -> None:
    text = f"sleep 60 & setsid sh -c 'echo $$ > {tmp_path}/pid; exec sleep 60' & wait"
    leader = subprocess.Popen(["/bin/sh", "-c", text], start_new_session=True)
    away = pid_in(tmp_path / "pid")
    family = Family(leader.pid, "a-tag")
    assert set(descendants(leader.pid)) >= {away}
    assert peak_memory(leader.pid) > 100_000
    family.signal(signal.SIGKILL)
    handle = exit_handle(leader.pid)
    status = until(lambda: wait_status(leader.pid))
    leader.returncode = status[0]
    assert status[0] == -signal.SIGKILL
    until(lambda: not family.survivors())
    assert not alive(away)
    if handle is not None:
        os.close(handle)


def test_where_there_are_no_process_handles_exits_are_found_by_looking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    with runner(lambda config: os._exit(4) if config["x"] else 1.0, tmp_path / "a") as run:
        assert outcome(run, {"x": 0}).state == "completed"
        failure = outcome(run, {"x": 1}).failure
        assert failure is not None and failure.kind == "crash"
    with runner(shell("sleep 0.1; echo '{\"loss\": 1}'"), tmp_path / "b", metrics=[LOSS]) as run:
        assert outcome(run).metrics == {"loss": 1.0}


def test_descriptors_do_not_leak(tmp_path: Path) -> None:
    def rounds(n: int) -> int:
        with runner(shell("echo '{\"loss\": 1}'"), tmp_path) as run:
            for trial in range(n):
                run.start(Job(trial=trial, config={}))
                events_until_finished(run)
        return len(os.listdir("/proc/self/fd"))

    assert rounds(2) == rounds(10)
