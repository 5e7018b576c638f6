"""The child side of a pass: several trials, one call of the objective's `evaluate_batch`.

It returns, for each trial in order, its metrics, an exception when that member failed, or None when it was stopped.
What it prints is in the folder of the pass's first trial; its time is shared among them, so that budgets count it once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tuner.errors import ObjectiveError
from tuner.runners.logs import drop_empty
from tuner.runners.worker import Link, Message, Meter, completed, failed, flush, redirect, report, seed, trial_of
from tuner.trial import Trial

EvaluateBatch = Callable[[list[dict[str, Any]], list[Trial]], Sequence[object]]


def run_batch(jobs: Sequence[Message], evaluate: EvaluateBatch, link: Link, meter: Meter, *, first: bool) -> None:
    """Evaluate trials in one pass, and tell the parent of each."""
    folder = Path(jobs[0]["dir"])
    if not first:  # the parent has redirected the first one, so that loading is logged too
        redirect(folder)
    stopped: set[int] = set()

    def measures() -> Message:
        found = meter.stop()
        return {**found, **{name: found[name] / len(jobs) for name in ("wall_s", "cpu_s")}}

    def sender(number: int) -> Callable[[int | None, Mapping[str, Any]], bool]:
        def send(step: int | None, values: Mapping[str, Any]) -> bool:
            link.send(report(number, step, values))
            if number not in stopped and link.stopped(number):
                stopped.add(number)
                link.send({"done": {"state": "pruned", "trial": number, "measures": measures()}})
            return number in stopped

        return send

    trials = [trial_of(job, sender(job["trial"])) for job in jobs]
    seed(jobs[0]["seed"])
    meter.start()
    try:
        found = list(evaluate([job["config"] for job in jobs], trials))
        if len(found) != len(jobs):
            raise ObjectiveError(f"evaluate_batch must return one result a trial, but got {len(found)} of {len(jobs)}")
    except BaseException as error:
        link.send({"failed": {**failed(error), "measures": measures()}})
        return
    for job, one in zip(jobs, found, strict=True):
        if job["trial"] not in stopped:
            done = failed(one) if isinstance(one, BaseException) else completed(one)
            link.send({"done": {**done, "trial": job["trial"], "measures": measures()}})
    flush()
    drop_empty(folder, (os.fstat(1).st_size, os.fstat(2).st_size))
    link.send({"ended": {"memory": _memory_share(meter)}})


def _memory_share(meter: Meter) -> float | None:
    """The share of the memory at hand that was used at the peak: of the GPU where one is used, else of the machine."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        free, _ = torch.cuda.mem_get_info()
        peak, held = torch.cuda.max_memory_reserved(), torch.cuda.memory_reserved()
        torch.cuda.reset_peak_memory_stats()
        return float(peak / max(1, free + held))
    try:
        import psutil

        used = meter.stop()["max_rss_bytes"]
        now = psutil.Process().memory_info().rss
        return float(used / max(1, psutil.virtual_memory().available + now))
    except (ImportError, OSError):
        return None
