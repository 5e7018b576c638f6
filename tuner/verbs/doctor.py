"""`tuner doctor`: what this machine has, and what would go wrong in a sweep."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_REQUIRED = (
    "torch",
    "botorch",
    "gpytorch",
    "optuna",
    "pandas",
    "pydantic",
    "SQLAlchemy",
    "ruamel.yaml",
    "scikit-learn",
)
_OPTIONAL = {"pyarrow": "parquet", "wandb": "wandb", "nvidia-ml-py": "gpu", "psycopg": "postgresql", "plotly": "report"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: What.
        ok: False when a sweep could not run.
        detail: What was found, and what to do when it is not well.
    """

    name: str
    ok: bool
    detail: str


def examine() -> list[Finding]:
    """Look at everything; nothing is changed, apart from a temporary file that tests the storage."""
    checks: list[Callable[[], Finding | list[Finding]]] = [_python, _packages, _extras, _cpus, _gpus, _storage, _space]
    findings: list[Finding] = []
    for check in checks:
        found = check()
        findings += found if isinstance(found, list) else [found]
    return findings


def _python() -> Finding:
    ok = sys.version_info >= (3, 11)
    return Finding("python", ok, sys.version.split()[0] + ("" if ok else "; tuner needs 3.11 or newer"))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _packages() -> list[Finding]:
    findings = []
    for package in _REQUIRED:
        found = _version(package)
        findings.append(Finding(package, found is not None, found or f"missing; pip install {package}"))
    return findings


def _extras() -> list[Finding]:
    return [
        Finding(package, True, _version(package) or f"not installed (optional: pip install tuner[{extra}])")
        for package, extra in _OPTIONAL.items()
    ]


def _cpus() -> Finding:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Finding("cpus", True, f"{usable} usable; OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}")


def _gpus() -> Finding:
    from tuner.runners.devices import discover_gpus

    gpus = discover_gpus()
    if not gpus:
        return Finding("gpus", True, "none found (NVIDIA GPUs need the driver and pip install tuner[gpu])")
    return Finding("gpus", True, ", ".join(f"{gpu.name} {gpu.memory_bytes / 2**30:.0f} GiB" for gpu in gpus))


def _storage() -> Finding:
    """Write and lock where studies are kept."""
    from tuner.lock import WriterLock
    from tuner.store import Store, sqlite_url

    home = Path(".tuner") if Path(".tuner").is_dir() else Path()
    try:
        with tempfile.TemporaryDirectory(dir=home, prefix=".doctor-") as folder:
            lock = WriterLock(Path(folder))
            store = Store(sqlite_url(Path(folder) / "study.db"), "doctor")
            store.create_study(digest="", sweep="{}", token="")
            store.close()
            lock.release()
    except Exception as error:
        return Finding("storage", False, f"{home.absolute()} cannot hold a study ({error}); choose another with --dir")
    return Finding("storage", True, f"{home.absolute()} is writable; locking works")


def _space() -> Finding:
    free = shutil.disk_usage(Path()).free / 2**30
    return Finding("disk", free > 0.5, f"{free:.1f} GiB free" + ("" if free > 0.5 else "; free at least 0.5 GiB"))


def report_text(findings: list[Finding], *, json: bool) -> str:
    """The findings for people, or as one JSON document."""
    if json:
        return _json(findings)
    width = max(len(finding.name) for finding in findings)
    return "\n".join(f"{'ok ' if f.ok else 'BAD'} {f.name:{width}}  {f.detail}" for f in findings)


def _json(findings: list[Finding]) -> str:
    listed = [{"name": f.name, "ok": f.ok, "detail": f.detail} for f in findings]
    return json.dumps({"schema": "tuner.verbs.doctor/1", "findings": listed}, indent=2)
