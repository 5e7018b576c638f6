"""A trial's output files: one folder a trial, its latest run under the plain names."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

NAMES = ("stdout.log", "stderr.log")
_RUN_FILES = (*NAMES, "report.jsonl")


def open_logs(folder: Path) -> tuple[int, int]:
    """Descriptors of new stdout.log and stderr.log, for appending; makes the folder.

    What an earlier run of the trial left (an attempt before, a replicate) is kept as `stdout.<n>.log`,
    `report.<n>.jsonl`, and its request to stop is forgotten.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    opened: list[int] = []
    try:
        for name in NAMES:
            opened.append(_open(folder, name, flags))
    except BaseException:
        for descriptor in opened:
            os.close(descriptor)
        raise
    return opened[0], opened[1]


def _open(folder: Path, name: str, flags: int) -> int:
    try:
        return os.open(folder / name, flags, 0o644)
    except FileNotFoundError:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        _set_aside(folder, name)
    return os.open(folder / name, flags, 0o644)


def _set_aside(folder: Path, name: str) -> None:
    """Number what an earlier run left: everything when its stdout.log is met, else only this file."""
    number = 1
    while any(_numbered(folder, kept, number).exists() for kept in _RUN_FILES):
        number += 1
    for kept in _RUN_FILES if name == NAMES[0] else (name,):
        if (folder / kept).exists():
            os.rename(folder / kept, _numbered(folder, kept, number))
    (folder / "stop").unlink(missing_ok=True)


def _numbered(folder: Path, name: str, number: int) -> Path:
    stem, _, ending = name.partition(".")
    return folder / f"{stem}.{number}.{ending}"


def drop_empty(folder: Path, sizes: tuple[int, int]) -> None:
    """Remove logs to which nothing was written, and the folder when nothing is in it."""
    for name, size in zip(NAMES, sizes, strict=True):
        if size == 0:
            (folder / name).unlink(missing_ok=True)
    if not any(sizes):
        with contextlib.suppress(OSError):  # the objective wrote something of its own
            os.rmdir(folder)
