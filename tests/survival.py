"""Kills a running sweep at random moments and compares what is left with a run that nobody disturbed."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal

import psutil

from tests.surroundings import environment
from tuner.runners.warden import tagged_processes

ROOT = Path(__file__).resolve().parent.parent
Target = Literal["main", "worker", "trial"]

OBJECTIVE = """
import time
def slow(config):
    time.sleep(0.06)
    return {"loss": (config["x"] - 0.3) ** 2 + config["n"] / 10, "size": config["n"] + config["x"]}
"""
SCRIPT = """
import json, os, time
config = json.load(open(os.environ["TUNER_PARAMS"]))
time.sleep(0.06)
values = {"loss": (config["x"] - 0.3) ** 2 + config["n"] / 10, "size": config["n"] + config["x"]}
with open(os.environ["TUNER_REPORT"], "a") as file:
    file.write(json.dumps(values) + "\\n")
"""


def write_sweep(folder: Path, method: str, *, trials: int, command: bool) -> Path:
    """A sweep of a Python objective, or of a command, that takes 60 ms a trial."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "slow_objective.py").write_text(OBJECTIVE)
    (folder / "slow_script.py").write_text(SCRIPT)
    what = {"command": [sys.executable, "slow_script.py"]} if command else {"objective": "slow_objective:slow"}
    sweep = {
        "name": "slow",
        **what,
        "metrics": {"loss": "minimize", "size": "minimize"},
        "parameters": {"x": {"min": -1.0, "max": 1.0}, "n": {"min": 0, "max": 20}, "unused": {"values": ["a", "b"]}},
        "baseline": {"x": 0.0, "n": 3, "unused": "a"},
        "search": method,
        "budget": {"trials": trials},
        "seed": 5,
    }
    (folder / "sweep.yaml").write_text(json.dumps(sweep))
    return folder / "sweep.yaml"


def start(sweep: Path, study: Path) -> subprocess.Popen[str]:
    """`tuner run` in a process of its own."""
    surroundings = environment(OMP_NUM_THREADS="1", CI="1")
    command = [sys.executable, "-m", "tuner", "run", str(sweep), "--dir", str(study), "-q"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=surroundings)


def trials_of(study: Path) -> list[dict[str, Any]]:
    """Every trial as stored: number, configuration, metrics, state."""
    import tuner

    with tuner.Study.open(study, read_only=True) as opened:
        return [
            {"trial": r.trial, "params": r.config, "metrics": dict(r.metrics), "state": r.state, "seed": r.seed}
            for r in opened.records()
        ]


def token_of(study: Path) -> str:
    """What every process of the study carries in its environment."""
    import tuner

    with tuner.Study.open(study, read_only=True) as opened:
        return opened.token


def left_behind(token: str, patience_s: float = 5.0) -> list[int]:
    """Processes of the study that are still alive after a while."""
    until = time.monotonic() + patience_s
    while (alive := list(tagged_processes("TUNER_STUDY_TOKEN", token))) and time.monotonic() < until:
        time.sleep(0.05)
    return alive


def kill(process: subprocess.Popen[str], target: Target, token: str) -> bool:
    """Send SIGKILL to the main process, or to one that evaluates; False when there was none to kill."""
    if target == "main":
        process.send_signal(signal.SIGKILL)
        return True
    for pid in tagged_processes("TUNER_STUDY_TOKEN", token):
        try:
            psutil.Process(pid).send_signal(signal.SIGKILL)
            return True
        except psutil.NoSuchProcess:
            continue
    return False


def torture(
    folder: Path, method: str, *, target: Target, kills: int, trials: int, command: bool = False, seed: int = 0
) -> tuple[list[dict[str, Any]], int]:
    """Run a sweep, killing `target` at `kills` random moments; continue it to its end after each.

    Returns:
        The trials, and how many kills hit.

    Raises:
        AssertionError: A finished trial was lost or changed, or a process was left behind.
    """
    rng = random.Random(seed)
    sweep = write_sweep(folder, method, trials=trials, command=command)
    study = folder / "study"
    finished: dict[int, dict[str, Any]] = {}
    hits = 0
    while True:
        process = start(sweep, study)
        while process.poll() is None and hits < kills:
            time.sleep(rng.uniform(0.05, 0.9))
            if (study / "sweep.yaml").is_file() and process.poll() is None:
                hits += kill(process, target, token_of(study))
                if target == "main":
                    break
        _, errors = process.communicate(timeout=300)
        if (study / "sweep.yaml").is_file():
            assert not left_behind(token_of(study)), "a process was left behind"
            now = {trial["trial"]: trial for trial in trials_of(study)}
            for number, trial in finished.items():
                assert now[number] == trial, "a finished trial was lost or changed"
            finished = {n: t for n, t in now.items() if t["state"] in ("completed", "failed")}
        if process.returncode == 0:
            return sorted(finished.values(), key=lambda trial: trial["trial"]), hits
        assert process.returncode == -signal.SIGKILL, errors
