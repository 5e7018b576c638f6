"""One run in a process of its own: `python -m tuner.bench.worker SPEC`, SPEC and the answer being JSON.

The answer goes to the file that the spec names, so that nothing a peer prints can damage it.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tuner.bench.cache import Evaluations
from tuner.bench.methods import method_version, open_session
from tuner.bench.problem import BenchProblem
from tuner.bench.record import Record, enough
from tuner.bench.suite import suite

CHECKPOINTS = (20, 60, 200)


@dataclass(frozen=True, slots=True)
class Run:
    """What is run.

    Attributes:
        problem: Its name.
        method: As `parse_method` takes it.
        seed: Of the method and of the noise.
        trials: How many; with a fidelity, what so many full ones cost.
    """

    problem: str
    method: str
    seed: int
    trials: int


def checkpoints(trials: int) -> list[int]:
    """The numbers of trials at which a run of so many is judged: 20, 60, 200 and the last."""
    return [*(c for c in CHECKPOINTS if c < trials), trials]


def play(
    run: Run,
    problem: BenchProblem,
    *,
    cache: Path | None = None,
    trial_s: float = 60.0,
    limit_s: float = math.inf,
    wanted: Callable[[], bool] = lambda: True,
) -> dict[str, Any]:
    """Run it and return its line of the results file; on time running out, what there is up to then.

    Args:
        run: What.
        problem: Its problem.
        cache: Folder of the values of costly problems.
        trial_s: What a trial is said to have taken.
        limit_s: Wall-clock limit, looked at before each trial.
        wanted: Whether anybody still waits for the answer, asked before each trial.
    """
    record = Record(problem, Evaluations(problem, cache), run.seed)
    started = time.monotonic()
    session = open_session(run.method, problem, run.trials, run.seed, trial_s)
    seconds: list[float] = []
    at: dict[str, float] = {}
    marks, status = checkpoints(run.trials), "done"
    while not enough(record.spent, run.trials):
        if time.monotonic() - started > limit_s or not wanted():
            status = "timeout"
            break
        begun = time.perf_counter()
        config = session.ask()
        seconds.append(round(time.perf_counter() - begun, 6))
        if config is None:
            at |= {str(mark): record.merit(mark, session.recommend()) for mark in marks if str(mark) not in at}
            break
        session.tell(config, record.run(config, session.fidelity))
        for mark in marks:
            if str(mark) not in at and enough(record.spent, mark):
                at[str(mark)] = record.merit(mark, session.recommend())
    return {
        **asdict(run),
        "status": status,
        "at": at,
        "suggest_s": seconds,
        "seconds": round(time.monotonic() - started, 3),
        "version": method_version(run.method),
    }


def main(text: str) -> None:
    """Run the spec and write the answer."""
    spec = json.loads(text)
    run = Run(**spec["run"])
    cache = Path(spec["cache"]) if spec["cache"] else None
    parent = os.getppid()
    line = play(
        run,
        suite()[run.problem],
        cache=cache,
        trial_s=spec["trial_s"],
        limit_s=spec["limit_s"],
        wanted=lambda: os.getppid() == parent,  # a bench that was killed leaves its workers to others
    )
    if os.getppid() == parent:
        Path(spec["answer"]).write_text(json.dumps(line), encoding="utf-8")


if __name__ == "__main__":
    code = 0
    try:
        main(sys.argv[1])
    except Exception:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # a peer's own threads may wait for an answer that never comes
