"""What the loop and a runner say to each other: jobs go in, events come out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tuner.slots import SlotState
from tuner.trial import Config, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One attempt at one trial.

    Attributes:
        trial: The trial's number.
        attempt: Counts from 1.
        config: Active parameters and their values.
        seed: The trial's own seed.
        dir: The trial's folder; made when something is written. None: a folder that does not outlive the runner.
        fidelity: How much to spend; None for all of it.
        context: The instance to solve, in contextual tuning.
        timeout_s: Limit for this attempt; None for the runner's own.
        checkpoint: A folder that outlives the attempt, and is handed on in promotion.
        replicate: Which repeat of the trial this is, from 0.
        judged: Whether a rule may end it early: each report is answered, by `Runner.prune` or `Runner.proceed`.
    """

    trial: int
    attempt: int = 1
    config: Config
    seed: int = 0
    dir: Path | None = None
    fidelity: float | None = None
    context: tuple[float, ...] | None = None
    timeout_s: float | None = None
    checkpoint: Path | None = None
    replicate: int = 0
    judged: bool = False


@dataclass(frozen=True, slots=True)
class Reported:
    """A running trial reported values at a step; they may be NaN or infinite."""

    trial: int
    attempt: int
    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Finished:
    """An attempt ended.

    Attributes:
        trial: The trial's number.
        attempt: Which attempt.
        outcome: completed, pruned (with the values reported last) or failed.
        slot: Where it ran.
        started_at: Seconds since the epoch.
        finished_at: Likewise.
    """

    trial: int
    attempt: int
    outcome: Outcome
    slot: str
    started_at: float
    finished_at: float


Event = Reported | Finished


class Runner(Protocol):
    """Evaluates jobs somewhere."""

    @property
    def capacity(self) -> int:
        """How many jobs can run at once."""

    def idle(self) -> int:
        """How many jobs could start now."""

    def slots(self) -> list[SlotState]:
        """What is going on in each slot."""

    def start(self, job: Job) -> None:
        """Start a job; only when `idle()` is positive."""

    def poll(self, timeout_s: float) -> list[Event]:
        """What happened; waits up to `timeout_s` for something to happen."""

    def prune(self, trial: int) -> None:
        """Ask a running trial to stop early; it ends as pruned."""

    def proceed(self, trial: int, step: int) -> None:
        """Tell a running trial that is judged that it goes on past a step that it reported."""

    def interrupt(self, *, kill: bool = False) -> None:
        """End every running trial (TERM, grace, KILL; or KILL now); each ends as failed, kind interrupted."""

    def close(self) -> None:
        """End everything and leave no process behind; may be called again."""
