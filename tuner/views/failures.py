"""Failures by kind, those with the same message together, with the end of a log that shows it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuner.reporting.tables import legible
from tuner.runners.failures import last_lines, tail
from tuner.runners.logs import NAMES

if TYPE_CHECKING:
    from tuner.records import TrialRecord
    from tuner.study import Study

_LINES = 20
_CAUSES = 8
_CHANGING = re.compile(r"0x[0-9a-fA-F]+|\d+(\.\d+)?([eE][+-]?\d+)?")


@dataclass(frozen=True, slots=True)
class Cause:
    """Failures with the same message but for its numbers.

    Attributes:
        message: That of the latest.
        trials: Their numbers.
        shown: The trial whose log it is.
        log: The last lines that it printed; empty when it printed nothing.
    """

    message: str
    trials: tuple[int, ...]
    shown: int
    log: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Failures:
    """Trials of one failure kind; the most frequent causes first, and how many trials the rest holds."""

    kind: str
    n: int
    causes: tuple[Cause, ...]
    others: int


def failures(study: Study) -> tuple[Failures, ...]:
    """What went wrong, the most frequent kind first."""
    kinds: dict[str, dict[str, list[TrialRecord]]] = {}
    for record in study.records(states=("failed", "infeasible")):
        if record.failure is not None:
            likeness = _CHANGING.sub("#", record.failure.message)
            kinds.setdefault(record.failure.kind, {}).setdefault(likeness, []).append(record)
    found = [_of_kind(study, kind, list(causes.values())) for kind, causes in kinds.items()]
    return tuple(sorted(found, key=lambda one: (-one.n, one.kind)))


def _of_kind(study: Study, kind: str, causes: list[list[TrialRecord]]) -> Failures:
    causes = sorted(causes, key=len, reverse=True)
    n = sum(map(len, causes))
    shown = tuple(_cause(study, records) for records in causes[:_CAUSES])
    return Failures(kind, n, shown, n - sum(len(cause.trials) for cause in shown))


def _cause(study: Study, records: list[TrialRecord]) -> Cause:
    latest = records[-1]
    message = "" if latest.failure is None else latest.failure.message
    lines = "\n".join(legible(line) for line in message.splitlines())
    return Cause(lines, tuple(record.trial for record in records), latest.trial, _log(study, latest.trial))


def _log(study: Study, trial: int) -> tuple[str, ...]:
    """The end of what a trial wrote to stderr, else to stdout."""
    if study.dir is None:
        return ()
    for name in reversed(NAMES):
        lines = last_lines(tail(study.dir / "trials" / str(trial) / name), _LINES)
        if lines:
            return tuple(legible(line.expandtabs()) for line in lines)
    return ()
