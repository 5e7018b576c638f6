"""A trial's output files: one folder a trial, the latest attempt under the plain names."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

NAMES = ("stdout.log", "stderr.log")
_ATTEMPT_FILES = (*NAMES, "report.jsonl")


def open_logs(folder: Path, attempt: int) -> tuple[int, int]:
    """Descriptors of stdout.log and stderr.log, for appending; makes the folder.

    What an earlier attempt left is kept as `stdout.<attempt>.log`, and so on; the request to stop is forgotten.
    """
    if attempt > 1:
        _set_aside(folder, attempt - 1)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    try:
        first = os.open(folder / NAMES[0], flags, 0o644)
    except FileNotFoundError:
        folder.mkdir(parents=True, exist_ok=True)
        first = os.open(folder / NAMES[0], flags, 0o644)
    try:
        return first, os.open(folder / NAMES[1], flags, 0o644)
    except OSError:
        os.close(first)
        raise


def _set_aside(folder: Path, attempt: int) -> None:
    for name in _ATTEMPT_FILES:
        stem, _, ending = name.partition(".")
        kept = folder / f"{stem}.{attempt}.{ending}"
        if not kept.exists() and (folder / name).exists():
            os.rename(folder / name, kept)
    (folder / "stop").unlink(missing_ok=True)


def drop_empty(folder: Path, sizes: tuple[int, int]) -> None:
    """Remove logs to which nothing was written, and the folder when nothing is in it."""
    for name, size in zip(NAMES, sizes, strict=True):
        if size == 0:
            (folder / name).unlink(missing_ok=True)
    if not any(sizes):
        with contextlib.suppress(OSError):  # the objective wrote something of its own
            os.rmdir(folder)
