"""Identity of a study: the sweep as resolved, its digest, and what tells two sweeps apart.

Two sweeps may share their trials when space, metrics, constraints, objective and warm start are the same; budget,
strategy, parallelism and runner may change between sessions.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuner.problem import Problem
    from tuner.sweep import Sweep
    from tuner.trial import Metric


def resolved_sweep(sweep: Sweep, problem: Problem) -> dict[str, Any]:
    """The sweep with its objective's parameters and metrics written out: readable without the objective's code."""
    resolved = sweep.to_dict()
    resolved["parameters"] = {parameter.name: parameter.to_dict() for parameter in problem.space.parameters}
    resolved["metrics"] = {metric.name: _metric_section(metric) for metric in problem.metrics}
    return resolved


def _metric_section(metric: Metric) -> dict[str, Any]:
    values = dataclasses.asdict(metric)
    del values["name"]
    if metric.statistic == "last":
        del values["statistic"]
    return {name: value for name, value in values.items() if value not in (None, "")}


_IDENTITY = ("parameters", "metrics", "restrictions", "constraints", "objective", "command")
_WARM = "warm_start"


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What tells two resolved sweeps apart where it matters, a line each."""
    lines: list[str] = []
    for key in (*_IDENTITY, _WARM):
        a, b = old.get(key), new.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            for name in sorted(a.keys() | b.keys()):
                if a.get(name) != b.get(name):
                    lines.append(f"{key}.{name}: {_short(a.get(name))} became {_short(b.get(name))}")
        elif (a or None) != (b or None):
            lines.append(f"{key}: {_short(a)} became {_short(b)}")
    return lines


def _short(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value, default=str)


def digest(resolved: Mapping[str, Any]) -> str:
    """16 hexadecimal digits over everything that makes trials comparable."""
    identity = {key: resolved.get(key) for key in _IDENTITY}
    identity |= {_WARM: resolved[_WARM]} if resolved.get(_WARM) else {}
    return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:16]
