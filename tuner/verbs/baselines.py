"""Baseline files of `tuner gate`: what a configuration measured, kept as JSON (`tuner.baseline/1`)."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.errors import UsageError
from tuner.records import utc
from tuner.sessions import write_atomically

if TYPE_CHECKING:
    from tuner.gate import Side
    from tuner.problem import Problem
    from tuner.study import Study

SCHEMA = "tuner.baseline/1"
_PACKAGES = ("tuner", "torch", "numpy", "botorch", "optuna")


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """A front as it was recorded, in the metrics' own units.

    Attributes:
        goals: Metric -> minimize or maximize, in the order of the objectives.
        reference: The corner of its hypervolume, by metric.
        members: Trial, configuration and metrics of each.
    """

    goals: Mapping[str, str]
    reference: Mapping[str, float]
    members: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A baseline file.

    Attributes:
        study: The study it comes from.
        digest: Of its sweep.
        config: The configuration.
        metrics: Medians by metric when it was saved; {} when nothing was measured.
        front: Of the study; None with one objective, or for a configuration without a study.
        document: The whole file.
    """

    study: str
    digest: str
    config: Mapping[str, Any]
    metrics: Mapping[str, float]
    front: Front | None
    document: Mapping[str, Any]


def read_baseline(file: Path) -> Baseline:
    """A baseline file.

    Raises:
        UsageError: It cannot be read, or is no baseline.
    """
    document = read_json(file)
    remedy = "write one with `tuner gate --save-baseline FILE`"
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise UsageError(f"{file} is not a baseline ({SCHEMA}); {remedy}")
    try:
        metrics = {str(name): float(one["median"]) for name, one in document["metrics"].items()}
        found = document["front"]
        front = None
        if found is not None:
            goals = {str(name): str(goal) for name, goal in found["goals"].items()}
            reference = {name: float(found["reference"][name]) for name in goals}
            members = tuple(
                {**one, "metrics": {n: float(one["metrics"][n]) for n in goals}} for one in found["members"]
            )
            front = Front(goals=goals, reference=reference, members=members)
        config = dict(document["configuration"])
        study, digest = str(document["study"]), str(document["sweep_digest"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{file} is a damaged baseline ({type(error).__name__}: {error}); {remedy}") from error
    return Baseline(study=study, digest=digest, config=config, metrics=metrics, front=front, document=document)


def read_json(file: Path) -> Any:
    """What a JSON file holds.

    Raises:
        UsageError: It is missing, or not JSON.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{file} is not JSON: {error}") from error


def front_of(study: Study) -> Front | None:
    """A study's front; None with one objective, or without a feasible trial."""
    objectives, records = study.problem.objectives, study.pareto()
    if len(objectives) < 2 or not records:
        return None
    _, corner = study.hypervolume()
    names = [metric.name for metric in objectives]
    return Front(
        goals={metric.name: str(metric.goal) for metric in objectives},
        reference=dict(zip(names, corner, strict=True)),
        members=tuple(
            {"trial": one.trial, "configuration": one.config, "metrics": {name: one.metrics[name] for name in names}}
            for one in records
        ),
    )


def volume(front: Front, reference: Mapping[str, float]) -> float:
    """Hypervolume of a front from a corner."""
    from tuner import pareto

    signs = {name: -1.0 if goal == "minimize" else 1.0 for name, goal in front.goals.items()}
    rows = [[signs[name] * member["metrics"][name] for name in signs] for member in front.members]
    return float(pareto.hypervolume(rows, [signs[name] * reference[name] for name in signs]))


def save_baseline(file: Path, side: Side, problem: Problem, *, study: str, resolved: Mapping[str, Any],
                  front: Front | None) -> None:  # fmt: skip
    """Write a baseline file.

    Args:
        file: Where; its folder is made.
        side: The configuration and its measurements.
        problem: What the sweep poses.
        study: Its name.
        resolved: The sweep with its objective's parameters and metrics written out.
        front: Of the study, when it has one.
    """
    from tuner import identity

    names = sorted(set.intersection(*(set(one) for one in side.measurements))) if side.measurements else []
    goals = {metric.name: metric for metric in problem.metrics}
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "saved_at": utc(time.time()),
        "study": study,
        "from": side.name,
        "sweep_digest": identity.digest(resolved),
        "sweep": {key: value for key, value in resolved.items() if key != "base_dir"},
        "configuration": dict(side.config),
        "metrics": {
            name: {
                "median": statistics.median(one[name] for one in side.measurements),
                "goal": goals[name].goal if name in goals else None,
                "unit": goals[name].unit if name in goals else "",
            }
            for name in names
        },
        "measurements": [dict(one) for one in side.measurements],
        "front": None if front is None else _front_document(front),
        "versions": versions(),
        "hardware": hardware(),
    }
    if file.parent != Path():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{file.parent} cannot be made: {error.strerror}") from error
    write_atomically(file, json.dumps(document, indent=2, default=str) + "\n")


def _front_document(front: Front) -> dict[str, Any]:
    return {
        "goals": dict(front.goals),
        "reference": dict(front.reference),
        "hypervolume": volume(front, front.reference),
        "members": [dict(member) for member in front.members],
    }


def versions() -> dict[str, str]:
    """Of Python and of what decides on figures, as far as it is installed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """What it was measured on; no name of the machine."""
    from tuner.runners.devices import discover_gpus

    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpus": [gpu.name for gpu in discover_gpus()],
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def what_changed(baseline: Baseline, resolved: Mapping[str, Any], here: Mapping[str, Any]) -> Sequence[str]:
    """How the sweep and the hardware differ from those of the baseline, a line each."""
    from tuner import identity

    lines = []
    if identity.digest(resolved) != baseline.digest:
        old = baseline.document.get("sweep")
        changes = identity.differences(old, resolved) if isinstance(old, Mapping) else []
        more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
        lines.append(f"the sweep changed since the baseline was saved: {'; '.join(changes[:3]) or 'its digest'}{more}")
    there = baseline.document.get("hardware")
    if isinstance(there, Mapping):
        changed = [key for key in ("processor", "gpus") if there.get(key) != here.get(key)]
        lines += [f"the baseline was saved on another machine ({key})" for key in changed[:1]]
    return lines
