"""Leases: which trials wait and which run, since when and until when."""

from __future__ import annotations

import math
import time
from bisect import insort

from tuner.trial import Proposal


class Leases:
    """The waiting queue (retried trials first, then by number) and the deadlines of running trials."""

    def __init__(self) -> None:
        self._waiting: list[Proposal] = []
        self._running: dict[int, tuple[float, float]] = {}  # trial -> (started, deadline), seconds since the epoch

    def __len__(self) -> int:
        """Trials that wait."""
        return len(self._waiting)

    @property
    def next(self) -> Proposal | None:
        """The trial that starts next; None when none waits."""
        return self._waiting[0] if self._waiting else None

    def wait(self, proposal: Proposal) -> None:
        """Queue a trial."""
        insort(self._waiting, proposal, key=lambda p: (p.attempt == 1, p.trial))

    def begin(self, proposal: Proposal, *, started: float, deadline: float | None) -> None:
        """Lease a trial, waiting or new."""
        self._waiting = [other for other in self._waiting if other.trial != proposal.trial]
        self._running[proposal.trial] = (started, math.inf if deadline is None else deadline)

    def end(self, trial: int) -> float:
        """End a lease; returns when it began."""
        now = time.time()
        return self._running.pop(trial, (now, now))[0]

    def expired(self) -> list[int]:
        """Running trials whose deadline has passed."""
        now = time.time()
        return [trial for trial, (_, deadline) in self._running.items() if deadline < now]
