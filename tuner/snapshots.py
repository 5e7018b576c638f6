"""Snapshot: what a study takes from an earlier one that it starts warm from.

It is read once, when the study is made, and kept in its folder as `sources.json`: the earlier study may then change or
go away, and a continued study proposes what an uninterrupted one would have. `sources.py` turns it into what a model
reads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner import pareto
from tuner.compact import dumps
from tuner.errors import StoreError
from tuner.parameters import Parameter, from_dict
from tuner.trial import FINISHED, Config

if TYPE_CHECKING:
    from tuner.records import TrialRecord
    from tuner.study import Study

FILE = "sources.json"
SCHEMA = "tuner.sources/1"
MAX_TRIALS = 2_000
"""Of a longer study: the better half by Pareto rank, and as many spread evenly over the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One earlier study: its parameters, its goals, and its completed trials.

    Attributes:
        name: What messages call it.
        parameters: Its space, without restrictions.
        goals: Metric -> "maximize" or "minimize"; metrics without a goal are left out.
        n_finished: How many trials had ended, however.
        trials: Number, configuration and metrics of those that completed at the highest fidelity there was.
    """

    name: str
    parameters: tuple[Parameter, ...]
    goals: Mapping[str, str]
    n_finished: int
    trials: tuple[tuple[int, Config, Mapping[str, float]], ...]

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` reads."""
        return {
            "name": self.name,
            "parameters": {parameter.name: parameter.to_dict() for parameter in self.parameters},
            "goals": dict(self.goals),
            "finished": self.n_finished,
            "trials": [[number, config, dict(metrics)] for number, config, metrics in self.trials],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Snapshot:
        """The snapshot that `to_dict` wrote."""
        return cls(
            name=data["name"],
            parameters=tuple(from_dict(name, spec) for name, spec in data["parameters"].items()),
            goals=data["goals"],
            n_finished=data["finished"],
            trials=tuple((number, config, metrics) for number, config, metrics in data["trials"]),
        )


def snapshot(study: Study, name: str) -> Snapshot:
    """What there is to take from an open study."""
    records = list(study.records(states=FINISHED))
    completed = [record for record in records if record.state == "completed"]
    spent = [record.fidelity for record in completed if record.fidelity is not None]
    whole = [record for record in completed if record.fidelity is None or record.fidelity == max(spent)]
    return Snapshot(
        name=name,
        parameters=study.problem.space.parameters,
        goals={metric.name: metric.goal for metric in study.problem.metrics if metric.goal is not None},
        n_finished=len(records),
        trials=tuple((r.trial, r.config, r.metrics) for r in _thinned(whole, study)),
    )


def _thinned(records: list[TrialRecord], study: Study) -> list[TrialRecord]:
    if len(records) <= MAX_TRIALS:
        return records
    values = np.array([study.problem.values(record.metrics) for record in records])
    order = np.argsort(pareto.ranks(values), kind="stable")
    half = MAX_TRIALS // 2
    rest = order[half:][np.linspace(0, len(order) - half - 1, half).astype(int)]
    return [records[int(row)] for row in np.sort(np.concatenate([order[:half], rest]))]


def write_text(studies: Sequence[str], snapshots: Sequence[Snapshot]) -> str:
    """The content of a study's `sources.json`: the studies as the sweep names them, and what was taken of each."""
    return dumps({"schema": SCHEMA, "studies": list(studies), "sources": [s.to_dict() for s in snapshots]})


def read_file(file: Path, studies: Sequence[str]) -> list[Snapshot] | None:
    """The snapshots in a `sources.json`; None when there is none, or when it was taken of other studies.

    Raises:
        StoreError: It cannot be understood.
    """
    if not file.is_file():
        return None
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        if data["schema"] != SCHEMA:
            raise ValueError(f"its schema is {data['schema']!r}, but {SCHEMA!r} is known")
        if data["studies"] != list(studies):
            return None
        return [Snapshot.from_dict(source) for source in data["sources"]]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise StoreError(f"{file} cannot be understood: {error}; remove it to read the studies again") from error
