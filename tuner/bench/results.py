"""The results folder: one JSON line for each finished run, appended, so that a killed bench continues.

runs.jsonl       the runs
baselines.json   what random search reaches: the zero of the scores
evaluations/     values of costly problems
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuner.bench.worker import Run

Key = tuple[str, str, int, int]


def key_of(run: Run | Mapping[str, Any]) -> Key:
    """What tells runs apart."""
    if isinstance(run, Run):
        return run.problem, run.method, run.seed, run.trials
    return run["problem"], run["method"], run["seed"], run["trials"]


class Results:
    """The lines of a folder.

    Attributes:
        folder: Where they are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "runs.jsonl"
        self._lines: dict[Key, dict[str, Any]] = {}
        text = self._file.read_text(encoding="utf-8") if self._file.exists() else ""
        for row in text.splitlines():
            try:
                line = json.loads(row)
                self._lines[key_of(line)] = line
            except (json.JSONDecodeError, KeyError, TypeError):
                continue  # torn by a kill: that run is done again
        if text and not text.endswith("\n"):
            with self._file.open("a", encoding="utf-8") as file:
                file.write("\n")

    def __contains__(self, run: Run) -> bool:
        return key_of(run) in self._lines

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Every run's line."""
        return list(self._lines.values())

    def append(self, line: Mapping[str, Any]) -> None:
        """Keep a finished run."""
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self._lines[key_of(line)] = dict(line)
