"""The single-writer lock of a study: held by one process, let go by the kernel when that process dies.

A file lock (`flock`) belongs to the process, not to the file's content, so a holder that was killed keeps nothing. The
content (pid, host, since) is only there to tell people who holds it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from pathlib import Path
from typing import IO

from tuner.errors import LockError, StoreError

LOCK = "lock"


class WriterLock:
    """Holds a lock file from construction until `release`.

    Args:
        directory: Where it lies, and what messages name.
        name: The file's name.

    Raises:
        LockError: Another process holds it.
        StoreError: The file cannot be written.
    """

    def __init__(self, directory: Path, name: str = LOCK) -> None:
        try:
            self._file: IO[str] | None = (directory / name).open("a+", encoding="utf-8")
        except OSError as error:
            raise StoreError(f"{directory} cannot be written: {error.strerror}; check its permissions") from error
        if not _acquire(self._file):
            self._file.close()
            self._file = None
            holder = read_holder(directory, name)
            who = f"process {holder['pid']} on {holder['host']}" if holder else "another process"
            raise LockError(
                f"{directory} is being written by {who}; wait for it, or end it with `tuner stop {directory}`"
            )
        self.previous = read_holder(directory, name)
        try:
            self._file.truncate(0)
            json.dump({"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}, self._file)
            self._file.flush()
        except OSError as error:
            with contextlib.suppress(OSError):  # what could not be written is tried again by close
                self._file.close()
            reason = f"{directory} cannot be written: {error.strerror}"
            raise StoreError(f"{reason}; free some space and run the same command again") from error

    def release(self) -> None:
        """Let go; harmless when done twice."""
        if self._file is not None:
            self._file.truncate(0)
            self._file.close()
            self._file = None


def _acquire(file: IO[str], *, tries: int = 5, pause_s: float = 0.02) -> bool:
    """Take the lock; a few tries, because `is_locked` holds it for a moment to find out."""
    for _ in range(tries):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            time.sleep(pause_s)
    return False


def read_holder(directory: Path, name: str = LOCK) -> dict[str, object] | None:
    """Who wrote the lock file last; None when it was released in good order."""
    try:
        content = json.loads((directory / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and {"pid", "host"} <= content.keys() else None


def is_locked(directory: Path) -> bool:
    """Whether some process holds the lock now."""
    try:
        with (directory / LOCK).open("r", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except FileNotFoundError:
        return False
    except OSError:
        return True


def worker_alive(worker: str) -> bool:
    """Whether the process `api:pid@host` still lives here; a run (`run:`) that lived would hold the lock."""
    pid, _, host = worker.partition(":")[2].partition("@")
    if host != socket.gethostname() or not pid.isdigit() or not worker.startswith("api:"):
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
