"""T4: the results format of Kernel Tuner and of the tuners that agreed on it (version 1.0.0), in both directions.

A result has a configuration, times in milliseconds, an invalidity (correct, timeout, compile, runtime, correctness or
constraints), a correctness from 0 to 1, and measurements, each with a name, a value and a unit; `objectives` names
those that were searched for, without saying which way. The format has no space: what comes from it is the values that
occur.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tuner.errors import UsageError
from tuner.importers.foreign import ForeignStudy, ForeignTrial, conditions
from tuner.trial import FailureKind

VERSION = "1.0.0"
_KINDS: Mapping[str, FailureKind] = {
    "timeout": "timeout", "compile": "crash", "runtime": "crash", "correctness": "bad_metric", "constraints": "crash",
}  # fmt: skip
_INVALIDITY = {"timeout": "timeout", "no_metric": "correctness", "bad_metric": "correctness"}


def is_t4(document: Any) -> bool:
    """Whether a JSON document looks like it."""
    results = document.get("results") if isinstance(document, Mapping) else None
    return isinstance(results, list) and all(isinstance(r, Mapping) and "configuration" in r for r in results)


def result(
    *,
    config: Mapping[str, Any],
    state: str,
    failure: str | None,
    measurements: Sequence[tuple[str, float, str]],
    objectives: Sequence[str],
    timestamp: str,
    run_s: float,
    suggest_s: float,
) -> dict[str, Any]:
    """One result of the format.

    Args:
        config: As configured.
        state: Of the trial: completed, infeasible, or another one without a measurement that counts.
        failure: The failure kind.
        measurements: Name, value, unit.
        objectives: Names of those that are searched for.
        timestamp: When it ended, ISO 8601.
        run_s: What the trial took, seconds.
        suggest_s: What its proposal took, seconds.
    """
    invalidity = "correct" if state == "completed" else "constraints" if failure is None else "runtime"
    return {
        "timestamp": timestamp,
        "configuration": dict(config),
        "times": {
            "compilation_time": 0.0,
            "runtimes": [1000 * run_s],
            "framework": 0.0,
            "search_algorithm": 1000 * suggest_s,
            "validation": 0.0,
        },
        "invalidity": _INVALIDITY.get(failure or "", invalidity),
        "correctness": 1 if state == "completed" else 0,
        "measurements": [{"name": name, "value": value, "unit": unit} for name, value, unit in measurements],
        "objectives": list(objectives),
    }


def read_results(document: Mapping[str, Any], name: str) -> ForeignStudy:
    """A T4 document as a study.

    Raises:
        UsageError: It has no result with a measurement.
    """
    results = document["results"]
    values: dict[str, list[Any]] = {}
    for one in results:
        for parameter, value in one["configuration"].items():
            seen = values.setdefault(parameter, [])
            if value not in seen:
                seen.append(value)
    trials = [_trial(index, one) for index, one in enumerate(results)]
    measured = list(dict.fromkeys(metric for trial in trials for metric in trial.metrics))
    named = list(dict.fromkeys(goal for one in results for goal in one.get("objectives") or ()))
    goals = [goal for goal in named if goal in measured] or measured[:1]
    if not goals:
        raise UsageError("the T4 document has no result with a measurement, so that there is nothing to compare")
    notes = ["T4 holds no space: every parameter has the values that occur, ordered where they are numbers"]
    notes.append(f"T4 does not say which way is better: {', '.join(goals)} is taken as `minimize`; change it if not")
    sweep: dict[str, Any] = {
        "name": name,
        "metrics": {metric: {"goal": "minimize"} if metric in goals else {} for metric in measured},
        "parameters": {parameter: _entry(seen) for parameter, seen in values.items()},
    }
    for parameter, when in conditions([trial.params for trial in trials], list(values), values).items():
        sweep["parameters"][parameter] |= {"when": when}
        notes.append(f"{parameter} is not in every result: `when: {when}` is what its presence follows")
    return ForeignStudy(sweep=sweep, trials=trials, notes=notes)


def _entry(seen: Sequence[Any]) -> dict[str, Any]:
    if len(seen) == 1:
        return {"value": seen[0]}
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in seen)
    return {"values": sorted(seen), "ordered": True} if numbers else {"values": list(seen)}


def _trial(index: int, one: Mapping[str, Any]) -> ForeignTrial:
    metrics = {
        m["name"]: float(m["value"])
        for m in one.get("measurements") or ()
        if isinstance(m.get("value"), (int, float)) and not isinstance(m["value"], bool)
    }
    invalidity = one.get("invalidity", "correct")
    correct = invalidity == "correct" and bool(metrics)
    ended = _seconds(one.get("timestamp"))
    times = one.get("times") or {}
    took = sum(v for k, v in times.items() if isinstance(v, (int, float)) and k in ("compilation", "compilation_time"))
    took += sum(value for value in times.get("runtimes") or () if isinstance(value, (int, float)))
    return ForeignTrial(
        label=str(index),
        params=dict(one["configuration"]),
        state="completed" if correct else "failed",
        metrics=metrics if correct else {},
        failure=_KINDS.get(invalidity, "no_metric"),
        message=f"invalidity: {invalidity}",
        began=None if ended is None else ended - took / 1000,
        ended=ended,
    )


def _seconds(timestamp: object) -> float | None:
    try:
        return datetime.fromisoformat(str(timestamp)).timestamp()
    except ValueError:
        return None
