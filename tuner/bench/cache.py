"""Evaluations kept on disk: training a model twice on the same configuration tells nothing new."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from tuner.bench.problem import BenchProblem
from tuner.trial import Config


class Evaluations:
    """A problem's values; those of a costly one are kept in a file that several processes may append to.

    A line is written whole or not at all; one that was torn by a crash is passed over.
    """

    def __init__(self, problem: BenchProblem, folder: Path | None) -> None:
        self._problem = problem
        self._file = folder / f"{problem.name}.jsonl" if folder is not None and problem.costly else None
        self._known: dict[str, Mapping[str, float]] = {}
        if self._file is not None and self._file.exists():
            for line in self._file.read_text(encoding="utf-8").splitlines():
                try:
                    entry = json.loads(line)
                    self._known[entry["key"]] = entry["values"]
                except (json.JSONDecodeError, KeyError, TypeError):
                    continue

    def values(self, config: Config, level: float | None = None) -> Mapping[str, float]:
        """The metrics of a configuration, without noise; with `level` what a trial reports at so much fidelity.

        What a costly problem reports at full fidelity is the truth.
        """
        fidelity = self._problem.fidelity
        if self._file is not None and fidelity is not None and level == fidelity.max:
            level = None
        if self._file is None:
            return self._evaluate(config, level)
        key = self._problem.space.digest()[:16] + self._problem.space.key(config).hex()
        key += "" if level is None else f"@{level:g}"
        if key not in self._known:
            self._known[key] = dict(self._evaluate(config, level))
            self._append({"key": key, "values": self._known[key]})
        return self._known[key]

    def _evaluate(self, config: Config, level: float | None) -> Mapping[str, float]:
        return self._problem.evaluate(config) if level is None else self._problem.at(config, level)

    def _append(self, entry: Mapping[str, object]) -> None:
        assert self._file is not None
        self._file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(handle, (json.dumps(entry) + "\n").encode())
        finally:
            os.close(handle)
