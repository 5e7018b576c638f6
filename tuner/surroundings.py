"""Surroundings: where a sweep ran: versions, hardware, the state of the code. Written down when a session begins.

It is what a report needs to say how a result came about. Nothing is asked that names a person or a machine.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuner.study import Study

EVENT = "session"
"""The kind of event that holds the surroundings, as JSON."""

_PACKAGES = ("tuner", "torch", "botorch", "gpytorch", "optuna", "numpy", "scikit-learn", "SQLAlchemy")
_GIT_TIMEOUT_S = 5.0


def write_down(study: Study) -> None:
    """Store the surroundings of a session, unless the last one had the same."""
    found = json.dumps(examine(study.sweep.base_dir), sort_keys=True)
    before = [event["detail"] for event in study.events() if event["kind"] == EVENT]
    if not before or before[-1] != found:
        study.add_event(EVENT, found)


def known(study: Study) -> list[dict[str, Any]]:
    """The surroundings of the sessions of a study, oldest first, each with its time `at`, seconds since the epoch."""
    events = [event for event in study.events() if event["kind"] == EVENT]
    return [{"at": event["at"], **json.loads(event["detail"])} for event in events]


def examine(folder: Path) -> dict[str, Any]:
    """What there is here and now: versions, processor, memory, GPUs, and the git state of a folder."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "packages": _versions(),
        "processor": _processor(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": _memory_gib(),
        "gpus": _gpus(),
        "git": git_state(folder),
    }


def git_state(folder: Path) -> Mapping[str, Any] | None:
    """Commit and branch of a folder, and the number of changed files; None outside a repository or without git."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {
        "commit": commit,
        "branch": _git(folder, "rev-parse", "--abbrev-ref", "HEAD"),
        "changed_files": None if changed is None else len(changed.splitlines()),
    }


def _git(folder: Path, *words: str) -> str | None:
    quiet = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        run = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, env=quiet, timeout=_GIT_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return run.stdout.decode(errors="replace").strip()


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # a checkout that is not installed knows its own version
            if package == "tuner":
                from tuner import __version__

                found[package] = __version__
    return found


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory_gib() -> float:
    import psutil

    return round(psutil.virtual_memory().total / 2**30, 1)


def _gpus() -> list[str]:
    from tuner.runners.devices import discover_gpus

    return [f"{gpu.name} {gpu.memory_bytes / 2**30:.0f} GiB" for gpu in discover_gpus()]
