"""Leases: which trials wait and which run, since when and until when.

Deadlines are stored as times of day, for the next process that opens the study; here they are counted on the monotonic
clock, so that a clock that is set forward ends no lease, and one that is set back does not lengthen any.
"""

from __future__ import annotations

import math
import time
from bisect import insort
from dataclasses import dataclass

from tuner.trial import Proposal


@dataclass(frozen=True, slots=True)
class _Lease:
    started: float  # seconds since the epoch
    began: float  # the same moment on the monotonic clock
    ends: float  # on the monotonic clock


class Leases:
    """The waiting queue (retried trials first, then by number) and the deadlines of running trials."""

    def __init__(self) -> None:
        self._waiting: list[Proposal] = []
        self._running: dict[int, _Lease] = {}

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
        """Lease a trial, waiting or new.

        Args:
            proposal: The trial.
            started: When the lease began, seconds since the epoch; another process may have written it down.
            deadline: When it ends, likewise; None: never. It never runs for longer than `deadline - started`.
        """
        self._waiting = [other for other in self._waiting if other.trial != proposal.trial]
        now, ticks = time.time(), time.monotonic()
        left = math.inf if deadline is None else min(deadline - now, deadline - started)
        self._running[proposal.trial] = _Lease(started, ticks - max(now - started, 0.0), ticks + left)

    def span(self, trial: int) -> tuple[float, float]:
        """From the begin of a lease until now, seconds since the epoch, never backwards."""
        lease = self._running[trial]
        return lease.started, lease.started + (time.monotonic() - lease.began)

    def end(self, trial: int) -> None:
        """End a lease; harmless when there is none."""
        self._running.pop(trial, None)

    def expired(self) -> list[int]:
        """Running trials whose deadline has passed."""
        now = time.monotonic()
        return [trial for trial, lease in self._running.items() if lease.ends < now]
