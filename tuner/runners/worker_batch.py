"""The child side of a pass: several trials, one call of the objective's `evaluate_batch`.

It returns, for each trial in order, its metrics, an exception when that member failed, or None when it was stopped.
Where a rule may end trials early, a member that reports waits for the verdict: another epoch of it would cost the whole
pass. What it prints is in the folder of the pass's first trial; its time is shared among them, so that budgets count it
once.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tuner.errors import ObjectiveError
from tuner.runners.logs import drop_empty
from tuner.runners.worker import Link, Message, Meter, completed, failed, flush, redirect, report, seed, trial_of
from tuner.trial import Trial

_PATIENCE_S, _PATIENCE = 5.0, 0.05
"""How long a pass may wait for the verdict on its reports in all, or which share of it: the tuner may be busy."""

EvaluateBatch = Callable[[list[dict[str, Any]], list[Trial]], Sequence[object]]


def run_batch(jobs: Sequence[Message], evaluate: EvaluateBatch, link: Link, meter: Meter, *, first: bool) -> None:
    """Evaluate trials in one pass, and tell the parent of each."""
    folder = Path(jobs[0]["dir"])
    if not first:  # the parent has redirected the first one, so that loading is logged too
        redirect(folder)
    stopped: set[int] = set()
    shares = _Shares(meter, [job["trial"] for job in jobs])
    began = time.monotonic()
    waited = 0.0

    def sender(number: int, judged: bool) -> Callable[[int | None, Mapping[str, Any]], bool]:
        def send(step: int | None, values: Mapping[str, Any]) -> bool:
            nonlocal waited
            link.send(report(number, step, values))
            if number in stopped:
                return True
            now = time.monotonic()
            left_s = max(_PATIENCE_S, _PATIENCE * (now - began)) - waited
            if link.stopped(number, step, left_s if judged and step is not None else 0.0):
                stopped.add(number)
                link.send({"done": {"state": "pruned", "trial": number, "measures": shares.leave(number)}})
            waited += time.monotonic() - now
            return number in stopped

        return send

    trials = [trial_of(job, sender(job["trial"], job["judged"])) for job in jobs]
    seed(jobs[0]["seed"])
    meter.start()
    try:
        found = list(evaluate([job["config"] for job in jobs], trials))
        if len(found) != len(jobs):
            raise ObjectiveError(f"evaluate_batch must return one result a trial, but got {len(found)} of {len(jobs)}")
    except BaseException as error:
        link.send({"failed": {**failed(error), "measures": shares.leave(jobs[0]["trial"])}})
        return
    for job, one in zip(jobs, found, strict=True):
        if job["trial"] not in stopped:
            done = failed(one) if isinstance(one, BaseException) else completed(one)
            link.send({"done": {**done, "trial": job["trial"], "measures": shares.leave(job["trial"])}})
    flush()
    drop_empty(folder, (os.fstat(1).st_size, os.fstat(2).st_size))
    link.send({"ended": {"memory": _memory_share(meter)}})


class _Shares:
    """The time of a pass, at every moment shared among the members that have not left."""

    def __init__(self, meter: Meter, trials: Sequence[int]) -> None:
        self._meter = meter
        self._own = {trial: dict.fromkeys(("wall_s", "cpu_s"), 0.0) for trial in trials}
        self._counted = {"wall_s": 0.0, "cpu_s": 0.0}

    def leave(self, trial: int) -> Message:
        """The measures of a member that leaves; of the whole pass where it has left before."""
        found = self._meter.stop()
        for name, counted in self._counted.items():
            for own in self._own.values():
                own[name] += (found[name] - counted) / len(self._own)
            self._counted[name] = found[name]
        return {**found, **self._own.pop(trial, {})}


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
