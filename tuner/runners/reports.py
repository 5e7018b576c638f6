"""The values that a trial reports while it runs, and the incremental reading of its report file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Report = tuple[int, dict[str, float]]
"""(step, values)."""

_READ_LIMIT = 16 << 20  # bytes a call: a trial that floods its report file must not stall the others


class ReportLog:
    """Every value a trial reported, by name and in order.

    Attributes:
        stepped: Values reported with a step.
        final: Values reported without one: the result.
    """

    def __init__(self) -> None:
        self.stepped: dict[str, list[float]] = {}
        self.final: dict[str, list[Any]] = {}

    def add(self, step: int | None, values: Mapping[str, Any]) -> Report | None:
        """Record one report; what the loop should hear of it (nothing when it has no step or no number)."""
        if step is None:
            for name, value in values.items():
                self.final.setdefault(str(name), []).append(value)
            return None
        numbers = {str(name): float(value) for name, value in values.items() if isinstance(value, bool | int | float)}
        for name, number in numbers.items():
            self.stepped.setdefault(name, []).append(number)
        return (step, numbers) if numbers else None

    def latest(self) -> dict[str, float]:
        """The last finite value of each name: what is known of a trial that was pruned."""
        found: dict[str, float] = {}
        for name, values in [*self.stepped.items(), *self.final.items()]:
            last = values[-1]
            if isinstance(last, bool | int | float) and abs(float(last)) < float("inf"):
                found[name] = float(last)
        return found

    def values(self) -> dict[str, list[Any]]:
        """The values of each name: those without a step where there are any, else those with one."""
        return {**self.stepped, **self.final}


class ReportTail:
    """Follows a file of JSON lines that another process appends to."""

    def __init__(self, path: Path, log: ReportLog) -> None:
        self._path = path
        self._log = log
        self._offset = 0
        self._torn = b""

    def read(self, *, ended: bool = False) -> list[Report]:
        """What was appended since the last call. A torn last line waits for its rest, or for `ended`."""
        try:
            if os.stat(self._path).st_size <= self._offset and not (ended and self._torn):
                return []
            with open(self._path, "rb") as file:
                file.seek(self._offset)
                chunk = file.read() if ended else file.read(_READ_LIMIT)
        except OSError:
            return []
        self._offset += len(chunk)
        *lines, self._torn = (self._torn + chunk).split(b"\n")
        if ended:
            lines.append(self._torn)
            self._torn = b""
        reports = [self._accept(line) for line in lines if line.strip()]
        return [report for report in reports if report is not None]

    def _accept(self, line: bytes) -> Report | None:
        """One line's report; None for a line that is torn, is no JSON object, or comes from another rank."""
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            return None
        if not isinstance(found, dict) or found.pop("rank", 0) not in (0, None):
            return None
        step = found.pop("step", None)
        values = found.pop("metrics", found)
        if not isinstance(values, dict):
            return None
        try:
            return self._log.add(None if step is None else int(step), values)
        except (TypeError, ValueError, OverflowError):
            return None
